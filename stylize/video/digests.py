"""A short name for the content of a file, which tells whether it is still the same one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

PART = 1 << 20
"""Bytes of one part."""

PARTS = 16


def file_digest(path: Path) -> str:
    """Return the sha256 of a file: of its size and 16 parts of a megabyte, spread from the beginning to the end.

    A clip of many gigabytes is not read for it. A file of up to 16 MB is read as a whole.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        starts = range(0, size, PART) if size <= PARTS * PART else spread(size)
        for start in starts:
            file.seek(start)
            digest.update(file.read(PART))
    return digest.hexdigest()


def spread(size: int) -> list[int]:
    """Return where the parts of a long file begin."""
    return [(size - PART) * part // (PARTS - 1) for part in range(PARTS)]


def folder_digest(paths: list[Path]) -> str:
    """Return the sha256 of the names, sizes and first kilobytes of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(f"{path.name} {os.fstat(file.fileno()).st_size}\n".encode())
            digest.update(file.read(4096))
    return digest.hexdigest()
