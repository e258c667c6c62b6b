"""Painting a photo at another size than its own, and bringing the painting to the size of the photo."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stylize.reduction import reduce
from stylize.stroke_size import Enlargement, painting_scale, painting_size, second_pass

ENLARGED_ROWS = 256
"""Rows that are enlarged at once."""


def paint_at_scale(paint: Callable[[Tensor], Tensor], images: Tensor, scale: float | str, passes: int) -> Tensor:
    """Paint pictures at a part of their size and enlarge the paintings along their strokes.

    Args:
        paint: Paints pictures (B, 3, H, W) at their own size.
        images: (B, 3, H, W) in [0, 1].
        scale: Part of the size, above 0 up to 1, or ``auto``.
        passes: 2 paints the enlarged painting once more.

    Returns:
        (B, 3, H, W) in [0, 1]; where nothing is reduced, what ``paint`` gives, else on the CPU.

    Raises:
        InputError: A scale that there is not.
    """
    height, width = images.shape[-2:]
    if painting_scale(width, height, scale) == 1:
        return paint(images)
    wide, tall = painting_size(width, height, scale)
    return torch.cat([_paint_one(paint, photo, tall, wide, passes) for photo in images.cpu().split(1)])


def _paint_one(paint: Callable[[Tensor], Tensor], photo: Tensor, tall: int, wide: int, passes: int) -> Tensor:
    """Paint a photo (1, 3, H, W) at the size ``tall`` x ``wide`` and enlarge the painting."""
    height, width = photo.shape[-2:]
    small = reduce(photo, tall, wide)
    enlargement = Enlargement(paint(small).cpu(), small, height, width)
    painted = torch.empty_like(photo)
    for top in range(0, height, ENLARGED_ROWS):
        rows = slice(top, top + ENLARGED_ROWS)
        painted[:, :, rows] = enlargement.rows(photo[:, :, rows], top)
    if passes == 2:
        painted = second_pass(painted, photo, lambda mixed: paint(mixed).cpu())
    return painted.clamp(0, 1)
