"""Which pictures a folder holds."""

from __future__ import annotations

import os
from pathlib import Path

from stylize.errors import ImageError
from stylize.image_errors import reason_of, shown

READ_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif")
)
"""Suffixes that :func:`find_images` collects, in lower case."""


def find_images(folder: Path | str) -> list[Path]:
    """Return the pictures in a folder and its subfolders, sorted, by suffix (:data:`READ_SUFFIXES`, in any case).

    Hidden files and folders are left out. Links are followed; a folder that is reached twice is read once, by its
    own name where that lies inside, so a link that leads back up does no harm.

    Returns:
        Paths that start with ``folder``; an empty list where there are no pictures.

    Raises:
        ImageError: The folder, or one inside it, cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.is_file() else "is no folder: there is nothing of that name"
        raise ImageError(f"{shown(folder)} {problem}")
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [folder], []
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.startswith("."):
                        continue
                    path = current / entry.name
                    if path.is_dir():
                        (links if entry.is_symlink() else folders).append(path)
                    elif path.suffix.lower() in READ_SUFFIXES and path.is_file():
                        found.append(path)
        except OSError as error:
            raise ImageError(f"the folder {shown(current)} cannot be read: {reason_of(error)}") from None
    return sorted(found)
