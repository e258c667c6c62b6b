"""A line in which whoever comes waits for those who came before, and sees how many they are.

Everybody has turns alike: somebody who asks for much stands behind those who ask for little, and somebody who found the
line full comes before those who ask again and again.

Reference for the order: Demers, Keshav and Shenker, Analysis and simulation of a fair queueing algorithm, 1989, with
turns of equal length.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stylize.errors import StylizeError

MOST_WAITING = 40
"""Most places of a line; whoever comes then is asked to come back later."""

MOST_OF_ONE = 8
"""Most places that one user has in a line: a page asks for less, also where somebody plays with all its controls."""

PROMISED_SECONDS = 60.0
"""How long a place is kept for a user who found the line full and has not come back."""

MOST_PROMISED = 3
"""Most users who found the line full and are remembered, in multiples of the places of the line."""


class Stopped(StylizeError):
    """The user stopped the work, or left."""


@dataclass(frozen=True)
class Wait:
    """What a generator yields while it waits for its turn.

    Attributes:
        shown: What is shown meanwhile.
        before: How many others have their turn before.
    """

    shown: Any
    before: int = 1


class Line:
    """Does one piece of work at a time.

    The order is that of fair queueing: each place has a number, the turns that everybody has had when it comes, or one
    more than its user's place before, whichever is more; the lowest number is next. So of several places of a user only
    the first is as good as those of others.

    Args:
        most: Most places, the one whose turn it is among them.

    Attributes:
        seconds_left: What the one whose turn it is still needs, where it says so.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.most = most
        self.seconds_left: float | None = None
        self._places: list[Place] = []
        self._turn: Place | None = None
        self._turns = 0.0
        """Turns that everybody has had: a turn of one of N users counts 1/N."""
        self._last: dict[str, float] = {}
        self._promised: dict[str, float] = {}
        """Users who found the line full, in their order, and until when a place is kept for them."""
        self._lock = threading.Lock()

    def enter(self, user: str | None = None) -> Place:
        """Take a place.

        Args:
            user: Whose it is; None: nobody else's.

        Raises:
            StylizeError: There are too many already, or too many of this user.
        """
        with self._lock:
            self._check_free(user)
            number = self._turns if user is None else max(self._turns, self._last.get(user, -1.0) + 1)
            place = Place(self, user, number)
            self._places.append(place)
            if user is not None:
                self._last = {who: last for who, last in self._last.items() if last + 1 > self._turns}
                self._last[user] = number
            return place

    def _check_free(self, user: str | None) -> None:
        """Raise StylizeError where no place is free, and keep the next one; the lock is held."""
        own = sum(place.user == user for place in self._places) if user is not None else 0
        if own >= MOST_OF_ONE:
            raise StylizeError(f"{own} of your own requests are waiting already; please come back when they are done")
        now = time.monotonic()
        self._promised = {who: until for who, until in self._promised.items() if until > now}
        known = list(self._promised)
        ahead = known.index(user) if user in self._promised else len(known)
        # Half of the places are kept at most, so that those who never come back do not close the line.
        if len(self._places) + min(ahead, self.most // 2) < self.most:
            self._promised.pop(user or "", None)
            return
        if user is not None and (user in self._promised or len(known) < MOST_PROMISED * self.most):
            self._promised[user] = now + PROMISED_SECONDS
        before = len(self._places) + ahead
        raise StylizeError(f"{before} others are before you, and no more can wait; please come back in a minute")

    def forget(self, user: str) -> None:
        """Keep no place any more for a user who has left; places that it has are given up by whoever holds them."""
        with self._lock:
            self._promised.pop(user, None)

    def before(self, place: Place) -> int:
        """Return how many are before a place; 0: it is its turn."""
        with self._lock:
            if place not in self._places:
                return 0
            if self._turn is None:
                self._turn = min(self._places, key=lambda one: one.number)  # of equal ones the first that came
            if place is self._turn:
                return 0
            order = [self._turn] + sorted(
                (one for one in self._places if one is not self._turn), key=lambda one: one.number
            )
            return order.index(place)

    def leave(self, place: Place) -> None:
        """Give a place up."""
        with self._lock:
            if place not in self._places:
                return
            if self._turn in (place, None):
                self.seconds_left = None
            if self._turn is place:
                self._turns += 1 / len({one.user or id(one) for one in self._places})
                self._turn = None
            self._places.remove(place)


class Place:
    """A place in a line, held while it is used as a context.

    Args:
        line: The line.
        user: Whose it is; None: nobody else's.
        number: The lowest number is next.
    """

    def __init__(self, line: Line, user: str | None, number: float) -> None:
        self.line, self.user, self.number = line, user, number
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
