"""Batch statistics over the shares of a batch that several processes have.

With a batch shared out over N processes, batch norm takes mean and variance over the photos of its own process, N times
fewer than the batch has. :func:`synchronised` gives a network whose batch norms take them over all photos, as one
process with the whole batch would.

``torch.nn.SyncBatchNorm`` does the same for features on a GPU and refuses those on a CPU; and it knows neither the
gates of batch-instance norm nor conditional norms. So this one is written with the collectives of any backend, and is
the same everywhere.

Each process computes mean m_r and variance v_r of its share; the shares are equally large, so that over all of them::

    m = mean of m_r          v = mean of v_r + mean of (m_r - m)^2

which is the variance of the whole batch, without a difference of large sums.

References:
    Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1.
    Peng et al. 2018, "MegDet", arXiv 1711.07240, section 3.2 (batch statistics over several devices).
    Chan, Golub, LeVeque 1983, "Algorithms for Computing the Sample Variance", equation 2.1 (variances put together).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, distributed, nn

from stylize.conditional_norms import ConditionalBatchNorm
from stylize.errors import InputError
from stylize.norms import DIFFERS_BETWEEN_MODES, BatchNorm, at_least_float32, differs_between_modes


class _Gathered(torch.autograd.Function):
    """Numbers (K,) of every process as (N, K); the gradient comes back from all of them.

    Written here because the function of torch.distributed.nn that would do is deprecated without a public successor.
    """

    @staticmethod
    def forward(context: Any, numbers: Tensor) -> Tensor:
        rows = [torch.empty_like(numbers) for _ in range(distributed.get_world_size())]
        distributed.all_gather(rows, numbers.contiguous())
        return torch.stack(rows)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        # What one process does with the statistics depends on the features of all, and so do all their losses.
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[distributed.get_rank()]


def overall_statistics(features: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return the mean and the variance of each channel over the batches of all processes.

    Args:
        features: (B, C, H, W), float32 or float64, of the same shape in all processes.

    Returns:
        Mean (C,), variance (C,) divided by the number of values, and that number.
    """
    variance, mean = torch.var_mean(features, dim=(0, 2, 3), correction=0)
    means, variances = _Gathered.apply(torch.cat([mean, variance])).chunk(2, dim=1)
    overall = means.mean(0)
    between = (means - overall).square().mean(0)
    return overall, variances.mean(0) + between, len(means) * features[:, 0].numel()


def normalised_over_all(layer: nn.Module, features: Tensor, epsilon: float) -> Tensor:
    """Return features (B, C, H, W) with mean 0 and variance 1 over all processes, and move the running averages.

    Args:
        layer: What has the running averages and their ``momentum``, as torch's batch norm names them.
        features: (B, C, H, W), float32 or float64.
        epsilon: Added to the variance.
    """
    mean, variance, count = overall_statistics(features)
    with torch.no_grad():
        layer.num_batches_tracked += 1
        layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), layer.momentum)
        # As torch has it: the running average is of the unbiased variance.
        unbiased = variance * (count / max(count - 1, 1))
        layer.running_var.lerp_(unbiased.to(layer.running_var.dtype), layer.momentum)
    return (features - mean[:, None, None]) * torch.rsqrt(variance + epsilon)[:, None, None]


class SynchronisedBatchNorm(BatchNorm):
    """Batch norm that shares the parameters and running averages of another, over the batches of all processes.

    Args:
        layer: The batch norm.

    Reference: Ioffe and Szegedy 2015, algorithm 1.
    """

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__(layer.num_features, layer.eps)
        self.affine, self.momentum = layer.affine, layer.momentum
        _share(self, layer)

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        normalised = normalised_over_all(self, at_least_float32(features), self.eps)
        if self.affine:
            normalised = torch.addcmul(self.bias[:, None, None], normalised, self.weight[:, None, None])
        return normalised.to(features.dtype)


class SynchronisedConditionalBatchNorm(ConditionalBatchNorm):
    """The same of a batch norm with a scale and a shift for each style.

    Args:
        layer: The batch norm.
    """

    def __init__(self, layer: ConditionalBatchNorm) -> None:
        styles, channels = layer.weight.shape
        super().__init__(channels, layer.epsilon, styles)
        self.momentum = layer.momentum
        _share(self, layer)

    def normalised(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().normalised(features)
        return normalised_over_all(self, at_least_float32(features), self.epsilon)


def _share(own: nn.Module, other: nn.Module) -> None:
    """Give a layer the parameters, buffers and mode of another."""
    own.train(other.training)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(own, name, getattr(other, name))


def check_synchronised(norm: str, adapting: bool = False) -> None:
    """Check that a training run has statistics of the batch that can be taken over all processes.

    Args:
        norm: The normalisation, a name, or with a placement.
        adapting: Whether a painting is added to a collection.

    Raises:
        InputError: It has none.
    """
    if adapting:
        raise InputError(
            "sync_batch_norm given to adapt, which normalises with what the collection learned; leave it out"
        )
    if not differs_between_modes(norm):
        raise InputError(
            f"sync_batch_norm given with {norm} norm, which has no statistics of the batch; leave it out, or train one "
            f"of: {', '.join(DIFFERS_BETWEEN_MODES)}, NORM@PLACE"
        )


def synchronised(network: nn.Module) -> nn.Module:
    """Return a network that computes with the same parameters and buffers and has its batch statistics over all
    processes.

    The one given stays as it is, so that one process alone can measure it.
    """
    # What is already in the memo is not copied: parameters and buffers stay those of the network.
    memo = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, memo)
    for parent in list(twin.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                setattr(parent, name, SynchronisedBatchNorm(layer))
            elif isinstance(layer, ConditionalBatchNorm):
                setattr(parent, name, SynchronisedConditionalBatchNorm(layer))
    return twin
