"""A clip painted in segments of a few seconds, of which the finished ones are kept: stop at any moment, go on later.

What the painter knows of the frames so far is kept with each finished segment. So the next one is painted the same,
bit by bit, whether the work was stopped before it or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from stylize.errors import InputError
from stylize.images import to_image, to_tensor
from stylize.video.frames import Frame, Source
from stylize.video.other_streams import StreamReport
from stylize.video.pipeline import WriteBehind, read_ahead
from stylize.video.targets import Target
from stylize.video.work_folder import Segment, WorkFolder

SEGMENT_SECONDS = 8
SHORTEST, LONGEST = 24, 480
"""Frames of a segment: what is lost at most when the work is stopped."""


class Painter(Protocol):
    """What paints frame after frame."""

    def paint(self, frame: Tensor, elapsed: float | None = None) -> Tensor:
        """Paint a frame (1, 3, H, W), float32 RGB in [0, 1], so many seconds after the one before; same shape."""

    def reset(self) -> None:
        """Forget the frames before."""

    def state(self) -> dict[str, Tensor]:
        """Return what is known of the frames so far, to be kept in a file."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Know what another painter of the same settings knew when it returned ``state``."""


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes:
        frames: Frames that are painted, those of earlier runs among them.
        total: How many there are, more or less; None where nobody knows.
        segments: Segments that are finished.
        seconds: Since the painting began.
        painted: Frames painted in this run.
    """

    frames: int
    total: int | None
    segments: int
    seconds: float
    painted: int


@dataclass(frozen=True)
class Outcome:
    """What came of the work.

    Attributes:
        frames: Of the whole.
        painted: In this run.
        segments: Of the whole.
        resumed: Frames that an earlier run had painted.
        duration: Of the painted clip, in seconds.
        problems: What was missing or damaged in the clip.
        streams: What became of its other streams.
    """

    frames: int
    painted: int
    segments: int
    resumed: int
    duration: float
    problems: list[str]
    streams: list[StreamReport]


def segment_frames(rate: float) -> int:
    """Return how many frames a segment has, at so many frames per second."""
    return min(LONGEST, max(SHORTEST, round(SEGMENT_SECONDS * rate)))


def paint_segments(
    source: Source,
    target: Target,
    work: WorkFolder,
    painter: Painter,
    *,
    length: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Paint what is not painted yet, put the segments together and move the result to its place.

    Args:
        source: The clip.
        target: Where it goes.
        work: The folder of the finished segments, which the caller owns.
        painter: What paints.
        length: Frames of a segment; None is a few seconds (:func:`segment_frames`). Work goes on with the same number.
        on_progress: Called after each frame; what it raises stops the work, and what is finished is kept.

    Raises:
        InputError: The clip cannot be read.
        OutputError: The result cannot be written.
    """
    length = length or segment_frames(float(source.facts.rate))
    before = work.segments()
    if work.joined and not work.result.exists() and not target.place.exists():
        work.set_unjoined()  # It was in its place, and is gone from there.
    painting = _Painting(source, target, work, painter, length, before, on_progress)
    if not work.joined:
        if not (before and before[-1].last):
            painting.run()
        segments = work.segments()
        streams = target.join(work, segments)
        work.set_joined({"streams": [vars(one) for one in streams]})
    streams = [StreamReport(**facts) for facts in work.joined_facts()["streams"]]
    work.set_moving()
    target.move(work)
    segments = work.segments()
    ticks = [tick for one in segments for tick in one.ticks]
    usual = max(1, round(1 / (source.facts.rate * source.facts.time_base)))
    outcome = Outcome(
        frames=len(ticks),
        painted=painting.painted,
        segments=len(segments),
        resumed=sum(len(one.ticks) for one in before),
        duration=float((ticks[-1] - ticks[0] + (segments[-1].durations[-1] or usual)) * source.facts.time_base),
        problems=[problem for one in segments for problem in one.problems],
        streams=streams,
    )
    work.remove()
    return outcome


class _Painting:
    """The painting of the segments that are missing."""

    def __init__(
        self,
        source: Source,
        target: Target,
        work: WorkFolder,
        painter: Painter,
        length: int,
        finished: list[Segment],
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.source, self.target, self.work, self.painter = source, target, work, painter
        self.length, self.on_progress = length, on_progress
        self.ticks = [tick for one in finished for tick in one.ticks]
        self.number = len(finished)
        self.painted = 0
        self.started = time.perf_counter()

    def run(self) -> None:
        """Paint the missing segments, one after the other."""
        # From the last frame that is known already: it shows that reading goes on at the right place.
        last = self.ticks[-1] if self.ticks else None
        if last is None:
            self.painter.reset()
        else:
            self.painter.restore(self.work.state(self.number - 1))
        with read_ahead(self.source.frames(last)) as frames:
            known = next(frames, None) if last is not None else None
            following = next(frames, None)
            if following is None and last is None:
                raise InputError(f"no frame of {self.source.facts.name} lies in the part from --start to --end")
            # Nothing following is a clip that has become shorter: what is there is the whole.
            if following is None or (known is not None and known.tick != last):
                raise InputError(f"{self.source.facts.name} does not read as it did before; start anew")
            while following is not None:
                following = self._segment(chain([following], frames))

    def _segment(self, frames: Iterator[Frame]) -> Frame | None:
        """Paint one segment and return the frame after it, or None at the end of the clip."""
        self.work.discard(self.work.unfinished)
        writer = self.target.writer(self.work.unfinished)
        behind = WriteBehind(writer.add)
        ticks, durations, following = [], [], None
        before = self.ticks[-1] if self.ticks else None
        try:
            for frame in frames:
                if len(ticks) == self.length:
                    following = frame
                    break
                elapsed = None if before is None else float((frame.tick - before) * self.source.facts.time_base)
                painted = as_pixels(self.painter.paint(as_tensor(frame.pixels), elapsed))
                before = frame.tick
                behind(Frame(painted, frame.tick, frame.duration))
                ticks.append(frame.tick)
                durations.append(frame.duration)
                self._tell(len(ticks))
            behind.finish()
        except BaseException:
            # The encoder is in use until its thread has ended; only then may it be closed.
            behind.stop()
            writer.abandon()
            raise
        behind.stop()
        writer.close()
        last = following is None
        problems = tuple(self.source.problems) if last else ()
        state = {} if last else self.painter.state()
        self.work.keep(Segment(self.number, ticks, durations, last, problems), self.target.suffix, state)
        self.ticks += ticks
        self.number += 1
        return following

    def _tell(self, more: int) -> None:
        self.painted += 1
        if self.on_progress is not None:
            done, seconds = len(self.ticks) + more, time.perf_counter() - self.started
            self.on_progress(Progress(done, self.source.count, self.number, seconds, self.painted))


def as_tensor(pixels: np.ndarray) -> Tensor:
    """Return the pixels of a frame as the painter takes them."""
    return to_tensor(Image.fromarray(pixels))


def as_pixels(painted: Tensor) -> np.ndarray:
    """Return a painted frame as pixels (H, W, 3), uint8."""
    return np.asarray(to_image(painted))
