"""ONNX files are run only where they are, node by node, the graph of the architecture that they name."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from stylize.config import NORM_NAMES  # noqa: E402
from stylize.engines.onnx_graph import onnx_model  # noqa: E402
from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine  # noqa: E402
from stylize.errors import WeightsError  # noqa: E402
from stylize.exporting import export_onnx  # noqa: E402
from stylize.program import lower  # noqa: E402
from stylize.transformer import TransformerNet  # noqa: E402
from tests.helpers import tiny_config, tiny_weights  # noqa: E402

CONFIGS = {
    **{norm: tiny_config(norm) for norm in NORM_NAMES},
    "instance@encoder": tiny_config("instance@encoder"),
    "fast": tiny_config(channels=(8,), space_to_depth=4),
    "shuffled": tiny_config(channels=(8,), space_to_depth=4, output="shuffle"),
    "half": tiny_config(channels=(8,), space_to_depth=2),
}


@pytest.fixture
def exported(tmp_path):
    export_onnx(tiny_weights(tmp_path / "a.safetensors"), tmp_path / "a.onnx")
    return tmp_path / "a.onnx"


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_exported_is_accepted_whatever_its_norms(tmp_path, name, seed):
    import torch

    network = TransformerNet(CONFIGS[name], seed=seed).eval()
    if seed:  # so that no part of a mixed norm is nothing
        with torch.no_grad():
            for key, tensor in network.state_dict().items():
                if key.endswith("gate"):
                    tensor.fill_(0.4)
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx_model(lower(network)).SerializeToString())
    assert OnnxRuntimeEngine(path).weights.architecture == CONFIGS[name]


def changed(path, change):
    model = onnx.load_model_from_string(path.read_bytes())
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    return path


def node(graph, name):
    return next(one for one in graph.node if one.name == name)


def constant(graph, name):
    return next(one for one in graph.initializer if one.name == name)


def larger_pictures(graph):
    smallest = constant(graph, "height.smallest")
    smallest.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(smallest) * 10**8, smallest.name))


def more_padding(graph):
    pads = next(one for one in graph.initializer if one.name.startswith("whole.0_0_"))
    pads.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(pads) + 10**6, pads.name))


def another_operator(graph):
    node(graph, "output.tanh").op_type = "Sigmoid"


def one_more_node(graph):
    graph.node.insert(0, helper.make_node("ConstantOfShape", ["photo.shape"], ["huge"], name="huge"))


def one_more_constant(graph):
    graph.initializer.append(helper.make_tensor("huge", TensorProto.INT64, [2], [10**6, 10**6]))


def a_loop_of_edges(graph):
    node(graph, "output.tanh").input[0] = "photo"


def another_attribute(graph):
    node(graph, "encoder.0.convolution").attribute[0].ints[0] += 2


def weights_without_their_bytes(graph):
    weights = constant(graph, "encoder.0.weight")
    weights.raw_data = weights.raw_data[:-4]


@pytest.mark.parametrize(
    "change",
    [
        larger_pictures, more_padding, another_operator, one_more_node, one_more_constant, a_loop_of_edges,
        another_attribute, weights_without_their_bytes,
    ],
)  # fmt: skip
def test_anything_else_is_refused_before_onnx_runtime_sees_it(exported, monkeypatch, change):
    import onnxruntime

    OnnxRuntimeEngine(exported)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("it was run"))
    with pytest.raises(WeightsError, match=r"a\.onnx .*export it again") as caught:
        OnnxRuntimeEngine(changed(exported, change))
    assert str(caught.value).isprintable()


def test_other_values_of_the_weights_are_what_files_are_for(exported):
    def change(graph):
        weights = constant(graph, "encoder.0.weight")
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 2, weights.name))

    OnnxRuntimeEngine(changed(exported, change))
