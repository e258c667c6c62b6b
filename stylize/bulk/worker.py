"""One worker of a bulk run: it loads the network once and paints the photos it is given.

The picture of a photo is the one that ``stylize apply`` paints of it. While one photo is painted, the next is read and
the last one written, so that a worker holds at most :data:`PICTURES_AT_ONCE` of them; the pictures themselves never
travel between machines.
"""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from stylize.bulk.jobs import OPAQUE_SUFFIXES, Job
from stylize.bulk.manifest import Row
from stylize.bulk.settings import Settings, unpacked
from stylize.bulk.storage import Storage
from stylize.errors import ImageError, InputError, OutputError, StylizeError
from stylize.images import (
    WRITE_FORMATS,
    Picture,
    check_file_size,
    encode_image,
    read_picture,
    resize_long_edge,
)
from stylize.overlap import overlapped

if TYPE_CHECKING:
    from PIL import Image

PICTURES_AT_ONCE = 3
"""Photos that a worker holds at most: one that is read or was, one that is painted, and one that is written."""


@dataclass(frozen=True)
class Read:
    """A photo that was read.

    Attributes:
        picture: The photo at the size at which it is painted.
        digest: sha256 of its file.
        seconds: Time it took.
    """

    picture: Picture
    digest: str
    seconds: float


@dataclass(frozen=True)
class Painted:
    """A painted photo that is not yet written.

    Attributes:
        read: The photo.
        result: The painting, or the bytes of its file where it was painted in strips.
        seconds: Time it took to read and to paint.
    """

    read: Read
    result: Image.Image | bytes
    seconds: float


