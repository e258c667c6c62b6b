"""What comes out: whole files or none, in their format, and nothing lost."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import signal
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from stylize import images
from stylize.errors import InputError, OutputError
from tests.image_helpers import (
    DEEP,
    EIGHT,
    MAKE,
    camera_exif,
    encoded,
    grey,
    noise,
    pixels,
    save_noise,
    wide_gamut_profile,
)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save_noise(tmp_path / "photo.jpg")


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
