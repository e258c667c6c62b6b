"""What a stylization network is worth in numbers: held-out losses in both modes, and what contrast does to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stylize import losses
from stylize.config import LossConfig, TrainConfig
from stylize.losses import PerceptualLoss, StyleTargets, gram_matrix
from stylize.network_norms import batch_statistics
from stylize.vgg import VGG19, load_loss_network

HALVED_CONTRAST = 0.5


@dataclass(frozen=True)
class Losses:
    """Mean losses over some photos; unweighted terms and the weighted total."""

    content: float
    style: float
    total_variation: float
    total: float


@dataclass(frozen=True)
class Validation:
    """What a validation measures on held-out photos.

    Attributes:
        evaluation_mode: Losses of the network as it is applied.
        training_mode: Losses of the network as it is trained: batch norm with the statistics of the batch. For
            instance norm the two are the same.
        photo: Losses of the photos themselves, untouched: content 0, and the style distance to improve on.
        contrast_change: Mean absolute change of the result, in [0, 1], when the photo's contrast is halved.
        photos: How many photos.
    """

    evaluation_mode: Losses
    training_mode: Losses
    photo: Losses
    contrast_change: float
    photos: int

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        return asdict(self)


def change_contrast(photos: Tensor, factor: float) -> Tensor:
    """Scale the contrast of photos (B, 3, H, W) about each photo's own mean: 1 = unchanged, 0 = flat grey."""
    mean = photos.mean(dim=(1, 2, 3), keepdim=True)
    return mean + factor * (photos - mean)


def contrast_change(network: nn.Module, photos: Tensor, factor: float = HALVED_CONTRAST) -> Tensor:
    """Return how much the result changes with the photo's contrast, (B,).

    Args:
        network: The stylization network, in the mode to be measured.
        photos: (B, 3, H, W) in [0, 1].
        factor: Contrast of the second version.

    Returns:
        Mean absolute difference of the two results in [0, 1]. Zero (to float error) for an instance-norm network
        with reflection padding, which cannot see contrast: Ulyanov et al. 2016, section 2.
    """
    with torch.no_grad():
        first = network(photos).clamp(0, 1)
        second = network(change_contrast(photos, factor)).clamp(0, 1)
    return (first - second).abs().flatten(1).mean(1)


def style_distance(images: Tensor, painting: Tensor, *, loss_network: VGG19 | None = None) -> Tensor:
    """Return the relative style distance of pictures to a painting, (B,).

    Args:
        images: (B, 3, H, W) in [0, 1].
        painting: (1, 3, H, W) in [0, 1], at the size the network was trained with (short side 384).
        loss_network: A loss network that was loaded before; None loads the one in the box.

    Returns:
        Weighted mean over the style layers of |G(x) - G(s)|^2 / |G(s)|^2: 0 = the same statistics.
    """
    config = LossConfig()
    loss = PerceptualLoss(loss_network or load_loss_network(last=config.style_layers[-1]), config)
    with torch.no_grad():
        features = loss.loss_network(images, config.style_layers)
        grams = {name: gram_matrix(features[name]) for name in config.style_layers}
        return losses.style_distance(grams, loss.style_targets(painting).grams, config)


def painting_size(metadata: Mapping[str, Any]) -> int:
    """Return the short side, in pixels, of the painting that a network was trained with."""
    return int(metadata.get("style_size", TrainConfig.style_size))


class Validator:
    """Measures networks on held-out photos.

    Args:
        batches: Held-out photos, (B, 3, H, W) each, on the device of the networks.
        loss: The perceptual loss.
        style: What the painting asks for, from ``loss.style_targets``. None: each photo is its own painting.
        goal: Makes of photos (B, 3, H, W) the pictures that the painted ones are compared with; None: the photos.
    """

    def __init__(
        self,
        batches: Sequence[Tensor],
        loss: PerceptualLoss,
        style: StyleTargets | None,
        goal: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.goal = goal
        self.batches = list(batches)
        self.loss = loss
        self.style = style
        self.photo = self._mean([self._losses(photos, photos) for photos in self.batches])

    def __call__(self, network: nn.Module) -> Validation:
        """Measure ``network`` in both modes; its mode and its running statistics are as before afterwards."""
        modes = [(module, module.training) for module in network.modules()]
        evaluated, trained, changes = [], [], []
        try:
            for photos in self.batches:
                with torch.no_grad():
                    network.eval()
                    evaluated.append(self._losses(network(photos).clamp(0, 1), photos))
                    changes.append(contrast_change(network, photos))
                    with batch_statistics(network):
                        trained.append(self._losses(network(photos).clamp(0, 1), photos))
        finally:
            for module, mode in modes:
                module.training = mode
        changed = torch.cat(changes)
        return Validation(
            self._mean(evaluated), self._mean(trained), self.photo, float(changed.mean()), changed.numel()
        )

    def _losses(self, images: Tensor, photos: Tensor) -> Tensor:
        with torch.no_grad():
            goals = photos if self.goal is None else self.goal(photos)
            style = self.loss.style_targets(goals) if self.style is None else self.style
            terms = self.loss(images, self.loss.content_targets(goals), style)
        return torch.stack([terms.content, terms.style, terms.total_variation, terms.total]).float().cpu()

    @staticmethod
    def _mean(rows: Sequence[Tensor]) -> Losses:
        return Losses(*torch.cat(list(rows), dim=1).mean(1).tolist())
