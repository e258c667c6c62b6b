"""Mean and variance of every channel of every photo, before each norm of a network, after it, and where the next layer
reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.comparison.subject import CHUNK
from stylize.transformer import NormPlace, TransformerNet

BEFORE, AFTER, PASSED_ON = "before", "after", "passed on"
STAGES = (BEFORE, AFTER, PASSED_ON)
"""Before the norm, after it, and what the next layer reads."""

CONSTANT = 1e-10
"""A channel is constant where its variance is below this share of its mean square: rounding, nothing more."""


@dataclass(frozen=True)
class PooledFeatures:
    """What is kept of the features of one layer: (N, C) float64 each, over the positions of every photo.

    Attributes:
        mean: Mean of every channel of every photo.
        variance: Its variance (over the population, not corrected).
    """

    mean: Tensor
    variance: Tensor

    @property
    def pooled_mean(self) -> Tensor:
        """Mean of every channel over all photos and positions, (C,)."""
        return self.mean.mean(0)

    @property
    def between(self) -> Tensor:
        """Variance of the photos' means, (C,)."""
        return self.mean.var(0, correction=0)

    @property
    def total(self) -> Tensor:
        """Variance of every channel over all photos and positions, (C,): within photos plus between them."""
        return self.variance.mean(0) + self.between

    @property
    def varies(self) -> Tensor:
        """Which channels are not constant, (C,)."""
        return self.total > CONSTANT * (self.total + self.pooled_mean.square())


def pooled_features(network: TransformerNet, photos: Tensor) -> dict[str, dict[str, PooledFeatures]]:
    """Return what is kept of the features of every normalised layer: name of the layer, then :data:`STAGES`.

    A few photos go through the network at a time and their features are forgotten at once.

    Args:
        network: The network, in evaluation mode; unchanged afterwards.
        photos: (N, 3, H, W).
    """
    places = network.norm_places()
    parts: dict[str, dict[str, list[tuple[Tensor, Tensor]]]] = {
        place.name: {stage: [] for stage in STAGES} for place in places
    }

    def keep(name: str, stage: str, features: Tensor) -> None:
        # Many times faster than torch.var_mean, and as good: the variance is that of centred features.
        mean = features.mean((2, 3), keepdim=True)
        variance = (features - mean).square_().mean((2, 3))
        parts[name][stage].append((mean[:, :, 0, 0].cpu().double(), variance.cpu().double()))

    with _listening(places, keep), torch.no_grad():
        for part in photos.split(CHUNK):
            network(part)
    return {
        name: {stage: PooledFeatures(*map(torch.cat, zip(*rows, strict=True))) for stage, rows in stages.items()}
        for name, stages in parts.items()
    }


@contextmanager
def _listening(places: Sequence[NormPlace], keep: Callable[[str, str, Tensor], None]) -> Iterator[None]:
    """Call ``keep(layer, stage, features)`` whenever features pass a stage of a place."""

    def on_norm(place: NormPlace, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        keep(place.name, BEFORE, inputs[0])
        keep(place.name, AFTER, output)
        if not ends_block(place):
            keep(place.name, PASSED_ON, F.relu(output))

    def on_block(place: NormPlace, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        keep(place.name, PASSED_ON, output)

    handles = []
    try:
        for place in places:
            handles.append(place.norm.register_forward_hook(partial(on_norm, place)))
            if ends_block(place):
                handles.append(place.parent.register_forward_hook(partial(on_block, place)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def ends_block(place: NormPlace) -> bool:
    """Return whether the output of a norm is added to the input of its block, with no ReLU in between."""
    return place.part == "residual" and place.key == "norm2"
