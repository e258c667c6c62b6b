"""Paintings as training sees them: their pixels at the right size, and what is known about them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from stylize.config import STYLE_SIZE_MINIMUM
from stylize.errors import InputError
from stylize.images import read_image, resize_short_side, to_tensor

FLAT = 2 / 255
"""Standard deviation of the colours, in [0, 1], below which a picture shows nothing to learn."""

LONGEST = 16
"""Long edge over short edge of the longest painting that is accepted."""


def load_painting(path: Path | str, size: int) -> Tensor:
    """Return a painting, (1, 3, H, W) in [0, 1], its short side scaled to ``size`` pixels.

    Raises:
        ImageError: It cannot be read.
        InputError: It is too small to hold a style, too long and narrow, or nearly of one colour.
    """
    image = read_image(path)
    if min(image.size) < STYLE_SIZE_MINIMUM:
        raise InputError(
            f"painting {path} is {image.width}x{image.height} pixels; at least {STYLE_SIZE_MINIMUM} on the short side "
            "are needed, and 256 or more look better"
        )
    if max(image.size) > LONGEST * min(image.size):
        raise InputError(f"painting {path} is {image.width}x{image.height} pixels; crop it to at most {LONGEST}:1")
    painting = to_tensor(resize_short_side(image, size))
    if float(painting.std(dim=(2, 3)).max()) < FLAT:
        raise InputError(
            f"painting {path} is nearly one colour, which is no style; give a picture with strokes or shapes"
        )
    return painting


def painting_facts(path: Path) -> dict[str, Any]:
    """Return what is known of a painting: file name, sha256, and its entry in a ``SOURCES.json`` beside it, if any.

    Such a file maps a style's name to title, artist, year, licence, ... and sha256; the entry counts only if its
    sha256 is that of the file.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        sources = json.loads((path.parent / "SOURCES.json").read_text(encoding="utf-8"))
        entry = sources.get(path.stem)
    except (OSError, ValueError, AttributeError, RecursionError):
        entry = None
    known = entry if isinstance(entry, dict) and entry.get("sha256") == digest else {}
    return {**known, "file": path.name, "sha256": digest}
