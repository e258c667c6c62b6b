"""Whether an ONNX file computes what its own architecture says: node by node the graph that stylize writes for it.

The operators of ONNX are a programming language, if a small one. A file can ask for pictures of any size, for any time
and any memory, with nothing but permitted operators and a few bytes of weights. So before a file is run, the graph for
its architecture is built anew, and only the numbers of its weights may be others.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from stylize.applied_norms import AppliedNorm
from stylize.checkpoints import WeightsFile
from stylize.engines.onnx_graph import onnx_model
from stylize.errors import WeightsError
from stylize.program import Layer, Program, lower
from stylize.transformer import TransformerNet

if TYPE_CHECKING:
    import onnx


def check_graph(content: bytes, weights: WeightsFile) -> None:
    """Check that an ONNX file is, but for the values of its weights, the one that stylize writes.

    Args:
        content: The file, which :func:`stylize.engines.onnx_files.check_content` has accepted.
        weights: What it says about its network.

    Raises:
        WeightsError: It is not.
    """
    import onnx

    graph = onnx.load_model_from_string(content).graph
    program = lower(TransformerNet(weights.architecture).eval())
    expected = onnx_model(_with_norms_of(program, graph)).graph
    fitting = len(graph.initializer) == len(expected.initializer) and all(
        _same_kind(one, other) for one, other in zip(graph.initializer, expected.initializer, strict=True)
    )
    del graph.initializer[:], expected.initializer[:]
    if not fitting or graph != expected:
        raise WeightsError(
            f"{weights.path} computes something else than the network that it says it is, or was made by another "
            "version of stylize; export it again"
        )


def _with_norms_of(program: Program, graph: onnx.GraphProto) -> Program:
    """Return a program with normalisations where a graph has them.

    Those that are fixed for certain weights are folded into convolutions, so the architecture does not tell.
    """
    names = {node.name for node in graph.node}
    groups = {one.name: one.dims[0] for one in graph.initializer if len(one.dims) == 1}

    def changed(layer: Layer, name: str) -> Layer:
        if f"{name}.norm" not in names:
            return replace(layer, norm=None)
        channels = layer.channels_out
        count = groups.get(f"{name}.norm.ones", channels)
        count = count if 0 < count <= channels and channels % count == 0 else channels
        kept = torch.ones(channels) if f"{name}.norm.kept" in names else torch.zeros(channels)
        ones, zeros = torch.ones(channels), torch.zeros(channels)
        return replace(layer, norm=AppliedNorm(kept, ones, zeros, count, program.config.norm_epsilon))

    return replace(
        program,
        encoder=tuple(changed(layer, f"encoder.{number}") for number, layer in enumerate(program.encoder)),
        blocks=tuple(
            (changed(first, f"blocks.{number}.0"), changed(second, f"blocks.{number}.1"))
            for number, (first, second) in enumerate(program.blocks)
        ),
        decoder=(
            *(changed(layer, f"decoder.{number}") for number, layer in enumerate(program.decoder[:-1])),
            program.decoder[-1],
        ),
    )


def _same_kind(one: onnx.TensorProto, other: onnx.TensorProto) -> bool:
    """Return whether two constants are the same, or are weights of the same shape."""
    from onnx import TensorProto

    if one.data_type != TensorProto.FLOAT:
        return one == other  # shapes and sizes: what decides how much memory is taken
    same = (one.name, one.data_type, tuple(one.dims)) == (other.name, other.data_type, tuple(other.dims))
    return same and len(one.raw_data) == 4 * math.prod(one.dims)
