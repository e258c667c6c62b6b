"""Where a new scene begins.

Two neighbouring frames are compared by small pictures of them, in two ways that fail at different times:

- the share of the colours that changed, by histograms. It is blind to movement, and mistakes a flash or a change of
  exposure for a cut;
- how unlike their structure is, by the correlation of light and dark. It is blind to exposure, flashes and fades, and
  mistakes fast movement for a cut.

A cut is where both say so, or where the structure has nothing in common at all. Frames without structure, such as the
black of a fade or the white of a flash, are passed over: the frame after them is compared with the one before them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

THUMBNAIL = (24, 32)
"""Height and width of the small pictures."""

BINS = 16
"""Bins of the histogram of each colour channel."""

COLOURS_CHANGED = 0.2
"""Share of the colours, in [0, 1], from which a change of them can be a cut."""

STRUCTURE_CHANGED = 0.4
"""Change of structure, from 0 to 2, from which it can be a cut if the colours changed."""

NOTHING_IN_COMMON = 0.8
"""Change of structure from which it is a cut whatever the colours do."""

FLAT = 0.01
"""Standard deviation of the lightness, in [0, 1], below which a frame has no structure."""


def thumbnail(frame: Tensor) -> Tensor:
    """Return a small picture (3, h, w) on the CPU of a frame (1, 3, H, W)."""
    return F.adaptive_avg_pool2d(frame.detach(), THUMBNAIL)[0].cpu()


def colours_changed(first: Tensor, second: Tensor) -> float:
    """Return the share of the colours of one small picture that the other one does not have, in [0, 1]."""
    difference = _histogram(first) - _histogram(second)
    return float(difference.abs().sum() / 2 / len(first))


def structure_changed(first: Tensor, second: Tensor) -> float:
    """Return 1 minus the correlation of the lightness of two small pictures (3, h, w): from 0, the same, to 2."""
    one, two = (picture.mean(0).flatten() for picture in (first, second))
    one, two = one - one.mean(), two - two.mean()
    length = float(one.norm() * two.norm())
    return 1.0 - float(one @ two) / length if length > 0 else 1.0


def _histogram(picture: Tensor) -> Tensor:
    """Return the shares (3, bins) of the values of each channel, each divided between its two nearest bins."""
    place = picture.flatten(1).clamp(0, 1) * (BINS - 1)
    lower = place.floor().clamp_max(BINS - 2)
    upper_share = place - lower
    shares = torch.zeros(len(picture), BINS)
    shares.scatter_add_(1, lower.long(), 1 - upper_share)
    shares.scatter_add_(1, lower.long() + 1, upper_share)
    return shares / place.shape[1]


class CutDetector:
    """Says of each frame of a video whether it begins a new scene."""

    def __init__(self) -> None:
        self._before: Tensor | None = None

    def reset(self) -> None:
        """Forget the frames so far."""
        self._before = None

    def state(self) -> dict[str, Tensor]:
        """Return what is known of the frames so far."""
        return {} if self._before is None else {"before": self._before}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Know what another detector knew when it returned ``state``."""
        self._before = state.get("before")

    def is_cut(self, frame: Tensor) -> bool:
        """Return whether a frame (1, 3, H, W) in [0, 1] begins a new scene; the first frame of all does not."""
        return self.sees_cut(thumbnail(frame))

    def sees_cut(self, now: Tensor) -> bool:
        """Return the same, of the small picture of a frame."""
        before = self._before
        if float(now.mean(0).std()) < FLAT:
            return False
        self._before = now
        if before is None:
            return False
        structure = structure_changed(before, now)
        if structure >= NOTHING_IN_COMMON:
            return True
        return structure >= STRUCTURE_CHANGED and colours_changed(before, now) >= COLOURS_CHANGED
