"""Where features wait between the passes over a picture: in memory or in a scratch file.

A scratch file has no name once it is open (on Windows: it is removed when it is closed), so nothing of it is left
however the run ends. It is read and written, not mapped: pages of a mapped file would count as memory of the process.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import torch
from torch import Tensor

from stylize.errors import InputError, OutputError
from stylize.tiles.encoding import StoredAs, chunk_rows, make_encoding

NO_ROOM = {getattr(errno, name) for name in ("ENOSPC", "EFBIG", "EDQUOT") if hasattr(errno, name)}
"""Errors of a disk, or of a user's share of it, that is full."""


class RowStore(Protocol):
    """Features (1, C, H, W) whose rows can be written and read again."""

    def write(self, top: int, rows: Tensor) -> None:
        """Write rows (1, C, h, W) at ``top``, of any device and floating dtype."""
        ...

    def read(self, top: int, bottom: int) -> Tensor:
        """Return rows (1, C, bottom - top, W), float32, channels-last, on the CPU.

        They may be a view of the store, to be used before the same rows are written again.
        """
        ...


class MemoryStore:
    """A :class:`RowStore` in memory.

    Args:
        channels: C.
        height: H.
        width: W.
        stored: What features are kept as.
    """

    def __init__(self, channels: int, height: int, width: int, stored: StoredAs) -> None:
        self._shape, self._chunk = (width, channels), chunk_rows(channels, width)
        self._encoding = make_encoding(stored, channels, width)
        self._room = torch.empty((height, self._encoding.row_bytes), dtype=torch.uint8)

    def write(self, top: int, rows: Tensor) -> None:
        """See :meth:`RowStore.write`."""
        rows = _pixels(rows)
        room = self._room[top : top + len(rows)]
        for chunk, place in zip(rows.split(self._chunk), room.split(self._chunk), strict=True):
            self._encoding.encode(chunk, place)

    def read(self, top: int, bottom: int) -> Tensor:
        """See :meth:`RowStore.read`."""
        room = self._room[top:bottom]
        rows = self._encoding.view(room)
        if rows is None:
            rows = torch.empty((bottom - top, *self._shape))
            for chunk, place in zip(rows.split(self._chunk), room.split(self._chunk), strict=True):
                self._encoding.decode(place, chunk)
        return _features(rows)


class ScratchStore:
    """A :class:`RowStore` in a file.

    Args:
        file: Opened for reading and writing, unbuffered.
        folder: Where it is, for messages.
        channels: C.
        height: H.
        width: W.
        stored: What features are kept as.

    Raises:
        OutputError: By all methods too: the disk is full or broken.
    """

    def __init__(self, file: BinaryIO, folder: Path, channels: int, height: int, width: int, stored: StoredAs) -> None:
        self._file, self._folder = file, folder
        self._shape, self._chunk = (width, channels), chunk_rows(channels, width)
        self._encoding = make_encoding(stored, channels, width)
        self._size = self._encoding.row_bytes * height
        self._reserve()

    def write(self, top: int, rows: Tensor) -> None:
        """See :meth:`RowStore.write`."""
        rows = _pixels(rows)
        room = self._chunk_room(len(rows))
        with self._clear_errors():
            self._file.seek(top * self._encoding.row_bytes)
            for chunk in rows.split(self._chunk):
                self._encoding.encode(chunk, room[: len(chunk)])
                values = memoryview(room[: len(chunk)].numpy()).cast("B")
                while values:
                    values = values[self._file.write(values) :]

    def read(self, top: int, bottom: int) -> Tensor:
        """See :meth:`RowStore.read`."""
        rows = torch.empty((bottom - top, *self._shape))
        room = self._chunk_room(len(rows))
        with self._clear_errors():
            self._file.seek(top * self._encoding.row_bytes)
            for chunk in rows.split(self._chunk):
                values = memoryview(room[: len(chunk)].numpy()).cast("B")
                while values:
                    count = self._file.readinto(values)
                    if not count:
                        raise OSError(errno.EIO, "it is shorter than it was")
                    values = values[count:]
                self._encoding.decode(room[: len(chunk)], chunk)
        return _features(rows)

    def _chunk_room(self, rows: int) -> Tensor:
        """Return room for the bytes of as many of some rows as are converted at once."""
        return torch.empty((min(rows, self._chunk), self._encoding.row_bytes), dtype=torch.uint8)

    def _reserve(self) -> None:
        """Take the room on the disk now, where the system can: better to fail at once than after hours."""
        if not hasattr(os, "posix_fallocate"):
            return
        with self._clear_errors():
            try:
                os.posix_fallocate(self._file.fileno(), 0, self._size)
            except OSError as error:
                # Some file systems cannot reserve; they tell when a write finds no room.
                if error.errno in NO_ROOM:
                    raise

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "not enough room" if error.errno in NO_ROOM else error.strerror or str(error)
            raise OutputError(
                f"scratch file in {self._folder}: {reason}; it takes {self._size / 1e6:,.1f} MB; "
                "name another folder for it, or allow more memory"
            ) from error


@contextmanager
def open_store(
    place: Literal["memory", "scratch"],
    folder: Path | None,
    channels: int,
    height: int,
    width: int,
    stored: StoredAs,
) -> Iterator[RowStore]:
    """Yield a store that is gone when the block ends, however it ends.

    Args:
        place: Where features wait.
        folder: Folder of a scratch file; None for the system's folder for temporary files.
        channels: C.
        height: H.
        width: W.
        stored: What features are kept as.

    Raises:
        InputError: The folder cannot be written.
        OutputError: The disk is full or broken.
    """
    if place == "memory":
        yield MemoryStore(channels, height, width, stored)
        return
    folder = Path(tempfile.gettempdir() if folder is None else folder)
    try:
        file = tempfile.TemporaryFile(dir=folder, buffering=0, prefix=".stylize-")
    except OSError as error:
        kind = OutputError if error.errno in NO_ROOM else InputError
        raise kind(
            f"cannot make a scratch file in {folder}: {error.strerror or error}; name a folder that can be written"
        ) from error
    with file:
        yield ScratchStore(file, folder, channels, height, width, stored)


def _pixels(features: Tensor) -> Tensor:
    """Return features (1, C, h, W) as (h, W, C), which is how they lie in memory in channels-last format."""
    return features[0].permute(1, 2, 0)


def _features(pixels: Tensor) -> Tensor:
    """Return (h, W, C) as features (1, C, h, W)."""
    return pixels.permute(2, 0, 1).unsqueeze(0)
