"""Large pictures in and out: the same as whole ones, in strips, within the memory, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import random
import shutil
import struct
import sys
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stylize import images, strips
from stylize.errors import ImageError, InputError, OutputError
from stylize.strips import held_bytes_to_read, held_bytes_to_write, open_rows, open_writer, plans, rows_of, tiff
from stylize.strips.pixel_store import PixelStore
from stylize.strips.tiff import TiffEncoder
from stylize.strips.tiff_directories import entry
from tests.helpers import run_python, synthetic_image
from tests.image_helpers import MAKE, ORIENTATION, camera_exif, chunk, noise, pixels, png, wide_gamut_profile
from tests.test_image_writing import file_size_limit

SCRATCH, HELD = 20_000, 50_000
"""Memory, in bytes, in which noise() is not read as a whole but in pieces: into a scratch file, and into memory."""


def deep(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (40, 56, channels), dtype=np.uint16)


def with_alpha() -> Image.Image:
    image = noise()
    image.putalpha(noise(seed=5).getchannel("R"))
    return image


def save_png(path: Path, values: np.ndarray, extra: bytes = b"", filtering: int = 4) -> None:
    """Write a PNG of 8 or 16 bits with one filter for all rows, by the formulas of the standard."""
    height, width, channels = values.shape
    step = channels * values.itemsize
    rows = np.frombuffer(values.astype(values.dtype.newbyteorder(">")).tobytes(), np.uint8).reshape(height, -1)
    data, above = b"", [0] * rows.shape[1]
    for row in rows.tolist():
        left, corner = [0] * step + row[:-step], [0] * step + above[:-step]
        if filtering == 3:
            guess = [(a + b) // 2 for a, b in zip(left, above, strict=True)]
        else:
            guess = [
                min((a, b, c), key=lambda v, p=a + b - c: abs(p - v))
                for a, b, c in zip(left, above, corner, strict=True)
            ]
        data += bytes([filtering, *((v - g) % 256 for v, g in zip(row, guess, strict=True))])
        above = row
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    path.write_bytes(png(width, height, data, 8 * values.itemsize, colour, extra))


def save_tiled(path: Path, values: np.ndarray, tile: tuple[int, int], order: str = "<", **tags: int) -> None:
    """Write a TIFF of deflated tiles, which Pillow cannot."""
    height, width, channels = values.shape
    down, across = -(-height // tile[0]), -(-width // tile[1])
    padded = np.zeros((down * tile[0], across * tile[1], channels), values.dtype.newbyteorder(order))
    padded[:height, :width] = values
    data, places, lengths = bytearray(b"II*\0" if order == "<" else b"MM\0*") + bytes(4), [], []
    for row in range(down):
        for column in range(across):
            part = padded[row * tile[0] : (row + 1) * tile[0], column * tile[1] : (column + 1) * tile[1]]
            packed = zlib.compress(part.tobytes())
            places.append(len(data))
            lengths.append(len(packed))
            data += packed + bytes(len(packed) % 2)
    short = {258: [8 * values.itemsize] * channels, 259: [8], 262: [2 if channels > 2 else 1], 277: [channels]}
    if channels in (2, 4):
        short[338] = [2]
    short |= {int(tag.removeprefix("tag_")): [value] for tag, value in tags.items()}
    long = {256: [width], 257: [height], 322: [tile[1]], 323: [tile[0]], 324: places, 325: lengths}
    table = {
        tag: entry(kind, numbers, order) for kind, group in ((3, short), (4, long)) for tag, numbers in group.items()
    }
    from stylize.strips.tiff_directories import directory_bytes

    directory, start = directory_bytes(table, len(data), order)
    data[4:8] = struct.pack(order + "I", start)
    path.write_bytes(bytes(data) + directory)


def read_all(rows: strips.PictureRows, strip: int = 7) -> tuple[np.ndarray, np.ndarray | None]:
    """Read every row, strip by strip, after checking shape and type; returns levels from 0 to 255 and alpha."""
    parts, alphas = [], []
    for top in range(0, rows.height, strip):
        part = rows.rows(top, min(top + strip, rows.height))
        assert part.dtype == torch.float32 and part.shape[:2] == (1, 3) and part.is_contiguous()
        parts.append(np.asarray(images.to_image(part)))
        alphas.append(rows.alpha_rows(top, min(top + strip, rows.height)))
    whole = None if alphas[0] is None else np.concatenate(alphas)
    return np.concatenate(parts).astype(int), whole


def same_as_whole(path: Path, memory: int | None, strip: int = 7) -> strips.PictureRows:
    """Check that rows, alpha, EXIF data and format are those of :func:`images.read_picture`."""
    picture = images.read_picture(path)
    with open_rows(path, memory, scratch=path.parent) as rows:
        assert (rows.width, rows.height) == picture.image.size
        colour, alpha = read_all(rows, strip)
        assert (colour == pixels(picture.image)).all()
        assert (alpha is None) == (picture.alpha is None) and rows.has_alpha == (alpha is not None)
        assert alpha is None or (alpha == np.asarray(picture.alpha)).all()
        assert (rows.exif, rows.format) == (picture.exif, picture.format)
        assert (rows.bytes_held == held_bytes_to_read(path, memory)) or picture.alpha is None
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    return rows


def copy(source: Path, target: Path, memory: int | None = SCRATCH, strip: int = 7) -> None:
    with (
        open_rows(source, memory) as rows,
        open_writer(target, rows.width, rows.height, alpha=rows.has_alpha, exif=rows.exif, overwrite=True) as writer,
    ):
        for top in range(0, rows.height, strip):
            bottom = min(top + strip, rows.height)
            writer.write(top, rows.rows(top, bottom), rows.alpha_rows(top, bottom))
        writer.finish()


# -------------------------------------------------------------------------------------------------------------- reading


KINDS = {
    "a.jpg": (noise(), {}),
    "progressive.jpg": (noise(), {"progressive": True}),
    "cmyk.jpg": (noise().convert("CMYK"), {}),
    "rgb.png": (noise(), {}),
    "smooth.png": (synthetic_image(56, 40), {}),  # with every filter
    "rgba.png": (with_alpha(), {}),
    "grey.png": (noise().convert("L"), {}),
    "la.png": (with_alpha().convert("LA"), {}),
    "palette.png": (noise().quantize(200), {}),
    "four bits.png": (noise().quantize(16), {}),
    "one colour clear.png": (noise(), {"transparency": noise().getpixel((3, 4))}),
    "deep grey.png": (Image.fromarray(deep()[..., 0]), {}),
    "plain.tif": (noise(), {}),
    "lzw.tif": (noise(), {"compression": "tiff_lzw", "strip_size": 100}),
    "deflate.tif": (with_alpha(), {"compression": "tiff_adobe_deflate", "strip_size": 100}),
    "jpeg.tif": (noise(), {"compression": "jpeg", "strip_size": 1000}),
    "packbits.tif": (noise().quantize(200), {"compression": "packbits", "strip_size": 100}),
    "fax.tif": (noise().convert("1"), {"compression": "group4", "strip_size": 50}),
    "cmyk.tif": (noise().convert("CMYK"), {}),
    "deep grey.tif": (Image.fromarray(deep()[..., 0]), {}),
    "big.tif": (noise(), {"big_tiff": True}),
    "a.bmp": (noise(), {}),
    "a.gif": (noise().quantize(200), {}),
}


@pytest.mark.parametrize("memory", [None, HELD, SCRATCH])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_gives_the_rows_of_the_whole_picture(tmp_path: Path, name: str, memory: int | None) -> None:
    if name == "progressive.jpg" and memory == SCRATCH:
        pytest.skip("needs more to decode")
    image, options = KINDS[name]
    image.save(tmp_path / name, **options)
    rows = same_as_whole(tmp_path / name, memory)
    assert (rows.bytes_held == 0) == (memory == SCRATCH)


@pytest.mark.parametrize("memory", [HELD, SCRATCH])
@pytest.mark.parametrize("filtering", [3, 4])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_of_8_and_16_bits(tmp_path: Path, dtype: type, channels: int, filtering: int, memory: int) -> None:
    save_png(tmp_path / "a.png", deep(channels).astype(dtype), filtering=filtering)
    same_as_whole(tmp_path / "a.png", memory)


def test_a_clear_colour_of_16_bits(tmp_path: Path) -> None:
    values = deep()
    extra = chunk(b"tRNS", struct.pack(">HHH", *values[3, 4].tolist()))
    save_png(tmp_path / "a.png", values, extra)
    same_as_whole(tmp_path / "a.png", SCRATCH)


@pytest.mark.parametrize("memory", [HELD, SCRATCH])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiled_tiff(tmp_path: Path, dtype: type, channels: int, order: str, memory: int) -> None:
    save_tiled(tmp_path / "a.tif", deep(channels).astype(dtype), (16, 32), order)
    with open(tmp_path / "a.tif", "rb") as file:
        assert tiff.tiff_layout(file).tiled
    same_as_whole(tmp_path / "a.tif", memory)


def test_tiff_where_white_is_zero(tmp_path: Path) -> None:
    save_tiled(tmp_path / "a.tif", deep(1), (16, 16), tag_262=0)
    same_as_whole(tmp_path / "a.tif", SCRATCH)


@pytest.mark.parametrize("compression", ["zlib", None])
@pytest.mark.parametrize(
    "options",
    [
        {"tile": (16, 16)},
        {"rowsperstrip": 7},
        {"rowsperstrip": 5, "bigtiff": True},
        {"rowsperstrip": 3, "byteorder": ">"},
    ],
)
def test_tiff_as_tifffile_writes_it(tmp_path: Path, options: dict[str, object], compression: str | None) -> None:
    tifffile = pytest.importorskip("tifffile")
    for values in (np.asarray(noise()), deep()):
        predictor = compression is not None
        tifffile.imwrite(
            tmp_path / "a.tif", values, photometric="rgb", compression=compression, predictor=predictor, **options
        )
        same_as_whole(tmp_path / "a.tif", SCRATCH)


@pytest.mark.parametrize("memory", [HELD, SCRATCH])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "deflate.tif", "tiled.tif", "single strip.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int, name: str, memory: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "Maker"
    path = tmp_path / name
    if name == "tiled.tif":
        save_tiled(path, np.asarray(noise()), (16, 16), tag_274=orientation)
    elif name in ("a.tif", "a.jpg", "a.png"):
        noise().save(path, exif=exif)
    else:
        noise().save(path, compression="tiff_adobe_deflate", strip_size=100, tiffinfo={ORIENTATION: orientation})
    if name == "single strip.tif":  # Pillow decodes the whole, and turns it
        monkeypatch.setattr(tiff, "_LARGEST_SEGMENT", 10)
        memory = 2 * HELD
    assert images.read_image(path).size == ((40, 56) if orientation > 4 else (56, 40))
    same_as_whole(path, memory)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "lzw.tif", "a.jpg", "grey.png"])
def test_colours_come_through_their_profile(tmp_path: Path, name: str) -> None:
    image = noise().convert("L") if name == "grey.png" else noise()
    options = {"compression": "tiff_lzw", "strip_size": 100} if name == "lzw.tif" else {}
    image.save(tmp_path / name, icc_profile=wide_gamut_profile(), **options)
    assert (
        name in ("a.jpg", "grey.png")
        or (pixels(images.read_image(tmp_path / name)) != pixels(image.convert("RGB"))).any()
    )
    same_as_whole(tmp_path / name, SCRATCH)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_opaque_alpha_counts_as_none(tmp_path: Path, name: str) -> None:
    image = noise()
    image.putalpha(255)
    image.save(tmp_path / name)
    assert not same_as_whole(tmp_path / name, SCRATCH).has_alpha


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_exif_data_are_kept(tmp_path: Path, name: str) -> None:
    noise().save(tmp_path / name, exif=camera_exif())
    rows = same_as_whole(tmp_path / name, SCRATCH)
    assert rows.exif is not None and b"Maker" in rows.exif


def test_exif_data_after_the_pixels_of_a_png(tmp_path: Path) -> None:
    data = png(56, 40, b"".join(b"\0" + row.tobytes() for row in np.asarray(noise())))
    late = chunk(b"eXIf", camera_exif().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(data[:-12] + late + data[-12:])
    assert same_as_whole(tmp_path / "a.png", SCRATCH).exif is not None


def interlaced(values: np.ndarray) -> bytes:
    """A PNG in the seven passes of Adam7."""
    height, width = values.shape[:2]
    data = b""
    for x, y, dx, dy in [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]:
        data += b"".join(b"\0" + row.tobytes() for row in values[y::dy, x::dx])
    whole = bytearray(png(width, height, data))
    whole[28] = 1
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    return bytes(whole)


def test_an_interlaced_png_is_decoded_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(interlaced(np.asarray(noise())))
    assert (pixels(images.read_image(tmp_path / "a.png")) == pixels(noise())).all()
    same_as_whole(tmp_path / "a.png", SCRATCH)
    with pytest.raises(ImageError, match="PNG without interlace"):
        open_rows(tmp_path / "a.png", 8_000)


def test_floats_are_scaled_by_the_range_of_the_whole_picture(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(-3, 9, 2240, dtype=np.float32).reshape(40, 56)).save(tmp_path / "a.tif")
    same_as_whole(tmp_path / "a.tif", 60_000)
    with pytest.raises(ImageError, match=r"a\.tif is 56 x 40 pixels: reading this TIFF takes about"):
        open_rows(tmp_path / "a.tif", SCRATCH)


def test_a_strip_that_takes_more_than_the_whole_is_read_with_the_whole(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.tif", compression="tiff_lzw")
    same_as_whole(tmp_path / "a.tif", HELD)
    with pytest.raises(ImageError, match="MB are allowed; allow more memory$"):
        open_rows(tmp_path / "a.tif", SCRATCH)


def test_rows_are_read_again_and_in_any_order(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    with open_rows(tmp_path / "a.png", SCRATCH) as rows:
        for top, bottom in [(30, 40), (0, 1), (5, 20), (3, 9), (0, 40), (39, 40)]:
            expected = images.to_tensor(noise())[:, :, top:bottom]
            assert torch.equal(rows.rows(top, bottom), expected)
            rows.rows(top, bottom).zero_()  # nobody else's memory
        for top, bottom in [(-1, 3), (0, 41), (5, 5), (8, 4)]:
            with pytest.raises(InputError, match="rows 0 to 40"):
                rows.rows(top, bottom)


def test_rows_of_a_picture_in_memory(tmp_path: Path) -> None:
    with_alpha().save(tmp_path / "a.png")
    rows = rows_of(images.read_picture(tmp_path / "a.png"))
    colour, alpha = read_all(rows)
    assert (colour == pixels(with_alpha())[..., :3]).all() and (alpha == pixels(with_alpha())[..., 3]).all()
    assert rows.bytes_held == 56 * 40 * 4


# ------------------------------------------------------------------------------------------------- limits and bad files


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.bmp"])
def test_pictures_beyond_the_limit_of_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / name
    noise().save(path)
    expected = pixels(images.read_image(path))
    monkeypatch.setattr(plans, "BLOCK_PIXELS", 300)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses from twice as many on
    for module in (plans, sys.modules["stylize.image_reading"]):
        monkeypatch.setattr(module, "MAXIMUM_PIXELS", 2000)
    with pytest.raises(ImageError, match="more than the 2,000"):
        images.read_picture(path)
    with open_rows(path, SCRATCH) as rows:
        assert (read_all(rows)[0] == expected).all()
    if name in ("a.jpg", "a.bmp"):
        with pytest.raises(ImageError, match="convert it to a TIFF of 8 bits in tiles or strips or to a PNG"):
            open_rows(path)
    else:
        with open_rows(path) as rows:
            assert (read_all(rows)[0] == expected).all()


@pytest.mark.parametrize(
    ("name", "options", "needed"), [("a.jpg", {}, 9), ("b.jpg", {"progressive": True}, 22), ("a.webp", {}, 35)]
)
def test_what_does_not_fit_into_the_memory_is_refused(
    tmp_path: Path, name: str, options: dict[str, object], needed: int
) -> None:
    path = tmp_path / name
    noise(560, 400).save(path, **options)
    with pytest.raises(ImageError) as caught:
        open_rows(path, needed * 90_000)
    message = str(caught.value)
    assert message.startswith(
        f"{path} is 560 x 400 pixels: reading this {path.suffix[1:].upper().replace('JPG', 'JPEG')}"
    )
    assert "MB are allowed; allow more memory, or convert it" in message and "\n" not in message
    with pytest.raises(ImageError):
        held_bytes_to_read(path, needed * 90_000)
    assert open_rows(path, needed * 100_000 + 3_000_000, scratch=tmp_path).height == 400


SAMPLES = ["rgb.png", "palette.png", "a.jpg", "plain.tif", "deflate.tif", "a.bmp"]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_cut_file_is_an_error_and_never_a_half_picture(tmp_path: Path, name: str) -> None:
    image, options = KINDS[name]
    path = tmp_path / name
    image.save(path, **options)
    data, expected = path.read_bytes(), pixels(images.read_image(path))
    refused = 0
    for length in sorted({*range(0, 64, 3), *range(64, len(data), len(data) // 25), *range(len(data) - 20, len(data))}):
        path.write_bytes(data[:length])
        try:
            with open_rows(path, SCRATCH, scratch=tmp_path) as rows:
                assert (read_all(rows)[0] == expected).all(), f"cut to {length} of {len(data)} bytes"
        except ImageError as error:
            refused += 1
            assert "\n" not in str(error) and name in str(error) and error.__cause__ is None
    assert refused > 30 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", SAMPLES)
def test_hostile_bytes_give_a_picture_or_an_image_error(tmp_path: Path, name: str) -> None:
    image, options = KINDS[name]
    path = tmp_path / name
    image.save(path, **options)
    data, chance = path.read_bytes(), random.Random(7)
    for _ in range(40):
        bad = bytearray(data)
        for _ in range(chance.choice((1, 3, 20))):
            bad[chance.randrange(min(len(bad), chance.choice((64, 300, len(bad)))))] = chance.randrange(256)
        path.write_bytes(bad)
        with contextlib.suppress(ImageError):
            open_rows(path, SCRATCH, scratch=tmp_path).close()
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_png_data(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[3000] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.png is damaged .* copy or export it again"):
        open_rows(tmp_path / "a.png", SCRATCH)


def test_more_data_than_rows_are_not_inflated(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(noise()))
    (tmp_path / "a.png").write_bytes(png(56, 40, rows + bytes(10**7)))
    with open_rows(tmp_path / "a.png", SCRATCH) as opened:
        assert (read_all(opened)[0] == pixels(noise())).all()


def test_a_header_that_promises_a_huge_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(20000, 20000, bytes(100)))
    with pytest.raises(ImageError, match="truncated"):
        open_rows(tmp_path / "a.png", 10**8, scratch=tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["nothing.png", ".", "empty.tif", "letter.jpg", "photo.nef"])
def test_what_is_no_picture_gets_the_words_of_the_library(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "letter.jpg").write_text("This is a letter, not a photo.")
    noise().save(tmp_path / "photo.nef", "TIFF")
    with pytest.raises(ImageError) as expected:
        images.read_picture(tmp_path / name)
    for memory in (None, SCRATCH):
        with pytest.raises(ImageError) as caught:
            open_rows(tmp_path / name, memory)
        assert str(caught.value) == str(expected.value)


def test_a_jpeg_whose_rest_is_zeros_is_an_error(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    with pytest.raises(ImageError, match="damaged"):
        open_rows(tmp_path / "a.jpg", SCRATCH)


# ----------------------------------------------------------------------------------------------------- the scratch file


def test_the_scratch_file_is_gone_with_the_picture(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    folder = tmp_path / "scratch"
    folder.mkdir()
    rows = open_rows(tmp_path / "a.png", SCRATCH, scratch=folder)
    assert rows.bytes_held == 0
    rows.close()
    assert not list(folder.iterdir())


def test_a_full_scratch_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "a.png")
    with file_size_limit(1000), pytest.raises(OutputError, match=r"scratch file in .* cannot be used: .*TMPDIR"):
        open_rows(tmp_path / "a.png", SCRATCH, scratch=tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match="0.0 GB are free"):
        open_rows(tmp_path / "a.png", SCRATCH, scratch=tmp_path)
    with pytest.raises(OutputError, match="cannot be used: No such file"):
        monkeypatch.undo()
        open_rows(tmp_path / "a.png", SCRATCH, scratch=tmp_path / "missing")
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


def test_the_scratch_disk_fills_up_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "a.png")
    store = PixelStore(40, 56, 3, in_memory=False, scratch=tmp_path)

    class Full:
        def seek(self, _: int) -> None: ...

        def write(self, _: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.close()
    store._file = Full()
    with pytest.raises(OutputError, match="no space left on the disk; make room"):
        store.put(0, 0, np.zeros((2, 56, 3), np.uint8))


# -------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("strip", [1, 7, 16, 40])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF", "a.jpg", "a.webp"])
def test_files_hold_what_whole_writing_puts_into_them(tmp_path: Path, name: str, alpha: bool, strip: int) -> None:
    source = with_alpha() if alpha else noise()
    source.save(tmp_path / "source.png", exif=camera_exif())
    picture = images.read_picture(tmp_path / "source.png")
    images.write_image(picture.image, tmp_path / f"whole {name}", alpha=picture.alpha, exif=picture.exif)
    copy(tmp_path / "source.png", tmp_path / name, strip=strip)
    if name in ("a.jpg", "a.webp"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"whole {name}").read_bytes()
    expected, result = images.read_picture(tmp_path / f"whole {name}"), images.read_picture(tmp_path / name)
    assert (pixels(result.image) == pixels(expected.image)).all() and result.exif == expected.exif
    assert (result.alpha is None) == (expected.alpha is None)
    assert result.alpha is None or (pixels(result.alpha) == pixels(expected.alpha)).all()
    assert len(list(tmp_path.iterdir())) == 3


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 50), height=st.integers(1, 50), strip=st.integers(1, 50), again=st.integers(1, 50),
    alpha=st.booleans(), suffix=st.sampled_from([".png", ".tif"]), smooth=st.booleans(), hold=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_any_size_in_any_strips(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, strip: int, again: int, alpha: bool,
    suffix: str, smooth: bool, hold: bool, seed: int,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    image = synthetic_image(width, height, seed) if smooth else noise(width, height, seed)
    opacity = np.asarray(noise(width, height, seed + 1).getchannel("R")) if alpha else None
    values = images.to_tensor(image)
    with (
        mock.patch.object(TiffEncoder, "strip_bytes", 500),
        open_writer(path, width, height, alpha=alpha, exif=None, overwrite=False) as writer,
    ):
        for top in range(0, height, strip):
            rows = slice(top, min(top + strip, height))
            writer.write(top, values[:, :, rows], opacity[rows] if alpha else None)
        writer.finish()
    picture = images.read_picture(path)
    assert (pixels(picture.image) == pixels(image)).all()
    assert not alpha or opacity.min() == 255 or (np.asarray(picture.alpha) == opacity).all()
    with mock.patch.object(plans, "_HOLD_SHARE", 4 if hold else 10**6):
        rows = same_as_whole(path, 47 * width * height, again)
        assert (rows.bytes_held > 0) == hold


def test_values_are_rounded_as_to_image_does(tmp_path: Path) -> None:
    values = torch.linspace(-0.2, 1.2, 3 * 20 * 30).reshape(1, 3, 20, 30)
    with open_writer(tmp_path / "a.png", 30, 20, alpha=False, exif=None, overwrite=False) as writer:
        writer.write(0, values)
        writer.finish()
    assert (pixels(images.read_image(tmp_path / "a.png")) == pixels(images.to_image(values))).all()


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite"):
        with open_writer(tmp_path / "a.png", 4, 4, alpha=False, exif=None, overwrite=False) as writer:
            writer.write(0, torch.full((1, 3, 4, 4), float("nan")))
    assert not list(tmp_path.iterdir())


def test_a_tiff_of_more_than_4_gb_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "a.png", exif=camera_exif())
    monkeypatch.setattr(TiffEncoder, "classic_limit", 1000)
    monkeypatch.setattr(TiffEncoder, "strip_bytes", 600)
    copy(tmp_path / "a.png", tmp_path / "a.tif")
    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    picture = images.read_picture(tmp_path / "a.tif")
    assert (pixels(picture.image) == pixels(noise().transpose(Image.Transpose.ROTATE_180))).all()
    assert picture.exif == images.read_picture(tmp_path / "a.png").exif


def test_tifffile_reads_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    with_alpha().save(tmp_path / "a.png")
    monkeypatch.setattr(TiffEncoder, "strip_bytes", 600)
    for limit in (2**32, 100):
        monkeypatch.setattr(TiffEncoder, "classic_limit", limit)
        copy(tmp_path / "a.png", tmp_path / "a.tif")
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert file.is_bigtiff == (limit == 100)
            assert file.pages[0].tags["ExtraSamples"].value == (2,)
            assert len(file.pages[0].dataoffsets) == 20
            # Decoded here, because tifffile may need one more package for the differences.
            assert file.pages[0].tags["Predictor"].value == 2


def test_damaged_exif_data_do_not_cost_the_picture(tmp_path: Path) -> None:
    for exif in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", camera_exif()[:40]):
        with open_writer(tmp_path / "a.tif", 56, 40, alpha=False, exif=exif, overwrite=True) as writer:
            writer.write(0, images.to_tensor(noise()))
            writer.finish()
        assert (pixels(images.read_image(tmp_path / "a.tif")) == pixels(noise())).all()


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("a.gif", (10, 10), "pictures are written as .jpeg, .jpg, .png, .tif, .tiff, .webp"),
        ("a", (10, 10), "has no suffix"),
        ("a.jpg", (65501, 2), "JPEG holds up to 65500 on a side; write a .png or .tif file"),
        ("a.webp", (2, 16384), "WEBP holds up to 16383 on a side; write a .png or .tif file"),
        ("a.png", (0, 5), "0 x 5 pixels hold nothing"),
        ("a.jpg", (20000, 20000), "20000 x 20000 pixels as JPEG need about .* write a .tif or .png file"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_at_once(
    tmp_path: Path, name: str, size: tuple[int, int], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        open_writer(tmp_path / name, *size, alpha=False, exif=None, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_memory_decides_what_is_written_as_a_whole(tmp_path: Path) -> None:
    given = {"alpha": False, "exif": None, "overwrite": False}
    needed = held_bytes_to_write(tmp_path / "a.jpg", 5000, 4000)
    assert needed > 8 * 5000 * 4000
    with pytest.raises(InputError, match="MB are allowed; write a .tif or .png file, .* or allow more memory"):
        open_writer(tmp_path / "a.jpg", 5000, 4000, **given, memory=needed - 1)
    for suffix in (".png", ".tif"):
        assert held_bytes_to_write(tmp_path / f"a{suffix}", 20000, 20000) < 2**26
        open_writer(tmp_path / f"a{suffix}", 20000, 20000, **given, memory=2**26).discard()
    open_writer(tmp_path / "a.jpg", 500, 400, **given, memory=needed).discard()
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_without_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    for target in (path, tmp_path):
        with pytest.raises((OutputError, InputError)):
            open_writer(target, 4, 4, alpha=False, exif=None, overwrite=False)
    assert path.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.png"
    with pytest.raises(OutputError, match="exists already"):
        with open_writer(path, 4, 4, alpha=False, exif=None, overwrite=False) as writer:
            writer.write(0, torch.zeros(1, 3, 4, 4))
            path.write_bytes(b"precious")
            writer.finish()
    assert path.read_bytes() == b"precious" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, None])
def test_what_breaks_off_leaves_nothing_and_loses_nothing(
    tmp_path: Path, name: str, error: type[BaseException] | None
) -> None:
    path = tmp_path / name
    path.write_bytes(b"precious")
    with pytest.raises(error) if error else contextlib.nullcontext():
        with open_writer(path, 4, 4, alpha=False, exif=None, overwrite=True) as writer:
            writer.write(0, torch.zeros(1, 3, 2, 4))
            assert len(list(tmp_path.iterdir())) <= 2
            if error:
                raise error
    assert path.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_a_full_disk(tmp_path: Path, name: str) -> None:
    rows = images.to_tensor(noise(300, 300))
    with file_size_limit(1000), pytest.raises(OutputError) as caught:
        with open_writer(tmp_path / name, 300, 600, alpha=False, exif=None, overwrite=False) as writer:
            for top in range(0, 600, 300):
                writer.write(top, rows)
            writer.finish()
    assert str(caught.value).startswith(f"{tmp_path / name} cannot be written: ") and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_space_is_told_in_words(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.png", 4, 4, alpha=False, exif=None, overwrite=False) as writer:

        def full(_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        writer._encoder.put = full
        with pytest.raises(OutputError, match=r"a\.png cannot be written: no space left on the disk$"):
            writer.write(0, torch.zeros(1, 3, 4, 4))
        assert not list(tmp_path.iterdir())
        with pytest.raises(InputError, match="is closed"):
            writer.write(0, torch.zeros(1, 3, 4, 4))


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a.png", tmp_path / ("x" * 300 + ".png")):
        with pytest.raises(OutputError, match="cannot be written"):
            open_writer(path, 4, 4, alpha=False, exif=None, overwrite=False)


def test_strips_must_follow_one_another(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.png", 4, 6, alpha=False, exif=None, overwrite=False) as writer:
        writer.write(0, torch.zeros(1, 3, 2, 4))
        for top, size in [(0, (2, 4)), (4, (2, 4)), (2, (2, 5)), (2, (5, 4))]:
            with pytest.raises(InputError, match="does not fit a picture of 4 x 6 at row 2"):
                writer.write(top, torch.zeros(1, 3, *size))
        with pytest.raises(InputError, match="alpha"):
            writer.write(2, torch.zeros(1, 3, 2, 4), np.zeros((2, 4), np.uint8))
        with pytest.raises(InputError, match="2 of 6 rows"):
            writer.finish()
    assert not list(tmp_path.iterdir())


def test_permissions_and_links_are_those_of_the_file_before(tmp_path: Path) -> None:
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    with open_writer(link, 56, 40, alpha=False, exif=None, overwrite=True) as writer:
        writer.write(0, images.to_tensor(noise()))
        writer.finish()
    assert link.is_symlink() and target.stat().st_mode & 0o777 == 0o640
    assert (pixels(images.read_image(target)) == pixels(noise())).all()


# --------------------------------------------------------------------------------------------------------------- memory


def test_sixty_megapixels_pass_through_little_memory(tmp_path: Path) -> None:
    width, height = 10_000, 6_000
    packer = zlib.compressobj(1)
    stripe = (b"\0" + bytes(range(250)) * 120) * 50
    data = b"".join(packer.compress(stripe) for _ in range(height // 50)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    code = f"""
