"""Painting a photo in two halves: whether they fit together, and how far each must reach beyond the cut.

A pixel of the result looks only so far; with that much of the other half, a network whose norms are fixed paints the
same as on the whole. A norm that takes statistics from the photo takes other ones from a half of it, at any overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.comparison.subject import Subject
from stylize.config import TransformerConfig
from stylize.errors import InputError


@dataclass(frozen=True)
class Halves:
    """What painting the two halves of a photo one by one changes.

    Attributes:
        label: Label of the network.
        overlap: How far each half reaches beyond the middle, in pixels.
        enough: Whether this is as far as any pixel of the result looks.
        largest: Largest error of any value of any photo, in grey levels of 0..255.
        mean: Mean absolute error, in grey levels.
    """

    label: str
    overlap: int
    enough: bool
    largest: float
    mean: float


def receptive_radius(config: TransformerConfig) -> int:
    """Return how many pixels in any direction a pixel of the result looks, at most, apart from norms.

    A convolution with kernel k looks (k - 1) / 2 positions far, and upsampling to its low-resolution neighbour.
    """
    span = config.space_to_depth  # Pixels that one position covers at the present resolution.
    radius = config.first_kernel // 2 * span
    for _ in config.channels[1:]:
        radius += span
        span *= 2
    radius += 2 * config.residual_blocks * span
    for _ in config.channels[1:]:
        radius += span
        span //= 2
    if config.output == "shuffle" or span == 1:
        radius += config.last_kernel // 2 * span
    else:
        while span > 1:
            radius += span
            span //= 2
    # Positions start at multiples of their span, so a pixel may lie a span further from where its position begins.
    return radius + config.reduction


def aligned(pixels: int, config: TransformerConfig) -> int:
    """Return the next multiple, from ``pixels`` up, of what one position of the trunk covers."""
    return -(-pixels // config.reduction) * config.reduction


def paint_halves(subject: Subject, photos: Tensor, overlap: int) -> Tensor:
    """Paint the two halves of photos one by one and put them together; cut across the longer side.

    Args:
        subject: The network, in evaluation mode.
        photos: (B, 3, H, W) in [0, 1].
        overlap: How far each half reaches beyond the cut, in pixels: a multiple of ``network.config.reduction``, so
            that the positions of both halves fall on those of the whole.

    Returns:
        (B, 3, H, W) in [0, 1].

    Raises:
        InputError: The overlap is no such multiple, or reaches beyond the photo.
    """
    step = subject.network.config.reduction
    axis = 2 if photos.shape[2] > photos.shape[3] else 3
    length = photos.shape[axis]
    cut = aligned(length // 2, subject.network.config)
    if overlap < 0 or overlap % step or cut - overlap <= 0 or cut + overlap >= length:
        raise InputError(
            f"overlap of {overlap} px given for halves of a photo of {length} px; a multiple of {step} that leaves "
            "something of the other half out is accepted"
        )
    first = subject.paint(photos.narrow(axis, 0, cut + overlap)).narrow(axis, 0, cut)
    start = cut - overlap
    second = subject.paint(photos.narrow(axis, start, length - start))
    return torch.cat([first, second.narrow(axis, overlap, length - cut)], dim=axis)


def measure_halves(subject: Subject, photos: Tensor) -> list[Halves]:
    """Return the errors of painting halves with no overlap, a half of what is enough, and enough.

    Args:
        subject: The network, in evaluation mode.
        photos: (B, 3, H, W) in [0, 1].

    Returns:
        One entry for each overlap that the photos are large enough for.
    """
    config = subject.network.config
    enough = aligned(receptive_radius(config), config)
    whole = subject.paint(photos)
    result = []
    for overlap in sorted({0, aligned(enough // 2, config), enough}):
        length = max(photos.shape[-2:])
        cut = aligned(length // 2, config)
        if cut - overlap <= 0 or cut + overlap >= length:
            continue
        error = 255 * (paint_halves(subject, photos, overlap) - whole).abs()
        result.append(Halves(subject.label, overlap, overlap == enough, float(error.max()), float(error.mean())))
    return result
