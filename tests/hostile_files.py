"""Pictures and weights that are made to do harm, and samples of every kind that is read, small enough to be changed
many times over."""

from __future__ import annotations

import importlib.util
import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.image_helpers import camera_exif, chunk

SIGNATURE = b"\x89PNG\r\n\x1a\n"

READS_AVIF = importlib.util.find_spec("PIL._avif") is not None
"""Pillow does from 11.3 on; an older one complains where it is asked for a feature that it does not know."""


def picture(mode: str = "RGB", width: int = 24, height: int = 18) -> Image.Image:
    """Return a small picture with smooth and rough parts."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2] = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def run_length_bmp() -> bytes:
    """Return a BMP of 8 x 2 pixels with run lengths, which Pillow reads but does not write."""
    data = b"\x04\x01\x04\x02\0\0\x08\x03\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 8, 2, 1, 8, 1, len(data), 0, 0, 256, 256)
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(data), 0, 0, 14 + 40 + 1024) + head + palette + data


@cache
def samples() -> dict[str, bytes]:
    """Return a file of every kind of picture that is read, by a name that begins with the format."""
    photo, profile = picture(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif, more = camera_exif(), {"save_all": True, "append_images": [picture("L").convert("RGB"), picture()]}
    deep = Image.fromarray(np.arange(24 * 18, dtype=np.uint16).reshape(18, 24) * 100)
    text = b"tEXtTitle\0a picture"
    found = {
        "JPEG": saved(photo, "JPEG", exif=exif, icc_profile=profile),
        "JPEG progressive": saved(photo, "JPEG", progressive=True, comment=b"made for a test"),
        "JPEG CMYK": saved(photo.convert("CMYK"), "JPEG"),
        "JPEG grey": saved(picture("L"), "JPEG"),
        "PNG": saved(photo, "PNG", exif=exif, icc_profile=profile),
        "PNG palette": saved(photo.quantize(7), "PNG", transparency=3),
        "PNG alpha": saved(picture("RGBA"), "PNG"),
        "PNG deep": saved(deep, "PNG"),
        "PNG animated": saved(photo, "PNG", **more),
        "GIF": saved(photo, "GIF", comment=b"made for a test"),
        "GIF animated": saved(photo, "GIF", **more, loop=0, duration=40),
        "WEBP": saved(photo, "WEBP", exif=exif, icc_profile=profile),
        "WEBP lossless": saved(picture("RGBA"), "WEBP", lossless=True),
        "WEBP animated": saved(photo, "WEBP", **more),
        "TIFF": saved(photo, "TIFF", exif=exif),
        "TIFF lzw": saved(photo, "TIFF", compression="tiff_lzw", icc_profile=profile),
        "TIFF deflate": saved(picture("CMYK"), "TIFF", compression="tiff_adobe_deflate"),
        "TIFF jpeg": saved(photo, "TIFF", compression="jpeg"),
        "TIFF fax": saved(picture("1"), "TIFF", compression="group4"),
        "TIFF deep": saved(deep, "TIFF"),
        "TIFF big": saved(photo, "TIFF", big_tiff=True),
        "BMP": saved(photo, "BMP"),
        "BMP one bit": saved(picture("1"), "BMP"),
        "BMP run lengths": run_length_bmp(),
    }
    end = len(SIGNATURE) + 25
    found["PNG text"] = found["PNG alpha"][:end] + chunk(text[:4], text[4:]) + found["PNG alpha"][end:]
    if READS_AVIF:
        found["AVIF"] = saved(photo, "AVIF", exif=exif)
    return found


def png(width: int, height: int, extra: bytes = b"", data: bytes = b"") -> bytes:
    """Return a PNG whose header claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data or bytes(100)))
    return SIGNATURE + body + chunk(b"IEND", b"")


def tiff(tags: Mapping[int, tuple[int, int, int]], body: bytes = b"") -> bytes:
    """Return a TIFF whose tags (type, number of values, value or place) can claim anything."""
    rows = [struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags)]
    return b"II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(rows) + bytes(4) + body


def plain_tags(width: int = 4, height: int = 4, place: int = 160) -> dict[int, tuple[int, int, int]]:
    """Return the tags of a grey TIFF that is not compressed, in one strip."""
    return {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, place),
        277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, min(width * height, 2**31)),
    }  # fmt: skip


def overlapping(tags: int = 4000, length: int = 900_000) -> bytes:
    """Return EXIF data in which every tag stands for the same bytes: read, they take ``tags * length`` bytes."""
    return tiff({10_000 + number: (7, length, 14 + 12 * tags) for number in range(tags)}, bytes(length))


def exif_segments(data: bytes) -> bytes:
    """Return EXIF data as segments of a JPEG."""
    pieces = [data[start : start + 65_000] for start in range(0, len(data), 65_000)]
    return b"".join(b"\xff\xe1" + struct.pack(">H", len(piece) + 8) + b"Exif\0\0" + piece for piece in pieces)


