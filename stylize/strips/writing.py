"""A large picture becomes a file row by row: the sink for tiles."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
from PIL import Image

from stylize.errors import InputError, OutputError
from stylize.image_errors import reason_of, shown
from stylize.image_writing import LONGEST_SIDE, WRITE_FORMATS, refuse_existing
from stylize.images import MAXIMUM_PIXELS, WRITE_SUFFIXES, encode_image, to_image
from stylize.strips.png import PngEncoder
from stylize.strips.tiff import TiffEncoder

if TYPE_CHECKING:
    from torch import Tensor

_STREAMED = {"PNG": PngEncoder, "TIFF": TiffEncoder}
_LONGEST_STREAMED = {"PNG": 2**31 - 1, "TIFF": 2**31 - 1}
_HELD_BYTES = {"JPEG": 8, "WEBP": 16}
"""Most bytes per pixel that Pillow and its encoder take for a picture that they need as a whole; measured."""

_BAND_PIXELS = 2**18
_BAND_BYTES = 64
"""Bytes per pixel of a band while it is rounded and its filters are chosen."""


class _Encoder(Protocol):
    def put(self, pixels: np.ndarray) -> None: ...

    def end(self) -> None: ...


class RowWriter:
    """Writes a picture from top to bottom into a file that gets its name when it is whole.

    Until then it has none where the system allows that, so that it is gone however the process ends; elsewhere it has a
    temporary one. As a context manager it removes the file unless :meth:`finish` was reached. Made by
    :func:`open_writer`.

    Attributes:
        height: Pixels.
        width: Pixels.
        alpha: Whether every strip comes with its alpha.
    """

    def __init__(self, path: Path, width: int, height: int, picture_format: str, *, alpha: bool, overwrite: bool,
                 exif: bytes | None) -> None:  # fmt: skip
        self.width, self.height, self.alpha = width, height, alpha
        self._name, self._overwrite, self._next = shown(path), overwrite, 0
        self._file: BinaryIO | None = None
        try:
            if path.is_symlink():
                path = Path(os.path.realpath(path))  # replace what the link points to, not the link
            self._path = path
            refuse_existing(path, self._name, overwrite)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary = path.parent / f".stylize-{secrets.token_hex(8)}.tmp"
            self._file = _open_without_name(path.parent)
            self._has_name = self._file is None
            if self._file is None:
                # os.open honours the umask, which the tempfile module does not.
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
                self._file = os.fdopen(os.open(self._temporary, flags, 0o666), "wb")
        except OSError as error:
            raise self._failure(error) from None
        with self._discarded_on_failure():
            if picture_format in _STREAMED:
                self._encoder: _Encoder = _STREAMED[picture_format](self._file, width, height, 3 + alpha, exif)
            else:
                self._encoder = _HeldEncoder(self._file, width, height, picture_format, alpha, exif)

    def write(self, top: int, rows: Tensor, alpha: np.ndarray | None = None) -> None:
        """Write the next strip.

        Args:
            top: Its first row; it must be the one after those written before.
            rows: (1, 3, h, width), floats, RGB in [0, 1]; clamped and rounded as :func:`stylize.images.to_image` does.
            alpha: (h, width), uint8, for a picture with alpha.

        Raises:
            InputError: The strip does not fit.
            OutputError: It cannot be written, as on a full disk; the temporary file is gone then.
        """
        count = rows.shape[-2]
        if self._file is None:
            raise InputError(f"{self._name} is closed: no more rows can be written to it")
        if top != self._next or top + count > self.height or rows.shape[-1] != self.width:
            size = f"{rows.shape[-1]} x {count} pixels at row {top}"
            problem = f"a strip of {size} does not fit a picture of {self.width} x {self.height}"
            raise InputError(f"{problem} at row {self._next}")
        if (alpha is not None) != self.alpha or (alpha is not None and alpha.shape != (count, self.width)):
            raise InputError(f"alpha of shape {getattr(alpha, 'shape', None)} does not fit a strip of {count} rows")
        band = max(1, _BAND_PIXELS // self.width)
        with self._discarded_on_failure():
            for start in range(0, count, band):
                pixels = np.asarray(to_image(rows[..., start : start + band, :]))
                if alpha is not None:
                    pixels = np.dstack([pixels, alpha[start : start + band]])
                self._encoder.put(pixels)
        self._next += count

    def finish(self) -> None:
        """Complete the file and give it its name.

        Raises:
            InputError: Rows are missing.
            OutputError: It cannot be written, or a file of that name has appeared; the temporary file is gone then.
        """
        if self._file is None or self._next != self.height:
            self.discard()
            raise InputError(f"{self._name} has {self._next} of {self.height} rows: it is not written")
        with self._discarded_on_failure():
            self._encoder.end()
            self._file.flush()
            os.fsync(self._file.fileno())
            if not self._has_name:
                _give_name(self._file, self._temporary)
                self._has_name = True
            self._file.close()
            refuse_existing(self._path, self._name, self._overwrite)
            with contextlib.suppress(OSError):
                os.chmod(self._temporary, stat.S_IMODE(os.stat(self._path).st_mode))
            os.replace(self._temporary, self._path)
        self._file = None
        del self._encoder

    def discard(self) -> None:
        """Remove the temporary file; after :meth:`finish` there is none."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            file.close()
        if self._has_name:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()

    @contextlib.contextmanager
    def _discarded_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # also when the user presses Ctrl-C
            self.discard()
            if isinstance(error, OSError):
                raise self._failure(error) from None
            raise

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"{self._name} cannot be written: {reason_of(error)}")


