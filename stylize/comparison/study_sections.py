"""The training evidence as sections of the report: every sentence is computed from the runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from stylize.comparison.charts import Bar, BarSeries, Series, bars, grouped_bars, lines, panels
from stylize.comparison.claims import NOT_REPRODUCED, NOT_TESTED, gate_ends
from stylize.comparison.evidence import Evidence
from stylize.comparison.experiments import Point
from stylize.comparison.optimum import finding as optimum_finding
from stylize.comparison.report import Figure, Picture, PictureRow, Section, Table
from stylize.comparison.sharing_section import sharing_section
from stylize.comparison.study import StudyOutcome
from stylize.comparison.summaries import NormSummary, Range, curve_range, range_text, select
from stylize.comparison.tables import number_text
from stylize.comparison.wording import capital, listed

CONTROL_NAMES = {
    "none": "as they are",
    "equalise": "luminance equalised",
    "standardise": "mean and variance of the pixels equalised",
    "stylize": "all in one other style",
}


def study_verdict(outcome: StudyOutcome) -> list[str]:
    """Return the sentences of the verdict that rest on training."""
    claims = {claim.key: claim for claim in outcome.claims}
    chosen = ("instance-beats-batch", "not-only-the-modes", "contrast-is-not-all", "style-normalised-photos")
    said = [claims[key].sentence for key in chosen if claims[key].verdict != NOT_TESTED]
    if said:
        return said
    norms = _all_norms(outcome)
    return [norms.finding if norms is not None else "No run was finished, so nothing is decided."]


def not_reproduced(outcome: StudyOutcome) -> list[str]:
    """Return the claims that did not hold here, with the numbers."""
    return [
        f"{claim.claim} ({claim.source}) {claim.sentence}"
        for claim in outcome.claims
        if claim.verdict == NOT_REPRODUCED
    ]


def study_sections(outcome: StudyOutcome) -> list[Section]:
    """Return the sections of the training evidence, those without runs left out."""
    makers: Sequence[Callable[[StudyOutcome], Section | None]] = (
        _curves,
        _all_norms,
        _pictures,
        _controls,
        _placement,
        _gates,
        _photo_counts,
        sharing_section,
        _learning_rates,
        _optimum,
        _claims,
    )
    return [section for make in makers if (section := make(outcome)) is not None]


def _sentence(outcome: StudyOutcome, key: str) -> str:
    return next(claim.sentence for claim in outcome.claims if claim.key == key)


def _range_series(label: str, norm: str, points: Sequence[tuple[int, Range]]) -> Series:
    return Series(
        label,
        [step for step, _ in points],
        [found.median for _, found in points],
        [found.low for _, found in points],
        [found.high for _, found in points],
        norm,
    )


def _curves(outcome: StudyOutcome) -> Section | None:
    def group(value: Callable[[Point], float], in_training: Callable[[Point], float]) -> list[tuple[str, list[Series]]]:
        groups = []
        for painting in dict.fromkeys(run.painting for run in outcome.results):
            series = []
            for norm in outcome.study.main_norms or outcome.study.norms[:2]:
                points = curve_range(select(outcome.results, painting, norm, outcome.rates), value)
                if points:
                    series.append(_range_series(norm, norm, points))
                trained = curve_range(select(outcome.results, painting, norm, outcome.rates), in_training)
                if trained and any(
                    abs(a[1].median - b[1].median) > 1e-3 * b[1].median for a, b in zip(trained, points, strict=True)
                ):
                    series.append(_range_series(f"{norm}, batch statistics", f"{norm}, batch statistics", trained))
            if series:
                groups.append((painting, series))
        return groups

    style = group(lambda point: point.style, lambda point: point.training_style)
    if not style:
        return None
    total = group(lambda point: point.total, lambda point: point.training_total)
    alt = "Held-out {} against training steps, one line for each norm, with the range over seeds; one chart a painting."
    ended = {one.painting for one in outcome.summaries if one.norm == "batch" and one.seeds}
    soon = [
        f"On {one.painting} instance norm does not reach the loss that batch norm ends with."
        if one.steps_to_batch is None
        else f"On {one.painting} instance norm has the loss that batch norm ends with after {one.steps_to_batch:.0f} "
        f"of {outcome.study.steps} steps ({one.seconds_to_batch or 0:.0f} s of training)."
        for one in outcome.summaries
        if one.norm == "instance" and one.seeds and one.painting in ended
    ]
    return Section(
        "curves",
        "Learning curves",
        "Which norm learns faster, and which ends lower, when nothing else differs?",
        _sentence(outcome, "instance-beats-batch"),
        (
            Figure(
                panels(style, x_label="training steps", y_label="held-out style distance", log_y=True, share_y=False),
                " ".join(soon) or _sentence(outcome, "instance-beats-batch"),
                alt.format("style distance"),
            ),
            Figure(
                panels(total, x_label="training steps", y_label="held-out loss", log_y=True, share_y=False),
                _sentence(outcome, "not-only-the-modes"),
                alt.format("weighted loss"),
            ),
        ),
        (
            f"{outcome.study.steps} steps of {outcome.study.batch_size} crops of {outcome.study.image_size} px; what "
            "longer training or larger crops would change was not tried.",
            "The shaded range is that of the seeds; it is missing where there is one seed.",
        ),
    )


def _noise(outcome: StudyOutcome) -> str:
    """Say by how much seeds alone change a loss, and from where on a difference counts."""
    several = [one for one in outcome.summaries if one.seeds > 1 and one.painting == outcome.painting]
    shares = [(one.total.high - one.total.low) / one.total.median for one in several]
    seeds = f"seeds alone change a loss by up to {100 * max(shares):.0f} %" if shares else "there is one seed of each"
    return f"{seeds}, and differences of {100 * outcome.noise:.0f} % and less count as none"


def _all_norms(outcome: StudyOutcome) -> Section | None:
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


def _pictures(outcome: StudyOutcome) -> Section | None:
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


def _controls(outcome: StudyOutcome) -> Section | None:
    kinds = [
        kind
        for kind in ("none", *outcome.study.controls)
        if any(run.preparation == kind and run.final is not None for run in outcome.results)
    ]
    if len(kinds) < 2:
        return None
    runs = [run for run in outcome.results if run.seed == 0]
    evidence = Evidence(runs, outcome.rates, outcome.painting)
    series = [
        BarSeries(norm, [evidence.total(norm, kind) for kind in kinds], norm=norm) for norm in outcome.study.main_norms
    ]
    names = [CONTROL_NAMES[kind] for kind in kinds]
    keys = {
        "equalise": "contrast-is-not-all",
        "standardise": "preparation-does-not-replace-it",
        "stylize": "style-normalised-photos",
    }
    sentences = [_sentence(outcome, key) for kind, key in keys.items() if kind in kinds]
    curves = []
    for kind, name in zip(kinds, names, strict=True):
        lines_of_kind = []
        for norm in outcome.study.main_norms:
            points = curve_range(select(runs, outcome.painting, norm, outcome.rates, kind), lambda point: point.style)
            if points:
                lines_of_kind.append(_range_series(norm, norm, points))
        if lines_of_kind:
            curves.append((name, lines_of_kind))
    return Section(
        "photos",
        "Is it only contrast?",
        "Does the gap between the norms go away when the photos are made alike beforehand?",
        " ".join(dict.fromkeys(sentences)),
        (
            Figure(
                grouped_bars(names, series, y_label="held-out loss"),
                sentences[0],
                "Held-out loss of instance and batch norm for each kind of training photos.",
            ),
            Figure(
                panels(curves, x_label="training steps", y_label="held-out style distance", log_y=True),
                sentences[-1],
                "Held-out style distance against steps for each kind of training photos.",
            ),
        ),
        (
            "The held-out photos are prepared in the same way as the training photos, so losses compare within one "
            "kind first.",
            "One seed.",
        ),
    )


def _placement(outcome: StudyOutcome) -> Section | None:
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
        " ".join(dict.fromkeys(_sentence(outcome, key) for key in ("first-layer", "instance-shallow-batch-deep"))),
        (
            Figure(
                chart,
                f"From the lowest to the highest loss: {', '.join(ordered)}.",
                "Held-out loss for each placement: NORM@PLACE has that norm there and the other one everywhere else.",
            ),
        ),
        ("instance@first has instance norm in the first layer and batch norm in the rest; batch@first the reverse.",),
    )


def _gates(outcome: StudyOutcome) -> Section | None:
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


def _photo_counts(outcome: StudyOutcome) -> Section | None:
    counts = sorted({run.photo_limit for run in outcome.results if run.photo_limit is not None})
    if not counts:
        return None
    evidence = Evidence(outcome.results, outcome.rates, outcome.painting)
    names = [*map(str, counts), "all"]
    series = [
        Series(norm, list(range(len(names))), [evidence.first_seed(norm, limit=c) for c in [*counts, None]], norm=norm)
        for norm in outcome.study.main_norms
    ]
    return Section(
        "photo-counts",
        "How many photos does it take?",
        "What does training on few photos cost, and does batch norm suffer from many?",
        _sentence(outcome, "more-photos"),
        (
            Figure(
                lines(series, x_label="training photos", y_label="held-out loss", x_names=names),
                _sentence(outcome, "more-photos"),
                "Held-out loss against the number of training photos for both norms.",
            ),
        ),
        ("One seed; fewer photos are always among the more.",),
    )


def _learning_rates(outcome: StudyOutcome) -> Section | None:
    tried = [run for run in outcome.results if run.purpose == "rates"]
    if not tried:
        return None
    series = []
    for norm in dict.fromkeys(run.norm for run in tried):
        runs = sorted((run for run in tried if run.norm == norm), key=lambda run: run.learning_rate)
        losses = [run.final.total if run.final is not None else None for run in runs]
        if any(loss is not None for loss in losses):
            series.append(Series(norm, [run.learning_rate for run in runs], losses, norm=norm))
    chosen = ", ".join(f"{norm} {rate:g}" for norm, rate in outcome.rates.items() if "@" not in norm)
    finding = f"Each norm's own best of {', '.join(f'{rate:g}' for rate in outcome.study.rates)}: {chosen}."
    return Section(
        "learning-rates",
        "Each at its own learning rate",
        "Is a norm behind only because the learning rate suits another?",
        finding,
        (
            Figure(
                lines(series, x_label="peak learning rate", y_label="held-out loss", log_x=True),
                finding,
                "Held-out loss at the end against the peak learning rate, one line for each norm.",
            ),
        ),
        (
            "The rate is chosen on the held-out photos with seed 0; all other runs of that norm use it.",
            *_at_the_end_of_the_grid(outcome),
        ),
    )


def _at_the_end_of_the_grid(outcome: StudyOutcome) -> list[str]:
    """Say which norms might do better beyond the learning rates that were tried."""
    found = []
    for end, word in ((min(outcome.study.rates), "lower"), (max(outcome.study.rates), "higher")):
        norms = [norm for norm, rate in outcome.rates.items() if rate == end and "@" not in norm]
        if norms:
            named = listed(norms)
            found.append(f"{end:g} was the {word[:-2]}est rate tried: a {word} one might suit {named} better still.")
    return found


def _optimum(outcome: StudyOutcome) -> Section | None:
    found = outcome.optimum
    if found is None:
        return None
    series = [
        Series(
            "from the photo" if descent.start == "photo" else f"from {descent.start} norm's output",
            list(range(len(descent.losses))),
            descent.losses,
            norm=descent.start,
        )
        for descent in found.descents
    ]
    return Section(
        "optimum",
        "The gap to the optimum",
        "How much optimisation of the picture itself does a network's one pass save?",
        optimum_finding(found),
        (
            Figure(
                lines(series, x_label="steps of Adam on the pixels", y_label="loss (lowest so far)", log_y=True),
                optimum_finding(found),
                "Loss against steps of optimisation, from the photo and from the output of each network.",
            ),
        ),
        (f"Mean over {found.photos} photos of {outcome.study.image_size} px.",),
    )


def _claims(outcome: StudyOutcome) -> Section | None:
    decided = [claim for claim in outcome.claims if claim.verdict != NOT_TESTED]
    counts = {
        verdict: sum(claim.verdict == verdict for claim in decided)
        for verdict in dict.fromkeys(claim.verdict for claim in decided)
    }
    finding = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return Section(
        "claims",
        "What is said, and what came of it here",
        "Which of the claims about these norms hold in this study?",
        f"Of {len(outcome.claims)} claims: {finding or 'none tested'}"
        + (f", {len(outcome.claims) - len(decided)} not tested." if len(decided) < len(outcome.claims) else "."),
        (
            Table(
                ("claim", "source", "here", "measured"),
                [(claim.claim, claim.source, claim.verdict, claim.sentence) for claim in outcome.claims],
            ),
        ),
    )
