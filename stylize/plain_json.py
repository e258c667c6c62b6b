"""JSON from files that anybody may have made, as plain values that do no harm where they are shown or counted with.

What is in a weights file beside its tensors is written by whoever made the file. Read here, it has

- no deep nesting, no name twice in a table, and no text beyond a length: such a file is refused;
- no number that is none, infinite or beyond 64 bits: it becomes None, as if nothing had been recorded;
- no character that does not print: a terminal would obey it. It is written as an escape, such as ``\\x1b``.
"""

from __future__ import annotations

import json
import math
from typing import Any

from stylize.errors import printable

MAXIMUM_DEPTH = 16
"""Tables and lists within one another; ours have five."""

MAXIMUM_TEXT = 10_000
"""Characters of a text; ours have a few hundred."""

MAXIMUM_DIGITS = 20
"""Digits of a whole number; 64 bits have at most 20."""


def read_table(text: str) -> dict[str, Any]:
    """Return the JSON table in a text, as plain values.

    Raises:
        ValueError: It is no JSON, no table, nested too deeply, names something twice or holds too long a text.
    """
    try:
        values = json.loads(
            text, object_pairs_hook=_table, parse_int=_whole, parse_float=_decimal, parse_constant=lambda name: None
        )
        values = _plain(values, MAXIMUM_DEPTH)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAXIMUM_DEPTH} deep") from None
    if not isinstance(values, dict):
        raise ValueError("it is no table")
    return values


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("it names something twice")
    return values


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits.lstrip("-")) <= MAXIMUM_DIGITS else None


def _decimal(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        if len(value) > MAXIMUM_TEXT:
            raise ValueError(f"it holds a text of {len(value)} characters; {MAXIMUM_TEXT} are the most")
        return printable(value)
    if not isinstance(value, dict | list):
        return value
    if not depth:
        raise ValueError(f"it is nested more than {MAXIMUM_DEPTH} deep")
    if isinstance(value, list):
        return [_plain(one, depth - 1) for one in value]
    return {_plain(name, depth): _plain(one, depth - 1) for name, one in value.items()}
