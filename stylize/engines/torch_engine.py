"""The engine that needs nothing but PyTorch: a program run with as few walks through memory as PyTorch allows.

Next to its convolutions a network of this kind spends its time moving features about, so:

- features stay in channels-last format from end to end, in bfloat16 where the CPU multiplies it natively;
- each convolution reads a buffer with its padding already around it. What comes before (normalisation, ReLU, the sum
  of a residual block) is written straight into the middle of that buffer, so padding costs only its thin border;
- of a normalisation only the mean is taken from the features. What remains is a x + b for every channel, and the ReLU
  of that is a max(x, -b / a) + b for a > 0, a min(x, -b / a) + b for a < 0. Only the maximum or minimum is computed;
  a and b go into the next convolution, as a fixed norm goes into the one before;
- a last convolution with three output channels computes blocks of pixels at once.

The result is that of the network but for rounding. bfloat16 has three digits, so features are stored around 0: photos
without their mean, and normalised features without theirs, even where that is one walk more. Otherwise the little that
a photo of low contrast has would be rounded away before it is divided by its deviation. The photos of a batch are
painted one after the other, since each has statistics of its own.

On a CUDA GPU sizes that come again are painted with a recording of these steps (:mod:`stylize.engines.cuda_graphs`). So
nothing here may wait for the GPU, or copy values to it, between a photo and its painting.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.engines.channel_statistics import statistics
from stylize.engines.cuda_graphs import GraphCache
from stylize.program import Layer, Program
from stylize.transformer import OUTPUT_SCALE, mirrored_indices, padded_size

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What the engine computes in, by the name of its precision."""

BLOCK = 2
"""Side of the pixel blocks that a last convolution at full resolution computes at once. Three output channels leave
most of a CPU's vector unit empty; the twelve of a block fill it, for (K + 1)^2 / K^2 of the multiplications."""

FEW_CHANNELS = 4
"""A convolution with no more output channels than this is worth computing in blocks."""

UNREACHABLE = {torch.float32: 1e30, torch.bfloat16: 1e30, torch.float16: 6e4}
"""A threshold of a ReLU beyond this is beyond all features: its channel is constant (and the dtype ends there)."""

