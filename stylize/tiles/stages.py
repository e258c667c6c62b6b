"""What happens to the rows of a strip on their way through one pass: one stage after the other.

A stage takes the next rows of its input and returns the rows that it can compute from them, or None where it cannot
compute any yet. Rows that it will need again it keeps. Each stage also tells how much memory that takes
(:meth:`Stage.weigh`), with the same bookkeeping as when it runs, but without any features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.engines.channel_statistics import statistics
from stylize.program import Layer
from stylize.tiles.encoding import FLOAT32_BYTES
from stylize.tiles.features import Finish, Format, Keeping, kept_copy
from stylize.tiles.rows import RowWindow, Slide
from stylize.tiles.store import RowStore
from stylize.transformer import OUTPUT_SCALE


class Weight(NamedTuple):
    """What a stage makes of some rows.

    Attributes:
        rows: Rows of its result.
        size: Bytes of its result.
        work: The most bytes that it takes at any moment, without what it was given and what it keeps.
    """

    rows: int
    size: int
    work: int


class Stage:
    """One step of a pass.

    Attributes:
        held: Bytes it keeps from one strip to the next.
    """

    held = 0

    def __call__(self, rows: Tensor) -> Tensor | None:
        """Take the next rows (1, C, h, W) and return those that are ready."""
        raise NotImplementedError

    def weigh(self, rows: int, size: int) -> Weight:
        """Do what a call with ``rows`` rows of ``size`` bytes does, but only in numbers."""
        raise NotImplementedError


class Finished(Stage):
    """Apply what follows a convolution."""

    def __init__(self, features: Format, finish: Finish) -> None:
        self.features, self.finish = features, finish

    def __call__(self, rows: Tensor) -> Tensor:
        result = self.features.empty(rows.shape[2])
        self.finish.write(rows, result)
        return result

    def weigh(self, rows: int, size: int) -> Weight:
        result = self.features.size(rows)
        return Weight(rows, result, result + self.finish.work(size, self.features.dtype))


class Padded(Stage):
    """Put the rows that a layer needs into one buffer, with its padding, finishing the layer before on the way.

    Args:
        features: What comes in.
        layer: The layer that reads the buffer.
        finish: What follows the layer before.
    """

    def __init__(self, features: Format, layer: Layer, finish: Finish) -> None:
        self.features, self.finish = features, finish
        self.padding, self.reflect = layer.padding, not layer.upsampling
        self.window = RowWindow(features.height, layer.weight.shape[-1], layer.stride, self.padding, self.reflect)
        self.kept: Tensor | None = None

    def __call__(self, rows: Tensor) -> Tensor | None:
        slide = self.window.push(rows.shape[2])
        buffer = self.features.empty(slide.total, self.padding)
        if self.kept is not None:
            buffer[:, :, : slide.kept] = self.kept
        fresh = buffer[:, :, slide.kept : slide.kept + rows.shape[2]]
        self.finish.write(rows, fresh[..., self.padding : self.padding + self.features.width])
        self._pad(fresh, 3, True, True)
        self._pad(buffer, 2, slide.fill_top, slide.fill_bottom)
        self.kept = kept_copy(buffer[:, :, slide.total - slide.keep :], self.kept)
        return buffer[:, :, : self.window.span(slide.ready)] if slide.ready else None

    def _pad(self, buffer: Tensor, axis: int, start: bool, end: bool) -> None:
        """Fill the padding of a buffer along one axis, at one end or both."""
        last = buffer.shape[axis] - 1
        for k in range(self.padding):
            near = 2 * self.padding - k if self.reflect else self.padding
            if start:
                buffer.select(axis, k).copy_(buffer.select(axis, near))
            if end:
                buffer.select(axis, last - k).copy_(buffer.select(axis, last - near))

    def weigh(self, rows: int, size: int) -> Weight:
        slide = self.window.push(rows)
        before, self.held = self.held, self.features.size(slide.keep, self.padding)
        whole = self.features.size(slide.total, self.padding)
        work = whole + self.finish.work(size, self.features.dtype) + before
        return Weight(self.window.span(slide.ready) if slide.ready else 0, whole, work)


class Convolved(Stage):
    """The convolution of a layer, over a buffer that has its padding.

    Args:
        layer: The layer.
        features: What goes out.
        kernel: Weights and bias, in the dtype of the features and where they are; None where only numbers are wanted.
    """

    def __init__(self, layer: Layer, features: Format, kernel: tuple[Tensor, Tensor] | None) -> None:
        self.layer, self.features, self.kernel = layer, features, kernel

    def __call__(self, rows: Tensor) -> Tensor:
        return F.conv2d(rows, *self.kernel, self.layer.stride)

    def weigh(self, rows: int, size: int) -> Weight:
        ready = (rows - self.layer.weight.shape[-1]) // self.layer.stride + 1
        result = self.features.size(ready)
        return Weight(ready, result, result)


class Upsampled(Stage):
    """Put the four phases that an upsampling layer computes as channels side by side.

    Of the (4C, H + 1, W + 1) that come in, phase (p, q) of the position (y, x) is at (y + p, x + q), so the last row
    waits for the next one.

    Args:
        phases: What comes in.
        features: What goes out.
    """

    def __init__(self, phases: Format, features: Format) -> None:
        self.phases, self.features = phases, features
        self.window = RowWindow(phases.height, 2, 1, 0, reflect=False)
        self.kept: Tensor | None = None

    def __call__(self, rows: Tensor) -> Tensor | None:
        slide = self.window.push(rows.shape[2])
        result = self._merge(rows, slide) if slide.ready else None
        self.kept = kept_copy(rows[:, :, rows.shape[2] - slide.keep :], self.kept)
        return result

    def _merge(self, rows: Tensor, slide: Slide) -> Tensor:
        channels, width = self.features.channels, self.phases.width - 1
        result = self.features.empty(2 * slide.ready)
        for phase in range(4):
            p, q = divmod(phase, 2)
            own = slice(phase * channels, (phase + 1) * channels)
            place = result[:, :, p::2, q::2]
            first = p - slide.kept
            if first < 0 and self.kept is not None:
                place[:, :, :1] = self.kept[:, own, :, q : q + width]
                place, first = place[:, :, 1:], 0
            place.copy_(rows[:, own, first : first + place.shape[2], q : q + width])
        return result

    def weigh(self, rows: int, size: int) -> Weight:
        slide = self.window.push(rows)
        before, self.held = self.held, self.phases.size(slide.keep)
        result = self.features.size(2 * slide.ready)
        return Weight(2 * slide.ready, result, result + before)


class Remembered(Stage):
    """The input of a residual block passes by and is kept until it is added."""

    def __init__(self, features: Format) -> None:
        self.features = features
        self.waiting: list[Tensor] = []
        self.kept: Tensor | None = None
        self.count = 0

    def __call__(self, rows: Tensor) -> Tensor:
        self.waiting.append(rows)
        return rows

    def take(self, count: int) -> Tensor:
        """Return the oldest ``count`` rows and forget them."""
        rows = self.waiting[0] if len(self.waiting) == 1 else torch.cat(self.waiting, dim=2)
        self.kept = kept_copy(rows[:, :, count:], self.kept)
        self.waiting = [] if self.kept is None else [self.kept]
        return rows[:, :, :count]

    def weigh(self, rows: int, size: int) -> Weight:
        self.count += rows
        self.held = self.features.size(self.count)
        return Weight(rows, 0, 0)  # The rows go on, but count among those held.

    def weigh_take(self, count: int) -> int:
        """Return the bytes that :meth:`take` needs."""
        before, self.count = self.count, self.count - count
        self.held = self.features.size(self.count)
        return self.features.size(before)


class Added(Stage):
    """The end of a residual block: its input is added."""

    def __init__(self, features: Format, remembered: Remembered) -> None:
        self.features, self.remembered = features, remembered

    def __call__(self, rows: Tensor) -> Tensor:
        return rows + self.remembered.take(rows.shape[2])

    def weigh(self, rows: int, size: int) -> Weight:
        result = self.features.size(rows)
        taken = self.remembered.weigh_take(rows)
        return Weight(rows, result, taken + max(result, self.remembered.held))


class Stored(Stage):
    """Rows are written to a store, and go on.

    It never overtakes the reading of the same store, so that a pass can write where it reads.

    Args:
        features: What comes in.
        kept: How they are kept.
        store: Where; None where only numbers are wanted.
    """

    def __init__(self, features: Format, kept: Keeping, store: RowStore | None) -> None:
        self.features, self.kept, self.store, self.top = features, kept, store, 0

    def __call__(self, rows: Tensor) -> Tensor:
        self.store.write(self.top, rows)
        self.top += rows.shape[2]
        return rows

    def weigh(self, rows: int, size: int) -> Weight:
        return Weight(rows, size, self.kept.writing(self.features, rows))


class Moments(Stage):
    """Mean and variance of every channel over all rows that pass by, in float64.

    Reference: Chan, Golub, LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
    equation 2.1.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self.squares = torch.zeros(channels, dtype=torch.float64)

    def __call__(self, rows: Tensor) -> Tensor:
        mean, variance = (values[0].cpu().double() for values in statistics(rows))
        count = rows.shape[2] * rows.shape[3]
        total = self.count + count
        away = mean - self.mean
        self.squares += variance * count + away.square() * (self.count * count / total)
        self.mean += away * (count / total)
        self.count = total
        return rows

    @property
    def variance(self) -> Tensor:
        """(C,) float64, divided by the number of positions."""
        return self.squares / self.count

    def weigh(self, rows: int, size: int) -> Weight:
        return Weight(rows, size, 0)


