"""A network as a folder in the layout of the Hugging Face hub: ``model.safetensors``, ``config.json``, ``README.md``.

Written and read without a network connection and without any package of the hub. Only the safetensors file is
trusted: architecture and facts are read from its header. :func:`stylize.load` takes the path of such a folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylize.checkpoints import MODEL_FILE, WeightsFile, load_network, replacing, save_network
from stylize.errors import InputError, OutputError
from stylize.model_cards import model_card, model_config
from stylize.style_choice import ChosenStyle, is_onnx, load_style
from stylize.style_collections import Collection, load_collection
from stylize.zoo import collection_name, preset_name, style_name

if TYPE_CHECKING:
    from stylize.transformer import TransformerNet

CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
FILES = (MODEL_FILE, CONFIG_FILE, CARD_FILE)


@dataclass(frozen=True)
class FolderReport:
    """What was written.

    Attributes:
        output: The folder.
        style: Name of the style or of the collection.
        styles: Names of the styles in it.
        norm: Normalisation of the network.
        preset: Name of its architecture.
        file_size: Bytes of the weights.
        seconds: Time for everything.
    """

    output: Path
    style: str
    styles: tuple[str, ...]
    norm: str
    preset: str
    file_size: int
    seconds: float


def default_folder(network: ChosenStyle | Collection) -> Path:
    """Return where a network is written by default: STYLE-NORM in the current folder."""
    weights = _described(network)
    name = f"{_name(network, weights)}-{weights.architecture.norm}"
    return Path(name.replace("/", "-").replace(os.sep, "-"))


def write_model_folder(
    network: ChosenStyle | Collection, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> FolderReport:
    """Write a network as a folder; other files that lie there stay.

    A network of one style and a collection are copied byte for byte. One style of a collection, or a mixture, becomes
    a network of one style, whose numbers are kept exactly.

    Args:
        network: What to write, from :func:`stylize.style_choice.choose_style` or
            :func:`stylize.style_choice.choose_collection`.
        folder: Where to; it is made where it is missing.
        overwrite: Replace the three files of such a folder.

    Raises:
        InputError: An ONNX file, or ``folder`` is the name of a file.
        WeightsError: The weights file is damaged.
        OutputError: One of the files exists, or cannot be written; nothing is left half-written.
    """
    started = time.perf_counter()
    folder = Path(folder)
    if isinstance(network, ChosenStyle) and is_onnx(network.weights.path):
        raise InputError(f"'{network.weights.path}' is an ONNX file; the name of a style or its weights file is needed")
    _check_folder(folder, overwrite)
    collection = network if isinstance(network, Collection) else None
    weights, made, copied = _load(network)
    texts = {
        CONFIG_FILE: json.dumps(model_config(weights, collection), indent=2) + "\n",
        CARD_FILE: model_card(weights, collection),
    }
    existed, done = folder.exists(), False
    try:
        # All three under temporary names first: each gets its own name only when every one of them is written.
        with contextlib.ExitStack() as stack:
            places = {name: stack.enter_context(replacing(folder / name)) for name in FILES}
            if made is None:
                places[MODEL_FILE].write_bytes(copied)
            else:
                save_network(places[MODEL_FILE], made, weights.metadata, dtype=_exact_dtype(made))
            for name, text in texts.items():
                places[name].write_text(text, encoding="utf-8")
            size = places[MODEL_FILE].stat().st_size
        done = True
    finally:
        if not done and not existed:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return FolderReport(
        output=folder,
        style=_name(network, weights),
        styles=(style_name(weights),) if collection is None else collection.painted_names,
        norm=weights.architecture.norm,
        preset=preset_name(weights),
        file_size=size,
        seconds=time.perf_counter() - started,
    )


def _check_folder(folder: Path, overwrite: bool) -> None:
    """Check, before anything is computed, that a folder may be written."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the output {folder} is a file; the name of a folder is accepted")
    if folder.suffix.lower() in (".safetensors", ".onnx"):
        raise InputError(f"the output {folder} has the suffix of a file; the name of a folder is accepted")
    there = [name for name in FILES if (folder / name).exists()]
    if there and not overwrite:
        raise OutputError(f"{folder} holds {', '.join(there)} already; pass --overwrite or another name")


def _described(network: ChosenStyle | Collection) -> WeightsFile:
    return network.weights if isinstance(network, Collection) else network.described


def _name(network: ChosenStyle | Collection, weights: WeightsFile) -> str:
    return collection_name(network) if isinstance(network, Collection) else style_name(weights)


def _load(network: ChosenStyle | Collection) -> tuple[WeightsFile, TransformerNet | None, bytes]:
    """Return what is known of a network, and the network or the bytes of its file, whose tensors are checked."""
    if isinstance(network, ChosenStyle) and network.collection is not None:
        made, weights = load_style(network)
        # What is recorded counts the whole collection, or what a style file has of its own.
        return replace(weights, metadata=weights.metadata | {"parameters": made.parameter_count}), made, b""
    if isinstance(network, Collection):
        load_collection(network)
    else:
        load_network(network.weights.path)
    return network.weights, None, network.weights.path.read_bytes()


def _exact_dtype(network: TransformerNet) -> str:
    """Return the smallest number format in which the weights of a network stay what they are."""
    tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    return "float16" if all(bool((tensor.half().float() == tensor).all()) for tensor in tensors) else "float32"
