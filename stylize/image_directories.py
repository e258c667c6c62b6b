"""Directories of tags, of which TIFF files and EXIF data are made: how much reading one would take.

Pillow reads the value of every tag of a directory into memory before any is asked for. Values may lie over one
another: in four megabytes there is room for a hundred thousand tags that all stand for the same two megabytes. In an
honest file no two values share a place, so together they are about as large as the file at most.

References:
    TIFF Revision 6.0 (Adobe, 1992), section 2; the BigTIFF design (2004); Exif 3.0, section 4.6.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

MAXIMUM_EXIF_BYTES = 2**22
"""Bytes of EXIF data. In a JPEG they have 64 kB."""

MAXIMUM_DIRECTORY = 4096
"""Tags of a directory; ours and those of cameras have some hundred."""

MAXIMUM_VALUE_BYTES = 2**26
"""Bytes that all values of a directory may have beyond those of the file: damaged ones overlap by chance."""

MAXIMUM_SEGMENTS = 2**19
"""Strips or tiles of a TIFF."""

MAXIMUM_TILE_PIXELS = 2**22
"""Pixels of a tile of a TIFF, unless the picture has a fourth as many."""

MAXIMUM_SAMPLES = 64
"""Samples of a pixel of a TIFF; Pillow reads up to six."""

MAXIMUM_NUMBERS = 2**20
"""Numbers of all other tags of a TIFF together: three times 65,536 are a colour table."""

_KINDS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of a value of each type that Pillow reads."""

_WIDTH, _HEIGHT, _SAMPLES = 256, 257, 277
_STRIPS, _STRIP_LENGTHS, _TILES, _TILE_LENGTHS, _TILE_WIDTH, _TILE_HEIGHT = 273, 279, 324, 325, 322, 323
_PLACES = (_STRIPS, _STRIP_LENGTHS, _TILES, _TILE_LENGTHS)
_BYTES = (1, 2, 7)
"""Types of values that stay bytes; of all others Pillow makes numbers."""

_INNER = (34665, 34853, 40965)
"""Tags that lead to directories of EXIF data: details, place, interoperability."""


NOT_THERE = (struct.error, OSError, OverflowError, ValueError)
"""What reading at a place that is none ends in."""


class Excess(Exception):
    """A file asks for more than any honest file does; the text says for what."""


def sound_exif(data: bytes) -> bool:
    """Return whether EXIF data can be read without taking more memory than they have bytes, many times over."""
    try:
        check_exif(data)
    except Excess:
        return False
    return True


def file_size(stream: BinaryIO) -> int:
    """Return the bytes of a file, at whose end it is left."""
    return stream.seek(0, os.SEEK_END)


@dataclass(frozen=True)
class _Tag:
    """A tag of a directory that its reader gets the value of.

    Attributes:
        tag: Its number.
        kind: Type of its values.
        count: How many values.
        field: The bytes that are the value, or where it is.
    """

    tag: int
    kind: int
    count: int
    field: bytes

    @property
    def length(self) -> int:
        """Bytes of all values."""
        return self.count * _KINDS[self.kind]

    def first(self, order: str) -> int:
        """Return the first value, which stands in the directory itself; 0 where it does not."""
        letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}.get(self.kind)
        if letter is None or self.length > len(self.field) or not self.count:
            return 0
        return struct.unpack_from(order + letter, self.field)[0]


def _tags(stream: BinaryIO, size: int, order: str, big: bool, position: int) -> Iterator[_Tag]:
    """Yield the tags of a directory, up to the one at which Pillow gives up."""
    stream.seek(position)
    (count,) = struct.unpack(order + ("Q" if big else "H"), stream.read(8 if big else 2))
    step, inline = (20, 8) if big else (12, 4)
    table = stream.read(step * min(count, MAXIMUM_DIRECTORY + 1))
    if len(table) > step * MAXIMUM_DIRECTORY:
        raise Excess(f"more than {MAXIMUM_DIRECTORY:,} tags in a directory")
    for start in range(0, len(table) - step + 1, step):
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), table, start)
        if kind not in _KINDS:
            continue
        field = table[start + step - inline : start + step]
        length = values * _KINDS[kind]
        if length > inline and struct.unpack(order + ("Q" if big else "I"), field)[0] + length > size:
            return
        yield _Tag(tag, kind, values, field)


