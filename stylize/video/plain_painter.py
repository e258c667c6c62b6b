"""Frames painted one by one, as if each were a photo."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from stylize.controls import PLAIN, Controls
from stylize.stylizer import Stylizer


class PlainPainter:
    """Paints every frame for itself, and remembers nothing.

    Args:
        stylizer: What paints.
        controls: How.
    """

    def __init__(self, stylizer: Stylizer, controls: Controls = PLAIN) -> None:
        self._stylizer, self._controls = stylizer, controls

    def paint(self, frame: Tensor, elapsed: float | None = None) -> Tensor:
        """Paint a frame (1, 3, H, W), float32 RGB in [0, 1]; returns the same shape."""
        return self._stylizer.paint(frame, self._controls)

    def reset(self) -> None:
        """There is nothing to forget."""

    def state(self) -> dict[str, Tensor]:
        """Return nothing: frames do not matter to one another."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """There is nothing to know."""
