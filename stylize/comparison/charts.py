"""Charts of the report as SVG text: drawn with matplotlib, the same bytes for the same numbers.

Every norm has one look in all of them (:mod:`stylize.comparison.chart_styles`).

Text is drawn as paths: it looks right without the font. What a chart says belongs into the ``alt`` text beside it.
None, NaN, infinity and numbers beyond 1e100 leave a gap.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import textwrap
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stylize.comparison.chart_styles import (
    DASHED,
    INK,
    LINE_STYLES,
    MUTED,
    OTHER_COLOURS,
    OTHER_MARKERS,
    SETTINGS,
    NormStyle,
    chart_settings,
    norm_style,
)
from stylize.comparison.tables import number_text, power_of_ten
from stylize.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Number = float | None
"""A number, or None where there is none."""

WIDTH = 6.4
HEIGHT = 4.0
"""Inches. A phone shows a chart about 340 pixels wide, where text of 11 points is still 8 pixels high."""

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


def lines(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    log_y: bool = False,
    log_x: bool = False,
    zero_line: bool = False,
    vertical: float | None = None,
    vertical_label: str = "",
    x_names: Sequence[str] | None = None,
) -> str:
    """Draw lines over a common axis.

    Args:
        series: The lines.
        x_label: Name and unit of the horizontal axis.
        y_label: Name and unit of the vertical axis.
        log_y: Logarithmic vertical axis. Values of 0 and below have no place on it: they leave a gap, and the legend
            says so.
        log_x: Logarithmic horizontal axis.
        zero_line: Draw the line of value 0.
        vertical: Mark this position with a vertical line, such as the photo as it is in a sweep.
        vertical_label: What that line is.
        x_names: Names of the positions 0, 1, 2, ..., such as the layers of a network.

    Returns:
        An SVG document without XML declaration.

    Raises:
        InputError: No series, no number at all, or lists of different length.
    """
    series = _checked(series, log_x, log_y)
    with chart_settings():
        figure = _figure(WIDTH, HEIGHT)
        axes = figure.subplots()
        looks = _looks(series)
        for one in series:
            _draw_line(axes, one, looks[one.label, one.norm])
        _finish_axes(axes, series, log_x, log_y, zero_line, vertical, vertical_label, x_names)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _line_legend(figure, series, looks)
        return figure_svg(figure)


def panels(
    groups: Sequence[tuple[str, Sequence[Series]]],
    *,
    x_label: str,
    y_label: str,
    share_x: bool = True,
    share_y: bool = True,
    columns: int | None = None,
    log_y: bool = False,
    log_x: bool = False,
    zero_line: bool = False,
    vertical: float | None = None,
    x_names: Sequence[str] | None = None,
) -> str:
    """Draw one small chart per group, all with one legend. A series keeps its look from chart to chart.

    Args:
        groups: Title and lines of each chart. A group without a number is drawn empty.
        x_label: Name and unit of all horizontal axes.
        y_label: Name and unit of all vertical axes.
        share_x: The same horizontal scale in all of them.
        share_y: The same vertical scale in all of them.
        columns: Charts beside each other; None = two, or three where there are more than four.
        log_y: As in :func:`lines`; so are the others.

    Returns:
        An SVG document without XML declaration.

    Raises:
        InputError: No group, no number at all, lists of different length, or fewer than one column.
    """
    if columns is not None and columns < 1:
        raise InputError(f"{columns} columns given for a chart; 1 or more are accepted")
    checked = _checked([one for _, group in groups for one in group], log_x, log_y)
    remaining = iter(checked)
    split = [(title, list(itertools.islice(remaining, len(group)))) for title, group in groups]
    width = columns or min(len(split), 3 if len(split) > 4 else 2)
    height = math.ceil(len(split) / width)
    with chart_settings():
        figure = _figure(WIDTH if width < 3 else WIDTH + 0.8, 0.9 + height * (2.3 if width < 3 else 2.0))
        grid = figure.subplots(height, width, sharex=share_x, sharey=share_y, squeeze=False)
        looks = _looks(checked)
        cells = [cell for row in grid for cell in row]
        for number, (cell, (title, group)) in enumerate(zip(cells, split, strict=False)):
            for one in group:
                _draw_line(cell, one, looks[one.label, one.norm])
            _finish_axes(cell, checked, log_x, log_y, zero_line, vertical, "", x_names)
            cell.set_title(textwrap.fill(_one_line(title), 26 if width < 3 else 20), loc="left")
            # The axes above an empty cell are the lowest of their column.
            cell.tick_params(labelbottom=not share_x or number + width >= len(split))
        for cell in cells[len(split) :]:
            cell.set_visible(False)
        figure.supxlabel(x_label, fontsize=SETTINGS["axes.labelsize"])
        figure.supylabel(y_label, fontsize=SETTINGS["axes.labelsize"])
        _line_legend(figure, checked, looks)
        return figure_svg(figure)


def bars(rows: Sequence[Bar], *, x_label: str, log_x: bool = False) -> str:
    """Draw horizontal bars, the first on top, each with its value as text.

    Args:
        rows: The bars. One without a value keeps its line and says that there is none.
        x_label: Name and unit of the values.
        log_x: Logarithmic axis. A value of 0 or below has no bar on it, only its text.

    Returns:
        An SVG document without XML declaration.

    Raises:
        InputError: No bar, or none with a value.
    """
    values = [_number(row.value) for row in rows]
    lows = [
        value if math.isnan(_number(row.low)) else _number(row.low) for row, value in zip(rows, values, strict=True)
    ]
    highs = [
        value if math.isnan(_number(row.high)) else _number(row.high) for row, value in zip(rows, values, strict=True)
    ]
    _require_numbers(values, "bar chart")
    shown = [v for v in (*values, *lows, *highs) if math.isfinite(v) and (v > 0 or not log_x)]
    if not shown:
        raise InputError("a logarithmic chart has no value above 0 to show; draw it on a linear axis")
    with chart_settings():
        figure = _figure(WIDTH, 0.95 + 0.44 * len(rows))
        axes = figure.subplots()
        start, end = _bar_limits(shown, log_x)
        looks = _looks([Series(row.label, [], [], norm=row.norm) for row in rows], by_norm=True)
        for place, (row, value, low, high) in enumerate(zip(rows, values, lows, highs, strict=True)):
            visible = math.isfinite(value) and (value > 0 or not log_x)
            tip = start if log_x else 0.0
            if visible:
                look = looks[row.label, row.norm]
                axes.barh(place, value - tip, left=tip, height=0.62, color=look.colour)
                if (low, high) != (value, value):
                    low = max(low, start)
                    axes.plot([low, high], [place, place], color=INK, linewidth=1.4, marker="|", markersize=7)
                tip = min(value, low) if value < 0 else max(value, high)
            text = number_text(value) if math.isfinite(value) else "no value"
            left = visible and value < 0
            axes.annotate(
                text,
                (tip, place),
                xytext=(-5 if left else 5, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                color=INK if math.isfinite(value) else MUTED,
                fontsize=SETTINGS["xtick.labelsize"],
            )
        if log_x:
            axes.set_xscale("log")
            _log_ticks(axes.xaxis, start, end)
        axes.set_xlim(start, end)
        if start < 0 < end:
            axes.axvline(0, color=MUTED, linewidth=0.9)
        axes.set_yticks(range(len(rows)), [textwrap.fill(_one_line(row.label), 24) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label)
        return figure_svg(figure)


def grouped_bars(
    categories: Sequence[str],
    series: Sequence[BarSeries],
    *,
    y_label: str,
    x_label: str = "",
    log_y: bool = False,
) -> str:
    """Draw a group of upright bars per category, such as before and after a norm for each layer of a network.

    Args:
        categories: Names of the groups, from left to right.
        series: One bar in each group from each of these.
        y_label: Name and unit of the values.
        x_label: What the categories are.
        log_y: Logarithmic axis; values of 0 and below have no bar on it, and the legend says so.

    Returns:
        An SVG document without XML declaration.

    Raises:
        InputError: No category, no number at all, or values that are not as many as the categories.
    """
    if not categories:
        raise InputError("no categories given for a bar chart; at least one is needed")
    places = list(range(len(categories)))
    as_lines = [Series(one.label, places, one.values, one.low, one.high, one.norm) for one in series]
    checked = _checked(as_lines, False, log_y)
    with chart_settings():
        figure = _figure(WIDTH, HEIGHT)
        axes = figure.subplots()
        looks = _looks(checked)
        share = 0.8 / len(checked)
        handles = []
        for number, one in enumerate(checked):
            look = looks[one.label, one.norm]
            # A bar without fill is hatched, so that it does not look like an empty frame.
            paint = {"color": look.colour} if look.filled else {"color": "white", "hatch": "////"}
            centres = [place + (number - (len(checked) - 1) / 2) * share for place in places]
            container = axes.bar(centres, one.y, share * 0.92, **paint, edgecolor=look.colour, linewidth=1.0)
            handles.append(container)
            for centre, low, high in zip(centres, one.low or (), one.high or (), strict=False):  # none without a range
                axes.plot([centre, centre], [low, high], color=INK, linewidth=1.2)
        if log_y:
            axes.set_yscale("log")
            _log_ticks(axes.yaxis, *axes.get_ylim())
        elif any(value < 0 for one in checked for value in one.y):
            axes.axhline(0, color=MUTED, linewidth=0.9)
        _name_ticks(axes, categories)
        axes.grid(False, axis="x")
        axes.set_xlim(-0.6, len(categories) - 0.4)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend(figure, handles, [one.label for one in checked])
        return figure_svg(figure)


def figure_svg(figure: Figure) -> str:
    """Return a figure as an SVG document that can stand in a page among others.

    No date and no version is in it; its ids do not clash with those of another chart, and it has no style sheet, which
    would apply to the page around it.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font does not have shows boxes; that is no news for the user's terminal.
        warnings.filterwarnings("ignore", message=r"(?s).*Glyph .* missing from .*font.*")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text, sheets = re.subn(r"\s*<defs>\s*<style type=\"text/css\">[^<]*</style>\s*</defs>", "", text)
    if sheets:
        text = text.replace("<svg", '<svg style="stroke-linejoin: round; stroke-linecap: butt"', 1)
    prefix = f"c{zlib.crc32(text.encode('utf-8')):08x}-"
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", text)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _number(value: object) -> float:
    """Return a number as a float; NaN for None, infinity and what is beyond :data:`LIMIT`, which are gaps."""
    if value is None:
        return math.nan
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"{value!r} given as a value of a chart; a number or None is accepted") from error
    return number if abs(number) <= LIMIT else math.nan


