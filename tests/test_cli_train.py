"""``stylize train``: what it says, what it leaves behind, and one clear line for whatever was wrong."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from stylize.checkpoints import load_network, read_training_state, read_weights_file
from stylize.cli import main, train_report
from stylize.cli import train as train_command
from stylize.config import NORM_NAMES, LossConfig, TrainConfig
from stylize.evaluation import Losses, Validation
from stylize.run_folder import run_folder
from stylize.training import TrainProgress, TrainResult
from tests.helpers import ROOT, run_stylize, save_photo
from tests.training_helpers import logged_steps, make_material, read_log

SMALL = (
    "--image-size 32 --style-size 32 --batch-size 2 --style-layer relu1_1 --content-layer relu1_1 --precision float32 "
    "--device cpu"
).split()
"""Options that make the preset ``fast`` quick to train."""


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["train", *map(str, arguments)], prog_name="stylize")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def learn(material: Path, *arguments: object, steps: int = 2) -> Result:
    return invoke(material / "painting.png", material / "photos", *SMALL, "--steps", steps, *arguments)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# ---------------------------------------------------------------------------------------------------------- a whole run


def test_a_run_from_end_to_end_in_a_process_of_its_own(material, tmp_path):
    result = run_stylize(
        "train",
        str(material / "painting.png"),
        str(material / "photos"),
        *SMALL,
        *"--steps 3 --validation-interval 2 --norm batch --seed 5".split(),
        cwd=tmp_path,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    first, *rest = result.stdout.splitlines()
    assert first == ("learning painting.png with batch norm (fast, 3 steps of 2 photos) -> painting-batch.safetensors")
    title, *table, contrast, wrote, advice = rest
    assert title.split() == ["1", "held-out", "photos", "content", "style", "total", "loss"]
    assert [line[:25].strip() for line in table] == [
        "the photos, untouched",
        "painted, evaluation mode",
        "painted, training mode",
    ]
    assert table[0].split()[3] == "0.0000"
    assert contrast.startswith("halved contrast changes the result by ")
    assert wrote.startswith("wrote painting-batch.safetensors after ")
    assert advice == "try it: stylize apply PHOTO --style ./painting-batch.safetensors"
    # No terminal: plain lines, none of a bar.
    assert "\r" not in result.stderr
    validation, last = result.stderr.splitlines()
    assert validation.startswith("step 2, 1 held-out photos: content ")
    assert validation.endswith("; painting-batch.run/samples/step-000002.png")
    assert last.startswith("step 3/3: content ")
    assert last.endswith(" 0.0 minutes left")
    assert files(tmp_path) == [
        "painting-batch.run",
        "painting-batch.run/.lock",
        "painting-batch.run/log.jsonl",
        "painting-batch.run/samples",
        "painting-batch.run/samples/step-000002.png",
        "painting-batch.run/samples/step-000003.png",
        "painting-batch.safetensors",
    ]
    metadata = load_network(tmp_path / "painting-batch.safetensors")[1].metadata
    assert (metadata["preset"], metadata["norm"], metadata["seed"], metadata["steps"]) == ("fast", "batch", 5, 3)
    evaluated = metadata["metrics"]["evaluation_mode"]
    content, style, total = table[1].split()[3:]
    assert (content, style) == (f"{evaluated['content']:.4f}", f"{evaluated['style']:.4f}")
    assert total == f"{evaluated['total']:.3f}"


def test_every_option_reaches_the_settings(material, here, monkeypatch):
    seen = {}

    def remember(config, on_step, **options):
        seen.update(options, config=config)
        return TrainResult(Path("x.safetensors"), VALIDATION)

    monkeypatch.setattr("stylize.training.train", remember)
    options = {
        "norm": "batch",
        "preset": "johnson",
        "steps": 7,
        "batch_size": 3,
        "image_size": 64,
        "style_size": 128,
        "seed": 9,
        "learning_rate": 0.25,
        "validation": "held",
        "validation_interval": 11,
        "checkpoint_interval": 13,
        "precision": "bfloat16",
        "weights_dtype": "float32",
        "device": "cpu",
        "output": "a.safetensors",
    }
    loss = {
        "style_strength": 2.5,
        "loss_network": "torchvision",
        "pooling": "average",
        "content_layer": "relu2_2",
        "content_weight": 3.5,
        "style_weight": 4.5,
        "tv_weight": 5.5,
    }
    words = [word for name, value in (options | loss).items() for word in (f"--{name.replace('_', '-')}", str(value))]
    result = invoke("p.jpg", "photos/", *words, "--style-layer", "relu1_1", "--style-layer", "conv2_1", "--compile")
    assert result.exit_code == 0, result.output
    config = seen["config"]
    assert (config.style, config.photos, config.compile) == ("p.jpg", "photos", True)
    assert {name: getattr(config, name) for name in options} == options
    assert {name: getattr(config.loss, name) for name in loss} == loss
    assert config.loss.style_layers == ("relu1_1", "conv2_1")
    assert config.loss.style_layer_weights == (1.0, 1.0)  # one for each layer that was given
    assert (seen["resume"], seen["overwrite"]) == (False, False)

    assert invoke("p.jpg", "photos", "--overwrite").exit_code == 0
    assert seen["config"] == TrainConfig(style="p.jpg", photos="photos")
    assert seen["overwrite"] is True


def test_help_names_every_default():
    text = " ".join(invoke("--help").stdout.split())
    defaults = TrainConfig(style="")
    for name in ("steps", "batch_size", "image_size", "style_size", "learning_rate", "seed", "checkpoint_interval"):
        option = text.split(f"--{name.replace('_', '-')} ", 1)[1]
        assert f"[default: {getattr(defaults, name)};" in option.split(" --", 1)[0] + ";", name
    assert "stylize train painting.jpg photos/" in text


def test_without_photos_the_examples_serve(material, here):
    result = invoke(material / "painting.png", *SMALL, "--steps", 1)
    assert result.exit_code == 0, result.output
    assert "no PHOTOS given: training on the example photos that come with stylize" in result.stdout
    assert read_weights_file(here / "painting-instance.safetensors").metadata["training_photos"] >= 2


def test_unreadable_photos_are_listed(tmp_path, here):
    material = make_material(tmp_path / "m", photos=4)
    save_photo(tmp_path / "held" / "good.png")
    for index in range(22):
        (material / "photos" / f"bad-{index:02d}.jpg").write_bytes(b"")
    result = learn(material, "--validation", tmp_path / "held", steps=16)
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    start = lines.index("22 photos could not be read and were left out:")
    assert len(lines[start + 1 :]) == 21
    assert all("bad-" in line and "empty" in line for line in lines[start + 1 : -1])
    assert lines[-1] == "  and 2 more"


# ------------------------------------------------------------------------------------------------ what the summary says

VALIDATION = Validation(
    Losses(0.5, 0.25, 0.0, 1.5), Losses(0.5, 0.25, 0.0, 1.5), Losses(0.0, 0.75, 0.0, 3.5), 0.1 / 255, 4
)
APART = replace(VALIDATION, training_mode=Losses(0.5, 0.2, 0.0, 1.4), contrast_change=12.5 / 255)


@pytest.mark.parametrize(
    ("norm", "validation", "sentence"),
    [
        ("instance", VALIDATION, "by 0.10 grey levels (instance norm: the modes are one, and contrast does not reach"),
        ("batch", APART, "by 12.50 grey levels (batch norm: the modes differ, and contrast reaches the result)"),
        ("instance", APART, "by 12.50 grey levels\n"),
        ("batch", VALIDATION, "by 0.10 grey levels\n"),
    ],
)
def test_the_sentence_about_the_norm_is_said_only_where_it_is_true(capsys, norm, validation, sentence):
    train_report.report(TrainConfig(style="a.jpg", norm=norm), TrainResult(Path("x/y.safetensors"), validation))
    text = capsys.readouterr().out
    assert sentence in text
    assert text.endswith("try it: stylize apply PHOTO --style x/y.safetensors\n")


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_every_norm_can_be_reported(norm, capsys):
    for validation in (VALIDATION, APART):
        train_report.report(TrainConfig(style="a.jpg", norm=norm), TrainResult(Path("y.safetensors"), validation))
    assert "grey levels" in capsys.readouterr().out


def test_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    losses = {"content": 0.5, "style": 0.25, "total_variation": 0.0, "total": 1.5}
    with train_report.Reporter(TrainConfig(style="a.jpg"), Path("a.run"), False) as reporter:
        for step in (4, 5, 6):  # as in a run that was resumed
            reporter(TrainProgress(step, 6, losses, 1e-3, 8.25, 1.0, VALIDATION if step == 5 else None))
    text = terminal.getvalue()
    assert "6/6" in text
    assert "content 0.500, style 0.2500, total 1.500, 8.2 photos/s" in text
    assert "step 5, 4 held-out photos: content 0.500" in text


# ---------------------------------------------------------------------------------------------- interrupted and resumed


def process(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "stylize", "train", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals as POSIX has them")
def test_ctrl_c_saves_says_how_to_go_on_and_resume_does(material, here):
    arguments = (material / "painting.png", material / "photos", *SMALL, "--steps", 60)
    log = here / "painting-instance.run" / "log.jsonl"
    until = time.monotonic() + 300
    with process(*arguments, cwd=here) as running:
        while time.monotonic() < until and running.poll() is None:
            if log.exists() and len(log.read_bytes().splitlines()) >= 3:
                break
            time.sleep(0.002)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=300)
    assert running.returncode == 1
    assert "Traceback" not in stderr
    step = read_training_state(here / "painting-instance.run" / "checkpoint.safetensors")[1]["step"]
    assert 2 <= step < 60
    said = f"Error: stopped after step {step} of 60 and saved; the same command with --resume continues"
    assert stderr.splitlines()[-1] == said
    assert not (here / "painting-instance.safetensors").exists()

    # The same command without --resume does not lose what was learned.
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert "has an unfinished run in painting-instance.run; pass --resume to continue it" in result.stderr

    # Nothing but the name is needed, and the settings are those of the run, not the defaults.
    result = invoke("--resume", "-o", "painting-instance.safetensors")
    assert result.exit_code == 0, result.output
    assert "learning painting.png with instance norm (fast, 60 steps of 2 photos)" in result.stdout
    assert logged_steps(here / "painting-instance.safetensors") == list(range(1, 61))
    assert read_weights_file(here / "painting-instance.safetensors").metadata["image_size"] == 32


@pytest.fixture(scope="module")
def stopped(material, tmp_path_factory):
    """An unfinished run of five steps, stopped after two."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(train_report.Reporter, "__call__", interrupt_at_step_2)
        result = learn(material, "-o", "run.safetensors", "--norm", "batch", steps=5)
    assert result.exit_code == 1
    assert "stopped after step 2 of 5 and saved" in result.stderr
    return folder


