"""Directories of TIFF files: the tables of tags that say where the pixels are, and that EXIF data are made of.

The values are kept as the bytes of the file and in its byte order, so that a tag can be copied from one file to
another whatever it means. Classic TIFF (up to 4 GB) and BigTIFF are both known.

Reference:
    TIFF Revision 6.0 (Adobe, 1992), section 2; the BigTIFF design (2004), which widens counts and offsets to 64 bits.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

SHORT, LONG, LONG8 = 3, 4, 16

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAGIC = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_LONGEST_VALUE = 2**26
"""Bytes; a list of the places of eight million strips is this long."""


@dataclass(frozen=True)
class Entry:
    """The value of a tag.

    Attributes:
        kind: Type number, such as :data:`SHORT`.
        count: How many values of that type.
        data: The values as the file holds them.
    """

    kind: int
    count: int
    data: bytes

    def numbers(self, order: str) -> tuple[int, ...]:
        """Return the values as whole numbers; none where the type is another."""
        letter = _WHOLE_NUMBERS.get(self.kind)
        return struct.unpack(f"{order}{self.count}{letter}", self.data) if letter else ()

    def reordered(self) -> Entry:
        """Return the same values in the other byte order."""
        step = {5: 4, 10: 4}.get(self.kind, _SIZES[self.kind])  # a fraction is two numbers
        swapped = bytearray(len(self.data))
        for place in range(step):
            swapped[place::step] = self.data[step - 1 - place :: step]
        return Entry(self.kind, self.count, bytes(swapped))


Directory = dict[int, Entry]


def entry(kind: int, values: Iterable[int], order: str) -> Entry:
    """Return whole numbers as the value of a tag."""
    numbers = list(values)
    return Entry(kind, len(numbers), struct.pack(f"{order}{len(numbers)}{_WHOLE_NUMBERS[kind]}", *numbers))


def read_header(stream: BinaryIO) -> tuple[str, bool, int]:
    """Return the byte order (``"<"`` or ``">"``), whether it is a BigTIFF, and the place of the first directory.

    Raises:
        ValueError: It is no TIFF.
    """
    stream.seek(0)
    head = stream.read(16)
    if head[:4] not in _MAGIC:
        raise ValueError("no TIFF header")
    order, big = _MAGIC[head[:4]]
    try:
        return order, big, struct.unpack_from(order + "Q" if big else order + "I", head, 8 if big else 4)[0]
    except struct.error:
        raise ValueError("the TIFF header is truncated") from None


def read_directory(
    stream: BinaryIO, order: str, big: bool, position: int, wanted: Collection[int] | None = None
) -> Directory:
    """Return the tags of the directory at a position: all of them, or the wanted ones.

    Raises:
        ValueError: The directory or a value of it does not lie within the file.
    """
    size = stream.seek(0, os.SEEK_END)
    step, inline, offset_format = (20, 8, order + "Q") if big else (12, 4, order + "I")
    (count,) = struct.unpack(order + ("Q" if big else "H"), _read(stream, position, 8 if big else 2))
    table = _read(stream, position + (8 if big else 2), step * min(count, 65535))
    found: Directory = {}
    for start in range(0, len(table), step):
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), table, start)
        if kind not in _SIZES or (wanted is not None and tag not in wanted):
            continue
        length = values * _SIZES[kind]
        if length > min(size, _LONGEST_VALUE):
            raise ValueError(f"the TIFF tag {tag} is truncated")
        field = table[start + step - inline : start + step]
        found[tag] = Entry(
            kind,
            values,
            field[:length] if length <= inline else _read(stream, *struct.unpack(offset_format, field), length),
        )
    return found


def _read(stream: BinaryIO, position: int, length: int) -> bytes:
    stream.seek(position)
    data = stream.read(length)
    if len(data) < length:
        raise ValueError("the TIFF directory is truncated")
    return data


def directory_bytes(
    entries: Mapping[int, Entry],
    position: int,
    order: str,
    big: bool = False,
    inner: Mapping[int, Mapping[int, Entry]] | None = None,
) -> tuple[bytes, int]:
    """Return a directory with everything it points to, to be written at a position, and where in the file it starts.

    Args:
        entries: Its tags.
        position: Where the bytes will be written.
        order: Byte order of the values.
        big: Write it for a BigTIFF.
        inner: Directories within it, by the tag that points to them.
    """
    parts, here = [], position
    table = dict(entries)
    for tag, directory in (inner or {}).items():
        data, start = directory_bytes(directory, here, order, big)
        table[tag] = entry(LONG8 if big else LONG, [start], order)
        parts.append(data)
        here += len(data)
    inline, offset_format = (8, order + "Q") if big else (4, order + "I")
    rows = []
    for tag in sorted(table):
        value = table[tag]
        field = value.data
        if len(field) > inline:
            field = struct.pack(offset_format, here)
            parts.append(value.data + bytes(len(value.data) % 2))  # values start at even places
            here += len(parts[-1])
        rows.append(struct.pack(order + ("HHQ" if big else "HHI"), tag, value.kind, value.count))
        rows.append(field.ljust(inline, b"\0"))
    parts.append(struct.pack(order + ("Q" if big else "H"), len(table)))
    return b"".join([*parts, *rows, bytes(inline)]), here
