"""What a user means by a style: a shipped name, a weights file, or an ONNX file made by ``stylize export``."""

from __future__ import annotations

import os
from pathlib import Path

from stylize.checkpoints import WeightsFile
from stylize.config import parse_norm
from stylize.errors import InputError
from stylize.zoo import resolve_weights

ONNX_SUFFIX = ".onnx"


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Say whether a path or a style is that of an ONNX file, by its suffix."""
    return os.fspath(path).lower().endswith(ONNX_SUFFIX)


def choose_style(style: str | os.PathLike[str], norm: str | None = None, preset: str | None = None) -> WeightsFile:
    """Return what the file of a style says about its network, without loading the network.

    Args:
        style: Name of a shipped style, or a path to a .safetensors or .onnx file (:func:`zoo.resolve_weights`).
        norm: Normalisation. None means ``instance`` for a name and whatever the file holds for a path.
        preset: Architecture of a shipped style; not accepted with a path, because the file decides.

    Raises:
        InputError: No such style; the file holds another normalisation; or the package ``onnx`` is needed and missing.
        WeightsError: The file is missing, damaged or of another kind.
    """
    if not is_onnx(style):
        return resolve_weights(style, norm, preset)
    from stylize.engines.onnx_files import read_metadata

    if preset is not None:
        raise InputError(f"preset '{preset}' given with the file '{style}'; the file holds its architecture")
    weights = read_metadata(Path(style))
    if norm is not None and weights.architecture.norm != str(parse_norm(norm)):
        raise InputError(f"'{style}' holds a network with {weights.architecture.norm} norm, not with {norm} norm")
    return weights
