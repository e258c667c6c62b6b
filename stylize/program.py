"""A trained network as a short list of convolutions, for everything that only runs it.

:func:`lower` takes a :class:`stylize.transformer.TransformerNet` apart into a :class:`Program`, which computes the
same with less: what does not depend on the photo is folded into the convolutions (batch norm, weight norm, the scaling
of the input), and the kernels of the upsampling convolutions are worked out once. The engines
(:mod:`stylize.engines`), the tiles (:mod:`stylize.tiles`) and the export all read programs, so none of them knows a
normalisation by name.

What a program computes, for a photo (B, 3, H, W) in [0, 1]::

    continued by reflection at the right and bottom to padded_size(config, H, W)
    blocks of ``unshuffle`` x ``unshuffle`` pixels become channels      (torch.nn.functional.pixel_unshuffle)
    encoder layers; then for each block  x + second(first(x)); decoder layers
    channels become blocks of ``shuffle`` x ``shuffle`` pixels          (torch.nn.functional.pixel_shuffle)
    0.5 + OUTPUT_SCALE tanh(x), cropped to H x W
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from stylize.applied_norms import AppliedNorm, applied
from stylize.config import TransformerConfig
from stylize.transformer import Conv, ResidualBlock, TransformerNet, UpsampleConv


@dataclass(frozen=True)
class Layer:
    """A convolution, what is left of its normalisation, and its ReLU.

    Attributes:
        weight: (C_out, C_in, K, K) of the convolution. Of an upsampling layer: (4 C_out, C_in, 2, 2), all output
            channels of phase (0, 0), then of (0, 1), (1, 0) and (1, 1); see :class:`stylize.transformer.UpsampleConv`.
        bias: (C_out,); of an upsampling layer (4 C_out,).
        stride: Stride of the convolution; 1 in an upsampling layer.
        upsampling: Whether the result has twice the height and width.
        norm: The part of the normalisation that depends on the photo, or None.
        relu: Whether a ReLU follows.
    """

    weight: Tensor
    bias: Tensor
    stride: int = 1
    upsampling: bool = False
    norm: AppliedNorm | None = None
    relu: bool = False

    @property
    def channels_in(self) -> int:
        """Channels of the features that come in."""
        return self.weight.shape[1]

    @property
    def channels_out(self) -> int:
        """Channels of the features that go out."""
        return self.weight.shape[0] // (4 if self.upsampling else 1)

    @property
    def padding(self) -> int:
        """Positions added on each side: by reflection, or by replication in an upsampling layer."""
        return 1 if self.upsampling else self.weight.shape[-1] // 2

    @property
    def multiplications(self) -> int:
        """Multiplications for each position that comes in, of an upsampling layer and of one with stride 1, or that
        goes out of one with a greater stride."""
        return self.weight.numel()


@dataclass(frozen=True)
class Program:
    """What a network computes, in order. Tensors are float32 on the CPU.

    Attributes:
        config: The architecture it came from.
        unshuffle: Side of the pixel blocks that become channels first; 1 = none.
        encoder: Layers down to the resolution of the residual blocks.
        blocks: The two layers of each residual block; the second has no ReLU, and the block's input is added to it.
        decoder: Layers up to the resolution of the picture; the last has neither norm nor ReLU.
        shuffle: Side of the pixel blocks that channels become at the end; 1 = none.
    """

    config: TransformerConfig
    unshuffle: int
    encoder: tuple[Layer, ...]
    blocks: tuple[tuple[Layer, Layer], ...]
    decoder: tuple[Layer, ...]
    shuffle: int

    @property
    def layers(self) -> list[Layer]:
        """All layers, in order."""
        return [*self.encoder, *(layer for block in self.blocks for layer in block), *self.decoder]

    @property
    def needs_statistics(self) -> bool:
        """Whether any layer depends on means and variances of the whole photo."""
        return any(layer.norm is not None for layer in self.layers)

    @property
    def multiplications_per_pixel(self) -> float:
        """Multiplications of all convolutions, for each pixel of a picture that needs no padding."""
        span, total = float(self.unshuffle), 0.0
        for layer in self.layers:
            span *= layer.stride
            total += layer.multiplications / span**2
            span /= 2 if layer.upsampling else 1
        return total


def lower(network: TransformerNet) -> Program:
    """Return what ``network`` computes in evaluation mode.

    The program keeps nothing of the network, which may change or go away afterwards.

    Raises:
        InputError: The network has a normalisation that is none of :mod:`stylize.norms`.
    """
    config = network.config
    with torch.no_grad():
        encoder = list(_sequence(network.encoder))
        # The network scales pictures to [-1, 1] first. Padding is by reflection, so that this can go into the first
        # convolution: no zeros of the padding would have to be scaled as well.
        first = encoder[0]
        encoder[0] = replace(first, weight=2 * first.weight, bias=first.bias - first.weight.sum((1, 2, 3)))
        return Program(
            config=config,
            unshuffle=config.space_to_depth,
            encoder=tuple(_folded(layer) for layer in encoder),
            blocks=tuple(_block(block) for block in network.trunk),
            decoder=tuple(_folded(layer) for layer in _sequence(network.decoder)),
            shuffle=next((one.upscale_factor for one in network.decoder if isinstance(one, nn.PixelShuffle)), 1),
        )


def _sequence(modules: nn.Sequential) -> Iterator[Layer]:
    """Return the layers of a sequence of convolution, norm, ReLU, convolution, ..."""
    inside = list(modules)
    for position, module in enumerate(inside):
        if isinstance(module, Conv | UpsampleConv):
            relu = position + 2 < len(inside) and isinstance(inside[position + 2], nn.ReLU)
            yield _layer(module, inside[position + 1] if relu else None, relu)


def _block(block: ResidualBlock) -> tuple[Layer, Layer]:
    return _folded(_layer(block.conv1, block.norm1, True)), _folded(_layer(block.conv2, block.norm2, False))


def _layer(module: Conv | UpsampleConv, norm: nn.Module | None, relu: bool) -> Layer:
    weight, bias = module.conv.weight, module.conv.bias
    upsampling = isinstance(module, UpsampleConv)
    if upsampling:
        weight, bias = module.phase_kernels(), bias.repeat(4)
    kept = None if norm is None else applied(norm)
    # Copies on the CPU: a view of the network's own weights would change with it.
    weight, bias = (
        weight.detach().to("cpu", torch.float32, copy=True),
        bias.detach().to("cpu", torch.float32, copy=True),
    )
    return Layer(weight, bias, module.conv.stride[0], upsampling, kept, relu)


def _folded(layer: Layer) -> Layer:
    """Return the layer with its norm in its weights, where the norm does not depend on the photo."""
    norm = layer.norm
    if norm is None or norm.needs_statistics:
        return layer
    if layer.upsampling:
        norm = replace(norm, **{name: getattr(norm, name).repeat(4) for name in ("fixed", "scale", "shift")})
    weight, bias = norm.fold(layer.weight, layer.bias)
    return replace(layer, weight=weight, bias=bias, norm=None)
