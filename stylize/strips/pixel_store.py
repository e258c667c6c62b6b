"""The pixels of one large picture, 8 bits each, in memory or in a scratch file that leaves no trace.

Blocks go in at any place, strips of full width come out as often as they are asked for.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np

from stylize.errors import OutputError
from stylize.image_errors import reason_of, shown


class PixelStore:
    """A picture of ``height`` x ``width`` pixels of ``channels`` bytes.

    A scratch file has no name where the system allows that, so that it is gone however the process ends.

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 3 (RGB) or 4 (RGB and alpha).
        opaque: Whether every alpha value so far was 255.
    """

    def __init__(self, height: int, width: int, channels: int, *, in_memory: bool, scratch: Path | None = None) -> None:
        """Make an empty picture.

        Args:
            height: Pixels.
            width: Pixels.
            channels: 3 or 4.
            in_memory: Whether to hold it in memory instead of a scratch file.
            scratch: Folder of the scratch file; None is the system's folder for temporary files.

        Raises:
            OutputError: The scratch file cannot be made, or the disk has no room for it.
        """
        self.height, self.width, self.channels = height, width, channels
        self.opaque = True
        self._shape = (height, width, channels)
        self._array = np.zeros(self._shape, np.uint8) if in_memory else None
        self._file = None
        self._lock = threading.Lock()  # a file has one position
        if in_memory:
            return
        self._folder = Path(tempfile.gettempdir()) if scratch is None else scratch
        needed = height * width * channels
        try:
            free = shutil.disk_usage(self._folder).free
            if free < needed:
                raise self._failure(f"{free / 1e9:.1f} GB are free and {needed / 1e9:.1f} GB are needed")
            self._file = tempfile.TemporaryFile(prefix=".stylize-", dir=self._folder, buffering=0)
            self._file.truncate(needed)
        except OSError as error:
            self.close()
            raise self._failure(reason_of(error)) from None

    @property
    def bytes_held(self) -> int:
        """Bytes of memory that the pixels take."""
        return self._array.nbytes if self._array is not None else 0

    def put(self, top: int, left: int, block: np.ndarray) -> None:
        """Store a block of shape (h, w, channels), uint8.

        Raises:
            OutputError: The scratch disk is full.
        """
        if self.channels == 4 and self.opaque and block[..., 3].min() < 255:
            self.opaque = False
        height, width = block.shape[:2]
        if self._array is not None:
            self._array[top : top + height, left : left + width] = block
            return
        rows = [block] if width == self.width else list(block)
        try:
            with self._lock:
                for number, row in enumerate(rows):
                    self._file.seek(((top + number) * self.width + left) * self.channels)
                    data = memoryview(np.ascontiguousarray(row)).cast("B")
                    while data:  # a file without a buffer may take less than it was given
                        data = data[self._file.write(data) :]
        except OSError as error:
            raise self._failure(reason_of(error)) from None

    def get(self, top: int, bottom: int) -> np.ndarray:
        """Return the rows from ``top`` up to ``bottom`` as an array of shape (bottom - top, width, channels), uint8.

        It may be the store's own memory: it must not be written to.
        """
        if self._array is not None:
            return self._array[top:bottom]
        rows = np.empty((bottom - top, self.width, self.channels), np.uint8)
        data = memoryview(rows).cast("B")
        try:
            with self._lock:
                self._file.seek(top * self.width * self.channels)
                while data:
                    count = self._file.readinto(data)
                    if not count:
                        raise self._failure("it became shorter")
                    data = data[count:]
        except OSError as error:
            raise self._failure(reason_of(error)) from None
        return rows

    def close(self) -> None:
        """Let go of the pixels; a scratch file is removed."""
        self._array = None
        if self._file is not None:
            self._file.close()

    def _failure(self, reason: str) -> OutputError:
        advice = "make room, give another folder (TMPDIR) or allow more memory"
        return OutputError(f"the scratch file in {shown(self._folder)} cannot be used: {reason}; {advice}")