def _check_directory(stream: BinaryIO, size: int, order: str, big: bool, position: int, limit: int) -> dict[int, _Tag]:
    """Return the tags of a directory, whose values may have ``limit`` bytes at most.

    Args:
        stream: The file.
        size: Its bytes.
        order: Byte order.
        big: Whether it is a BigTIFF.
        position: Of the directory.
        limit: Most bytes of all values.
    """
    found: dict[int, _Tag] = {}
    total = numbers = 0
    for one in _tags(stream, size, order, big, position):
        total += one.length
        if total > limit:
            raise Excess(f"a directory whose values overlap, of more than {limit:,} bytes")
        numbers += one.count * (one.kind not in _BYTES and one.tag not in _PLACES)
        if numbers > MAXIMUM_NUMBERS:
            raise Excess(f"more than {MAXIMUM_NUMBERS:,} numbers in its tags")
        found[one.tag] = one
    return found


def _check_inner(stream: BinaryIO, size: int, order: str, big: bool, main: dict[int, _Tag], limit: int) -> None:
    """Check the directories that a directory leads to, each for itself: one may be damaged."""
    outer = main
    for tag in _INNER:
        place = main.get(tag, outer.get(tag))
        if place is None:
            continue
        with suppress(*NOT_THERE):
            inner = _check_directory(stream, size, order, big, place.first(order), limit)
            outer = inner if tag == _INNER[0] else outer  # interoperability belongs to the details


def _tiff_header(head: bytes) -> tuple[str, bool, int]:
    """Return byte order, whether it is a BigTIFF, and the place of the first directory, as Pillow takes them."""
    order, big = ("<" if head[:2] == b"II" else ">"), head[2:3] == b"\x2b"
    return order, big, struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]


def check_tiff(stream: BinaryIO) -> None:
    size = file_size(stream)
    stream.seek(0)
    order, big, position = _tiff_header(stream.read(16))
    main = _check_directory(stream, size, order, big, position, size + MAXIMUM_VALUE_BYTES)

    def number(tag: int, default: int) -> int:
        return main[tag].first(order) if tag in main else default

    width, height, samples = number(_WIDTH, 0), number(_HEIGHT, 0), number(_SAMPLES, 1)
    if samples > MAXIMUM_SAMPLES:
        raise Excess(f"{samples:,} samples for each pixel")
    # Rows of pixels are the smallest strips there are, in a plane for each sample.
    most = min(MAXIMUM_SEGMENTS, max(1, height) * max(1, samples))
    tile_width, tile_height = number(_TILE_WIDTH, 0), number(_TILE_HEIGHT, 0)
    if _TILES in main and tile_width and tile_height:
        if tile_width * tile_height > max(MAXIMUM_TILE_PIXELS, 4 * width * height):
            raise Excess(f"tiles of {tile_width} x {tile_height} pixels")
        tiles = -(-width // tile_width) * -(-height // tile_height) * max(1, samples)
        most = min(MAXIMUM_SEGMENTS, max(most, tiles))
    for tag in _PLACES:
        if tag in main and main[tag].count > most:
            raise Excess(f"{main[tag].count:,} strips or tiles")
    _check_inner(stream, size, order, big, main, MAXIMUM_VALUE_BYTES)


def check_exif(data: bytes) -> None:
    """Check EXIF data, which are a TIFF without pixels."""
    while data.startswith(b"Exif\0\0"):
        data = data[6:]
    if len(data) > MAXIMUM_EXIF_BYTES:
        raise Excess(f"{len(data):,} bytes of EXIF data")
    stream, size = io.BytesIO(data), len(data)
    with suppress(*NOT_THERE):
        order, big, position = _tiff_header(data[:16])
        main = _check_directory(stream, size, order, big, position, size + MAXIMUM_VALUE_BYTES)
        _check_inner(stream, size, order, big, main, size + MAXIMUM_VALUE_BYTES)
