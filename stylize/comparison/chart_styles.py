"""How the charts of the report look: one colour, one marker and one line style for each norm, in every chart.

Nothing is told by colour alone. The colours are those of Okabe and Ito ("Color Universal Design", 2002), which stay
apart for readers with any of the common colour deficiencies; their yellow is too pale for a line on white and is left
out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

INK = "#222222"
MUTED = "#6b6b6b"
RULE = "#dddddd"

SETTINGS: dict[str, Any] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "stylize",
    "text.parse_math": False,  # a photo may be called "$5.jpg"
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 11.0,
    "axes.labelsize": 11.0,
    "axes.titlesize": 11.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "hatch.linewidth": 1.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

SOLID: tuple[float, tuple[float, ...]] = (0, ())
DASHED = (0, (5.0, 1.8))
DASH_DOT = (0, (6.0, 1.6, 1.2, 1.6))
DOTTED = (0, (1.2, 1.4))
LONG = (0, (9.0, 2.0))
LINE_STYLES = (SOLID, DASHED, DASH_DOT, DOTTED, LONG)


@dataclass(frozen=True)
class NormStyle:
    """How a norm looks in every chart.

    Attributes:
        colour: ``#rrggbb``.
        marker: A marker of matplotlib.
        dash: Line style: offset, and lengths of strokes and gaps in line widths.
        filled: Whether markers and bars are filled.
    """

    colour: str
    marker: str
    dash: tuple[float, tuple[float, ...]] = SOLID
    filled: bool = True


NORM_STYLES: dict[str, NormStyle] = {
    "instance": NormStyle("#0072B2", "o"),
    "batch": NormStyle("#D55E00", "s", DASHED),
    "layer": NormStyle("#009E73", "^", DASH_DOT),
    "group": NormStyle("#56B4E9", "D", LONG),
    "weight": NormStyle("#CC79A7", "v", DASHED),
    "none": NormStyle("#555555", "X", DOTTED),
    "ibn": NormStyle("#E69F00", "P", DASH_DOT),
    "batch-instance": NormStyle("#7A5C00", "*", LONG),
}
"""Norms with a look of their own."""

PLACES: dict[str, tuple[float, str, tuple[float, tuple[float, ...]]]] = {
    "first": (0.40, "<", DOTTED),
    "encoder": (0.22, ">", DASHED),
    "residual": (-0.22, "d", DASH_DOT),
    "decoder": (-0.45, "h", LONG),
    "shallow": (0.30, "p", DASH_DOT),
    "deep": (-0.33, "H", DOTTED),
    "everywhere": (0.0, "8", SOLID),
}
"""Look of ``norm@place``: shade of the norm's colour (above 0 towards white, below 0 towards black), marker, line."""

OTHER_COLOURS = ("#333333", "#CC79A7", "#009E73", "#E69F00", "#56B4E9", "#7A5C00", "#882255")
"""For what has no colour of its own; without the two of instance and batch norm, which mean these norms everywhere."""

OTHER_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")


def norm_style(name: str) -> NormStyle:
    """Return the look of a norm, the same in every chart and every report.

    It is fixed for :data:`NORM_STYLES`, a shade of that for ``norm@place`` and ``norm@place+other``, and follows from
    the letters of any other name.
    """
    if name in NORM_STYLES:
        return NORM_STYLES[name]
    number = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    base, _, rest = name.partition("@")
    place, _, other = rest.partition("+")
    if place and base in NORM_STYLES:
        shade, marker, dash = PLACES.get(
            place,
            ((number % 7 - 3) / 8, OTHER_MARKERS[number // 7 % 10], LINE_STYLES[number // 70 % 5]),
        )
        colour = shaded(NORM_STYLES[base].colour, shade)
        # Another norm than usual in the rest of the network: hollow, and the line of that norm.
        return NormStyle(colour, marker, norm_style(other).dash if other else dash, filled=not other)
    return NormStyle(OTHER_COLOURS[number % 7], OTHER_MARKERS[number // 7 % 10], LINE_STYLES[number // 70 % 5])


def shaded(colour: str, shade: float) -> str:
    """Return ``colour`` moved towards white (``shade`` 0 to 1) or towards black (0 to -1)."""
    target = 255 if shade > 0 else 0
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (target - channel) * abs(shade)):02X}" for channel in channels)


@contextmanager
def chart_settings() -> Iterator[None]:
    """Draw with matplotlib's own settings and ours within the block, whatever the user's are, and put his back."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield
