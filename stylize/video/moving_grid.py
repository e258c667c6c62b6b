"""The grid of blocks on which a network works, moved along with what the camera sees.

A network that reduces pictures paints a thing differently as it lies differently in the blocks of pixels that become
one place: its strokes change while it moves by less than a block, and are the same again after a whole one. Where the
camera pans, that is so everywhere. So the grid is moved along: frames are padded at the left and at the top by as many
pixels as it takes, fewer than a block has. Then a pan by whole pixels changes no stroke, and any other one only as half
a pixel can.

One grid lies under all of the frame. So it is moved where that leaves most of the frame nearer to its old place in the
blocks than it would be if the grid stayed: what stands still then stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.video.flow import Floats

WORTH = 0.7
"""The grid moves if the mean change of place in the blocks falls below this part of what it is if it stays."""

FAR = 1.0
"""A change of place by more pixels is no worse: else a grid that fits nothing would be taken, in the middle of two."""

LOOKED_AT = 4096
"""So many places of the flow, at most, are looked at."""


class MovingGrid:
    """The place of the grid, from frame to frame.

    Args:
        block: Side of the blocks in pixels.
    """

    def __init__(self, block: int) -> None:
        self._block = block
        self._place = (0, 0)  # to the right and down, in pixels, below the block

    def forget(self) -> None:
        """Start anew, as at a cut."""
        self._place = (0, 0)

    def follow(self, back: Floats, scale: tuple[float, float]) -> None:
        """Move the grid along.

        Args:
            back: (h, w, 2), the flow from the frame to the one before it, at any size.
            scale: Pixels of the frame to one of ``back``, to the right and down.
        """
        vectors = back.reshape(-1, 2)
        vectors = vectors[:: -(-len(vectors) // LOOKED_AT)] * np.float32(scale)
        # What was ``back`` away from here is here now.
        self._place = tuple(
            (place + self._step(-moved)) % self._block for place, moved in zip(self._place, vectors.T, strict=True)
        )

    def _step(self, moved: np.ndarray) -> int:
        """Return by how many pixels to move the grid along one axis, along which things moved so far, (N,)."""
        steps = np.arange(self._block, dtype=np.float32)
        change = (moved - steps[:, None] + self._block / 2) % self._block - self._block / 2
        costs = np.minimum(np.abs(change), FAR).mean(1)
        best = int(costs.argmin())
        return best if costs[best] < WORTH * costs[0] else 0

    def padding(self, height: int, width: int) -> tuple[int, int]:
        """Return by how many pixels a frame is padded at the left and at the top."""
        if min(height, width) <= self._block:
            return 0, 0
        # A thing that moved by one to the right lies as before, where the frame begins one later in its blocks.
        right, down = self._place
        return -right % self._block, -down % self._block

    def padded(self, frame: Tensor) -> Tensor:
        """Return a frame (B, 3, H, W), padded by its own mirror image."""
        left, top = self.padding(*frame.shape[-2:])
        return F.pad(frame, (left, 0, top, 0), mode="reflect") if left or top else frame

    def cropped(self, painted: Tensor, height: int, width: int) -> Tensor:
        """Return what was painted of a padded frame, without the padding; its size is that of the frame."""
        left, top = self.padding(height, width)
        return painted[..., top : top + height, left : left + width].contiguous()

    def state(self) -> dict[str, Tensor]:
        """Return where it is."""
        return {"place": torch.tensor(self._place)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Be where another grid was when it returned ``state``."""
        self._place = tuple(state["place"].tolist())
