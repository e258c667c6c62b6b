"""What a picture file may ask for: looked at before its decoder is, because decoders believe what a file says.

A file of a few kilobytes can make a decoder take any memory, or work for hours, long before there is a pixel: by a
directory in which ten thousand tags stand for the same megabyte, by a comment in a million pieces that are joined one
by one, by ten thousand passes over a large picture. Here the skeleton of a file is walked through, in a time that its
size bounds, and compared with what files from cameras and programs have. What the walk does not understand is left to
the decoder to refuse.

The number of pixels is checked by :mod:`stylize.image_reading`, which knows it when the header is decoded.

References:
    ITU-T T.81 (JPEG), annex B; PNG Specification, third edition, section 5; GIF89a Specification, sections 15 to 26;
    WebP Container Specification.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from PIL import JpegImagePlugin

from stylize.errors import ImageError
from stylize.image_directories import MAXIMUM_EXIF_BYTES, NOT_THERE, Excess, check_exif, check_tiff, file_size

MAXIMUM_FILE_BYTES = 2**31
"""Bytes of a file that is decoded as a whole."""

MAXIMUM_SIDE = 2**20
"""Pixels of a side. Some decoders take a row, or 255 rows, at a time, whatever a row has."""

MAXIMUM_PROFILE_BYTES = 2**24
"""Bytes of a colour profile; a larger one is left aside, as a broken one is. Those of presses have up to 4 MB."""

MAXIMUM_JPEG_HEADER = 2**26
"""Bytes before the picture data of a JPEG."""

MAXIMUM_JPEG_PARTS = 10_000
"""Segments of a JPEG."""

MAXIMUM_SCANS = 200
"""Passes over the picture of a progressive JPEG; usual are ten, and a few bytes ask for one."""

MAXIMUM_STRAY_BYTES = 2**16
"""Bytes between the segments of a JPEG that belong to none."""

MAXIMUM_CHUNKS = 10_000
"""Chunks of a PNG or a WebP, beside one for each :data:`CHUNK_BYTES` of the file."""

CHUNK_BYTES = 1024

MAXIMUM_GIF_NOTES = 2**20
"""Bytes of comments and other extensions before a picture of a GIF."""

MAXIMUM_GIF_PARTS = 10_000
"""Pieces that these come in."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A marker in the data of a JPEG: there an FF that is none has a 00 after it, or is a restart."""


def check_structure(stream: BinaryIO, kind: str, name: str) -> None:
    """Refuse a picture file that would take a decoder more time or memory than its size and its pixels call for.

    Args:
        stream: The file, seekable; it is left where it was.
        kind: Pillow's name of its format.
        name: What the error message calls it.

    Raises:
        ImageError: It asks for too much.
    """
    guard = {"JPEG": _check_jpeg, "PNG": _check_png, "GIF": _check_gif, "TIFF": check_tiff, "WEBP": _check_webp}
    guard["AVIF"] = _check_avif
    if kind not in guard:
        return
    position = stream.tell()
    try:
        # What is cut off or makes no sense is for the decoder to say.
        with suppress(*NOT_THERE):
            guard[kind](stream)
    except Excess as excess:
        raise ImageError(f"{name} is damaged, or made to do harm: it has {excess}; export it again") from None
    finally:
        stream.seek(position)


def check_pictures(stream: BinaryIO, name: str, most: int) -> None:
    """Refuse a GIF of more than ``most`` pictures, without decoding any.

    Raises:
        ImageError: It has more, or too much between them.
    """
    try:
        with suppress(*NOT_THERE):
            for count, _ in enumerate(gif_pictures(stream), 1):
                if count > most:
                    raise Excess(f"more than {most:,} pictures")
    except Excess as excess:
        raise ImageError(f"{name} is damaged, or made to do harm: it has {excess}; make it shorter") from None
    finally:
        stream.seek(0)


def check_file_size(size: int, name: str) -> None:
    """Refuse a file that is too large to be decoded as a whole.

    Raises:
        ImageError: It has more than :data:`MAXIMUM_FILE_BYTES`.
    """
    if size > MAXIMUM_FILE_BYTES:
        limit = f"more than the {MAXIMUM_FILE_BYTES:,} that are read"
        raise ImageError(f"{name} has {size:,} bytes, {limit}; make it smaller first")


# ---------------------------------------------------------------------------------------------------------------- JPEG


def _check_jpeg(stream: BinaryIO) -> None:
    """Walk through a header as Pillow does, and through the data of a progressive JPEG as libjpeg does."""
    size = file_size(stream)
    stream.seek(2)
    stray = parts = 0
    exif: list[bytes] = []
    progressive = False
    byte = stream.read(1)
    while byte:
        if byte != b"\xff":
            stray, byte = stray + 1, stream.read(1)
        else:
            following = stream.read(1)
            if following in (b"\xff", b"\x00"):
                stray, byte = stray + 1, following if following == b"\xff" else stream.read(1)
            else:
                parts, marker = parts + 1, 0xFF00 + following[0] if following else 0
                if marker not in JpegImagePlugin.MARKER:
                    break
                if marker == 0xFFDA:
                    check_exif(b"".join(exif))
                    if progressive:
                        _count_scans(stream)
                    return
                # Pillow steps over a segment where it has a name for a function that reads it.
                if JpegImagePlugin.MARKER[marker][2] is not None:
                    (length,) = struct.unpack(">H", stream.read(2))
                    progressive = progressive or 0xFFC2 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)
                    _keep_exif(stream, marker, length - 2, exif)
                byte = stream.read(1)
        if stray > MAXIMUM_STRAY_BYTES:
            raise Excess(f"more than {MAXIMUM_STRAY_BYTES:,} bytes between its segments")
        if parts > MAXIMUM_JPEG_PARTS or stream.tell() > MAXIMUM_JPEG_HEADER:
            raise Excess(f"a header of more than {MAXIMUM_JPEG_PARTS:,} segments or {MAXIMUM_JPEG_HEADER:,} bytes")
        if stream.tell() > size:
            return
    check_exif(b"".join(exif))


