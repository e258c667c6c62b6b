"""Where the rows of a pass come from: the picture, or features stored by a pass before; and pictures in memory."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.errors import InputError
from stylize.tiles.encoding import FLOAT32_BYTES
from stylize.tiles.features import Finish, Format, Keeping
from stylize.tiles.stages import Finished, Weight
from stylize.tiles.store import RowStore
from stylize.transformer import mirrored_indices


class PictureSource(Protocol):
    """A picture that is read strip by strip.

    Attributes:
        height: Rows.
        width: Columns.
    """

    height: int
    width: int

    def rows(self, top: int, bottom: int) -> Tensor:
        """Return rows (1, 3, bottom - top, width), float32 in [0, 1], RGB.

        Each pass over the picture asks for every row once, from top to bottom, and the next pass begins at 0 again.
        """
        ...


class PictureSink(Protocol):
    """A picture that is written strip by strip."""

    def write(self, top: int, rows: Tensor) -> None:
        """Take rows (1, 3, h, width), float32 in [0, 1], RGB, contiguous, on the CPU.

        Every row comes once, from top to bottom; h changes from call to call.
        """
        ...


class TensorSource:
    """A picture in memory.

    Args:
        image: (1, 3, H, W), float32 in [0, 1].

    Raises:
        InputError: A tensor of another shape or dtype.
    """

    def __init__(self, image: Tensor) -> None:
        if image.dim() != 4 or image.shape[:2] != (1, 3) or 0 in image.shape or image.dtype != torch.float32:
            raise InputError(f"{image.dtype} of shape {tuple(image.shape)} given; float32 (1, 3, H, W) is accepted")
        self.image = image
        self.height, self.width = image.shape[-2:]

    def rows(self, top: int, bottom: int) -> Tensor:
        """See :meth:`PictureSource.rows`."""
        return self.image[:, :, top:bottom]


class TensorSink:
    """A picture that is painted in memory.

    Args:
        height: Rows.
        width: Columns.

    Attributes:
        image: (1, 3, height, width), float32 in [0, 1], on the CPU.
    """

    def __init__(self, height: int, width: int) -> None:
        self.image = torch.empty(1, 3, height, width)

    def write(self, top: int, rows: Tensor) -> None:
        """See :meth:`PictureSink.write`."""
        self.image[:, :, top : top + rows.shape[2]] = rows


def checked_rows(source: PictureSource, top: int, bottom: int) -> Tensor:
    """Return rows of a picture.

    Raises:
        InputError: The source returned something else than it was asked for.
    """
    rows = source.rows(top, bottom)
    if rows.shape != (1, 3, bottom - top, source.width) or rows.dtype != torch.float32:
        raise InputError(
            f"the source of a picture gave {rows.dtype} of shape {tuple(rows.shape)} for its rows {top} to {bottom}; "
            f"float32 of shape {(1, 3, bottom - top, source.width)} is accepted"
        )
    return rows


class PictureStrips:
    """Strips of a picture, continued by reflection at the right and bottom, as the first layer takes them.

    Args:
        source: The picture; None where only numbers are wanted.
        size: Height and width of the picture.
        padded: Height and width to which it is continued.
        unshuffle: Side of the pixel blocks that become channels.
        device: Where rows go.
    """

    def __init__(
        self,
        source: PictureSource | None,
        size: tuple[int, int],
        padded: tuple[int, int],
        unshuffle: int,
        device: torch.device,
    ) -> None:
        self.source, self.size, self.padded, self.unshuffle = source, size, padded, unshuffle
        (height, width), (tall, wide) = size, padded
        self.device = device
        self.columns = mirrored_indices(width, wide, device) if wide != width else None
        # The rows below the picture repeat its last ones, which are kept: no row is asked for twice.
        self.below = mirrored_indices(height, tall, torch.device("cpu"))[height:]
        self.first_kept = int(self.below.min()) if len(self.below) else height
        self.kept: list[Tensor] = []

    def read(self, top: int, bottom: int) -> Tensor:
        """Return rows of the continued picture as (1, 3 unshuffle^2, h, w); called from top to bottom."""
        rows = self._rows(top, bottom)
        if self.columns is not None:
            rows = rows[..., self.columns]
        return F.pixel_unshuffle(rows, self.unshuffle) if self.unshuffle > 1 else rows

    def _rows(self, top: int, bottom: int) -> Tensor:
        height, parts = self.size[0], []
        if top < height:
            parts.append(checked_rows(self.source, top, min(bottom, height)).to(self.device))
            if bottom > self.first_kept:
                self.kept.append(parts[0][:, :, max(0, self.first_kept - top) :].clone())
        if bottom > height:
            chosen = self.below[max(top, height) - height : bottom - height] - self.first_kept
            parts.append(torch.cat(self.kept, dim=2)[:, :, chosen.to(self.device)])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def weigh(self, rows: int) -> Weight:
        """Return what a strip of ``rows`` rows of the picture takes."""
        size = 3 * rows * self.padded[1] * FLOAT32_BYTES
        copied = self.padded != self.size or self.unshuffle > 1
        return Weight(rows // self.unshuffle, size, size * (2 if copied else 1))


class StoredStrips:
    """Strips of stored features: what is in one store, or the sum of two, each finished first.

    Args:
        features: Of the result.
        parts: For each store: how it keeps features, itself (None where only numbers are wanted), and what is still to
            be done to its features; None where they are finished.
        reduction: Rows of the picture that one row of the features spans.
    """

    def __init__(
        self, features: Format, parts: list[tuple[Keeping, RowStore | None, Finish | None]], reduction: int
    ) -> None:
        self.features, self.parts, self.reduction = features, parts, reduction

    def read(self, top: int, bottom: int) -> Tensor:
        """Return as many rows as those of the picture from ``top`` to ``bottom`` become."""
        top, bottom = top // self.reduction, bottom // self.reduction
        rows = self._read(0, top, bottom)
        for number in range(1, len(self.parts)):
            rows = rows + self._read(number, top, bottom)
        return rows

    def _read(self, number: int, top: int, bottom: int) -> Tensor:
        _, store, finish = self.parts[number]
        rows = store.read(top, bottom).to(self.features.device, self.features.dtype)
        return rows if finish is None else Finished(self.features, finish)(rows)

    def weigh(self, rows: int) -> Weight:
        """Return what a strip of ``rows`` rows of the picture takes."""
        rows //= self.reduction
        size = self.features.size(rows)
        most = len(self.parts) * size
        for number, (kept, _, finish) in enumerate(self.parts):
            read, converted = kept.read(self.features, rows), 0 if self.features.dtype == torch.float32 else size
            finished = 0 if finish is None else size + finish.work(size, self.features.dtype)
            # First the rows come out of the store, then they are converted, then finished, beside those of the store
            # before.
            steps = (read + kept.reading(self.features, rows), read + converted, (converted or read) + finished)
            most = max(most, number * size + max(steps))
        return Weight(rows, size, most + (size if len(self.parts) > 1 else 0))
