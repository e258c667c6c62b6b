"""The ONNX graph of a program, built node by node.

The graph takes pictures of any size, from 1x1, in batches of any length, and does all that
:mod:`stylize.program` says, the continuation of the picture and the crop included. It needs no operator that is newer
than :data:`OPSET` and none that is not part of ONNX. Three things are put another way than PyTorch does, with the same
result in less time:

- ``SpaceToDepth`` orders channels differently than ``pixel_unshuffle``; the first convolution's weights follow it.
- An upsampling layer computes its four phases in reverse order on (H + 1) x (W + 1) positions, shuffles them to
  (2H + 2) x (2W + 2) and drops one row or column at each side. Phase p of position y comes from position y + p, so the
  shuffle puts it, at offset 1 - p, to 2 (y + p) + (1 - p) = 2y + p + 1; which is 2y + p behind the crop.
- A last convolution at full resolution computes blocks of :data:`BLOCK` x :data:`BLOCK` pixels at once. What follows
  the last convolution is done before its pixels are shuffled, where engines merge it with the convolution.

Reference: ONNX operator set 17 (github.com/onnx/onnx, docs/Operators.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stylize import __version__
from stylize.applied_norms import AppliedNorm
from stylize.checkpoints import WeightsFile
from stylize.engines.onnx_files import (
    INPUT,
    IR_VERSION,
    MAXIMUM_BYTES,
    OPSET,
    OUTPUT,
    file_metadata,
    require_onnx,
)
from stylize.errors import InputError
from stylize.program import Layer, Program
from stylize.transformer import OUTPUT_SCALE, padded_size

if TYPE_CHECKING:
    import onnx

BLOCK = 2
"""Side of the pixel blocks that the last convolution computes at once where it works at full resolution. Three output
channels leave most of a CPU's vector unit empty; twelve fill it, for (K + 1)^2 / K^2 of the multiplications."""


