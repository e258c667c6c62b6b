"""Animated GIF and WebP, in and out, through Pillow, which knows how their frames lie over one another."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from stylize.errors import InputError, OutputError
from stylize.image_errors import DECODER_ERRORS, quiet_pillow, reason_of, shown
from stylize.image_limits import check_file_size, check_pictures, check_structure
from stylize.image_reading import HEAD_BYTES, format_of_head
from stylize.images import MAXIMUM_PIXELS
from stylize.video.colour import FULL, RGB_MATRIX, Colour
from stylize.video.digests import file_digest
from stylize.video.frames import ANIMATION, ClipFacts, Frame, Source
from stylize.video.times import WHOLE, Span

SUFFIXES = {".gif": "GIF", ".webp": "WEBP"}

TICK = Fraction(1, 1000)
"""Animations count in thousandths of a second; GIF in hundredths."""

USUAL_DURATION = 100
"""What browsers take for a frame that says it lasts no time."""

LARGEST = {"GIF": 2_000_000_000, "WEBP": 600_000_000}
"""Pixels of all frames together that are written: Pillow holds them in memory, with 1 byte or 3 for each."""

WEBP_QUALITY = 90

MOST_PICTURES = 50_000
"""Pictures of an animation that is read: half an hour at 25 each second."""

MOST_PIXELS = 20_000_000_000
"""Pixels of all of them together: all are decoded to learn how long each is shown."""


def read_animation_facts(path: Path) -> ClipFacts:
    """Return what is known of an animated GIF or WebP.

    Raises:
        InputError: It is missing, damaged or too large.
    """
    name = shown(path)
    try:
        with quiet_pillow(), _opened(path) as image:
            if image.width * image.height > MAXIMUM_PIXELS:
                raise InputError(f"{name} has frames of {image.width} x {image.height} pixels, which are too many")
            count = getattr(image, "n_frames", 1)
            if count > MOST_PICTURES or count * image.width * image.height > MOST_PIXELS:
                raise InputError(
                    f"{name} has {count:,} pictures of {image.width} x {image.height} pixels, more than the "
                    f"{MOST_PICTURES:,} pictures and {MOST_PIXELS:,} pixels that are read; cut it or make it smaller"
                )
            duration = sum(frame.info.get("duration") or USUAL_DURATION for frame in _seek_all(image, count))
            clear = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file") from None
    except DECODER_ERRORS as error:
        raise InputError(f"{name} cannot be read: {reason_of(error)}") from None
    seconds = float(duration * TICK)
    return ClipFacts(
        name=name,
        kind=ANIMATION,
        path=path,
        width=image.width,
        height=image.height,
        time_base=TICK,
        rate=Fraction(count / seconds).limit_denominator(1000),
        frames=count,
        duration=seconds,
        digest=file_digest(path),
        colour=Colour(RGB_MATRIX, FULL),
        notes=("what is transparent in it is painted on white",) if clear else (),
    )


def _opened(path: Path) -> Image.Image:
    name = shown(path)
    with open(path, "rb") as file:
        kind = format_of_head(file.read(HEAD_BYTES)) or ""
        check_structure(file, kind, name)
        check_file_size(os.fstat(file.fileno()).st_size, name)
        if kind == "GIF":
            check_pictures(file, name, MOST_PICTURES)
    return Image.open(path, formats=list(SUFFIXES.values()))


def _seek_all(image: Image.Image, count: int) -> Iterator[Image.Image]:
    """Yield the image at each of its frames; a damaged one ends it."""
    for number in range(count):
        try:
            image.seek(number)
            image.load()
        except DECODER_ERRORS:
            if number == 0:
                raise
            return
        yield image


class AnimationSource(Source):
    """An animated GIF or WebP.

    Args:
        facts: From :func:`read_animation_facts`.
        span: The part that is read.
        size: Long edge of the frames in pixels; None keeps that of the animation.
    """

    def __init__(self, facts: ClipFacts, span: Span = WHOLE, size: int | None = None) -> None:
        super().__init__(facts, span, size)

    def frames(self, first: int | None = None) -> Iterator[Frame]:
        """Yield the frames of the part, see :meth:`stylize.video.frames.Source.frames`."""
        begin = round(Fraction(self.span.start) / TICK) if first is None else first
        end = None if self.span.end is None else round(Fraction(self.span.end) / TICK)
        tick, count, self.problems = 0, 0, []
        with quiet_pillow(), _opened(self.facts.path) as image:
            for shot in _seek_all(image, getattr(image, "n_frames", 1)):
                duration = int(shot.info.get("duration") or USUAL_DURATION)
                if end is not None and tick >= end:
                    return
                if tick >= begin:
                    yield Frame(self._pixels(shot), tick, duration)
                tick, count = tick + duration, count + 1
        if count < (self.facts.frames or 0):
            self.problems.append(f"the animation is damaged: {count} of its {self.facts.frames} frames could be read")

    def _pixels(self, shot: Image.Image) -> np.ndarray:
        layered = shot.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        flat = Image.alpha_composite(white, layered).convert("RGB")
        return self.fitted(flat)


def check_animation(path: Path, width: int, height: int, frames: int | None) -> None:
    """Refuse an animation that would not fit in memory.

    Raises:
        InputError: It would not.
    """
    pixels, largest = width * height * (frames or 0), LARGEST[SUFFIXES[path.suffix.lower()]]
    if pixels > largest:
        raise InputError(
            f"an animation of {frames} frames of {width} x {height} px is too large for {path.suffix}; write a .mp4, "
            "or make it smaller with --size or shorter with --start and --end"
        )


def write_animation(path: Path, name: str, pictures: Iterable[Path], durations: list[int]) -> None:
    """Write pictures as an animation that is repeated for ever.

    Args:
        path: The file, which is replaced.
        name: Name of the result, whose suffix says the format.
        pictures: Files of the frames.
        durations: Of each, in thousandths of a second.

    Raises:
        OutputError: It cannot be written.
    """
    kind = SUFFIXES[Path(name).suffix.lower()]
    gif = kind == "GIF"
    images = []
    try:
        for picture in pictures:
            with Image.open(picture) as image:
                # An adaptive palette for each frame; as P, a frame takes a third of the memory.
                images.append(image.convert("P", palette=Image.Palette.ADAPTIVE) if gif else image.convert("RGB"))
        settings: dict[str, object] = {"save_all": True, "append_images": images[1:], "loop": 0}
        # GIF counts in hundredths: what rounding takes from one frame, the next ones get.
        settings["duration"] = in_hundredths(durations) if gif else durations
        if not gif:
            settings |= {"quality": WEBP_QUALITY, "method": 4}
        with quiet_pillow(), open(path, "wb") as file:
            images[0].save(file, kind, **settings)
    except MemoryError:
        raise OutputError(f"not enough memory for {name}; write a .mp4, or make it smaller with --size") from None
    except DECODER_ERRORS as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise OutputError(f"{name} cannot be written: {reason_of(error)}") from None


def in_hundredths(durations: list[int]) -> list[int]:
    """Return durations in thousandths rounded to tens, so that the sums from the beginning are right to 5.

    Each lasts at least 20, because browsers take less for 100.
    """
    rounded, shown_until, wanted = [], 0, 0
    for duration in durations:
        wanted += duration
        one = max(20, 10 * round((wanted - shown_until) / 10))
        rounded.append(one)
        shown_until += one
    return rounded