def interrupt_at_step_2(self, progress: TrainProgress) -> None:
    if progress.step == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--resume"], 2, "--resume needs to know which run: give the painting, or the output with -o"),
        (["--resume", "-o", "run.safetensors", "--steps", "9"], 2, "has steps 5, not 9"),
        (["--resume", "-o", "run.safetensors", "--norm", "instance"], 2, "has norm 'batch', not 'instance'"),
        (["--resume", "-o", "run.safetensors", "--style-strength", "3"], 2, "has style_strength 1.0, not 3.0"),
        (["--resume", "-o", "run.safetensors", "--style-layer", "relu2_1"], 2, "has style_layers ('relu1_1',), not"),
        (["other.png", "--resume", "-o", "run.safetensors"], 2, "has style '"),
        (["--resume", "-o", "none.safetensors"], 2, "nothing to resume: the run of none.safetensors was never started"),
        (["--resume", "-o", "run.pth"], 2, "a name that ends in .safetensors is accepted"),
        (["painting.png", "--resume"], 2, "nothing to resume: the run of painting-instance.safetensors"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_resume_that_cannot_be(stopped, monkeypatch, arguments, status, said):
    monkeypatch.chdir(stopped)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    result = invoke(*arguments)
    assert result.exit_code == status
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_resume_with_what_was_given_before_and_what_does_not_matter(stopped, material, here):
    import shutil

    shutil.copytree(stopped / "run.run", here / "run.run")
    result = learn(
        material, "-o", "run.safetensors", "--norm", "batch", "--resume", "--checkpoint-interval", 1, steps=5
    )
    assert result.exit_code == 0, result.output
    assert logged_steps(here / "run.safetensors") == [1, 2, 3, 4, 5]
    result = learn(material, "-o", "run.safetensors", "--norm", "batch", "--resume", steps=5)
    assert result.exit_code == 2
    assert "nothing to resume: the run of run.safetensors is finished" in result.stderr


def test_signals_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number in (signal.SIGINT, signal.SIGTERM):
        with train_command.stop_between_steps() as check:
            check()
            signal.raise_signal(number)  # the first waits for the end of the step
            with pytest.raises(KeyboardInterrupt):
                check()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)  # the second does not
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_signals_are_left_alone():
    from concurrent.futures import ThreadPoolExecutor

    def enter() -> object:
        with train_command.stop_between_steps() as check:
            check()
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result() is signal.getsignal(signal.SIGINT)


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Files that no run can use."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no picture")
    save_photo(folder / "1x1.png", 1, 1)
    (folder / "no-photos").mkdir()
    (folder / "no-photos" / "notes.txt").write_text("none here")
    save_photo(folder / "one-photo" / "only.png")
    torch.save({"features.0.weight": torch.zeros(1)}, folder / "vgg.safetensors")
    torch.save(LossConfig(), folder / "object.pth")
    (folder / "folder.safetensors").mkdir()
    return folder


