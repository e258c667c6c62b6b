"""How a style or a mixture of styles is written: ``NAME``, ``FILE``, or ``NAME:0.6,FILE:0.4``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection as Names
from dataclasses import dataclass
from pathlib import Path

from stylize.errors import InputError
from stylize.zoo import is_path

ONNX_SUFFIX = ".onnx"

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
"""What is a number, those among it that no weight can be: they get their own message."""

EXAMPLE = "a mixture is written as great-wave:0.6,starry-night:0.4"


@dataclass(frozen=True)
class Part:
    """One style of a mixture, as it was written.

    Attributes:
        style: Name of a style, or a file.
        weight: How much of it, 0 or more; 1 where none was written.
        weighted: Whether a weight was written.
    """

    style: str
    weight: float = 1.0
    weighted: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it names a file, by a suffix or a path separator."""
        return names_a_file(self.style)


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Say whether a path or a style is that of an ONNX file, by its suffix."""
    return os.fspath(path).lower().endswith(ONNX_SUFFIX)


def names_a_file(style: str | os.PathLike[str]) -> bool:
    """Say whether a style is a file and not a name, by its suffix or a path separator in it."""
    return is_path(style) or is_onnx(style)


def parse_styles(text: str, known: Names[str] = ()) -> tuple[Part, ...]:
    """Return the parts of what was written for a style; one part where it is no mixture.

    Args:
        text: What was written.
        known: Names of styles. A name may hold a comma or a colon, and is then known by being one of these.

    Raises:
        InputError: An empty part, a weight that is no number, is negative or not finite, weights that sum to zero, or
            one style with a weight.
    """
    if text in known or (names_a_file(text) and Path(text).is_file()):
        return (Part(text),)
    parts = tuple(_parse_part(part.strip(), text, known) for part in text.split(","))
    if len(parts) == 1 and parts[0].weighted and parts[0].weight != 1:
        raise InputError(
            f"'{text}' gives a weight to a style alone, which has nothing to be mixed with; {EXAMPLE}, and --strength "
            "says how much of the photo is painted over"
        )
    total = sum(part.weight for part in parts)
    if total == 0:
        raise InputError(f"the weights of '{text}' sum to zero; at least one must be above 0")
    if not math.isfinite(total):
        raise InputError(f"the weights of '{text}' are too large; only their ratio matters, so write 0.6 and 0.4")
    return parts


def _parse_part(part: str, text: str, known: Names[str]) -> Part:
    """Return one style of a mixture with its weight."""
    if part in known:
        return Part(part)
    style, colon, weight = part.rpartition(":")
    # What follows the colon of C:\a.safetensors is part of a path, on whatever system it is read.
    if not colon or any(separator in weight for separator in "/\\") or names_a_file(weight):
        style, weight = part, ""
    style = style.strip()
    if not style:
        raise InputError(f"'{text}' names no style in one of its parts; {EXAMPLE}")
    return Part(style, _weight(weight.strip(), style), True) if style != part else Part(style)


def _weight(text: str, style: str) -> float:
    """Return a weight that was written after the colon of a style."""
    if not NUMBER.fullmatch(text):
        raise InputError(f"the weight '{text}' of style '{style}' is no number; {EXAMPLE}")
    weight = float(text)
    if not math.isfinite(weight) or weight < 0:
        kind = "negative" if weight < 0 else "not finite"
        raise InputError(f"the weight {text} of style '{style}' is {kind}; 0 or more is accepted")
    return weight
