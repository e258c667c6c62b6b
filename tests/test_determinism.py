"""``--deterministic``: equal bits from two runs, and the switches of the process as before afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from safetensors.torch import load_file

from stylize.checkpoints import read_weights_file
from stylize.cli import main
from stylize.cli.determinism import WORKSPACE, deterministically, steady_memory
from stylize.errors import StylizeError
from stylize.run_log import RunLog
from stylize.transformer import joined_reflection
from tests.helpers import run_python, run_stylize, save_photo, tiny_weights
from tests.training_helpers import make_material


def switches() -> tuple[bool, bool, str | None]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        os.environ.get(WORKSPACE),
    )


@pytest.mark.parametrize("workspace", [None, ":16:8", "none"])
def test_switches_are_set_meanwhile_and_as_before_afterwards(monkeypatch, workspace):
    monkeypatch.delenv(WORKSPACE, raising=False)
    if workspace is not None:
        monkeypatch.setenv(WORKSPACE, workspace)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with deterministically(True):
        # What cuBLAS accepts and the user has set stays.
        assert switches() == (True, False, ":16:8" if workspace == ":16:8" else ":4096:8")
    assert switches() == (False, True, workspace)
    with pytest.raises(ValueError), deterministically(True):
        raise ValueError("work")
    assert switches() == (False, True, workspace)
    with deterministically(False):
        assert switches() == (False, True, workspace)


def test_what_torch_cannot_do_is_one_line():
    with pytest.raises(StylizeError, match=r"leave out --deterministic, or compute with --device cpu"):
        with deterministically(True):
            raise RuntimeError(
                "reflection_pad2d_backward_out_cuda does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation"
            )
    with pytest.raises(RuntimeError, match="something else"), deterministically(True):
        raise RuntimeError("something else")


def test_without_the_option_torch_is_not_touched():
    code = """
import os, sys
from stylize.cli.determinism import WORKSPACE, deterministically
before = os.environ.get(WORKSPACE)
with deterministically(False):
    assert "torch" not in sys.modules and os.environ.get(WORKSPACE) == before
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_the_limit_of_memory_is_that_of_the_machine_and_not_of_the_moment():
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert steady_memory() == int(0.25 * installed) == steady_memory()


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_the_reflection_for_gpus_is_that_of_torch_with_its_gradient(padding):
    generator = torch.Generator().manual_seed(padding)
    features = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 5 + 2 * padding, 7 + 2 * padding, generator=generator, dtype=torch.float64)
    results = []
    for reflect in (joined_reflection, lambda x, n: F.pad(x, (n,) * 4, mode="reflect")):
        features.grad = None
        padded = reflect(features, padding)
        (padded * weights).sum().backward()
        results.append((padded.detach(), features.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], rtol=0, atol=1e-12)


# ---------------------------------------------------------------------------------------- two runs of the command line

TRAINING = (
    "--steps 6 --batch-size 2 --image-size 32 --style-size 32 --checkpoint-interval 2 --validation-interval 3 "
    "--device cpu --weights-dtype float32 --content-layer relu1_1 --style-layer relu1_1 --deterministic"
).split()


def train(material: Path, output: str, *more: str) -> None:
    result = run_stylize("train", "painting.png", "photos", "-o", output, *TRAINING, *more, cwd=material)
    assert result.returncode == 0, result.stderr


STOP = """
import sys
from stylize import training
from stylize.cli import main
run = training.train
def stopping(config, on_step, **settings):
    def stop(progress):
        on_step(progress)
        if progress.step == 3:
            raise KeyboardInterrupt
    return run(config, stop, **settings)
training.train = stopping
main(sys.argv[1:])
"""
"""The command line, with a Ctrl-C after the third step."""


def test_two_trainings_and_a_resumed_one_give_equal_bits(tmp_path):
    material = make_material(tmp_path / "material")
    train(material, "one.safetensors")
    train(material, "two.safetensors")
    asked = ["train", "painting.png", "photos", "-o", "resumed.safetensors", *TRAINING]
    stopped = run_python("-c", STOP, *asked, cwd=material)
    assert stopped.returncode == 130 or "saved" in stopped.stderr, stopped.stderr
    other = [one for one in asked if one != "--deterministic"]
    refused = run_stylize(*other, "--resume", cwd=material)
    assert refused.returncode == 2 and "resume it with --deterministic" in refused.stderr
    train(material, "resumed.safetensors", "--resume")
    one, *others = (load_file(material / f"{name}.safetensors") for name in ("one", "two", "resumed"))
    for other_weights in others:
        assert set(other_weights) == set(one)
        assert all(torch.equal(one[name], other_weights[name]) for name in one)
    # It is written down: in the weights and in the log of the run.
    assert read_weights_file(material / "one.safetensors").metadata["deterministic"] is True
    assert RunLog(material / "one.run" / "log.jsonl").read()[0]["deterministic"] is True


def test_two_paintings_have_equal_bytes(tmp_path):
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    photo = save_photo(tmp_path / "photo.jpg", 120, 90)
    files = []
    for name in ("one.jpg", "two.jpg"):
        result = run_stylize(
            "apply", str(photo), "--style", str(weights), "--device", "cpu", "--deterministic", "--json", "-o",
            str(tmp_path / name),
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["deterministic"] is True
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_other_engines_are_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    arguments = ["apply", str(save_photo(tmp_path / "photo.jpg")), "--style", str(weights), "--device", "cpu"]
    result = CliRunner().invoke(main, [*arguments, "--engine", "onnxruntime", "--deterministic"])
    assert result.exit_code == 2
    assert "--deterministic is for the engine torch, and this style is painted by onnxruntime" in result.output
    assert switches()[0] is False


@pytest.mark.parametrize("command", ["apply", "train", "compare"])
def test_help_says_what_is_promised_and_what_is_not(command):
    said = " ".join(CliRunner().invoke(main, [command, "--help"]).output.split())
    assert "same machine, with the same versions and as many threads" in said
    assert "between others nothing is promised" in said and "On a CPU that holds without this option too" in said
