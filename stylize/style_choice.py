"""What a user means by a style: a shipped name, a weights file, or an ONNX file made by ``stylize export``."""

from __future__ import annotations

import os

from stylize.checkpoints import WeightsFile
from stylize.zoo import read_style_file, resolve_weights

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

    return read_style_file(style, norm, preset, read_metadata)
