"""The guides and README: every command and every Python block runs, and every mistake is answered as they say.

A command is parsed as it is printed, in full. It is then run with other options where it would take long; which, is in
the tables below, and so is what stands in for a camera, a server, or a measurement of minutes. A block that is in no
language that is known here, or a program that is not, makes a test fail.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import stylize
from stylize.cli import COMMANDS, main
from stylize.errors import StylizeError
from tests.bulk_helpers import FolderBucket, OneWorker
from tests.comparison_helpers import planted_comparison, planted_study, without_charts
from tests.guide_helpers import (
    GUIDES,
    MISTAKES,
    README,
    Block,
    Mistake,
    Step,
    anchors,
    links,
    make_named_files,
    read_blocks,
    read_mistakes,
    read_steps,
)
from tests.helpers import ROOT
from tests.test_packaging import lines_of, setup_cfg
from tests.training_helpers import TINY_LOSS

ADDED: dict[str, str] = {
    "apply": "--overwrite --device cpu",
    "bench": "--size 32 --preset fast --norm instance --engine torch --precision float32 --repeats 1 --device cpu "
    "--overwrite",
    "collect": "--overwrite",
    "compare": "--overwrite --device cpu",
    "export": "--overwrite",
    "train": "--steps 2 --batch-size 2 --image-size 32 --style-size 32 --style-layer relu1_1 --content-layer relu1_1 "
    "--precision float32 --device cpu --overwrite",
    "video": "--overwrite --device cpu",
    "webcam": "--source clip.mp4 --device cpu --stability off",
}
"""Options that a command is run with beside those that are printed, unless it has them. The lines of a block are
alternatives: each may replace what another one wrote."""

REPLACED: dict[str, dict[str, str]] = {
    "apply": {"--size": "48", "int8": "float32"},
    "bench": {"--size": "32"},
    "train": {"--steps": "2", "--image-size": "32", "--style-size": "32", "--checkpoint-interval": "1"},
    "video": {"--size": "32", "--start": "0", "--end": "0.2"},
}
"""Values that printed options get, by the option; ``int8`` is a value itself, whose quantisation takes long."""

STAND_INS = {
    "compare": "the measurement takes a minute, and a study trains many networks: made-up numbers take their place; "
    "what comes before and after is real (the measurement: tests/test_cli_compare.py)",
    "web": "serves until Ctrl-C: what it is asked to serve is noted (the page: tests/test_web_page.py)",
    "cluster": "Ray takes seconds to start: one worker of this process paints, and a bucket is a folder (Ray itself: "
    "tests/test_bulk_ray.py)",
    "webcam": "there is no camera and no window: a clip and a window that takes note (tests/test_cli_webcam.py)",
}
"""Commands of which a part is put aside, and why."""

PRINTING = ("styles",)
"""Commands that only print."""

NOT_RUN = {"pip": "installs from the network; only its extras are checked"}
"""Programs that are not run, and why."""

WRITING = ("apply", "collect", "compare", "export", "train", "video")
"""Commands that leave a file behind, whatever their options."""

ALONE = ("apply", "bench", "compare", "styles", "video", "web", "webcam")
"""Commands whose results no later line takes: one that stands in several places, word for word, is run once."""

RAN: dict[tuple[object, ...], set[str]] = {}
"""What they promised and kept, by what was run."""

NEEDS = {"video": ("av",), "webcam": ("cv2",), "export": ("onnx", "onnxruntime")}
"""Packages of extras, by the command; and by words among its arguments:"""

WORDS_NEED = {"flow": ("cv2",), "openvino": ("openvino", "onnx"), ".onnx": ("onnx", "onnxruntime")}

BLOCKS = [block for file in (*GUIDES, README) for block in read_blocks(file)]


@pytest.fixture(scope="module")
def named_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_named_files(tmp_path_factory.mktemp("guides") / "files")
    if importlib.util.find_spec("av") is not None:
        from tests.video_helpers import make_clip

        make_clip(folder / "clip.mp4", 6, (48, 32))
    return folder


@pytest.fixture
def here(named_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: one with the files that the guides name."""
    folder = tmp_path / "here"
    shutil.copytree(named_files, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-ins in their places."""
    from fsspec.registry import _registry

    from stylize import exporting, speed_ceilings
    from stylize.cli import apply_bulk, bench
    from stylize.comparison import experiments, inference, study
    from stylize.web import server

    def compare(photos: Any, **options: Any) -> Any:
        given = [photos] if isinstance(photos, str | Path) else list(photos)
        assert all(Path(photo).is_file() for photo in given)
        return planted_comparison()

    def train(config: stylize.TrainConfig, on_step: Any = None, **options: Any) -> Any:
        settings = {"steps": 2, "batch_size": 2, "image_size": 32, "style_size": 32, "precision": "float32"}
        return real_train(
            dataclasses.replace(config, **settings, loss=TINY_LOSS, device="cpu"), on_step, overwrite=True
        )

    real_train = stylize.train
    without_charts(monkeypatch.setattr)
    for place, name, value in (
        (bench, "keep_freed_memory", lambda: True),
        (speed_ceilings, "MATRIX_SIDE", 32),
        (speed_ceilings, "PICTURE_SIDE", 6),
        (speed_ceilings, "CHANNELS", 8),
        (exporting, "CHECKED_SHAPES", ((2, 5, 7),)),
        (inference, "compare", compare),
        (experiments, "estimate", lambda study: None),
        (experiments, "carry_out", lambda *arguments: []),
        (study, "conclude", lambda *arguments, **options: planted_study()),
        (server, "serve", lambda settings, host, port, on_ready, browser: on_ready(f"http://{host}:{port}/")),
        (stylize, "compare", compare),
        (stylize, "train", train),
        (apply_bulk, "RayCluster", OneWorker),
        (apply_bulk, "check_ray", lambda: None),
    ):
        monkeypatch.setattr(place, name, value)
    monkeypatch.setitem(_registry, "s3", FolderBucket)
    if all(importlib.util.find_spec(package) for package in ("av", "cv2")):
        from stylize.video import camera
        from tests.test_cli_webcam import NotedWindow

        monkeypatch.setattr(camera, "open_window", lambda title: NotedWindow(["s", "n", "q"]))


def skip_without(packages: Sequence[str]) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


def contents(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what tells whether a file was written: its number, size and time of change, by its path."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            facts = path.stat()
            found[path.relative_to(folder).as_posix()] = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return found


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """Parse a command as it is printed, and return its parameters; an option that does not exist is an error."""
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, f"there is no command {words[0]}"
    with command.make_context(words[0], list(words[1:])) as context:
        return context.params


def shortened(words: Sequence[str]) -> list[str]:
    """Return a command as it is run here."""
    name, *arguments = words
    for place, word in enumerate(arguments):
        for option, value in REPLACED.get(name, {}).items():
            if option.startswith("-") and word == option:
                arguments[place + 1] = value
            elif word == option:
                arguments[place] = value
    printed = set(arguments)
    for option in re.findall(r"--\S+(?: (?!--)\S+)?", ADDED.get(name, "")):
        if option.split()[0] not in printed:
            arguments += option.split()
    return [name, *arguments]


def invoke(words: Sequence[str], data: bytes | None = None) -> Result:
    return CliRunner().invoke(main, list(words), input=data, prog_name="stylize")


def forget(promises: Sequence[str], folder: Path) -> None:
    """Remove what a line promises, so that it is this line that leaves it there."""
    for promise in promises:
        if (folder / promise).is_file():
            (folder / promise).unlink()


def run_step(step: Step, folder: Path) -> None:
    program, *words = step.words
    if program == "torchrun":
        program, words = as_one_process(words)
    if program in NOT_RUN:
        check_pip(words)
        return
    if program != "stylize" or words[0] not in {*ADDED, *STAND_INS, *PRINTING}:
        pytest.fail(f"the tests do not know how to run {' '.join(step.words)}")
    parameters = parsed(words)
    done = RAN.get((step.words, step.source, step.target))
    if done is not None and done >= set(step.promises):
        return
    skip_without([package for word, needed in WORDS_NEED.items() if word in " ".join(words) for package in needed])
    skip_without([] if "huggingface" in words else NEEDS.get(words[0], ()))
    forget(step.promises, folder)
    before = contents(folder)
    data = (folder / step.source).read_bytes() if step.source else None
    result = invoke(shortened(words), data)
    assert result.exit_code == 0, f"{' '.join(step.words)}\n{result.output}\n{result.exception!r}"
    if step.target:
        (folder / step.target).write_bytes(result.stdout_bytes)
        assert result.stdout_bytes
    after = contents(folder)
    if words[0] in WRITING:
        assert after != before, f"{' '.join(step.words)} wrote nothing"
    output = parameters.get("output")
    if output is not None and str(output) != "-" and not re.search("%|://", str(output)):
        assert (folder / output).exists(), f"{' '.join(step.words)} did not write {output}"
    for promise in step.promises:
        assert (folder / promise).exists(), f"{' '.join(step.words)} did not leave {promise}: {sorted(after)}"
    if words[0] in ALONE:
        RAN.setdefault((step.words, step.source, step.target), set()).update(step.promises)


def as_one_process(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command that torchrun is to start, which runs here in one process (in several:
    tests/test_cli_train_processes.py)."""
    from torch.distributed.run import get_args_parser

    asked = get_args_parser().parse_args(list(words))
    assert asked.module and int(asked.nproc_per_node) > 1
    return asked.training_script, asked.training_script_args


def check_pip(words: Sequence[str]) -> None:
    """Check that what is to be installed has the extras that are named."""
    assert words[0] == "install"
    known = setup_cfg()["options.extras_require"]
    for requirement in words[1:]:
        match = re.fullmatch(r"(?:stylize|\.)(?:\[([\w,]+)\])?", requirement)
        assert match, requirement
        for extra in (match[1] or "").split(","):
            assert not extra or lines_of(known[extra])


def run_shell(block: Block, folder: Path) -> None:
    for step in read_steps(block.text):
        run_step(step, folder)


def run_python(block: Block, folder: Path) -> None:
    forget(block.promises, folder)
    text = block.text.replace("path/to/checkout", str(ROOT))
    exec(compile(text, f"{block.file.name}:{block.line}", "exec"), {"__name__": "guide"})
    for promise in block.promises:
        assert (folder / promise).exists(), f"{block.name} did not leave {promise}"


RUNNERS: dict[str, Callable[[Block, Path], None]] = {"sh": run_shell, "python": run_python}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_block_runs(block: Block, here: Path, quick: None) -> None:
    if block.language not in RUNNERS:
        pytest.fail(f"{block.file}:{block.line}: the tests do not know how to run a block of '{block.language}'")
    RUNNERS[block.language](block, here)


NO_GUIDES = {"README.md", "dependencies.md", "reliability.md"}
"""Files in docs/ that are no guides to a task: the index and lists of facts. Their blocks are run all the same."""

MISTAKEN = [mistake for file in GUIDES for mistake in read_mistakes(file)]


@pytest.fixture
def busy_port() -> Any:
    """Take the usual port of the page, unless somebody else has it already."""
    with socket.socket() as taken, suppress(OSError):
        taken.bind(("127.0.0.1", 7860))
        taken.listen()
        yield
        return
    yield


@pytest.mark.parametrize("mistake", MISTAKEN, ids=lambda mistake: f"{mistake.file.stem}: {mistake.typed}")
def test_mistake_is_answered_as_the_guide_says(mistake: Mistake, here: Path, busy_port: None) -> None:
    before = contents(here)
    if mistake.typed.startswith("stylize."):
        import torch

        with pytest.raises(StylizeError) as raised:
            eval(mistake.typed, {"stylize": stylize, "torch": torch})
        answer = str(raised.value)
    else:
        (step,) = read_steps(mistake.typed)
        assert step.words[0] == "stylize"
        skip_without(NEEDS.get(step.words[1], ()))
        skip_without(["ray", "pyarrow"] if "--engine-cluster" in step.words else [])
        skip_without(["gradio"] if step.words[1] == "web" else [])
        result = invoke(step.words[1:])
        assert result.exit_code in (1, 2), result.output
        assert isinstance(result.exception, SystemExit)
        answer = " ".join(result.output.split())
    place = 0
    for part in mistake.said:
        assert part in answer[place:], answer
        place = answer.index(part, place) + len(part)
    assert contents(here) == before


def test_every_guide_has_commands_and_is_in_the_index() -> None:
    index = {path for path, _ in links(ROOT / "docs" / "README.md")}
    for guide in GUIDES:
        assert guide.resolve() in index or guide.name == "README.md"
        if guide.name not in NO_GUIDES:
            assert guide.read_text(encoding="utf-8").split("\n\n")[1].startswith("```"), (
                "a guide opens with its command"
            )
            assert MISTAKES in guide.read_text(encoding="utf-8")
    named = {guide.name for guide in GUIDES}
    assert named >= NO_GUIDES and len(named - NO_GUIDES) >= 8
    assert {block.file.name for block in BLOCKS} >= named - NO_GUIDES and README in {block.file for block in BLOCKS}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_links_and_options_exist(guide: Path) -> None:
    for path, anchor in links(guide):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path.name}#{anchor}"
    if guide.name in NO_GUIDES:  # lists of facts name the options of scripts too
        return
    known = {"--help", "--nproc-per-node"}
    for name in COMMANDS:
        for parameter in main.get_command(click.Context(main), name).params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    assert set(re.findall(r"(?<![\w|-])--[a-z][a-z-]*", guide.read_text(encoding="utf-8"))) <= known


