"""The door to Pillow: what goes in, what comes out, and what bad files get."""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import io
import os
import random
import resource
import signal
import stat
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from stylize import images
from stylize.errors import ImageError, InputError, OutputError

ORIENTATION, MAKE, DATE, DETAILS, DATE_TAKEN = 274, 271, 306, 34665, 36867


def noise(width: int = 56, height: int = 40, seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


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


def tiff(values: np.ndarray, *, bits: int, photometric: int = 1, big_endian: bool = False) -> bytes:
    """A TIFF of one strip, written by hand for the kinds that Pillow reads but does not write."""
    order = ">" if big_endian else "<"
    data = values.tobytes()
    height, width = values.shape[0], values.shape[1] if bits != 12 else values.shape[1] * 2 // 3
    entries = (
        (256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
        (277, 3, 1), (278, 4, height), (279, 4, len(data)),
    )  # fmt: skip
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, value in entries:
        packed = struct.pack(order + "I", value) if kind == 4 else struct.pack(order + "HH", value, 0)
        directory += struct.pack(order + "HHI", tag, kind, 1) + packed
    start = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", 8 + len(data))
    return start + data + directory + bytes(4)


def wide_gamut_profile() -> bytes:
    """An RGB profile with the primaries red, green and blue swapped round: what it moves is easy to see."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[132 + 12 * i : 136 + 12 * i]): i for i in range(struct.unpack(">I", data[128:132])[0])}
    red, green = (132 + 12 * tags[name] for name in (b"rXYZ", b"gXYZ"))
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey_profile(gamma: float) -> bytes:
    """A greyscale ICC profile (version 2) with one gamma: header, white point and curve."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    tags = struct.pack(">I", 2)
    tags += b"wtpt" + struct.pack(">II", 156, len(white)) + b"kTRC" + struct.pack(">II", 176, len(curve))
    size = 128 + len(tags) + len(white) + len(curve)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12)
    header += b"acsp" + bytes(28) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + tags + white + curve


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    noise().save(path, quality=90)
    return path


# ---------------------------------------------------------------------------------------------------- whole pictures


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("PNG", {}, "PNG"),
        ("BMP", {}, "BMP"),
        ("TIFF", {}, "TIFF"),
        ("TIFF", {"compression": "tiff_lzw"}, "TIFF"),
        ("TIFF", {"big_tiff": True}, "TIFF"),
        ("WEBP", {"lossless": True}, "WEBP"),
    ],
)
@pytest.mark.parametrize("way", ["path", "text", "stream", "pipe"])
def test_lossless_formats_give_their_pixels(
    tmp_path: Path, kind: str, options: dict[str, object], name: str, way: str
) -> None:
    data = encoded(noise(), kind, **options).getvalue()
    path = tmp_path / "photo.any"  # the suffix does not matter: the content decides
    path.write_bytes(data)
    if way == "pipe":
        reader, writer = os.pipe()
        threading.Thread(target=lambda: [os.write(writer, data), os.close(writer)]).start()
        with os.fdopen(reader, "rb") as stream:
            picture = images.read_picture(stream)
    else:
        picture = images.read_picture({"path": path, "text": str(path), "stream": io.BytesIO(data)}[way])
    assert picture.format == name and picture.alpha is None
    assert picture.image.mode == "RGB" and picture.image.info == {}
    assert (pixels(picture.image) == pixels(noise())).all()


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".jpg"), ("WEBP", ".webp"), ("GIF", ".gif")])
def test_lossy_formats_give_about_their_pixels(tmp_path: Path, kind: str, suffix: str) -> None:
    smooth = Image.linear_gradient("L").convert("RGB")
    smooth.save(tmp_path / f"a{suffix}", kind)
    picture = images.read_picture(tmp_path / f"a{suffix}")
    assert picture.format == kind
    assert abs(pixels(picture.image) - pixels(smooth)).max() <= 8


def test_a_stream_is_read_from_where_it_stands_and_left_open() -> None:
    stream = io.BytesIO(b"before" + encoded(noise()).getvalue())
    stream.seek(6)
    assert (pixels(images.read_image(stream)) == pixels(noise())).all()
    assert not stream.closed


def test_the_result_does_not_need_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    noise().save(path)
    image = images.read_image(path)
    path.unlink()
    assert (pixels(image.copy()) == pixels(noise())).all()


