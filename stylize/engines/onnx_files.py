"""ONNX files made by stylize: what is written in them beside the network, and what is checked before one is run.

The metadata of such a file (names to texts) holds::

    stylize   JSON: format version, architecture and metadata of the weights file it was made from
    style, norm, preset, licence, opset    the same in plain words, for people and for other programs

An ONNX file can point to other files, to operators in a library and to shapes that fill any memory. So a file is
looked through first, and refused unless it is of the kind that :func:`stylize.engines.onnx_graph.onnx_model` makes.
This module needs the package ``onnx``, but neither torch nor ONNX Runtime.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from stylize.checkpoints import FORMAT, FORMAT_VERSION, LONGEST_KIND, WeightsFile, read_architecture
from stylize.errors import InputError, WeightsError
from stylize.plain_json import read_table
from stylize.zoo import preset_name, style_name

if TYPE_CHECKING:
    import onnx

SUFFIX = ".onnx"

OPSET = 17
"""Version of the ONNX operators in our files. ONNX Runtime has it since version 1.12."""

IR_VERSION = 8
"""Version of the file format that goes with it."""

INPUT, OUTPUT = "photo", "painting"
"""Names of the pictures that go in and come out: float32 (batch, 3, height, width), RGB in [0, 1]."""

MAXIMUM_BYTES = 2**31 - 1
"""An ONNX file cannot be larger (Protocol Buffers)."""

EXTRA = "pip install 'stylize[onnx]'"
"""What installs the packages ``onnx`` and ``onnxruntime``."""


def require_onnx() -> None:
    """Raise InputError where the package ``onnx`` cannot be imported."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise InputError(f"ONNX files need the package onnx, which cannot be imported ({error}): {EXTRA}") from error


def file_metadata(weights: WeightsFile) -> dict[str, str]:
    """Return what is written into the ONNX file of a network.

    Args:
        weights: The network's weights file.
    """
    header = {
        "format_version": FORMAT_VERSION,
        "architecture": asdict(weights.architecture),
        "metadata": weights.metadata,
    }
    return {
        FORMAT: json.dumps(header, sort_keys=True),
        "style": style_name(weights),
        "norm": weights.architecture.norm,
        "preset": preset_name(weights),
        "licence": str(weights.metadata.get("licence") or "not stated"),
        "opset": str(OPSET),
    }


def read_metadata(path: str | os.PathLike[str]) -> WeightsFile:
    """Return what an ONNX file made by stylize says about its network, in the form of a weights file's header.

    Raises:
        InputError: The package ``onnx`` is not installed.
        WeightsError: The file is missing, damaged, or not made by `stylize export`.
    """
    return read_checked(path)[1]


def read_checked(path: str | os.PathLike[str]) -> tuple[bytes, WeightsFile]:
    """Return the content of an ONNX file made by stylize, and what it says about its network.

    Raises:
        InputError: The package ``onnx`` is not installed.
        WeightsError: The file is missing, damaged, or not made by `stylize export`.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAXIMUM_BYTES:
                raise WeightsError(f"{path} has {size} bytes; an ONNX file has at most {MAXIMUM_BYTES}")
            content = file.read()
    except FileNotFoundError:
        raise WeightsError(f"ONNX file {path} not found") from None
    except IsADirectoryError:
        raise WeightsError(f"{path} is a folder; an ONNX file made by `stylize export` is accepted") from None
    except OSError as error:
        raise WeightsError(f"ONNX file {path} cannot be read ({error.strerror})") from error
    return content, check_content(content, path)


def check_content(content: bytes, path: Path) -> WeightsFile:
    """Check the content of an ONNX file and return what it says about its network.

    Args:
        content: All bytes of the file.
        path: What to call it in errors.

    Raises:
        InputError: The package ``onnx`` is not installed.
        WeightsError: The content is damaged, or not made by `stylize export`.
    """
    require_onnx()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        raise WeightsError(f"{path} is no ONNX file, or it is truncated ({len(content)} bytes)") from None
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if FORMAT not in metadata:
        kind = "an ONNX file of something else" if model.graph.node else "no ONNX file, or it is truncated"
        raise WeightsError(f"{path} is {kind}; a file made by `stylize export` is accepted")
    weights = _weights_file(metadata[FORMAT], path)
    fault = next(_faults(model, len(content)), None)
    if fault is not None:
        raise WeightsError(f"{path} {fault}, which no file made by `stylize export` has; export it again")
    return weights


def _weights_file(text: str, path: Path) -> WeightsFile:
    """Return the header that was written by :func:`file_metadata`."""
    try:
        header = read_table(text)
        if header["format_version"] != FORMAT_VERSION:
            version = str(header["format_version"])[:LONGEST_KIND]
            raise WeightsError(f"{path} has format version {version!r}, not {FORMAT_VERSION}: update stylize")
        architecture = read_architecture(json.dumps(header["architecture"]), path)
        metadata = header["metadata"]
        if not isinstance(metadata, dict):
            raise WeightsError(f"{path}: its metadata is no table")
        return WeightsFile(path, architecture, metadata)
    except WeightsError:  # a ValueError itself
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{path}: its metadata cannot be used ({error})") from error


def _faults(model: onnx.ModelProto, size: int) -> Iterator[str]:
    """Yield what keeps a file from being run: words that follow its name."""
    from onnx import AttributeProto, TensorProto

    graph = model.graph
    if model.functions or any(one.domain not in ("", "ai.onnx") for one in [*model.opset_import, *graph.node]):
        yield "needs operators that are not part of ONNX"
    for name, pictures in ((INPUT, graph.input), (OUTPUT, graph.output)):
        types = [one.type.tensor_type for one in pictures]
        shape = types[0].shape.dim if types else ()
        dynamic = len(shape) == 4 and shape[1].dim_value == 3 and not any(shape[i].dim_value for i in (0, 2, 3))
        if [one.name for one in pictures] != [name] or types[0].elem_type != TensorProto.FLOAT or not dynamic:
            yield f"has another {name} than float32 (batch, 3, height, width)"
    if len(graph.sparse_initializer) or len(graph.quantization_annotation) or len(model.training_info):
        yield "holds more than a graph and its weights"
    for node in graph.node:
        kinds = {attribute.type for attribute in node.attribute}
        if not kinds <= {AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT, AttributeProto.STRING}:
            yield "holds graphs or tensors inside its operators"
    for tensor in graph.initializer:
        if tensor.external_data or tensor.data_location != TensorProto.DEFAULT:
            yield "points to another file for its weights"
        # Compared before anything is allocated: it cannot ask for more memory than it has bytes.
        if any(side < 0 for side in tensor.dims) or math.prod(tensor.dims) > size:
            yield "holds weights of an impossible shape"
