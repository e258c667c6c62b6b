"""What is done to all normalisations of a network: where they begin, how they learn, whose statistics they take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stylize.norms import BatchInstanceNorm, FollowsConvolution

GATE_RATE_FACTOR = 10.0
"""How much faster the gates of batch-instance norm learn than everything else (Nam and Kim 2018, section 4)."""


def initialise_from_data(network: nn.Module, photos: Tensor) -> None:
    """Let the layers that begin from data (``weight``, ``none``) take up the statistics of a batch.

    Every other layer, and what is normalised by batch statistics, is as before afterwards. Layer by layer in one pass,
    so that each sees features that the layers before it have normalised already.

    Args:
        network: The network, as it was drawn from its seed.
        photos: (B, 3, H, W) in [0, 1].
    """
    layers = [module for module in network.modules() if isinstance(module, FollowsConvolution)]
    if not layers:
        return
    try:
        for layer in layers:
            layer.initialising = True
        with torch.no_grad(), batch_statistics(network):
            network(photos)
    finally:
        for layer in layers:
            layer.initialising = False


def gate_means(network: nn.Module) -> list[float]:
    """Return the mean gate of every batch-instance norm, in order of depth: 1 = batch norm, 0 = instance norm."""
    gates = [module.gate for module in network.modules() if isinstance(module, BatchInstanceNorm)]
    return [float(gate.detach().clamp(0, 1).mean()) for gate in gates]


def parameter_groups(network: nn.Module) -> list[dict[str, object]]:
    """Return the parameters for an optimiser: one group, or two where there are gates, with their ``rate_factor``."""
    gates = [module.gate for module in network.modules() if isinstance(module, BatchInstanceNorm)]
    chosen = {id(gate) for gate in gates}
    groups: list[dict[str, object]] = [
        {"params": [parameter for parameter in network.parameters() if id(parameter) not in chosen], "rate_factor": 1.0}
    ]
    return [*groups, {"params": gates, "rate_factor": GATE_RATE_FACTOR}] if gates else groups


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Put ``network`` in training mode without letting it learn anything from what it sees.

    Inside the context batch norm normalises with the statistics of the batch, as in training; its running averages
    and every module's mode are as before afterwards. For instance norm nothing changes.
    """
    modes = [(module, module.training) for module in network.modules()]
    layers = [module for module in network.modules() if any(True for _ in module.buffers(recurse=False))]
    buffers = [{name: buffer.clone() for name, buffer in layer.named_buffers(recurse=False)} for layer in layers]
    network.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for layer, saved in zip(layers, buffers, strict=True):
                for name, buffer in layer.named_buffers(recurse=False):
                    buffer.copy_(saved[name])
