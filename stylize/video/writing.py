"""The frames of a segment out: into a video file of its own, or as pictures."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from stylize.errors import OutputError
from stylize.image_errors import reason_of
from stylize.images import write_image
from stylize.video.colour import Colour, from_rgb
from stylize.video.encoders import Encoder
from stylize.video.frames import Frame
from stylize.video.pyav import import_av


class SegmentWriter(ABC):
    """Writes the frames of one segment."""

    @abstractmethod
    def add(self, frame: Frame) -> None:
        """Write a frame.

        Raises:
            OutputError: It cannot be written.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish the segment.

        Raises:
            OutputError: It cannot be written.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Let go of a segment that will not be finished."""


class ClipSegmentWriter(SegmentWriter):
    """A segment as a video file of its own, in the container NUT, which keeps times exactly.

    Its times count from its first frame. Every segment begins with a picture that refers to none before it, and all
    have the same settings, so that they can be joined packet by packet.

    Args:
        path: The file.
        encoder: What encodes it.
        quality: As of x264.
        size: Width and height of the frames.
        time_base: One tick, in seconds.
        rate: Frames per second, on average.
        colour: What the written numbers mean.
        aspect: Width of a pixel over its height.
    """

    SUFFIX = ".nut"

    def __init__(
        self,
        path: Path,
        encoder: Encoder,
        quality: int,
        size: tuple[int, int],
        time_base: Fraction,
        rate: Fraction,
        colour: Colour,
        aspect: Fraction,
    ) -> None:
        av = import_av()
        self._time_base, self._colour = time_base, colour
        self._first: int | None = None
        self._padding = tuple(edge % 2 if encoder.even else 0 for edge in size)
        try:
            self._container = av.open(str(path), "w", format="nut")
            stream = self._container.add_stream(encoder.name, rate=rate.limit_denominator(1001000))
            stream.width, stream.height = (edge + more for edge, more in zip(size, self._padding, strict=True))
            stream.pix_fmt = "yuv420p"
            stream.options = encoder.settings(quality)
            context = stream.codec_context
            context.time_base = time_base
            context.sample_aspect_ratio = aspect
            context.colorspace, context.color_range = colour.matrix, colour.range
            context.color_primaries, context.color_trc = colour.primaries, colour.transfer
            self._stream = stream
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputError(f"cannot encode with {encoder.name}: {reason_of(error)}") from error

    def add(self, frame: Frame) -> None:
        """Write a frame; an odd last row or column is doubled where the encoder needs even sizes."""
        wide, high = self._padding
        pixels = frame.pixels
        if wide or high:
            pixels = np.pad(pixels, ((0, high), (0, wide), (0, 0)), mode="edge")
        picture = from_rgb(pixels, self._colour, "yuv420p")
        if self._first is None:
            self._first = frame.tick
        picture.pts, picture.time_base = frame.tick - self._first, self._time_base
        self._encode(picture)

    def close(self) -> None:
        """Finish the segment."""
        self._encode(None)
        with told("the clip"):
            self._container.close()

    def abandon(self) -> None:
        """Close the file, whatever state it is in."""
        with contextlib.suppress(import_av().error.FFmpegError):
            self._container.close()

    def _encode(self, picture: object | None) -> None:
        with told("the clip"):
            for packet in self._stream.encode(picture):
                self._container.mux(packet)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what FFmpeg raises while writing into an OutputError that names ``what``."""
    try:
        yield
    except import_av().error.FFmpegError as error:
        raise OutputError(f"{what} cannot be written: {reason_of(error)}") from error


class PictureSegmentWriter(SegmentWriter):
    """A segment as a folder of pictures, called by their number in the segment.

    Args:
        path: The folder, which is made.
        suffix: Of the pictures.
    """

    def __init__(self, path: Path, suffix: str) -> None:
        path.mkdir()
        self._path, self._suffix, self._count = path, suffix, 0

    def add(self, frame: Frame) -> None:
        """Write a frame."""
        write_image(Image.fromarray(frame.pixels), self._path / f"{self._count:06d}{self._suffix}")
        self._count += 1

    def close(self) -> None:
        """Nothing is left to do: every picture is written whole."""

    def abandon(self) -> None:
        """Nothing is open; the folder is removed by whoever made it be."""
