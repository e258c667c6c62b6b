"""Frames as pictures in a folder, in and out: ``frames/`` or ``frames/name%04d.png``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from stylize.errors import ImageError, InputError
from stylize.image_errors import shown
from stylize.images import READ_SUFFIXES, WRITE_SUFFIXES, read_image
from stylize.video.digests import folder_digest
from stylize.video.frames import FOLDER, ClipFacts, Frame, Source
from stylize.video.times import WHOLE, Span

DEFAULT_RATE = Fraction(25)
"""Frames per second of pictures in a folder, which say nothing about time."""

_NUMBER = re.compile(r"%(?:0(\d))?d")


@dataclass(frozen=True)
class Pattern:
    """Names of numbered pictures, such as ``name%04d.png``.

    Attributes:
        folder: Where they are.
        before: What a name begins with.
        digits: Fewest digits of the number.
        after: What a name ends in.
    """

    folder: Path
    before: str
    digits: int
    after: str

    @property
    def suffix(self) -> str:
        """Suffix of the pictures."""
        return Path(f"0{self.after}").suffix

    def name(self, number: int) -> str:
        """Return the name of a picture."""
        return f"{self.before}{number:0{self.digits}d}{self.after}"

    def number(self, name: str) -> int | None:
        """Return the number of a picture, or None for the name of something else."""
        middle = name[len(self.before) : len(name) - len(self.after)]
        fits = name.startswith(self.before) and name.endswith(self.after) and middle.isascii() and middle.isdigit()
        return int(middle) if fits and self.name(int(middle)) == name else None


def read_pattern(path: Path) -> Pattern | None:
    """Return the pattern that a path is, or None for one without ``%d`` in its name.

    Raises:
        InputError: More than one number in a name.
    """
    found = list(_NUMBER.finditer(path.name))
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"'{path}' has {len(found)} numbers in its name; one is accepted, such as name%04d.png")
    match = found[0]
    return Pattern(path.parent, path.name[: match.start()], int(match[1] or 1), path.name[match.end() :])


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return what sorts names as people do: by the numbers in them, ``frame2`` before ``frame10``."""
    parts = re.split(r"(\d+)", name.lower())
    return (*((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts), (0, 0, name))


def list_frames(path: Path) -> list[Path]:
    """Return the pictures of a folder, or those that a pattern names, in the order of their numbers.

    Hidden files and folders inside the folder do not count.

    Raises:
        InputError: There is no such folder, or no picture in it.
    """
    pattern = read_pattern(path)
    folder = path if pattern is None else pattern.folder
    if not folder.is_dir():
        raise InputError(f"{shown(folder)} is no folder: there is nothing of that name")
    files = [one for one in folder.iterdir() if one.is_file() and not one.name.startswith(".")]
    if pattern is not None:
        found = sorted((number, one) for one in files if (number := pattern.number(one.name)) is not None)
        if not found:
            raise InputError(f"no picture is called like {shown(path)}, such as {pattern.name(1)}")
        return [one for _, one in found]
    pictures = [one for one in files if one.suffix.lower() in READ_SUFFIXES]
    if not pictures:
        kinds = ", ".join(sorted(suffix.lstrip(".") for suffix in READ_SUFFIXES))
        raise InputError(f"no pictures in the folder {shown(folder)} (accepted: {kinds})")
    return sorted(pictures, key=lambda one: natural(one.name))


def read_folder_facts(path: Path, rate: Fraction | None = None) -> ClipFacts:
    """Return what is known of a folder of frames; the first one is decoded.

    Args:
        path: A folder or a pattern.
        rate: Frames per second; None is :data:`DEFAULT_RATE`.

    Raises:
        InputError: There is no such folder, no picture in it, or the first one cannot be read.
    """
    paths, rate = list_frames(path), rate or DEFAULT_RATE
    first = read_image(paths[0])
    return ClipFacts(
        name=shown(path),
        kind=FOLDER,
        path=path,
        width=first.width,
        height=first.height,
        time_base=1 / rate,
        rate=rate,
        frames=len(paths),
        duration=float(len(paths) / rate),
        digest=folder_digest(paths),
    )


class FolderSource(Source):
    """Pictures in a folder; a tick is a picture.

    Args:
        facts: From :func:`read_folder_facts`.
        span: The part that is read.
        size: Long edge of the frames in pixels; None keeps that of the pictures.

    Attributes:
        paths: The pictures.
    """

    def __init__(self, facts: ClipFacts, span: Span = WHOLE, size: int | None = None) -> None:
        super().__init__(facts, span, size)
        self.paths = list_frames(facts.path)

    def frames(self, first: int | None = None) -> Iterator[Frame]:
        """Yield the frames of the part, see :meth:`stylize.video.frames.Source.frames`.

        Raises:
            ImageError: A picture cannot be read, or is of another size than the first.
        """
        begin = self._first_at(self.span.start) if first is None else first
        end = len(self.paths) if self.span.end is None else self._first_at(self.span.end)
        for number, path in enumerate(self.paths[begin:end], begin):
            image = read_image(path)
            if image.size != (self.facts.width, self.facts.height):
                sizes = f"{image.width}x{image.height} px, the first one {self.facts.width}x{self.facts.height} px"
                raise ImageError(f"{shown(path)} has {sizes}; the frames of a clip have one size")
            yield Frame(self.fitted(image), number, 1)

    def _first_at(self, seconds: float) -> int:
        """Return the number of the first picture that is shown at this time or later."""
        return math.ceil(Fraction(seconds).limit_denominator(1_000_000) * self.facts.rate)


def output_pattern(path: Path, source: Source) -> tuple[Pattern, list[str]]:
    """Return how the painted pictures are called: a pattern, and names of their own where the source has such.

    Args:
        path: A folder or a pattern.
        source: What is painted.

    Raises:
        InputError: The pictures would have a format that is not written.
    """
    pattern = read_pattern(path)
    if pattern is not None:
        if pattern.suffix.lower() not in WRITE_SUFFIXES:
            raise InputError(f"cannot write '{path}': its name must end in {', '.join(sorted(WRITE_SUFFIXES))}")
        return pattern, []
    names = []
    if isinstance(source, FolderSource):
        names = [one.name if one.suffix.lower() in WRITE_SUFFIXES else f"{one.stem}.png" for one in source.paths]
        names = names if len(set(names)) == len(names) else []
    return Pattern(path, "", max(6, len(str(source.count or 0))), ".png"), names
