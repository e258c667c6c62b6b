"""What the three tabs of a page share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from stylize.images import write_image
from stylize.web.jobs import Running
from stylize.web.norm_lesson import NormLesson
from stylize.web.offers import Offers
from stylize.web.private_folder import PrivateFolder
from stylize.web.settings import Settings

PAINTING = "painting"
FULL_SIZE = "full size"
LEARNING = "learning"
"""Kinds of work; of each, one is done at a time, and whoever comes next waits."""


@dataclass(frozen=True)
class Context:
    """What the tabs share.

    Attributes:
        settings: How the page paints.
        folder: Where files go.
        offers: The styles.
        lesson: The lesson of the second tab.
        running: Long work, by the session that started it.
    """

    settings: Settings
    folder: PrivateFolder
    offers: Offers
    lesson: NormLesson
    running: Running = field(default_factory=Running)

    def shown(self, image: Image.Image, name: str) -> str:
        """Write a picture for the page to show, and return its file."""
        path = self.folder.new_folder() / f"{name}.jpg"
        write_image(image, path)
        return str(path)


@dataclass(frozen=True)
class PaintingTab:
    """What other tabs need of the first.

    Attributes:
        photo: State of the session: the photo (:class:`stylize.web.uploads.Photo`), or None.
        begin: The event with which the page begins: it has chosen a photo when it is over.
    """

    photo: Any
    begin: Any
