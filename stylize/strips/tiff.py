"""TIFF files read and written a few strips or tiles at a time.

The pixels of a TIFF lie in strips or tiles that are compressed each on its own. For reading, a few of them are put into
a small TIFF in memory, with the tags that say how they are to be understood, and Pillow decodes that one: every
compression, bit depth and colour space that Pillow knows gives what reading the whole picture gives.

Reference:
    TIFF Revision 6.0 (Adobe, 1992), sections 3 to 8, 14 (predictor), 15 (tiles), 18 (associated alpha).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from stylize.strips.tiff_directories import (
    LONG,
    LONG8,
    SHORT,
    Directory,
    directory_bytes,
    entry,
    read_directory,
    read_header,
)

WIDTH, HEIGHT, BITS, COMPRESSION, MEANING, SAMPLES, PLANES = 256, 257, 258, 259, 262, 277, 284
STRIP_PLACES, STRIP_ROWS, STRIP_LENGTHS = 273, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_PLACES, TILE_LENGTHS = 322, 323, 324, 325
PREDICTOR, EXTRA_SAMPLES, SAMPLE_FORMAT = 317, 338, 339
DETAILS, PLACE, _INTEROPERABILITY = 34665, 34853, 40965

_GIVEN = (WIDTH, HEIGHT, STRIP_PLACES, STRIP_ROWS, STRIP_LENGTHS, TILE_WIDTH, TILE_HEIGHT, TILE_PLACES, TILE_LENGTHS)
_COPIED = (
    BITS, COMPRESSION, MEANING, SAMPLES, PLANES, PREDICTOR, EXTRA_SAMPLES, SAMPLE_FORMAT,
    266, 292, 293, 320, 330, 332, 347, 529, 530, 531, 532, 34675,
)  # fmt: skip
"""Tags that the pixels cannot be understood without: beside those above fill order, options of fax compression, the
colour table, inks, JPEG tables, the coefficients, subsampling, siting and range of YCbCr, and the ICC profile."""

_OURS = frozenset((254, *_GIVEN, *_COPIED, 274, 513, 514))
"""Tags that EXIF data do not decide in a file that we write."""

_OLD_JPEG, _YCBCR = 6, 6
_LARGEST_SEGMENT = 2**22
"""Pixels of a strip or tile; where they are larger, the file is not suited to reading in pieces."""

_MOST_SEGMENTS = 2**20
"""Strips and tiles, or rows where strips are cut into them; a list of their places is held in memory."""


@dataclass(frozen=True)
class TiffLayout:
    """Where in a TIFF the pixels are. A strip is a tile as wide as the picture.

    Attributes:
        width: Pixels, as stored (not turned).
        height: Pixels.
        tile_width: Pixels of a tile.
        tile_height: Pixels of a tile.
        tiled: Whether these are tiles; else strips.
        places: Where in the file each tile starts, row after row.
        lengths: Bytes of each.
        order: Byte order of the file.
        tags: What is needed to understand them.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    tiled: bool
    places: tuple[int, ...]
    lengths: tuple[int, ...]
    order: str
    tags: Directory


