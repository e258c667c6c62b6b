"""Charts of the report as SVG text: drawn with matplotlib, the same bytes for the same numbers.

Every norm has one look in all of them (:mod:`stylize.comparison.chart_styles`).

Text is drawn as paths: it looks right without the font. What a chart says belongs into the ``alt`` text beside it.
None, NaN, infinity and numbers beyond 1e100 leave a gap.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence

from stylize.comparison.chart_axes import (
    draw_line,
    figure_svg,
    finish_axes,
    legend,
    line_legend,
    log_ticks,
    looks_of,
    name_ticks,
    new_figure,
)
from stylize.comparison.chart_series import (
    Bar,
    BarSeries,
    Series,
    chart_number,
    checked_series,
    one_line,
    require_numbers,
)
from stylize.comparison.chart_styles import INK, MUTED, SETTINGS, chart_settings
from stylize.comparison.tables import number_text
from stylize.errors import InputError

WIDTH = 6.4

HEIGHT = 4.0
"""Inches. A phone shows a chart about 340 pixels wide, where text of 11 points is still 8 pixels high."""


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
    series = checked_series(series, log_x, log_y)
    with chart_settings():
        figure = new_figure(WIDTH, HEIGHT)
        axes = figure.subplots()
        looks = looks_of(series)
        for one in series:
            draw_line(axes, one, looks[one.label, one.norm])
        finish_axes(axes, series, log_x, log_y, zero_line, vertical, vertical_label, x_names)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        line_legend(figure, series, looks)
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
    checked = checked_series([one for _, group in groups for one in group], log_x, log_y)
    remaining = iter(checked)
    split = [(title, list(itertools.islice(remaining, len(group)))) for title, group in groups]
    width = columns or min(len(split), 3 if len(split) > 4 else 2)
    height = math.ceil(len(split) / width)
    with chart_settings():
        figure = new_figure(WIDTH if width < 3 else WIDTH + 0.8, 0.9 + height * (2.3 if width < 3 else 2.0))
        grid = figure.subplots(height, width, sharex=share_x, sharey=share_y, squeeze=False)
        looks = looks_of(checked)
        cells = [cell for row in grid for cell in row]
        for number, (cell, (title, group)) in enumerate(zip(cells, split, strict=False)):
            for one in group:
                draw_line(cell, one, looks[one.label, one.norm])
            finish_axes(cell, checked, log_x, log_y, zero_line, vertical, "", x_names)
            cell.set_title(textwrap.fill(one_line(title), 26 if width < 3 else 20), loc="left")
            # The axes above an empty cell are the lowest of their column.
            cell.tick_params(labelbottom=not share_x or number + width >= len(split))
        for cell in cells[len(split) :]:
            cell.set_visible(False)
        figure.supxlabel(x_label, fontsize=SETTINGS["axes.labelsize"])
        figure.supylabel(y_label, fontsize=SETTINGS["axes.labelsize"])
        line_legend(figure, checked, looks)
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
    values = [chart_number(row.value) for row in rows]
    lows, highs = (
        [value if math.isnan(edge) else edge for edge, value in zip(map(chart_number, edges), values, strict=True)]
        for edges in ([row.low for row in rows], [row.high for row in rows])
    )
    require_numbers(values, "bar chart")
    shown = [v for v in (*values, *lows, *highs) if math.isfinite(v) and (v > 0 or not log_x)]
    if not shown:
        raise InputError("a logarithmic chart has no value above 0 to show; draw it on a linear axis")
    with chart_settings():
        figure = new_figure(WIDTH, 0.95 + 0.44 * len(rows))
        axes = figure.subplots()
        start, end = _bar_limits(shown, log_x)
        looks = looks_of([Series(row.label, [], [], norm=row.norm) for row in rows], by_norm=True)
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
            log_ticks(axes.xaxis, start, end)
        axes.set_xlim(start, end)
        if start < 0 < end:
            axes.axvline(0, color=MUTED, linewidth=0.9)
        axes.set_yticks(range(len(rows)), [textwrap.fill(one_line(row.label), 24) for row in rows])
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
    checked = checked_series(as_lines, False, log_y)
    with chart_settings():
        figure = new_figure(WIDTH, HEIGHT)
        axes = figure.subplots()
        looks = looks_of(checked)
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
            log_ticks(axes.yaxis, *axes.get_ylim())
        elif any(value < 0 for one in checked for value in one.y):
            axes.axhline(0, color=MUTED, linewidth=0.9)
        name_ticks(axes, categories)
        axes.grid(False, axis="x")
        axes.set_xlim(-0.6, len(categories) - 0.4)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend(figure, handles, [one.label for one in checked])
        return figure_svg(figure)


def _bar_limits(values: Sequence[float], log: bool) -> tuple[float, float]:
    """Return the ends of the axis of horizontal bars, with room for the text beyond the longest."""
    least, most = min(values), max(values)
    if log:
        start = 10.0 ** math.floor(math.log10(least) - 0.15)
        return start, most * (most / start) ** 0.2
    least, most = min(least, 0.0), max(most, 0.0)
    span = (most - least) or 1.0
    return (least - 0.18 * span if least < 0 else 0.0), (most + 0.18 * span if most > 0 or least == 0 else 0.0)
