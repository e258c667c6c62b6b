"""PNG files read and written a few rows at a time.

A PNG is one stream of compressed rows, each stored as differences from its neighbours (a "filter"). Inflating is done
here, by Python's zlib and never beyond the rows that the header announces. Undoing the filters is left to Pillow: a
block of rows becomes a small PNG of its own, whose first row is the last one of the block before. Pillow then also
does for the colours of a block what it would do for those of the whole picture.

Reference:
    Portable Network Graphics Specification, Third Edition (W3C, 2025), sections 5, 9 and 11.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel for each colour type: grey, RGB, palette, grey with alpha, RGBA."""

_COLOUR_CHUNKS = (b"PLTE", b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_LARGEST_CHUNK = 2**24  # bytes of anything but pixels
_WIDEST = 2**22  # pixels: a row is held in memory, and one is made to look at the header
_PIECE = 2**16  # bytes that are read at once
_FULL_CHUNK = 2**20  # bytes after which compressed data are written


@dataclass(frozen=True)
class PngLayout:
    """Where in a PNG the pixels are, and what belongs to them.

    Attributes:
        width: Pixels.
        height: Pixels.
        depth: Bits of a sample, 8 or 16.
        colour: Colour type, a key of the table above.
        colour_chunks: The chunks that say what the samples mean, as the file has them.
        other_chunks: Those after the pixels and those that say other things, EXIF data among them.
        pieces: Places and lengths of the compressed data.
    """

    width: int
    height: int
    depth: int
    colour: int
    colour_chunks: bytes
    other_chunks: bytes
    pieces: tuple[tuple[int, int], ...]

    def header_image(self) -> Image.Image:
        """Return a picture of one black row with everything but the pixels of this one."""
        row = bytes(1 + self.width * _SAMPLES[self.colour])
        return _small_png(self, row, 1, self.colour_chunks + self.other_chunks)


def png_layout(stream: BinaryIO) -> PngLayout | None:
    """Return the layout of a PNG, or None for one that cannot be read in pieces here.

    Those are interlaced pictures, fewer than 8 bits a sample, grey of 16 bits, rows of millions of pixels, and files
    that are odd or damaged.
    """
    stream.seek(0)
    if stream.read(8) != SIGNATURE:
        return None
    header = _chunk(stream)
    if header is None or header[0] != b"IHDR" or len(header[1]) != 13:
        return None
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", header[1])
    if not (0 < width <= _WIDEST and height and rest == [0, 0, 0] and colour in _SAMPLES):
        return None
    if depth != 8 and not (depth == 16 and colour in (2, 4, 6)):
        return None
    colours, others, pieces, ended, kept = [], [], [], False, 0
    while True:
        start = stream.tell()
        head = stream.read(8)
        if len(head) < 8:
            break
        length, name = struct.unpack(">I4s", head)
        if name == b"IDAT":
            if not ended:
                pieces.append((start + 8, length))
            stream.seek(length + 4, io.SEEK_CUR)
            continue
        ended = bool(pieces)  # data after another chunk do not count, here as in Pillow
        if name == b"IEND":
            break
        if name in (b"acTL", b"fcTL", b"fdAT"):  # the other pictures of an animation
            stream.seek(length + 4, io.SEEK_CUR)
            continue
        stream.seek(start)
        kept += 12 + length
        if _chunk(stream) is None or kept > _LARGEST_CHUNK:
            return None
        stream.seek(start)
        (colours if name in _COLOUR_CHUNKS and not pieces else others).append(stream.read(12 + length))
    if not pieces:
        return None
    return PngLayout(width, height, depth, colour, b"".join(colours), b"".join(others), tuple(pieces))


def _chunk(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """Return the name and the content of the chunk that a file stands at, or None where there is no sound one."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    length, name = struct.unpack(">I4s", head)
    if length > _LARGEST_CHUNK or not name.isalpha():
        return None
    data = stream.read(length)
    if stream.read(4) != struct.pack(">I", zlib.crc32(name + data)):
        return None
    return name, data


def png_blocks(stream: BinaryIO, layout: PngLayout, pixels: int) -> Iterator[tuple[int, int, Image.Image]]:
    """Decode a PNG from top to bottom; yields the place (left, top) and the decoded image of each block of rows.

    Args:
        stream: The file.
        layout: Its layout.
        pixels: About how many a block may have.

    Raises:
        OSError: The data end too early.
        zlib.error: They are damaged; Pillow's own errors where a filter is unknown.
    """
    samples = _SAMPLES[layout.colour]
    length = 1 + layout.width * samples * layout.depth // 8
    before = bytes(1 + layout.width * samples)  # above the first row there is black
    top = 0
    rows = _inflated(stream, layout.pieces, length, layout.height, max(1, pixels // layout.width))
    for data in rows:
        if layout.depth == 16:
            # Of 16 bits Pillow keeps the upper 8, and filters never mix the two bytes of a sample.
            table = np.frombuffer(data, np.uint8).reshape(-1, length)
            data = np.concatenate([table[:, :1], table[:, 1::2]], axis=1).tobytes()
        count = len(data) // len(before)
        image = _small_png(layout, before + data, count + 1, layout.colour_chunks)
        image.load()
        before = b"\0" + np.asarray(image.crop((0, count, layout.width, count + 1))).tobytes()
        yield 0, top, image.crop((0, 1, layout.width, count + 1))
        top += count


def _inflated(
    stream: BinaryIO, pieces: tuple[tuple[int, int], ...], length: int, height: int, rows: int
) -> Iterator[bytes]:
    """Yield the filtered data of up to ``rows`` rows of ``length`` bytes at a time, ``height`` rows in all."""
    inflater = zlib.decompressobj()
    compressed = _compressed(stream, pieces)
    done = 0
    while done < height:
        wanted = min(rows, height - done) * length
        data = bytearray()
        while len(data) < wanted:
            piece = inflater.unconsumed_tail or next(compressed, b"")
            if not piece or inflater.eof:
                raise OSError("the picture data are truncated")
            data += inflater.decompress(piece, wanted - len(data))
        yield bytes(data)
        done += wanted // length
    # One byte more makes zlib look at its checksum; what is left after that is nobody's.
    while not inflater.eof:
        piece = inflater.unconsumed_tail or next(compressed, b"")
        if not piece or inflater.decompress(piece, 1):
            break


def _compressed(stream: BinaryIO, pieces: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    for start, length in pieces:
        for offset in range(0, length, _PIECE):
            stream.seek(start + offset)
            data = stream.read(min(_PIECE, length - offset))
            if data:
                yield data


def _small_png(layout: PngLayout, rows: bytes, height: int, chunks: bytes) -> Image.Image:
    """Return filtered rows of 8 bits a sample as an opened PNG of their own."""
    header = struct.pack(">IIBBBBB", layout.width, height, 8, layout.colour, 0, 0, 0)
    data = [SIGNATURE, chunk(b"IHDR", header), chunks, chunk(b"IDAT", zlib.compress(rows, 0)), chunk(b"IEND", b"")]
    return PngImagePlugin.PngImageFile(io.BytesIO(b"".join(data)))


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG chunk: length, name, content, checksum."""
    return b"".join((struct.pack(">I4s", len(data), name), data, struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))))


