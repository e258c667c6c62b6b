"""A picture of any size becomes rows that can be read again and again: the source for tiles.

Small pictures are read as :func:`stylize.images.read_picture` does and held. Larger ones are decoded once, as a whole
or in blocks where the format allows, and each block goes upright and in sRGB into a
:class:`~stylize.strips.pixel_store.PixelStore`: in memory where it is small beside what is allowed, else in a scratch
file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from stylize.errors import ImageError, InputError
from stylize.image_colour import colour_and_alpha
from stylize.image_errors import DECODER_ERRORS, damaged, quiet_pillow, shown
from stylize.image_exif import UPRIGHT, kept_metadata
from stylize.image_reading import ends_in_zeros
from stylize.images import Picture, read_picture
from stylize.strips.pixel_store import PixelStore
from stylize.strips.plans import BLOCK_PIXELS, ReadingPlan, plan_reading, readable
from stylize.strips.png import PngLayout, png_blocks
from stylize.strips.tiff import TiffLayout, tiff_blocks

if TYPE_CHECKING:
    from torch import Tensor

_ORIENTATION = 274

Block = tuple[int, int, Image.Image]
"""Left, top and the decoded pixels of a part of a picture, as the file has it."""


class PictureRows:
    """A picture that gives its rows as often as they are asked for: upright, sRGB. Made by :func:`open_rows`.

    Attributes:
        height: Pixels.
        width: Pixels.
        exif: EXIF data for the result, with orientation 1; None when the file has none that can be read.
        format: Pillow's name of the source's format, such as ``"JPEG"``.
        bytes_held: Bytes of memory that its pixels take between calls.
    """

    def __init__(self, store: PixelStore, exif: bytes | None, picture_format: str) -> None:
        self._store = store
        self.height, self.width = store.height, store.width
        self.exif, self.format, self.bytes_held = exif, picture_format, store.bytes_held

    @property
    def has_alpha(self) -> bool:
        """Whether any pixel is not opaque."""
        return not self._store.opaque

    def rows(self, top: int, bottom: int) -> Tensor:
        """Return the rows from ``top`` up to ``bottom`` as (1, 3, bottom - top, width), float32, RGB in [0, 1].

        Raises:
            InputError: The picture has no such rows.
        """
        import torch

        pixels = np.array(self._get(top, bottom)[..., :3])  # a copy, because torch warns about memory of others
        tensor = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
        return tensor.to(torch.float32, memory_format=torch.contiguous_format).div_(255)

    def alpha_rows(self, top: int, bottom: int) -> np.ndarray | None:
        """Return the alpha of some rows, (bottom - top, width), uint8; None where the whole picture is opaque."""
        return self._get(top, bottom)[..., 3].copy() if self.has_alpha else None

    def close(self) -> None:
        """Let go of the picture; a scratch file is removed."""
        self._store.close()

    def __enter__(self) -> PictureRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, top: int, bottom: int) -> np.ndarray:
        if not 0 <= top < bottom <= self.height:
            raise InputError(f"the picture has rows 0 to {self.height}; rows {top} to {bottom} were asked for")
        return self._store.get(top, bottom)


def open_rows(source: Path, memory: int | None = None, *, scratch: Path | None = None) -> PictureRows:
    """Open a picture of any size for reading in strips, whatever its format.

    Args:
        source: The file.
        memory: Most bytes that opening may take, at its peak; a fourth of it may stay held. None stands for
            :data:`~stylize.strips.plans.DEFAULT_MEMORY`, but what the library can read as a whole is decoded however
            much that takes.
        scratch: Folder for a scratch file; None is the system's folder for temporary files.

    Raises:
        ImageError: The source is missing, empty, damaged, truncated, no picture of a known format, or one that cannot
            be read within the memory.
        OutputError: The scratch file cannot be written.
    """
    name = shown(source)
    try:
        with readable(source) as stream:
            plan = plan_reading(stream, Path(source), name, memory)
            if plan is not None and not plan.as_usual:
                return _stored(stream, plan, name, scratch)
        return rows_of(read_picture(source))
    except MemoryError:
        raise ImageError(f"{name}: not enough memory for this picture; make it smaller first") from None


def held_bytes_to_read(source: Path, memory: int | None = None) -> int:
    """Return the bytes that the rows of :func:`open_rows` will hold in memory between calls.

    Only the header is read, but for pipes and formats of which Pillow does not know the size beforehand (HEIC, AVIF).
    Where the header speaks of alpha, it is counted, also if every pixel turns out to be opaque.

    Raises:
        ImageError: As :func:`open_rows`, for what the header shows.
    """
    with readable(source) as stream:
        plan = plan_reading(stream, Path(source), shown(source), memory)
    if plan is not None:
        return plan.width * plan.height * plan.channels if plan.hold else 0
    picture = read_picture(source)
    return picture.image.width * picture.image.height * (3 if picture.alpha is None else 4)


def rows_of(picture: Picture) -> PictureRows:
    """Return the rows of a picture that has been read already, such as one from standard input."""
    width, height = picture.image.size
    store = PixelStore(height, width, 3 if picture.alpha is None else 4, in_memory=True)
    band = max(1, BLOCK_PIXELS // width)
    for top in range(0, height, band):
        box = (0, top, width, min(top + band, height))
        _put(store, 0, top, picture.image.crop(box), picture.alpha.crop(box) if picture.alpha is not None else None)
    return PictureRows(store, picture.exif, picture.format)


def _stored(stream: BinaryIO, plan: ReadingPlan, name: str, scratch: Path | None) -> PictureRows:
    """Decode a picture into a store."""
    store = None
    try:
        with quiet_pillow():
            image = plan.header
            if plan.layout is None:
                if plan.kind == "JPEG" and ends_in_zeros(stream):
                    raise ImageError(f"{name} is damaged (its last part is missing); copy or export it again")
                image.load()
            exif, orientation = kept_metadata(image)
            if isinstance(plan.layout, TiffLayout) and orientation in UPRIGHT:
                # A whole TIFF is turned, and its orientation removed, by Pillow itself.
                del image.getexif()[_ORIENTATION]
                exif, _ = kept_metadata(image)
            width, height = image.size if plan.layout is None else (plan.width, plan.height)
            upright = (height, width) if orientation in (5, 6, 7, 8) else (width, height)
            store = PixelStore(upright[1], upright[0], plan.channels, in_memory=plan.hold, scratch=scratch)
            for left, top, block in _blocks(stream, plan, image):
                colour, alpha = colour_and_alpha(block)
                place = _turned_place(orientation, width, height, left, top, *colour.size)
                if orientation in UPRIGHT:
                    colour = colour.transpose(UPRIGHT[orientation])
                    alpha = alpha.transpose(UPRIGHT[orientation]) if alpha is not None else None
                _put(store, *place, colour, alpha)
        return PictureRows(store, exif, image.format or plan.kind)
    except BaseException as error:  # also when the user presses Ctrl-C
        if store is not None:
            store.close()
        if isinstance(error, DECODER_ERRORS) and not isinstance(error, ImageError):
            raise damaged(name, error) from None
        raise


def _blocks(stream: BinaryIO, plan: ReadingPlan, image: Image.Image) -> Iterator[Block]:
    if isinstance(plan.layout, PngLayout):
        yield from png_blocks(stream, plan.layout, plan.block_pixels)
    elif isinstance(plan.layout, TiffLayout):
        yield from tiff_blocks(stream, plan.layout, plan.block_pixels)
    else:
        band = max(1, plan.block_pixels // image.width)
        for top in range(0, image.height, band):
            yield 0, top, image.crop((0, top, image.width, min(top + band, image.height)))


def _turned_place(
    orientation: int, width: int, height: int, left: int, top: int, block_width: int, block_height: int
) -> tuple[int, int]:
    """Return where the left upper corner of a block is when picture and block have been turned upright.

    Args:
        orientation: EXIF orientation.
        width: Of the picture before, pixels; so is all the rest.
        height: Of the picture.
        left: Place of the block.
        top: Place of the block.
        block_width: Of the block.
        block_height: Of the block.
    """
    right, below = width - left - block_width, height - top - block_height
    return {
        2: (right, top), 3: (right, below), 4: (left, below),
        5: (top, left), 6: (below, left), 7: (below, right), 8: (top, right),
    }.get(orientation, (left, top))  # fmt: skip


def _put(store: PixelStore, left: int, top: int, colour: Image.Image, alpha: Image.Image | None) -> None:
    pixels = np.asarray(colour)
    if store.channels == 4:
        opacity = np.asarray(alpha) if alpha is not None else np.full(pixels.shape[:2], 255, np.uint8)
        pixels = np.dstack([pixels, opacity])
    store.put(top, left, pixels)
