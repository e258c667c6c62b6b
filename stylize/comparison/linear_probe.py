"""How well a linear fit reads numbers of a photo back from features of it, tested on photos it has not seen.

Reference: Hastie, Tibshirani, Friedman: The Elements of Statistical Learning, 2nd edition, sections 3.4.1 (ridge
regression) and 7.10 (cross-validation).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stylize.errors import InputError

LEAST_SOURCES = 3
"""Photos that the fit needs: one to test on, and two more to choose the strength of the ridge between."""

MOST_FOLDS = 8

NOISES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Strengths of the ridge that are tried, as noise on the pooled features, in standard deviations of the channel.

A ridge of N sigma^2 is what noise of standard deviation sigma on every feature amounts to. The least one is a hundredth
of the channel's own deviation: what differs by less between photos counts as gone, be it rounding or the epsilon of a
norm, which a fit without noise would magnify and read.
"""


def cross_validated_fits(columns: Tensor, targets: Sequence[Tensor], sources: Sequence[int]) -> list[float]:
    """Return how well linear fits to columns read targets back, as R^2 on photos they have not seen.

    Ridge regression with an intercept, in float64. Each photo with all its versions is left out in turn (from more than
    :data:`MOST_FOLDS` photos: groups of them), and the ridge is the one of :data:`NOISES` that predicts best when,
    among the others, each is left out in turn in the same way; so neither the fit nor its strength has seen what it is
    tested on.

    Args:
        columns: (N, D) float64, features of N pictures, each in units in which noise on all of them is alike.
        targets: (N, K) each, its K numbers in one unit; every target is fitted with a ridge of its own.
        sources: The photo that each picture comes from, of at least three.

    Returns:
        For every target, 1 - (squared errors of the fit) / (squared errors of predicting the mean of the pictures
        learned from). 0 where there is nothing to read, the target being the same everywhere.

    Raises:
        InputError: The pictures come from fewer than :data:`LEAST_SOURCES` photos.
    """
    rows, real = folds(sources)
    wanted = torch.cat([target.cpu().double() for target in targets], 1)
    count, size = rows.shape
    one, other = torch.combinations(torch.arange(count)).T
    pairs, pairs_real = (torch.cat([table[one], table[other]], 1) for table in (rows, real))
    inner, outer = [], []
    for noise in NOISES:
        smoother = _smoother(columns, len(sources) * noise**2)
        outer.append(_left_out(smoother, wanted, rows, real).square().sum(1))
        # Of fits that have seen neither of two folds: what leaving out the one tells about the other, and vice versa.
        squares = _left_out(smoother, wanted, pairs, pairs_real).square()
        told = torch.zeros_like(outer[-1])
        told.index_add_(0, one, squares[:, size:].sum(1)).index_add_(0, other, squares[:, :size].sum(1))
        inner.append(told)
    learned = torch.ones(count, len(sources), dtype=torch.float64)
    learned[torch.nonzero(real)[:, 0], rows[real]] = 0
    means = learned @ wanted / learned.sum(1, keepdim=True)
    plain = ((wanted[rows] - means[:, None]).square() * real[:, :, None]).sum(1)
    # By target from here on: each has its own columns, and its own choice of the ridge for every fold.
    widths = [target.shape[1] for target in targets]
    result = []
    for choice, errors, baseline in zip(
        torch.stack(inner).split(widths, 2), torch.stack(outer).split(widths, 2), plain.split(widths, 1), strict=True
    ):
        best = choice.sum(2).argmin(0)
        missed, whole = float(errors[best, torch.arange(count)].sum()), float(baseline.sum())
        result.append(1 - missed / whole if whole > 0 else 0.0)
    return result


def folds(sources: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the numbers of the pictures of each fold; those that come from one photo are in one fold.

    Returns:
        (F, R) numbers, filled up with zeros where a fold has fewer than R pictures, and (F, R), which are real.
    """
    numbers = {source: number % MOST_FOLDS for number, source in enumerate(sorted(set(sources)))}
    if len(numbers) < LEAST_SOURCES:
        raise InputError(
            f"{len(numbers)} different photos given for what survives normalisation; give {LEAST_SOURCES} or more, "
            "so that a fit can be tested on photos it has not seen"
        )
    numbered = torch.tensor([numbers[source] for source in sources])
    members = [torch.nonzero(numbered == fold).flatten() for fold in range(min(len(numbers), MOST_FOLDS))]
    rows = pad_sequence(members, batch_first=True)
    return rows, torch.arange(rows.shape[1]) < torch.tensor([len(fold) for fold in members])[:, None]


def _smoother(columns: Tensor, penalty: float) -> Tensor:
    """Return the matrix H, (N, N), for which a ridge regression on columns (N, D) predicts H y from y.

    H = 1/N + K (K + penalty)^-1, with K the products of the centred columns; the intercept is not penalised.
    """
    centred = columns - columns.mean(0)
    kernel = centred @ centred.T
    penalised = kernel + penalty * torch.eye(len(kernel), dtype=kernel.dtype)
    return 1 / len(kernel) + torch.cholesky_solve(kernel, torch.linalg.cholesky(penalised))


def _left_out(smoother: Tensor, targets: Tensor, rows: Tensor, real: Tensor) -> Tensor:
    """Return the errors of fits that have not seen the rows they are tested on.

    Leaving rows g out changes the errors e of a ridge regression at g to (1 - H_gg)^-1 e_g, exactly, so that no fit has
    to be made again.

    Args:
        smoother: H, (N, N).
        targets: (N, K).
        rows: (G, R), the rows that each of G fits leaves out.
        real: (G, R), which of them count; the others fill up.

    Returns:
        (G, R, K); 0 where a row does not count.
    """
    errors = (targets - smoother @ targets)[rows] * real[:, :, None]
    blocks = smoother[rows[:, :, None], rows[:, None, :]] * (real[:, :, None] & real[:, None, :])
    return torch.linalg.solve(torch.eye(rows.shape[1], dtype=smoother.dtype) - blocks, errors)
