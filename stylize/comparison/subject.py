"""What every probe of `stylize compare` works on: networks with a name, and a ruler for style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.config import LossConfig
from stylize.errors import InputError
from stylize.losses import PerceptualLoss, StyleTargets, gram_matrix, style_distance
from stylize.transformer import TransformerNet
from stylize.vgg import VGG19

CHUNK = 4
"""Pictures of 256 px that go through a network at once, so that no probe needs much memory."""

CHUNK_PIXELS = CHUNK * 256**2


def chunk_of(images: Tensor) -> int:
    """Return how many of the pictures (B, 3, H, W) go through a network at once: at most :data:`CHUNK`, at least 1."""
    return max(1, min(CHUNK, CHUNK_PIXELS // (images.shape[-2] * images.shape[-1])))


@dataclass(frozen=True)
class Subject:
    """A network under examination.

    Attributes:
        label: Its normalisation, as the user writes it; unique within a comparison.
        network: The network, in evaluation mode, in float32, on the device of the photos.
    """

    label: str
    network: TransformerNet

    def paint(self, photos: Tensor) -> Tensor:
        """Return the pictures, (B, 3, H, W) in [0, 1], of photos (B, 3, H, W), a few at a time.

        Photos may leave [0, 1]: a probe that makes them brighter says so.

        Raises:
            InputError: The network is in training mode, in which the pictures would depend on how many go in at once.
        """
        if self.network.training:
            raise InputError(f"the network '{self.label}' is in training mode; probes paint in evaluation mode")
        with torch.no_grad():
            return torch.cat([self.network(part).clamp(0, 1) for part in photos.split(chunk_of(photos))])


class Ruler:
    """Measures how far pictures are from the style of a painting, and from the content of their photos.

    Args:
        loss_network: The frozen loss network, in float32.
        config: Layers and weights of the loss that the networks were trained with.
        painting: (1, 3, H, W) in [0, 1], at the size the networks were trained with.
    """

    def __init__(self, loss_network: VGG19, config: LossConfig, painting: Tensor) -> None:
        self.loss = PerceptualLoss(loss_network, config)
        self.targets: StyleTargets = self.loss.style_targets(painting)

    def style(self, images: Tensor) -> Tensor:
        """Return the relative style distance of each picture (B, 3, H, W) to the painting, (B,); 0 = the same."""
        config = self.loss.config
        parts = []
        with torch.no_grad():
            for part in images.split(chunk_of(images)):
                features = self.loss.loss_network(part, list(config.style_layers))
                grams = {name: gram_matrix(features[name]) for name in config.style_layers}
                parts.append(style_distance(grams, self.targets.grams, config))
        return torch.cat(parts)

    def content_and_style(self, pictures: Sequence[Tensor], photos: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return content distance to the photos and style distance to the painting, (B,) each, of some renderings.

        Everything is measured in one pass of the loss network for each picture and one for each photo.

        Args:
            pictures: Renderings of the photos, (B, 3, H, W) each.
            photos: (B, 3, H, W) in [0, 1].
        """
        chunk = chunk_of(photos)
        rows: list[list[tuple[Tensor, Tensor]]] = [[] for _ in pictures]
        with torch.no_grad():
            for start in range(0, len(photos), chunk):
                targets = self.loss.content_targets(photos[start : start + chunk])
                for row, images in zip(rows, pictures, strict=True):
                    terms = self.loss(images[start : start + chunk], targets, self.targets)
                    row.append((terms.content, terms.style))
        return [(torch.cat([content for content, _ in row]), torch.cat([style for _, style in row])) for row in rows]


def mean_change(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean absolute difference of pictures (B, 3, H, W) in [0, 1], (B,), in grey levels of 0..255."""
    return 255 * (first - second).abs().flatten(1).mean(1)


def spread(values: Sequence[float] | Tensor) -> float:
    """Return the standard deviation of some values over the population, 0 for a single one or none."""
    return float(torch.as_tensor(values, dtype=torch.float64).std(correction=0)) if len(values) else 0.0
