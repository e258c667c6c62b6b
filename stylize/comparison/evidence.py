"""The runs of a training study, as the claims about norms ask for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from stylize.comparison.experiments import Point, RunResult
from stylize.comparison.summaries import NormSummary, final_range, select, summarise

SMALLEST_NOISE = 0.02
"""Differences below this share are never called differences: one seed more would move them."""


class Evidence:
    """The runs of a study, as the claims ask for them.

    Args:
        results: All runs.
        rates: The learning rate of each norm.
        painting: The painting that has all the runs; the first.
    """

    def __init__(self, results: Sequence[RunResult], rates: Mapping[str, float], painting: str) -> None:
        self.results = list(results)
        self.rates = dict(rates)
        self.painting = painting
        self.summaries = {(one.painting, one.norm): one for one in summarise(results, rates)}
        self.noise = self._noise()

    def _noise(self) -> float:
        """Return the share by which the loss of one norm differs between seeds, the largest found on the painting that
        the claims are held against; on any where that one has a single seed."""
        several = [one for one in self.summaries.values() if one.seeds > 1]
        own = [one for one in several if one.painting == self.painting]
        shares = [(one.total.high - one.total.low) / one.total.median for one in own or several]
        return max([SMALLEST_NOISE, *shares])

    def summary(self, norm: str, painting: str | None = None) -> NormSummary | None:
        """Return the summary of a norm with at least one finished run, or None."""
        found = self.summaries.get((painting or self.painting, norm))
        return found if found is not None and found.seeds else None

    def value(
        self,
        norm: str,
        read: Callable[[Point], float],
        preparation: str = "none",
        limit: int | None = None,
        seed: int | None = None,
    ) -> float | None:
        """Return the median over finished runs, or those of one seed, of a number of their last measurement; or None
        without any."""
        runs = select(self.results, self.painting, norm, self.rates, preparation, limit)
        found = final_range([run for run in runs if seed in (None, run.seed)], read).median
        return None if math.isnan(found) else found

    def total(self, norm: str, preparation: str = "none", limit: int | None = None) -> float | None:
        """Return the held-out loss of a norm as it is applied."""
        return self.value(norm, lambda point: point.total, preparation, limit)

    def first_seed(self, norm: str, preparation: str = "none", limit: int | None = None) -> float | None:
        """Return the held-out loss of the run with seed 0, against which the controls, of that seed too, are held."""
        return self.value(norm, lambda point: point.total, preparation, limit, seed=0)

    def shared_out(self, norm: str, processes: int, synchronised: bool = False) -> float | None:
        """Return the held-out loss of a norm that so many processes trained together."""
        runs = select(self.results, self.painting, norm, self.rates, processes=processes, synchronised=synchronised)
        found = final_range(runs, lambda point: point.total).median
        return None if math.isnan(found) else found

    def diverged(self, norm: str, processes: int) -> int:
        """Return how many of the runs of a norm that so many processes trained together diverged."""
        runs = select(self.results, self.painting, norm, self.rates, processes=processes)
        return sum(bool(run.failure) for run in runs)

    def compare(self, first: float, second: float) -> int:
        """Return -1 where ``first`` is lower by more than the noise between seeds, 1 where it is higher, else 0."""
        share = first / second - 1
        return 0 if abs(share) <= self.noise else (-1 if share < 0 else 1)
