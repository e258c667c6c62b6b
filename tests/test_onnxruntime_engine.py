"""The ONNX Runtime engine: files in, pictures out, and what goes wrong."""

from __future__ import annotations

import sys

import pytest
import torch

from stylize.errors import InputError, StylizeError, WeightsError
from stylize.program import lower
from tests.helpers import tiny_config, tiny_metadata
from tests.test_program import trained

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from stylize.checkpoints import WeightsFile  # noqa: E402
from stylize.engines import onnxruntime_engine  # noqa: E402
from stylize.engines.onnx_files import file_metadata  # noqa: E402
from stylize.engines.onnx_graph import onnx_model  # noqa: E402
from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine, available, read_metadata  # noqa: E402

NETWORK = trained(tiny_config())


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    weights = WeightsFile(path, NETWORK.config, tiny_metadata())
    path.write_bytes(onnx_model(lower(NETWORK), file_metadata(weights)).SerializeToString())
    return path


def pictures(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", [str, lambda path: path, lambda path: path.read_bytes()])
@pytest.mark.parametrize("threads", [1, 2, None])
def test_a_file_paints_as_its_network(path, kind, threads):
    engine = OnnxRuntimeEngine(kind(path), threads)
    assert (engine.name, engine.precision, engine.device) == ("onnxruntime", "float32", torch.device("cpu"))
    assert engine.weights.metadata["style"] == "test-style"
    images = pictures(2, 3, 21, 35)
    painted = engine.paint(images)
    assert painted.is_contiguous() and painted.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(painted, NETWORK(images).clamp(0, 1), atol=1e-4, rtol=0)


def test_memory_formats_and_gradients(path):
    engine = OnnxRuntimeEngine(path, 1)
    images = pictures(1, 3, 20, 18)
    expected = engine.paint(images)
    for other in (
        images.contiguous(memory_format=torch.channels_last),
        pictures(1, 3, 20, 36).new_zeros(1, 3, 20, 36)[..., ::2].copy_(images),
        images.clone().requires_grad_(),
    ):
        result = engine.paint(other)
        assert result.is_contiguous() and not result.requires_grad
        torch.testing.assert_close(result, expected, atol=0, rtol=0)


def test_earlier_results_stay_as_they_are(path):
    engine = OnnxRuntimeEngine(path, 1)
    first = engine.paint(pictures(1, 3, 16, 16))
    before = first.clone()
    engine.paint(pictures(1, 3, 16, 16) * 0.1)
    torch.testing.assert_close(first, before, atol=0, rtol=0)


def test_read_metadata(path):
    weights = read_metadata(path)
    assert (weights.architecture, weights.metadata["preset"]) == (NETWORK.config, "fast")


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match=r"a.onnx is no ONNX file"):
        OnnxRuntimeEngine(path)
    with pytest.raises(WeightsError, match=r"the ONNX model is no ONNX file"):
        OnnxRuntimeEngine(b"nothing of the kind")


def test_a_graph_that_does_not_fit_together(path):
    model = onnx.load_model_from_string(path.read_bytes())
    model.graph.node[5].op_type = "NoSuchOperator"
    with pytest.raises(WeightsError, match="ONNX Runtime cannot load the ONNX model: ") as caught:
        OnnxRuntimeEngine(model.SerializeToString())
    assert "\n" not in str(caught.value)


def test_a_graph_that_fails_at_work(path):
    model = onnx.load_model_from_string(path.read_bytes())
    # Weights of 5 instead of 3 colours make the first convolution impossible for the pictures that come.
    for tensor in model.graph.initializer:
        if tensor.name == "encoder.0.weight":
            tensor.CopyFrom(onnx.helper.make_tensor(tensor.name, 1, [4, 5, 3, 3], [0.0] * 180))
    with pytest.raises(StylizeError, match="ONNX Runtime"):
        OnnxRuntimeEngine(model.SerializeToString(), 1).paint(pictures(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Failed to allocate memory for requested buffer", "not enough memory for 2 pictures of 30x20 px.*--size 15"),
        ("bad\nsecond line", "ONNX Runtime failed: bad$"),
    ],
)
def test_failures_while_painting(path, monkeypatch, text, message):
    engine = OnnxRuntimeEngine(path, 1)

    class Failing:
        def io_binding(self):
            return engine_binding

        def run_with_iobinding(self, binding):
            raise RuntimeError(text)

    engine_binding = engine._session.io_binding()
    monkeypatch.setattr(engine, "_session", Failing())
    with pytest.raises(StylizeError, match=message):
        engine.paint(pictures(2, 3, 20, 30))


def test_without_the_package(path, monkeypatch):
    assert available()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not available()
    with pytest.raises(InputError, match=r"needs the package onnxruntime.*pip install 'stylize\[onnx\]'"):
        OnnxRuntimeEngine(path)


def test_the_module_imports_neither_package():
    assert not {"onnx", "onnxruntime"} & set(vars(onnxruntime_engine))
