"""Small pieces of the sentences that are made from numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def in_words(value: float) -> str:
    """Write a number, 0 or more, that may be all but zero, for a sentence: 0, under 0.001, 0.009, 12.3, 240."""
    if 0 < value < 0.001:
        return "under 0.001"
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def listed(names: Iterable[str]) -> str:
    """Write names as a sentence does: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def levels_of(values: Mapping[str, float]) -> str:
    """Write grey levels by network for a sentence: ``0.009 grey levels (instance) and 35.5 (batch)``."""
    unit = iter([" grey levels"])
    return listed(f"{in_words(value)}{next(unit, '')} ({label})" for label, value in values.items())


def capital(text: str) -> str:
    """Begin a sentence, whatever it begins with."""
    return text[:1].upper() + text[1:]


def lead(text: str) -> tuple[str, list[str]]:
    """Split a finding of several sentences into its first one and, where there is more, a paragraph of the others."""
    first, *rest = SENTENCE_END.split(text.strip())
    return first, [" ".join(rest)] if rest else []
