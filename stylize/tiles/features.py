"""Features as they go through a strip: their shape, what is still to be done to them, and how they wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stylize.tiles.encoding import FLOAT32_BYTES, StoredAs, chunk_rows, make_encoding


@dataclass(frozen=True)
class Format:
    """Shape and dtype of rows of features.

    Attributes:
        channels: C.
        height: Rows of the whole picture at this resolution.
        width: W.
        dtype: What they are computed in.
        device: Where.
    """

    channels: int
    height: int
    width: int
    dtype: torch.dtype
    device: torch.device

    def empty(self, rows: int, padding: int = 0) -> Tensor:
        """Return room for some rows, with ``padding`` columns at the left and right."""
        shape = (1, self.channels, rows, self.width + 2 * padding)
        return torch.empty(shape, dtype=self.dtype, device=self.device, memory_format=torch.channels_last)

    def size(self, rows: int, padding: int = 0) -> int:
        """Return the bytes of some rows."""
        return self.channels * rows * (self.width + 2 * padding) * self.dtype.itemsize


@dataclass(frozen=True)
class Finish:
    """What follows a convolution: a scale and a shift for every channel, and a ReLU.

    The mean goes first, by itself: behind a flat picture the scale is some hundreds, and a x and b would nearly cancel.

    Attributes:
        centre: (C, 1, 1) float32, what is subtracted; None = no normalisation.
        scale: (C, 1, 1) float32.
        shift: (C, 1, 1) float32.
        relu: Whether a ReLU follows.
    """

    centre: Tensor | None
    scale: Tensor | None
    shift: Tensor | None
    relu: bool

    def write(self, rows: Tensor, place: Tensor) -> None:
        """Write the finished ``rows`` to ``place``, of the same shape."""
        if self.scale is None:
            if self.relu:
                torch.clamp_min(rows, 0, out=place)
            else:
                place.copy_(rows)
            return
        # In float32, which a bfloat16 result is rounded from once.
        direct = rows.dtype == place.dtype == torch.float32
        result = torch.sub(rows, self.centre, out=place if direct else None)
        torch.addcmul(self.shift, result, self.scale, out=result)
        if self.relu:
            result.relu_()
        if not direct:
            place.copy_(result)

    def work(self, rows_size: int, dtype: torch.dtype) -> int:
        """Return the bytes that :meth:`write` needs besides ``rows_size`` bytes of rows of ``dtype``."""
        if self.scale is None or dtype == torch.float32:
            return 0
        return rows_size * FLOAT32_BYTES // dtype.itemsize


@dataclass(frozen=True)
class Keeping:
    """How features are kept between passes.

    Attributes:
        place: ``memory`` or ``scratch``.
        stored: What they are kept as.
    """

    place: Literal["memory", "scratch"]
    stored: StoredAs

    def writing(self, features: Format, rows: int) -> int:
        """Return the bytes that it takes to write some rows."""
        row_bytes = make_encoding(self.stored, features.channels, features.width).extra_bytes
        if row_bytes and features.dtype != torch.float32:
            row_bytes += features.channels * features.width * FLOAT32_BYTES
        return self._bytes_room(features, rows) + self._at_once(features, rows) * row_bytes

    def reading(self, features: Format, rows: int) -> int:
        """Return the bytes that it takes to read some rows, besides themselves."""
        return self._bytes_room(features, rows)

    def read(self, features: Format, rows: int) -> int:
        """Return the bytes of some rows that were read, as float32: none where they are a view of the store."""
        viewed = self.place == "memory" and self.stored == "float32"
        return 0 if viewed else features.channels * features.width * rows * FLOAT32_BYTES

    def size(self, features: Format) -> int:
        """Return the bytes of the whole store."""
        return features.height * make_encoding(self.stored, features.channels, features.width).row_bytes

    def _bytes_room(self, features: Format, rows: int) -> int:
        if self.place == "memory":
            return 0
        row_bytes = make_encoding(self.stored, features.channels, features.width).row_bytes
        return self._at_once(features, rows) * row_bytes

    @staticmethod
    def _at_once(features: Format, rows: int) -> int:
        return min(rows, chunk_rows(features.channels, features.width))


def kept_copy(rows: Tensor, room: Tensor | None) -> Tensor | None:
    """Return a copy of rows that stay until the next strip, in the ``room`` of the last ones where they fit; None of no
    rows.

    A view would keep the whole strip alive. And new memory for every strip, between what comes and goes with the strip,
    would leave holes that the allocator cannot use: the process would take twice the memory.
    """
    if not rows.shape[2]:
        return None
    return room.copy_(rows) if room is not None and room.shape == rows.shape else rows.clone()
