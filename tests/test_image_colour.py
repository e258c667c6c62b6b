"""Profiles, modes, alpha and deep greyscale, against known colours."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from stylize import images
from tests.image_helpers import DEEP, EIGHT, chunk, encoded, grey, noise, pixels, png, wide_gamut_profile


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


# --------------------------------------------------------------------------------------------------------------- colour


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


# ---------------------------------------------------------------------------------------------------------------- alpha


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


# ------------------------------------------------------------------------------------------------------------ deep grey


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
