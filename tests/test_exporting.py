"""Export to ONNX: what is written, what is checked, and that nothing is left when it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from stylize import exporting
from stylize.checkpoints import WeightsFile, load_network, read_weights_file
from stylize.errors import InputError, OutputError, StylizeError, WeightsError
from stylize.exporting import CHECKED_SHAPES, default_output, export_onnx, largest_difference
from stylize.transformer import TransformerNet
from tests.helpers import tiny_collection, tiny_config, tiny_weights


@pytest.fixture
def weights(tmp_path):
    return tiny_weights(tmp_path / "tiny.safetensors", norm="batch-instance")


@pytest.fixture
def few_shapes(monkeypatch):
    monkeypatch.setattr(exporting, "CHECKED_SHAPES", ((2, 5, 7),))


def test_the_file_paints_as_the_weights_file(tmp_path, weights):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine

    output = tmp_path / "new" / "folder" / "tiny.ONNX"
    report = export_onnx(weights, output)
    assert (report.style, report.norm, report.preset, report.opset) == ("test-style", "batch-instance", "fast", 17)
    assert report.file_size == output.stat().st_size
    assert report.checked == ("1x5x7", "2x37x53", "1x3x101", "1x256x255")
    assert 0 < report.largest_difference < 0.1
    images = torch.rand(1, 3, 30, 23, generator=torch.Generator().manual_seed(0))
    engine = OnnxRuntimeEngine(output)
    assert engine.weights.metadata == read_weights_file(weights).metadata
    with torch.no_grad():
        expected = load_network(weights)[0](images).clamp(0, 1)
    torch.testing.assert_close(engine.paint(images), expected, atol=1e-4, rtol=0)


def test_a_weights_file_object_is_taken_too(tmp_path, weights, few_shapes):
    pytest.importorskip("onnx")
    assert export_onnx(read_weights_file(weights), tmp_path / "a.onnx").norm == "batch-instance"


def test_a_collection_is_no_network_to_export(tmp_path):
    pytest.importorskip("onnx")
    path = tiny_collection(tmp_path / "base.safetensors")
    for weights in (path, read_weights_file(path)):
        with pytest.raises(InputError, match="is a collection of 2 styles; choose one of them"):
            export_onnx(weights, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_the_shapes_of_the_check_are_hard():
    assert any(batch > 1 for batch, _, _ in CHECKED_SHAPES)
    assert all(height % 2 or width % 2 for _, height, width in CHECKED_SHAPES)


@pytest.mark.parametrize("difference", [0.2, float("nan"), float("inf")])
def test_a_file_that_differs_is_not_left(tmp_path, weights, monkeypatch, difference):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(exporting, "largest_difference", lambda *_: difference)
    output = tmp_path / "out" / "a.onnx"
    with pytest.raises(StylizeError, match="differs from PyTorch by .* grey levels of 255, more than 0.1"):
        export_onnx(weights, output)
    assert not output.parent.exists()
    output = tmp_path / "b.onnx"
    output.write_bytes(b"what was there")
    with pytest.raises(StylizeError, match="nothing was written"):
        export_onnx(weights, output, overwrite=True)
    assert output.read_bytes() == b"what was there"


def test_without_onnx_runtime_it_is_written_unchecked(tmp_path, weights, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = export_onnx(weights, tmp_path / "a.onnx")
    assert (report.largest_difference, report.checked) == (None, ())
    assert (tmp_path / "a.onnx").stat().st_size == report.file_size


def test_without_onnx_nothing_is_written(tmp_path, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'stylize\[onnx\]'"):
        export_onnx(weights, tmp_path / "a.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.safetensors"]


def test_outputs_that_cannot_be(tmp_path, weights, few_shapes):
    existing = tmp_path / "there.onnx"
    existing.write_bytes(b"keep")
    with pytest.raises(OutputError, match="there.onnx exists already; pass --overwrite or another name"):
        export_onnx(weights, existing)
    assert existing.read_bytes() == b"keep"
    with pytest.raises(InputError, match="has another suffix than .onnx"):
        export_onnx(weights, tmp_path / "a.pt")
    with pytest.raises(InputError, match="is a folder"):
        export_onnx(weights, tmp_path, overwrite=True)
    pytest.importorskip("onnx")
    with pytest.raises(OutputError, match="cannot write .*a.onnx"):
        export_onnx(weights, existing / "a.onnx")
    export_onnx(weights, existing, overwrite=True)
    assert existing.read_bytes() != b"keep"


def test_weights_that_cannot_be(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(WeightsError, match="not found"):
        export_onnx(tmp_path / "none.safetensors", tmp_path / "a.onnx")


class Off:
    """An engine that is off by a constant at one value."""

    name, precision, device = "off", "float32", torch.device("cpu")

    def __init__(self, network: TransformerNet, by: float) -> None:
        self.network, self.by = network, by

    def paint(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            painted = self.network(images).clamp(0, 1)
        painted[-1, 1, -1, -1] += self.by
        return painted


def test_largest_difference_by_hand():
    network = TransformerNet(tiny_config()).eval()
    shapes = ((1, 8, 9), (2, 9, 8))
    assert largest_difference(Off(network, 0), network, shapes) == 0
    assert largest_difference(Off(network, -0.1), network, shapes) == pytest.approx(25.5, abs=1e-3)
    difference = largest_difference(Off(network, float("nan")), network, shapes)
    assert difference != difference  # NaN is not lost among numbers


def test_default_output():
    weights = WeightsFile(Path("w.safetensors"), tiny_config("ibn@decoder"), {"style": "great-wave"})
    assert default_output(weights) == Path("great-wave-ibn@decoder.onnx")
    outside = WeightsFile(Path("w.safetensors"), tiny_config(), {"style": "../../etc/passwd"})
    assert default_output(outside).parent == Path(".")
