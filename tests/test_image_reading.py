"""What goes in: files, streams and opened images, and what bad ones get."""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import io
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from stylize import images
from stylize.errors import ImageError
from tests.image_helpers import MAKE, ORIENTATION, bomb, encoded, noise, pixels, refusal, save_noise


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save_noise(tmp_path / "photo.jpg")


# ------------------------------------------------------------------------------------------------------- whole pictures


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


# ------------------------------------------------------------------------------------------------------------ bad files


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


# ---------------------------------------------------------------------------------------------------------------- sizes


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


# --------------------------------------------------------------------------------------------------- HEIC and raw files


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


# -------------------------------------------------------------------------------------------------------- opened images


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
