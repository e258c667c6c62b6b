"""Makers of pictures, of files that Pillow would not write, and of damaged ones."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from stylize import images
from stylize.errors import ImageError

ORIENTATION, MAKE, DATE, DETAILS, DATE_TAKEN = 274, 271, 306, 34665, 36867

DEEP = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
EIGHT = [[0, 1, 128, 255]]
"""Greyscale of 16 bits, and what it must be in 8."""


def noise(width: int = 56, height: int = 40, seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def save_noise(path: Path) -> Path:
    """Write the standard picture as a photo and return its path."""
    noise().save(path, quality=90)
    return path


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return stream


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def grey(values: object) -> np.ndarray:
    """The red channel of what reading a greyscale picture gives, after checking that all three are equal."""
    result = pixels(images.read_image(values))
    assert (result[..., 0] == result[..., 1]).all() and (result[..., 0] == result[..., 2]).all()
    return result[..., 0]


def png(width: int, height: int, data: bytes = b"", depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG written by hand, so that its header can claim anything."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def wide_gamut_profile() -> bytes:
    """An RGB profile with the primaries red, green and blue swapped round: what it moves is easy to see."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[132 + 12 * i : 136 + 12 * i]): i for i in range(struct.unpack(">I", data[128:132])[0])}
    red, green = (132 + 12 * tags[name] for name in (b"rXYZ", b"gXYZ"))
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


def camera_exif() -> bytes:
    exif = Image.Exif()
    exif[MAKE], exif[DATE], exif[ORIENTATION] = "Maker", "2024:05:06 07:08:09", 3
    exif[DETAILS] = {
        DATE_TAKEN: "2024:05:06 07:08:00", 33434: 0.004, 40961: 65535, 40962: 4000, 40963: 3000, 37500: b"private" * 99,
    }  # fmt: skip
    exif[34853] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return exif.tobytes()


def refusal(source: object) -> str:
    with pytest.raises(ImageError) as caught:
        images.read_picture(source)
    message = str(caught.value)
    assert "\n" not in message and caught.value.__cause__ is None
    return message


def bomb(width: int, height: int) -> bytes:
    return png(width, height, b"\0" * 100)
