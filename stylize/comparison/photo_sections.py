"""What the training photos of a study have to do with it, as sections of the report: made alike, and few of them."""

from __future__ import annotations

from stylize.comparison.charts import BarSeries, Series, grouped_bars, lines, panels
from stylize.comparison.evidence import Evidence
from stylize.comparison.learning_sections import range_series
from stylize.comparison.report import Figure, Section
from stylize.comparison.study import StudyOutcome
from stylize.comparison.summaries import curve_range, select

CONTROL_NAMES = {
    "none": "as they are",
    "equalise": "luminance equalised",
    "standardise": "mean and variance of the pixels equalised",
    "stylize": "all in one other style",
}


def controls_section(outcome: StudyOutcome) -> Section | None:
    """Return the runs on photos that were made alike; None without them."""
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
    sentences = [outcome.sentence(key) for kind, key in keys.items() if kind in kinds]
    curves = []
    for kind, name in zip(kinds, names, strict=True):
        lines_of_kind = []
        for norm in outcome.study.main_norms:
            points = curve_range(select(runs, outcome.painting, norm, outcome.rates, kind), lambda point: point.style)
            if points:
                lines_of_kind.append(range_series(norm, norm, points))
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


def photo_counts_section(outcome: StudyOutcome) -> Section | None:
    """Return the runs on few photos; None without them."""
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
        outcome.sentence("more-photos"),
        (
            Figure(
                lines(series, x_label="training photos", y_label="held-out loss", x_names=names),
                outcome.sentence("more-photos"),
                "Held-out loss against the number of training photos for both norms.",
            ),
        ),
        ("One seed; fewer photos are always among the more.",),
    )