def test_a_file_is_closed_after_reading_also_when_it_is_bad(tmp_path: Path, photo: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(photo.read_bytes()[:600])
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    images.read_image(photo)
    with pytest.raises(ImageError):
        images.read_image(bad)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    stream = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert abs(pixels(images.read_image(stream)) - (255, 0, 0)).max() <= 2


# -------------------------------------------------------------------------------------------------------- orientation


# Where the upper left pixel of the upright picture, and the one right of it, stand in the stored one: (row, column).
STORED = {
    1: ((0, 0), (0, 1)), 2: ((0, -1), (0, -2)), 3: ((-1, -1), (-1, -2)), 4: ((-1, 0), (-1, 1)),
    5: ((0, 0), (1, 0)), 6: ((-1, 0), (-2, 0)), 7: ((-1, -1), (-2, -1)), 8: ((0, -1), (1, -1)),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(orientation: int, kind: str) -> None:
    stored = noise(7, 5)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[MAKE] = "Maker"
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    picture = images.read_picture(encoded(stored, kind, exif=exif.tobytes(), **options))
    assert picture.image.size == ((7, 5) if orientation < 5 else (5, 7))
    for column, place in enumerate(STORED[orientation]):
        assert (pixels(picture.image)[0, column] == pixels(stored)[place]).all()
    assert picture.exif is not None
    kept = Image.Exif()
    kept.load(picture.exif)
    assert kept[ORIENTATION] == 1 and kept[MAKE] == "Maker"


def test_alpha_turns_with_the_picture() -> None:
    stored = noise(7, 5)
    alpha = noise(7, 5, seed=1).getchannel("R")
    stored.putalpha(alpha)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture = images.read_picture(encoded(stored, exif=exif.tobytes()))
    assert picture.alpha is not None and picture.alpha.size == picture.image.size == (5, 7)
    assert (pixels(picture.alpha) == np.rot90(pixels(alpha), -1)).all()


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_impossible_orientation_counts_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = images.read_image(encoded(noise(7, 5), exif=exif.tobytes()))
    assert (pixels(image) == pixels(noise(7, 5))).all()


# --------------------------------------------------------------------------------------------------------------- EXIF


def camera_exif() -> bytes:
    exif = Image.Exif()
    exif[MAKE], exif[DATE], exif[ORIENTATION] = "Maker", "2024:05:06 07:08:09", 3
    exif[DETAILS] = {
        DATE_TAKEN: "2024:05:06 07:08:00", 33434: 0.004, 40961: 65535, 40962: 4000, 40963: 3000, 37500: b"private" * 99,
    }  # fmt: skip
    exif[34853] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return exif.tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_travels_from_photo_to_result(tmp_path: Path, suffix: str) -> None:
    picture = images.read_picture(encoded(noise(), "JPEG", exif=camera_exif()))
    images.write_image(picture.image, tmp_path / f"result{suffix}", exif=picture.exif)
    with Image.open(tmp_path / f"result{suffix}") as result:
        exif = result.getexif()
        assert exif.get(ORIENTATION, 1) == 1
        assert exif[MAKE] == "Maker" and exif[DATE] == "2024:05:06 07:08:09"
        details = exif.get_ifd(DETAILS)
        assert details[DATE_TAKEN] == "2024:05:06 07:08:00" and float(details[33434]) == pytest.approx(0.004)
        assert details[40961] == 1  # the result is sRGB whatever the photo was
        assert not {37500, 40962, 40963} & set(details)
        assert exif.get_ifd(34853)[1] == "N"
    # Nothing is turned a second time.
    assert images.read_image(tmp_path / f"result{suffix}").size == picture.image.size


def test_one_value_that_cannot_be_written_does_not_cost_the_date() -> None:
    exif = Image.Exif()
    exif[DATE], exif[MAKE] = "2024:05:06 07:08:09", "Maker"
    data = bytearray(exif.tobytes())
    # Two values of an unsigned rational where the resolution has one place, as some scanners write it.
    place = data.find(struct.pack(">HHI", MAKE, 2, 6))
    data[place : place + 8] = struct.pack(">HHI", 283, 9, 1)
    data[place + 8 : place + 12] = struct.pack(">i", -5)
    picture = images.read_picture(encoded(noise(), "JPEG", exif=bytes(data)))
    assert picture.exif is not None and b"2024:05:06 07:08:09" in picture.exif


def test_no_exif_is_none() -> None:
    assert images.read_picture(encoded(noise(), "JPEG")).exif is None
    assert images.read_picture(encoded(noise(), "TIFF")).exif is None


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF header",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(256)),
        camera_exif()[:60],
        camera_exif()[:150],
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_corrupt_exif_does_not_stop_reading(exif: bytes, kind: str) -> None:
    picture = images.read_picture(encoded(noise(), kind, exif=exif))
    assert picture.image.size == noise().size


# ------------------------------------------------------------------------------------------------------------- colour


def test_an_embedded_srgb_profile_changes_no_pixel() -> None:
    picture = images.read_picture(encoded(noise(), icc_profile=srgb_profile()))
    assert (pixels(picture.image) == pixels(noise())).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_another_profile_is_converted(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (204, 0, 0, 99)) if mode == "RGBA" else Image.new("RGB", (4, 4), (204, 0, 0))
    picture = images.read_picture(encoded(image.convert(mode), icc_profile=wide_gamut_profile()))
    assert abs(pixels(picture.image) - (0, 204, 0)).max() <= 2
    if mode == "RGBA":
        assert picture.alpha is not None and picture.alpha.getextrema() == (99, 99)
    assert picture.image.info == {}


def with_exponent(exponent: float) -> bytes:
    """The sRGB profile with another exponent in its curves; the true one is 2.4."""
    data = bytearray(srgb_profile())
    for i in range(struct.unpack(">I", data[128:132])[0]):
        name, start = struct.unpack(">4sI", data[132 + 12 * i : 140 + 12 * i])
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            data[start + 12 : start + 16] = struct.pack(">i", round(exponent * 65536))
    return bytes(data)


def test_an_rgb_profile_on_greyscale_is_applied_and_keeps_it_grey() -> None:
    # Light (128 / 255 + 0.055) / 1.055 = 0.528 is level 255 * (1.055 * 0.528 ** (1 / 2.4) - 0.055) = 192 in sRGB.
    assert abs(grey(encoded(Image.new("L", (4, 4), 128), icc_profile=with_exponent(1.0))) - 192).max() <= 1


def test_a_profile_that_is_srgb_but_for_rounding_changes_no_pixel() -> None:
    stream = encoded(noise(), icc_profile=with_exponent(2.43))
    moved = ImageCms.profileToProfile(
        Image.open(stream), io.BytesIO(with_exponent(2.43)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert (pixels(moved) != pixels(noise())).any()  # or this test would show nothing
    stream.seek(0)
    assert (pixels(images.read_image(stream)) == pixels(noise())).all()


def test_a_grey_profile_is_converted() -> None:
    # Gamma 1: half the light is level 188 in sRGB; 255 * (1.055 * 0.5 ** (1 / 2.4) - 0.055) = 187.5.
    result = grey(encoded(Image.new("L", (4, 4), 128), icc_profile=grey_profile(1.0)))
    assert abs(result - 188).max() <= 1
    with_alpha = Image.merge("LA", [Image.new("L", (4, 4), 128), Image.new("L", (4, 4), 7)])
    assert abs(grey(encoded(with_alpha, icc_profile=grey_profile(1.0))) - 188).max() <= 1


@pytest.mark.parametrize("profile", [b"x", b"not a profile at all" * 20, bytes(200), srgb_profile()[:150]])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_broken_profile_is_ignored(profile: bytes, kind: str) -> None:
    plain = images.read_image(encoded(noise(), kind))
    tagged = images.read_image(encoded(noise(), kind, icc_profile=profile))
    assert (pixels(tagged) == pixels(plain)).all()


def test_a_profile_of_another_colour_space_is_ignored() -> None:
    image = images.read_image(encoded(noise(), icc_profile=grey_profile(1.0)))
    assert (pixels(image) == pixels(noise())).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_profile(kind: str) -> None:
    # Pillow writes JPEG the way Adobe does, inverted with an Adobe marker; no ink at all must be white either way.
    options: dict[str, object] = {"quality": 100} if kind == "JPEG" else {}
    for inks, colour in [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 0, 255, 128), (127, 127, 0)),
    ]:
        stream = encoded(Image.new("CMYK", (16, 16), inks), kind, **options)
        if kind == "JPEG":
            assert b"Adobe" in stream.getvalue()
        assert abs(pixels(images.read_image(stream)) - colour).max() <= 2


def test_cmyk_with_a_profile_of_the_wrong_kind_is_still_read() -> None:
    stream = encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "TIFF", icc_profile=srgb_profile())
    assert abs(pixels(images.read_image(stream)) - (0, 255, 255)).max() <= 2


def cmyk_profile() -> bytes:
    """A CMYK profile (version 2) whose table turns every ink into one colour: Lab (50, 0, 0), sRGB grey 119."""
    lab = struct.pack(">HHH", 0x8000 * 50 // 100 * 2 - 0x80, 0x8000, 0x8000)  # version 2 Lab: 100 is 0xFF00
    table = b"mft2" + bytes(4) + struct.pack(">BBBB", 4, 3, 2, 0)
    table += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + struct.pack(">HH", 2, 2)
    table += struct.pack(">HH", 0, 65535) * 4 + lab * 16 + struct.pack(">HH", 0, 65535) * 3
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    names = (b"wtpt", b"A2B0", b"A2B1", b"A2B2")
    start = 132 + 12 * len(names)
    tags = struct.pack(">I", len(names)) + names[0] + struct.pack(">II", start, len(white))
    for name in names[1:]:
        tags += name + struct.pack(">II", start + len(white), len(table))
    size = start + len(white) + len(table)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab ") + bytes(12)
    header += b"acsp" + bytes(28) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + tags + white + table


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(kind: str) -> None:
    stream = encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), kind, icc_profile=cmyk_profile())
    red, green, blue = pixels(images.read_image(stream))[0, 0]
    assert max(red, green, blue) - min(red, green, blue) <= 3  # cyan without its profile
    assert red < 200


