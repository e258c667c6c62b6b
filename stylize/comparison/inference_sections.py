"""The inference evidence as sections of the report: every sentence is computed from the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from stylize.comparison import batch_mates, cost, frozen_statistics, limits, modes, survival, sweeps
from stylize.comparison.charts import Bar, BarSeries, Series, bars, grouped_bars, lines, panels
from stylize.comparison.cube import cube_figure
from stylize.comparison.inference import Comparison
from stylize.comparison.photo_changes import CHANGES, VISIBLE
from stylize.comparison.report import Block, Figure, Picture, PictureRow, Section, Slider, Table
from stylize.comparison.tables import number_text
from stylize.comparison.wording import lead, listed
from stylize.config import NORM_NAMES, parse_norm
from stylize.images import to_image

SHORT_UNITS = {
    "contrast": "factor",
    "brightness": "added",
    "gamma": "power",
    "colour cast": "red up, blue down",
}
"""What the factor of a change is, in a chart that is narrow."""


def inference_verdict(found: Comparison) -> list[str]:
    """Return the sentences of the verdict that rest on trained networks alone."""
    unchanged = {row.label: row.style for row in found.sweeps if row.unchanged}
    best = min(unchanged, key=lambda label: unchanged[label])
    others = [
        f"{label} {number_text(value)} ({number_text(value / unchanged[best])} times)"
        for label, value in unchanged.items()
        if label != best
    ]
    photos = len(found.photos)
    first = (
        f"On {photos} photo{'s' if photos > 1 else ''} as they are, the network with {best} norm comes closest to the "
        f"style of {found.style}: style distance {number_text(unchanged[best])}, against {' and '.join(others)}."
    )
    halved = {row.label: row.output_change for row in found.sweeps if row.change == "contrast" and row.factor == 0.5}
    said = ", ".join(f"{number_text(value)} ({label})" for label, value in halved.items())
    second = f"Halving the contrast of the photo changes the result by this many grey levels of 255: {said}."
    return [first, second, modes.finding(found.modes)]


def inference_sections(found: Comparison) -> list[Section]:
    """Return the sections of the inference evidence."""
    sections = [
        _cube(found),
        _pictures(found),
        _sweeps(found),
        _batch_mates(found),
        _modes(found),
        _frozen(found),
        _survival(found),
        _limits(found),
        _cost(found),
    ]
    return [section for section in sections if section is not None]


def fairness(found: Comparison) -> str:
    """Say in which recorded settings of their training the networks differ, beyond the norm."""
    names = ("preset", "steps", "batch_size", "image_size", "learning_rate", "seed", "loss")
    known = [name for name in names if all(name in network for network in found.networks)]
    different = [name for name in known if any(network[name] != found.networks[0][name] for network in found.networks)]
    unknown = [name for name in names if name not in known]
    same = [name for name in known if name not in different]
    parts = []
    if different:
        parts.append(f"The networks differ in more than the norm: {', '.join(different)}; the comparison is not fair.")
    if same:
        parts.append(f"The networks have the same {', '.join(same)}.".replace("_", " "))
    if unknown:
        parts.append(f"Not recorded for all: {', '.join(unknown)}.".replace("_", " "))
    return " ".join(parts)


def _norm_of(found: Comparison, label: str) -> str:
    return next((str(one["norm"]) for one in found.networks if one["label"] == label), label)


def _cube(found: Comparison) -> Section:
    used = dict.fromkeys(parse_norm(str(one["norm"])).norm for one in found.networks)
    shown = [*used, *(name for name in NORM_NAMES if name not in used)]
    return Section(
        "axes",
        "What a norm averages over",
        "What is the difference between these norms?",
        "Most norms subtract a mean of the features and divide by their standard deviation, and differ in which "
        "numbers share them; weight norm scales the filters instead, and none leaves the features as they are.",
        (
            Figure(
                cube_figure(shown),
                f"Compared in this report: {', '.join(used)}.",
                "For every norm a block of features of photos, channels and positions; what shares one mean and one "
                "variance is in colour.",
            ),
        ),
    )


def _pictures(found: Comparison) -> Section:
    body: list[Block] = []
    for painted in found.pictures:
        (first, one), *rest = painted.by_label.items()
        for second, two in rest[:1]:
            body.append(Slider(f"{painted.photo}: {first} | {second}", Picture(first, one), Picture(second, two)))
        body.append(
            PictureRow(
                (
                    Picture(f"{painted.photo}, the photo", painted.original),
                    *(Picture(f"{painted.photo}, {label}", image) for label, image in painted.by_label.items()),
                )
            )
        )
    unchanged = {row.label: row.style for row in found.sweeps if row.unchanged}
    said = ", ".join(f"{label} {number_text(value)}" for label, value in unchanged.items())
    return Section(
        "pictures",
        "Side by side",
        "What does each network paint?",
        f"Style distance to {found.style}, mean over {len(found.photos)} photos (lower is closer): {said}.",
        tuple(body),
        (_measured_on(found), fairness(found)),
    )


def _measured_on(found: Comparison) -> str:
    """Say which photos the numbers are of: at most so many of those given, and example photos where they are fewer."""
    joined = found.photos[len(found.pictures) :]
    text = f"Style distances are measured on squares of {found.size} px of {listed(found.photos)}"
    return f"{text}; {listed(joined)} came with stylize, because a single photo says little." if joined else f"{text}."


def _sweeps(found: Comparison) -> Section:
    def groups(read: str) -> list[tuple[str, list[Series]]]:
        return [
            (
                f"{name} ({SHORT_UNITS.get(name, change.unit)})",
                [
                    Series(
                        label,
                        [row.factor for row in found.sweeps if (row.label, row.change) == (label, name)],
                        [getattr(row, read) for row in found.sweeps if (row.label, row.change) == (label, name)],
                        norm=_norm_of(found, label),
                    )
                    for label in found.labels
                ],
            )
            for name, change in CHANGES.items()
            if any(row.change == name for row in found.sweeps)
        ]

    finding, more = lead(sweeps.finding(found.sweeps))
    unchanged = {row.label: row.style for row in found.sweeps if row.unchanged}
    worst = {label: max(row.style for row in found.sweeps if row.label == label) for label in found.labels}
    distances = ", ".join(
        f"{label} {number_text(unchanged[label])} (at worst {number_text(worst[label])})" for label in found.labels
    )
    largest = {label: max(row.output_change for row in found.sweeps if row.label == label) for label in found.labels}
    blind = [
        label
        for label in found.labels
        if all(
            row.instance_first and row.output_change <= VISIBLE
            for row in found.sweeps
            if row.label == label and row.removable
        )
    ]
    by_design = (
        (
            f"That {listed(blind)} cannot see contrast or brightness is a property of the architecture with reflection "
            "padding, trained or not; it says nothing about which network learned better.",
        )
        if blind
        else ()
    )
    moved = ", ".join(f"{label} {number_text(value)}" for label, value in largest.items())
    return Section(
        "sweeps",
        "Contrast, brightness, gamma, colour",
        "How does the result follow a change of the photo, and is that the whole difference?",
        finding,
        (
            *more,
            Figure(
                panels(groups("style"), x_label="factor", y_label="style distance", share_x=False),
                f"Style distance on unchanged photos: {distances}.",
                "Style distance against the factor of each change, one line for each network.",
            ),
            Figure(
                panels(groups("output_change"), x_label="factor", y_label="change, grey levels", share_x=False),
                f"The largest change of the result over all factors, in grey levels: {moved}.",
                "Change of the result in grey levels against the factor of each change.",
            ),
        ),
        (
            f"Means over {len(found.photos)} photos, squares of {found.size} px.",
            "Contrast, brightness and colour casts are not clipped to what a camera can store, because the "
            "invariance is one of the network and not of the file format.",
            *by_design,
        ),
    )


def _batch_mates(found: Comparison) -> Section:
    result = found.batch_mates
    finding, more = lead(batch_mates.finding(result))
    said = ", ".join(f"{row.label} {number_text(row.change)}" for row in result.rows)
    rows = [
        PictureRow(
            (
                Picture(f"{one.label}, beside dark photos", to_image(one.beside_dark.cpu())),
                Picture(f"{one.label}, beside bright photos", to_image(one.beside_bright.cpu())),
                Picture(
                    f"{one.label}, difference x {result.amplification:g}", to_image(one.difference.cpu()), lossless=True
                ),
            )
        )
        for one in found.mates_pictures
    ]
    sizes = list(dict.fromkeys(one.get("batch_size") for one in found.networks))
    trained = f"; the networks were trained on batches of {sizes[0]}" if len(sizes) == 1 and sizes[0] else ""
    chart = bars(
        [Bar(row.label, row.change, norm=_norm_of(found, row.label)) for row in result.rows],
        x_label="change of the same photo's result, grey levels",
    )
    return Section(
        "batch-mates",
        "Batch mates",
        "In training mode, does it matter which photos share the batch?",
        finding,
        (
            *more,
            Figure(chart, f"Change of the result in grey levels: {said}.", "A bar for every network."),
            *rows,
        ),
        (f"{batch_mates.MATES} photos beside it, so a batch of {batch_mates.MATES + 1}{trained}.",),
    )


def _modes(found: Comparison) -> Section:
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


def _frozen(found: Comparison) -> Section | None:
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
            f"These weights were trained with {_norm_of(found, result.label)} norm and its statistics of each photo; "
            "what they do without says nothing about a network that was trained without.",
        ),
    )


def _survival(found: Comparison) -> Section:
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
                norm=_norm_of(found, network.label),
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


def _limits(found: Comparison) -> Section:
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
                        norm=_norm_of(found, label),
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


def _cost(found: Comparison) -> Section:
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