BAD_ARGUMENTS = [
    # painting
    (["{bad}/none.jpg", "{photos}"], 2, "none.jpg: there is no such file"),
    (["{bad}/empty.jpg", "{photos}"], 2, "empty.jpg is empty (0 bytes)"),
    (["{bad}/text.jpg", "{photos}"], 2, "text.jpg is no picture"),
    (["{bad}/1x1.png", "{photos}"], 2, "1x1.png is 1x1 pixels; at least 32 on the short side are needed"),
    (["{bad}/no-photos", "{photos}"], 2, "no-photos is a folder, not a picture"),
    # photos
    (["{painting}", "{bad}/none"], 2, "none not found; give an existing folder of at least 3 photos"),
    (["{painting}", "{bad}/no-photos"], 2, "no-photos holds no photo; at least 3 are needed for batches of 2"),
    (["{painting}", "{bad}/1x1.png"], 2, "1x1.png is a file; a folder of at least 3 photos is needed"),
    (["{painting}", "{bad}/one-photo"], 2, "one-photo holds 1 photo; at least 3 are needed for batches of 2"),
    (["{painting}", "{photos}", "--batch-size", "10"], 2, "holds 10 photos; at least 11 are needed for batches of 10"),
    (["{painting}", "{photos}", "--validation", "{bad}/no-photos"], 2, "no-photos holds no photo; at least 1"),
    # numbers
    (["{painting}", "{photos}", "--steps", "0"], 2, "Invalid value for '--steps': 0 is not in the range x>=1"),
    (["{painting}", "{photos}", "--steps", "many"], 2, "Invalid value for '--steps': 'many' is not a valid integer"),
    (["{painting}", "{photos}", "--image-size", "8"], 2, "'--image-size': 8 is not in the range x>=32"),
    (["{painting}", "{photos}", "--style-size", "8"], 2, "'--style-size': 8 is not in the range x>=32"),
    (["{painting}", "{photos}", "--style-size", "1000000"], 2, "give a smaller size"),
    (["{painting}", "{photos}", "--batch-size", "0"], 2, "'--batch-size': 0 is not in the range x>=1"),
    (["{painting}", "{photos}", "--learning-rate", "0"], 2, "'--learning-rate': 0.0 is not in the range 0<x<1"),
    (["{painting}", "{photos}", "--learning-rate", "nan"], 2, "learning_rate is nan; it must lie between 0 and 1"),
    (["{painting}", "{photos}", "--style-strength", "-1"], 2, "'--style-strength': -1.0 is not in the range x>=0"),
    (["{painting}", "{photos}", "--style-weight", "inf"], 2, "style_weight is inf; it must be a finite number"),
    (["{painting}", "{photos}", "--seed", "-1"], 2, "'--seed': -1 is not in the range x>=0"),
    (["{painting}", "{photos}", "--seed", str(2**63)], 2, f"seed is {2**63}"),
    # names
    (["{painting}", "{photos}", "--norm", "instanse"], 2, "unknown normalisation 'instanse'; did you mean 'instance'?"),
    (["{painting}", "{photos}", "--preset", "fsat"], 2, "'fsat' is not one of 'fast', 'johnson'"),
    (["{painting}", "{photos}", "--style-layer", "relu3-1"], 2, "unknown layer 'relu3-1'; did you mean 'relu3_1'?"),
    (["{painting}", "{photos}", "--content-layer", "relu6_1"], 2, "unknown layer 'relu6_1'; did you mean 'relu"),
    (["{painting}", "{photos}", "--pooling", "maximum"], 2, "'maximum' is not one of 'max', 'average'"),
    (["{painting}", "{photos}", "--precision", "float16"], 2, "'float16' is not one of 'auto', 'bfloat16', 'float32'"),
    (["{painting}", "{photos}", "--device", "gpu"], 2, "unknown device 'gpu'"),
    (["{painting}", "{photos}", "--device", "cuda:99"], 2, "device 'cuda:99' is not there; this machine has: "),
    (["{painting}", "{photos}", "--steeps", "3"], 2, "No such option"),
    ([], 2, "no painting given; try 'stylize train painting.jpg photos/'"),
    # loss network
    (["{painting}", "{photos}", "--loss-network", "{bad}/none.pth"], 2, "none.pth not found; give vgg19, torchvision"),
    (["{painting}", "{photos}", "--loss-network", "vgg16"], 2, "unknown loss network 'vgg16'; did you mean 'vgg19'?"),
    (["{painting}", "{photos}", "--loss-network", "{bad}/vgg.safetensors"], 2, "vgg.safetensors cannot be read"),
    (
        ["{painting}", "{photos}", "--loss-network", "{bad}/object.pth"],
        2,
        "object.pth cannot be read as a plain",
    ),
    (["{painting}", "{photos}", "--loss-network", "{bad}/no-photos"], 2, "loss network"),
    # output
    (["{painting}", "{photos}", "-o", "net.pth"], 2, "output net.pth given; a name that ends in .safetensors is"),
    (["{painting}", "{photos}", "-o", "{bad}/text.jpg/net.safetensors"], 1, "cannot write to"),
    (["{painting}", "{photos}", "-o", "{bad}/folder.safetensors"], 1, "folder.safetensors is a folder"),
]


