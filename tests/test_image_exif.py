"""Orientation and the EXIF data that travel with a photo."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylize import images
from tests.image_helpers import DATE, DATE_TAKEN, DETAILS, MAKE, ORIENTATION, camera_exif, encoded, noise, pixels

# ---------------------------------------------------------------------------------------------------------- orientation


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


# ----------------------------------------------------------------------------------------------------------------- EXIF


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
