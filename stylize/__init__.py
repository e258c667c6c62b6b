"""Repaint photos in the style of a painting with a feed-forward network, built with instance or batch norm.

    import stylize
    from PIL import Image

    stylizer = stylize.load("starry-night")
    stylizer(Image.open("photo.jpg")).save("painted.jpg")

Names are imported when they are first used, so ``import stylize`` costs nothing and ``--help`` needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Stylizer", "TrainConfig", "__version__", "compare", "list_styles", "load", "train"]

if TYPE_CHECKING:
    from stylize.comparison.inference import compare
    from stylize.config import TrainConfig
    from stylize.stylizer import Stylizer, load
    from stylize.training import train
    from stylize.zoo import list_styles

_HOMES = {
    "Stylizer": "stylize.stylizer",
    "TrainConfig": "stylize.config",
    "compare": "stylize.comparison.inference",
    "list_styles": "stylize.zoo",
    "load": "stylize.stylizer",
    "train": "stylize.training",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