import json, resource, sys
from pathlib import Path
import torch
from stylize.strips import open_rows, open_writer

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def copy(source, target):
    with open_rows(source) as rows:
        with open_writer(target, rows.width, rows.height, alpha=False, exif=None, overwrite=False) as writer:
            for top in range(0, rows.height, 100):
                writer.write(top, rows.rows(top, top + 100))
            writer.finish()
        return rows.bytes_held

folder = Path({str(tmp_path)!r})
torch.set_num_threads(1)
torch.zeros(1, 3, 4, 4).permute(0, 2, 3, 1).contiguous().clamp(0, 1)
before = peak()
held = copy(folder / "a.png", folder / "b.tif"), copy(folder / "b.tif", folder / "c.png")
with open_rows(folder / "c.png") as rows:
    last = (rows.rows(5999, 6000)[0, :, 0, -1] * 255).round().int().tolist()
print(json.dumps([peak() - before, held, last]))
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    grown, held, last = json.loads(result.stdout)
    assert held == [0, 0] and last == [247, 248, 249]
    assert grown < 150, f"{grown} MB"


def test_tensors_and_pixels_stay_small_while_reading(tmp_path: Path) -> None:
    stream = io.BytesIO()
    noise().save(stream, "PNG")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    for memory, held in ((None, 56 * 40 * 3), (HELD, 56 * 40 * 3), (SCRATCH, 0)):
        assert held_bytes_to_read(tmp_path / "a.png", memory) == held
        with open_rows(tmp_path / "a.png", memory) as rows:
            assert rows.bytes_held == held
