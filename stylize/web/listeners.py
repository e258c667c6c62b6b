"""Who listens to the answers. Gradio keeps them until somebody fetches them, so a program that asks for picture after
picture and fetches none would fill the memory."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from stylize.errors import StylizeError

MOST_UNHEARD = 4
"""Requests of a session that are worked on while it does not listen: it begins to a moment after its first."""

MOST_SESSIONS = 2000
"""Most sessions whose unheard requests are counted; so many Gradio keeps answers for, too."""


class Listeners:
    """Counts for each session the requests that were begun while it did not listen."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._unheard: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """Take note that a session listens meanwhile: it fetches all that is there for it."""
        with self._lock:
            self._open[session] += 1
            self._unheard.pop(session, None)
        try:
            yield
        finally:
            with self._lock:
                self._open[session] -= 1
                if self._open[session] <= 0:
                    del self._open[session]

    def asked(self, session: str) -> None:
        """Take note of a request.

        Raises:
            StylizeError: The session asks and asks, and does not listen.
        """
        with self._lock:
            if self._open[session] > 0:
                return
            count = self._unheard.pop(session, 0) + 1
            self._unheard[session] = min(count, MOST_UNHEARD + 1)
            while len(self._unheard) > MOST_SESSIONS:
                self._unheard.popitem(last=False)
        if count > MOST_UNHEARD:
            raise StylizeError("nobody fetches the answers to what was asked for; load the page again")
