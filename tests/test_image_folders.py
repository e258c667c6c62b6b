"""Which pictures a folder holds."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stylize import images
from stylize.errors import ImageError
from tests.image_helpers import save_noise


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save_noise(tmp_path / "photo.jpg")


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