_OPEN_FILES = "/proc/self/fd"


def _open_without_name(folder: Path) -> BinaryIO | None:
    """Return a new file without a name in a folder, or None where there is no such thing (it takes Linux and a file
    system that knows it). A folder that cannot be written is found by whoever then tries it with a name."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir(_OPEN_FILES):
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), "wb")
    except OSError:
        return None


def _give_name(file: BinaryIO, path: Path) -> None:
    """Give a file without a name one; see open(2) about O_TMPFILE."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # Only with a folder does os.link make the system follow the link that stands for the open file.
        os.link(f"{_OPEN_FILES}/{file.fileno()}", path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


class _HeldEncoder:
    """Keeps a picture for a format whose encoder needs the whole of it: 4 bytes per pixel, and one for alpha."""

    def __init__(
        self, file: BinaryIO, width: int, height: int, picture_format: str, alpha: bool, exif: bytes | None
    ) -> None:
        self._file, self._format, self._exif, self._top = file, picture_format, exif, 0
        self._image = Image.new("RGB", (width, height))
        # Where the format has no alpha, each strip is laid over white at once.
        self._alpha = Image.new("L", (width, height)) if alpha and picture_format != "JPEG" else None

    def put(self, pixels: np.ndarray) -> None:
        strip = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
        if pixels.shape[2] == 4:
            alpha = Image.fromarray(np.ascontiguousarray(pixels[..., 3]))
            if self._alpha is not None:
                self._alpha.paste(alpha, (0, self._top))
            else:
                strip = Image.composite(strip, Image.new("RGB", strip.size, "white"), alpha)
        self._image.paste(strip, (0, self._top))
        self._top += len(pixels)

    def end(self) -> None:
        self._file.write(encode_image(self._image, self._format, alpha=self._alpha, exif=self._exif))


def open_writer(
    path: Path,
    width: int,
    height: int,
    *,
    alpha: bool,
    exif: bytes | None,
    overwrite: bool,
    memory: int | None = None,
) -> RowWriter:
    """Open a picture for writing from top to bottom; the suffix says the format.

    PNG and TIFF (a BigTIFF where it needs to be one) are written strip by strip. JPEG and WebP need the whole picture
    in memory. Everything that can be known beforehand is checked here.

    Args:
        path: Where to; missing folders are made.
        width: Pixels.
        height: Pixels.
        alpha: Whether strips will come with alpha; a JPEG lays them over white.
        exif: EXIF data, such as :attr:`stylize.images.Picture.exif`.
        overwrite: Replace an existing file.
        memory: Most bytes that writing may hold. None holds what the library can read as a whole
            (:data:`stylize.images.MAXIMUM_PIXELS`).

    Raises:
        InputError: The suffix is unknown, or the format cannot hold the picture or needs too much memory for it.
        OutputError: The file exists already, or it cannot be written.
    """
    path = Path(path)
    picture_format = _format_of(path)
    needed = held_bytes_to_write(path, width, height, alpha=alpha)
    if picture_format in _HELD_BYTES:
        problem = (
            f"{shown(path)}: {width} x {height} pixels as {picture_format} need about {needed / 1e6:,.0f} MB at once"
        )
        advice = "write a .tif or .png file, which are written in strips"
        if memory is not None and needed > memory:
            raise InputError(f"{problem}, {memory / 1e6:,.0f} MB are allowed; {advice}, or allow more memory")
        if memory is None and width * height > MAXIMUM_PIXELS:
            raise InputError(f"{problem}; {advice}")
    return RowWriter(path, width, height, picture_format, alpha=alpha, overwrite=overwrite, exif=exif)


def held_bytes_to_write(path: Path, width: int, height: int, *, alpha: bool = False) -> int:
    """Return the most memory that a writer of :func:`open_writer` holds, in bytes, the caller's strips not counted.

    Raises:
        InputError: The suffix is unknown, or the format cannot hold a picture of this size.
    """
    path = Path(path)
    picture_format = _format_of(path)
    if width < 1 or height < 1:
        raise InputError(f"{shown(path)}: {width} x {height} pixels hold nothing")
    longest = (LONGEST_SIDE | _LONGEST_STREAMED)[picture_format]
    if max(width, height) > longest:
        problem = f"{shown(path)}: {width} x {height} pixels are too many, {picture_format} holds up to {longest}"
        raise InputError(f"{problem} on a side; write a .png or .tif file")
    band = min(max(_BAND_PIXELS, width), width * height) * _BAND_BYTES
    held = _HELD_BYTES.get(picture_format, 0) + (5 if alpha and picture_format == "WEBP" else 0)
    return band + 2**21 + held * width * height


def _format_of(path: Path) -> str:
    picture_format = WRITE_FORMATS.get(path.suffix.lower())
    if picture_format is None:
        given = f"the suffix '{path.suffix}'" if path.suffix else "no suffix"
        raise InputError(f"{shown(path)} has {given}; pictures are written as {', '.join(sorted(WRITE_SUFFIXES))}")
    return picture_format