def many_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last pass over the picture is there many times."""
    data = samples()["JPEG progressive"]
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def behind_palette(gif: bytes) -> int:
    """Return where the first part after the header of a GIF begins."""
    return 13 + (3 << ((gif[10] & 7) + 1) if gif[10] & 128 else 0)


def gif_with(extra: bytes) -> bytes:
    data = samples()["GIF"]
    place = behind_palette(data)
    return data[:place] + extra + data[place:]


def wide_run_length_bmp() -> bytes:
    """Return a BMP of one row of 178 million pixels, in which a code of four bytes stands for 255 such rows."""
    head = struct.pack("<IiiHHIIiiII", 40, 178_000_000, 1, 1, 8, 1, 16, 0, 0, 2, 2)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 62) + head + bytes(8) + b"\0\2\xff\xff" * 4


def avif_with(exif: bytes) -> bytes:
    """Return an AVIF with EXIF data that Pillow itself would not survive writing."""
    placeholder = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 40092, 1, len(exif) - 26, 26) + bytes(4)
    placeholder = placeholder.ljust(len(exif), b"x")
    data = saved(picture(), "AVIF", exif=placeholder)
    assert placeholder in data
    return data.replace(placeholder, exif)


def _attacks() -> dict[str, Callable[[], bytes]]:
    jpeg, tags, exif = samples()["JPEG grey"], plain_tags(), overlapping()
    body, zeros = bytes(8_010_000), zlib.compress(bytes(50_000_000))
    segment_lists = {273: (4, 2_000_000, 2000), 279: (4, 2_000_000, 2000)}
    tile = {322: (4, 1, 30_000), 323: (4, 1, 30_000), 324: (4, 1, 200), 325: (4, 1, 16)}
    without = {tag: value for tag, value in tags.items() if tag not in (273, 278, 279)}
    found: dict[str, Callable[[], bytes]] = {
        "a PNG with a row of two thousand million pixels": lambda: png(2**31 - 1, 1),
        "a PNG of 60,000 x 60,000 pixels": lambda: png(60_000, 60_000),
        "a PNG of a million chunks": lambda: png(4, 4, chunk(b"teXt", b"") * 1_300_000),
        "a PNG with a text of 50 MB in 50 kB": lambda: png(4, 4, chunk(b"zTXt", b"a\0\0" + zeros)),
        "a PNG with a profile of 50 MB": lambda: png(4, 4, chunk(b"iCCP", b"a\0\0" + zeros)),
        "a PNG with overlapping EXIF data": lambda: png(4, 4, chunk(b"eXIf", exif)),
        "a PNG with 5 MB of EXIF data": lambda: png(4, 4, chunk(b"eXIf", bytes(5_000_000))),
        "a TIFF of four thousand million rows": lambda: tiff(plain_tags(4, 2**32 - 1), bytes(500)),
        "a TIFF with overlapping values": lambda: tiff(
            tags | {40_000 + number: (7, 900_000, 50_000) for number in range(4000)}, bytes(960_000)
        ),
        "a TIFF of two million strips": lambda: tiff(tags | segment_lists, body),
        "a TIFF of two million strips that are rows": lambda: tiff(
            plain_tags(1, 2_000_000) | segment_lists | {278: (4, 1, 1)}, body
        ),
        "a TIFF with tiles of 900 million pixels": lambda: tiff(without | tile, bytes(500)),
        "a TIFF with two million numbers": lambda: tiff(tags | {50_000: (4, 2_000_000, 2000)}, body),
        "a TIFF with a million samples": lambda: tiff(tags | {277: (4, 1, 10**6)}, bytes(500)),
        "a TIFF with 65,535 tags": lambda: tiff({number: (3, 1, 1) for number in range(65_535)}, bytes(500)),
        "a JPEG with 65 MB of EXIF data": lambda: jpeg[:2] + exif_segments(bytes(6_500_000)) * 10 + jpeg[2:],
        "a JPEG with overlapping EXIF data": lambda: jpeg[:2] + exif_segments(exif) + jpeg[2:],
        "a JPEG with a million bytes of nothing": lambda: jpeg[:20] + b"\xff" * 3_000_000 + jpeg[20:],
        "a JPEG of a hundred thousand segments": lambda: jpeg[:2] + b"\xff\xfe\0\2" * 100_000 + jpeg[2:],
        "a JPEG of a thousand passes": lambda: many_scans(1000),
        "a GIF with a comment of 50 MB": lambda: gif_with(b"!\xfe" + (b"\xff" + b"a" * 255) * 200_000 + b"\0"),
        "a GIF with 400,000 comments": lambda: gif_with(b"!\xfe\x01a\0" * 400_000),
        "a GIF with comments behind an empty one": lambda: gif_with(b"!\xf9\0" + b"\x01a" * 400_000 + b"\0"),
        "a GIF with three million bytes of nothing": lambda: gif_with(b"A" * 3_000_000),
        "a BMP of one row of 178 million pixels": wide_run_length_bmp,
        "a WebP with overlapping EXIF data": lambda: saved(picture(), "WEBP", exif=exif),
        "a WebP of two million chunks": lambda: _many_webp_chunks(2_000_000),
    }  # fmt: skip
    if READS_AVIF:
        found["an AVIF with overlapping EXIF data"] = lambda: avif_with(exif)
    return found


def _many_webp_chunks(count: int) -> bytes:
    data = samples()["WEBP"]
    whole = data + b"abcd\0\0\0\0" * count
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


ATTACKS = _attacks()
"""Pictures that are refused, by what they are; each is made when it is called."""


def raw_weights(header: object, data: bytes = b"") -> bytes:
    """Return a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def split_weights(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a safetensors file and what comes after it."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_texts(path: Path, **texts: str) -> Path:
    """Change texts in the header of a weights file, in place."""
    header, data = split_weights(path.read_bytes())
    header["__metadata__"] |= texts
    path.write_bytes(raw_weights(header, data))
    return path
