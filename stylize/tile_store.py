"""Where features wait between the passes over a picture: in memory or in a scratch file, as float32 or float16.

A scratch file has no name once it is open (on Windows: it is removed when it is closed), so nothing of it is left
however the run ends. It is read and written, not mapped: pages of a mapped file would count as memory of the process.
"""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import torch
from torch import Tensor

from stylize.errors import InputError, OutputError

NO_ROOM = {getattr(errno, name) for name in ("ENOSPC", "EFBIG", "EDQUOT") if hasattr(errno, name)}
"""Errors of a disk, or of a user's share of it, that is full."""

LARGEST_HALF = 2.0**15
"""The largest value that is stored as float16, which ends at 65504."""


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


class _Packing:
    """How rows are brought into float16 and back.

    float16 has 11 binary digits and ends at 65504. So each channel is stored as the distance from about its mean, which
    may be far from zero, and rows that are still too large are divided by a power of two.
    """

    def __init__(self, channels: int, height: int) -> None:
        self._offsets = torch.zeros(1, channels, height, 1)
        self._factors = torch.ones(height, 1)

    def pack(self, top: int, rows: Tensor) -> Tensor:
        """Return rows (1, C, h, W) that can be stored in float16."""
        rows = rows.to("cpu", torch.float32)
        bottom = top + rows.shape[2]
        # The mean of one row is near enough. A network that has gone wrong may have no finite one.
        offset = rows[:, :, :1].mean(3, keepdim=True).nan_to_num(0, 0, 0)
        rows = rows - offset
        # In the order of memory, or torch would make a copy in another one first.
        lowest, highest = (float(value) for value in rows.permute(0, 2, 3, 1).aminmax())
        largest, factor = max(-lowest, highest), 1.0
        if math.isfinite(largest) and largest > LARGEST_HALF:
            factor = 2.0 ** math.ceil(math.log2(largest / LARGEST_HALF))
            rows /= factor
        self._offsets[:, :, top:bottom] = offset
        self._factors[top:bottom] = factor
        return rows

    def unpack(self, top: int, rows: Tensor) -> Tensor:
        """Return rows (1, C, h, W), float32, from stored ones."""
        bottom = top + rows.shape[2]
        rows, factors = rows.float(), self._factors[top:bottom]
        if not bool((factors == 1).all()):
            rows *= factors
        return rows.add_(self._offsets[:, :, top:bottom])


def _packing(dtype: torch.dtype, channels: int, height: int) -> _Packing | None:
    return _Packing(channels, height) if dtype == torch.float16 else None


class MemoryStore:
    """A :class:`RowStore` in memory.

    Args:
        channels: C.
        height: H.
        width: W.
        dtype: ``torch.float32`` or ``torch.float16``.
    """

    def __init__(self, channels: int, height: int, width: int, dtype: torch.dtype) -> None:
        self._packing = _packing(dtype, channels, height)
        self._features = torch.empty((1, channels, height, width), dtype=dtype, memory_format=torch.channels_last)

    def write(self, top: int, rows: Tensor) -> None:
        """See :meth:`RowStore.write`."""
        packed = rows if self._packing is None else self._packing.pack(top, rows)
        self._features[:, :, top : top + rows.shape[2]] = packed

    def read(self, top: int, bottom: int) -> Tensor:
        """See :meth:`RowStore.read`."""
        rows = self._features[:, :, top:bottom]
        return rows if self._packing is None else self._packing.unpack(top, rows)


class ScratchStore:
    """A :class:`RowStore` in a file.

    Args:
        file: Opened for reading and writing, unbuffered.
        folder: Where it is, for messages.
        channels: C.
        height: H.
        width: W.
        dtype: ``torch.float32`` or ``torch.float16``.

    Raises:
        OutputError: By all methods too: the disk is full or broken.
    """

    def __init__(
        self, file: BinaryIO, folder: Path, channels: int, height: int, width: int, dtype: torch.dtype
    ) -> None:
        self._file, self._folder = file, folder
        self._channels, self._width, self._dtype = channels, width, dtype
        self._row_bytes = channels * width * dtype.itemsize
        self._size = self._row_bytes * height
        self._packing = _packing(dtype, channels, height)
        self._reserve()

    def write(self, top: int, rows: Tensor) -> None:
        """See :meth:`RowStore.write`."""
        packed = rows if self._packing is None else self._packing.pack(top, rows)
        # Rows lie one after the other in channels-last format, in memory as in the file.
        values = memoryview(packed.to("cpu", self._dtype)[0].permute(1, 2, 0).contiguous().numpy()).cast("B")
        with self._clear_errors():
            self._file.seek(top * self._row_bytes)
            while values:
                values = values[self._file.write(values) :]

    def read(self, top: int, bottom: int) -> Tensor:
        """See :meth:`RowStore.read`."""
        rows = torch.empty((bottom - top, self._width, self._channels), dtype=self._dtype)
        room = memoryview(rows.numpy()).cast("B")
        with self._clear_errors():
            self._file.seek(top * self._row_bytes)
            while room:
                count = self._file.readinto(room)
                if not count:
                    raise OSError(errno.EIO, "it is shorter than it was")
                room = room[count:]
        rows = rows.permute(2, 0, 1).unsqueeze(0)
        return rows if self._packing is None else self._packing.unpack(top, rows)

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
    dtype: torch.dtype,
) -> Iterator[RowStore]:
    """Yield a store that is gone when the block ends, however it ends.

    Args:
        place: Where features wait.
        folder: Folder of a scratch file; None for the system's folder for temporary files.
        channels: C.
        height: H.
        width: W.
        dtype: ``torch.float32`` or ``torch.float16``.

    Raises:
        InputError: The folder cannot be written.
        OutputError: The disk is full or broken.
    """
    if place == "memory":
        yield MemoryStore(channels, height, width, dtype)
        return
    folder = Path(tempfile.gettempdir() if folder is None else folder)
    try:
        file = tempfile.TemporaryFile(dir=folder, buffering=0, prefix=".stylize-")
    except OSError as error:
        raise InputError(
            f"cannot make a scratch file in {folder}: {error.strerror or error}; name a folder that can be written"
        ) from error
    with file:
        yield ScratchStore(file, folder, channels, height, width, dtype)
