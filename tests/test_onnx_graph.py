"""The ONNX graph of a program computes what the network computes, at any size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.config import PRESETS
from stylize.errors import InputError
from stylize.norms import NORMS
from stylize.program import Layer, Program, lower
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config
from tests.test_program import CONFIGS, trained

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from stylize.engines import onnx_graph  # noqa: E402
from stylize.engines.onnx_files import OPSET  # noqa: E402
from stylize.engines.onnx_graph import onnx_model  # noqa: E402
from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine  # noqa: E402

SHAPES = ((2, 29, 34), (1, 3, 51), (1, 2, 5), (1, 16, 16))
"""Batch, height and width: odd, smaller than the padding, and one that needs no padding."""


def engine(network: TransformerNet) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(onnx_model(lower(network)).SerializeToString(), threads=1)


def pictures(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


def painted(network: TransformerNet, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(images).clamp(0, 1)


@pytest.mark.parametrize("norm", [*NORMS, "instance@first", "batch@encoder+none", "ibn@decoder", "layer@residual"])
@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_the_graph_computes_what_the_network_computes(norm, changes):
    network = trained(tiny_config(norm, **changes), seed=3)
    runner = engine(network)
    for shape in SHAPES:
        images = pictures(*shape)
        torch.testing.assert_close(runner.paint(images), painted(network, images), atol=1e-4, rtol=0)


# Batch norm, because an instance norm divides rounding by rounding where a picture has a single colour.
@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_any_size(changes):
    network = trained(tiny_config("batch", **changes), seed=4)
    runner = engine(network)

    @settings(max_examples=12, deadline=None)
    @given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))
    def check(batch, height, width):
        images = pictures(batch, height, width)
        torch.testing.assert_close(runner.paint(images), painted(network, images), atol=1e-4, rtol=0)

    check()
    single = pictures(1, 1, 1)
    torch.testing.assert_close(runner.paint(single), painted(network, single), atol=1e-4, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_single_pixel_is_painted_with_every_norm(norm):
    result = engine(trained(tiny_config(norm, space_to_depth=4, channels=(6,)))).paint(pictures(2, 1, 1))
    assert result.shape == (2, 3, 1, 1)
    assert bool(((result >= 0) & (result <= 1)).all())


def test_the_pictures_of_a_batch_do_not_influence_each_other():
    runner = engine(trained(tiny_config("layer")))
    first, second = pictures(1, 20, 24), pictures(1, 20, 24) * 0.2
    together = runner.paint(torch.cat([first, second]))
    torch.testing.assert_close(together, torch.cat([runner.paint(first), runner.paint(second)]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_written_down(preset):
    program = lower(TransformerNet(PRESETS[preset]))
    model = onnx_model(program, {"stylize": "{}", "style": "great-wave"})
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert model.ir_version == 8
    assert {one.key: one.value for one in model.metadata_props} == {"stylize": "{}", "style": "great-wave"}
    for value, name in ((model.graph.input, "photo"), (model.graph.output, "painting")):
        (one,) = value
        sides = [side.dim_param or side.dim_value for side in one.type.tensor_type.shape.dim]
        assert (one.name, sides) == (name, ["batch", 3, "height", "width"])
    nodes = {node.name: node.op_type for node in model.graph.node}
    assert nodes["blocks.4.1.convolution"] == "Conv"
    assert nodes["blocks.4.1.norm"] == "InstanceNormalization"
    assert len(nodes) == len(model.graph.node)  # every node has a name of its own
    # Nothing is stored that no node reads.
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read


def test_a_folded_norm_leaves_only_convolutions():
    model = onnx_model(lower(trained(tiny_config("batch"))))
    kinds = {node.op_type for node in model.graph.node}
    assert "InstanceNormalization" not in kinds and "Conv" in kinds


def test_a_convolution_in_blocks_by_hand():
    layer = Layer(torch.tensor([[[[1.0, 2.0, 3.0]] * 3]]), torch.tensor([5.0]))
    blocks = onnx_graph._in_blocks(layer)
    assert (blocks.weight.shape, blocks.stride, blocks.bias.tolist()) == ((4, 1, 4, 4), 2, [5.0] * 4)
    # Pixel (row 0, column 1) of a block: the kernel one column further right.
    assert blocks.weight[1, 0].tolist() == [[0, 1, 2, 3]] * 3 + [[0] * 4]
    images = torch.rand(1, 1, 9, 7, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.conv2d(images[..., :8, :], layer.weight, layer.bias)[..., :4]
    result = torch.nn.functional.conv2d(images[..., :8, :6], blocks.weight, blocks.bias, stride=2)
    torch.testing.assert_close(torch.nn.functional.pixel_shuffle(result, 2), whole)


def test_a_network_too_large_for_a_file_is_refused():
    huge = torch.empty(1, device="meta").expand(2**15, 2**14, 1, 1)
    program = lower(TransformerNet(tiny_config()))
    layer = Layer(huge, torch.empty(0))
    too_large = Program(program.config, 1, (layer,), (), (layer,), 1)
    with pytest.raises(InputError, match=r"a network of 4\.3 GB given; an ONNX file holds at most 2 GB"):
        onnx_model(too_large)