def test_lab_tiff() -> None:
    lab = Image.merge("LAB", [Image.new("L", (4, 4), level) for level in (255, 128, 128)])
    assert abs(pixels(images.read_image(encoded(lab, "TIFF"))) - 255).max() <= 2


def test_ycbcr_tiff() -> None:
    stream = encoded(Image.new("RGB", (16, 16), (200, 30, 60)).convert("YCbCr"), "TIFF", compression="tiff_lzw")
    assert abs(pixels(images.read_image(stream)) - (200, 30, 60)).max() <= 3


def test_greyscale_palette_and_one_bit() -> None:
    ramp = Image.linear_gradient("L").resize((32, 32))
    assert (grey(encoded(ramp)) == pixels(ramp)).all()
    palette = noise().quantize(16)
    assert (pixels(images.read_image(encoded(palette))) == pixels(palette.convert("RGB"))).all()
    bits = ramp.convert("1")
    assert (grey(encoded(bits)) == pixels(bits.convert("L"))).all()
    assert (grey(encoded(bits, "TIFF", compression="group4")) == pixels(bits.convert("L"))).all()


# -------------------------------------------------------------------------------------------------------------- alpha


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_alpha_is_split_off_and_hidden_colours_stay(kind: str, options: dict[str, object]) -> None:
    alpha = Image.fromarray(np.tile(np.array([0, 1, 128, 255], np.uint8), (4, 1)))
    image = noise(4, 4)
    image.putalpha(alpha)
    picture = images.read_picture(encoded(image, kind, **options))
    assert picture.alpha is not None and picture.alpha.mode == "L"
    assert (pixels(picture.alpha) == pixels(alpha)).all()
    assert (pixels(picture.image) == pixels(noise(4, 4))).all()


def test_grey_with_alpha() -> None:
    level, alpha = Image.new("L", (4, 4), 77), Image.new("L", (4, 4), 0)
    picture = images.read_picture(encoded(Image.merge("LA", [level, alpha])))
    assert picture.alpha is not None and picture.alpha.getextrema() == (0, 0)
    assert (pixels(picture.image) == 77).all()


def test_an_opaque_alpha_channel_is_none() -> None:
    assert images.read_picture(encoded(noise().convert("RGBA"))).alpha is None


def test_transparent_colours_of_png_become_alpha() -> None:
    for mode, colours, transparent in [
        ("L", (10, 20), 10),
        ("RGB", ((1, 2, 3), (9, 9, 9)), (1, 2, 3)),
        ("1", (0, 1), 0),
    ]:
        image = Image.new(mode, (2, 1), colours[1])
        image.putpixel((0, 0), colours[0])
        picture = images.read_picture(encoded(image, transparency=transparent))
        assert picture.alpha is not None, mode
        assert pixels(picture.alpha).tolist() == [[0, 255]], mode
        assert (pixels(picture.image) == pixels(image.convert("RGB"))).all()


@pytest.mark.parametrize("transparency", [0, bytes([0, 100])])
def test_palette_transparency(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 20, 5, 6, 7])
    image.putpixel((1, 0), 1)
    picture = images.read_picture(encoded(image, transparency=transparency))
    assert picture.alpha is not None
    assert pixels(picture.alpha).tolist() == [[0, 255 if transparency == 0 else 100]]
    assert pixels(picture.image).tolist() == [[[200, 10, 20], [5, 6, 7]]]


def test_transparent_gif() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 20, 5, 6, 7])
    image.putpixel((1, 0), 1)
    picture = images.read_picture(encoded(image, "GIF", transparency=1))
    assert picture.alpha is not None and pixels(picture.alpha).tolist() == [[255, 0]]


def test_transparent_colour_of_a_16_bit_png() -> None:
    row = b"\0" + struct.pack(">6H", 0x1234, 0x2345, 0x3456, 0xFFFF, 0xFFFF, 0xFFFF)
    transparent = chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x2345, 0x3456))
    picture = images.read_picture(io.BytesIO(png(2, 1, row, depth=16, extra=transparent)))
    assert picture.alpha is not None and pixels(picture.alpha).tolist() == [[0, 255]]
    assert abs(pixels(picture.image) - [[[0x12, 0x23, 0x34], [255] * 3]]).max() <= 1


def test_transparent_level_of_a_16_bit_greyscale_png() -> None:
    row = b"\0" + struct.pack(">2H", 0x1234, 0x1235)
    transparent = chunk(b"tRNS", struct.pack(">H", 0x1234))
    picture = images.read_picture(io.BytesIO(png(2, 1, row, depth=16, colour=0, extra=transparent)))
    assert picture.alpha is not None and pixels(picture.alpha).tolist() == [[0, 255]]