def tiff_layout(stream: BinaryIO) -> TiffLayout | None:
    """Return the layout of the first picture of a TIFF, or None for one that cannot be read in pieces here.

    Those are pictures with planes of their own for each colour, JPEG of the old style, single strips of millions of
    pixels (unless they are not compressed) and files that are odd or damaged.
    """
    try:
        order, big, position = read_header(stream)
        tags = read_directory(stream, order, big, position, {*_GIVEN, *_COPIED})
    except (ValueError, struct.error, OSError):
        return None

    def numbers(tag: int, *default: int) -> tuple[int, ...]:
        return tags[tag].numbers(order) if tag in tags else default

    def number(tag: int, default: int) -> int:
        return next(iter(numbers(tag)), default)

    width, height, compression = number(WIDTH, 0), number(HEIGHT, 0), number(COMPRESSION, 1)
    if not (width and height) or number(PLANES, 1) != 1 or compression == _OLD_JPEG:
        return None
    tiled = TILE_PLACES in tags
    tile_width = number(TILE_WIDTH, 0) if tiled else width
    tile_height = number(TILE_HEIGHT, 0) if tiled else min(number(STRIP_ROWS, height), height)
    if not (tile_width and tile_height):
        return None
    count = -(-width // tile_width) * -(-height // tile_height)
    where = (TILE_PLACES, TILE_LENGTHS) if tiled else (STRIP_PLACES, STRIP_LENGTHS)
    # Their number is compared before they become a list of numbers.
    if max(count, height) > _MOST_SEGMENTS or any(tag not in tags or tags[tag].count != count for tag in where):
        return None
    places, lengths = (numbers(tag) for tag in where)
    if len(places) != count or len(lengths) != count:
        return None
    copied = {tag: tags[tag] for tag in _COPIED if tag in tags}
    layout = TiffLayout(width, height, tile_width, tile_height, tiled, places, lengths, order, copied)
    bits, samples = numbers(BITS, 1), number(SAMPLES, 1)
    if not tiled and compression == 1 and number(MEANING, 0) != _YCBCR and len(bits) in (1, samples):
        # A strip that is not compressed can be cut anywhere; many writers put the whole picture into one.
        return _row_by_row(layout, (width * (sum(bits) if len(bits) == samples else bits[0] * samples) + 7) // 8)
    return layout if tile_width * tile_height <= _LARGEST_SEGMENT else None


def _row_by_row(layout: TiffLayout, row_bytes: int) -> TiffLayout:
    """Return the layout of uncompressed strips with each row as a strip of its own."""
    places = tuple(
        place + row_bytes * row
        for strip, place in enumerate(layout.places)
        for row in range(min(layout.tile_height, layout.height - strip * layout.tile_height))
    )
    lengths = (row_bytes,) * layout.height
    return TiffLayout(layout.width, layout.height, layout.width, 1, False, places, lengths, layout.order, layout.tags)


def tiff_blocks(stream: BinaryIO, layout: TiffLayout, pixels: int) -> Iterator[tuple[int, int, Image.Image]]:
    """Decode a TIFF; yields the place (left, top) and the decoded image of each block of strips or tiles.

    Args:
        stream: The file.
        layout: Its layout.
        pixels: About how many a block may have; one strip or tile is the least.

    Raises:
        OSError: The file ends too early; Pillow's own errors where data are damaged.
    """
    across, down = -(-layout.width // layout.tile_width), -(-layout.height // layout.tile_height)
    many = max(1, pixels // (layout.tile_width * layout.tile_height))
    columns = min(across, many)
    rows = max(1, many // across) if columns == across else 1
    for first_row in range(0, down, rows):
        for first in range(0, across, columns):
            last_row, last = min(first_row + rows, down), min(first + columns, across)
            tiles = [row * across + column for row in range(first_row, last_row) for column in range(first, last)]
            left, top = first * layout.tile_width, first_row * layout.tile_height
            right = min(last * layout.tile_width, layout.width)
            bottom = min(last_row * layout.tile_height, layout.height)
            image = _small_tiff(stream, layout, tiles, right - left, bottom - top)
            image.load()
            yield left, top, image


def _small_tiff(stream: BinaryIO, layout: TiffLayout, tiles: list[int], width: int, height: int) -> Image.Image:
    """Return some tiles as an opened TIFF of their own."""
    data = []
    for tile in tiles:
        length = layout.lengths[tile]
        # More than the pixels could take, whatever the compression, is a damaged length.
        if length > 32 * layout.tile_width * layout.tile_height + 2**16:
            raise OSError("a strip or tile has an impossible length")
        stream.seek(layout.places[tile])
        data.append(stream.read(length))
        if len(data[-1]) < length:
            raise OSError("the picture data are truncated")
    order = layout.order
    tags = dict(layout.tags)
    tags[WIDTH], tags[HEIGHT] = entry(LONG, [width], order), entry(LONG, [height], order)
    if layout.tiled:
        tags[TILE_WIDTH] = entry(LONG, [layout.tile_width], order)
        tags[TILE_HEIGHT] = entry(LONG, [layout.tile_height], order)
    else:
        tags[STRIP_ROWS] = entry(LONG, [layout.tile_height], order)
    places, lengths = (TILE_PLACES, TILE_LENGTHS) if layout.tiled else (STRIP_PLACES, STRIP_LENGTHS)
    tags[lengths] = entry(LONG, map(len, data), order)
    starts, here = [], 8
    for piece in data:
        starts.append(here)
        here += len(piece)
    tags[places] = entry(LONG, starts, order)
    directory, start = directory_bytes(tags, here + here % 2, order)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return TiffImagePlugin.TiffImageFile(io.BytesIO(b"".join([head, *data, bytes(here % 2), directory])))


class TiffEncoder:
    """Writes a TIFF of 8 bits a sample from top to bottom: strips of deflate with differences (predictor 2).

    The directory comes last, when it is known how large the file is: only one of more than 4 GB becomes a BigTIFF.
    """

    strip_bytes = 2**19
    """About how many bytes of pixels a strip has."""

    classic_limit = 2**32 - 2**24
    """Bytes of strips up to which their places, and the directory after them, fit into 32 bits."""

    def __init__(self, file: BinaryIO, width: int, height: int, channels: int, exif: bytes | None) -> None:
        """Leave room for the header.

        Args:
            file: Where to; it must be seekable.
            width: Pixels.
            height: Pixels.
            channels: 3 (RGB) or 4 (RGB and straight alpha).
            exif: EXIF data or None; damaged data are left out.
        """
        self._file, self._shape = file, (height, width, channels)
        self._rows = min(height, max(1, self.strip_bytes // (width * channels)))
        self._waiting = np.empty((0, width, channels), np.uint8)
        self._places: list[int] = []
        self._lengths: list[int] = []
        self._here = 16
        try:
            self._tags, self._inner = _exif_directories(exif)
        except (ValueError, struct.error):
            self._tags, self._inner = {}, {}
        file.write(bytes(self._here))

    def put(self, pixels: np.ndarray) -> None:
        """Write the next rows, (h, width, channels), uint8."""
        rows = np.concatenate([self._waiting, pixels])
        while len(rows) >= self._rows:
            self._write_strip(rows[: self._rows])
            rows = rows[self._rows :]
        self._waiting = rows.copy()

    def end(self) -> None:
        """Write what is left, the directory and the header."""
        if len(self._waiting):
            self._write_strip(self._waiting)
        height, width, channels = self._shape
        big, order = self._here > self.classic_limit, "<"
        long = LONG8 if big else LONG
        tags = {
            **{tag: value for tag, value in self._tags.items() if tag not in _OURS},
            WIDTH: entry(LONG, [width], order),
            HEIGHT: entry(LONG, [height], order),
            BITS: entry(SHORT, [8] * channels, order),
            COMPRESSION: entry(SHORT, [8], order),
            MEANING: entry(SHORT, [2], order),
            STRIP_PLACES: entry(long, self._places, order),
            SAMPLES: entry(SHORT, [channels], order),
            STRIP_ROWS: entry(LONG, [self._rows], order),
            STRIP_LENGTHS: entry(LONG, self._lengths, order),
            PLANES: entry(SHORT, [1], order),
            PREDICTOR: entry(SHORT, [2], order),
        }
        if channels == 4:
            tags[EXTRA_SAMPLES] = entry(SHORT, [2], order)
        padding = bytes(self._here % 2)
        directory, start = directory_bytes(tags, self._here + len(padding), order, big, self._inner)
        self._file.write(padding + directory)
        self._file.seek(0)
        self._file.write(
            struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) if big else struct.pack("<2sHI", b"II", 42, start)
        )

    def _write_strip(self, rows: np.ndarray) -> None:
        differences = rows.copy()
        differences[:, 1:] -= rows[:, :-1]
        data = zlib.compress(differences, 6)
        self._file.write(data)
        self._places.append(self._here)
        self._lengths.append(len(data))
        self._here += len(data)


def _exif_directories(exif: bytes | None) -> tuple[Directory, dict[int, Directory]]:
    """Return the main tags and the inner directories of EXIF data, which are a TIFF without pixels; low byte first.

    Raises:
        ValueError, struct.error: The data are damaged.
    """
    if not exif:
        return {}, {}
    stream = io.BytesIO(exif.removeprefix(b"Exif\0\0"))
    order, big, position = read_header(stream)
    main = read_directory(stream, order, big, position)
    inner = {}
    for tag in (DETAILS, PLACE):
        places = main.pop(tag).numbers(order) if tag in main else ()
        if places:
            inner[tag] = read_directory(stream, order, big, places[0])
            inner[tag].pop(_INTEROPERABILITY, None)  # a directory of its own, about a file that is no longer there
    if order == ">":
        # Pillow, for one, reads a BigTIFF with the low byte first only.
        main = {tag: value.reordered() for tag, value in main.items()}
        inner = {tag: {name: value.reordered() for name, value in one.items()} for tag, one in inner.items()}
    return main, inner
