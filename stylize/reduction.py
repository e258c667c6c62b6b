"""Photos reduced from strips of their rows, without aliasing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.errors import InputError

ROWS_AT_ONCE = 256
"""Rows of a picture in memory that are worked on at a time; it bounds the working memory."""


class Reduction:
    """Reduce a photo from strips of its rows, with cubic weights as wide as the reduction needs (no aliasing).

    Only the reduced photo is held: 12 bytes for each of its pixels.

    Args:
        height: Of the photo.
        width: Of the photo.
        small_height: Of the reduced photo, at most ``height``.
        small_width: Of the reduced photo, at most ``width``.
    """

    def __init__(self, height: int, width: int, small_height: int, small_width: int) -> None:
        if not (1 <= small_height <= height and 1 <= small_width <= width):
            raise InputError(f"{width} x {height} pixels cannot be reduced to {small_width} x {small_height}")
        self.height = height
        self.width = width
        self._sum = torch.zeros(1, 3, small_height, small_width)
        self._seen = 0

    def add(self, photo_rows: Tensor, top: int) -> None:
        """Take in rows of the photo, each row once; the strips may come in any order.

        Args:
            photo_rows: (1, 3, n, W), float32 in [0, 1], from row ``top`` of the photo on.
            top: Index of their first row.

        Raises:
            InputError: Another shape or dtype, or rows that the photo does not have.
        """
        check_rows(photo_rows, top, self.height, self.width)
        count, (small_height, small_width) = photo_rows.shape[2], self._sum.shape[2:]
        self._seen += count
        if small_width < self.width:
            photo_rows = F.interpolate(photo_rows, size=(count, small_width), mode="bicubic", antialias=True)
        if small_height == self.height:
            self._sum[:, :, top : top + count] += photo_rows
            return
        factor = self.height / small_height
        first = max(0, math.floor((top - 2 * factor) / factor - 1))
        last = min(small_height, math.ceil((top + count + 2 * factor) / factor + 1))
        weights = _reducing_weights(self.height, factor, first, last)[:, top : top + count]
        self._sum[:, :, first:last] += weights @ photo_rows

    def result(self) -> Tensor:
        """Return the reduced photo (1, 3, h, w) in [0, 1].

        Raises:
            InputError: Not all rows were added.
        """
        if self._seen != self.height:
            raise InputError(f"{self._seen} rows were added of a picture of {self.height}")
        return self._sum.clamp(0, 1)


def reduce(photo: Tensor, small_height: int, small_width: int) -> Tensor:
    """Return a photo (1, 3, H, W) in [0, 1] reduced to (1, 3, h, w), as :class:`Reduction` does it."""
    height, width = photo.shape[2:]
    reduction = Reduction(height, width, small_height, small_width)
    for top in range(0, height, ROWS_AT_ONCE):
        reduction.add(photo[:, :, top : top + ROWS_AT_ONCE], top)
    return reduction.result()


def check_pictures(**pictures: Tensor) -> None:
    """Raise InputError unless each of the pictures, by what it is called, is (1, 3, H, W) float32."""
    for name, picture in pictures.items():
        if picture.dim() != 4 or picture.shape[:2] != (1, 3) or 0 in picture.shape:
            raise InputError(f"a {name} of shape {tuple(picture.shape)} given; (1, 3, H, W) is accepted")
        if picture.dtype != torch.float32:
            raise InputError(f"a {name} of dtype {picture.dtype} given; torch.float32 in [0, 1] is accepted")


def check_rows(rows: Tensor, top: int, height: int, width: int) -> None:
    """Raise InputError unless ``rows``, from ``top`` on, are rows of a picture of ``width`` x ``height`` pixels."""
    check_pictures(photo=rows)
    bottom = top + rows.shape[2]
    if rows.shape[3] != width or top < 0 or bottom > height:
        raise InputError(f"rows {top} to {bottom} of {rows.shape[3]} pixels given of a picture of {width} x {height}")


def _reducing_weights(height: int, factor: float, first: int, last: int) -> Tensor:
    """Return (last - first, height): the weights of all large rows in the small rows ``first`` to ``last``.

    Keys 1981 with a = -0.5, stretched by the factor, as the antialiased :func:`torch.nn.functional.interpolate`.
    """
    centres = (torch.arange(first, last, dtype=torch.float64) + 0.5) * factor
    x = ((torch.arange(height, dtype=torch.float64) + 0.5) - centres.view(-1, 1)).abs() / factor
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    return (weights / weights.sum(1, keepdim=True)).to(torch.float32)
