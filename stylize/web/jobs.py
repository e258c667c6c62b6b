"""Work that takes a while: in a thread of its own, with reports on the way, and stopped when nobody waits for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

Report = TypeVar("Report")
Result = TypeVar("Result")

LOOK_SECONDS = 0.1
"""Time between two looks at whether the work has ended."""


class Job(Generic[Report, Result]):
    """Runs ``work(report, stopped)``; iterating over the job gives the latest reports until the work has ended.

    Args:
        work: Called with a function that takes a report, and one that says whether the work is to stop. What it
            returns is :attr:`result`; what it raises is raised by the iteration.
    """

    def __init__(self, work: Callable[[Callable[[Report], None], Callable[[], bool]], Result]) -> None:
        self._work = work
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

    def __iter__(self) -> Iterator[Report]:
        with ThreadPoolExecutor(1, thread_name_prefix="stylize-web-job") as pool:
            ending = pool.submit(self._work, self._reports.put, self._stop.is_set)
            try:
                while not (ending.done() and self._reports.empty()):
                    with suppress(queue.Empty):
                        report = self._reports.get(timeout=LOOK_SECONDS)
                        while not self._reports.empty():
                            report = self._reports.get()  # only the latest is worth showing
                        yield report
            finally:  # Also where the page was closed and nobody asks for more; the pool waits for the end.
                self.stop()
            self.result = ending.result()


class Running:
    """The jobs that run, by the session that started them, so that a session can stop its own."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], Job] = {}
        self._lock = threading.Lock()

    def follow(self, session: str, kind: str, job: Job[Report, Result]) -> Iterator[Report]:
        """Iterate over a job that :meth:`stop` can stop meanwhile."""
        with self._lock:
            self._jobs[session, kind] = job
        try:
            yield from job
        finally:
            with self._lock:
                self._jobs.pop((session, kind), None)

    def stop(self, session: str, kind: str | None = None) -> None:
        """Stop the jobs of a session: those of a kind, or all."""
        with self._lock:
            for (whose, what), job in self._jobs.items():
                if whose == session and kind in (None, what):
                    job.stop()

    def stop_all(self) -> None:
        """Stop every job."""
        with self._lock:
            for job in self._jobs.values():
                job.stop()
