"""The section of the report on batches that are shared out over several processes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from stylize.comparison.charts import Series, panels
from stylize.comparison.experiments import RunResult
from stylize.comparison.report import Block, Figure, Picture, PictureRow, Section, Table
from stylize.comparison.sharing import arrangement
from stylize.comparison.study import StudyOutcome
from stylize.comparison.summaries import Range, final_range, range_text, select, spread_of
from stylize.comparison.tables import number_text
from stylize.comparison.wording import capital, listed
from stylize.norms import differs_between_modes

OWN = "shared out"
TOGETHER = "shared out, synchronised"


def sharing_section(outcome: StudyOutcome) -> Section | None:
    """Return what became of every norm when its batches were shared out; None where they were not."""
    shared = [run for run in outcome.results if run.processes > 1]
    if not shared:
        return None
    counts, norms = sorted({run.processes for run in shared}), list(dict.fromkeys(run.norm for run in shared))
    body: list[Block] = [_table(outcome, norms, counts)]
    if said := _one_photo_each(outcome):
        body.insert(0, said)
    if any(run.final is not None for run in shared):
        body.insert(0, _figure(outcome, norms, counts))
    return Section(
        "shared-batches",
        "A batch on several devices",
        "What does sharing out each batch over several processes do to each norm?",
        _finding(outcome, norms, counts[-1]),
        (*body, *_pictures(outcome)),
        _caveats(outcome, counts),
    )


def _runs(outcome: StudyOutcome, norm: str, processes: int, synchronised: bool = False) -> list[RunResult]:
    """Return the runs of a norm on the first painting, one for each seed, finished or not."""
    return select(
        outcome.results, outcome.painting, norm, outcome.rates, processes=processes, synchronised=synchronised
    )


def _total(outcome: StudyOutcome, norm: str, processes: int, synchronised: bool = False) -> Range | None:
    """Return the held-out loss of a norm as it is applied, over seeds; None without a finished run."""
    finished = [run for run in _runs(outcome, norm, processes, synchronised) if run.final is not None]
    return final_range(finished, lambda point: point.total) if finished else None


def _ratio(outcome: StudyOutcome, norm: str, processes: int, synchronised: bool = False) -> float | None:
    """Return the loss with so many processes as a multiple of that with one; None without both.

    Compared are the seeds that came to an end with both: one that diverged would leave the other side with luck.
    """
    alone = {run.seed: run.final.total for run in _runs(outcome, norm, 1) if run.final is not None}
    several = {
        run.seed: run.final.total for run in _runs(outcome, norm, processes, synchronised) if run.final is not None
    }
    both = alone.keys() & several.keys()
    if not both:
        return None
    return statistics.median(several[seed] for seed in both) / statistics.median(alone[seed] for seed in both)


def _finding(outcome: StudyOutcome, norms: Sequence[str], most: int) -> str:
    own, together, others = {}, {}, {}
    for norm in norms:
        if (ratio := _ratio(outcome, norm, most)) is not None:
            (own if differs_between_modes(norm) else others)[norm] = ratio
        if (ratio := _ratio(outcome, norm, most, True)) is not None:
            together[norm] = ratio

    def times(ratios: dict[str, float]) -> str:
        return listed(f"{norm} {ratio:.2f}" for norm, ratio in ratios.items())

    parts = []
    if own:
        parts.append(f"{times(own)} where each process has statistics of its own")
    if together:
        parts.append(f"{times(together)} with synchronised ones")
    if others:
        parts.append(f"{times(others)}, which have no statistics of the batch")
    batch = f"batch of {outcome.study.batch_size} photos shared out over {most} processes"
    finding = f"No run with each {batch} has one of one process beside it."
    if parts:
        finding = (
            f"With each {batch}, the held-out loss is this many times that of one process: {'; '.join(parts)}. "
            f"Differences of {100 * outcome.noise:.0f} % and less count as none."
        )
    lost = [run for run in outcome.results if run.processes > 1 and run.failure]
    if lost:
        named = dict.fromkeys(f"{run.norm} ({arrangement(run.processes, run.synchronised)})" for run in lost)
        finding += f" Runs that diverged: {', '.join(named)}."
    return finding


def _figure(outcome: StudyOutcome, norms: Sequence[str], counts: Sequence[int]) -> Figure:
    groups = []
    for norm in norms:
        lines = []
        for label, synchronised in ((OWN, False), (TOGETHER, True)):
            found = [_total(outcome, norm, count, synchronised and count > 1) for count in (1, *counts)]
            if not any(found[1:]):
                continue
            values, lows, highs = (
                [None if one is None else getattr(one, edge) for one in found] for edge in ("median", "low", "high")
            )
            lines.append(Series(label, list(range(len(found))), values, lows, highs))
        if lines:
            groups.append((norm, lines))
    names = [str(count) for count in (1, *counts)]
    chart = panels(groups, x_label="processes", y_label="held-out loss at the end", x_names=names)
    finding = "Held-out loss, as the network is applied, by the number of processes that share each batch."
    return Figure(
        chart, finding, "One small chart for each norm: held-out loss against processes. The table has the numbers."
    )


def _table(outcome: StudyOutcome, norms: Sequence[str], counts: Sequence[int]) -> Table:
    rows = []
    for norm in norms:
        for count, synchronised in [(1, False), *((count, both) for both in (False, True) for count in counts)]:
            runs = _runs(outcome, norm, count, synchronised)
            if not runs:
                continue
            finished = [run for run in runs if run.final is not None]
            lost = len(runs) - len(finished)
            ratio = None if count == 1 else _ratio(outcome, norm, count, synchronised)
            rows.append(
                (
                    norm,
                    arrangement(count, synchronised),
                    f"{len(finished)}" + (f" ({lost} diverged)" if lost else ""),
                    range_text(final_range(finished, lambda point: point.total)),
                    None if ratio is None else f"{ratio:.3f}",
                    range_text(final_range(finished, lambda point: point.training_total)),
                    None if (share := _with_shares(outcome, runs)) is None else range_text(share),
                    range_text(final_range(finished, lambda point: point.style)),
                    range_text(final_range(finished, lambda point: 255 * point.contrast_change)),
                )
            )
    return Table(
        (
            "norm",
            "trained by",
            "seeds",
            "loss",
            "times that of 1 process",
            "loss, batch statistics",
            "loss, statistics of a share",
            "style distance",
            "contrast change, grey levels",
        ),
        rows,
        numeric=(3, 4, 5, 6, 7, 8),
        caption="Held-out numbers at the end, as the network is applied: median, and range over seeds.",
    )


def _with_shares(outcome: StudyOutcome, runs: Sequence[RunResult]) -> Range | None:
    """Return the held-out loss with statistics of as many photos as each process had; None where they are not used."""
    found = [outcome.shares[run.name] for run in runs if run.name in outcome.shares]
    return spread_of(found) if found else None


def _one_photo_each(outcome: StudyOutcome) -> str:
    """Say what batch norm is where every process has one photo; nothing where that was not measured."""
    count = outcome.study.batch_size
    runs = _runs(outcome, "batch", count)
    again, applied = _with_shares(outcome, runs), _total(outcome, "batch", count)
    instance = _total(outcome, "instance", 1)
    if again is None or applied is None or instance is None:
        return ""
    return (
        "With one photo in each process, batch norm computes in training what instance norm does. With the statistics "
        f"of each photo alone its networks come to a held-out loss of {number_text(again.median)}, those of instance "
        f"norm to {number_text(instance.median)}. As it is applied, batch norm has running averages instead, which "
        f"that training never used, and comes to {number_text(applied.median)}."
    )


def _pictures(outcome: StudyOutcome) -> list[PictureRow]:
    alone = {one.photo: one for one in outcome.pictures}
    rows = []
    for one in outcome.shared_pictures:
        by_norm = list(one.by_norm.items())
        if one.photo in alone and "batch" in alone[one.photo].by_norm:
            place = next((number for number, (label, _) in enumerate(by_norm) if label.startswith("batch")), 0)
            by_norm.insert(place, (f"batch, {arrangement(1, False)}", alone[one.photo].by_norm["batch"]))
        rows.append(PictureRow([Picture(f"{one.photo}, {label}", image) for label, image in by_norm]))
    return rows


def _caveats(outcome: StudyOutcome, counts: Sequence[int]) -> list[str]:
    several = listed(map(str, counts))
    caveats = [
        f"{capital(several)} processes on one machine; batches, photos, crops and their order are those of one process."
    ]
    if outcome.study.rates:
        caveats.append("Each norm has the learning rate that suited it with one process.")
    shared = {(run.norm, run.seed) for run in outcome.results if run.processes > 1}
    once = [norm for norm in outcome.study.norms if sum(one == norm for one, _ in shared) == 1]
    if once:
        caveats.append(f"One seed of {listed(once)}.")
    return caveats
