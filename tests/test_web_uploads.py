"""Uploads: what is too large or no picture is refused by its header, before it is decoded."""

from __future__ import annotations

import os
import shutil
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from stylize.errors import ImageError, InputError
from stylize.web.private_folder import PrivateFolder
from stylize.web.settings import Limits
from stylize.web.uploads import PREVIEW_EDGE, open_photo, read_upload
from tests.helpers import save_photo

SMALL = Limits(megabytes=1, megapixels=0.01)


def png_header(path: Path, width: int, height: int) -> Path:
    """Write a PNG that says how large it is and has no more pixels than a few."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def never(*arguments: object, **named: object) -> None:
    raise AssertionError("the picture was decoded")


@pytest.mark.parametrize(
    ("width", "height", "said"), [(20_000, 10_000, "200 megapixels"), (16_000, 10_000, "160 megapixels")]
)
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch, width, height, said):
    path = png_header(tmp_path / "huge.png", width, height)
    monkeypatch.setattr("stylize.web.uploads.read_picture", never)
    with pytest.raises(ImageError, match="huge.png is .*make it smaller") as caught:
        read_upload(path, Limits())
    assert said in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_decompression_bomb_is_refused(tmp_path):
    path = png_header(tmp_path / "bomb.png", 100_000, 100_000)
    with pytest.raises(ImageError, match="bomb.png is 100000 x 100000 pixels"):
        read_upload(path, Limits())


def test_the_limits_are_exact(tmp_path):
    assert read_upload(save_photo(tmp_path / "fits.png", 100, 100), SMALL).image.size == (100, 100)
    with pytest.raises(ImageError, match=r"at most 0\.01 are accepted"):
        read_upload(save_photo(tmp_path / "large.png", 101, 100), SMALL)
    path = tmp_path / "long.png"
    path.write_bytes(save_photo(tmp_path / "fits.png", 10, 10).read_bytes() + bytes(1_000_000))
    with pytest.raises(ImageError, match=r"long\.png has 1\.0 MB; at most 1 MB"):
        read_upload(path, SMALL)


@pytest.mark.parametrize(
    "content", [b"", b"<script>alert(1)</script> is no picture at all", b"\xff\xd8\xff" + bytes(60)]
)
def test_no_picture_is_named_without_its_path(tmp_path, content):
    path = tmp_path / "mine.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"mine\.jpg") as caught:
        read_upload(path, Limits())
    assert str(tmp_path) not in str(caught.value)


def test_a_photo_that_is_gone_says_what_to_do(tmp_path):
    with pytest.raises(ImageError, match="gone.jpg is no longer here; choose the photo once more"):
        open_photo(tmp_path / "gone.jpg", Limits())


def test_a_photo_keeps_its_size_and_a_small_copy(tmp_path):
    photo = open_photo(save_photo(tmp_path / "my-photo.png", 1500, 30), Limits())
    assert (photo.name, photo.width, photo.height) == ("my-photo", 1500, 30)
    assert photo.small.size == (PREVIEW_EDGE, 20)
    assert photo.preview(512).size == (512, 10) and photo.preview(5000) is photo.small


@pytest.mark.parametrize(
    "limits", [{"megabytes": 0}, {"megapixels": -1}, {"megapixels": 1000}, {"megabytes": float("nan")}]
)
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(InputError, match="is accepted"):
        Limits(**limits)


def test_the_folder_is_private_and_removed():
    with PrivateFolder() as folder:
        path = folder.path
        made = folder.new_folder()
        assert path.stat().st_mode & 0o777 == 0o700 and made.stat().st_mode & 0o777 == 0o700
        (made / "photo.jpg").write_bytes(b"x")
        assert folder.new_folder() != made
    assert not path.exists()


def test_the_folder_knows_what_is_its_own(tmp_path):
    with PrivateFolder() as folder:
        inside = folder.new_folder() / "a.txt"
        inside.write_text("a")
        link = folder.path / "link"
        link.symlink_to("/etc")
        assert folder.holds(inside)
        for path in (folder.path, link / "passwd", "/etc/passwd", f"{folder.path}/../x", f"{folder.path}x/a", "\0", ""):
            assert not folder.holds(path), path


def test_old_files_go_and_the_oldest_when_there_are_too_many():
    now = [0.0]
    with PrivateFolder(kept_seconds=100, kept_bytes=25, clock=lambda: now[0]) as folder:
        files = []
        for number, moment in enumerate((0, 50, 110, 110)):
            now[0] = moment
            path = folder.new_folder() / f"{number}.bin"
            path.write_bytes(bytes(10))
            files.append(path)
            if moment < 110:
                folder.tidy()
        folder.tidy()
        assert [path.exists() for path in files] == [False, False, True, True]
        files[2].write_bytes(bytes(20))  # changed, so that it is young again
        now[0] = 211
        folder.tidy()
        assert [path.exists() for path in files] == [False, False, True, False]


def test_what_comes_and_goes_while_the_folder_is_tidied_does_no_harm():
    with PrivateFolder() as folder:
        ended = threading.Event()

        def visitors() -> None:
            while not ended.is_set():
                made = [folder.new_folder() for _ in range(20)]
                for place in made:
                    (place / "photo.png").write_bytes(b"x")
                for place in made:
                    shutil.rmtree(place)

        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(visitors)
            try:
                for _ in range(150):
                    folder.tidy()
            finally:
                ended.set()
            coming.result()


@pytest.mark.parametrize("years", [-1, 1])
def test_a_clock_that_is_set_makes_no_file_old_or_young(monkeypatch, years):
    now, by = [0.0], years * 365 * 24 * 3600
    with PrivateFolder(kept_seconds=100, clock=lambda: now[0]) as folder:
        path = folder.new_folder() / "photo.jpg"
        path.write_bytes(b"x")
        os.utime(path, (time.time() + by,) * 2)
        folder.tidy()
        true = time.time
        monkeypatch.setattr(time, "time", lambda: true() - by)
        now[0] = 90
        folder.tidy()
        assert path.exists()
        now[0] = 101
        folder.tidy()
        assert not path.exists()


def test_an_upload_may_be_transparent(tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (20, 10), (255, 0, 0, 100)).save(path)
    assert read_upload(path, Limits()).alpha is not None


def test_what_a_session_had_goes_after_it_has_left():
    with PrivateFolder(left_seconds=0) as folder:
        mine, theirs = folder.new_folder("me"), folder.new_folder("them")
        for path in (mine / "picture.jpg", theirs / "picture.jpg"):
            path.write_bytes(b"x")
        word = folder.publish(mine / "picture.jpg")
        upload = folder.new_folder() / "photo.jpg"
        upload.write_bytes(b"x")
        folder.claim(upload, "me")
        folder.tidy()
        assert mine.exists() and upload.exists() and folder.published(word)
        folder.leave("me")
        folder.tidy()
        assert not mine.exists() and not upload.parent.exists() and folder.published(word) is None
        assert (theirs / "picture.jpg").exists()


def test_a_file_that_two_sessions_sent_stays_for_the_other():
    with PrivateFolder(left_seconds=0) as folder:
        upload = folder.new_folder() / "photo.jpg"
        upload.write_bytes(b"x")
        folder.claim(upload, "me")
        folder.claim(upload, "them")
        folder.leave("me")
        folder.drop(upload)
        folder.tidy()
        assert upload.exists()
        folder.leave("them")
        folder.tidy()
        assert not upload.exists()


def test_a_session_that_comes_back_keeps_its_files():
    with PrivateFolder(left_seconds=0) as folder:
        path = folder.new_folder("me") / "picture.jpg"
        path.write_bytes(b"x")
        folder.leave("me")
        folder.touch("me")
        folder.tidy()
        assert path.exists()


def test_files_of_a_session_that_is_there_do_not_grow_old():
    now = [0.0]
    with PrivateFolder(kept_seconds=100, clock=lambda: now[0]) as folder:
        mine, nobodys = folder.new_folder("me") / "a.jpg", folder.new_folder() / "b.jpg"
        for path in (mine, nobodys):
            path.write_bytes(b"x")
        folder.tidy()
        now[0] = 60
        folder.touch("me")
        now[0] = 120
        folder.tidy()
        assert mine.exists() and not nobodys.exists()


def test_a_refused_upload_is_removed_and_nothing_outside_the_folder_is(tmp_path):
    outside = save_photo(tmp_path / "mine.png")
    with PrivateFolder() as folder:
        upload = folder.new_folder() / "bad.jpg"
        upload.write_bytes(b"x")
        folder.drop(upload)
        folder.drop(outside)
        folder.claim(outside, "me")
        folder.leave("me")
        folder.left_seconds = 0
        folder.tidy()
        assert not upload.parent.exists() and outside.exists()
