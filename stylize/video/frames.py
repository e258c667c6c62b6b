"""What every kind of clip is read as: facts, and frames with their times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from stylize.errors import InputError
from stylize.images import MAXIMUM_PIXELS
from stylize.video.colour import Colour
from stylize.video.times import WHOLE, Span

CLIP, ANIMATION, FOLDER = "clip", "animation", "folder"
"""Kinds of clips: a video file, an animated picture, pictures in a folder."""


@dataclass(frozen=True)
class ClipFacts:
    """What is known of a clip before it is read.

    Attributes:
        name: How messages call it.
        kind: One of the three kinds.
        path: The file or the folder.
        width: Of a frame as it is to be seen, in pixels.
        height: Of a frame as it is to be seen, in pixels.
        time_base: One tick, in seconds.
        rate: Frames per second, on average.
        frames: How many there are, more or less; None where nobody knows before reading.
        duration: In seconds; None where nobody knows.
        zero: Tick at which the clip begins.
        aspect: Width of a pixel over its height.
        colour: What its numbers mean.
        digest: Of the content; of a long file, of parts of it.
        notes: What the user should know of it.
    """

    name: str
    kind: str
    path: Path
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    frames: int | None
    duration: float | None
    digest: str
    zero: int = 0
    aspect: Fraction = Fraction(1)
    colour: Colour = Colour()
    notes: tuple[str, ...] = ()

    def frames_in(self, span: Span) -> int | None:
        """Return how many frames a part of the clip has, more or less."""
        seconds = span.seconds_of(self.duration)
        if span == WHOLE or seconds is None:
            return self.frames
        return max(1, round(seconds * self.rate))


@dataclass(frozen=True)
class Frame:
    """A frame as it is painted.

    Attributes:
        pixels: (H, W, 3), uint8, RGB, upright, in the size at which it is painted.
        tick: When it is shown, in ticks of the clip.
        duration: For how long, in ticks; 0 where the clip does not say.
    """

    pixels: np.ndarray
    tick: int
    duration: int = 0


class Source(ABC):
    """A clip that can be read, from the beginning or from a frame on, as often as needed.

    Args:
        facts: What is known of it.
        span: The part that is read.
        size: Long edge of the frames in pixels; None keeps that of the clip.

    Attributes:
        problems: What was found missing or damaged while reading, in words, the latest reading only.
    """

    def __init__(self, facts: ClipFacts, span: Span = WHOLE, size: int | None = None) -> None:
        span.check(facts.duration, facts.name)
        self.facts = facts
        self.span = span
        self.width, self.height = scaled_size(facts.width, facts.height, size)
        self.problems: list[str] = []

    @abstractmethod
    def frames(self, first: int | None = None) -> Iterator[Frame]:
        """Yield the frames of the part in order.

        Args:
            first: Tick of a frame that was read before, to begin with that frame; None begins with the first.

        Raises:
            InputError: The clip cannot be read.
        """

    def fitted(self, image: Image.Image) -> np.ndarray:
        """Return the pixels of a picture at the size at which it is painted."""
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return np.asarray(image)

    @property
    def count(self) -> int | None:
        """How many frames there are, more or less; None where nobody knows."""
        return self.facts.frames_in(self.span)


def scaled_size(width: int, height: int, size: int | None) -> tuple[int, int]:
    """Return width and height with a long edge of ``size``; where that is even, the other edge is too.

    Video encoders want even sizes, and a pixel more or less on the short edge nobody sees.

    Raises:
        InputError: More pixels than a picture may have.
    """
    if size is not None:
        longest = max(width, height)
        step = 2 if size % 2 == 0 else 1
        width, height = (max(step, step * round(edge * size / longest / step)) for edge in (width, height))
    if width * height > MAXIMUM_PIXELS:
        raise InputError(f"frames of {width} x {height} pixels are more than can be painted; give a smaller --size")
    return width, height
