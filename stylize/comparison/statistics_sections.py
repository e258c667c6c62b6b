"""Sections of the report on the statistics of norms: of a batch, of a photo, frozen, and what survives them."""

from __future__ import annotations

from stylize.comparison import frozen_statistics, modes, survival
from stylize.comparison.charts import BarSeries, Series, grouped_bars, lines
from stylize.comparison.inference import Comparison
from stylize.comparison.report import Block, Figure, Picture, PictureRow, Section, Table
from stylize.comparison.tables import number_text
from stylize.comparison.wording import lead


def modes_section(found: Comparison) -> Section:
    """Return the section on training and evaluation mode."""
    result = found.modes
    finding, more = lead(modes.finding(result))
    said = ", ".join(
        f"{row.label} {number_text(row.style_training)} and {number_text(row.style_evaluation)}" for row in result.rows
    )
    labels = [row.label for row in result.rows]
    chart = grouped_bars(
        labels,
        [
            BarSeries("training mode", [row.style_training for row in result.rows]),
            BarSeries("evaluation mode", [row.style_evaluation for row in result.rows]),
        ],
        y_label="style distance",
    )
    table = Table(
        (
            "network",
            "style, training mode",
            "style, evaluation mode",
            "content, training mode",
            "content, evaluation mode",
            "change, grey levels",
            "one photo against instance norm, grey levels",
        ),
        [
            (
                row.label,
                row.style_training,
                row.style_evaluation,
                row.content_training,
                row.content_evaluation,
                row.change,
                row.identity.largest if row.identity is not None else None,
            )
            for row in result.rows
        ],
        numeric=(1, 2, 3, 4, 5, 6),
        caption=f"Means over {result.photos} photos; in training mode {result.batch_size} share their statistics.",
    )
    return Section(
        "modes",
        "Training mode and evaluation mode",
        "Does a network lose by being applied with running averages? And what is batch norm with one photo?",
        finding,
        (
            *more,
            Figure(
                chart,
                f"Style distance in training and in evaluation mode: {said}.",
                "Style distance in both modes for every network.",
            ),
            table,
        ),
    )


def frozen_section(found: Comparison) -> Section | None:
    """Return the section on frozen statistics, None where none were frozen."""
    result = found.frozen
    if result is None:
        return None
    finding, more = lead(frozen_statistics.finding(result))
    said = ", ".join(f"{variant.name} {number_text(variant.plain.style)}" for variant in result.variants)
    names = [variant.name for variant in result.variants]
    chart = grouped_bars(
        names,
        [
            BarSeries("photos as they are", [variant.plain.style for variant in result.variants]),
            BarSeries(f"contrast {result.contrast:g}", [variant.low_contrast.style for variant in result.variants]),
        ],
        y_label="style distance",
        x_label="the photo's own statistics are kept",
    )
    table = Table(
        (
            "the photo's own statistics kept",
            "contrast",
            "style distance",
            "spread over photos",
            "strength, grey levels",
        ),
        [
            (variant.name, contrast, outcome.style, outcome.spread, outcome.pixel_deviation)
            for variant in result.variants
            for contrast, outcome in ((1.0, variant.plain), (result.contrast, variant.low_contrast))
        ],
        numeric=(1, 2, 3, 4),
        caption=f"Fixed statistics of {result.population} photos; measured on {result.photos}.",
    )
    pictures = PictureRow([Picture(f"kept {name}", image) for name, image in found.frozen_pictures.items()])
    return Section(
        "frozen",
        "Frozen statistics",
        "What do the statistics of the photo itself do, when nothing else of the network is touched?",
        finding,
        (
            *more,
            Figure(
                chart,
                f"Style distance by where the photo's own statistics are kept: {said}.",
                "Style distance by which layers keep the photo's own statistics, at two contrasts.",
            ),
            table,
            pictures,
        ),
        (
            f"These weights were trained with {found.norm_of(result.label)} norm and its statistics of each photo; "
            "what they do without says nothing about a network that was trained without.",
        ),
    )


def survival_section(found: Comparison) -> Section:
    """Return the section on what later layers still know of a photo."""
    result = found.survival
    finding, more = lead(survival.finding(result))
    body: list[Block] = [*more]
    for network in result.networks:
        names = [layer.name for layer in network.layers]
        stages = (("before the norm", "before"), ("after the norm", "after"))
        chart = grouped_bars(
            names,
            [
                BarSeries(title, [getattr(layer, stage).between_share for layer in network.layers])
                for title, stage in stages
            ],
            y_label="share between photos",
            x_label="layer, in order of depth",
        )
        means = {
            title: sum(getattr(layer, stage).between_share for layer in network.layers) / len(network.layers)
            for title, stage in stages
            if network.layers
        }
        body.append(
            Figure(
                chart,
                f"{network.label}: on average "
                + ", ".join(
                    f"{100 * share:.1f} % of the variance lies between photos {title}" for title, share in means.items()
                )
                + ".",
                f"Share of the variance between photos for each layer of the network with {network.label} norm.",
            )
        )
    for title, read in (("contrast", "contrast_fit"), ("mean colour", "colour_fit")):
        series = [
            Series(
                network.label,
                list(range(len(network.layers))),
                [getattr(layer.next, read) for layer in network.layers],
                norm=found.norm_of(network.label),
            )
            for network in result.networks
        ]
        last = ", ".join(f"{one.label} {number_text(one.y[0])} to {number_text(one.y[-1])}" for one in series)
        body.append(
            Figure(
                lines(
                    series,
                    x_label="layer, in order of depth",
                    y_label=f"R² of the photo's {title}",
                    x_names=[layer.name for layer in result.networks[0].layers],
                    zero_line=True,
                ),
                f"R² of the photo's {title} as the next layer could read it, first to last layer: {last}.",
                f"How well a linear fit reads the photo's {title} back, against depth, one line for each network.",
            )
        )
    return Section(
        "survival",
        "What survives normalisation",
        "What do the later layers still know about the contrast and the colour of the photo?",
        finding,
        tuple(body),
        (
            f"Shares over {result.photos} photos; linear fits over {result.samples} versions of {result.sources} "
            "photos, tested on photos the fit has not seen.",
        ),
    )
