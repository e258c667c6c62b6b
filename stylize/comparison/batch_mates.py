"""The same photo beside dark and beside bright photos, in training mode: does its result depend on its neighbours?

In training, batch norm normalises with the statistics of the whole batch, so what a photo becomes depends on what lies
beside it, and its photos are not brought to one style (Huang and Belongie 2017, arXiv 1703.06868, section 4: batch norm
centres a batch, instance norm every photo). A network that normalises photo by photo cannot see the neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.comparison.photo_changes import VISIBLE, brighten, brightness, darken, darkest_and_brightest
from stylize.comparison.subject import Subject, mean_change
from stylize.comparison.wording import capital, levels_of, listed
from stylize.errors import InputError
from stylize.network_norms import batch_statistics

MATES = 3
"""Photos beside the one that is looked at: with it, a batch of four, as in training."""

AMPLIFICATION = 4.0
"""Factor on the difference pictures; the same for every network, so that they can be compared."""


@dataclass(frozen=True)
class MatesRow:
    """What the neighbours did to one network's result.

    Attributes:
        label: Of the network.
        change: Mean absolute difference of the two results in grey levels of 0..255.
        largest: Largest difference of a single value in grey levels.
    """

    label: str
    change: float
    largest: float


@dataclass(frozen=True)
class BatchMates:
    """What the neighbours did.

    Attributes:
        companions: ``"chosen"``: the darkest and the brightest of the companion photos; ``"made"``: companions (or the
            photo itself) made darker and brighter, because fewer than six were given.
        dark: Mean brightness of the dark neighbours, in [0, 1].
        bright: Mean brightness of the bright neighbours, in [0, 1].
        amplification: Factor on the difference pictures.
        rows: One for each network.
    """

    companions: str
    dark: float
    bright: float
    amplification: float
    rows: tuple[MatesRow, ...]


@dataclass(frozen=True)
class MatesPictures:
    """The pictures to :class:`MatesRow`, (1, 3, H, W) in [0, 1] each.

    Attributes:
        label: Of the network.
        beside_dark: The result beside dark photos.
        beside_bright: The result beside bright photos.
        difference: Absolute difference of the two, amplified: black = the same.
    """

    label: str
    beside_dark: Tensor
    beside_bright: Tensor
    difference: Tensor


def batch_mates(
    subjects: Sequence[Subject], photo: Tensor, companions: Tensor | None = None
) -> tuple[BatchMates, list[MatesPictures]]:
    """Paint a photo in training mode beside dark and beside bright photos.

    Args:
        subjects: The networks; their modes and running averages are as before afterwards.
        photo: (1, 3, H, W) in [0, 1].
        companions: Other photos, (N, 3, H, W), of the same size. Of six or more the three darkest and the three
            brightest are taken; fewer, or none, are made darker and brighter.

    Returns:
        The numbers, and apart from them the pictures.

    Raises:
        InputError: Not one photo, or companions of another size.
    """
    if photo.dim() != 4 or len(photo) != 1:
        raise InputError(f"a photo of shape {tuple(photo.shape)} given; one photo (1, 3, H, W) is accepted")
    others = photo if companions is None or len(companions) == 0 else companions
    if others.shape[1:] != photo.shape[1:]:
        raise InputError(
            f"companions of shape {tuple(others.shape[1:])} given for a photo of shape {tuple(photo.shape[1:])};"
            " scale them to one size"
        )
    chosen = len(others) >= 2 * MATES and others is not photo
    if chosen:
        dark, bright = darkest_and_brightest(others, MATES)
    else:
        three = others[torch.arange(MATES, device=others.device) % len(others)]
        dark, bright = darken(three), brighten(three)
    rows, pictures = [], []
    for subject in subjects:
        # Not Subject.paint: the four photos must be one batch, however many it takes at a time.
        with torch.no_grad(), batch_statistics(subject.network):
            first, second = (subject.network(torch.cat([photo, mates]))[:1].clamp(0, 1) for mates in (dark, bright))
        difference = (first - second).abs()
        rows.append(MatesRow(subject.label, float(mean_change(first, second)), 255 * float(difference.max())))
        pictures.append(MatesPictures(subject.label, first, second, (AMPLIFICATION * difference).clamp(0, 1)))
    result = BatchMates(
        "chosen" if chosen else "made",
        float(brightness(dark).mean()),
        float(brightness(bright).mean()),
        AMPLIFICATION,
        tuple(rows),
    )
    return result, pictures


def finding(result: BatchMates) -> str:
    """Say in plain sentences what the neighbours did."""
    moving = {row.label: row.change for row in result.rows if row.change > VISIBLE}
    still = {row.label: row.change for row in result.rows if row.change <= VISIBLE}
    sentences = []
    if moving:
        sentences.append(
            "In training mode the same photo becomes one picture beside dark photos and another beside bright ones;"
            f" they differ by {levels_of(moving)} on average."
        )
    if still:
        verb = "does" if len(still) == 1 else "do"
        sentences.append(f"{capital(listed(still))} {verb} not see the photos beside it: {levels_of(still)}.")
    return " ".join(sentences) or "Nothing was measured."