StatisticsFilter = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Called for each norm that depends on the photo, with the number of its layer in :attr:`Program.layers` and the mean
and the variance (1, C) of its features, float32. It returns what the norm takes in their place, and must not write into
them."""


class TorchEngine:
    """Run a program with PyTorch.

    Args:
        program: The program.
        precision: A key of :data:`DTYPES`.
        device: Where it computes.
        graphs: Whether sizes that come again are recorded, on a CUDA GPU; of no effect elsewhere.

    Attributes:
        name: ``torch``.
        precision: A key of :data:`DTYPES`.
        device: Where pictures are expected and returned.
        graphs: The recordings; None where there are none.
    """

    name = "torch"

    def __init__(
        self,
        program: Program,
        precision: str = "float32",
        device: torch.device | str = "cpu",
        graphs: bool = True,
    ) -> None:
        self.program = program
        self.precision = precision
        self.device = torch.device(device)
        self.graphs = GraphCache(self.device) if graphs and self.device.type == "cuda" else None
        dtype = DTYPES[precision]
        self._encoder = [_Step(layer, dtype, self.device) for layer in program.encoder]
        self._blocks = [tuple(_Step(layer, dtype, self.device) for layer in block) for block in program.blocks]
        # Sizes are multiples of the reduction, so that where it is even the last convolution finds whole blocks.
        blocks = BLOCK if program.config.reduction % BLOCK == 0 else 1
        self._decoder = [_Step(layer, dtype, self.device) for layer in program.decoder[:-1]]
        self._decoder.append(_Step(program.decoder[-1], dtype, self.device, block=blocks))
        steps = [*self._encoder, *(step for block in self._blocks for step in block), *self._decoder]
        for number, step in enumerate(steps):
            step.number = number

    def paint(self, images: Tensor, statistics_filter: StatisticsFilter | None = None) -> Tensor:
        """See :meth:`stylize.engines.engine.Engine.paint`.

        Args:
            images: (B, 3, H, W) float32, RGB in [0, 1].
            statistics_filter: What the norms take in place of the means and variances of a photo, such as an average
                over the frames of a video. It sees one photo of the batch after the other. Such photos are not painted
                with a recording, which would repeat what the filter gave once.
        """
        # Made outside inference mode, so that the caller gets an ordinary tensor that autograd accepts.
        painted = torch.empty(images.shape, dtype=torch.float32, device=images.device)
        with torch.no_grad():
            for photo, place in zip(images.split(1), painted.split(1), strict=True):
                if self.graphs is not None and statistics_filter is None:
                    self.graphs.paint(self._paint_one, photo, place)
                else:
                    self._paint_one(photo, place, statistics_filter)
        return painted

    def _paint_one(self, photo: Tensor, painted: Tensor, replace: StatisticsFilter | None = None) -> None:
        """Paint a photo (1, 3, H, W) into ``painted``, of the same shape."""
        features = self._enter(photo, self._encoder[0])
        after_trunk = self._decoder[0]
        after_encoder = self._blocks[0][0] if self._blocks else after_trunk
        for step, following in zip(self._encoder, [*self._encoder[1:], after_encoder], strict=True):
            features = step.advance(features, following, replace)
        if self._blocks:
            features.apply_scale()
            for first, second in self._blocks:
                second.add_to(features, first.advance(features, second, replace), replace)
            features = features.padded_for(after_trunk)
        for step, following in zip(self._decoder, self._decoder[1:], strict=False):
            features = step.advance(features, following, replace)
        self._leave(self._decoder[-1].convolve(features), painted)

    def _enter(self, photo: Tensor, first: _Step) -> _Features:
        """Return a photo of float32 in [0, 1] as the input of the first convolution."""
        height, width = photo.shape[-2:]
        tall, wide = padded_size(self.program.config, height, width)
        if tall != height:
            photo = photo[:, :, mirrored_indices(height, tall, photo.device)]
        if wide != width:
            photo = photo[:, :, :, mirrored_indices(width, wide, photo.device)]
        side = self.program.unshuffle
        features = _Features.empty(first, tall // side, wide // side)
        centre = photo.mean((2, 3), keepdim=True)
        photo = photo - centre
        blocks = photo.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 1, 3, 5, 2, 4)
        features.inside.unflatten(1, (3, side, side)).copy_(blocks)
        features.offset = centre[0, :, 0].expand(-1, side**2).flatten()
        features.pad()
        return features

    def _leave(self, raw: Tensor, painted: Tensor) -> None:
        """Write the output of the last convolution, any of its blocks still in its channels, as a picture."""
        last = self._decoder[-1]
        # OUTPUT_SCALE tanh + 0.5, in [0, 1]; before the blocks are taken apart, when it is one piece of memory.
        values = torch.tanh(raw.float()).mul_(OUTPUT_SCALE).add_(0.5).clamp_(0, 1)
        height, width = painted.shape[-2:]
        if last.upsampling:
            for phase, p, q in _phases():
                place = painted[:, :, p::2, q::2]
                own = values[:, 3 * phase : 3 * (phase + 1), p:, q:]
                place.copy_(own[:, :, : place.shape[2], : place.shape[3]])
            return
        shuffled = F.pixel_shuffle(values, last.block * self.program.shuffle)
        painted.copy_(shuffled[:, :, :height, :width])


class _Features:
    """Features (1, C, H, W) inside a buffer with room for the padding of the convolution that comes next.

    What is stored may wait for a scale and an offset for each channel: the features are scale * stored + offset.
    """

    def __init__(self, buffer: Tensor, padding: int, replicate: bool) -> None:
        self.buffer = buffer
        self.padding = padding
        self.replicate = replicate
        self.scale: Tensor | None = None
        self.offset: Tensor | None = None

    @classmethod
    def empty(cls, following: _Step, height: int, width: int) -> _Features:
        """Return room for features (1, C, H, W) that the layer ``following`` reads."""
        around = 2 * following.padding
        shape = (1, following.channels_in, height + around, width + around)
        buffer = torch.empty(shape, dtype=following.dtype, device=following.device, memory_format=torch.channels_last)
        return cls(buffer, following.padding, following.upsampling)

    @property
    def inside(self) -> Tensor:
        """The features without the padding around them."""
        _, _, height, width = self.buffer.shape
        around = self.padding
        return self.buffer[:, :, around : height - around, around : width - around]

    def pad(self) -> None:
        """Fill the padding: by replication of the edge for an upsampling layer, by reflection for others."""
        for axis in (2, 3):
            # Rows first and between the columns' padding, then columns over the whole height, with the corners.
            part = self.inside if axis == 2 else self.buffer
            around, length = self.padding, self.buffer.shape[axis]
            room = self.buffer[:, :, :, around : self.buffer.shape[3] - around] if axis == 2 else part
            for k in range(around):
                near = around if self.replicate else 2 * around - k
                room.select(axis, k).copy_(room.select(axis, near))
                room.select(axis, length - 1 - k).copy_(room.select(axis, length - 1 - near))

    def apply_scale(self) -> None:
        """Let the scale wait no longer: a sum of two features needs them on one scale."""
        if self.scale is not None:
            self.inside.mul_(self.scale.to(self.buffer.dtype)[:, None, None])
            self.scale = None
            self.pad()

    def padded_for(self, following: _Step) -> _Features:
        """Return the same features with the padding that another layer needs."""
        if (following.padding, following.upsampling) == (self.padding, self.replicate):
            return self
        if following.padding == self.padding:
            self.replicate = following.upsampling
            self.pad()
            return self
        moved = _Features.empty(following, *self.inside.shape[-2:])
        moved.inside.copy_(self.inside)
        moved.scale, moved.offset = self.scale, self.offset
        moved.pad()
        return moved


class _Step:
    """A layer of a program, on a device and in a dtype.

    Args:
        layer: The layer.
        dtype: What features are stored and multiplied in.
        device: Where.
        block: Side of the pixel blocks to compute at once, where the layer has few output channels.
    """

    def __init__(self, layer: Layer, dtype: torch.dtype, device: torch.device, block: int = 1) -> None:
        self.number = 0  # Among all layers; the engine sets it.
        few = layer.channels_out <= FEW_CHANNELS and layer.stride == 1 and not layer.upsampling
        self.block = block if few else 1
        self.dtype, self.device = dtype, device
        self.padding, self.channels_in, self.upsampling = layer.padding, layer.channels_in, layer.upsampling
        self.relu = layer.relu
        self.stride = layer.stride * self.block
        weight, bias = (layer.weight, layer.bias) if self.block == 1 else in_blocks(layer, self.block)
        # Those in float32 are scaled anew for each photo, and rounded once.
        self.weight32, self.bias32 = weight.to(device), bias.to(device)
        self.sums = self.weight32.sum((2, 3))
        self.weight = self.weight32.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = self.bias32.to(dtype)
        norm = layer.norm
        self.norm = None if norm is None else norm.to(device)
        # Where no scale can be negative, one comparison does for the ReLU.
        self.rising = norm is not None and bool(((norm.fixed >= 0) & (norm.scale >= 0)).all())
        # Where the norm takes every constant away again, none is added: the result has one digit more.
        self.unbiased = norm is not None and norm.ignores_constants

    def convolve(self, features: _Features) -> Tensor:
        """Return the output of the convolution; the pixels of a block, or of an upsampled position, are channels."""
        weight, bias = self.weight, None if self.unbiased else self.bias
        if features.scale is not None:
            weight = self.weight32 * features.scale[:, None, None]
            weight = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        if features.offset is not None and not self.unbiased:
            bias = torch.addmv(self.bias32, self.sums, features.offset).to(self.dtype)
        return F.conv2d(features.buffer, weight, bias, self.stride)

    def left_out(self, features: _Features) -> Tensor | None:
        """Return the constant (C,) that :meth:`convolve` left out, because the norm takes every constant away again."""
        if not self.unbiased:
            return None
        constant = self.bias32
        if features.offset is not None:
            constant = torch.addmv(constant, self.sums, features.offset)
        # The four phases of an upsampled position have one and the same.
        return constant[: self.norm.channels]

    def advance(self, features: _Features, following: _Step, replace: StatisticsFilter | None = None) -> _Features:
        """Return the features after this layer, for the layer that follows."""
        raw = self.convolve(features)
        if self.upsampling:
            raw = _upsampled(raw)
        result = _Features.empty(following, *raw.shape[-2:])
        if self.norm is None:
            self._finish(raw, result)
        else:
            self._normalise(raw, result, *self._coefficients(raw, features, replace))
        result.pad()
        return result

    def add_to(self, features: _Features, hidden: _Features, replace: StatisticsFilter | None = None) -> None:
        """Add the output of this layer, the second of a residual block, to the input of the block."""
        raw = self.convolve(hidden)
        if self.norm is None:
            features.inside.add_(raw)
        else:
            centre, scale, shift = self._coefficients(raw, hidden, replace)
            raw.sub_(centre[:, None, None])
            features.inside.addcmul_(raw, scale.to(raw.dtype)[:, None, None])
            features.offset = shift if features.offset is None else features.offset + shift
        features.pad()

    def _coefficients(
        self, raw: Tensor, features: _Features, replace: StatisticsFilter | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return c, a and b (C,) for ``raw``, what the convolution made of ``features``: the norm is a (x - c) + b.

        c is the mean, rounded to the dtype of the features, so that the difference is exact where it matters: near 0.
        """
        mean, variance = statistics(raw)
        centre = mean.to(raw.dtype)
        if replace is not None:
            # The mean of another photo takes no constant of this one away: what was left out counts here.
            constant = self.left_out(features)
            mean, variance = replace(self.number, mean if constant is None else mean + constant, variance)
            mean = mean if constant is None else mean - constant
        scale, shift = self.norm.coefficients(mean, variance, centre.float())
        return centre[0], scale[0], shift[0]

    def _finish(self, raw: Tensor, result: _Features) -> None:
        """Write the features of a layer without a norm, after their ReLU, into ``result``."""
        if self.relu:
            torch.clamp_min(raw, 0, out=result.inside)
        else:
            result.inside.copy_(raw)

    def _normalise(self, raw: Tensor, result: _Features, centre: Tensor, scale: Tensor, shift: Tensor) -> None:
        """Write normalised features after their ReLU into ``result``, where their scale and offset may wait."""
        inside = result.inside
        torch.sub(raw, centre[:, None, None], out=inside)
        if self.relu:
            # relu(a x + b) = a max(x, -b / a) + b, or with min for a < 0. A threshold that no feature reaches belongs
            # to a channel that is constant: 0, or with a = 0, relu(b).
            edge = -shift / scale
            far = edge.abs() > UNREACHABLE[raw.dtype]
            dead = (scale == 0) | (far & (shift < 0))
            zero, infinity = torch.zeros_like(edge), torch.full_like(edge, float("inf"))
            low = torch.where(dead, zero, torch.where((scale > 0) & ~far, edge, -infinity))
            high = torch.where(dead, zero, torch.where((scale < 0) & ~far, edge, infinity))
            scale = torch.where(dead, zero, scale)
            shift = torch.where(dead, shift.clamp_min(0), shift)
            low, high = (limit.to(raw.dtype)[:, None, None] for limit in (low, high))
            # One comparison does where all scales are above 0. A GPU is not asked: the answer would have to be awaited.
            if self.rising and raw.device.type != "cuda" and not bool(dead.any()):
                torch.maximum(inside, low, out=inside)
            else:
                torch.clamp(inside, low, high, out=inside)
        result.scale, result.offset = scale, shift


