"""What a user decides about a painting beside its style, once for the command line, the web page and Python."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stylize.errors import InputError

MAXIMUM_STRENGTH = 1.5
"""Highest strength: 0 is the photo, 1 the style, and what is beyond exaggerates it."""

BY_PHOTO_STYLE = "photo style"
BY_FADE = "fade"
"""How a strength other than 1 is made, see :mod:`stylize.repainting`."""


def checked_strength(strength: object) -> float:
    """Return a strength as a number.

    Raises:
        InputError: It is no number from 0 to :data:`MAXIMUM_STRENGTH`.
    """
    number = float(strength) if isinstance(strength, int | float) and not isinstance(strength, bool) else math.nan
    if not 0 <= number <= MAXIMUM_STRENGTH:
        raise InputError(f"a strength of {strength!r} given; a number from 0 to {MAXIMUM_STRENGTH:g} is accepted")
    return number


@dataclass(frozen=True)
class Controls:
    """How pictures are painted, whatever the style.

    Attributes:
        scale: Size at which to paint, as a part of the size of the picture, above 0 up to 1; or ``auto``, which falls
            with the size beyond 1024 px (:mod:`stylize.stroke_size`).
        passes: 2 paints the enlarged painting once more, for fine strokes over the bold ones.
        preserve_colour: Whether the painting takes the colours of the photo (:mod:`stylize.colour_preservation`).
    """

    scale: float | str = 1.0
    passes: int = 1
    preserve_colour: bool = False

    def __post_init__(self) -> None:
        if self.passes not in (1, 2):
            raise InputError(f"{self.passes} passes asked for; 1 or 2 are accepted")


PLAIN = Controls()
"""The style as it is, at the size of the picture."""
