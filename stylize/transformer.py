"""TransformerNet: the feed-forward network that repaints a photo in one pass.

The preset ``johnson`` is the network of Johnson et al. 2016 (arXiv 1603.08155, supplement, table 1)::

    reflect, 9x9 convolution, 32       norm, ReLU     full resolution
    3x3 convolution, 64, stride 2      norm, ReLU     1/2
    3x3 convolution, 128, stride 2     norm, ReLU     1/4
    5 residual blocks, 128             norm           1/4
    3x3 upsampling convolution, 64     norm, ReLU     1/2
    3x3 upsampling convolution, 32     norm, ReLU     full resolution
    9x9 convolution, 3                 tanh           full resolution

Departures from the paper, in every preset:

- Reflection padding in every convolution instead of zero padding (and of the supplement's 40 pixels around the
  picture): zero padding paints frames, and breaks the exact invariance of instance norm to brightness.
- Nearest upsampling and a convolution instead of a transposed convolution, which paints a checkerboard
  (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", Distill).
- The normalisation is a choice (:mod:`stylize.norms`); the paper has batch norm.
- Input scaled from [0, 1] to [-1, 1]; output 0.5 + 150/255 tanh, which is the scaled tanh of the authors' code.

``space_to_depth`` (preset ``fast``) turns blocks of pixels into channels first, so that the costly layers at full
resolution disappear; the last convolution still works at full resolution, which keeps the checkerboard away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.conditional_norms import Conditional, ConditionalConv2d, make_conditional_norm
from stylize.config import TransformerConfig, parse_norm
from stylize.errors import InputError
from stylize.norms import at_least_float32, make_norm

OUTPUT_SCALE = 150 / 255
"""The output lies within 0.5 +- 150/255: slightly beyond [0, 1], so that pure black and white are within reach."""

MINIMUM_TRUNK = 2
"""Positions per side the trunk needs at least, for its reflection padding by one."""


def mirrored_indices(length: int, target: int, device: torch.device) -> Tensor:
    """Return ``target`` indices into a row of ``length`` that continue it by reflection, over and over if need be.

    A row of one is repeated. ``abc`` continued to eight is ``abcbabcb``.
    """
    positions = torch.arange(target, device=device)
    if length == 1:
        return torch.zeros_like(positions)
    period = 2 * (length - 1)
    positions = positions % period
    return torch.minimum(positions, period - positions)


def padded_size(config: TransformerConfig, height: int, width: int) -> tuple[int, int]:
    """Return the size, in pixels, to which a network continues a picture: one that its strides divide."""
    step = config.reduction
    kernels = (config.first_kernel, config.last_kernel)
    # Reflection by k // 2 needs more than k // 2 positions at the resolution of the first and last convolution.
    smallest = max(MINIMUM_TRUNK * step, (max(kernels) // 2 + 1) * config.space_to_depth)
    height, width = (max(-(-side // step) * step, -(-smallest // step) * step) for side in (height, width))
    return height, width


def reflected(features: Tensor, padding: int) -> Tensor:
    """Continue features (B, C, H, W) by reflection: (B, C, H + 2 padding, W + 2 padding)."""
    # On a GPU torch adds up the gradient of its own reflection in any order, and has no other.
    if features.is_cuda and features.requires_grad and torch.are_deterministic_algorithms_enabled():
        return joined_reflection(features, padding)
    return F.pad(features, (padding,) * 4, mode="reflect")


def joined_reflection(features: Tensor, padding: int) -> Tensor:
    """Do what :func:`reflected` does by putting pieces together, whose gradient is added up in one order."""
    for axis in (-1, -2):
        length = features.shape[axis]
        before = features.narrow(axis, 1, padding).flip(axis)
        after = features.narrow(axis, length - 1 - padding, padding).flip(axis)
        features = torch.cat((before, features, after), axis)
    return features


class Conv(nn.Module):
    """Convolution with reflection padding: (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.padding = kernel_size // 2
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size, stride)

    def forward(self, features: Tensor) -> Tensor:
        if self.padding:
            features = reflected(features, self.padding)
        return self.conv(features)


