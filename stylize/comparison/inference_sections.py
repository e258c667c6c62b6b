"""The inference evidence as sections of the report: every sentence is computed from the numbers."""

from __future__ import annotations

from stylize.comparison import batch_mates, modes, sweeps
from stylize.comparison.charts import Bar, Series, bars, panels
from stylize.comparison.cube import cube_figure
from stylize.comparison.inference import Comparison
from stylize.comparison.photo_changes import CHANGES, VISIBLE
from stylize.comparison.price_sections import cost_section, limits_section
from stylize.comparison.report import Block, Figure, Picture, PictureRow, Section, Slider
from stylize.comparison.statistics_sections import frozen_section, modes_section, survival_section
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
        modes_section(found),
        frozen_section(found),
        survival_section(found),
        limits_section(found),
        cost_section(found),
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
                        norm=found.norm_of(label),
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
        [Bar(row.label, row.change, norm=found.norm_of(row.label)) for row in result.rows],
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
