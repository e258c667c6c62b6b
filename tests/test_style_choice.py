"""A style may be a name, a weights file or an exported ONNX file."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from stylize.cli import main
from stylize.errors import InputError
from stylize.style_choice import choose_style, is_onnx
from stylize.stylizer import Stylizer, load
from tests.helpers import run_stylize, save_photo, tiny_weights

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A weights file and the ONNX file made from it."""
    from stylize.checkpoints import read_weights_file
    from stylize.exporting import export_onnx

    folder = tmp_path_factory.mktemp("files")
    weights = tiny_weights(folder / "tiny.safetensors", norm="batch", seed=2)
    export_onnx(read_weights_file(weights), folder / "tiny.onnx")
    return weights, folder / "tiny.onnx"


def test_the_suffix_says_what_it_is():
    assert is_onnx("a/b.ONNX") and not is_onnx("onnx") and not is_onnx("a.safetensors")


def test_an_onnx_file_paints_like_its_weights_file(files):
    images = torch.rand(2, 3, 19, 26, generator=torch.Generator().manual_seed(0))
    exact, exported = load(files[0], device="cpu", precision="float32"), load(files[1])
    assert (exported.style, exported.norm, exported.network) == ("test-style", "batch", None)
    assert (exported.engine.name, exported.engine.precision) == ("onnxruntime", "float32")
    torch.testing.assert_close(exported(images), exact(images), atol=1e-4, rtol=0)


def test_the_metadata_come_with_it(files):
    chosen = choose_style(files[1], norm="batch")
    assert chosen.architecture == choose_style(files[0]).architecture
    assert chosen.metadata["steps"] == 100


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"norm": "instance"}, "holds a network with batch norm, not with instance norm"),
        ({"preset": "fast"}, "the file holds its architecture"),
        ({"engine": "torch"}, r"engine 'torch' given with the ONNX file .*; 'auto' or 'onnxruntime' is accepted"),
        ({"precision": "int8"}, "precision 'int8' given with the ONNX file"),
        ({"device": "cuda"}, "device 'cuda' given with the ONNX file"),
    ],
)
def test_what_does_not_go_with_an_onnx_file(files, settings, said):
    with pytest.raises(InputError, match=said):
        load(files[1], **settings)


def test_apply_takes_an_onnx_file(files, tmp_path):
    save_photo(tmp_path / "a.png")
    done = run_stylize("apply", "a.png", "--style", str(files[1]), "-o", "b.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engine"] == "onnxruntime"
    assert (tmp_path / "b.png").exists()


def test_apply_refuses_another_file_with_one_line(tmp_path):
    photo = save_photo(tmp_path / "a.png")
    (tmp_path / "x.onnx").write_bytes(b"not a model")
    result = CliRunner().invoke(main, ["apply", str(photo), "--style", str(tmp_path / "x.onnx")])
    assert result.exit_code in (1, 2)
    assert len(result.stderr.strip().splitlines()) == 1 and "x.onnx" in result.stderr


def test_a_stylizer_needs_something_that_paints(files):
    with pytest.raises(InputError, match="neither a network nor an engine"):
        Stylizer(None, choose_style(files[0]))
