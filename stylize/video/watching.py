"""What a camera sees, painted frame by frame while keys change how: the loop, apart from camera and window."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from stylize.controls import MAXIMUM_STRENGTH
from stylize.errors import InputError, StylizeError
from stylize.images import resize_long_edge, write_image
from stylize.panels import label_font
from stylize.video.segments import Painter, as_pixels, as_tensor

STEP = 0.1
"""By how much a key changes the strength."""

MESSAGE_SECONDS = 2.0
RATE_FRAMES = 30
"""Frames over which frames per second are counted."""

OTHER_NORM = {"instance": "batch", "batch": "instance"}


class Eye(Protocol):
    """Where frames come from."""

    def read(self) -> np.ndarray | None:
        """Return the next frame (H, W, 3), uint8, RGB, or None at the end."""


class Screen(Protocol):
    """Where they are shown."""

    def show(self, pixels: np.ndarray) -> None:
        """Show a picture (H, W, 3), uint8, RGB."""

    def key(self) -> str | None:
        """Return the key that was pressed, or None."""


@dataclass(frozen=True)
class Look:
    """How frames are painted.

    Attributes:
        style: Name or file of the style.
        norm: Normalisation; None is what the style has.
        strength: From 0 to 1.5.
    """

    style: str
    norm: str | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class Watched:
    """What came of it.

    Attributes:
        frames: Painted.
        seconds: It took.
        saved: Pictures.
    """

    frames: int
    seconds: float
    saved: tuple[Path, ...]


class Watcher:
    """The loop: a frame is read, painted and shown, and the keys are followed.

    Keys: ``n`` and ``b`` go through the styles, ``+`` and ``-`` change the strength, ``i`` changes between instance and
    batch norm, ``s`` saves a picture, ``q`` ends.

    Args:
        eye: Where frames come from.
        screen: Where they are shown.
        load: Returns what paints for a look; raises StylizeError where there is no such style.
        look: What to begin with.
        styles: Those that the keys go through; the first look's among them.
        size: Long edge of the painted frames in pixels; frames are never made larger.
        folder: Where pictures are saved.
        clock: Seconds, ever rising.

    Raises:
        StylizeError: The first look cannot be loaded.
    """

    def __init__(
        self,
        eye: Eye,
        screen: Screen,
        load: Callable[[Look], Painter],
        look: Look,
        styles: Sequence[str],
        *,
        size: int = 480,
        folder: Path = Path(),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._eye, self._screen, self._load = eye, screen, load
        self.look, self._styles = look, list(styles)
        self._size, self._folder, self._clock = size, folder, clock
        self._painter = load(look)
        self._message, self._until = "", 0.0
        self._times: deque[float] = deque(maxlen=RATE_FRAMES)
        self._saved: list[Path] = []

    @property
    def rate(self) -> float:
        """Frames per second, of the last ones; 0 before there are two."""
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(1e-9, self._times[-1] - self._times[0])

    def run(self) -> Watched:
        """Watch until the end of the frames, or until the key ``q``."""
        begun, count, before = self._clock(), 0, None
        while True:
            pixels = self._eye.read()
            if pixels is None:
                break
            now = self._clock()
            elapsed, before = None if before is None else now - before, now
            painted = as_pixels(self._painter.paint(as_tensor(self._reduced(pixels)), elapsed))
            count += 1
            self._times.append(self._clock())
            self._screen.show(captioned(painted, self.caption()))
            key = self._screen.key()
            if key == "q":
                break
            if key is not None:
                self._follow(key, painted)
        return Watched(count, self._clock() - begun, tuple(self._saved))

    def caption(self) -> str:
        """Return what is written on the picture."""
        if self._clock() < self._until:
            return self._message
        norm = f", {self.look.norm} norm" if self.look.norm else ""
        strength = f", strength {self.look.strength:g}" if self.look.strength != 1 else ""
        return f"{self.rate:.1f} fps  {Path(self.look.style).stem}{norm}{strength}"

    def _follow(self, key: str, painted: np.ndarray) -> None:
        """Do what a key asks for."""
        if key in ("n", "b"):
            place = self._styles.index(self.look.style) if self.look.style in self._styles else 0
            style = self._styles[(place + (1 if key == "n" else -1)) % len(self._styles)]
            self._change(replace(self.look, style=style))
        elif key in ("+", "=", "-"):
            strength = round(self.look.strength + (-STEP if key == "-" else STEP), 2)
            self._change(replace(self.look, strength=min(MAXIMUM_STRENGTH, max(0.0, strength))))
        elif key == "i":
            other = OTHER_NORM.get(self.look.norm or "instance", "instance")
            self._change(replace(self.look, norm=other))
        elif key == "s":
            self._save(painted)

    def _change(self, look: Look) -> None:
        if look == self.look:
            return
        try:
            self._painter = self._load(look)
        except StylizeError as error:
            self._say(str(error))
            return
        self.look = look
        self._times.clear()

    def _save(self, painted: np.ndarray) -> None:
        """Save the picture under the next free number."""
        stem = f"webcam-{Path(self.look.style).stem.replace(':', '-').replace(',', '-')}"
        number = 1
        while (path := self._folder / f"{stem}-{number:03d}.png").exists():
            number += 1
        try:
            write_image(Image.fromarray(painted), path)
        except StylizeError as error:
            self._say(str(error))
            return
        self._saved.append(path)
        self._say(f"saved {path.name}")

    def _say(self, text: str) -> None:
        self._message, self._until = text, self._clock() + MESSAGE_SECONDS

    def _reduced(self, pixels: np.ndarray) -> np.ndarray:
        if max(pixels.shape[:2]) <= self._size:
            return pixels
        return np.asarray(resize_long_edge(Image.fromarray(pixels), self._size))


def captioned(pixels: np.ndarray, text: str) -> np.ndarray:
    """Return a picture with a line of text in its lower left corner, white on a dark ground."""
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    font = label_font(max(10, image.height // 24))
    plain = text.encode("ascii", "replace").decode()
    while plain and font.getlength(plain) > image.width - 8:
        plain = plain[:-1]
    left, top, right, bottom = draw.textbbox((4, 0), plain, font=font)
    y = image.height - bottom - 4
    draw.rectangle((left - 3, y + top - 3, right + 3, y + bottom + 3), fill=(0, 0, 0))
    draw.text((4, y), plain, font=font, fill=(255, 255, 255))
    return np.asarray(image)


def begin_with(styles: Sequence[str], shipped: Sequence[str], default: str) -> tuple[str, list[str]]:
    """Return the style to begin with, and those that the keys go through.

    Args:
        styles: Those that the user named.
        shipped: Those that are there.
        default: The usual one.

    Raises:
        InputError: There is none.
    """
    named = list(dict.fromkeys(styles))
    if len(named) > 1:
        return named[0], named
    first = named[0] if named else default
    rest = [one for one in shipped if one != first]
    if not named and first not in shipped and rest:
        first, rest = rest[0], rest[1:]
    if not named and not shipped:
        raise InputError("no style is shipped; name one with --style")
    return first, [first, *rest]
