"""``stylize compare``: what it says, what it leaves behind, and one clear line for whatever was wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stylize.cli import compare as compare_command
from stylize.cli import main
from stylize.cli.stopping import stop_between_steps
from stylize.comparison import inference, study
from stylize.comparison.experiments import StudyProgress
from stylize.comparison.inference import PROBES
from stylize.config import PRESETS
from stylize.training import TrainProgress
from tests.comparison_helpers import planted_comparison, small_networks, without_charts
from tests.helpers import ROOT, run_python, save_photo, tiny_config, tiny_weights
from tests.training_helpers import logged_steps, make_material

SMALL = (
    "--quick --norm instance --norm batch --seeds 1 --steps 6 --batch-size 2 --image-size 32 --style-size 32 "
    "--device cpu"
).split()
"""Options of a study of eight short runs: two to choose each norm's learning rate, and four controls."""

FIRST = "painting-instance-seed0-rate0.0005"
"""Name of its first run."""

IN_A_PROCESS = """
import sys, time
from pathlib import Path
from stylize.cli import main
from stylize.comparison import inference, study, sweeps
from stylize.config import PRESETS
from stylize.training import _Run
from tests.comparison_helpers import make_small, without_charts
from tests.helpers import tiny_config

without_charts(setattr)
make_small(setattr, sorted(Path(sys.argv.pop(1)).iterdir()))
PRESETS["fast"] = tiny_config()
{extra}
main(prog_name="stylize")
"""
"""The command in a process of its own, made small."""


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Path:
    """A painting, ten photos, and two networks."""
    folder = make_material(tmp_path_factory.mktemp("material"))
    small_networks(folder, "instance", "batch")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def instant(monkeypatch) -> dict[str, Any]:
    """Put made-up numbers in the place of the measurement; returns what it was asked for."""
    asked: dict[str, Any] = {}

    def compare(photos: Any, *, on_probe: Any, **options: Any) -> Any:
        asked.update(options, photos=photos)
        for name in PROBES:
            on_probe(name)
        return planted_comparison()

    monkeypatch.setattr(inference, "compare", compare)
    without_charts(monkeypatch.setattr)
    return asked


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["compare", *map(str, arguments)], prog_name="stylize")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def networks(material: Path) -> list[object]:
    return ["--style", material / "instance.safetensors", "--style", material / "batch.safetensors"]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def process(extra: str, material: Path, *arguments: object, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    """Start ``stylize compare`` in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"} | options
    code = IN_A_PROCESS.format(extra=extra)
    command = [sys.executable, "-c", code, str(material / "photos"), "compare", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# ------------------------------------------------------------------------------------------------------------ the start


def test_help_and_what_needs_no_torch(here):
    """The help, and every error that can be known without torch."""
    save_photo(here / "photo.png")
    code = """
import sys
from click.testing import CliRunner
from stylize.cli import main

for arguments, status in (
    (["--help"], 0),
    (["photo.png", "--style", "stary-night"], 2),
    (["photo.png", "--norm", "instance"], 2),
    (["photo.png", "--norm", "layer"], 2),
    (["none.png"], 2),
    (["photo.png", "--seeds", "2"], 2),
    (["--train"], 2),
    (["--train", "none.png"], 2),
):
    result = CliRunner().invoke(main, ["compare", *arguments])
    assert result.exit_code == status, (arguments, result.output)
    heavy = {"torch", "torchvision", "matplotlib", "numpy"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
"""
    result = run_python("-c", code, cwd=here)
    assert result.returncode == 0, result.stderr


def test_help_names_every_option_and_gives_examples():
    text = " ".join(invoke("--help").stdout.split())
    for word in ("--style", "--norm", "--painting", "--train", "--seeds", "--quick", "--tune-lr", "--runs", "--json"):
        assert f" {word} " in text
    assert "stylize compare --train painting.jpg photos/ --quick" in text
    assert "[default: compare-STYLE]" in text and "[default: 512; x>=32]" in text


# ---------------------------------------------------------------------------------------------------------- a whole run


def test_the_whole_command_in_a_process_of_its_own_prints_one_json_document(material, here):
    save_photo(here / "photo <b>.png", 90, 60)
    arguments = ["photo <b>.png", *networks(material), "--painting", material / "painting.png", "--size", 64]
    with process("", material, *arguments, "--json", "-o", here / "out", cwd=here, PYTHONIOENCODING="ascii") as running:
        stdout, stderr = running.communicate(timeout=600)
    assert running.returncode == 0, stderr
    document = json.loads(stdout)
    assert document == json.loads((here / "out" / "results.json").read_text(encoding="utf-8"))
    assert stderr == ""
    assert document["inference"]["photos"][0] == "photo <b>.png"
    assert document["facts"]["command"].startswith("stylize compare 'photo <b>.png' --style ")
    assert document["facts"]["command"].endswith(" --json -o here/out")
    for path in (here / "out").iterdir():
        assert str(material).encode() not in path.read_bytes()
    assert files(here) == ["out", *(f"out/{name}" for name in files(here / "out")), "photo <b>.png"]


def test_the_verdict_is_printed_and_the_folder_has_the_name_of_the_style(instant, material, here):
    save_photo(here / "photo.png")
    result = invoke("photo.png", *networks(material), "--size", 100, "--painting", "p.png", "--device", "cpu")
    assert result.exit_code == 0, result.output
    *sentences, last = result.stdout.splitlines()
    assert sentences[0].startswith("On 3 photos as they are, the network with instance norm comes closest to the style")
    assert re.fullmatch(r"wrote compare-test-style/index\.html in \d+ s; open it in a browser", last)
    assert result.stderr == ""
    assert (here / "compare-test-style" / "index.html").is_file()
    assert instant["photos"] == (Path("photo.png"),)
    assert (instant["size"], instant["device"], instant["painting"], instant["preset"]) == (
        100,
        "cpu",
        Path("p.png"),
        None,
    )


def test_a_shipped_style_and_no_photo(instant, here):
    result = invoke()
    assert result.exit_code == 0, result.output
    assert result.stderr == "no PHOTO given: comparing on example photos that come with stylize\n"
    assert (here / "compare-starry-night").is_dir()
    assert (instant["style"], instant["norms"], instant["photos"]) == (("starry-night",), (), ())
    assert invoke("--style", "great-wave", "--norm", "batch", "--norm", "instance", "--json").exit_code == 0
    assert instant["norms"] == ("batch", "instance")
    assert (here / "compare-great-wave").is_dir()


@pytest.mark.parametrize(
    ("style", "name"),
    [
        ("a/b", "compare-a-b"),
        ("../../elsewhere", "compare-elsewhere"),
        ("..", "compare"),
        (" ", "compare"),
        ("é" * 60, "compare-" + "é" * 50),
        # No names: what does not print, or is longer than any name. The file's own name serves.
        ("nul\0l", "compare-first"),
        ("two\nlines", "compare-first"),
        ("é" * 300, "compare-first"),
        ('<b>:*?"|', "compare-b"),
        ("my style", "compare-my style"),
    ],
)
def test_a_style_with_an_odd_name_gets_a_folder_here(instant, here, tmp_path, style, name):
    first = tiny_weights(tmp_path / "first.safetensors", style=style, norm="instance")
    second = tiny_weights(tmp_path / "second.safetensors", style=style, norm="batch")
    result = invoke("--style", first, "--style", second)
    assert result.exit_code == 0, result.output
    assert [path.name for path in here.iterdir()] == [name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.safetensors", "here", "second.safetensors"]


def test_signs_that_a_terminal_does_not_have(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    compare_command._say("3.1×10⁻⁷ (é) \udcff")
    sys.stdout.flush()
    assert raw.getvalue().decode("cp1252") == "3.1×10?? (é) ?" + os.linesep


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_over_the_probes_on_a_terminal_and_nothing_elsewhere(instant, here, monkeypatch):
    options = {
        "style": ("starry-night",), "norms": (), "preset": None, "output": None, "size": 64, "painting": None,
        "device": "cpu", "as_json": True, "overwrite": True,
    }  # fmt: skip
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        compare_command._compare((), options)
        text = stream.getvalue().split("\n", 1)[1]
        if stream.isatty():
            assert "cost" in text and f"{len(PROBES)}/{len(PROBES)}" in text and "100%" in text
        else:
            assert text == ""


# -------------------------------------------------------------------------------------------------- where it is written


def test_a_report_that_exists(instant, here):
    assert invoke("-o", "out").exit_code == 0
    (here / "out" / "index.html").write_text("old")
    result = invoke("-o", "out")
    assert (result.exit_code, result.stderr) == (1, "Error: out exists already; pass --overwrite or another -o\n")
    assert (here / "out" / "index.html").read_text() == "old"
    assert invoke("-o", "out", "--overwrite").exit_code == 0
    assert (here / "out" / "index.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in here.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("mine", "mine is not a report of stylize and is not overwritten; give another -o"),
        ("file.txt", "file.txt is a file; give the name of a folder with -o"),
        ("file.txt/out", "cannot make file.txt/out: file.txt is a file; give another -o"),
        (".", ". is the current folder, or one above it; give the name of a folder in it with -o"),
        ("", ". is the current folder, or one above it; give the name of a folder in it with -o"),
        ("..", ".. is the current folder, or one above it; give the name of a folder in it with -o"),
    ],
)
@pytest.mark.parametrize("train", [False, True])
def test_places_where_no_report_can_be(here, material, monkeypatch, output, said, train):
    """Known before anything is measured or trained."""
    monkeypatch.setattr(inference, "compare", None)
    monkeypatch.setattr("stylize.comparison.experiments.carry_out", None)
    (here / "mine").mkdir()
    (here / "mine" / "holiday.txt").write_text("mine")
    (here / "file.txt").write_text("mine")
    before = files(here)
    given = ["--train", material / "painting.png", material / "photos", *SMALL] if train else []
    result = invoke(*given, "-o", output, "--overwrite")
    assert (result.exit_code, result.stderr) == (1, f"Error: {said}\n")
    assert files(here) == before


def test_a_full_disk(instant, here, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = invoke("-o", "new/out")
    assert result.exit_code == 1
    *_, line = result.stderr.splitlines()
    assert line == "Error: cannot write new/out/index.html: the disk is full; what was there is unchanged"
    assert result.stdout == ""
    assert files(here) == []


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> Path:
    """Files that cannot be compared."""
    folder = tmp_path_factory.mktemp("bad")
    save_photo(folder / "photo.png")
    save_photo(folder / "dot.png", 1, 1)
    save_photo(folder / "narrow.png", 31, 90)
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "text.safetensors").write_text("these are no weights")
    (folder / "empty").mkdir()
    save_photo(folder / "two" / "a.png")
    save_photo(folder / "two" / "b.png")
    tiny_weights(folder / "other.safetensors", norm="batch", painting={"sha256": "1" * 64})
    return folder


PAIR = ["--style", "{here}/instance.safetensors", "--style", "{here}/batch.safetensors"]
BAD_ARGUMENTS = [
    # networks
    (["{photo}", "--norm", "instance"], "only one with instance norm is given; give --norm twice, or --style with"),
    (["{photo}", "--norm", "layer"], "is not shipped with layer norm, only with instance, batch; to make it: st"),
    (["{photo}", "--norm", "layer"], ".jpg PHOTOS --norm layer"),
    (["{photo}", "--norm", "instanse"], "unknown normalisation 'instanse'; did you mean 'instance'?"),
    (["{photo}", "--style", "stary-night"], "unknown style 'stary-night'; did you mean 'starry-night'?"),
    (["{photo}", "--preset", "johnson"], "is not shipped with preset 'johnson', only fast; to make it: stylize"),
    (["{photo}", *PAIR, "--preset", "johnson"], "the file holds its architecture"),
    (["{photo}", *PAIR[:2]], "a comparison needs two networks or more, and only one with instance norm is given"),
    (["{photo}", *PAIR[:2], *PAIR[:2]], "a comparison needs two networks or more, and only one with instance norm is"),
    (
        ["{photo}", *PAIR[:2], "--style", "{here}/../{name}/instance.safetensors"],
        "only one with instance norm is given",
    ),
    (["{photo}", *PAIR, "--norm", "layer"], "none of these networks has layer norm; they have instance, batch"),
    (["{photo}", *PAIR, "--norm", "batch"], "only one with batch norm is given; give --norm twice"),
    (["{photo}", *PAIR[:2], "--style", "{bad}/other.safetensors"], "were trained on different paintings"),
    (["{photo}", "--style", "starry-night", "--style", "great-wave"], "were trained on different paintings"),
    (["{photo}", *PAIR[:2], "--style", "{bad}/none.safetensors"], "none.safetensors not found"),
    (["{photo}", *PAIR[:2], "--style", "{bad}/text.safetensors"], "text.safetensors is not a safetensors file"),
    # painting
    (["{photo}", *PAIR], "instance.safetensors was trained on is not known; give its picture with --painting"),
    (["{photo}", *PAIR, "--painting", "{bad}/none.jpg"], "none.jpg: there is no such file"),
    (["{photo}", *PAIR, "--painting", "{bad}/text.jpg"], "text.jpg is no picture"),
    (["{photo}", *PAIR, "--painting", "{bad}/dot.png"], "dot.png is 1x1 pixels; at least 32 on the short side"),
    # photos
    (["{bad}/none.jpg"], "none.jpg not found"),
    (["{photo}", "{bad}/two"], "two is a folder; give photos one by one"),
    (["{bad}/text.jpg", *PAIR, "--painting", "{painting}"], "text.jpg is no picture"),
    (["{bad}/dot.png", *PAIR, "--painting", "{painting}"], "dot.png is 1x1 pixels; at least 32 on each side"),
    (["{bad}/narrow.png", *PAIR, "--painting", "{painting}"], "narrow.png is 31x90 pixels; at least 32 on each"),
    # options
    (["{photo}", "--size", "8"], "Invalid value for '--size': 8 is not in the range x>=32"),
    (["{photo}", "--seeds", "2"], "--seeds needs --train"),
    (["{photo}", "--quick"], "--quick needs --train"),
    (["{photo}", "--tune-lr"], "--tune-lr needs --train"),
    (["{photo}", "--processes", "2"], "--processes needs --train"),
    (["{photo}", "--runs", "r"], "--runs needs --train"),
    (["{photo}", "--device", "gpu"], "unknown device 'gpu'"),
    (["{photo}", "--nrom", "batch"], "No such option"),
    # training
    (["--train"], "no painting given; try 'stylize compare --train painting.jpg photos/'"),
    (["--train", "{painting}", "{photos}", "--style", "great-wave"], "--style cannot be used with --train"),
    (["--train", "{painting}", "{photos}", "--size", "64"], "--size cannot be used with --train"),
    (["--train", "{painting}", "{photos}", "--painting", "x"], "--painting cannot be used with --train"),
    (["--train", "{painting}", "{photos}", "--processes", "1"], "1 is not in the range x>=2"),
    (
        ["--train", "{painting}", "{photos}", "--processes", "3"],
        "batches of 4 photos given to 3 processes; each",
    ),
    (["--train", "{bad}/none.png", "{photos}"], "none.png not found"),
    (["--train", "{bad}/none.png"], "none.png not found"),
    (["--train", "{photos}"], "no painting given, only photos"),
    (["--train", "{photos}", "{painting}"], "photos is a folder; the folder of photos comes last"),
    (["--train", "{painting}", "{bad}/none"], "none not found; the last argument is a folder, or there is none"),
    (["--train", "{painting}", "{bad}/empty"], "empty holds no photo; at least 5 are needed for batches of 4"),
    (["--train", "{painting}", "{bad}/two"], "two holds 2 photos; at least 5 are needed for batches of 4"),
    (["--train", "{bad}/text.jpg", "{photos}"], "text.jpg is no picture"),
    (["--train", "{bad}/dot.png", "{photos}"], "dot.png is 1x1 pixels; at least 32 on the short side are needed"),
    (["--train", "{painting}", "{photos}", "--norm", "batch"], "1 normalisation given (batch); a comparison"),
    (["--train", "{painting}", "{painting}", "{photos}"], "two paintings have one name"),
    (["--train", "{painting}", "{photos}", "--steps", "0"], "'--steps': 0 is not in the range x>=1"),
    (["--train", "{painting}", "{photos}", "--validation", "{bad}/empty"], "empty holds no photo; at least 1"),
    (["--train", "{painting}", "{photos}", "--runs", "{bad}/text.jpg"], "is a file; give a folder with --runs"),
    (["--train", "{painting}", "{photos}", "--runs", "o/r", "-o", "o"], "lies in that of the report, o, which"),
    (["--train", "{painting}", "{photos}", "--runs", "o", "-o", "o"], "lies in that of the report, o, which"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), BAD_ARGUMENTS, ids=[" ".join(arguments) for arguments, _ in BAD_ARGUMENTS]
)
def test_bad_input_is_one_line_and_leaves_nothing(material, bad, here, arguments, said):
    before = files(bad), files(material)
    names = {"bad": bad, "photo": bad / "photo.png", "here": material, "name": material.name}
    names |= {"painting": material / "painting.png", "photos": material / "photos"}
    result = invoke(*(text.format(**names) for text in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""
    *usage, line = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert all(text.startswith(("Usage: ", "Try ")) or not text or "no networks for" in text for text in usage), usage
    assert (files(bad), files(material)) == before
    assert files(here) == []


# -------------------------------------------------------------------------------------------------- the training study


@pytest.fixture
def tiny(monkeypatch, material) -> None:
    """Make studies small: a tiny architecture, two steps of optimisation, no charts."""
    from functools import partial

    monkeypatch.setitem(PRESETS, "fast", tiny_config())
    monkeypatch.setattr(study, "conclude", partial(study.conclude, picture_size=32, optimum_steps=2))
    monkeypatch.setattr("stylize.zoo.example_photos", lambda: sorted((material / "photos").iterdir()))
    without_charts(monkeypatch.setattr)


SLOW = """
step = _Run._step
def slow(self, photos, rate):
    time.sleep(0.25)
    return step(self, photos, rate)
_Run._step = slow
from stylize.comparison import experiments
experiments.estimate = lambda study: 60.0
"""


@pytest.fixture(scope="module")
def stopped(material, tmp_path_factory) -> Iterator[tuple[Path, str, int]]:
    """A study that was stopped by Ctrl-C in its first run: its folder, what it said, and its exit status."""
    folder = tmp_path_factory.mktemp("stopped")
    log = folder / "compare-painting.runs" / f"{FIRST}.run" / "log.jsonl"
    arguments = ["--train", material / "painting.png", material / "photos", *SMALL]
    until = time.monotonic() + 500
    with process(SLOW, material, *arguments, cwd=folder) as running:
        while time.monotonic() < until and running.poll() is None:
            if log.exists() and len(log.read_bytes().splitlines()) >= 3:
                break
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=500)
    assert stdout == ""
    yield folder, stderr, running.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals as POSIX has them")
def test_ctrl_c_in_a_study_saves_it_and_says_how_to_go_on(stopped):
    folder, stderr, status = stopped
    assert status == 1, stderr
    assert "Traceback" not in stderr and "--resume" not in stderr
    first, estimate, step, last = stderr.splitlines()
    assert first == "8 runs of 6 steps on painting: instance, batch; kept in compare-painting.runs"
    assert estimate == "about 60 s of training are left on this machine; Ctrl-C saves"
    assert step.startswith(f"run 1/8: {FIRST}, style ") and step.endswith(" left")
    assert last == "Error: stopped and saved in compare-painting.runs; the same command continues"
    assert {path.name for path in folder.iterdir()} == {"compare-painting.runs"}
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals as POSIX has them")
def test_the_same_command_continues_and_ends_in_a_report(stopped, material, tiny, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(stopped[0], tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    runs = tmp_path / "here" / "compare-painting.runs"
    before = logged_steps(runs / f"{FIRST}.safetensors")
    assert 2 <= len(before) < 6
    arguments = ["--train", material / "painting.png", material / "photos", *SMALL]
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert lines[0].startswith("8 runs of 6 steps on painting: instance, batch; kept in")
    assert lines[-1] == "measuring the finished networks"
    assert [line.split(":")[0] for line in lines if line.startswith("run ")] == [f"run {n}/8" for n in range(1, 9)]
    assert "\r" not in result.stderr
    # Not from the start: the steps that were saved were taken over.
    assert logged_steps(runs / f"{FIRST}.safetensors") == [1, 2, 3, 4, 5, 6]
    log = (runs / f"{FIRST}.run" / "log.jsonl").read_text(encoding="utf-8")
    assert log.count('"config"') == 1
    *verdict, wrote = result.stdout.splitlines()
    assert verdict[0].startswith("Instance norm's held-out loss is the lower one in ")
    assert wrote == "wrote compare-painting/index.html; open it in a browser"
    document = json.loads(Path("compare-painting/results.json").read_text(encoding="utf-8"))
    assert len(document["training"]["runs"]) == 8
    assert document["facts"]["seeds"] == "0"
    for path in Path("compare-painting").iterdir():
        assert str(material).encode() not in path.read_bytes(), path

    # Once more, with everything trained: nothing is trained again, and only a report makes way.
    monkeypatch.setattr("stylize.comparison.experiments.train", None)
    assert invoke(*arguments).exit_code == 1
    result = invoke(*arguments, "--overwrite", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["training"]["runs"] == document["training"]["runs"]
    assert "of training are left" not in result.stderr

    # Other settings do not fit the runs that are there, which stay as they are.
    kept = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    for changed in (["--steps", "9"], ["--image-size", "48"], ["--batch-size", "3"]):
        result = invoke(*arguments, *changed, "--overwrite")
        assert result.exit_code == 2
        assert "has another " in result.stderr.splitlines()[-1]
        assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == kept


def test_counts_of_photos_that_are_not_there_are_left_out(material, here, tiny, monkeypatch):
    """With nine photos to train on there is no network trained on 64, and with batches of nine none on 8."""
    seen: list[Any] = []

    def remember(study: Any, *arguments: Any) -> Any:
        seen.append(study)
        raise KeyboardInterrupt

    monkeypatch.setattr("stylize.comparison.experiments.estimate", remember)
    given = ["--train", material / "painting.png", material / "photos", "--image-size", 32, "--device", "cpu"]
    result = invoke(*given)
    assert result.exit_code == 130
    lines = result.stderr.splitlines()
    assert lines[0] == "9 photos to train on, 4 a step: no networks for 64 photos"
    assert lines[-1] == "Error: stopped by Ctrl-C"
    assert seen[0].photo_counts == (8,)
    assert invoke(*given, "--batch-size", 9).stderr.startswith(
        "9 photos to train on, 9 a step: no networks for 8 and 64 ph"
    )
    assert seen[1].photo_counts == ()
    assert "no networks for" not in invoke(*given, "--quick").stderr
    # Without a folder of photos the examples serve.
    result = invoke("--train", material / "painting.png", "--device", "cpu")
    assert result.stderr.startswith(
        "no folder of photos given: training on the example photos that come with stylize\n"
    )
    assert (seen[3].photos, seen[3].photo_counts) == (None, ())
    assert files(here) == []


def test_options_reach_the_study(material, here, tiny, monkeypatch):
    seen: list[Any] = []

    def remember(study: Any) -> Any:
        seen.append(study)
        raise KeyboardInterrupt

    monkeypatch.setattr("stylize.comparison.experiments.check_material", remember)
    save_photo(here / "starry-night.png", 50, 40)
    given = ["--train", here / "starry-night.png", material / "painting.png", material / "photos"]
    options = "--seeds 2 --steps 7 --batch-size 3 --image-size 64 --style-size 48 --device cpu --preset johnson".split()
    result = invoke(*given, *options, "--norm", "layer", "--norm", "ibn", "--tune-lr", "--runs", "kept", "-o", "a/out")
    assert result.exit_code == 130
    study = seen[0]
    assert (study.seeds, study.other_seeds, study.steps, study.batch_size) == (2, 2, 7, 3)
    assert (study.image_size, study.style_size, study.device, study.preset) == (64, 48, "cpu", "johnson")
    assert (study.norms, study.runs, len(study.rates)) == (("layer", "ibn"), "kept", 3)
    # Photos are made alike in a style that is not the one to be learned.
    assert Path(study.control_weights).name == "great-wave-instance.safetensors"
    assert study.processes == ()
    more = ["--processes", "4", "--processes", "2", "--processes", "4"]
    invoke("--train", material / "painting.png", material / "photos", "--quick", "-o", "a/out", *more)
    study = seen[1]
    assert (study.steps, study.seeds, study.other_seeds, study.runs) == (250, 2, 1, "a/out.runs")
    assert study.processes == (2, 4)
    assert Path(study.control_weights).name == "starry-night-instance.safetensors"
    assert files(here) == ["starry-night.png"]


def test_a_bar_over_the_whole_study_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    losses = {"content": 0.5, "style": 0.25, "total_variation": 0.0, "total": 1.5}
    with compare_command._Bar() as bar:
        for step in (5, 6, 7, 12):
            training = TrainProgress(step % 6 or 6, 6, losses, 1e-3, 8.25, 1.0)
            bar(StudyProgress(f"run-{step}", step // 7, 2, step, 12, training))
    text = terminal.getvalue()
    assert "12/12" in text
    assert "run 2/2: run-12, style 0.2500, 8.2 photos/s" in text


def test_lines_elsewhere_one_at_the_start_of_each_run_and_then_now_and_then(monkeypatch, capsys):
    losses = {"content": 0.5, "style": 0.25, "total_variation": 0.0, "total": 1.5}
    clock = iter([0.0, 0.0, *(10.0 * step for step in range(1, 9))])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with compare_command._Bar() as bar:
        for step in range(1, 9):
            training = TrainProgress(step, 8, losses, 1e-3, 8.25, 1.0)
            bar(StudyProgress("one", 0, 2, step, 16, training))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "run 1/2: one, style 0.2500, 8.2 photos/s, 2 minutes left",
        "run 1/2: one, style 0.2500, 8.2 photos/s, 2 minutes left",
    ]


# --------------------------------------------------------------------------------------------------------------- Ctrl-C

WAITING = """
import signal

# A shell starts background jobs with SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

def wait(*arguments):
    Path("begun").write_text("")
    time.sleep(600)
sweeps.sweep = wait
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals as POSIX has them")
def test_ctrl_c_during_the_probes_leaves_nothing(material, here):
    arguments = [material / "photos" / "photo-00.png", *networks(material), "--painting", material / "painting.png"]
    until = time.monotonic() + 500
    with process(WAITING, material, *arguments, "-o", "new/out", cwd=here) as running:
        while time.monotonic() < until and running.poll() is None and not (here / "begun").exists():
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=500)
    assert running.returncode == 130, stderr
    assert (stdout, stderr) == ("", "Error: stopped by Ctrl-C\n")
    assert files(here) == ["begun"]


def test_ctrl_c_while_the_report_is_written(instant, here, monkeypatch):
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stylize.comparison.report_folder.write_json", interrupted)
    result = invoke("-o", "new/out")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.endswith("Error: stopped by Ctrl-C\n")
    assert files(here) == []


def test_the_first_signal_waits_and_the_second_does_not():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number in (signal.SIGINT, signal.SIGTERM):
        with stop_between_steps() as check:
            check()
            signal.raise_signal(number)
            with pytest.raises(KeyboardInterrupt):
                check()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_ctrl_c_in_the_last_moment_of_the_training_is_not_forgotten(material, here, tiny, monkeypatch):
    def carry_out(study: Any, on_step: Any, on_wait: Any) -> list[Any]:
        signal.raise_signal(signal.SIGINT)
        return []

    monkeypatch.setattr("stylize.comparison.experiments.carry_out", carry_out)
    monkeypatch.setattr("stylize.comparison.experiments.estimate", lambda study: 0.0)
    result = invoke("--train", material / "painting.png", material / "photos", *SMALL)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "Error: stopped by Ctrl-C"
    assert files(here) == []