# --------------------------------------------------------------------------------------------------------- deep grey


DEEP = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
EIGHT = [[0, 1, 128, 255]]


@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bit_greyscale_is_scaled_not_clipped(big_endian: bool) -> None:
    values = DEEP.astype(">u2" if big_endian else "<u2")
    assert grey(io.BytesIO(tiff(values, bits=16, big_endian=big_endian))).tolist() == EIGHT
    assert grey(encoded(Image.fromarray(DEEP))).tolist() == EIGHT


def test_every_sixteen_bit_mode_in_memory() -> None:
    for mode, kind in [("I;16", "<u2"), ("I;16L", "<u2"), ("I;16B", ">u2")]:
        image = Image.frombytes(mode, (4, 1), DEEP.astype(kind).tobytes())
        assert pixels(images.normalise_image(image).image)[..., 0].tolist() == EIGHT, mode


def test_sixteen_bit_white_is_zero() -> None:
    assert grey(io.BytesIO(tiff(DEEP, bits=16, photometric=0))).tolist() == [[255, 254, 127, 0]]


def test_twelve_bit_white_is_white() -> None:
    packed = np.frombuffer(bytes([0x00, 0x0F, 0xFF]), np.uint8).reshape(1, 3)  # the levels 0x000 and 0xfff
    assert grey(io.BytesIO(tiff(packed, bits=12))).tolist() == [[0, 255]]


def test_mode_i_is_scaled_by_16_bits_or_stretched_beyond() -> None:
    inside = Image.fromarray(DEEP.astype(np.int32))
    assert grey(encoded(inside, "TIFF")).tolist() == EIGHT
    outside = Image.fromarray(np.array([[-1000, 0, 1000]], np.int32))
    assert grey(encoded(outside, "TIFF")).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 0.25, 0.5], [0, 64, 128]),
        ([0.0, 100.0, 200.0], [0, 100, 200]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 5e5, 1e6], [0, 128, 255]),
        ([7e6, 7e6, 7e6], [0, 0, 0]),
        ([float("nan"), 0.5, float("inf")], [128, 128, 128]),
        ([float("nan")] * 3, [0, 0, 0]),
    ],
)
def test_float_tiff_is_scaled_by_its_range(values: list[float], expected: list[int]) -> None:
    stream = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert abs(grey(stream) - [expected]).max() <= 1


# ---------------------------------------------------------------------------------------------------------- bad files


def refusal(source: object) -> str:
    with pytest.raises(ImageError) as caught:
        images.read_picture(source)
    message = str(caught.value)
    assert "\n" not in message and caught.value.__cause__ is None
    return message


def test_missing_file(tmp_path: Path) -> None:
    message = refusal(tmp_path / "nothing.jpg")
    assert "nothing.jpg" in message and "no such file" in message


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_a_file_inside_a_file(photo: Path) -> None:
    assert "photo.jpg" in refusal(photo / "inner.jpg")


def test_no_permission(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(photo))

    monkeypatch.setattr(builtins, "open", refuse)
    message = refusal(photo)
    monkeypatch.undo()
    assert "permission denied" in message and "photo.jpg" in message


def test_names_that_no_file_can_have() -> None:
    assert "cannot be read" in refusal("a\0b.jpg")
    assert "cannot be read" in refusal("x" * 5000 + ".jpg")


def test_a_name_with_a_line_break_stays_one_line(tmp_path: Path) -> None:
    assert "two\\nlines.jpg" in refusal(tmp_path / "two\nlines.jpg")


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert "empty (0 bytes)" in refusal(tmp_path / "empty.png")
    assert refusal(io.BytesIO()).startswith("standard input is empty")


@pytest.mark.parametrize(
    "content",
    [b"x", b"This is a letter, not a photo.\n" * 20, b"<svg xmlns='http://www.w3.org/2000/svg'/>" * 3, b"%PDF-1.7" * 9],
)
def test_text_that_calls_itself_jpg(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "letter.jpg").write_bytes(content)
    message = refusal(tmp_path / "letter.jpg")
    assert "letter.jpg" in message and "JPEG, PNG" in message


def test_a_postscript_file_starts_no_other_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was started"))
    stream = io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    assert "no picture of a known format" in refusal(stream)


def test_endless_input_without_a_picture_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert size >= 0, "would never end"
            return bytes(size)

    assert "standard input" in refusal(Endless())


def test_a_text_stream_is_refused() -> None:
    assert "binary" in refusal(io.StringIO("some text that is long enough to be read"))


SAMPLES = {
    "jpeg": lambda: encoded(noise(), "JPEG"),
    "progressive jpeg": lambda: encoded(noise(), "JPEG", progressive=True),
    "png": lambda: encoded(noise()),
    "deep png": lambda: encoded(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)),
    "palette png": lambda: encoded(noise().quantize(16)),
    "webp": lambda: encoded(noise(), "WEBP"),
    "plain tiff": lambda: encoded(noise(), "TIFF"),
    "bmp": lambda: encoded(noise(), "BMP"),
    "gif": lambda: encoded(noise(), "GIF"),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_cut_file_is_an_error_and_never_a_half_picture(kind: str) -> None:
    data = SAMPLES[kind]().getvalue()
    whole = images.read_image(io.BytesIO(data)).tobytes()
    refused = 0
    for length in sorted({*range(0, 64), *range(64, len(data), 37), *range(len(data) - 40, len(data))}):
        try:
            image = images.read_image(io.BytesIO(data[:length]))
        except ImageError:
            refused += 1
        else:
            assert image.tobytes() == whole, f"cut to {length} of {len(data)} bytes"  # only the end marker was lost
    assert refused > 64


@pytest.mark.parametrize(("kind", "share"), [("jpeg", 0.5), ("progressive jpeg", 0.5), ("png", 0.5), ("bmp", 0.9)])
def test_a_cut_file_is_called_truncated(tmp_path: Path, kind: str, share: float) -> None:
    data = SAMPLES[kind]().getvalue()
    (tmp_path / "cut.jpg").write_bytes(data[: int(len(data) * share)])
    message = refusal(tmp_path / "cut.jpg")
    assert "cut.jpg is truncated" in message and "again" in message


