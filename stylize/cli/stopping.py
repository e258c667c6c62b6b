"""Ctrl-C during long work: it waits for a moment at which everything can be saved."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_between_steps(echo: float = 0.0) -> Iterator[Callable[[], None]]:
    """Make the first Ctrl-C (or SIGTERM) wait for the end of the step, where the run can be saved; a second does not.

    Args:
        echo: For so many seconds after the first one more are the same one, as under torchrun, where both the terminal
            and torchrun may send it.

    Yields:
        A function to call between steps, which raises KeyboardInterrupt when one came.
    """
    asked: float | None = None

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked is None:
            asked = time.monotonic()
        elif time.monotonic() - asked >= echo:
            raise KeyboardInterrupt

    def check() -> None:
        if asked is not None:
            raise KeyboardInterrupt

    try:
        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, as when the command is called from a program
        yield check
        return
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
