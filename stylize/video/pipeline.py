"""Reading ahead and writing behind while a frame is painted, in threads of their own."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

DEPTH = 3
"""Frames that wait on either side of the painter."""


@contextlib.contextmanager
def read_ahead(items: Iterator[Item], depth: int = DEPTH) -> Iterator[Iterator[Item]]:
    """Run an iterator in a thread of its own, a few items ahead of whoever takes them.

    Args:
        items: The iterator; it is used and closed in the thread alone.
        depth: Most items that wait.

    Yields:
        An iterator over the same items, in the same order; an error of the first is raised at its place.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Item | _End) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            put(_End())

    def taken() -> Iterator[Item]:
        while not isinstance(item := waiting.get(), _End):
            yield item
        running.result()  # raises what the work raised

    with ThreadPoolExecutor(1, "reading frames") as executor:
        running = executor.submit(work)
        try:
            yield taken()
        finally:
            stopped.set()


class _End:
    """Stands behind the last item."""


class WriteBehind:
    """Calls a function in a thread of its own, in order, a few calls behind.

    Args:
        function: What is called.
        depth: Most calls that wait.
    """

    def __init__(self, function: Callable[[Item], None], depth: int = DEPTH) -> None:
        self._function, self._depth = function, depth
        self._executor = ThreadPoolExecutor(1, "writing frames")
        self._waiting: deque[Future[None]] = deque()

    def __call__(self, item: Item) -> None:
        """Have the function called with ``item``; an error of an earlier call is raised."""
        while len(self._waiting) >= self._depth:
            self._waiting.popleft().result()
        self._waiting.append(self._executor.submit(self._function, item))

    def finish(self) -> None:
        """Wait for all calls; an error of one of them is raised."""
        while self._waiting:
            self._waiting.popleft().result()

    def stop(self) -> None:
        """End the thread after the call that runs; calls that wait are dropped."""
        self._waiting.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)