def test_a_jpeg_whose_rest_is_zeros_is_an_error() -> None:
    # What a copy leaves that broke off after the space had been reserved; libjpeg would paint it grey.
    thumbnail = encoded(noise(8, 8), "JPEG").getvalue()  # its end marker, in the header, must not count
    data = encoded(noise(), "JPEG", exif=b"Exif\0\0" + thumbnail).getvalue()
    half = len(data) * 2 // 3
    assert "damaged" in refusal(io.BytesIO(data[:half] + bytes(len(data) - half)))
    assert images.read_image(io.BytesIO(data + bytes(100))).size == noise().size  # zeros after the end do no harm


def test_damaged_png_data() -> None:
    data = bytearray(encoded(noise()).getvalue())
    data[60] ^= 0xFF
    assert "again" in refusal(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("kind", SAMPLES)
def test_hostile_bytes_give_a_picture_or_an_image_error(kind: str) -> None:
    data = SAMPLES[kind]().getvalue()
    chance = random.Random(7)
    for _ in range(60):
        bad = bytearray(data)
        for _ in range(chance.choice((1, 3, 20))):
            bad[chance.randrange(min(len(bad), chance.choice((64, 300, len(bad)))))] = chance.randrange(256)
        with contextlib.suppress(ImageError):
            images.read_picture(io.BytesIO(bytes(bad)))


@pytest.mark.parametrize(
    "error",
    [
        SyntaxError("bad"), struct.error("bad"), ValueError("bad"), EOFError("bad"), zlib.error("bad"), OSError("bad"),
        TypeError("bad"), IndexError("bad"), KeyError("bad"), OverflowError("bad"), ZeroDivisionError("bad"),
        AttributeError("bad"), RuntimeError("bad"), NotImplementedError("bad"), RecursionError("bad"),
        AssertionError("bad"), MemoryError(), Image.DecompressionBombError("Image size (999 pixels) exceeds"),
    ],
)  # fmt: skip
def test_whatever_a_decoder_raises_becomes_an_image_error(
    photo: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    with Image.open(photo) as opened:
        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        for source in (photo, io.BytesIO(photo.read_bytes())):
            refusal(source)
        with pytest.raises(ImageError):
            images.normalise_image(opened)


def test_a_programming_error_of_ours_is_not_hidden(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageFile.ImageFile, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        images.read_picture(photo)


# -------------------------------------------------------------------------------------------------------------- sizes


def bomb(width: int, height: int) -> bytes:
    return png(width, height, b"\0" * 100)


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    (tmp_path / "bomb.png").write_bytes(bomb(60000, 60000))
    message = refusal(tmp_path / "bomb.png")
    assert "bomb.png" in message and "3,600,000,000" in message and f"{images.MAXIMUM_PIXELS:,}" in message


def test_the_limit_holds_where_the_host_has_lifted_that_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    assert "60000 x 60000" in refusal(io.BytesIO(bomb(60000, 60000)))


def test_the_limit_is_that_of_pillow() -> None:
    assert PIL.Image.MAX_IMAGE_PIXELS is not None
    assert images.MAXIMUM_PIXELS == 2 * PIL.Image.MAX_IMAGE_PIXELS


def test_a_large_picture_below_the_limit_brings_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1500)  # 2240 pixels: above the warning, below the error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert images.read_image(encoded(noise())).size == (56, 40)
    assert not caught
    with pytest.warns(Image.DecompressionBombWarning):  # and Pillow's own callers still get theirs
        Image.open(encoded(noise()))


def test_warning_filters_survive_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(warnings.filters)
    data, failures = encoded(noise(), "JPEG").getvalue(), []

    def work() -> None:
        try:
            for _ in range(30):
                images.read_image(io.BytesIO(data))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and list(warnings.filters) == before


def test_a_thread_that_finishes_does_not_unsilence_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    data, both, finished, failures = encoded(noise()).getvalue(), threading.Barrier(2), threading.Event(), []
    load, seen = PngImagePlugin.PngImageFile.load, set()

    def load_in_step(image: Image.Image) -> object:
        name = threading.current_thread().name
        if name not in seen:  # Pillow calls load more than once for each picture
            seen.add(name)
            both.wait(10)
            if name == "slow":
                finished.wait(10)
                Image._decompression_bomb_check((10000, 10000))  # warns from inside Pillow
        return load(image)

    def work() -> None:
        try:
            images.read_image(io.BytesIO(data))
        except BaseException as error:
            failures.append(error)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load_in_step)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick, slow = threading.Thread(target=work, name="quick"), threading.Thread(target=work, name="slow")
        slow.start()
        quick.start()
        quick.join()
        finished.set()
        slow.join()
    assert not failures


def test_pillow_globals_are_left_alone(tmp_path: Path, photo: Path) -> None:
    before = (PIL.Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    images.write_image(images.read_image(photo), tmp_path / "b.png")
    refusal(io.BytesIO(bomb(60000, 60000)))
    assert before == (PIL.Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


# ------------------------------------------------------------------------------------------------- HEIC and raw files


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


@pytest.mark.parametrize("name", ["photo.heic", "photo.jpg"])
def test_heic_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # makes the import fail
    (tmp_path / name).write_bytes(HEIC)
    message = refusal(tmp_path / name)
    assert name in message and "pip install pillow-heif" in message and "convert" in message


def test_heic_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        pytest.skip("pillow-heif is not installed")
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Maker"
    heif.from_pillow(Image.linear_gradient("L").convert("RGB").resize((64, 48))).save(stream, exif=exif.tobytes())
    stream.seek(0)
    picture = images.read_picture(stream)
    assert picture.format == "HEIF" and picture.image.mode == "RGB"
    assert picture.exif is not None and b"Maker" in picture.exif
    assert "HEIF" not in Image.OPEN  # Pillow is left as it was


def test_a_damaged_heic_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @staticmethod
        def HeifImageFile(stream: object) -> None:
            raise SyntaxError("invalid input")

    monkeypatch.setitem(sys.modules, "pillow_heif", Broken)
    assert "damaged (invalid input)" in refusal(io.BytesIO(HEIC))


def test_avif_without_its_decoder_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "init", lambda: True)
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    assert "AVIF" in refusal(io.BytesIO(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(50)))


@pytest.mark.parametrize("name", ["photo.NEF", "photo.cr2", "photo.dng"])
def test_raw_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    noise().save(tmp_path / name, "TIFF")  # Pillow would read it, and show the thumbnail of a real one
    assert "raw file" in refusal(tmp_path / name)


def test_raw_files_are_refused_by_content() -> None:
    tagged = encoded(noise(), "TIFF", tiffinfo={50706: bytes([1, 4, 0, 0])})
    assert "raw file" in refusal(tagged)
    assert "raw file" in refusal(io.BytesIO(b"II*\0\x10\0\0\0CR\x02\0" + bytes(100)))
    assert "raw file" in refusal(io.BytesIO(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100)))


# ------------------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.TIFF"])
def test_lossless_writing_keeps_every_pixel_and_the_alpha(tmp_path: Path, name: str) -> None:
    alpha = noise(seed=3).getchannel("G")
    images.write_image(noise(), tmp_path / name, alpha=alpha)
    picture = images.read_picture(tmp_path / name)
    assert picture.alpha is not None
    assert (pixels(picture.image) == pixels(noise())).all() and (pixels(picture.alpha) == pixels(alpha)).all()


def test_every_write_suffix_is_written_in_its_format_and_can_be_read(tmp_path: Path) -> None:
    formats = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
    assert set(formats) == images.WRITE_SUFFIXES <= images.READ_SUFFIXES
    for suffix, kind in formats.items():
        images.write_image(noise(), tmp_path / f"a{suffix}")
        assert images.read_picture(tmp_path / f"a{suffix}").format == kind


def test_jpeg_has_quality_95_and_full_colour_resolution(tmp_path: Path) -> None:
    images.write_image(noise(), tmp_path / "a.jpg")
    expected = encoded(noise(), "JPEG", quality=95, subsampling=0).getvalue()
    assert (tmp_path / "a.jpg").read_bytes() == expected


def test_webp_keeps_alpha_and_the_colours_under_it(tmp_path: Path) -> None:
    image, alpha = Image.linear_gradient("L").convert("RGB"), Image.new("L", (256, 256), 0)
    alpha.paste(255, (0, 0, 256, 50))
    images.write_image(image, tmp_path / "a.webp", alpha=alpha)
    picture = images.read_picture(tmp_path / "a.webp")
    assert picture.alpha is not None and (pixels(picture.alpha) == pixels(alpha)).all()
    assert abs(pixels(picture.image) - pixels(image)).max() <= 6


def test_alpha_in_a_jpeg_is_laid_over_white(tmp_path: Path) -> None:
    for level, expected in [(0, 255), (255, 0), (128, 127)]:
        alpha = Image.new("L", (16, 16), level)
        images.write_image(Image.new("RGB", (16, 16)), tmp_path / "a.jpg", alpha=alpha, overwrite=True)
        assert abs(pixels(images.read_image(tmp_path / "a.jpg")) - expected).max() <= 1


def test_neither_image_nor_alpha_is_changed_by_writing(tmp_path: Path) -> None:
    image, alpha = noise(), Image.new("L", (56, 40), 9)
    image.info["icc_profile"] = wide_gamut_profile()
    images.write_image(image, tmp_path / "a.png", alpha=alpha)
    assert image.mode == "RGB" and image.info == {"icc_profile": wide_gamut_profile()}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_metadata_of_the_image_does_not_leak_into_the_file(kind: str) -> None:
    image = noise()
    image.info = {"icc_profile": wide_gamut_profile(), "transparency": (1, 2, 3), "exif": camera_exif()}
    with Image.open(io.BytesIO(images.encode_image(image, kind))) as result:
        assert "icc_profile" not in result.info and "transparency" not in result.info
        assert MAKE not in result.getexif()


def test_encode_image_takes_formats_in_any_case() -> None:
    assert images.encode_image(noise()).startswith(b"\x89PNG")
    assert images.encode_image(noise(), "jpeg").startswith(b"\xff\xd8")
    with pytest.raises(InputError, match="JPEG, PNG, TIFF, WEBP"):
        images.encode_image(noise(), "gif")


def test_writing_the_same_picture_twice_gives_the_same_bytes() -> None:
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        assert images.encode_image(noise(), kind) == images.encode_image(noise(), kind)


def test_other_modes_are_converted_on_writing(tmp_path: Path) -> None:
    images.write_image(Image.fromarray(DEEP), tmp_path / "a.png")
    assert grey(tmp_path / "a.png").tolist() == EIGHT


@pytest.mark.parametrize("name", ["a.gif", "a.bmp", "a", "a.jpg.txt", "a.heic"])
def test_an_unknown_suffix_is_an_input_error_that_names_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.jpeg, \.jpg, \.png, \.tif, \.tiff, \.webp"):
        images.write_image(noise(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_without_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite"):
        images.write_image(noise(), path)
    assert path.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [path]
    images.write_image(noise(), path, overwrite=True)
    assert images.read_image(path).size == (56, 40) and list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, open_file = tmp_path / "a.png", os.open

    def slow_open(*arguments: object) -> int:
        path.write_bytes(b"precious")
        return open_file(*arguments)

    monkeypatch.setattr(os, "open", slow_open)
    with pytest.raises(OutputError, match="exists already"):
        images.write_image(noise(), path)
    assert path.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    images.write_image(noise(), tmp_path / "one" / "two" / "a.png")
    assert images.read_image(tmp_path / "one" / "two" / "a.png").size == (56, 40)


def test_places_that_cannot_be_written(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        images.write_image(noise(), photo / "inner" / "a.png")  # a folder inside a file
    with pytest.raises(OutputError, match="cannot be written"):
        images.write_image(noise(), tmp_path / ("x" * 300 + ".png"))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        images.write_image(noise(), tmp_path / "folder.png", overwrite=True)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OutputError, match="no regular file"):
        images.write_image(noise(), tmp_path / "pipe.png", overwrite=True)
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe.png").st_mode)


def test_no_permission_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "secret temporary name")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=r"a\.png cannot be written: Permission denied$"):
        images.write_image(noise(), tmp_path / "a.png")


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make the operating system refuse to write more than ``size`` bytes to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("existing", [False, True])
def test_a_write_that_breaks_off_leaves_nothing_and_loses_nothing(tmp_path: Path, existing: bool) -> None:
    path = tmp_path / "a.png"
    if existing:
        path.write_bytes(b"precious")
    with file_size_limit(1000):
        with pytest.raises(OutputError, match=r"a\.png cannot be written"):
            images.write_image(noise(), path, overwrite=True)
    assert list(tmp_path.iterdir()) == ([path] if existing else [])
    assert not existing or path.read_bytes() == b"precious"


@pytest.mark.parametrize("place", ["save", "write", "replace"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    fail_at(monkeypatch, place, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OutputError, match=r"a\.png cannot be written.*: no space left on the disk$"):
        images.write_image(noise(), path, overwrite=True)
    assert path.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["save", "write", "replace"])
def test_an_interrupt_while_writing_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    fail_at(monkeypatch, place, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        images.write_image(noise(), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def fail_at(monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    class Failing(io.BytesIO):
        def __init__(self, descriptor: int, mode: str) -> None:
            super().__init__()
            os.close(descriptor)

        write = fail

    if place == "save":
        monkeypatch.setattr(Image.Image, "save", fail)
    elif place == "write":
        monkeypatch.setattr(os, "fdopen", Failing)
    else:
        monkeypatch.setattr(os, "replace", fail)


@pytest.mark.parametrize("error", [MemoryError(), ValueError("bad"), struct.error("bad"), RuntimeError("bad")])
def test_an_encoder_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    fail_at(monkeypatch, "save", error)
    with pytest.raises(OutputError, match=r"a\.png cannot be written"):
        images.write_image(noise(), tmp_path / "a.png")


def test_a_new_file_has_the_mode_that_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        images.write_image(noise(), tmp_path / "a.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_a_replaced_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    target.write_bytes(b"old")
    target.chmod(0o604)
    link.symlink_to(target)
    with pytest.raises(OutputError, match=r"link\.png exists"):
        images.write_image(noise(), link)
    images.write_image(noise(), link, overwrite=True)
    assert link.is_symlink() and not target.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o604 and images.read_image(target).size == (56, 40)


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65501), (".jpg", 70000), (".webp", 16384)])
def test_sides_that_a_format_cannot_hold(tmp_path: Path, suffix: str, side: int) -> None:
    for size in ((side, 1), (1, side)):
        with pytest.raises(InputError, match=r"write a \.png or \.tif"):
            images.write_image(Image.new("RGB", size), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())
    images.write_image(Image.new("RGB", (side, 1)), tmp_path / "a.png")


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65500), (".webp", 16383)])
def test_the_longest_sides_that_a_format_holds(tmp_path: Path, suffix: str, side: int) -> None:
    images.write_image(Image.new("RGB", (side, 1)), tmp_path / f"a{suffix}")
    assert images.read_image(tmp_path / f"a{suffix}").size == (side, 1)