class UpsampleConv(nn.Module):
    """Nearest upsampling by 2, reflection padding by 1 and a 3x3 convolution: (B, C, H, W) -> (B, C_out, 2H, 2W).

    It is computed at the low resolution, with the same result. Each of the four pixels that grow from one position
    sees only 2x2 distinct low-resolution values, so the 3x3 kernel collapses into four 2x2 kernels (one per phase),
    which takes 16 instead of 36 multiplications per position and channel pair, and reflection at the high resolution
    becomes replication at the low one.
    """

    # COLLAPSE[phase, low, tap]: does the 3x3 tap fall on the low-resolution neighbour `low` of that phase?
    COLLAPSE = (((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3)

    def phase_kernels(self) -> Tensor:
        """Return the four 2x2 kernels, (4 C_out, C_in, 2, 2): all output channels of one phase, then of the next."""
        return self._collapsed(self.conv.weight)

    def _collapsed(self, weight: Tensor) -> Tensor:
        wide = at_least_float32(weight)
        collapse = wide.new_tensor(self.COLLAPSE)
        kernels = torch.einsum("pas,qbt,oist->pqoiab", collapse, collapse, wide)
        return kernels.reshape(-1, wide.shape[1], 2, 2).to(weight.dtype)

    def forward(self, features: Tensor) -> Tensor:
        if isinstance(self.conv, ConditionalConv2d):
            pairs = zip(features.split(1), self.conv.of_each(), strict=True)
            return torch.cat([self._upsampled(photo, weight, bias) for photo, (weight, bias) in pairs])
        return self._upsampled(features, self.conv.weight, self.conv.bias)

    def _upsampled(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        batch, _, height, width = features.shape
        channels = self.conv.out_channels
        padded = F.pad(features, (1, 1, 1, 1), mode="replicate")
        phases = F.conv2d(padded, self._collapsed(weight), bias.repeat(4))
        keep = torch.channels_last if features.is_contiguous(memory_format=torch.channels_last) else None
        result = torch.empty(
            (batch, channels, 2 * height, 2 * width),
            dtype=phases.dtype,
            device=phases.device,
            memory_format=keep or torch.contiguous_format,
        )
        for phase, (p, q) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            # Phase (p, q) of position (y, x) was computed at (y + p, x + q) of the (H + 1, W + 1) convolution.
            own = phases[:, phase * channels : (phase + 1) * channels, p : p + height, q : q + width]
            result[:, :, p::2, q::2] = own
        return result


def _norm_after(convolution: nn.Conv2d, name: str, config: TransformerConfig) -> nn.Module:
    """Return the normalisation called ``name`` for the output of a convolution."""
    channels = convolution.out_channels
    if config.conditional:
        return make_conditional_norm(name, channels, config.norm_epsilon, config.styles)
    return make_norm(name, channels, config.norm_epsilon, convolution)


class ResidualBlock(nn.Module):
    """conv, norm, ReLU, conv, norm, plus the input; no ReLU after the sum (Gross and Wilber 2016, as in the paper)."""

    def __init__(self, channels: int, norms: tuple[str, str], config: TransformerConfig) -> None:
        super().__init__()
        self.conv1 = Conv(channels, channels, 3)
        self.norm1 = _norm_after(self.conv1.conv, norms[0], config)
        self.conv2 = Conv(channels, channels, 3)
        self.norm2 = _norm_after(self.conv2.conv, norms[1], config)

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(features)))
        return features + self.norm2(self.conv2(hidden))


def norm_parts(config: TransformerConfig) -> list[str]:
    """Return the part of the network, encoder, residual or decoder, of every normalised layer, in order of depth."""
    ends = len(config.channels) - 1 + (config.space_to_depth == 4 and config.output == "convolution")
    return ["encoder"] * len(config.channels) + ["residual"] * (2 * config.residual_blocks) + ["decoder"] * ends


def norm_plan(config: TransformerConfig) -> list[str]:
    """Return the name of the normalisation of every normalised layer, in order of depth."""
    chosen, parts = parse_norm(config.norm), norm_parts(config)

    def placed(position: int) -> bool:
        if chosen.placement in ("shallow", "deep"):
            return (2 * position < len(parts)) == (chosen.placement == "shallow")
        return chosen.placement in ("everywhere", parts[position]) or (chosen.placement == "first" and position == 0)

    return [chosen.norm if placed(position) else chosen.other for position in range(len(parts))]


@dataclass(frozen=True)
class NormPlace:
    """The place of a normalisation in a network, from which it can be taken and in which another can be put.

    Attributes:
        name: Part and position, such as ``encoder 1``, ``residual 3.2`` (third block, second layer), ``decoder 1``.
        part: ``encoder``, ``residual`` or ``decoder``.
        parent: The module that holds it.
        key: Its name there.
        convolution: The convolution it follows.
    """

    name: str
    part: str
    parent: nn.Module
    key: str
    convolution: nn.Conv2d

    @property
    def norm(self) -> nn.Module:
        """The normalisation layer."""
        return self.parent.get_submodule(self.key)

    def put(self, norm: nn.Module) -> None:
        """Put another layer in its place."""
        setattr(self.parent, self.key, norm)


class TransformerNet(nn.Module):
    """The stylization network.

    Args:
        config: The architecture.
        seed: Seed of the initial weights. Convolutions of the same shape start equal whatever the normalisation.

    Reference: Johnson et al. 2016, section 3.1 and supplement, table 1; departures at the top of this module.
    """

    def __init__(self, config: TransformerConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config if config is not None else TransformerConfig()
        widths, block = config.channels, config.space_to_depth

        plan = iter(norm_plan(config))

        def normalised(convolution: Conv | UpsampleConv) -> list[nn.Module]:
            return [convolution, _norm_after(convolution.conv, next(plan), config), nn.ReLU()]

        encoder = normalised(Conv(3 * block**2, widths[0], config.first_kernel))
        for narrow, wide in zip(widths, widths[1:], strict=False):
            encoder += normalised(Conv(narrow, wide, 3, stride=2))
        self.encoder = nn.Sequential(*encoder)
        self.trunk = nn.Sequential(
            *(ResidualBlock(widths[-1], (next(plan), next(plan)), config) for _ in range(config.residual_blocks))
        )
        decoder: list[nn.Module] = []
        for wide, narrow in zip(widths[::-1], widths[-2::-1], strict=False):
            decoder += normalised(UpsampleConv(wide, narrow))
        last = widths[0]
        if config.output == "shuffle":
            decoder += [Conv(last, 3 * block**2, config.last_kernel), nn.PixelShuffle(block)]
        elif block == 1:
            decoder += [Conv(last, 3, config.last_kernel)]
        else:
            if block == 4:
                half = max(last // 2, 3)
                decoder += normalised(UpsampleConv(last, half))
                last = half
            decoder += [UpsampleConv(last, 3)]
        self.decoder = nn.Sequential(*decoder)
        self._initialise(seed)
        if config.own_output:
            # After the weights were drawn: all styles begin with the convolution that a network of one style has.
            output = self.output
            output.conv = ConditionalConv2d(output.conv, config.styles)

    def _initialise(self, seed: int) -> None:
        """Draw every convolution from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of Torch and PyTorch alike."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    bound = 1 / math.sqrt(module.weight[0].numel())
                    module.weight.uniform_(-bound, bound, generator=generator)
                    module.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, images: Tensor, styles: Tensor | None = None) -> Tensor:
        """Stylize pictures.

        Args:
            images: (B, 3, H, W) RGB in [0, 1]; H and W at least 1.
            styles: For a network of several styles, the number of the style of each picture, (B,) whole numbers, or
                the share of every style in it, (B, N). None for a network of one style.

        Returns:
            (B, 3, H, W) float32 (of a float64 network: float64) RGB within 0.5 +- 150/255, not clamped.

        Raises:
            InputError: The shape is not (B, 3, H, W), or the styles do not fit the network.
        """
        if images.dim() != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise InputError(f"pictures of shape {tuple(images.shape)} given; (B, 3, H, W) with H, W >= 1 is accepted")
        if not self.config.conditional and styles is None:
            return self._paint(images)
        shares = self._shares(styles, images)
        conditional = [module for module in self.modules() if isinstance(module, Conditional)]
        try:
            for norm in conditional:
                norm.choose(shares)
            return self._paint(images)
        finally:
            for norm in conditional:
                norm.choose(None)

    def _shares(self, styles: Tensor | None, images: Tensor) -> Tensor:
        """Return the share of every style in each picture, (B, N)."""
        count, batch = self.config.styles, len(images)
        if styles is None or not self.config.conditional:
            kind = "several styles and none was given" if styles is None else "one style and styles were given"
            raise InputError(f"the network has {kind}; a network of several styles needs (B,) numbers or (B, N) shares")
        if styles.shape == (batch,) and not styles.is_floating_point():
            if not bool(((styles >= 0) & (styles < count)).all()):
                raise InputError(f"styles {styles.tolist()} given; numbers from 0 to {count - 1} are accepted")
            return F.one_hot(styles.to(images.device), count).to(torch.float32)
        if styles.shape != (batch, count):
            raise InputError(
                f"styles of shape {tuple(styles.shape)} given; ({batch},) or ({batch}, {count}) is accepted"
            )
        return styles.to(images.device)

    def _paint(self, images: Tensor) -> Tensor:
        """Stylize pictures (B, 3, H, W) of a checked shape."""
        height, width = images.shape[-2:]
        features = self._pad(images) * 2 - 1
        if self.config.space_to_depth > 1:
            features = F.pixel_unshuffle(features, self.config.space_to_depth)
        features = self.decoder(self.trunk(self.encoder(features)))
        painted = 0.5 + OUTPUT_SCALE * torch.tanh(at_least_float32(features))
        return painted[..., :height, :width]

    def _pad(self, images: Tensor) -> Tensor:
        """Continue pictures by reflection at the right and bottom, to a size that the network's strides divide."""
        height, width = padded_size(self.config, *images.shape[-2:])
        if height != images.shape[-2]:
            images = images[:, :, mirrored_indices(images.shape[-2], height, images.device)]
        if width != images.shape[-1]:
            images = images[:, :, :, mirrored_indices(images.shape[-1], width, images.device)]
        return images

    def to(self, *arguments: Any, memory_format: torch.memory_format | None = None, **settings: Any) -> TransformerNet:
        """Move the network, in place, as every module is moved; the memory format is that of its plain convolutions."""
        super().to(*arguments, **settings)
        if memory_format is not None:
            # A convolution for each style has five dimensions, for which torch has no channels_last.
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.to(memory_format=memory_format)
        return self

    @property
    def output(self) -> Conv | UpsampleConv:
        """The last convolution."""
        return next(layer for layer in reversed(self.decoder) if isinstance(layer, Conv | UpsampleConv))

    def norm_places(self) -> list[NormPlace]:
        """Return where the normalisations stand, in order of depth."""
        return [*self._places("encoder", self.encoder), *self._residual(), *self._places("decoder", self.decoder)]

    def _places(self, part: str, layers: nn.Sequential) -> Iterator[NormPlace]:
        # A normalisation is what stands between a convolution and its ReLU, whatever kind it is.
        relus = [index for index, layer in enumerate(layers) if isinstance(layer, nn.ReLU)]
        for count, index in enumerate(relus, 1):
            yield NormPlace(f"{part} {count}", part, layers, str(index - 1), layers[index - 2].conv)

    def _residual(self) -> Iterator[NormPlace]:
        for count, block in enumerate(self.trunk, 1):
            yield NormPlace(f"residual {count}.1", "residual", block, "norm1", block.conv1.conv)
            yield NormPlace(f"residual {count}.2", "residual", block, "norm2", block.conv2.conv)

    @property
    def parameter_count(self) -> int:
        """Number of learned parameters."""
        return sum(parameter.numel() for parameter in self.parameters())
