"""What a painted clip is written as: a video file, an animation, or pictures in a folder."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stylize.errors import InputError, OutputError
from stylize.image_errors import shown
from stylize.images import WRITE_SUFFIXES, read_image, write_image
from stylize.video import animations
from stylize.video.animations import check_animation, write_animation
from stylize.video.encoders import (
    CLIP_SUFFIXES,
    DEFAULT_QUALITY,
    QUALITY_RANGE,
    choose_encoder,
    estimated_bytes,
)
from stylize.video.frame_folders import output_pattern, read_pattern
from stylize.video.frames import CLIP, Source
from stylize.video.joining import durations_of, join_clip
from stylize.video.other_streams import LEFT_OUT, StreamReport
from stylize.video.pyav import import_av
from stylize.video.reading import open_clip
from stylize.video.work_folder import Segment, WorkFolder
from stylize.video.writing import ClipSegmentWriter, PictureSegmentWriter, SegmentWriter

PNG = ".png"


class Target(ABC):
    """Where a painted clip goes.

    Args:
        output: The file or the folder, or a pattern.
        source: What is painted.

    Attributes:
        place: The file or the folder itself.
        notes: What the user should know.
        suffix: Of the file or the folder of a segment.
    """

    suffix = ""

    def __init__(self, output: Path, source: Source) -> None:
        self.place = output
        self.source = source
        self.notes: list[str] = []

    @property
    def settings(self) -> dict[str, Any]:
        """What decides how the frames are written; plain JSON values."""
        return {}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is written."""
        return self.source.width, self.source.height

    @abstractmethod
    def writer(self, path: Path) -> SegmentWriter:
        """Return what writes the frames of a segment."""

    @abstractmethod
    def join(self, work: WorkFolder, segments: Sequence[Segment]) -> list[StreamReport]:
        """Put the finished segments together as ``work.result``; returns what became of the other streams."""

    def move(self, work: WorkFolder) -> None:
        """Move the result to its place, replacing what is there.

        Raises:
            OutputError: It cannot be moved.
        """
        with work.writing():
            if work.result.exists():
                os.replace(work.result, self.place)

    def estimated_bytes(self, frames: int) -> int | None:
        """Return how large the result will be, roughly; None where there is no saying."""
        return None

    def check_free(self, overwrite: bool) -> None:
        """Refuse a place that is taken.

        Raises:
            OutputError: It is, or it is a folder, or it cannot be written.
        """
        if self.place.is_dir():
            raise OutputError(f"{shown(self.place)} is a folder; give a file name, such as -o painted.mp4")
        if self.place.exists() and not overwrite:
            raise OutputError(f"{shown(self.place)} exists already; --overwrite replaces it, -o chooses another name")

    def _parts(self, work: WorkFolder, segments: Sequence[Segment]) -> list[Path]:
        return [work.part(one.number, self.suffix) for one in segments]


