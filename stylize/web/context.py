"""What the three tabs of a page share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stylize.web.jobs import Running
from stylize.web.line import Line, Place
from stylize.web.listeners import Listeners
from stylize.web.norm_lesson import NormLesson
from stylize.web.offers import Offers
from stylize.web.own_styles import OwnStyles
from stylize.web.private_folder import PrivateFolder
from stylize.web.settings import Settings

PAINTING = "painting"
FULL_SIZE = "full size"
LEARNING = "learning"
KINDS = (PAINTING, FULL_SIZE, LEARNING)
"""Kinds of work; of each, one is done at a time, and whoever comes next waits."""


@dataclass(frozen=True)
class Context:
    """What the tabs share.

    Attributes:
        settings: How the page paints.
        folder: Where files go.
        offers: The styles.
        lesson: The lesson of the second tab.
        running: Work that runs or waits, by the session that started it.
        own: The styles that the sessions have learned.
        lines: For each kind of work the line in which it waits.
        listeners: Who listens to the answers; None: that is not known, and does not matter.
    """

    settings: Settings
    folder: PrivateFolder
    offers: Offers
    lesson: NormLesson
    running: Running = field(default_factory=Running)
    own: OwnStyles = field(default_factory=OwnStyles)
    lines: dict[str, Line] = field(default_factory=dict)
    listeners: Listeners | None = None

    def __post_init__(self) -> None:
        for kind in KINDS:
            self.lines.setdefault(kind, Line(self.settings.waiting))

    @contextmanager
    def place(self, session: str, kind: str) -> Iterator[Place]:
        """Hold a place in the line of a kind of work, which the session can give up by stopping that work.

        Raises:
            StylizeError: The line is full, or the session does not listen to the answers.
        """
        self.folder.touch(session)
        if self.listeners is not None:
            self.listeners.asked(session)
        with self.lines[kind].enter(session) as place, self.running.knowing(session, kind, place):
            yield place

    def left(self, session: str) -> None:
        """Stop what a session that has left had begun, and let its files go."""
        self.running.stop(session)
        for line in self.lines.values():
            line.forget(session)
        self.folder.leave(session)


@dataclass(frozen=True)
class PaintingTab:
    """What other tabs need of the first; all but the last two are parts of the page.

    Attributes:
        photo: State of the session: the photo (:class:`stylize.web.uploads.Photo`), or None.
        chosen: State of the session: names of the chosen styles.
        mixing: Whether they are mixed.
        norm: The chosen normalisation.
        styles: The thumbnails.
        shares: The sliders of a mixture.
        live: How an event repaints.
        begin: The event with which the page begins: it has chosen a photo when it is over.
    """

    photo: Any
    chosen: Any
    mixing: Any
    norm: Any
    styles: Any
    shares: list[Any]
    live: dict[str, Any]
    begin: Any