def test_alpha_must_fit() -> None:
    for alpha in (Image.new("L", (3, 3)), Image.new("RGB", (56, 40))):
        with pytest.raises(InputError, match="alpha"):
            images.encode_image(noise(), alpha=alpha)


def test_exif_too_long_for_jpeg_is_left_out() -> None:
    data = images.encode_image(noise(), "JPEG", exif=b"Exif\0\0" + bytes(70000))
    assert images.read_image(io.BytesIO(data)).size == (56, 40)


def test_things_that_are_no_image() -> None:
    for call in (images.encode_image, images.to_tensor, images.normalise_image):
        with pytest.raises(InputError, match="PIL image"):
            call("photo.jpg")
    for call in (images.encode_image, images.to_tensor, images.normalise_image):
        with pytest.raises(InputError, match="holds nothing"):
            call(Image.new("RGB", (0, 5)))


# ------------------------------------------------------------------------------------------------------------ tensors


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_an_eight_bit_picture_survives_the_round_trip(values: np.ndarray) -> None:
    tensor = images.to_tensor(Image.fromarray(values))
    assert tensor.shape == (1, 3, *values.shape[:2]) and tensor.dtype == torch.float32
    assert (np.asarray(images.to_image(tensor)) == values).all()
    assert (np.asarray(images.to_image(tensor[0].double())) == values).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_level_survives_half_precision_within_its_precision(dtype: torch.dtype) -> None:
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    result = pixels(images.to_image(images.to_tensor(Image.fromarray(values)).to(dtype)))
    assert abs(result - values).max() <= (1 if dtype == torch.bfloat16 else 0)