def _require_numbers(values: Iterable[float], what: str) -> None:
    """Raise InputError unless there is a number among ``values``."""
    if not any(math.isfinite(value) for value in values):
        raise InputError(f"a {what} was given nothing to show; at least one number is needed")


def _checked(series: Sequence[Series], log_x: bool, log_y: bool) -> list[Series]:
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
        hidden = log_y and any(value is not None and _number(value) <= 0 for value in one.y)
        label = _one_line(one.label) + (" (0 not shown)" if hidden else "")
        result.append(Series(label, _floats(one.x, log_x), y, low, high, one.norm))
    _require_numbers((x + y for one in result for x, y in zip(one.x, one.y, strict=True)), "chart")
    return result


def _floats(values: Sequence[Number], above_zero: bool) -> list[float]:
    numbers = [_number(value) for value in values]
    return [value if value > 0 or not above_zero else math.nan for value in numbers]


def _one_line(text: str, limit: int = 60) -> str:
    """Return a label on one line, cut in the middle where it is very long (a file name's ending tells it apart)."""
    text = " ".join(str(text).split())
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[-limit // 2 + 1 :]}"


def _looks(series: Sequence[Series], by_norm: bool = False) -> dict[tuple[str, str | None], NormStyle]:
    """Return the look of every label and norm.

    A second label of the same norm (batch norm in evaluation mode) keeps its colour, with another line and hollow
    markers; ``by_norm`` switches this off.
    """
    looks: dict[tuple[str, str | None], NormStyle] = {}
    seen: dict[str | None, int] = {}
    taken = {norm_style(one.norm).colour for one in series if one.norm is not None}
    free = [colour for colour in OTHER_COLOURS if colour not in taken] or OTHER_COLOURS
    for one in series:
        key = (one.label, one.norm)
        if key in looks:
            continue
        number = seen[one.norm] = seen.get(one.norm, -1) + 1
        if one.norm is None:
            looks[key] = NormStyle(free[number % len(free)], OTHER_MARKERS[number % 10], LINE_STYLES[number % 5])
            continue
        look = norm_style(one.norm)
        if number and not by_norm:
            dashes = [dash for dash in LINE_STYLES if dash != look.dash]
            look = replace(look, dash=dashes[(number - 1) % len(dashes)], filled=number % 2 == 0)
        looks[key] = look
    return looks


def _draw_line(axes: Axes, series: Series, look: NormStyle) -> None:
    if series.low is not None and series.high is not None:
        axes.fill_between(series.x, series.low, series.high, color=look.colour, alpha=0.16, linewidth=0)
    axes.plot(series.x, series.y, **_line_paint(look), markevery=max(1, len(series.x) // 12))


def _line_paint(look: NormStyle) -> dict[str, Any]:
    """Return the keywords that give a line of matplotlib this look."""
    size = SETTINGS["lines.markersize"] * (1.4 if look.marker == "*" else 1.0)
    return {
        "color": look.colour,
        "linestyle": look.dash,
        "marker": look.marker,
        "markersize": size,
        "markerfacecolor": look.colour if look.filled else "white",
        "markeredgecolor": look.colour if not look.filled else "white",
        "markeredgewidth": 1.5 if not look.filled else 0.6,
    }


def _finish_axes(
    axes: Axes,
    series: Sequence[Series],
    log_x: bool,
    log_y: bool,
    zero_line: bool,
    vertical: float | None,
    vertical_label: str,
    x_names: Sequence[str] | None,
) -> None:
    """Set scales, ticks and helping lines."""
    if log_y:
        axes.set_yscale("log")
    if log_x:
        axes.set_xscale("log")
    if zero_line and not log_y:
        axes.axhline(0, color=MUTED, linewidth=0.9, zorder=1)
    if vertical is not None:
        axes.axvline(vertical, color=MUTED, linewidth=0.9, linestyle=DASHED, zorder=1)
        if vertical_label:
            # Where the line stands in the right half, the words go to its left, so that they stay within the chart.
            right = axes.transAxes.inverted().transform(axes.transData.transform((vertical, 1)))[0] > 0.5
            axes.annotate(
                vertical_label,
                (vertical, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if right else 4, -2),
                textcoords="offset points",
                ha="right" if right else "left",
                va="top",
                color=MUTED,
                fontsize=SETTINGS["xtick.labelsize"],
            )
    if log_y:
        _log_ticks(axes.yaxis, *axes.get_ylim())
    if x_names is not None:
        _name_ticks(axes, x_names)
        return
    places = sorted({value for one in series for value in one.x if math.isfinite(value)})
    if log_x:
        _log_ticks(axes.xaxis, *axes.get_xlim())
    if 1 < len(places) <= 8 and _well_apart(places, log_x):
        from matplotlib.ticker import NullLocator

        axes.set_xticks(places, [_tick(place) for place in places])
        axes.xaxis.set_minor_locator(NullLocator())


def _well_apart(places: Sequence[float], log: bool) -> bool:
    """Return whether labels at these positions have room: no two are closer than a twelfth of the axis."""
    values = [math.log(place) for place in places] if log else list(places)
    return min(b - a for a, b in itertools.pairwise(values)) >= (values[-1] - values[0]) / 12


def _tick(value: float) -> str:
    """Return the label of a tick, the shortest there is."""
    if value and not 1e-4 <= abs(value) < 1e7:
        mantissa, _, exponent = f"{value:.6e}".partition("e")
        digits = mantissa.rstrip("0").rstrip(".")
        return ("" if digits == "1" else f"{digits}×") + power_of_ten(int(exponent))
    return f"{value:,.0f}" if abs(value) >= 1000 and value == int(value) and abs(value) < 1e7 else f"{value:.6g}"


def _log_ticks(axis: Any, start: float, end: float) -> None:
    """Label a logarithmic axis with plain numbers: 0.01, 0.1, 1; steps of 1, 2, 5 where the axis is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    short = end / start < 300
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if short else (1.0,), numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def _name_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Write names at the positions 0, 1, 2, ...; slanted where they have no room side by side."""
    labels = [_one_line(name, 24) for name in names]
    crowded = max(map(len, labels), default=0) * len(labels) > 56
    turn: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(labels)), labels, **turn)


def _bar_limits(values: Sequence[float], log: bool) -> tuple[float, float]:
    """Return the ends of the axis of horizontal bars, with room for the text beyond the longest."""
    least, most = min(values), max(values)
    if log:
        start = 10.0 ** math.floor(math.log10(least) - 0.15)
        return start, most * (most / start) ** 0.2
    least, most = min(least, 0.0), max(most, 0.0)
    span = (most - least) or 1.0
    return (least - 0.18 * span if least < 0 else 0.0), (most + 0.18 * span if most > 0 or least == 0 else 0.0)


def _line_legend(figure: Figure, series: Sequence[Series], looks: dict[tuple[str, str | None], NormStyle]) -> None:
    from matplotlib.lines import Line2D

    entries = {(one.label, one.norm): looks[one.label, one.norm] for one in series}
    _legend(figure, [Line2D([], [], **_line_paint(look)) for look in entries.values()], [key[0] for key in entries])


def _legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put the legend above the charts, in as many columns as fit; none for a single entry without a name."""
    if not any(labels):
        return
    # A label with a leading underscore is hidden by matplotlib; nothing of ours is meant to be.
    shown = [f" {label}" if label.startswith("_") else label for label in labels]
    # About 0.09 inch per letter, and the sample of the line with its gaps.
    widest = 0.09 * max(map(len, shown)) + 0.75
    columns = max(1, min(len(shown), int(figure.get_figwidth() / widest)))
    rows = math.ceil(len(shown) / columns)
    columns = math.ceil(len(shown) / rows)
    figure.legend(handles, shown, loc="outside upper left", ncols=columns, columnspacing=1.6)