class ClipTarget(Target):
    """A video file with the sound of the clip.

    Args:
        output: The file.
        source: What is painted.
        quality: As of x264.
    """

    suffix = ClipSegmentWriter.SUFFIX

    def __init__(self, output: Path, source: Source, quality: int = DEFAULT_QUALITY) -> None:
        super().__init__(output, source)
        if not QUALITY_RANGE[0] <= quality <= QUALITY_RANGE[1]:
            raise InputError(f"quality {quality} given; {QUALITY_RANGE[0]} (best) to {QUALITY_RANGE[1]} is accepted")
        self.quality = quality
        self.encoder, note = choose_encoder(output.suffix, import_av().codecs_available)
        if note is not None:
            self.notes.append(note)
        if self.size != (source.width, source.height):
            self.notes.append(
                f"{self.encoder.label} needs even sizes: {source.width}x{source.height} px are written as "
                f"{self.size[0]}x{self.size[1]} px, with the last row or column twice"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Encoder and quality."""
        return {"encoder": self.encoder.name, "quality": self.quality}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is written."""
        more = 1 if self.encoder.even else 0
        return self.source.width + self.source.width % 2 * more, self.source.height + self.source.height % 2 * more

    def writer(self, path: Path) -> SegmentWriter:
        """Return what encodes the frames of a segment."""
        facts = self.source.facts
        return ClipSegmentWriter(
            path,
            self.encoder,
            self.quality,
            (self.source.width, self.source.height),
            facts.time_base,
            facts.rate,
            facts.colour.written,
            facts.aspect,
        )

    def join(self, work: WorkFolder, segments: Sequence[Segment]) -> list[StreamReport]:
        """Join the segments without encoding them again, and add the sound."""
        facts, span = self.source.facts, self.source.span
        output_format = CLIP_SUFFIXES[self.place.suffix.lower()]
        return join_clip(work.result, output_format, facts, span, segments, self._parts(work, segments))

    def estimated_bytes(self, frames: int) -> int | None:
        """Return how large the pictures will be, without the sound."""
        return estimated_bytes(self.source.width, self.source.height, frames, self.quality)


class AnimationTarget(Target):
    """An animated GIF or WebP.

    Args:
        output: The file.
        source: What is painted.
    """

    def __init__(self, output: Path, source: Source) -> None:
        super().__init__(output, source)
        check_animation(output, source.width, source.height, source.count)

    def writer(self, path: Path) -> SegmentWriter:
        """Return what writes the frames without loss, until they are put together."""
        return PictureSegmentWriter(path, PNG)

    def join(self, work: WorkFolder, segments: Sequence[Segment]) -> list[StreamReport]:
        """Put the pictures together."""
        facts = self.source.facts
        ticks = [tick for one in segments for tick in one.ticks]
        given = [duration for one in segments for duration in one.durations]
        usual = max(1, round(1 / (facts.rate * facts.time_base)))
        lasting = durations_of(ticks, given, usual)
        # From the times themselves, so that rounding does not add up.
        ends = [
            round((tick + one - ticks[0]) * facts.time_base * 1000) for tick, one in zip(ticks, lasting, strict=True)
        ]
        durations = [max(1, end - before) for before, end in zip([0, *ends], ends, strict=False)]
        pictures = [
            part / f"{number:06d}{PNG}"
            for part, one in zip(self._parts(work, segments), segments, strict=True)
            for number in range(len(one.ticks))
        ]
        write_animation(work.result, self.place.name, pictures, durations)
        return left_out(self.source, "an animation has no sound")


class PicturesTarget(Target):
    """Pictures in a folder.

    Args:
        output: The folder, or a pattern.
        source: What is painted.
    """

    def __init__(self, output: Path, source: Source) -> None:
        self.pattern, self._names = output_pattern(output, source)
        super().__init__(self.pattern.folder if read_pattern(output) is not None else output, source)

    @property
    def settings(self) -> dict[str, Any]:
        """How the pictures are called."""
        return {"names": self.pattern.name(0), "own_names": bool(self._names)}

    def writer(self, path: Path) -> SegmentWriter:
        """Return what writes the frames."""
        return PictureSegmentWriter(path, PNG if self._names else self.pattern.suffix)

    def check_free(self, overwrite: bool) -> None:
        """Refuse a folder with something in it."""
        if self.place.is_file():
            raise OutputError(f"{shown(self.place)} is a file; give a folder")
        if self.place.is_dir() and any(self.place.iterdir()) and not overwrite:
            raise OutputError(
                f"the folder {shown(self.place)} is not empty; --overwrite replaces pictures of the same names, -o "
                "chooses another one"
            )

    def join(self, work: WorkFolder, segments: Sequence[Segment]) -> list[StreamReport]:
        """Give every picture its name."""
        work.discard(work.result)
        with work.writing():
            work.result.mkdir()
            for segment, part in zip(segments, self._parts(work, segments), strict=True):
                files = sorted(part.iterdir())
                for tick, number, file in zip(segment.ticks, self._numbers(segment, segments), files, strict=True):
                    self._place(file, work.result / self._name(tick, number))
        return left_out(self.source, "pictures have no sound")

    def move(self, work: WorkFolder) -> None:
        """Move the pictures to their folder, one by one where it is there already."""
        with work.writing():
            if not work.result.exists():
                return
            self.place.mkdir(parents=True, exist_ok=True)
            for file in sorted(work.result.iterdir()):
                os.replace(file, self.place / file.name)

    def _numbers(self, segment: Segment, segments: Sequence[Segment]) -> range:
        before = sum(len(one.ticks) for one in segments[: segment.number])
        return range(before + 1, before + 1 + len(segment.ticks))

    def _name(self, tick: int, number: int) -> str:
        # A tick of a folder is the number of its picture.
        return self._names[tick] if self._names else self.pattern.name(number)

    def _place(self, file: Path, target: Path) -> None:
        """Copy a picture, in the format of its name."""
        if file.suffix.lower() == target.suffix.lower():
            try:
                os.link(file, target)
            except OSError:  # A file system without links.
                shutil.copyfile(file, target)
            return
        write_image(read_image(file), target)


def left_out(source: Source, why: str) -> list[StreamReport]:
    """Return what becomes of the sound of a clip where there is no place for it."""
    if source.facts.kind != CLIP:
        return []
    with open_clip(source.facts.path) as container:
        return [
            StreamReport(one.type, one.codec_context.name if one.codec_context else "unknown", LEFT_OUT, why)
            for one in container.streams
            if one.type in ("audio", "subtitle")
        ]


def open_target(output: str, source: Source, quality: int = DEFAULT_QUALITY) -> Target:
    """Return where a painted clip goes, by the name of it.

    Args:
        output: A file whose suffix says the format; or a folder, or a pattern, for pictures.
        source: What is painted.
        quality: Of a video file, as of x264.

    Raises:
        InputError: A suffix that is not known, or something that the format cannot hold.
    """
    path = Path(output)
    suffix = path.suffix.lower()
    if read_pattern(path) is not None:
        return PicturesTarget(path, source)
    if path.is_dir() or output.endswith(("/", os.sep)) or not suffix:
        return PicturesTarget(path, source)
    if suffix in CLIP_SUFFIXES:
        return ClipTarget(path, source, quality)
    if suffix in animations.SUFFIXES:
        return AnimationTarget(path, source)
    if suffix in WRITE_SUFFIXES:
        raise InputError(
            f"'{output}' is the name of one picture; for frames give a folder, or a name with a number: "
            f"{path.stem}%04d{path.suffix}"
        )
    known = ", ".join([*CLIP_SUFFIXES, *animations.SUFFIXES])
    raise InputError(f"cannot write '{output}': its name must end in {known}, or be a folder for pictures")
