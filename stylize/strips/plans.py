"""How a large picture will be read, decided from its header: in pieces or as a whole, into memory or a scratch file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image, JpegImagePlugin, TiffImagePlugin

from stylize.errors import ImageError
from stylize.image_errors import DECODER_ERRORS, quiet_pillow, shown
from stylize.image_limits import check_file_size, check_structure
from stylize.image_reading import HEAD_BYTES, RAW_SUFFIXES, check_size, format_of_head
from stylize.images import MAXIMUM_PIXELS
from stylize.strips.png import PngLayout, png_layout
from stylize.strips.tiff import TiffLayout, tiff_layout

DEFAULT_MEMORY = 2**29
"""Bytes that reading plans with where no limit is given."""

MAXIMUM_PIXELS_IN_PIECES = 2**32
"""Largest picture that is read in pieces: 13 GB of scratch file, and hours of painting."""

_HOLD_SHARE = 4
"""A picture is held where it takes at most this part (one fourth) of the memory: the rest is for the network."""

_WHOLE_BYTES = 12
"""Most bytes per pixel that :func:`read_picture` takes, the array made of its result included."""

_DECODED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2}
"""Bytes per pixel of a decoded picture, by mode; of every other mode 4."""

_DECODER_BYTES = {"TIFF": 8, "WEBP": 12, "GIF": 4}
"""Most bytes per pixel that the decoder of a format takes beside it; those of JPEG, PNG and BMP take little."""

_PROGRESSIVE_BYTES = 6
"""What libjpeg holds per pixel to refine a picture scan by scan."""

BLOCK_PIXELS = 2**20
_BLOCK_BYTES = 32
"""Pixels of a block, and the most bytes that each takes on its way from the file into the store."""

_MODES_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_MODES_BY_RANGE = ("F", "I")
"""Modes that are scaled by the range of the whole picture."""

_DNG_VERSION = 50706


@dataclass(frozen=True)
class ReadingPlan:
    """How a picture will be read.

    Attributes:
        kind: Pillow's name of the format, as the first bytes tell it.
        header: The picture, opened but not decoded.
        layout: Where its pixels are, if it can be read in pieces.
        width: Pixels, not turned.
        height: Pixels, not turned.
        channels: 4 where there may be alpha, else 3.
        hold: Whether its pixels will be held in memory.
        block_pixels: Pixels of a block.
        as_usual: Whether :func:`stylize.images.read_picture` will read it.
    """

    kind: str
    header: Image.Image
    layout: PngLayout | TiffLayout | None
    width: int
    height: int
    channels: int
    hold: bool
    block_pixels: int
    as_usual: bool = False

    @property
    def pixels(self) -> int:
        """Pixels of the picture."""
        return self.width * self.height

    @property
    def by_range(self) -> bool:
        """Whether its levels depend on those of the whole picture, so that no piece can be converted alone."""
        # Grey of 16 bits in a TIFF depends on its tags, which only pieces and the whole picture carry.
        deep = self.kind == "TIFF" and not self.layout and self.header.mode.startswith("I;16")
        return deep or self.header.mode in _MODES_BY_RANGE

    @property
    def bytes_needed(self) -> int:
        """Most memory that opening takes at once, in bytes."""
        if self.by_range:
            return self.pixels * 2 * _WHOLE_BYTES
        tile = self.layout.tile_width * self.layout.tile_height if isinstance(self.layout, TiffLayout) else 0
        block = max(self.width, tile, min(self.block_pixels, self.pixels))
        needed = block * _BLOCK_BYTES + self.pixels * self.channels * self.hold
        if self.layout is None:
            progressive = _PROGRESSIVE_BYTES if self.header.info.get("progressive") else 0
            decoded = _DECODED_BYTES.get(self.header.mode, 4)
            needed += self.pixels * (decoded + _DECODER_BYTES.get(self.kind, 0) + progressive)
        return needed


@contextlib.contextmanager
def readable(source: Path) -> Iterator[BinaryIO | None]:
    """Yield the open file, or None for what only :func:`read_picture` can deal with: pipes, and what is no file."""
    try:
        file = open(source, "rb") if os.path.isfile(source) else None
    except (OSError, ValueError):
        file = None
    with file or contextlib.nullcontext() as stream:
        yield stream


def plan_reading(stream: BinaryIO | None, source: Path, name: str, memory: int | None) -> ReadingPlan | None:
    """Decide how to read a file; None where its header cannot be read here, which :func:`read_picture` can or refuses.

    Args:
        stream: What :func:`readable` gave.
        source: The file.
        name: What error messages call it.
        memory: Most bytes that opening may take; None is :data:`DEFAULT_MEMORY`, as a wish and not as a limit.

    Raises:
        ImageError: It cannot be read within the memory.
    """
    if stream is None or source.suffix.lower() in RAW_SUFFIXES:
        return None
    try:
        kind = format_of_head(stream.read(HEAD_BYTES)) or ""
        check_structure(stream, kind, name)
        if kind not in ("PNG", "TIFF"):
            check_file_size(stream.seek(0, os.SEEK_END), name)
        with quiet_pillow():
            layout = {"PNG": png_layout, "TIFF": tiff_layout}.get(kind, lambda _: None)(stream)
            header = _header(stream, kind, layout)
    except ImageError:
        raise
    except DECODER_ERRORS:
        return None
    if header is None or (kind == "TIFF" and _DNG_VERSION in header.tag_v2):
        return None
    width, height = (layout.width, layout.height) if layout else header.size
    limit, pixels = DEFAULT_MEMORY if memory is None else memory, width * height
    check_size((width, height), name, MAXIMUM_PIXELS_IN_PIECES)
    channels = 4 if header.mode in _MODES_WITH_ALPHA or "transparency" in header.info else 3
    hold = pixels * channels * _HOLD_SHARE <= limit
    block = max(1, min(BLOCK_PIXELS, limit // (8 * _BLOCK_BYTES)))
    plan = ReadingPlan(kind, header, layout, width, height, channels, hold, block)
    usual = replace(plan, hold=True, as_usual=True)
    if pixels * _WHOLE_BYTES * _HOLD_SHARE <= limit and pixels <= MAXIMUM_PIXELS:
        return usual
    in_pieces = layout is not None and not plan.by_range
    # Pillow keeps its own limit for a TIFF that it decodes as a whole.
    limited = not in_pieces and (plan.by_range or kind == "TIFF")
    if pixels > MAXIMUM_PIXELS and (limited or (memory is None and not in_pieces)):
        raise _refusal(plan, name, memory, more=not limited)
    if memory is not None and plan.bytes_needed > memory:
        if in_pieces and pixels * _WHOLE_BYTES <= memory and pixels <= MAXIMUM_PIXELS:
            return usual  # its pieces are so large that the whole takes less
        raise _refusal(plan, name, memory, more=True)
    return usual if plan.by_range else plan


def _header(stream: BinaryIO, kind: str, layout: PngLayout | TiffLayout | None) -> Image.Image | None:
    """Return a picture opened but not decoded, or None for a format that is left to :func:`read_picture`.

    ``Image.open`` would refuse what is larger than Pillow's limit, so the classes behind it are called.
    """
    if isinstance(layout, PngLayout):
        return layout.header_image()
    stream.seek(0)
    if kind == "JPEG":
        return JpegImagePlugin.jpeg_factory(stream, "")
    if kind == "TIFF":
        return TiffImagePlugin.TiffImageFile(stream, "")
    Image.init()
    return Image.OPEN[kind][0](stream, "") if kind in ("PNG", "WEBP", "BMP", "GIF") and kind in Image.OPEN else None


def _refusal(plan: ReadingPlan, name: str, memory: int | None, *, more: bool) -> ImageError:
    """Return the error for a picture that is too large; ``more``: it could be read with more memory."""
    size, needed = f"{plan.width} x {plan.height} pixels", f"{plan.bytes_needed / 1e6:,.0f} MB"
    problem = f"{name} is {size}: reading this {plan.kind} takes about {needed} at once"
    if memory is not None and more:
        problem += f", {memory / 1e6:,.0f} MB are allowed"
    advice = ["allow more memory"] if more else []
    if plan.layout is None or plan.by_range:
        what = "a TIFF of 8 bits in tiles or strips or to a PNG without interlace"
        advice.append(f"convert it to {what}, which are read in pieces")
    return ImageError(f"{problem}; {', or '.join(advice)}")


def picture_size(source: Path, memory: int | None = None) -> tuple[int, int] | None:
    """Return width and height of a picture file from its header, as stored; None where only reading it tells.

    Args:
        source: The file.
        memory: Most bytes that reading it may take at its peak.

    Raises:
        ImageError: It cannot be read within the memory.
    """
    with readable(source) as stream:
        plan = plan_reading(stream, source, shown(source), memory)
    return None if plan is None else (plan.width, plan.height)
