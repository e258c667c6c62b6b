"""How a clip lies in its file: phones store what the sensor saw, and beside it how to turn it upright."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Orientation:
    """What turns a stored frame upright: first the swap, then the mirrors.

    Attributes:
        swap: Exchange rows and columns.
        mirror: Mirror left and right.
        flip: Mirror top and bottom.
    """

    swap: bool = False
    mirror: bool = False
    flip: bool = False

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """Return stored pixels (H, W, C) as they are to be seen."""
        if self.swap:
            pixels = pixels.transpose(1, 0, 2)
        if self.mirror:
            pixels = pixels[:, ::-1]
        if self.flip:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the upright frame; the same turns an upright size into a stored one."""
        return (height, width) if self.swap else (width, height)


UPRIGHT = Orientation()


def read_display_matrix(data: bytes) -> Orientation | None:
    """Return what a display matrix says, or None for one that is no multiple of a quarter turn.

    The pixel (x, y) is shown at (a x + c y, b x + d y), up to a shift, with the matrix (a b u; c d v; x y w) in rows.

    Args:
        data: Nine whole numbers of 32 bits.

    Reference:
        ISO/IEC 14496-12, section 6.2.2.
    """
    if len(data) < 36:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", data[:36])
    straight, crossed = abs(a) and abs(d), abs(b) and abs(c)
    if straight and not (b or c):
        return Orientation(mirror=a < 0, flip=d < 0)
    if crossed and not (a or d):
        return Orientation(swap=True, mirror=c < 0, flip=b < 0)
    return None