def _keep_exif(stream: BinaryIO, marker: int, length: int, exif: list[bytes]) -> None:
    """Step over a segment; EXIF data are kept."""
    if length <= 0:
        return
    end = stream.tell() + length
    if marker == 0xFFE1 and length >= 6 and stream.read(6) == b"Exif\0\0":
        exif.append(stream.read(length - 6))
        if sum(map(len, exif)) > MAXIMUM_EXIF_BYTES:
            raise Excess(f"more than {MAXIMUM_EXIF_BYTES:,} bytes of EXIF data")
    stream.seek(end)


def _count_scans(stream: BinaryIO) -> None:
    """Count the passes over the picture, from behind the marker that begins the first."""
    scans, parts, piece = 1, 0, 2**20
    place = stream.tell()
    place += max(2, *struct.unpack(">H", stream.read(2)))
    while True:
        stream.seek(place)
        data = stream.read(piece)
        found = _MARKER.search(data)
        if found is None:
            if len(data) < piece:
                return
            place += len(data) - 1  # an FF at its end may be half a marker
            continue
        place, marker, parts = place + found.start() + 2, data[found.start() + 1], parts + 1
        piece = 2**20 if found.start() > 2**16 else 2**17
        if marker == 0xD9:
            return
        scans += marker == 0xDA
        if scans > MAXIMUM_SCANS or parts > MAXIMUM_JPEG_PARTS:
            raise Excess(f"more than {MAXIMUM_SCANS} passes over the picture")
        if marker not in (0x01, 0xD8):
            stream.seek(place)
            (length,) = struct.unpack(">H", stream.read(2))
            place += max(2, length)


# ------------------------------------------------------------------------------------------------- PNG, WebP, GIF, AVIF


def _check_png(stream: BinaryIO) -> None:
    size = file_size(stream)
    most, place, count = MAXIMUM_CHUNKS + size // CHUNK_BYTES, 8, 0
    while place + 8 <= size:
        stream.seek(place)
        length, name = struct.unpack(">I4s", stream.read(8))
        count += 1
        if count > most:
            raise Excess(f"more than {most:,} chunks")
        if name == b"eXIf":
            if length > MAXIMUM_EXIF_BYTES:
                raise Excess(f"{length:,} bytes of EXIF data")
            check_exif(stream.read(length))
        if name == b"IEND":
            return
        place += 12 + length


def _check_webp(stream: BinaryIO) -> None:
    size = file_size(stream)
    most, place, count = MAXIMUM_CHUNKS + size // CHUNK_BYTES, 12, 0
    while place + 8 <= size:
        stream.seek(place)
        name, length = struct.unpack("<4sI", stream.read(8))
        count += 1
        if count > most:
            raise Excess(f"more than {most:,} chunks")
        if name == b"EXIF":
            if length > MAXIMUM_EXIF_BYTES:
                raise Excess(f"{length:,} bytes of EXIF data")
            check_exif(stream.read(length))
        place += 8 + length + length % 2


def gif_pictures(stream: BinaryIO) -> Iterator[int]:
    """Step over the pictures of a GIF as Pillow does, without decoding them; yields the place of the data of each."""
    stream.seek(10)
    flags = stream.read(3)
    if len(flags) < 3:
        return
    stream.seek(13 + (3 << ((flags[0] & 7) + 1) if flags[0] & 128 else 0))
    notes = parts = 0

    def block() -> bytes:
        nonlocal notes, parts
        length = stream.read(1)
        data = stream.read(length[0]) if length else b""
        notes, parts = notes + len(data), parts + 1
        if notes > MAXIMUM_GIF_NOTES or parts > MAXIMUM_GIF_PARTS:
            limit = f"more than {MAXIMUM_GIF_NOTES:,} bytes or {MAXIMUM_GIF_PARTS:,} pieces"
            raise Excess(f"comments and other things beside its pictures of {limit}")
        return data

    while True:
        kind = stream.read(1)
        if kind in (b"", b";"):
            return
        if kind == b"!":
            label = stream.read(1)
            data = block()
            if label == b"\xff" and data.startswith(b"NETSCAPE2.0"):
                block()
            # Pillow reads on after an empty block, but in a comment.
            while (label != b"\xfe" or data) and (data := block()):
                pass
        elif kind == b",":
            descriptor = stream.read(9)
            if len(descriptor) < 9:
                return
            stream.seek((3 << ((descriptor[8] & 7) + 1) if descriptor[8] & 128 else 0) + 1, os.SEEK_CUR)
            yield stream.tell()
            while length := stream.read(1):
                if length == b"\0":
                    break
                stream.seek(length[0], os.SEEK_CUR)
            notes = parts = 0
        else:
            parts += 1  # Pillow steps over what it does not know
            if parts > MAXIMUM_GIF_PARTS:
                raise Excess(f"more than {MAXIMUM_GIF_PARTS:,} bytes that belong to nothing")


def _check_gif(stream: BinaryIO) -> None:
    next(gif_pictures(stream), None)


def _check_avif(stream: BinaryIO) -> None:
    """Look at the EXIF data of an AVIF through its decoder, because Pillow reads them while it opens the file."""
    try:
        from PIL import _avif
    except ImportError:
        return
    stream.seek(0)
    with suppress(AttributeError, TypeError, ValueError, RuntimeError, SyntaxError):
        exif = _avif.AvifDecoder(stream.read(), "auto", 1).get_info()[4]  # after size, frames, mode, profile
        if exif:
            check_exif(exif)
