"""What each norm, and each place of it, came to in a study, as sections of the report."""

from __future__ import annotations

import math

from stylize.comparison.charts import Bar, Series, bars, lines
from stylize.comparison.claims import gate_ends
from stylize.comparison.evidence import Evidence
from stylize.comparison.report import Figure, Picture, PictureRow, Section, Table
from stylize.comparison.study import StudyOutcome
from stylize.comparison.summaries import NormSummary, range_text, select
from stylize.comparison.tables import number_text
from stylize.comparison.wording import capital, listed


def norms_section(outcome: StudyOutcome) -> Section | None:
    """Return the end results of all norms; None without a run."""
    rows = [one for one in outcome.summaries if one.painting == outcome.painting]
    if not rows:
        return None

    def key(one: NormSummary) -> float:
        return one.total.median if not math.isnan(one.total.median) else math.inf

    rows = sorted(rows, key=key)
    finished = [one for one in rows if one.seeds]
    best = finished[0] if finished else None
    finding = (
        "No run was finished."
        if best is None
        else (
            f"The lowest held-out loss of {len(finished)} norms on {outcome.painting} is that of {best.norm} "
            f"({number_text(best.total.median)}), the highest that of {finished[-1].norm} "
            f"({number_text(finished[-1].total.median)}); {_noise(outcome)}."
        )
    )
    diverged = [one.norm for one in rows if one.diverged]
    if diverged:
        finding += f" Runs that diverged: {', '.join(diverged)}."
    table = Table(
        (
            "norm",
            "seeds",
            "learning rate",
            "loss",
            "loss, batch statistics",
            "style distance",
            "content distance",
            "contrast change, grey levels",
            "steps to batch norm's loss",
        ),
        [
            (
                one.norm,
                f"{one.seeds}" + (f" ({one.diverged} diverged)" if one.diverged else ""),
                one.learning_rate,
                range_text(one.total),
                range_text(one.training_total),
                range_text(one.style),
                range_text(one.content),
                range_text(one.contrast_change),
                None if one.steps_to_batch is None else round(one.steps_to_batch),
            )
            for one in rows
        ],
        numeric=(2, 3, 4, 5, 6, 7, 8),
        caption="Held-out numbers at the end, as the network is applied: median, and range over seeds.",
    )
    chart = [Bar(one.norm, one.total.median, one.total.low, one.total.high, one.norm) for one in finished]
    body: list[Figure | Table] = [table]
    if chart:
        body.insert(
            0,
            Figure(
                bars(chart, x_label="held-out loss at the end (lower is better)"),
                finding,
                "The held-out loss of every norm as a bar, sorted; the table has the numbers.",
            ),
        )
    seeds = {one.seeds + one.diverged for one in rows}
    caveats = [f"The norms were trained with {min(seeds)} to {max(seeds)} seeds."] if len(seeds) > 1 else []
    prepared = [one.norm for one in rows if one.norm in ("weight", "none")]
    if prepared:
        caveats.append(
            f"{capital(listed(prepared))} {'begins' if len(prepared) == 1 else 'begin'} from the statistics of the "
            "first batch (see stylize.norms), so that every network starts as the same function of it."
        )
    return Section(
        "norms",
        "All norms",
        "Which of all normalisations learns this task best?",
        finding,
        tuple(body),
        caveats,
    )


def _noise(outcome: StudyOutcome) -> str:
    """Say by how much seeds alone change a loss, and from where on a difference counts."""
    several = [one for one in outcome.summaries if one.seeds > 1 and one.painting == outcome.painting]
    shares = [(one.total.high - one.total.low) / one.total.median for one in several]
    seeds = f"seeds alone change a loss by up to {100 * max(shares):.0f} %" if shares else "there is one seed of each"
    return f"{seeds}, and differences of {100 * outcome.noise:.0f} % and less count as none"


