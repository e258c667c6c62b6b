"""Changes of photos that a camera or a lamp could have made, and plain measures of brightness and contrast.

A linear change is not clipped to [0, 1]. That a network cannot see it is a property of the network; a clip is part of
a camera, is not linear, and throws away what no network could bring back. Both in one number would say nothing about
either. Gamma maps [0, 1] to itself and needs no clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.evaluation import change_contrast
from stylize.preparation import luminance

VISIBLE = 0.5
"""Grey levels of 0..255: half the smallest step of an 8 bit picture. A smaller change is not in a saved file."""

DARKER = 0.35
"""Factor on the distance to black, or to white, by which photos are made dark or bright without a clip."""


def change_brightness(photos: Tensor, amount: float) -> Tensor:
    """Add ``amount`` to every value of photos (B, 3, H, W); 0 = unchanged. Not clipped."""
    return photos + amount


def change_gamma(photos: Tensor, gamma: float) -> Tensor:
    """Raise photos (B, 3, H, W) in [0, 1] to the power ``gamma``: below 1 = brighter shadows, 1 = unchanged."""
    return photos.pow(gamma)


def change_colour(photos: Tensor, amount: float) -> Tensor:
    """Multiply red by 1 + ``amount`` and blue by 1 - ``amount``: above 0 = warmer, 0 = unchanged. Not clipped."""
    gains = photos.new_tensor([1 + amount, 1, 1 - amount])
    return photos * gains[:, None, None]


def darken(photos: Tensor) -> Tensor:
    """Return a dark version, within [0, 1], of photos (B, 3, H, W) in [0, 1]."""
    return DARKER * photos


def brighten(photos: Tensor) -> Tensor:
    """Return a bright version, within [0, 1], of photos (B, 3, H, W) in [0, 1]."""
    return 1 - DARKER * (1 - photos)


@dataclass(frozen=True)
class Change:
    """A way to change photos by a factor.

    Attributes:
        function: Takes photos (B, 3, H, W) and the factor, returns the changed photos.
        factors: The factors to measure, in rising order, with ``neutral`` among them.
        neutral: The factor that changes nothing.
        unit: What the factor is, for an axis.
        linear: Every value becomes a gain times itself plus a shift.
        removable: It is linear with one gain for all channels. Then every filter of the first convolution answers
            with the same gain, and a shift that is the same at all positions if the padding reflects: instance norm
            divides by the one and subtracts the other. With a gain per channel, as in a colour cast, a filter mixes
            the channels anew, and nothing after it can undo that.
    """

    function: Callable[[Tensor, float], Tensor]
    factors: tuple[float, ...]
    neutral: float
    unit: str
    linear: bool
    removable: bool


CHANGES: dict[str, Change] = {
    "contrast": Change(
        change_contrast, (0.25, 0.5, 0.75, 1.0, 1.5), 1.0, "factor about the photo's own mean", True, True
    ),
    "brightness": Change(change_brightness, (-0.3, -0.15, 0.0, 0.15, 0.3), 0.0, "added, of 1", True, True),
    "gamma": Change(change_gamma, (0.4, 0.7, 1.0, 1.5, 2.5), 1.0, "power", False, False),
    "colour cast": Change(
        change_colour,
        (-0.3, -0.15, 0.0, 0.15, 0.3),
        0.0,
        "added to the gain of red, taken from that of blue",
        True,
        False,
    ),
}
"""The changes by name."""


def brightness(photos: Tensor) -> Tensor:
    """Return the mean luminance of each picture (B, 3, H, W), (B,), in the unit of the pictures."""
    return luminance(photos).mean((1, 2, 3))


def variation(pictures: Tensor) -> Tensor:
    """Return how much each picture (B, 3, H, W) in [0, 1] varies from place to place, (B,), in grey levels of 0..255.

    It is the standard deviation over the positions, taken per channel and averaged: 0 for a picture of one colour,
    whatever the colour.
    """
    return 255 * pictures.flatten(2).std(2, correction=0).mean(1)


def darkest_and_brightest(photos: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` darkest of photos (B, 3, H, W) and the ``count`` brightest, by :func:`brightness`."""
    order = torch.argsort(brightness(photos), stable=True)
    return photos[order[:count]], photos[order[-count:]]
