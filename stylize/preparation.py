"""What can be done to training photos before a network sees them: the controls of the argument for instance norm.

If instance norm only removed differences of contrast between photos, removing them beforehand would do as well. These
functions remove more and more of what tells photos apart; whether batch norm then catches up is an experiment.

Reference: Huang and Belongie 2017, arXiv 1703.06868, section 4 and figure 1 (original, contrast-normalised and
style-normalised photos).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stylize.config import PREPARATIONS
from stylize.errors import InputError, unknown_name

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance Y of Y'CbCr (Rec. ITU-R BT.601, section 2.5.1)."""

LEVELS = 256
"""Bins of the luminance histogram."""

STANDARD_MEAN = 0.5
STANDARD_DEVIATION = 0.25
"""Mean and standard deviation that every channel of a standardised photo gets; near those of photos."""


def luminance(photos: Tensor) -> Tensor:
    """Return the luminance of photos (B, 3, H, W) in [0, 1], (B, 1, H, W) in [0, 1]."""
    weights = photos.new_tensor(LUMINANCE)[:, None, None]
    return (photos * weights).sum(1, keepdim=True)


def equalise_luminance(photos: Tensor) -> Tensor:
    """Give every photo a flat histogram of luminance; its colour differences stay.

    Args:
        photos: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 3, H, W) in [0, 1]. A photo of one luminance becomes mid grey with its colour.
    """
    grey = luminance(photos).clamp(0, 1)
    bins = (grey * (LEVELS - 1)).round().long().flatten(1)
    counts = torch.zeros(len(photos), LEVELS, device=photos.device).scatter_add_(
        1, bins, torch.ones_like(bins, dtype=torch.float32)
    )
    # A bin goes to the middle of its share of [0, 1], so that dark and bright are treated alike.
    share = (counts.cumsum(1) - counts / 2) / bins.shape[1]
    return (photos + share.gather(1, bins).reshape(grey.shape) - grey).clamp(0, 1)


def standardise(photos: Tensor) -> Tensor:
    """Give every channel of every photo the same mean and standard deviation: instance norm of the pixels.

    Args:
        photos: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 3, H, W), not clipped. A constant channel becomes the mean.
    """
    variance, mean = torch.var_mean(photos, dim=(2, 3), keepdim=True, correction=0)
    return STANDARD_MEAN + STANDARD_DEVIATION * (photos - mean) * torch.rsqrt(variance + 1e-8)


def prepare(name: str, photos: Tensor, network: nn.Module | None = None) -> Tensor:
    """Return photos (B, 3, H, W) in [0, 1] as the preparation called ``name`` makes them.

    Args:
        name: A name from ``stylize.config.PREPARATIONS``.
        photos: (B, 3, H, W) in [0, 1].
        network: For ``stylize``: the network that gives all photos one style.

    Raises:
        InputError: No such preparation, or no network for ``stylize``.
    """
    if name == "none":
        return photos
    if name == "equalise":
        return equalise_luminance(photos)
    if name == "standardise":
        return standardise(photos)
    if name != "stylize":
        raise InputError(unknown_name("preparation", name, PREPARATIONS))
    if network is None:
        raise InputError("preparation 'stylize' needs a network; give its weights file")
    with torch.no_grad():
        return network(photos).clamp(0, 1)
