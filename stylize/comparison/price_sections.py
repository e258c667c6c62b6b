"""Sections of the report on what a norm loses and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from stylize.comparison import cost, limits
from stylize.comparison.charts import Series, panels
from stylize.comparison.inference import Comparison
from stylize.comparison.report import Block, Figure, Section, Table
from stylize.comparison.tables import number_text
from stylize.comparison.wording import lead


def limits_section(found: Comparison) -> Section:
    """Return the section on where instance norm hurts."""
    result = found.limits
    labels = found.labels
    flat = panels(
        [
            (
                title,
                [
                    Series(
                        label,
                        [row.noise for row in result.flat.rows if row.label == label],
                        [getattr(row, read) for row in result.flat.rows if row.label == label],
                        norm=found.norm_of(label),
                    )
                    for label in labels
                ],
            )
            for title, read in (("flat picture", "variation"), ("flat half of a photo", "half_flat_variation"))
        ],
        x_label="noise in the photo, grey levels",
        y_label="variation of the result, grey levels",
        log_x=True,
    )
    brightness = Table(
        ("network", "follows brightness", "follows contrast", "correlation", "rank correlation"),
        [
            (row.label, row.brightness_slope, row.contrast_slope, row.correlation, row.rank_correlation)
            for row in result.brightness.rows
        ],
        numeric=(1, 2, 3, 4),
        caption=f"What the result keeps of the brightness and contrast of {result.brightness.photos} photos: 1 = all.",
    )
    mixed = Table(
        ("network", "far quarter, grey levels", "near quarter, grey levels"),
        [(row.label, row.far, row.near) for row in result.mixed.rows],
        numeric=(1, 2),
        caption="Change of the left half of a picture when its right half is replaced.",
    )
    finding, _ = lead(limits.finding(result))
    first, more = lead(limits.flat_finding(result.flat))
    return Section(
        "limits",
        "Where instance norm hurts",
        "What is lost when every photo is normalised by itself?",
        finding,
        (
            *more,
            Figure(flat, first, "Variation of the result against noise in flat pictures."),
            limits.brightness_finding(result.brightness),
            brightness,
            limits.mixed_finding(result.mixed),
            mixed,
        ),
    )


def cost_section(found: Comparison) -> Section:
    """Return the section on time, memory and tiles."""
    result = found.cost
    passes = Table(
        ("network", "size, px", "seconds", "times batch norm", "memory, MB", "times batch norm"),
        [(p.label, p.size, p.seconds, p.ratio, p.megabytes, p.memory_ratio) for p in result.passes],
        numeric=(1, 2, 3, 4, 5),
        caption=f"Median of {result.repeats} interleaved rounds on {result.device}, {result.threads} threads.",
    )
    halves = Table(
        ("network", "overlap, px", "as far as a pixel looks", "largest error", "mean error"),
        [(h.label, h.overlap, h.enough, h.largest, h.mean) for h in result.halves],
        numeric=(1, 3, 4),
        caption="Painting a photo in two halves: error in grey levels.",
    )
    finding, more = lead(cost.finding(result))
    body: Sequence[Block] = (*more, passes, halves) if result.halves else (*more, passes)
    return Section(
        "cost",
        "What it costs",
        "What does instance norm cost in time, memory and tiles?",
        finding,
        tuple(body),
        (
            "Folding batch norm into the convolutions changes a result by at most "
            f"{number_text(result.fold_error)} grey levels.",
        ),
    )