def test_to_tensor_against_hand_values() -> None:
    image = Image.new("RGB", (2, 1), (0, 51, 255))
    image.putpixel((1, 0), (255, 102, 0))
    expected = torch.tensor([[[[0.0, 1.0]], [[0.2, 0.4]], [[1.0, 0.0]]]])
    tensor = images.to_tensor(image)
    torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-7)
    assert tensor.is_contiguous()


def test_to_tensor_converts_other_modes_without_turning() -> None:
    assert images.to_tensor(Image.new("L", (3, 2), 51)).unique().tolist() == pytest.approx([0.2])
    assert images.to_tensor(Image.fromarray(DEEP))[0, 0].mul(255).round().tolist() == EIGHT
    turned = Image.open(encoded(noise(7, 5).convert("RGBA"), exif=Image.Exif().tobytes()))
    turned.getexif()[ORIENTATION] = 6
    assert images.to_tensor(turned).shape == (1, 3, 5, 7)


def test_to_tensor_of_a_damaged_picture() -> None:
    data = encoded(noise().convert("RGBA")).getvalue()
    with Image.open(io.BytesIO(data[: len(data) // 2])) as opened, pytest.raises(ImageError):
        images.to_tensor(opened)


def test_to_image_clamps_and_rounds() -> None:
    values = torch.tensor([-1.0, 0.49 / 255, 0.51 / 255, 127.4 / 255, 127.6 / 255, 254.6 / 255, 7.0])
    image = images.to_image(values.expand(1, 3, 1, 7))
    assert pixels(image)[0, :, 0].tolist() == [0, 0, 1, 127, 128, 255, 255]


def test_to_image_leaves_its_tensor_alone_and_takes_gradients_and_any_layout() -> None:
    tensor = torch.full((1, 3, 4, 5), 2.0, requires_grad=True)
    assert images.to_image(tensor).size == (5, 4)
    assert (tensor == 2).all()
    plain = images.to_tensor(noise())
    assert (pixels(images.to_image(plain.to(memory_format=torch.channels_last))) == pixels(noise())).all()


@pytest.mark.parametrize(
    "shape", [(3,), (4, 4), (1, 4, 4), (4, 4, 3), (2, 3, 4, 4), (1, 1, 3, 4, 4), (3, 0, 4), (0, 3, 4, 4)]
)
def test_to_image_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="shape"):
        images.to_image(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_to_image_refuses_other_types(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=r"floats in \[0, 1\]"):
        images.to_image(torch.zeros(3, 4, 4, dtype=dtype))


def test_to_image_refuses_what_is_no_tensor() -> None:
    with pytest.raises(InputError, match="tensor is needed"):
        images.to_image(np.zeros((3, 4, 4), np.float32))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_to_image_refuses_values_that_are_not_finite(value: float) -> None:
    tensor = torch.zeros(1, 3, 4, 4)
    tensor[0, 1, 2, 3] = value
    with pytest.raises(InputError, match="not finite"):
        images.to_image(tensor)


def test_reading_and_writing_need_no_torch(photo: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from stylize import images\n"
        "path = Path(sys.argv[1]); image = images.read_image(path)\n"
        "images.write_image(image, path.with_suffix('.png'))\n"
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(images.__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    assert subprocess.run([sys.executable, "-c", script, str(photo)], env=environment, timeout=60).returncode == 0


# ---------------------------------------------------------------------------------------------------------- resizing


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 200))
def test_resizing_gives_the_exact_side_and_keeps_proportions(width: int, height: int, size: int) -> None:
    image = Image.new("RGB", (width, height))
    long = images.resize_long_edge(image, size)
    assert max(long.size) == size and min(long.size) == max(
        1, int(min(width, height) * size / max(width, height) + 0.5)
    )
    assert (long.width >= long.height) == (width >= height) or long.width == long.height
    if max(width, height) * size / min(width, height) < 20000:
        short = images.resize_short_side(image, size)
        assert min(short.size) == size
        assert max(short.size) == pytest.approx(max(width, height) * size / min(width, height), abs=0.5001)


def test_resizing_enlarges_too_and_returns_the_image_itself_at_its_size() -> None:
    image = noise(56, 40)
    assert images.resize_long_edge(image, 112).size == (112, 80)
    assert images.resize_short_side(image, 80).size == (112, 80)
    assert images.resize_long_edge(image, 56) is image and images.resize_short_side(image, 40) is image


def test_resizing_keeps_flat_colour_and_mean() -> None:
    flat = Image.new("RGB", (301, 199), (10, 200, 77))
    assert (pixels(images.resize_long_edge(flat, 64)) == (10, 200, 77)).all()
    gradient = Image.linear_gradient("L")
    small = images.resize_long_edge(gradient, 32)
    assert abs(pixels(small).mean() - pixels(gradient).mean()) < 1 and small.mode == "L"


@pytest.mark.parametrize("size", [0, -5, 2.5, True, None, "512"])
@pytest.mark.parametrize("resize", [images.resize_long_edge, images.resize_short_side])
def test_resizing_to_no_size_is_an_input_error(resize: object, size: object) -> None:
    with pytest.raises(InputError, match="whole number"):
        resize(noise(), size)


def test_resizing_beyond_the_limit_is_an_input_error() -> None:
    with pytest.raises(InputError, match="smaller size"):
        images.resize_long_edge(noise(), 100_000)
    with pytest.raises(InputError, match="smaller size"):
        images.resize_short_side(Image.new("L", (60000, 1)), 100)


# ------------------------------------------------------------------------------------------------------------ folders


def tree(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def relative(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in images.find_images(folder)]


def test_find_images_is_recursive_sorted_and_takes_image_suffixes_in_any_case(tmp_path: Path) -> None:
    tree(tmp_path, "b.JPG", "a.png", "sub/deep/c.TiF", "sub/d.webp", "e.heic", "notes.txt", "photo.jpg.bak", "jpg")
    (tmp_path / "folder.jpg").mkdir()
    assert relative(tmp_path) == ["a.png", "b.JPG", "e.heic", "sub/d.webp", "sub/deep/c.TiF"]


def test_find_images_skips_hidden_files_and_folders_but_not_a_hidden_start(tmp_path: Path) -> None:
    tree(tmp_path, ".hidden.jpg", "._a.jpg", ".cache/b.jpg", ".start/c.jpg", "d.jpg")
    assert relative(tmp_path) == ["d.jpg"]
    assert relative(tmp_path / ".start") == ["c.jpg"]


def test_find_images_survives_links_that_go_round(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    tree(photos, "a.jpg", "z/b.jpg")
    tree(tmp_path, "outside/c.jpg")
    (photos / "up").symlink_to(photos, target_is_directory=True)
    (photos / "z" / "back").symlink_to(photos, target_is_directory=True)
    (photos / "again").symlink_to(photos / "z", target_is_directory=True)
    (photos / "outside").symlink_to(tmp_path / "outside", target_is_directory=True)
    (photos / "linked.jpg").symlink_to(photos / "a.jpg")
    (photos / "broken.jpg").symlink_to(tmp_path / "nothing.jpg")
    (photos / "self.jpg").symlink_to(photos / "self.jpg")
    assert relative(photos) == ["a.jpg", "linked.jpg", "outside/c.jpg", "z/b.jpg"]


def test_find_images_skips_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert images.find_images(tmp_path) == []


def test_find_images_of_no_folder(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(ImageError, match="is a file"):
        images.find_images(photo)
    with pytest.raises(ImageError, match="nothing of that name"):
        images.find_images(tmp_path / "nothing")


def test_find_images_says_when_a_folder_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        images.find_images(tmp_path)


# ------------------------------------------------------------------------------------------------- opened images


def test_normalise_image_takes_what_pillow_has_opened() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    with Image.open(encoded(noise(7, 5), exif=exif.tobytes())) as opened:
        picture = images.normalise_image(opened)
        assert opened.size == (7, 5)
    assert picture.image.size == (5, 7) and picture.format == "PNG"
    assert images.normalise_image(noise()).format == ""


def test_normalise_image_refuses_damaged_and_huge_images() -> None:
    data = encoded(noise()).getvalue()
    with (
        Image.open(io.BytesIO(data[: len(data) // 2])) as opened,
        pytest.raises(ImageError, match="the photo is trunc"),
    ):
        images.normalise_image(opened, "the photo")
    opened = PngImagePlugin.PngImageFile(io.BytesIO(bomb(60000, 60000)))
    with pytest.raises(ImageError, match="60000 x 60000"):
        images.normalise_image(opened)


def test_a_picture_cannot_be_changed(photo: Path) -> None:
    picture = images.read_picture(photo)
    with pytest.raises(AttributeError):
        picture.alpha = picture.image
