"""Styles that belong to one session: learned on the page, or brought as a style file."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from PIL import Image

from stylize.style_collections import StyleFile

LONGEST_NAME = 40

UNNAMED = "my-painting"


@dataclass(frozen=True)
class OwnStyle:
    """A style of a session.

    Attributes:
        file: Its style file, in the private folder.
        thumbnail: A square picture of its painting, or of what the network paints.
        painted: Whether the thumbnail is painted by the network.
    """

    file: StyleFile
    thumbnail: Image.Image
    painted: bool = False

    @property
    def name(self) -> str:
        """Name of the style."""
        return self.file.name


class OwnStyles:
    """The styles of each session; no session sees those of another."""

    def __init__(self) -> None:
        self._styles: dict[str, tuple[OwnStyle, ...]] = {}
        self._lock = threading.Lock()

    def of(self, session: str) -> tuple[OwnStyle, ...]:
        """Return the styles of a session whose files are still there."""
        return tuple(style for style in self._styles.get(session, ()) if style.file.path.is_file())

    def add(self, session: str, style: OwnStyle) -> None:
        """Give a session a style; one of the same name makes way."""
        with self._lock:
            others = [one for one in self.of(session) if one.name != style.name]
            self._styles = {whose: self.of(whose) for whose in self._styles if self.of(whose)}
            self._styles[session] = (*others, style)


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """Return a name for a style, as they are written here, that is not taken.

    Args:
        wanted: What the user calls it, such as the name of a file.
        taken: Names that there are.
    """
    known: Collection[str] = set(taken)
    plain = re.sub(r"[\W_]+", "-", wanted.lower())[:LONGEST_NAME].strip("-") or UNNAMED
    name, number = plain, 2
    while name in known:
        name, number = f"{plain}-{number}", number + 1
    return name
