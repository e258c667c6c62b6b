"""What the charts of the report show: lines and bars, with None, NaN, infinity and numbers beyond 1e100 as gaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stylize.errors import InputError

Number = float | None
"""A number, or None where there is none."""

LIMIT = 1e100
"""Larger numbers come from a run that diverged; the ticks of matplotlib overflow near the largest float."""


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        label: Its name in the legend. Series with the same label and norm look the same and share an entry.
        x: Positions.
        y: Values, as many; None, NaN and infinity leave a gap.
        low: Lower edge of the shaded range, as many; None = no range.
        high: Upper edge.
        norm: The norm it belongs to, which decides its look; None = a look by its place in the chart.
    """

    label: str
    x: Sequence[Number]
    y: Sequence[Number]
    low: Sequence[Number] | None = None
    high: Sequence[Number] | None = None
    norm: str | None = None


@dataclass(frozen=True)
class Bar:
    """A horizontal bar: its label, its value, the ends of its range if it has one, and the norm it belongs to."""

    label: str
    value: Number
    low: Number = None
    high: Number = None
    norm: str | None = None


@dataclass(frozen=True)
class BarSeries:
    """One bar per category: label, values in the order of the categories, ends of their ranges, and norm."""

    label: str
    values: Sequence[Number]
    low: Sequence[Number] | None = None
    high: Sequence[Number] | None = None
    norm: str | None = None


def checked_series(series: Sequence[Series], log_x: bool, log_y: bool) -> list[Series]:
    """Return the series with every number a float and every gap NaN.

    Raises:
        InputError: No number at all, or lists of different length.
    """
    result = []
    for one in series:
        for name, values in (("y", one.y), ("low", one.low), ("high", one.high)):
            if values is not None and len(values) != len(one.x):
                raise InputError(f"'{one.label}' has {len(values)} values of {name} for {len(one.x)} of x")
        if (one.low is None) != (one.high is None):
            raise InputError(f"'{one.label}' has one edge of its range; give low and high, or neither")
        low = None if one.low is None else _floats(one.low, log_y)
        high = None if one.high is None else _floats(one.high, log_y)
        y = _floats(one.y, log_y)
        hidden = log_y and any(value is not None and chart_number(value) <= 0 for value in one.y)
        label = one_line(one.label) + (" (0 not shown)" if hidden else "")
        result.append(Series(label, _floats(one.x, log_x), y, low, high, one.norm))
    require_numbers((x + y for one in result for x, y in zip(one.x, one.y, strict=True)), "chart")
    return result


def chart_number(value: object) -> float:
    """Return a number as a float; NaN for None, infinity and what is beyond :data:`LIMIT`, which are gaps."""
    if value is None:
        return math.nan
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"{value!r} given as a value of a chart; a number or None is accepted") from error
    return number if abs(number) <= LIMIT else math.nan


def require_numbers(values: Iterable[float], what: str) -> None:
    """Raise InputError unless there is a number among ``values``."""
    if not any(math.isfinite(value) for value in values):
        raise InputError(f"a {what} was given nothing to show; at least one number is needed")


def _floats(values: Sequence[Number], above_zero: bool) -> list[float]:
    numbers = [chart_number(value) for value in values]
    return [value if value > 0 or not above_zero else math.nan for value in numbers]


def one_line(text: str, limit: int = 60) -> str:
    """Return a label on one line, cut in the middle where it is very long (a file name's ending tells it apart)."""
    text = " ".join(str(text).split())
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[-limit // 2 + 1 :]}"
