"""A last convolution at full resolution that computes blocks of pixels at once, as the torch engine does."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stylize.engines.torch_engine import BLOCK, FEW_CHANNELS, in_blocks
from stylize.program import Layer, Program


@dataclass(frozen=True)
class BlockLayer(Layer):
    """A convolution whose output channels are the pixels of blocks as large as its stride.

    Its kernel is as large as those of all pixels of a block together.
    """

    @property
    def padding(self) -> int:
        """Positions added on each side: those of one pixel's kernel."""
        return (self.weight.shape[-1] - self.stride) // 2


def with_pixel_blocks(program: Program) -> Program:
    """Return a program with the same result whose last layer computes blocks of pixels, where that is faster."""
    last = program.decoder[-1]
    few = last.channels_out <= FEW_CHANNELS and last.stride == 1 and not last.upsampling
    # Sizes are multiples of the reduction: where it is even the layer finds whole blocks.
    if not few or program.config.reduction % BLOCK:
        return program
    weight, bias = in_blocks(last, BLOCK)
    layer = BlockLayer(weight, bias, BLOCK, relu=last.relu)
    return replace(program, decoder=(*program.decoder[:-1], layer), shuffle=BLOCK * program.shuffle)