@pytest.mark.parametrize(
    "text", ["stylize styles | head", "stylize styles; ls", "echo $(stylize styles)", "stylize styles &&", "(stylize)"]
)
def test_a_line_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="do not know how to run"):
        read_steps(text)


def test_what_the_tests_do_not_know_fails(here: Path, quick: None) -> None:
    for text in ("convert photo.jpg photo.png", "stylize paint photo.jpg", "stylize apply photo.jpg --sise 3"):
        with pytest.raises((pytest.fail.Exception, AssertionError, click.UsageError)):
            run_shell(Block(README, 1, "sh", text), here)
    with pytest.raises(AssertionError, match="did not leave"):
        run_shell(Block(README, 1, "sh", "stylize styles  # -> table.txt"), here)
    with pytest.raises(pytest.fail.Exception):
        test_block_runs(Block(README, 1, "console", "$ stylize styles"), here, None)


def test_blocks_and_promises_are_read(tmp_path: Path) -> None:
    file = tmp_path / "guide.md"
    file.write_text("# A\n\n<!-- ci:test -->\n```sh\npytest\n```\n\n```sh\na -o - < b > c  # -> c, d\ne && f\n```\n")
    (block,) = read_blocks(file)
    assert (block.line, block.language, block.promises) == (9, "sh", ["c"])
    assert read_steps(block.text) == [Step(("a", "-o", "-"), "b", "c", ("c",)), Step(("e",)), Step(("f",))]
    assert shortened(["video", "c", "--size", "720"]) == [
        "video",
        "c",
        "--size",
        "32",
        "--overwrite",
        "--device",
        "cpu",
    ]
    file.write_text("```sh\nnever closed\n")
    with pytest.raises(AssertionError, match="does not end"):
        read_blocks(file)
