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


class TrainingInterrupted(TrainingError):
    """A training run stopped by its user; everything needed to go on was saved."""


def suggest(given: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string.

    Args:
        given: The name the user wrote.
        known: The names that exist.
    """
    names, given = list(known), str(given)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean '{lowered[close[0]]}'?" if close else ""


def unknown_name(kind: str, given: str, known: Iterable[str]) -> str:
    """Return the line that says that ``given`` is no known ``kind``, with a suggestion and the names that are."""
    names = list(known)
    # A name may come from somebody's file; the message stays one line whatever is in it.
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(given))
    return f"unknown {kind} '{shown}'{suggest(given, names)} (known: {', '.join(names) or 'none'})"
