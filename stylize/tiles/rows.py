"""Which rows a layer can compute when the rows of its input arrive a few at a time, from top to bottom.

A layer that looks up and down (a convolution) keeps the last rows it was given, so that each row of each layer is
computed once, whatever the strips: there is no overlap that would have to be computed twice.

Rows are counted as the layer sees them, with its padding: row 0 is the first row of padding. A layer of height H with
padding p has the rows 0 to H + 2p - 1; its result r needs the rows from r * stride to r * stride + window - 1.

Reference: Alwani, Chen, Ferdman, Milder 2016, "Fused-Layer CNN Accelerators", section III (keeping rows instead of
computing them again).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Slide:
    """What to do with the rows that have just come in.

    The layer works on a buffer: ``kept`` rows from before, the new ones, and at the end of the picture the padding
    below.

    Attributes:
        kept: Rows of the buffer that come from before. At the very start they are the padding above, still empty.
        total: Rows of the buffer.
        fill_top: Whether the padding above can be filled now; it is at the start of the buffer.
        fill_bottom: Whether the buffer ends with the padding below.
        ready: Rows that can be computed now, from the start of the buffer.
        keep: Rows at the end of the buffer to keep for the next time.
    """

    kept: int
    total: int
    fill_top: bool
    fill_bottom: bool
    ready: int
    keep: int


class RowWindow:
    """The rows that one layer has seen and computed so far.

    Args:
        height: Rows of the layer's input, without padding.
        window: Rows that one row of the result depends on.
        stride: How far the window moves from one row of the result to the next.
        padding: Rows of padding above, and below.
        reflect: Whether the padding is by reflection, which needs ``padding`` + 1 rows before the first one of it is
            known; replication of the edge needs one.
    """

    def __init__(self, height: int, window: int, stride: int, padding: int, reflect: bool) -> None:
        self.height = height
        self.window, self.stride, self.padding = window, stride, padding
        self._enough = padding + 1 if reflect else 1
        self._seen = 0
        self._kept = padding
        self._filled = False

    @property
    def result_height(self) -> int:
        """Rows of the whole result."""
        return (self.height + 2 * self.padding - self.window) // self.stride + 1

    def push(self, rows: int) -> Slide:
        """Take the next ``rows`` rows of the input."""
        kept, self._seen = self._kept, self._seen + rows
        fill_top = not self._filled and self._seen >= self._enough
        self._filled = self._filled or fill_top
        fill_bottom = self._seen == self.height
        total = kept + rows + (self.padding if fill_bottom else 0)
        ready = max(0, (total - self.window) // self.stride + 1) if self._filled else 0
        self._kept = 0 if fill_bottom else total - ready * self.stride
        return Slide(kept, total, fill_top, fill_bottom, ready, self._kept)

    def span(self, ready: int) -> int:
        """Return how many rows ``ready`` rows of the result depend on."""
        return (ready - 1) * self.stride + self.window


def strip_heights(height: int, strip: int) -> list[int]:
    """Return the heights of the strips of a picture: ``strip`` rows each, the last one what remains."""
    return [min(strip, height - top) for top in range(0, height, strip)]