class PngEncoder:
    """Writes a PNG of 8 bits a sample from top to bottom.

    Of the filters, each row gets the one of three (left, above, Paeth) with the smallest sum of absolute differences.
    """

    def __init__(self, file: BinaryIO, width: int, height: int, channels: int, exif: bytes | None) -> None:
        """Write everything before the pixels.

        Args:
            file: Where to.
            width: Pixels.
            height: Pixels.
            channels: 3 (RGB) or 4 (RGBA).
            exif: EXIF data or None.
        """
        self._file, self._channels = file, channels
        self._above = np.zeros((1, width * channels), np.uint8)
        self._compressor = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
        self._waiting = bytearray()
        file.write(
            SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0))
        )
        if exif:
            file.write(chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))

    def put(self, pixels: np.ndarray) -> None:
        """Write the next rows, (h, width, channels), uint8."""
        rows = pixels.reshape(len(pixels), -1)
        above = np.concatenate([self._above, rows[:-1]])
        self._above = rows[-1:].copy()
        filtered = _filtered(rows, above, self._channels)
        self._waiting += self._compressor.compress(filtered)
        if len(self._waiting) >= _FULL_CHUNK:
            self._flush()

    def end(self) -> None:
        """Write everything after the pixels."""
        self._waiting += self._compressor.flush()
        self._flush()
        self._file.write(chunk(b"IEND", b""))

    def _flush(self) -> None:
        self._file.write(chunk(b"IDAT", bytes(self._waiting)))
        self._waiting.clear()


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> bytes:
    """Return rows with their filters chosen and applied.

    Args:
        rows: (h, n), uint8.
        above: (h, n), the row above each.
        step: Bytes of a pixel.
    """
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], above[:, :-step]
    # Paeth: of left, above and corner the one nearest to left + above - corner; the earlier one where two are as near.
    from_left = above.astype(np.int16) - corner
    from_above = left.astype(np.int16) - corner
    from_corner = np.abs(from_left + from_above)
    from_left, from_above = np.abs(from_left), np.abs(from_above)
    nearest = np.where(from_above <= from_corner, above, corner)
    nearest = np.where((from_left <= from_above) & (from_left <= from_corner), left, nearest)
    candidates = np.stack([rows - left, rows - above, rows - nearest])
    sums = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
    best = sums.argmin(axis=0)
    chosen = candidates[best, np.arange(len(rows))]
    kinds = np.array([1, 2, 4], np.uint8)[best]
    return np.concatenate([kinds[:, None], chosen], axis=1).tobytes()
