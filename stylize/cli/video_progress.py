"""How far the painting of a clip is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

from stylize.video.times import format_time

if TYPE_CHECKING:
    from tqdm import tqdm

    from stylize.video.segments import Progress

LINE_SECONDS = 10.0
"""Between two lines, where there is no terminal."""


class ProgressLine:
    """Shows progress; a context, and a function to call after each frame.

    Args:
        total: Frames of the whole, more or less; None where nobody knows.
        done: Frames that an earlier run painted.
        quiet: Whether nothing is shown.
    """

    def __init__(self, total: int | None, done: int, quiet: bool = False) -> None:
        self._total, self._done, self._quiet = total, done, quiet
        self._bar: tqdm | None = None
        self._spoken = 0.0

    def __enter__(self) -> ProgressLine:
        if not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm

            known = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} frames [{elapsed}<{remaining}, {rate_fmt}]"
            unknown = "{n_fmt} frames [{elapsed}, {rate_fmt}]"
            self._bar = tqdm(
                total=self._total,
                initial=self._done,
                file=sys.stderr,
                unit=" frames",
                bar_format=unknown if self._total is None else known,
                dynamic_ncols=True,
            )
        self._spoken = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        """Take note of a painted frame."""
        if self._bar is not None:
            self._bar.update()
            return
        now = time.perf_counter()
        if not self._quiet and now - self._spoken >= LINE_SECONDS:
            self._spoken = now
            click.echo(progress_text(progress), err=True)


def progress_text(progress: Progress) -> str:
    """Return how far the work is, in words."""
    rate = progress.painted / max(progress.seconds, 1e-9)
    if progress.total is None:
        return f"{progress.frames:,} frames, {rate:.1f} frames per second"
    # The count is an estimate for some clips: what is beyond it has no time left to tell.
    left = max(0, progress.total - progress.frames)
    share = min(100, 100 * progress.frames // max(1, progress.total))
    return (
        f"{progress.frames:,} of {progress.total:,} frames ({share} %), {rate:.1f} frames per second, "
        f"{format_time(left / max(rate, 1e-9))} left"
    )
