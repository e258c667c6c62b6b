"""Frames painted in a part of the picture only, the same in every frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from stylize.masks import blend

if TYPE_CHECKING:
    from stylize.video.segments import Painter


class MaskedPainter:
    """Paints frames where a mask is white.

    The mask comes last: what another painter carries over from frame to frame is the painting alone, and the clip
    stays sharp where the mask is black.

    Args:
        painter: What paints whole frames.
        mask: (1, 1, H, W) in [0, 1], of the size of the frames: 1 takes the painting, 0 the clip.
    """

    def __init__(self, painter: Painter, mask: Tensor) -> None:
        self._painter, self._mask = painter, mask

    def paint(self, frame: Tensor, elapsed: float | None = None) -> Tensor:
        """Paint a frame (1, 3, H, W), float32 RGB in [0, 1]; returns the same shape."""
        painted = self._painter.paint(frame, elapsed)
        return blend(painted, frame.to(painted.device), self._mask.to(painted.device))

    def reset(self) -> None:
        """Forget the frames so far."""
        self._painter.reset()

    def state(self) -> dict[str, Tensor]:
        """Return what is known of the frames so far."""
        return self._painter.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Know what another painter knew."""
        self._painter.restore(state)
