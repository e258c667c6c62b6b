"""What stored features are kept as: rows of bytes, as float32 or as whole numbers of two bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from torch import Tensor

StoredAs = Literal["float32", "int16"]

STORED_AS: tuple[StoredAs, ...] = ("float32", "int16")

BLOCK = 64
"""Positions side by side in a row that share a scale in ``int16``. What an error in a stored feature does to the
painting depends on how much the channel varies over the picture, and where the picture is flat one channel varies
thousands of times less than its range. Ranges of short pieces of a row follow that. At 4096 px the largest error in
the painting was 1.20 grey levels with float16, 0.64 with one range for each strip, 0.41 for each row, and 0.28, 0.21
and 0.17 for each 128, 64 and 32 positions of a row."""

STEPS = 65534
"""Steps from the lowest to the highest value of a block: -32767 to 32767, with zero in the middle."""

CHUNK_BYTES = 2**20
"""Bytes of float32 that are converted at once: what fits into the cache that each core has for itself is walked
through several times at no cost, and needs no room worth mentioning."""

FLOAT32_BYTES = 4
INT16_BYTES = 2


class Encoding(Protocol):
    """How rows of features become bytes and features again. Scales stand in the same row as what they belong to.

    Attributes:
        row_bytes: Bytes of a row, a multiple of 4.
        extra_bytes: Bytes that encoding takes for each row of float32, besides the row and its bytes.
    """

    row_bytes: int
    extra_bytes: int

    def encode(self, rows: Tensor, room: Tensor) -> None:
        """Write rows (h, W, C) of any floating dtype into ``room``, (h, row_bytes) uint8 on the CPU."""
        ...

    def decode(self, room: Tensor, rows: Tensor) -> None:
        """Write what ``room`` holds into ``rows``, (h, W, C) float32 on the CPU."""
        ...

    def view(self, room: Tensor) -> Tensor | None:
        """Return ``room`` itself as rows (h, W, C) float32; None where it has to be decoded."""
        ...


class Float32Encoding:
    """Rows as they are.

    Args:
        channels: C.
        width: W.
    """

    extra_bytes = 0

    def __init__(self, channels: int, width: int) -> None:
        self.shape = (width, channels)
        self.row_bytes = width * channels * FLOAT32_BYTES

    def encode(self, rows: Tensor, room: Tensor) -> None:
        """See :meth:`Encoding.encode`."""
        self.view(room).copy_(rows)

    def decode(self, room: Tensor, rows: Tensor) -> None:
        """See :meth:`Encoding.decode`."""
        rows.copy_(self.view(room))

    def view(self, room: Tensor) -> Tensor:
        """See :meth:`Encoding.view`."""
        return room.view(torch.float32).unflatten(1, self.shape)


class Int16Encoding:
    """Rows as 16-bit whole numbers, with a middle and a step for each channel in each :data:`BLOCK` positions of a row.

    They are those of the lowest and the highest value of the block, so nothing is ever clipped, and the error is at
    most half a step: the range of the block / (2 * :data:`STEPS`), besides the last digit of float32. A block of one
    value comes back exactly, and one with a value that is not finite comes back as not finite throughout.

    Args:
        channels: C.
        width: W.
    """

    def __init__(self, channels: int, width: int) -> None:
        self.width, self.channels = width, channels
        self.blocks = -(-width // BLOCK)
        # Middles, steps, values.
        self._scales_bytes = self.blocks * channels * FLOAT32_BYTES
        values = width * channels * INT16_BYTES
        # A row begins where float32 may begin.
        self.row_bytes = 2 * self._scales_bytes + -(-values // FLOAT32_BYTES) * FLOAT32_BYTES
        # The row while it is scaled, and lowest value, step and inverse of each block.
        self.extra_bytes = width * channels * FLOAT32_BYTES + 3 * self._scales_bytes

    def encode(self, rows: Tensor, room: Tensor) -> None:
        """See :meth:`Encoding.encode`."""
        rows = rows.to("cpu", torch.float32)
        middles, steps, values = self._parts(room)
        for columns, blocks in self._pieces():
            piece, kept = _in_blocks(rows[:, columns], blocks), _in_blocks(values[:, columns], blocks)
            lowest = piece.amin(2)
            step = piece.amax(2).sub_(lowest).div_(STEPS)
            torch.add(lowest, step, alpha=STEPS // 2, out=middles[:, blocks])
            steps[:, blocks] = step
            # Of a range too small to be divided nothing but its middle is kept.
            inverse = step.reciprocal().masked_fill_(step < torch.finfo(torch.float32).tiny, 0)
            scaled = torch.sub(piece, lowest[:, :, None]).mul_(inverse[:, :, None]).sub_(STEPS // 2)
            kept.copy_(scaled.round_())

    def decode(self, room: Tensor, rows: Tensor) -> None:
        """See :meth:`Encoding.decode`."""
        middles, steps, values = self._parts(room)
        for columns, blocks in self._pieces():
            piece = _in_blocks(rows[:, columns], blocks)
            piece.copy_(_in_blocks(values[:, columns], blocks))
            torch.addcmul(middles[:, blocks, None], piece, steps[:, blocks, None], out=piece)

    def view(self, room: Tensor) -> None:
        """See :meth:`Encoding.view`."""
        return

    def _parts(self, room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return middles and steps (h, blocks, C), float32, and values (h, W, C), int16: views of ``room``."""
        size, scales = self._scales_bytes, (self.blocks, self.channels)
        middles = room[:, :size].view(torch.float32).unflatten(1, scales)
        steps = room[:, size : 2 * size].view(torch.float32).unflatten(1, scales)
        values = room[:, 2 * size : 2 * size + self.width * self.channels * INT16_BYTES].view(torch.int16)
        return middles, steps, values.unflatten(1, (self.width, self.channels))

    def _pieces(self) -> Iterator[tuple[slice, slice]]:
        """Yield the columns and blocks of whole blocks, and those of what remains."""
        whole = self.width // BLOCK
        if whole:
            yield slice(0, whole * BLOCK), slice(0, whole)
        if whole < self.blocks:
            yield slice(whole * BLOCK, self.width), slice(whole, self.blocks)


def _in_blocks(rows: Tensor, blocks: slice) -> Tensor:
    """Return a view (h, blocks, positions, C) of rows (h, W, C)."""
    return rows.unflatten(1, (blocks.stop - blocks.start, -1))


def make_encoding(stored: StoredAs, channels: int, width: int) -> Encoding:
    """Return how rows of ``channels`` channels and ``width`` positions are stored."""
    return (Float32Encoding if stored == "float32" else Int16Encoding)(channels, width)


def chunk_rows(channels: int, width: int) -> int:
    """Return how many rows are converted at once."""
    return max(1, CHUNK_BYTES // (channels * width * FLOAT32_BYTES))