@pytest.mark.parametrize(
    ("arguments", "status", "said"), BAD_ARGUMENTS, ids=[" ".join(arguments) for arguments, _, _ in BAD_ARGUMENTS]
)
def test_bad_input_is_one_line_and_leaves_nothing(material, bad, here, arguments, status, said):
    filled = [
        text.format(bad=bad, painting=material / "painting.png", photos=material / "photos") for text in arguments
    ]
    before = files(bad)
    result = invoke(*filled[:2], *SMALL, "--steps", 2, *filled[2:]) if filled else invoke()
    assert result.exit_code == status
    *usage, line = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert all(text.startswith(("Usage: ", "Try ")) or not text for text in usage)
    assert files(here) == []
    assert files(bad) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there(material, here):
    result = learn(material, "--device", "cuda")
    assert result.exit_code == 2
    assert "Error: device 'cuda' is not there; this machine has: " in result.stderr
    assert files(here) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(material, here):
    here.chmod(0o500)
    try:
        result = learn(material)
        assert result.exit_code == 1
        assert "Permission denied" in result.stderr
        assert files(here) == []
    finally:
        here.chmod(0o700)


def test_an_output_that_exists(material, here):
    (here / "painting-instance.safetensors").write_text("mine")
    result = learn(material)
    assert result.exit_code == 1
    assert result.stderr == "Error: painting-instance.safetensors exists already; pass --overwrite or another -o\n"
    assert files(here) == ["painting-instance.safetensors"]
    assert (here / "painting-instance.safetensors").read_text() == "mine"
    assert learn(material, "--overwrite", steps=1).exit_code == 0
    assert read_weights_file(here / "painting-instance.safetensors").metadata["steps"] == 1


