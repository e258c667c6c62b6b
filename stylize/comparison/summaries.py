"""The runs of a study, summed up over seeds: median and range, and how soon each norm gets to a given loss."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stylize.comparison.experiments import Point, RunResult
from stylize.comparison.tables import number_text

Value = Callable[[Point], float]


@dataclass(frozen=True)
class Range:
    """A number over several seeds."""

    median: float
    low: float
    high: float


def range_text(found: Range) -> str:
    """Return a range as a cell of a table has it: ``1.36 (1.34 to 1.40)``."""
    if found.low == found.high or math.isnan(found.median):
        return number_text(found.median)
    return f"{number_text(found.median)} ({number_text(found.low)} to {number_text(found.high)})"


@dataclass(frozen=True)
class NormSummary:
    """What a norm came to on a painting.

    Attributes:
        painting: Stem of the painting's file.
        norm: The normalisation.
        learning_rate: Peak learning rate.
        seeds: Finished runs.
        diverged: Runs that stopped before their end.
        style: Held-out style distance as the network is applied.
        content: Held-out content distance as the network is applied.
        total: Held-out weighted loss as the network is applied.
        training_style: Held-out style distance with batch statistics.
        training_total: Held-out weighted loss with batch statistics.
        contrast_change: Change of the result under halved contrast, in grey levels.
        steps_to_batch: Steps until the loss that batch norm ends with (its median), median over seeds; None = never.
        seconds_to_batch: The same in seconds of training.
    """

    painting: str
    norm: str
    learning_rate: float
    seeds: int
    diverged: int
    style: Range
    content: Range
    total: Range
    training_style: Range
    training_total: Range
    contrast_change: Range
    steps_to_batch: float | None
    seconds_to_batch: float | None


def spread_of(values: Sequence[float]) -> Range:
    """Return median, lowest and highest of some values; not-a-numbers when there is none."""
    if not values:
        return Range(math.nan, math.nan, math.nan)
    return Range(statistics.median(values), min(values), max(values))


def select(
    results: Sequence[RunResult],
    painting: str,
    norm: str,
    rates: Mapping[str, float],
    preparation: str = "none",
    photo_limit: int | None = None,
    processes: int = 1,
    synchronised: bool = False,
) -> list[RunResult]:
    """Return the runs of a norm on a painting at its own learning rate, one for each seed."""
    wanted = (painting, norm, preparation, photo_limit, processes, synchronised)
    return [
        result
        for result in results
        if (result.painting, result.norm, result.preparation, result.photo_limit, result.processes, result.synchronised)
        == wanted
        and result.learning_rate == rates.get(norm, result.learning_rate)
    ]


def final_range(runs: Sequence[RunResult], value: Value) -> Range:
    """Return the range over finished runs of a number of their last measurement."""
    return spread_of([value(run.final) for run in runs if run.final is not None])


def reaches(run: RunResult, loss: float, along: Value) -> float | None:
    """Return where on its way (``along``: step or seconds) the held-out loss of a run falls to ``loss``.

    Between two measurements the loss is taken to fall in a straight line. None where it never does.
    """
    before: Point | None = None
    for point in run.curve:
        if point.total <= loss:
            if before is None or before.total == point.total:
                return along(point)
            share = (before.total - loss) / (before.total - point.total)
            return along(before) + share * (along(point) - along(before))
        before = point
    return None


def summarise(results: Sequence[RunResult], rates: Mapping[str, float]) -> list[NormSummary]:
    """Return a summary for every painting and norm trained on plain photos by one process, in the order of
    the results.

    Args:
        results: The runs of a study.
        rates: The learning rate of each norm; a norm that is missing has all its runs counted.
    """
    plain = [run for run in results if run.preparation == "none" and run.photo_limit is None and run.processes == 1]
    pairs = dict.fromkeys((run.painting, run.norm) for run in plain)
    summaries = []
    for painting, norm in pairs:
        runs = select(plain, painting, norm, rates)
        batch = final_range(select(plain, painting, "batch", rates), lambda point: point.total).median
        summaries.append(
            NormSummary(
                painting,
                norm,
                runs[0].learning_rate if runs else math.nan,
                sum(run.final is not None for run in runs),
                sum(bool(run.failure) for run in runs),
                final_range(runs, lambda point: point.style),
                final_range(runs, lambda point: point.content),
                final_range(runs, lambda point: point.total),
                final_range(runs, lambda point: point.training_style),
                final_range(runs, lambda point: point.training_total),
                final_range(runs, lambda point: 255 * point.contrast_change),
                _median_reach(runs, batch, lambda point: point.step),
                _median_reach(runs, batch, lambda point: point.seconds),
            )
        )
    return summaries


def _median_reach(runs: Sequence[RunResult], loss: float, along: Value) -> float | None:
    """Return the median over finished runs of where they reach a loss; None unless most of them do."""
    places = [reaches(run, loss, along) for run in runs if run.final is not None]
    # A run that never gets there counts as one that would take for ever, or the slow ones would be left out.
    median = statistics.median([math.inf if place is None else place for place in places]) if places else math.inf
    return median if math.isfinite(median) else None


def curve_range(runs: Sequence[RunResult], value: Value) -> list[tuple[int, Range]]:
    """Return, for every step at which all finished runs were measured, the range of a number over them."""
    finished = [run for run in runs if run.final is not None]
    if not finished:
        return []
    by_step: dict[int, list[float]] = {}
    for run in finished:
        for point in run.curve:
            by_step.setdefault(point.step, []).append(value(point))
    return [(step, spread_of(values)) for step, values in sorted(by_step.items()) if len(values) == len(finished)]
