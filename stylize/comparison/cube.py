"""The figure of which features share one mean and one variance under each norm.

A block of features has three axes: photos (B), channels (C) and positions (H x W, drawn as one axis). Each small block
is one number. What is in colour is averaged over together; every other set of the same shape has a mean and a variance
of its own.

References:
    Ulyanov et al. 2016, arXiv 1607.08022 (instance, batch); Ba et al. 2016, arXiv 1607.06450 (layer); Wu, He 2018,
    arXiv 1803.08494 (group); Pan et al. 2018, arXiv 1807.09441 (ibn); Nam, Kim 2018, arXiv 1805.07925
    (batch-instance); Salimans, Kingma 2016, arXiv 1602.07868 (weight).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stylize.comparison.chart_axes import figure_svg
from stylize.comparison.chart_styles import INK, MUTED, chart_settings, norm_style, shaded
from stylize.errors import InputError, unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PHOTOS, CHANNELS, POSITIONS = 3, 4, 4
"""Blocks along each axis of the drawing."""

DEPTH = 0.62
"""Offset of each photo behind the one before, to the right and up, in blocks."""

THICKNESS = 0.34
"""Thickness of the slab of one photo along the same direction, in blocks."""

LEFT, RIGHT, BOTTOM, TOP = -1.5, 7.3, -2.7, 8.5
"""Edges of one drawing, in blocks, with room for the words."""

PANEL_WIDTH = 2.3
"""Inches."""

PLAIN = "#eceff1"
EDGE = "#9aa4ab"

Member = Callable[[int, int], str | None]
"""Photo and channel (0 = front, left) to the norm in whose colour they are drawn; None = not in the set shown."""


@dataclass(frozen=True)
class Averaging:
    """What a norm averages over.

    Attributes:
        over: The axes, in words.
        shared_by: What has one mean and variance in common, in words.
        member: Which features of the drawing belong to the set shown.
    """

    over: str
    shared_by: str
    member: Member


def _nothing(photo: int, channel: int) -> None:
    return None


AVERAGING: dict[str, Averaging] = {
    "instance": Averaging(
        "averages over positions",
        "one photo, one channel",
        lambda photo, channel: "instance" if photo == 0 and channel == CHANNELS - 1 else None,
    ),
    "batch": Averaging(
        "averages over photos and positions",
        "one channel, all photos",
        lambda photo, channel: "batch" if channel == CHANNELS - 1 else None,
    ),
    "layer": Averaging(
        "averages over channels and positions",
        "one photo, all channels",
        lambda photo, channel: "layer" if photo == 0 else None,
    ),
    "group": Averaging(
        "averages over some channels and positions",
        "one photo, one group of channels",
        lambda photo, channel: "group" if photo == 0 and channel >= CHANNELS // 2 else None,
    ),
    "ibn": Averaging(
        "half the channels like instance, half like batch",
        "two sets shown, one of each half",
        lambda photo, channel: (
            "batch" if channel == CHANNELS - 1 else "instance" if (photo, channel) == (0, CHANNELS // 2 - 1) else None
        ),
    ),
    "batch-instance": Averaging(
        "both, mixed by a learned gate per channel",
        "the set of instance within that of batch",
        lambda photo, channel: None if channel != CHANNELS - 1 else "instance" if photo == 0 else "batch",
    ),
    "weight": Averaging("averages over no features", "rescales the weights instead", _nothing),
    "none": Averaging("averages over nothing", "features stay as they are", _nothing),
}
"""Norms that can be drawn."""


def cube_figure(norms: Sequence[str]) -> str:
    """Draw, for each norm, a block of features with those in colour that share one mean and one variance.

    Args:
        norms: Names from :data:`AVERAGING`. Of ``norm@place`` the norm is drawn; each norm is drawn once.

    Returns:
        An SVG document without XML declaration.

    Raises:
        InputError: No norm, or one that is not known here.
    """
    names = list(dict.fromkeys(name.partition("@")[0] for name in norms))
    if not names:
        raise InputError("no norm given to draw; at least one is needed")
    for name in names:
        if name not in AVERAGING:
            raise InputError(unknown_name("normalisation", name, AVERAGING))
    from matplotlib.figure import Figure

    columns = min(len(names), 2 if len(names) in (2, 4) else 3)
    rows = math.ceil(len(names) / columns)
    with chart_settings():
        figure = Figure(figsize=(PANEL_WIDTH * columns, PANEL_WIDTH * rows * (TOP - BOTTOM) / (RIGHT - LEFT)))
        cells = [cell for row in figure.subplots(rows, columns, squeeze=False) for cell in row]
        figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=0, hspace=0)
        for cell, name in zip(cells, names, strict=False):
            _draw_block(cell, name)
        for cell in cells[len(names) :]:
            cell.set_visible(False)
        return figure_svg(figure)


def cube_alt(norms: Sequence[str]) -> str:
    """Return in words what :func:`cube_figure` shows, for readers who cannot see it."""
    names = dict.fromkeys(name.partition("@")[0] for name in norms)
    told = [f"{name}: {AVERAGING[name].over} ({AVERAGING[name].shared_by})" for name in names if name in AVERAGING]
    return "Blocks of features with the axes photos, channels and positions. " + "; ".join(told) + "."


def _draw_block(axes: Axes, name: str) -> None:
    """Draw the slabs of all photos, the farthest first, then the names of the axes and the caption."""
    averaging = AVERAGING[name]
    for photo in reversed(range(PHOTOS)):
        _draw_slab(axes, photo, averaging.member)
    small: dict[str, Any] = {"fontsize": 9.5, "color": MUTED}
    _arrow(axes, (0, -0.35), (CHANNELS, -0.35))
    axes.text(CHANNELS / 2, -0.5, "channels", ha="center", va="top", **small)
    _arrow(axes, (-0.35, 0), (-0.35, POSITIONS))
    axes.text(-0.5, POSITIONS / 2, "positions", ha="right", va="center", rotation=90, **small)
    reach = (PHOTOS - 1) * DEPTH + THICKNESS
    _arrow(axes, (CHANNELS + 0.3, -0.2), (CHANNELS + 0.3 + reach, -0.2 + reach))
    axes.text(CHANNELS + 0.45 + reach / 2, -0.4 + reach / 2, "photos", ha="left", va="top", **small)
    middle = (LEFT + RIGHT) / 2
    words: dict[str, Any] = {"ha": "center", "fontsize": 10.0, "color": INK, "linespacing": 1.15}
    axes.text(middle, TOP - 0.35, name, ha="center", va="top", fontsize=12.5, fontweight="bold")
    axes.text(middle, TOP - 2.0, textwrap.fill(averaging.over, 25), va="center", **words)
    axes.text(middle, BOTTOM + 0.85, textwrap.fill(averaging.shared_by, 25), va="center", **words)
    axes.set_xlim(LEFT, RIGHT)
    axes.set_ylim(BOTTOM, TOP)
    axes.axis("off")


def _draw_slab(axes: Axes, photo: int, member: Member) -> None:
    """Draw one photo: the top and the right side of its slab, then its front."""
    from matplotlib.collections import PolyCollection

    shift = photo * DEPTH
    back = shift + THICKNESS
    faces: list[list[tuple[float, float]]] = []
    colours: list[str] = []
    for channel in range(CHANNELS):
        colour = _colour(member(photo, channel))
        left, right = channel + shift, channel + 1 + shift
        low, top = shift, POSITIONS + shift
        faces.append(
            [(left, top), (right, top), (right + THICKNESS, top + THICKNESS), (left + THICKNESS, top + THICKNESS)]
        )
        colours.append(shaded(colour, 0.35))
        for position in range(POSITIONS):
            low = position + shift
            faces.append([(left, low), (right, low), (right, low + 1), (left, low + 1)])
            colours.append(colour)
    edge, side = CHANNELS + shift, shaded(_colour(member(photo, CHANNELS - 1)), -0.2)
    for position in range(POSITIONS):
        low = position + shift
        far = position + back
        faces.append([(edge, low), (edge + THICKNESS, far), (edge + THICKNESS, far + 1), (edge, low + 1)])
        colours.append(side)
    axes.add_collection(
        PolyCollection(
            faces, facecolors=colours, edgecolors=EDGE, linewidths=0.6, joinstyle="round", zorder=PHOTOS - photo
        )
    )


def _colour(norm: str | None) -> str:
    return PLAIN if norm is None else norm_style(norm).colour


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    )
