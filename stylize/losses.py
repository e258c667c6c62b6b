"""Content, style and total variation loss, relative so that one set of weights serves every painting.

The usual losses are mean squared errors of features and of Gram matrices, whose units depend on the painting, on the
layer and on the loss network; that is why published style weights range from 5 to 1e11 and every new painting starts a
search. Here each term is divided by the energy of its target:

    style    weighted mean over layers of  |G(x) - G(s)|^2 / |G(s)|^2
    content  |F(x) - F(c)|^2 / ((|F(c)|^2 + |F(s)|^2) / 2)

for the stylized picture x, the photo c and the painting s, with |F|^2 per position. Both are 0 for a perfect match. The
content distance takes the energy of the painting in as well, because strokes must bring it into the picture: measured
against the photo alone, a bold painting on a smooth photo would cost many times more than a pale one on a busy photo,
and skies would stay bare.

References:
    Gatys, Ecker, Bethge 2016, "Image Style Transfer Using Convolutional Neural Networks", equations 1 to 5.
    Johnson et al. 2016, arXiv 1603.08155, section 3.2, equations 2 to 4. The division by the target's energy is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.config import LossConfig
from stylize.vgg import VGG19

ENERGY_FLOOR = 1e-12
"""Added to a target's energy, so that an all-zero target gives a large but finite loss."""


def gram_matrix(features: Tensor) -> Tensor:
    """Return the Gram matrices (B, C, C) in float32 of features (B, C, H, W), divided by H W.

    Entry (i, j) is the mean over positions of channel i times channel j. The usual further division by C cancels in
    the relative losses below.

    Reference: Johnson et al. 2016, equation 3.
    """
    batch, channels, height, width = features.shape
    rows = features.reshape(batch, channels, height * width)
    # Dividing before the product keeps sums over large pictures small, where half precision loses or overflows.
    scale = (height * width) ** -0.5
    return torch.bmm(rows * scale, (rows * scale).transpose(1, 2)).float()


def energy(features: Tensor) -> Tensor:
    """Return the mean squared feature of each picture, (B,), in float32."""
    return features.float().square().flatten(1).mean(1)


def content_loss(features: Tensor, target: Tensor, painting_energy: Tensor | None = None) -> Tensor:
    """Return the relative content distance of each picture, (B,).

    Args:
        features: (B, C, H, W) of the stylized picture.
        target: (B, C, H, W) of the photo.
        painting_energy: :func:`energy` of the painting's features at the same layer, (1,). None: the distance is
            divided by the photo's energy alone, so that 1 is what an empty picture would get.

    Reference: Johnson et al. 2016, equation 2, divided by the mean energy of photo and painting.
    """
    reference = energy(target)
    if painting_energy is not None:
        reference = 0.5 * (reference + painting_energy)
    return energy(features.float() - target.float()) / (reference + ENERGY_FLOOR)


def style_loss(gram: Tensor, target: Tensor) -> Tensor:
    """Return the relative style distance of each picture at one layer, (B,).

    Args:
        gram: (B, C, C) Gram matrices of the stylized pictures.
        target: (1, C, C) or (B, C, C) Gram matrix of the painting.

    Reference: Johnson et al. 2016, equation 4, divided by the painting's own energy.
    """
    difference = (gram - target).square().flatten(1).sum(1)
    return difference / (target.square().flatten(1).sum(1) + ENERGY_FLOOR)


def total_variation_loss(images: Tensor) -> Tensor:
    """Return the mean squared difference of vertical neighbours plus that of horizontal ones, (B,), in squared units
    of [0, 1].

    Reference: Johnson et al. 2016, section 3.2 (there sums; here means, which do not grow with the picture).
    """
    vertical = (images[:, :, 1:] - images[:, :, :-1]).square().flatten(1)
    horizontal = (images[:, :, :, 1:] - images[:, :, :, :-1]).square().flatten(1)
    terms = [term.mean(1) for term in (vertical, horizontal) if term.shape[1]]
    return sum(terms, images.new_zeros(images.shape[0]))


def style_distance(grams: Mapping[str, Tensor], targets: Mapping[str, Tensor], config: LossConfig) -> Tensor:
    """Return the mean of :func:`style_loss` over the style layers, weighted by their shares, (B,)."""
    total = sum(config.style_layer_weights)
    terms = [
        share / total * style_loss(grams[name], targets[name])
        for name, share in zip(config.style_layers, config.style_layer_weights, strict=True)
    ]
    return torch.stack(terms).sum(0)


@dataclass(frozen=True)
class LossTerms:
    """The terms for each picture, (B,) each and unweighted, and their weighted sum."""

    content: Tensor
    style: Tensor
    total_variation: Tensor
    total: Tensor


@dataclass(frozen=True)
class StyleTargets:
    """What the loss needs of a painting.

    Attributes:
        grams: Layer name to Gram matrix, (1, C, C).
        content_energy: :func:`energy` at the content layer, (1,).
    """

    grams: Mapping[str, Tensor]
    content_energy: Tensor


class PerceptualLoss:
    """Weighted sum of content, style and total variation loss.

    Args:
        loss_network: The frozen loss network; its dtype and memory format decide how features are computed.
        config: Layers and weights.

    Reference: Johnson et al. 2016, equation 5.
    """

    def __init__(self, loss_network: VGG19, config: LossConfig) -> None:
        self.loss_network = loss_network
        self.config = config

    def style_targets(self, painting: Tensor) -> StyleTargets:
        """Return the targets that a painting (1, 3, H, W) in [0, 1] sets."""
        layers, content_layer = self.config.style_layers, self.config.content_layer
        with torch.no_grad():
            features = self.loss_network(painting, [*layers, content_layer])
            grams = {name: gram_matrix(features[name]) for name in layers}
        return StyleTargets(grams, energy(features[content_layer]))

    def content_targets(self, photos: Tensor) -> Tensor:
        """Return the content features (B, C, H', W') of photos (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            return self.loss_network(photos, [self.config.content_layer])[self.config.content_layer]

    def __call__(self, images: Tensor, content: Tensor, style: StyleTargets) -> LossTerms:
        """Return the loss of stylized pictures.

        Args:
            images: (B, 3, H, W), about [0, 1]; not clamped, so that gradients survive at the ends.
            content: From :meth:`content_targets`, of the photos the pictures were made from.
            style: From :meth:`style_targets`.
        """
        config = self.config
        features = self.loss_network(images, [*config.style_layers, config.content_layer])
        content_term = content_loss(features[config.content_layer], content, style.content_energy)
        grams = {name: gram_matrix(features[name]) for name in config.style_layers}
        style_term = style_distance(grams, style.grams, config)
        variation = total_variation_loss(images.float())
        total = (
            config.content_weight * content_term
            + config.style_weight * config.style_strength * style_term
            + config.tv_weight * variation
        )
        return LossTerms(content_term, style_term, variation, total)