def onnx_model(program: Program, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """Return the ONNX model of a program.

    Its input ``photo`` and its output ``painting`` are float32 (batch, 3, height, width), RGB in [0, 1], every side
    dynamic and at least 1. Nodes are named by what they belong to: ``encoder.0.convolution``, ``blocks.2.1.norm``.

    Args:
        program: What to compute.
        metadata: What to write into the model beside the weights, names to texts
            (:func:`stylize.engines.onnx_files.file_metadata`); None writes down the architecture only.

    Raises:
        InputError: The package ``onnx`` is not installed, or the network is too large for an ONNX file.
    """
    require_onnx()
    from onnx import TensorProto, checker, helper

    if metadata is None:
        metadata = file_metadata(WeightsFile(Path("network"), program.config, {}))
    weights_bytes = 4 * sum(layer.weight.numel() for layer in program.layers)
    if weights_bytes > 0.99 * MAXIMUM_BYTES:
        raise InputError(f"a network of {weights_bytes / 1e9:.1f} GB given; an ONNX file holds at most 2 GB")
    graph = _Graph()
    painting = _pictures(graph, program)
    sides = ["batch", 3, "height", "width"]
    photo = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, sides)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "stylize",
            [photo],
            [helper.make_tensor_value_info(painting, TensorProto.FLOAT, sides)],
            graph.constants,
        ),
        producer_name="stylize",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata))
    checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and constants, added one after the other; every method returns the name of the result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names: set[str] = set()

    def add(self, kind: str, inputs: Iterable[str], name: str, **attributes: object) -> str:
        """Add a node whose only result is called as the node."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: object, name: str) -> str:
        """Add a constant, once for each name: float32 from a tensor or a float, int64 from whole numbers."""
        from onnx import numpy_helper

        if name not in self._names:
            if isinstance(value, Tensor):
                array = value.detach().to(torch.float32).contiguous().numpy()
            else:
                array = np.asarray(value)
                array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
            self._names.add(name)
            self.constants.append(numpy_helper.from_array(array, name))
        return name

    def whole(self, *values: int) -> str:
        """Add a constant of one dimension, named after what it holds."""
        return self.constant(list(values), "whole." + "_".join(map(str, values)))

    def slice(self, features: str, starts: tuple[int, int], ends: str, name: str) -> str:
        """Cut height and width."""
        return self.add("Slice", [features, self.whole(*starts), ends, self.whole(2, 3)], name)


def _pictures(graph: _Graph, program: Program) -> str:
    """Add everything and return the name of the result."""
    features = INPUT
    smallest = padded_size(program.config, 1, 1)
    for axis in (2, 3):
        features = _continued(graph, features, axis, program.config.reduction, smallest[axis - 2])
    encoder = list(program.encoder)
    if program.unshuffle > 1:
        features = graph.add("SpaceToDepth", [features], "unshuffle", blocksize=program.unshuffle)
        encoder[0] = _in_order_of_space_to_depth(encoder[0], program.unshuffle)
    for position, layer in enumerate(encoder):
        features = _layer(graph, layer, features, f"encoder.{position}")
    for position, block in enumerate(program.blocks):
        hidden = features
        for second, layer in enumerate(block):
            hidden = _layer(graph, layer, hidden, f"blocks.{position}.{second}")
        features = graph.add("Add", [features, hidden], f"blocks.{position}.sum")
    for position, layer in enumerate(program.decoder[:-1]):
        features = _layer(graph, layer, features, f"decoder.{position}")
    return _end(graph, program, features, f"decoder.{len(program.decoder) - 1}")


def _continued(graph: _Graph, pictures: str, axis: int, step: int, smallest: int) -> str:
    """Continue pictures by reflection to what the network's strides divide; see
    :func:`stylize.transformer.mirrored_indices` and :func:`stylize.transformer.padded_size`."""
    place = ("height", "width")[axis - 2]
    zero, one = graph.constant(0, "zero"), graph.constant(1, "one")
    shape = graph.add("Shape", [INPUT], f"{place}.shape", start=axis, end=axis + 1)
    length = graph.add("Squeeze", [shape], place)
    wanted = graph.add("Add", [length, graph.constant(step - 1, "step.less_one")], f"{place}.above")
    steps = graph.add("Div", [wanted, graph.constant(step, "step")], f"{place}.steps")
    rounded = graph.add("Mul", [steps, "step"], f"{place}.rounded")
    target = graph.add("Max", [rounded, graph.constant(smallest, f"{place}.smallest")], f"{place}.target")
    positions = graph.add("Range", [zero, target, one], f"{place}.positions")
    # The row 0 1 2 1, 0 1 2 1, ...: a period of 2 (length - 1); 1 where there is but one position.
    last = graph.add("Sub", [length, one], f"{place}.last")
    double = graph.add("Add", [last, last], f"{place}.double")
    period = graph.add("Max", [double, one], f"{place}.period")
    within = graph.add("Mod", [positions, period], f"{place}.within")
    back = graph.add("Sub", [period, within], f"{place}.back")
    indices = graph.add("Min", [within, back], f"{place}.indices")
    return graph.add("Gather", [pictures, indices], f"{place}.continued", axis=axis)


def _in_order_of_space_to_depth(layer: Layer, side: int) -> Layer:
    """Reorder the input channels from (channel, row, column) of ``pixel_unshuffle`` to (row, column, channel)."""
    parts = layer.weight.unflatten(1, (-1, side, side))
    return replace(layer, weight=parts.permute(0, 2, 3, 1, 4, 5).flatten(1, 3))


def _in_reverse_phases(layer: Layer) -> Layer:
    """Reverse the four phases of an upsampling layer."""
    weight, bias = (one.unflatten(0, (4, -1)).flip(0).flatten(0, 1) for one in (layer.weight, layer.bias))
    return replace(layer, weight=weight, bias=bias)


def _in_blocks(layer: Layer) -> Layer:
    """Let a convolution compute blocks of pixels at once, ordered as ``pixel_shuffle`` expects: (channel, row, column).

    Pixel (i, j) of a block sees the kernel moved by (i, j); the kernel of the block has room for all of them.
    """
    channels, inside, size, _ = layer.weight.shape
    weight = layer.weight.new_zeros(channels, BLOCK, BLOCK, inside, size + BLOCK - 1, size + BLOCK - 1)
    for i in range(BLOCK):
        for j in range(BLOCK):
            weight[:, i, j, :, i : i + size, j : j + size] = layer.weight
    return replace(layer, weight=weight.flatten(0, 2), bias=layer.bias.repeat_interleave(BLOCK**2), stride=BLOCK)


def _convolution(graph: _Graph, layer: Layer, features: str, name: str, padding: int) -> str:
    """Add padding and convolution only."""
    if padding:
        pads = graph.whole(0, 0, padding, padding, 0, 0, padding, padding)
        mode = "edge" if layer.upsampling else "reflect"
        features = graph.add("Pad", [features, pads], f"{name}.padding", mode=mode)
    weights = (graph.constant(layer.weight, f"{name}.weight"), graph.constant(layer.bias, f"{name}.bias"))
    kernel, strides = list(layer.weight.shape[2:]), [layer.stride] * 2
    return graph.add("Conv", [features, *weights], f"{name}.convolution", kernel_shape=kernel, strides=strides)


def _layer(graph: _Graph, layer: Layer, features: str, name: str) -> str:
    if layer.upsampling:
        layer = _in_reverse_phases(layer)
    features = _convolution(graph, layer, features, name, layer.padding)
    if layer.norm is None and layer.relu:
        # Here, and not behind a shuffle, engines merge it with the convolution.
        features = graph.add("Relu", [features], f"{name}.relu")
    if layer.upsampling:
        features = graph.add("DepthToSpace", [features], f"{name}.shuffle", blocksize=2, mode="DCR")
        features = graph.slice(features, (1, 1), graph.whole(-1, -1), f"{name}.crop")
    if layer.norm is not None:
        features = _norm(graph, layer.norm, features, f"{name}.norm")
        if layer.relu:
            features = graph.add("Relu", [features], f"{name}.relu")
    return features


def _norm(graph: _Graph, norm: AppliedNorm, features: str, name: str) -> str:
    """Add ``fixed * x + scale * (x - mean) / sqrt(variance + epsilon) + shift``."""
    scale, shift = norm.scale, norm.shift
    if norm.groups == norm.channels:
        factors = (graph.constant(scale, f"{name}.scale"), graph.constant(shift, f"{name}.shift"))
        varying = graph.add("InstanceNormalization", [features, *factors], name, epsilon=norm.epsilon)
    else:
        # A group is made one channel of as many rows; GroupNormalization is younger than OPSET.
        ones = graph.constant(torch.ones(norm.groups), f"{name}.ones")
        zeros = graph.constant(torch.zeros(norm.groups), f"{name}.zeros")
        grouped = graph.add("Reshape", [features, graph.whole(0, norm.groups, -1)], f"{name}.grouped")
        grouped = graph.add("InstanceNormalization", [grouped, ones, zeros], f"{name}.groups", epsilon=norm.epsilon)
        shape = graph.add("Shape", [features], f"{name}.shape")
        varying = graph.add("Reshape", [grouped, shape], f"{name}.normalised")
        varying = graph.add("Mul", [varying, graph.constant(scale[:, None, None], f"{name}.scale")], f"{name}.scaled")
        varying = graph.add("Add", [varying, graph.constant(shift[:, None, None], f"{name}.shift")], name)
    if not bool((norm.fixed != 0).any()):
        return varying
    fixed = graph.constant(norm.fixed[:, None, None], f"{name}.fixed")
    return graph.add("Add", [varying, graph.add("Mul", [features, fixed], f"{name}.kept")], f"{name}.sum")


def _end(graph: _Graph, program: Program, features: str, name: str) -> str:
    """Add the last layer, the range of the output, the last shuffle and the crop."""
    layer, shuffle, mode, start = program.decoder[-1], program.shuffle, "CRD", 0
    padding = layer.padding
    if layer.upsampling:
        layer, shuffle, mode, start = _in_reverse_phases(layer), 2, "DCR", 1
    elif shuffle == 1 and program.config.reduction % BLOCK == 0:
        layer, shuffle = _in_blocks(layer), BLOCK
    features = _convolution(graph, layer, features, name, padding)
    features = graph.add("Tanh", [features], "output.tanh")
    features = graph.add("Mul", [features, graph.constant(OUTPUT_SCALE, "output.scale")], "output.scaled")
    features = graph.add("Add", [features, graph.constant(0.5, "output.middle")], "output.shifted")
    limits = (graph.constant(0.0, "output.lowest"), graph.constant(1.0, "output.highest"))
    features = graph.add("Clip", [features, *limits], "output.clamped")
    if shuffle > 1:
        features = graph.add("DepthToSpace", [features], "output.shuffle", blocksize=shuffle, mode=mode)
    ends = graph.add("Shape", [INPUT], "photo.shape", start=2, end=4)
    if start:
        ends = graph.add("Add", [ends, graph.whole(start)], "photo.ends")
    return graph.slice(features, (start, start), ends, OUTPUT)
