"""How long painting a clip will take, measured on its first frame before it is begun."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from stylize.video.frames import Source
from stylize.video.segments import Painter, as_pixels, as_tensor

LONG_JOB = 3600.0
"""Seconds of estimated work from which the user is asked first."""

ENOUGH_FRAMES = 24
"""Clips up to so many frames are begun without an estimate: it would take as long as a part of them."""


def seconds_per_frame(source: Source, painter: Painter) -> float | None:
    """Return how long a frame takes, from its file to the painting; None for a clip without frames.

    The first frame is painted twice, and the second time counts: in the first one, memory is found and kernels are
    chosen. Writing overlaps with painting and is left out.

    Raises:
        InputError: The clip cannot be read.
    """
    frames: Iterator = source.frames()
    with closing(frames):
        first = next(frames, None)
    if first is None:
        return None
    painter.reset()
    for _ in range(2):
        begun = time.perf_counter()
        as_pixels(painter.paint(as_tensor(first.pixels)))
        seconds = time.perf_counter() - begun
    painter.reset()
    return seconds