class Worker:
    """Paints photos with one network.

    Args:
        settings: What to paint with.
        files: The files of the style.
        output: Folder of the results.

    Raises:
        InputError: The engine is not installed.
        DeviceError: The device is not there.
        WeightsError: A file is damaged.
    """

    def __init__(self, settings: Settings, files: dict[Path, bytes], output: Storage) -> None:
        from stylize.stylizer import load

        self.settings, self.output = settings, output
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        with unpacked(settings.style, files) as style:
            self.stylizer = load(
                style,
                strength=settings.strength,
                device=settings.device,
                engine=settings.engine,
                precision=settings.precision,
            )

    def paint_all(self, jobs: Sequence[Job]) -> Iterator[Row]:
        """Paint photos and yield a line of the manifest for each, in order; one that fails does not stop the rest."""
        for job, outcome in overlapped(jobs, self.read, self.paint, self.write):
            yield job.row("failed", reason=str(outcome)) if isinstance(outcome, StylizeError) else outcome

    def read(self, job: Job) -> Read | Row:
        """Read a photo; return the line of the manifest where it is painted already.

        Raises:
            ImageError: It cannot be read.
        """
        begun, photo = time.perf_counter(), job.photo
        check_file_size(photo.entry.size, photo.label)
        try:
            data = photo.storage.read(photo.name)
        except MemoryError:
            raise ImageError(f"{photo.label}: not enough memory to read it; make it smaller first") from None
        digest = hashlib.sha256(data).hexdigest()
        if job.known == digest:
            return job.row("same")
        if job.begun and (found := self._painted_before(job, digest)) is not None:
            return found
        picture = read_picture(io.BytesIO(data), name=photo.label)
        if (size := self.settings.size) is not None:
            alpha = None if picture.alpha is None else resize_long_edge(picture.alpha, size)
            picture = replace(picture, image=resize_long_edge(picture.image, size), alpha=alpha)
        return Read(picture, digest, time.perf_counter() - begun)

    def _painted_before(self, job: Job, digest: str) -> Row | None:
        """Return the line of a photo that was painted by a worker that could not say so: it died, or its run did."""
        for name in (job.photo.output, job.alternative):
            if name and self.output.entry(name) is not None:
                data = self.output.read(name)
                return self._done(job, name, data, digest, None, found=True)
        return None

    def paint(self, job: Job, read: Read | Row) -> Painted | Row:
        """Paint a photo, in strips where it is too large for memory.

        Raises:
            StylizeError: There is not enough memory.
        """
        if not isinstance(read, Read):
            return read
        begun = time.perf_counter()
        picture = read.picture
        if self._wants_strips(job, picture.image.size):
            result: Image.Image | bytes = self._paint_strips(job, picture)
        else:
            result = self.stylizer.paint(picture.image, self.settings.controls)
        return Painted(read, result, read.seconds + time.perf_counter() - begun)

    def write(self, job: Job, painted: Painted | Row) -> Row:
        """Write a result, and return the line of the manifest.

        Raises:
            OutputError: It cannot be written, or another file has its name.
        """
        if not isinstance(painted, Painted):
            return painted
        begun, picture = time.perf_counter(), painted.read.picture
        name = self._result_name(job, picture)
        if not job.replaces and self.output.entry(name) is not None:
            if job.begun and (found := self._painted_before(job, painted.read.digest)) is not None:
                return found
            raise OutputError(f"'{name}' was not there when the run began and is there now; it is not replaced")
        if isinstance(painted.result, bytes):
            data = painted.result
        else:
            data = encode_image(painted.result, _format(name), alpha=picture.alpha, exif=picture.exif)
        self.output.write(name, data)
        seconds = painted.seconds + time.perf_counter() - begun
        size = dict(zip(("width", "height"), picture.image.size, strict=True))
        return self._done(job, name, data, painted.read.digest, round(seconds, 3), **size)

    def _result_name(self, job: Job, picture: Picture) -> str:
        """Return the name of the result of a photo, which is another one where that of a JPEG cannot hold its alpha."""
        name = job.photo.output
        if picture.alpha is None or PurePosixPath(name).suffix.lower() not in OPAQUE_SUFFIXES:
            return name
        if not job.alternative:
            raise OutputError(f"'{job.photo.label}' has alpha, but the name of its PNG is taken; rename the photo")
        return job.alternative

    def _done(self, job: Job, name: str, data: bytes, digest: str, seconds: float | None, **facts: object) -> Row:
        written = {"output_size": len(data), "output_sha256": hashlib.sha256(data).hexdigest()}
        told = {"seconds": seconds, "finished": round(time.time(), 3), "worker": self.name}
        return job.row("done", output=name, input_sha256=digest, **written, **told, **facts)

    def _wants_strips(self, job: Job, size: tuple[int, int]) -> bool:
        """Say whether a picture (width, height) is painted in strips.

        Raises:
            InputError: Memory asks for them, but what was asked for cannot be done in strips.
        """
        settings = self.settings
        if settings.tile == "off" or settings.controls.scale != 1:
            return False
        if isinstance(settings.tile, int):
            return True
        if self.stylizer.network is None:
            return False
        from stylize.large_pictures import needed_bytes

        limit = self._memory()
        if needed_bytes(self.stylizer, *size) <= limit:
            return False
        if not self.stylizer.can_paint_in_strips:
            raise InputError(
                f"'{job.photo.label}' ({size[0]}x{size[1]} px) is too large to be painted whole in "
                f"{limit / 1e6:,.0f} MB, and --strength {settings.strength:g}, which is made by the photo style, "
                "cannot be painted in strips: make it smaller with --size, or allow it more memory with --memory"
            )
        return True

    def _memory(self) -> int:
        """Return the bytes that a picture may take."""
        from stylize.large_pictures import default_memory

        return self.settings.memory or default_memory() // self.settings.workers

    def _paint_strips(self, job: Job, picture: Picture) -> bytes:
        """Paint a picture strip by strip, and return the bytes of its file."""
        from stylize.large_pictures import paint_large

        settings = self.settings
        with tempfile.TemporaryDirectory(prefix="stylize-") as folder:
            name = self._result_name(job, picture)
            path = Path(folder, f"result{PurePosixPath(name).suffix}")
            try:
                paint_large(
                    self.stylizer,
                    picture,
                    path,
                    memory=self._memory(),
                    strip=settings.tile if isinstance(settings.tile, int) else None,
                    statistics=settings.statistics,
                    dtype="float32" if settings.precision == "auto" else settings.precision,
                    finishing=lambda width, height: self.stylizer.finishing(settings.controls),
                )
            except StylizeError as error:
                # Nobody knows the file in the temporary folder.
                raise type(error)(str(error).replace(str(path), f"'{name}'")) from error
            return path.read_bytes()


def _format(name: str) -> str:
    return WRITE_FORMATS[PurePosixPath(name).suffix.lower()]