def _phases() -> tuple[tuple[int, int, int], ...]:
    """Return number, row and column of the four pixels that upsampling makes of one position."""
    return ((0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1))


def _upsampled(phases: Tensor) -> Tensor:
    """Return (1, C, 2H, 2W) from the output (1, 4C, H + 1, W + 1) of an upsampling convolution."""
    _, channels, height, width = phases.shape
    channels, height, width = channels // 4, height - 1, width - 1
    result = torch.empty(
        (1, channels, 2 * height, 2 * width),
        dtype=phases.dtype,
        device=phases.device,
        memory_format=torch.channels_last,
    )
    for phase, p, q in _phases():
        own = phases[:, phase * channels : (phase + 1) * channels, p : p + height, q : q + width]
        result[:, :, p::2, q::2].copy_(own)
    return result


def in_blocks(layer: Layer, side: int) -> tuple[Tensor, Tensor]:
    """Return the kernel of a convolution that computes ``side`` x ``side`` pixels at each position, as channels.

    Its stride is ``side``, its order of channels that of ``torch.nn.functional.pixel_shuffle``.
    """
    channels, inputs, size, _ = layer.weight.shape
    weight = torch.zeros(channels, side, side, inputs, size + side - 1, size + side - 1)
    for y in range(side):
        for x in range(side):
            weight[:, y, x, :, y : y + size, x : x + size] = layer.weight
    return weight.flatten(0, 2), layer.bias.repeat_interleave(side**2)
