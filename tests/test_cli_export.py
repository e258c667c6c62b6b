"""``stylize export``."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from stylize import exporting
from stylize.cli import main
from tests.helpers import run_stylize, save_photo, tiny_collection, tiny_style_file, tiny_weights


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    tiny_weights(tmp_path / "tiny.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exporting, "CHECKED_SHAPES", ((2, 5, 7),))
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(main, ["export", *arguments], prog_name="stylize")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_default_name_and_report(folder):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    result = invoke("tiny.safetensors")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("test-style (instance norm, fast) -> test-style-instance.onnx (")
    assert "opset 17" in first
    assert second.startswith(
        "checked in ONNX Runtime at 2x5x7 (batch x height x width): differs from PyTorch by at most "
    )
    assert names(folder) == ["test-style-instance.onnx", "tiny.safetensors"]


def test_json(folder):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    result = invoke("tiny.safetensors", "-o", "out/a.onnx", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["output"] == "out/a.onnx"
    assert document["checked"] == ["2x5x7"]
    assert 0 <= document["largest_difference"] < 0.1
    assert document["file_size"] == (folder / "out" / "a.onnx").stat().st_size


def test_a_style_and_a_mixture_of_a_collection(folder):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import torch

    from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine
    from stylize.style_choice import choose_style, load_style

    base = tiny_collection(folder / "base.safetensors", ("one", "two", "photo"))
    tiny_style_file(folder / "mine.safetensors", base)
    images = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    for style, output in (
        ("two", "two-instance.onnx"),
        ("one:0.3,mine.safetensors:0.7", "one-30-mine-70-instance.onnx"),
    ):
        result = invoke(style, "--collection", "base.safetensors")
        assert result.exit_code == 0, result.output
        assert f"-> {output} (" in result.stdout and "checked in ONNX Runtime" in result.stdout
        chosen = choose_style(style, collection="base.safetensors")
        with torch.no_grad():
            expected = load_style(chosen)[0](images).clamp(0, 1)
        engine = OnnxRuntimeEngine(folder / output)
        torch.testing.assert_close(engine.paint(images), expected, atol=1e-4, rtol=0)
        assert engine.weights.metadata["style"] == chosen.name
        assert engine.weights.architecture == chosen.described.architecture
    assert choose_style("two-instance.onnx").norm == "instance"


def test_unchecked_is_said(monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = invoke("tiny.safetensors")
    assert result.exit_code == 0, result.output
    assert "not checked, because ONNX Runtime is not installed: pip install 'stylize[onnx]'" in result.stdout


def test_an_existing_file_stays_unless_asked(folder):
    pytest.importorskip("onnx")
    (folder / "a.onnx").write_bytes(b"keep")
    result = invoke("tiny.safetensors", "-o", "a.onnx")
    assert (result.exit_code, result.stderr) == (1, "Error: a.onnx exists already; pass --overwrite or another name\n")
    assert (folder / "a.onnx").read_bytes() == b"keep"
    assert invoke("tiny.safetensors", "-o", "a.onnx", "--overwrite").exit_code == 0
    assert (folder / "a.onnx").read_bytes() != b"keep"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stary-night",), "did you mean 'starry-night'?"),
        (("none.safetensors",), "weights file none.safetensors not found"),
        (("starry-night", "--norm", "instnce"), "unknown normalisation 'instnce'"),
        (("tiny.safetensors", "--norm", "batch"), "holds a network with instance norm, not with batch norm"),
        (("tiny.safetensors", "--collection", "tiny.safetensors"), "holds a network of one style"),
        (("tiny.safetensors,other",), "cannot be mixed"),
        (("a:1,a:0",), "given twice"),
        (("tiny.safetensors", "-o", "a.pt"), "has another suffix than .onnx"),
        (("tiny.safetensors", "-o", "."), "is a folder"),
    ],
)
def test_bad_input(folder, arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert names(folder) == ["tiny.safetensors"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tile", "8"), "an ONNX file cannot paint in strips; give the name of a style or its weights file"),
        (("--memory", "2GB"), "--memory given with an ONNX file, which cannot be painted in strips to keep within it"),
    ],
)
def test_an_exported_file_is_not_painted_in_strips(folder, options, said):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    assert invoke("tiny.safetensors", "-o", "a.onnx").exit_code == 0
    save_photo(folder / "photo.png")
    result = CliRunner().invoke(main, ["apply", "photo.png", "--style", "a.onnx", *options])
    assert result.exit_code == 2
    assert said in result.stderr and "Traceback" not in result.output
    assert names(folder) == ["a.onnx", "photo.png", "tiny.safetensors"]


def test_what_is_exported_already(folder):
    pytest.importorskip("onnx")
    assert invoke("tiny.safetensors", "-o", "a.onnx").exit_code == 0
    result = invoke("a.onnx", "-o", "b.onnx")
    assert result.exit_code == 2 and "'a.onnx' is an ONNX file already" in result.stderr


def test_a_folder_that_cannot_be_written(folder):
    pytest.importorskip("onnx")
    result = invoke("tiny.safetensors", "-o", "tiny.safetensors/a.onnx")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr and len(result.stderr.splitlines()) == 1
    assert names(folder) == ["tiny.safetensors"]


def test_without_onnx(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = invoke("tiny.safetensors")
    assert result.exit_code == 2
    assert "pip install 'stylize[onnx]'" in result.stderr and len(result.stderr.splitlines()) == 1
    assert names(folder) == ["tiny.safetensors"]


def test_a_result_that_differs(folder, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(exporting, "largest_difference", lambda *_: 3.0)
    result = invoke("tiny.safetensors")
    assert result.exit_code == 1
    assert "differs from PyTorch by 3 grey levels" in result.stderr
    assert names(folder) == ["tiny.safetensors"]


def test_the_real_command(folder):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    result = run_stylize("export", "tiny.safetensors", "-o", "real.onnx", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "checked in ONNX Runtime at 1x5x7, 2x37x53, 1x3x101, 1x256x255 (" in result.stdout
    assert (folder / "real.onnx").is_file()
