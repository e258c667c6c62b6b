"""Loading the networks of styles as Stylizers, the objects that repaint pictures (:mod:`stylize.repainting`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from stylize.checkpoints import WeightsFile
from stylize.controls import checked_strength
from stylize.default_styles import as_collection, default_style, first_style
from stylize.devices import choose_device
from stylize.engines.choice import make_engine
from stylize.errors import InputError
from stylize.palette import Palette
from stylize.repainting import Stylizer
from stylize.style_choice import ChosenStyle, choose_style, is_onnx, load_style

__all__ = ["Stylizer", "load", "load_styles"]


def load(
    style: str | os.PathLike[str] | ChosenStyle | None = None,
    norm: str | None = None,
    *,
    collection: str | os.PathLike[str] | None = None,
    strength: float = 1.0,
    preset: str | None = None,
    device: str = "auto",
    engine: str | None = None,
    precision: str = "auto",
    on_fallback: Callable[[str], None] | None = None,
) -> Stylizer:
    """Load a network that repaints pictures.

    Args:
        style: Name of a shipped style (:func:`stylize.list_styles`); or a path to a weights file or to a style file: a
            string with the suffix .safetensors or with a path separator, or a path object; or a folder with a
            ``model.safetensors`` (:mod:`stylize.model_folders`); or a mixture of names and style files,
            ``great-wave:0.6,starry-night:0.4``. A file with the suffix .onnx, made by ``stylize export``,
            runs in ONNX Runtime. A collection, by name or path, stands for its first style. None takes
            :func:`stylize.default_styles.default_style`.
        norm: Normalisation the network is built with. None means ``instance`` for a shipped style, and whatever the
            file holds for a path.
        collection: Where names of styles are looked up: name of a shipped collection, or its file.
        strength: From 0, the photo, over 1, the style, to 1.5 (:mod:`stylize.repainting`).
        preset: Architecture of a shipped style; None takes ``fast`` where there is one.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        engine: What computes: ``torch``, ``onnxruntime``, ``openvino``, or ``auto`` for the fastest that is installed
            (:func:`stylize.engines.choice.make_engine`). None takes ``torch``, and for an ONNX file ``onnxruntime``.
        precision: ``float32``, ``bfloat16``, ``float16``, ``int8``, or ``auto``: bfloat16 where a CPU multiplies it
            natively and the engine can; on a CUDA GPU float16 where it agrees with float32; else float32.
        on_fallback: Called with a line of text for each engine or precision that ``auto`` had to pass over, and before
            a network is quantised, which takes seconds.

    Raises:
        InputError: No such style, or not with that norm or preset; no such engine, or one that is not installed; a
            strength out of range.
        WeightsError: The weights file is missing, damaged or of another kind.
        DeviceError: The device is not there.
    """
    strength = checked_strength(strength)
    if isinstance(style, ChosenStyle):
        chosen = style
    elif collection is None and style is not None and (whole := as_collection(style)) is not None:
        chosen = first_style(whole, norm, preset)
    else:
        chosen = choose_style(default_style(collection) if style is None else style, norm, preset, collection)
    loaded = load_styles(
        [chosen], strength=strength, device=device, engine=engine, precision=precision, on_fallback=on_fallback
    )
    return next(loaded)


def load_styles(
    chosen: Iterable[ChosenStyle],
    *,
    strength: float = 1.0,
    device: str = "auto",
    engine: str | None = None,
    precision: str = "auto",
    on_fallback: Callable[[str], None] | None = None,
) -> Iterator[Stylizer]:
    """Load several styles, one when it is asked for; those of one collection share its file, which is read once.

    Args:
        chosen: The styles, from :func:`stylize.style_choice.choose_style`.
        strength: See :func:`load`, like all others.
        device: Name of the device.
        engine: Name of the engine.
        precision: Name of the precision.
        on_fallback: See :func:`load`.

    Raises:
        InputError: No such engine, or one that is not installed.
        WeightsError: A file is damaged.
        DeviceError: The device is not there.
    """
    palettes: dict[tuple[object, ...], Palette] = {}
    for one in chosen:
        if is_onnx(one.weights.path):
            yield _load_onnx(one.weights, strength, device, engine, precision)
            continue
        where = choose_device(device)
        palette = None
        if one.collection is None:
            network, weights = load_style(one, str(where))
        else:
            key = (one.collection.weights.path, one.collection.digest)
            if key not in palettes:
                palettes[key] = Palette(one.collection)
            palette = palettes[key].with_additions(one.additions)
            network, weights = palette.take(one.shares, palette.movable(strength)).to(where), one.described
        made = make_engine(network, engine or "torch", precision, where, on_fallback=on_fallback)
        yield Stylizer(network, weights, where, made, strength=strength, palette=palette, shares=one.shares)


def _load_onnx(weights: WeightsFile, strength: float, device: str, engine: str | None, precision: str) -> Stylizer:
    """Load an ONNX file, which holds a network that is ready to run but cannot be looked into."""
    for given, accepted, what in (
        (engine, (None, "auto", "onnxruntime"), "engine"),
        (precision, ("auto", "float32"), "precision"),
        (device, ("auto", "cpu"), "device"),
    ):
        if given not in accepted:
            named = " or ".join(f"'{one}'" for one in accepted if one)
            raise InputError(f"{what} '{given}' given with the ONNX file '{weights.path}'; {named} is accepted")
    from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine

    return Stylizer(None, weights, "cpu", OnnxRuntimeEngine(weights.path), strength=strength)
