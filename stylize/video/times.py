"""Times in a clip, as people write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from stylize.errors import InputError

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", flags=re.ASCII)


def parse_time(text: str) -> float:
    """Return a time in seconds: ``90``, ``90.5``, ``1:30`` or ``0:01:30.5``.

    Raises:
        InputError: It is none.
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise InputError(f"the time '{text}' given; seconds or h:mm:ss is accepted, such as 90, 1:30 or 0:01:30.5")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    if (match[2] is not None and seconds >= 60) or (match[1] is not None and minutes >= 60):
        raise InputError(f"the time '{text}' given; after a colon, numbers below 60 are accepted")
    return hours * 3600 + minutes * 60 + seconds


def format_time(seconds: float) -> str:
    """Return a time as ``m:ss`` or ``h:mm:ss``, rounded to seconds."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass(frozen=True)
class Span:
    """A part of a clip, in seconds from its beginning.

    Attributes:
        start: Where it begins.
        end: Where it ends; None is the end of the clip.
    """

    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if self.end is not None and self.end <= self.start:
            raise InputError(
                f"the part from {self.start:g} s to {self.end:g} s holds nothing; the end must be after the start"
            )

    def seconds_of(self, duration: float | None) -> float | None:
        """Return how much of a clip of this duration it holds, in seconds; None where that is not known."""
        if duration is None:
            return None if self.end is None else self.end - self.start
        return max(0.0, min(duration, math.inf if self.end is None else self.end) - self.start)

    def check(self, duration: float | None, name: str) -> None:
        """Refuse a part that begins after the end of the clip.

        Raises:
            InputError: It does.
        """
        if duration is not None and self.start >= duration > 0:
            raise InputError(f"the start {self.start:g} s is after the end of {name}, which has {duration:.6g} s")


WHOLE = Span()