class Painting(Stage):
    """The last features become colours and are written.

    Args:
        features: Of the last layer.
        shuffle: Side of the pixel blocks that channels become.
        height: Rows of the picture; more than these are padding.
        width: Columns of the picture.
        write: Takes the number of the first row, and rows (1, 3, h, W) on the CPU; None where only numbers are wanted.
    """

    def __init__(
        self, features: Format, shuffle: int, height: int, width: int, write: Callable[[int, Tensor], None] | None
    ) -> None:
        self.features, self.shuffle = features, shuffle
        self.height, self.width, self.write = height, width, write
        self.top = 0

    def __call__(self, rows: Tensor) -> None:
        if self.shuffle > 1:
            rows = F.pixel_shuffle(rows, self.shuffle)
        rows = rows[:, :, : self.height - self.top, : self.width]
        if rows.shape[2]:
            colours = torch.tanh(rows.float()).mul_(OUTPUT_SCALE).add_(0.5).clamp_(0, 1)
            self.write(self.top, colours.cpu().contiguous())
            self.top += rows.shape[2]

    def weigh(self, rows: int, size: int) -> Weight:
        colours = 3 * rows * self.shuffle * self.width * FLOAT32_BYTES
        rounded = colours if self.features.dtype != torch.float32 else 0
        shuffled = size if self.shuffle > 1 else 0
        return Weight(0, 0, shuffled + rounded + 2 * colours)