def test_a_full_disk(material, here, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = learn(material)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "the disk is full" in result.stderr
    assert files(here) == []


def test_a_loss_that_is_not_finite(material, here, monkeypatch):
    from stylize.losses import PerceptualLoss

    original = PerceptualLoss.content_targets
    monkeypatch.setattr(PerceptualLoss, "content_targets", lambda self, photos: original(self, photos) * float("nan"))
    result = learn(material)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the loss is nan at step 1; the checkpoint of step 0 is kept in ")
    assert "--learning-rate" in result.stderr
    assert (here / "painting-instance.run" / "checkpoint.safetensors").exists()


# ---------------------------------------------------------------------------------------------------------- tensorboard


def without(package: str):
    find_spec = importlib.util.find_spec
    return lambda name, *arguments: None if name == package else find_spec(name, *arguments)


def test_tensorboard_that_is_not_installed(material, here, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", without("tensorboard"))
    result = learn(material, "--tensorboard")
    assert result.exit_code == 2
    assert result.output == "Error: --tensorboard needs the package tensorboard; install it, or leave the option away\n"
    assert files(here) == []


def test_tensorboard_gets_the_losses(tmp_path, monkeypatch):
    """With a writer in place of the package, which the tests do not need."""
    import types

    written: list[tuple[object, ...]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            written.append(("folder", folder))

        def add_scalar(self, *arguments: object) -> None:
            written.append(arguments)

        def close(self) -> None:
            written.append(("closed",))

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    folder = run_folder(tmp_path / "a.safetensors")
    with train_report.Reporter(TrainConfig(style="a.jpg"), folder, True) as reporter:
        reporter(TrainProgress(1, 2, {"content": 0.5, "style": 0.25, "total": 1.5}, 1e-3, 8.0, 1.0, VALIDATION))
    assert written[0] == ("folder", str(folder / "tensorboard"))
    assert ("training/style", 0.25, 1) in written
    assert ("held out, evaluation_mode/style", 0.25, 1) in written
    assert ("held out/contrast change", VALIDATION.contrast_change, 1) in written
    assert written[-1] == ("closed",)


def test_the_log_can_be_read_while_it_grows(material, here):
    assert learn(material, "--validation-interval", 1).exit_code == 0
    rows = read_log(here / "painting-instance.safetensors")
    assert [row.get("step") for row in rows] == [None, 1, 2, 2]
    assert json.loads(json.dumps(rows)) == rows
