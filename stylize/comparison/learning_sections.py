"""How the networks of a study learned, as sections of the report: curves, learning rates, the gap to the optimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stylize.comparison.charts import Series, lines, panels
from stylize.comparison.experiments import Point
from stylize.comparison.optimum import finding as optimum_finding
from stylize.comparison.report import Figure, Section
from stylize.comparison.study import StudyOutcome
from stylize.comparison.summaries import Range, curve_range, select
from stylize.comparison.wording import listed


def range_series(label: str, norm: str, points: Sequence[tuple[int, Range]]) -> Series:
    """Return a line of a chart: the median of each step, and the range over seeds as its shade."""
    return Series(
        label,
        [step for step, _ in points],
        [found.median for _, found in points],
        [found.low for _, found in points],
        [found.high for _, found in points],
        norm,
    )


def curves_section(outcome: StudyOutcome) -> Section | None:
    """Return the learning curves of the main norms; None without a finished run of them."""

    def group(value: Callable[[Point], float], in_training: Callable[[Point], float]) -> list[tuple[str, list[Series]]]:
        groups = []
        for painting in dict.fromkeys(run.painting for run in outcome.results):
            series = []
            for norm in outcome.study.main_norms or outcome.study.norms[:2]:
                points = curve_range(select(outcome.results, painting, norm, outcome.rates), value)
                if points:
                    series.append(range_series(norm, norm, points))
                trained = curve_range(select(outcome.results, painting, norm, outcome.rates), in_training)
                if trained and any(
                    abs(a[1].median - b[1].median) > 1e-3 * b[1].median for a, b in zip(trained, points, strict=True)
                ):
                    series.append(range_series(f"{norm}, batch statistics", f"{norm}, batch statistics", trained))
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
        outcome.sentence("instance-beats-batch"),
        (
            Figure(
                panels(style, x_label="training steps", y_label="held-out style distance", log_y=True, share_y=False),
                " ".join(soon) or outcome.sentence("instance-beats-batch"),
                alt.format("style distance"),
            ),
            Figure(
                panels(total, x_label="training steps", y_label="held-out loss", log_y=True, share_y=False),
                outcome.sentence("not-only-the-modes"),
                alt.format("weighted loss"),
            ),
        ),
        (
            f"{outcome.study.steps} steps of {outcome.study.batch_size} crops of {outcome.study.image_size} px; what "
            "longer training or larger crops would change was not tried.",
            "The shaded range is that of the seeds; it is missing where there is one seed.",
        ),
    )


def learning_rates_section(outcome: StudyOutcome) -> Section | None:
    """Return what each learning rate came to; None where none was tried."""
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


def optimum_section(outcome: StudyOutcome) -> Section | None:
    """Return the gap to the optimum; None where it was not measured."""
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
