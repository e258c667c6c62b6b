"""Mean and variance of channels-last features, computed in float32 with what PyTorch has for it.

Reference: Chan, Golub, LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
equation 2.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

POSITIONS_PER_SUM = 65536
"""Positions summed in float32 at once: sums of more lose digits, as each channel is summed one value after another."""


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (1, C), float32, of the channels of features (1, C, H, W) in channels-last format.

    In pieces of :data:`POSITIONS_PER_SUM` positions, which are put together in float64. A CUDA GPU sums many parts at
    once by itself, each of them by Welford's method, and has no need of pieces.
    """
    _, channels, height, width = features.shape
    if features.device.type not in ("cpu", "cuda"):
        wide = features.float()
        mean = wide.mean((2, 3), keepdim=True)
        return mean[..., 0, 0], (wide - mean).square().mean((2, 3))
    rows_at_once = height if features.device.type == "cuda" else max(1, POSITIONS_PER_SUM // width)
    pieces = features.split(rows_at_once, dim=2)
    means, variances = zip(*(_statistics_of_piece(piece) for piece in pieces), strict=True)
    if len(pieces) == 1:
        return means[0][None], variances[0][None]
    means, variances = torch.stack(means).double(), torch.stack(variances).double()
    rows = torch.tensor([piece.shape[2] for piece in pieces], dtype=torch.float64, device=features.device)
    share = (rows / height)[:, None]
    mean = (share * means).sum(0, keepdim=True)
    variance = (share * (variances + (means - mean).square())).sum(0, keepdim=True)
    return mean.float(), variance.float()


def _statistics_of_piece(piece: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (C,) in float32.

    ``torch.batch_norm_update_stats`` is a kernel for channels-last features that torch runs inside its batch norm. It
    centres the values before it squares them. It answers in the dtype of the running averages it is given: those are
    there for their float32 alone.
    """
    channels = piece.shape[1]
    running = torch.zeros(2, channels, device=piece.device)
    return torch.batch_norm_update_stats(piece, running[0], running[1], 1.0)
