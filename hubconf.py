"""Entry points for torch.hub, from a checkout that need not be installed.

    import torch

    stylizer = torch.hub.load("path/to/checkout", "stylize", source="local", style="starry-night", norm="instance")
    stylizer(Image.open("photo.jpg")).save("painted.jpg")
    network = torch.hub.load("path/to/checkout", "transformer", source="local", style="great-wave", norm="batch")

The weights lie in the checkout; nothing is downloaded. Names that begin with an underscore are no entry points.
"""

from __future__ import annotations

import os
import typing

if typing.TYPE_CHECKING:
    from stylize.stylizer import Stylizer
    from stylize.transformer import TransformerNet

dependencies = ["torch", "numpy", "PIL", "safetensors"]
"""Packages without which torch.hub refuses to load an entry point: those that painting needs."""


def stylize(style: str | os.PathLike[str] | None = None, norm: str | None = None, **options: typing.Any) -> Stylizer:
    """Load a style as a Stylizer, which repaints pictures; the arguments are those of ``stylize.load``.

    Args:
        style: Name of a shipped style; a path to a weights file, a style file or a folder with a
            ``model.safetensors``; or a mixture, ``great-wave:0.6,starry-night:0.4``. None is The Starry Night.
        norm: Normalisation the network is built with: ``instance`` or ``batch`` for the shipped networks. None means
            ``instance`` for a shipped style, and whatever the file holds for a path.
        options: ``collection``, ``strength``, ``preset``, ``device``, ``engine``, ``precision``, ``on_fallback``.

    Returns:
        An object to call with a PIL picture, or with float32 pictures (B, 3, H, W) in [0, 1]; it gives back the same.

    Raises:
        stylize.errors.InputError: No such style, or not with that norm.
        ImportError: Another package ``stylize`` was imported before.
    """
    _check_package()
    from stylize.stylizer import load

    return load(style, norm, **options)


def transformer(
    style: str | os.PathLike[str] | None = None,
    norm: str | None = None,
    *,
    collection: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    device: str = "auto",
) -> TransformerNet:
    """Load the bare network of a style, an ``nn.Module`` in evaluation mode and float32.

    Args:
        style: As for ``stylize``.
        norm: As for ``stylize``.
        collection: Where names of styles are looked up: name of a shipped collection, or its file.
        preset: Architecture of a shipped style; None takes ``fast`` where there is one.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Returns:
        A module that takes float32 RGB pictures (B, 3, H, W) in [0, 1] and gives the same shape. Its values go a little
        beyond [0, 1] and are to be clamped.

    Raises:
        stylize.errors.InputError: No such style, or not with that norm; or an ONNX file, which holds no module.
        ImportError: Another package ``stylize`` was imported before.
    """
    _check_package()
    from stylize.errors import InputError
    from stylize.stylizer import load

    network = load(style, norm, collection=collection, preset=preset, device=device, precision="float32").network
    if network is None:
        raise InputError(f"'{style}' is an ONNX file, which holds no module; give a style or its weights file")
    return network


def _check_package() -> None:
    """Refuse to go on with another package ``stylize`` than the one beside this file.

    torch.hub puts this folder before all others on the path of imports, so an installed one is not in the way; one that
    was imported already is, and to take it would run other code and other weights than those that were asked for.
    """
    import stylize as package

    here = os.path.dirname(os.path.realpath(__file__))
    places = [os.path.realpath(place) for place in getattr(package, "__path__", ())]
    if places != [os.path.join(here, "stylize")]:
        where = ", ".join(places) or "elsewhere"
        raise ImportError(
            f"another package 'stylize' ({where}) was imported before the one in {here}; call torch.hub.load before "
            "importing it, or use that one: stylize.load(...)"
        )