def pictures_section(outcome: StudyOutcome) -> Section | None:
    """Return what the networks paint; None where nothing was painted."""
    shown = [one for one in outcome.pictures if one.by_norm]
    if not shown:
        return None
    rows = [
        PictureRow(
            (
                Picture(f"{one.photo}, the photo", one.original),
                *(Picture(f"{one.photo}, {norm}", picture) for norm, picture in one.by_norm.items()),
            )
        )
        for one in shown
    ]
    return Section(
        "trained-pictures",
        "Painted by the networks of the study",
        "What do the numbers look like?",
        f"{len(shown)} photos by {len(shown[0].by_norm)} networks of seed 0, trained for {outcome.study.steps} steps.",
        tuple(rows),
    )


def placement_section(outcome: StudyOutcome) -> Section | None:
    """Return the runs with one norm in a part of the network; None without them."""
    placed = [norm for norm in outcome.study.norms if "@" in norm]
    evidence = Evidence(outcome.results, outcome.rates, outcome.painting)
    known = [norm for norm in ("instance", "batch", *placed) if evidence.total(norm) is not None]
    if not any("@" in norm for norm in known):
        return None
    ordered = sorted(known, key=lambda norm: evidence.total(norm) or math.inf)
    chart = bars([Bar(norm, evidence.total(norm), norm=norm) for norm in ordered], x_label="held-out loss at the end")
    return Section(
        "placement",
        "Where does it matter?",
        "Which layers need instance norm, and is batch norm right for the deep ones?",
        " ".join(dict.fromkeys(outcome.sentence(key) for key in ("first-layer", "instance-shallow-batch-deep"))),
        (
            Figure(
                chart,
                f"From the lowest to the highest loss: {', '.join(ordered)}.",
                "Held-out loss for each placement: NORM@PLACE has that norm there and the other one everywhere else.",
            ),
        ),
        ("instance@first has instance norm in the first layer and batch norm in the rest; batch@first the reverse.",),
    )


def gates_section(outcome: StudyOutcome) -> Section | None:
    """Return where the gates of batch-instance norm ended; None without such a run."""
    evidence = Evidence(outcome.results, outcome.rates, outcome.painting)
    ends = gate_ends(evidence)
    if not ends:
        return None
    runs = select(outcome.results, outcome.painting, "batch-instance", outcome.rates)
    run = next(run for run in runs if run.final is not None)
    steps = [point.step for point in run.curve if point.gates]
    depth = list(range(1, len(ends) + 1))
    half = len(ends) // 2
    shallow, deep = sum(ends[:half]) / max(half, 1), sum(ends[half:]) / max(len(ends) - half, 1)
    word = "nearer to instance norm" if min(ends) < 0.5 else "nearer to batch norm"
    finding = (
        f"The mean gate ends at {shallow:.2f} in the shallower half of the layers and at {deep:.2f} in the deeper "
        f"half; the layer that moved furthest ends {word}, at {min(ends):.2f}."
    )
    body = [
        Figure(
            lines(
                [Series("batch-instance", depth, ends, norm="batch-instance")],
                x_label="layer, in order of depth",
                y_label="mean gate (1 = batch, 0 = instance)",
            ),
            finding,
            "The mean gate of each layer at the end of the training.",
        )
    ]
    if len(steps) > 1:
        shown = sorted({0, len(ends) // 4, len(ends) // 2, (3 * len(ends)) // 4, len(ends) - 1})
        series = [
            Series(f"layer {index + 1}", steps, [point.gates[index] for point in run.curve if point.gates])
            for index in shown
        ]
        body.append(
            Figure(
                lines(series, x_label="training steps", y_label="mean gate (1 = batch, 0 = instance)"),
                f"From step {steps[0]} to {steps[-1]} the gate of the first layer goes from "
                f"{series[0].y[0]:.2f} to {series[0].y[-1]:.2f}.",
                "The mean gate of some layers against steps.",
            )
        )
    return Section(
        "gates",
        "What does a network choose?",
        "Given a gate between batch and instance norm in every channel, where does training put it?",
        finding,
        tuple(body),
        ("The gates begin at 1 and learn ten times faster than the other weights (Nam and Kim 2018).",),
    )
