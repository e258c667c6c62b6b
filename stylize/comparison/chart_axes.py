"""Figures of matplotlib for the charts of the report: axes, ticks, legends, lines, and the figure as SVG text."""

from __future__ import annotations

import io
import itertools
import math
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stylize.comparison.chart_series import Series, one_line
from stylize.comparison.chart_styles import (
    DASHED,
    LINE_STYLES,
    MUTED,
    OTHER_COLOURS,
    OTHER_MARKERS,
    SETTINGS,
    NormStyle,
    norm_style,
)
from stylize.comparison.tables import power_of_ten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches, which makes room for its texts by itself."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


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


def draw_line(axes: Axes, series: Series, look: NormStyle) -> None:
    """Draw a line and its range."""
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


def finish_axes(
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
        log_ticks(axes.yaxis, *axes.get_ylim())
    if x_names is not None:
        name_ticks(axes, x_names)
        return
    places = sorted({value for one in series for value in one.x if math.isfinite(value)})
    if log_x:
        log_ticks(axes.xaxis, *axes.get_xlim())
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


def log_ticks(axis: Any, start: float, end: float) -> None:
    """Label a logarithmic axis with plain numbers: 0.01, 0.1, 1; steps of 1, 2, 5 where the axis is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    short = end / start < 300
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if short else (1.0,), numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def name_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Write names at the positions 0, 1, 2, ...; slanted where they have no room side by side."""
    labels = [one_line(name, 24) for name in names]
    crowded = max(map(len, labels), default=0) * len(labels) > 56
    turn: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(labels)), labels, **turn)


def looks_of(series: Sequence[Series], by_norm: bool = False) -> dict[tuple[str, str | None], NormStyle]:
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


def line_legend(figure: Figure, series: Sequence[Series], looks: dict[tuple[str, str | None], NormStyle]) -> None:
    """Put the legend of lines above the charts, one entry for each label and norm."""
    from matplotlib.lines import Line2D

    entries = {(one.label, one.norm): looks[one.label, one.norm] for one in series}
    legend(figure, [Line2D([], [], **_line_paint(look)) for look in entries.values()], [key[0] for key in entries])


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
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
