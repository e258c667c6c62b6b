"""Which style is meant where none is named: the usual one, or one of a collection."""

from __future__ import annotations

import os
from pathlib import Path

from stylize import zoo
from stylize.checkpoints import read_weights_file
from stylize.style_choice import ChosenStyle, choose_collection, choose_style, is_onnx
from stylize.style_collections import Collection, is_style_file, read_collection
from stylize.zoo import DEFAULT_STYLE, collection_name


def default_style(collection: str | os.PathLike[str] | Collection | None = None) -> str:
    """Return the style that is taken where none is named: the usual one, or in a collection without it, the first.

    Raises:
        InputError: No such collection.
        WeightsError: The file of the collection is missing, damaged, or no collection.
    """
    if collection is None:
        return DEFAULT_STYLE
    found = choose_collection(collection)
    return DEFAULT_STYLE if DEFAULT_STYLE in found.names else (*found.painted_names, *found.names)[0]


def as_collection(style: str | os.PathLike[str]) -> Collection | None:
    """Return the collection that the name or the file of a style turns out to be, or None.

    Raises:
        WeightsError: A file that is missing or damaged.
    """
    if isinstance(style, str) and not zoo.is_path(style):
        found = [one for one in zoo.list_collections() if collection_name(one) == style]
        return found[0] if found and style not in zoo.list_styles() else None
    path = Path(style)
    if is_onnx(path) or (isinstance(style, str) and not os.path.exists(path)) or is_style_file(path):
        return None
    return read_collection(path) if read_weights_file(path).architecture.conditional else None


def first_style(collection: Collection, norm: str | None = None, preset: str | None = None) -> ChosenStyle:
    """Return the first style of a collection that is a painting."""
    return choose_style((*collection.painted_names, *collection.names)[0], norm, preset, collection)
