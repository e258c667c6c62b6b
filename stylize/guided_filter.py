"""The guided filter: a linear model of a picture on the colours of another one, in every small window.

Reference: He, Sun, Tang 2013, "Guided Image Filtering", IEEE TPAMI 35, section 4 for the colours; He and Sun 2015,
"Fast Guided Filter", arXiv 1505.00996.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GUIDED_RADIUS = 2
"""Windows of the guided filter reach so many pixels of the small photo to each side."""

GUIDED_EPSILON = 1e-3
"""Variance of the photo (values in [0, 1]) below which the guided filter calls a window flat."""


def _box(maps: Tensor, radius: int) -> Tensor:
    """Return means over windows; beyond the border the maps go on with their last value."""
    padded = F.pad(maps, (radius, radius, radius, radius), mode="replicate")
    return F.avg_pool2d(padded, 2 * radius + 1, 1)


def guided_model(photo: Tensor, painting: Tensor) -> Tensor:
    """Return a linear model of the painting on the colours of the photo around every pixel, averaged over windows.

    Args:
        photo: (1, 3, h, w), in [0, 1].
        painting: Of the same shape.

    Returns:
        (1, 12, h, w): nine factors, those of the three photo colours for painted red first, and three offsets.
        In the notation of He, Sun and Tang 2013, section 4: a = (covariance + epsilon)^-1 covariance with the
        painting, b = mean painting - a mean photo.
    """
    radius = GUIDED_RADIUS
    mean_photo, mean_painting = _box(photo, radius), _box(painting, radius)
    # Differences to the mean of the picture: a variance as a difference of squares loses digits far from zero.
    near_photo = photo - photo.mean((2, 3), keepdim=True)
    near_painting = painting - painting.mean((2, 3), keepdim=True)

    def covariance(others: Tensor) -> Tensor:  # (h, w, 3, 3): photo colours by other colours
        products = (near_photo.unsqueeze(2) * others.unsqueeze(1)).flatten(1, 2)
        means = (_box(near_photo, radius).unsqueeze(2) * _box(others, radius).unsqueeze(1)).flatten(1, 2)
        return (_box(products, radius) - means)[0].permute(1, 2, 0).unflatten(2, (3, 3))

    regularised = covariance(near_photo) + GUIDED_EPSILON * torch.eye(3)
    factors = torch.linalg.solve(regularised, covariance(near_painting)).mT  # (h, w, painted colour, photo colour)
    offsets = mean_painting[0].permute(1, 2, 0) - (factors @ mean_photo[0].permute(1, 2, 0).unsqueeze(3)).squeeze(3)
    model = torch.cat([factors.flatten(2), offsets], dim=2)
    return _box(model.permute(2, 0, 1).unsqueeze(0), radius)


def apply_model(model: Tensor, photo: Tensor) -> Tensor:
    """Return what a linear model (1, 12, n, W) makes of the photo (1, 3, n, W)."""
    red, green, blue = photo[0]
    factors, offsets = model[0, :9], model[0, 9:]
    colours = [factors[i] * red + factors[i + 1] * green + factors[i + 2] * blue for i in (0, 3, 6)]
    return torch.stack(colours).add_(offsets).unsqueeze(0)
