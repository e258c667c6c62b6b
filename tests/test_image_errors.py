"""What Pillow raises and warns of, and what a user sees of it."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import PIL.Image
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from stylize import images
from stylize.errors import ImageError
from tests.image_helpers import bomb, encoded, noise, refusal, save_noise


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save_noise(tmp_path / "photo.jpg")


def test_a_name_with_a_line_break_stays_one_line(tmp_path: Path) -> None:
    assert "two\\nlines.jpg" in refusal(tmp_path / "two\nlines.jpg")


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
