"""The errors that stylize raises on purpose, and "did you mean" suggestions.

Every message is one line for a person: what was given, what is accepted, what to do. The command line turns
:class:`InputError` into exit status 2 and every other :class:`StylizeError` into exit status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StylizeError(Exception):
    """A job that could not be done (exit status 1)."""


class InputError(StylizeError, ValueError):
    """Something the user gave cannot be used: an option, a picture, a folder, a name (exit status 2)."""


class ImageError(InputError):
    """A picture that cannot be read, is too large, or is of an unsupported kind."""


class WeightsError(InputError):
    """A weights file that is missing, damaged, of another kind or of another architecture."""


class DeviceError(InputError):
    """A device that is not there."""


class OutputError(StylizeError):
    """A result that could not be written: no permission, no space, or it exists already."""


class RunInUse(OutputError):
    """A training run that another process is working on."""


class TrainingError(StylizeError):
    """A training run that stopped before its end, such as one whose loss is no longer finite."""


class Diverged(TrainingError):
    """A training run whose numbers grew beyond what can be held; the same settings and seed end so again."""


class TrainingInterrupted(TrainingError):
    """A training run stopped by its user; everything needed to go on was saved."""


class ProcessLost(TrainingError):
    """Another process of the run ended without a word, or was not heard of for too long."""


class AnotherProcessFailed(TrainingError):
    """Another process of the run failed and said why; this one has nothing to add."""


def suggest(given: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string.

    Args:
        given: The name the user wrote.
        known: The names that exist.
    """
    names, given = list(known), str(given)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean '{printable(lowered[close[0]])}'?" if close else ""


LONGEST_SHOWN = 200
"""Characters of a name that a message shows; one that is longer came from a file or by mistake."""

MOST_LISTED = 100
"""Known names that a message lists."""


def printable(text: str) -> str:
    """Return a text with escapes for the characters that do not print: a terminal would obey some of them."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def unknown_name(kind: str, given: str, known: Iterable[str]) -> str:
    """Return the line that says that ``given`` is no known ``kind``, with a suggestion and the names that are."""
    names, given = list(known), str(given)
    # A name may come from somebody's file; the message stays one line of a sane length whatever is in it.
    shown = printable(given if len(given) <= LONGEST_SHOWN else f"{given[:LONGEST_SHOWN]}...")
    listed = ", ".join(map(printable, names[:MOST_LISTED])) or "none"
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return f"unknown {kind} '{shown}'{suggest(given[:LONGEST_SHOWN], names)} (known: {listed}{more})"
