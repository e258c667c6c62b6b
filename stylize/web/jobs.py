"""Work that takes a while: in a thread of its own, with reports on the way, and stopped when nobody waits for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

Report = TypeVar("Report")
Result = TypeVar("Result")

LOOK_SECONDS = 0.1
"""Time between two looks at whether the work has ended."""


class Stoppable(Protocol):
    """Something that can be asked to stop."""

    def stop(self) -> None:
        """Ask it to stop."""


class Job(Generic[Report, Result]):
    """Runs ``work(report, stopped)``; iterating over the job gives the latest reports until the work has ended.

    Args:
        work: Called with a function that takes a report, and one that says whether the work is to stop. What it
            returns is :attr:`result`; what it raises is raised by the iteration.
        beat: Seconds after which the iteration gives None where there is nothing to report; None waits.
    """

    def __init__(
        self, work: Callable[[Callable[[Report], None], Callable[[], bool]], Result], beat: float | None = None
    ) -> None:
        self._work, self._beat = work, beat
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._stop = threading.Event()
        self.result: Result | None = None

    def stop(self) -> None:
        """Ask the work to stop; it does so at its next step."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether the work was asked to stop."""
        return self._stop.is_set()

    def __iter__(self) -> Iterator[Report | None]:
        with ThreadPoolExecutor(1, thread_name_prefix="stylize-web-job") as pool:
            ending = pool.submit(self._work, self._reports.put, self._stop.is_set)
            told = time.monotonic()
            try:
                while not (ending.done() and self._reports.empty()):
                    try:
                        report = self._reports.get(timeout=LOOK_SECONDS)
                        while not self._reports.empty():
                            report = self._reports.get()  # only the latest is worth showing
                    except queue.Empty:
                        if self._beat is None or time.monotonic() - told < self._beat:
                            continue
                        report = None
                    told = time.monotonic()
                    yield report
            finally:  # Also where the page was closed and nobody asks for more; the pool waits for the end.
                self.stop()
            self.result = ending.result()


class Running:
    """What runs or waits, by the session that started it, so that a session can stop its own and the end stops all."""

    def __init__(self) -> None:
        self._known: list[tuple[str, str, Stoppable]] = []
        self._ended = False
        self._lock = threading.Lock()

    @contextmanager
    def knowing(self, session: str, kind: str, work: Stoppable) -> Iterator[None]:
        """Let :meth:`stop` stop some work meanwhile."""
        entry = (session, kind, work)
        with self._lock:
            self._known.append(entry)
            if self._ended:
                work.stop()
        try:
            yield
        finally:
            with self._lock:
                self._known.remove(entry)

    def follow(self, session: str, kind: str, job: Job[Report, Result]) -> Iterator[Report | None]:
        """Iterate over a job that :meth:`stop` can stop meanwhile."""
        with self.knowing(session, kind, job):
            yield from job

    def stop(self, session: str, kind: str | None = None) -> None:
        """Stop the work of a session: that of a kind, or all."""
        with self._lock:
            for whose, what, work in self._known:
                if whose == session and kind in (None, what):
                    work.stop()

    def stop_all(self) -> None:
        """Stop all work, and what may still begin."""
        with self._lock:
            self._ended = True
            for _, _, work in self._known:
                work.stop()
