"""A line in which whoever comes waits for those who came before, and sees how many they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stylize.errors import StylizeError

MOST_WAITING = 40
"""Most places of a line; whoever comes then is asked to come back later."""


class Stopped(StylizeError):
    """The user stopped the work, or left."""


@dataclass(frozen=True)
class Wait:
    """What a generator yields while it waits for its turn.

    Attributes:
        shown: What is shown meanwhile.
    """

    shown: Any


class Line:
    """Does one piece of work at a time; the places are those of the pieces that wait, in the order of their coming.

    Args:
        most: Most places, the one whose turn it is among them.

    Attributes:
        seconds_left: What the one whose turn it is still needs, where it says so.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.most = most
        self.seconds_left: float | None = None
        self._places: list[Place] = []
        self._lock = threading.Lock()

    def enter(self) -> Place:
        """Take the last place.

        Raises:
            StylizeError: There are too many already.
        """
        with self._lock:
            if len(self._places) >= self.most:
                raise StylizeError(f"{self.most} others are before you; please come back in some minutes")
            place = Place(self)
            self._places.append(place)
            return place

    def before(self, place: Place) -> int:
        """Return how many are before a place; 0: it is its turn."""
        with self._lock:
            return self._places.index(place) if place in self._places else 0

    def leave(self, place: Place) -> None:
        """Give a place up."""
        with self._lock:
            if place in self._places:
                if self._places[0] is place:
                    self.seconds_left = None
                self._places.remove(place)


class Place:
    """A place in a line, held while it is used as a context.

    Args:
        line: The line.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self._stop = threading.Event()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *error: object) -> None:
        self.line.leave(self)

    def stop(self) -> None:
        """Ask the one who waits to leave the line."""
        self._stop.set()

    def waiting(self) -> Iterator[int]:
        """Yield how many are before this place, again and again, until it is its turn.

        Raises:
            Stopped: It was asked to leave.
        """
        while True:
            if self._stop.is_set():
                raise Stopped("stopped")
            before = self.line.before(self)
            if before == 0:
                return
            yield before
