"""Changes of exposure from frame to frame, so that frames can be brought to one exposure.

A camera that sets its exposure by itself makes all that it sees brighter or darker. The norms of a network take that
away from each frame, and only because their statistics are those of the frame; statistics of several frames do not.
So where statistics are averaged, frames are first brought to the exposure of those before.

The change is looked for as a gain and an offset for each colour, between small pictures of two neighbouring frames:
from the means and deviations of those places that one gain and offset explain. Means and deviations, not a line of
least squares, whose slope is too small when things moved. It is believed only if it explains most of what changed:
what moves, comes into view or goes is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

VISIBLE = 0.004
"""Median change of the places, in [0, 1], below which nothing changed: one level of 255."""

EXPLAINED = 0.5
"""Part of the median change that may be left over by a gain and an offset that are believed."""

CLIPPED = (0.02, 0.98)
"""What is darker or brighter may have been cut off, and says nothing."""

ENOUGH = 0.25
"""Part of the places that must be left to judge by."""

FARTHEST = 4.0
"""Highest gain by which a frame is brought to the exposure of others, and one over the lowest."""

MEMORY = 10.0
"""Seconds after which the exposure that frames are brought to has come 63 % of the way to that of the frames."""

ROUNDS = 5


@dataclass(frozen=True)
class Exposure:
    """What is done to each colour of a frame: times ``gain``, plus ``offset``.

    Attributes:
        gain: (3,).
        offset: (3,).
    """

    gain: Tensor
    offset: Tensor

    @property
    def changes_nothing(self) -> bool:
        """Whether a frame stays as it is, but for a quarter of a level of 255."""
        return float((self.gain - 1).abs().max() + self.offset.abs().max()) < 0.001

    def applied(self, frames: Tensor) -> Tensor:
        """Return frames (B, 3, H, W) in this exposure; values may leave [0, 1]."""
        if self.changes_nothing:
            return frames
        gain, offset = (one.to(frames)[:, None, None] for one in (self.gain, self.offset))
        return torch.addcmul(offset, frames, gain)


SAME = Exposure(torch.ones(3), torch.zeros(3))


def change_of_exposure(before: Tensor, now: Tensor) -> Exposure | None:
    """Return what was done to the exposure between two small pictures (3, h, w); None where nothing like it was.

    Args:
        before: The earlier one.
        now: The later one.
    """
    first, second = before.flatten(1), now.flatten(1)
    dark, bright = CLIPPED
    usable = ((first > dark) & (first < bright) & (second > dark) & (second < bright)).all(0)
    if float(usable.float().mean()) < ENOUGH:
        return None
    first, second = first[:, usable], second[:, usable]
    changed = float((second - first).abs().mean(0).median())
    if changed < VISIBLE:
        return None
    counts = torch.ones(first.shape[1], dtype=torch.bool)
    found, left = None, math.inf
    for _ in range(ROUNDS):
        one, two = first[:, counts], second[:, counts]
        deviation = one.std(1, correction=0)
        if float(deviation.min()) < VISIBLE:
            return None
        gain = two.std(1, correction=0) / deviation
        offset = two.mean(1) - gain * one.mean(1)
        error = (gain[:, None] * first + offset[:, None] - second).abs().mean(0)
        middle = float(error.median())
        if middle >= left:
            break
        found, left = Exposure(gain, offset), middle
        # 2.5 deviations, of which the median is 1.48, but never less than half a level.
        counts = error <= max(2.5 * 1.48 * middle, VISIBLE / 2)
    return found if left <= EXPLAINED * changed else None


class ExposureFollower:
    """Says for each frame of a scene how it is brought to the exposure of those before it."""

    def __init__(self) -> None:
        self._before: Tensor | None = None
        self._known = SAME

    def forget(self) -> None:
        """Start anew, as at a cut."""
        self._before, self._known = None, SAME

    def follow(self, now: Tensor, elapsed: float) -> Exposure:
        """Return what brings a frame to the exposure of the scene.

        Args:
            now: The small picture of the next frame (:func:`stylize.video.cuts.thumbnail`).
            elapsed: Seconds since the one before it.
        """
        before, self._before = self._before, now
        if before is None:
            return self._known
        gain, offset = self._known.gain, self._known.offset
        change = change_of_exposure(before, now)
        if change is not None:
            gain = gain / change.gain.clamp_min(1 / FARTHEST)
            offset = offset - gain * change.offset
        # Small errors add up; forgotten slowly, they and the way to the exposure of today are followed by the averages.
        kept = math.exp(-max(0.0, elapsed) / MEMORY)
        self._known = Exposure(gain.clamp(1 / FARTHEST, FARTHEST) ** kept, offset.clamp(-1, 1) * kept)
        return self._known

    def state(self) -> dict[str, Tensor]:
        """Return what is known of the frames so far."""
        known = {"gain": self._known.gain, "offset": self._known.offset}
        return known if self._before is None else {**known, "before": self._before}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Know what another follower knew when it returned ``state``."""
        self._before, self._known = state.get("before"), Exposure(state["gain"], state["offset"])
