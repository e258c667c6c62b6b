"""A crowd of visitors of the web page who come at once, and what happened to them."""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from stylize.web.painting import SAME_STROKES
from tests.web_visitors import SAME, TIMEOUT, Dropped, Failed, Page, Session, Subject, break_off_upload, difference

FULL = ("before you", "waiting already")
"""Words of the messages that ask a visitor to come back later."""

RETRY_SECONDS = 1.0
"""How long a visitor who was asked to come back waits."""


@dataclass(frozen=True)
class Turn:
    """Something that a visitor asked for and got.

    Attributes:
        visitor: Who.
        line: Which line it stood in for that.
        asked: When it asked for the first time, in seconds.
        got: When it had it.
    """

    visitor: int
    line: str
    asked: float
    got: float


def overtaken(turns: Sequence[Turn]) -> list[int]:
    """Return for each turn how many turns one other visitor had meanwhile, of those that it asked for later and in the
    same line; of the visitor who had most."""
    found = []
    for turn in turns:
        others = Counter(
            one.visitor
            for one in turns
            if one.line == turn.line and one.visitor != turn.visitor and one.asked > turn.asked and one.got < turn.got
        )
        found.append(max(others.values(), default=0))
    return found


@dataclass
class Counts:
    """What happened to visitors.

    Attributes:
        jobs: Paintings that came back and are right, for each visitor.
        mixed_up: Paintings that came back and are not those of the photo.
        full: Times that a visitor was asked to come back later.
        failed: Other errors, by their text.
        waits: Seconds from asking for a painting to having it, refusals among them.
        turns: What was asked for and given.
        visits: Sessions that were begun.
        left: Visitors who left in the middle.
        rubbish: Rubbish that was sent, by the kind of answer.
    """

    jobs: Counter[int] = field(default_factory=Counter)
    mixed_up: list[str] = field(default_factory=list)
    full: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    visits: int = 0
    left: int = 0
    rubbish: Counter[str] = field(default_factory=Counter)


class Crowd:
    """Visitors who come at once and stay until the time is over.

    Args:
        page: The page.
        seconds: How long they ask for more.
    """

    def __init__(self, page: Page, seconds: float) -> None:
        self.page, self.counts, self._lock = page, Counts(), threading.Lock()
        self._seconds, self._end, self._threads = seconds, 0.0, list[threading.Thread]()

    def add(self, work: Any, *values: Any) -> None:
        """Let one more come, who does some work."""
        self._threads.append(threading.Thread(target=work, args=values, daemon=True))

    def run(self) -> Counts:
        """Let them all come, and return what happened when all have gone."""
        self._end = time.monotonic() + self._seconds
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join(self._seconds + 2 * TIMEOUT)
        alive = sum(thread.is_alive() for thread in self._threads)
        if alive:
            self.counts.failed["visitors who wait still"] += alive
        return self.counts

    @property
    def goes_on(self) -> bool:
        """Whether there is time for more."""
        return time.monotonic() < self._end

    def painter(self, visitor: int, style: str, subjects: Sequence[Subject], jobs_of_a_visit: int = 8) -> None:
        """Paint photo after photo; every so many, close the page and open it again."""
        done, session = 0, None
        while self.goes_on:
            try:
                if session is None:
                    with self._lock:
                        self.counts.visits += 1
                    session = Session(self.page)
                    session.choose(style)
                self._paint(visitor, session, subjects[done % len(subjects)])
            except (Failed, Dropped, OSError, http.client.HTTPException, ValueError) as error:
                with self._lock:
                    self.counts.failed[f"{type(error).__name__}: {error}"] += 1
                time.sleep(RETRY_SECONDS)
            done += 1
            if done % jobs_of_a_visit == 0 and session is not None:
                session.close()
                session = None
        if session is not None:
            session.close()

    def _paint(self, visitor: int, session: Session, subject: Subject) -> None:
        begun = time.monotonic()
        if not self._patiently(visitor, "previews", session.open, subject):
            return
        painted = self._patiently(visitor, "previews", session.paint)
        if painted is None:
            return
        kinds = [(painted, subject.preview)]
        if (
            subject.full is not None
            and (whole := self._patiently(visitor, "full size", session.paint_full_size)) is not None
        ):
            kinds.append((whole, subject.full))
        taken = time.monotonic() - begun
        with self._lock:
            self.counts.waits.append(taken)
            wrong = [difference(one, two) for one, two in kinds if difference(one, two) > SAME]
            if wrong:
                self.counts.mixed_up.append(f"{subject.name}: {max(wrong):.1f} grey levels")
            else:
                self.counts.jobs[visitor] += 1

    def _patiently(self, visitor: int, line: str, work: Any, *values: Any) -> Any:
        """Do some work, and come back where the visitor is asked to; None if there is no time for that."""
        asked = time.monotonic()
        while True:
            try:
                done = work(*values)
                with self._lock:
                    self.counts.turns.append(Turn(visitor, line, asked, time.monotonic()))
                return True if done is None else done
            except Failed as error:
                text = str(error)
                if not any(words in text for words in FULL):
                    raise
                with self._lock:
                    self.counts.full[re.sub(r"\d+", "N", text)] += 1
            if not self.goes_on:
                return None
            time.sleep(RETRY_SECONDS)

    def leaver(self, subject: Subject, seed: int) -> None:
        """Come, ask for work, and leave in the middle: without listening, while listening, or during the upload."""
        generator = random.Random(seed)
        while self.goes_on:
            with suppress(Failed, Dropped, OSError, http.client.HTTPException, ValueError):
                session = Session(self.page)
                way = generator.randrange(4)
                if way == 0:
                    break_off_upload(self.page, subject.content)
                else:
                    session.open(subject)
                    session.join(self.page.repaint if way < 3 else self.page.full, self._asked(session, way))
                    if way != 1:
                        line, _ = session.listen()
                        time.sleep(generator.uniform(0, 0.5))
                        line.close()
                session.close()
            with self._lock:
                self.counts.left += 1
            time.sleep(generator.uniform(0.2, 1.0))

    @staticmethod
    def _asked(session: Session, way: int) -> list[Any]:
        return [None, *session.look] if way < 3 else [None, 0, SAME_STROKES, *session.look]

    def nuisance(self, seed: int, kinds: Mapping[str, Callable[[Page, random.Random], str]]) -> None:
        """Send rubbish of some kinds (:mod:`tests.web_rubbish`) and take note of the answers."""
        generator = random.Random(seed)
        while self.goes_on:
            kind = generator.choice(sorted(kinds))
            try:
                said = kinds[kind](self.page, generator)
            except (OSError, http.client.HTTPException, ValueError) as error:
                said = f"line closed ({type(error).__name__})"
            except (Failed, Dropped) as error:
                said = f"refused: {error}"
            with self._lock:
                self.counts.rubbish[re.sub(r"\d+ others|\d+(?=\.png)", "N", f"{kind}: {said}")[:160]] += 1
            time.sleep(generator.uniform(0.05, 0.3))
