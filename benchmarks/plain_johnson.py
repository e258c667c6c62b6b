"""The network of Johnson et al. 2016 written plainly, as the widely copied example in pytorch/examples runs it.

Same layers as the preset ``johnson`` of stylize, another way to compute them: ``nn.ReflectionPad2d`` before every
convolution, ``nn.InstanceNorm2d(affine=True)``, nearest upsampling to full size and then a 3x3 convolution, contiguous
float32, pictures of 0..255 in, no nonlinearity at the end.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.norms import InstanceNorm
from stylize.transformer import TransformerNet


class PaddedConv(nn.Module):
    """Optional nearest upsampling, reflection padding, convolution."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1, upsample: int = 1):
        super().__init__()
        self.upsample = upsample
        self.pad = nn.ReflectionPad2d(kernel_size // 2)
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size, stride)

    def forward(self, features: Tensor) -> Tensor:
        if self.upsample > 1:
            features = F.interpolate(features, scale_factor=self.upsample, mode="nearest")
        return self.conv(self.pad(features))


class Residual(nn.Module):
    """conv, norm, ReLU, conv, norm, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = PaddedConv(channels, channels, 3)
        self.norm1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = PaddedConv(channels, channels, 3)
        self.norm2 = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, features: Tensor) -> Tensor:
        hidden = torch.relu(self.norm1(self.conv1(features)))
        return self.norm2(self.conv2(hidden)) + features


class PlainJohnson(nn.Module):
    """Pictures (B, 3, H, W) in 0..255 -> (B, 3, H, W), linear; H and W multiples of 4."""

    def __init__(self) -> None:
        super().__init__()

        def layer(*arguments: int, **options: int) -> list[nn.Module]:
            return [PaddedConv(*arguments, **options), nn.InstanceNorm2d(arguments[1], affine=True), nn.ReLU()]

        self.layers = nn.Sequential(
            *layer(3, 32, 9),
            *layer(32, 64, 3, stride=2),
            *layer(64, 128, 3, stride=2),
            *(Residual(128) for _ in range(5)),
            *layer(128, 64, 3, upsample=2),
            *layer(64, 32, 3, upsample=2),
            PaddedConv(32, 3, 9),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def plain_twin(network: TransformerNet) -> PlainJohnson:
    """Return the plain network that computes what ``network`` computes before its last nonlinearity.

    Args:
        network: One of the preset ``johnson`` with instance norm. The twin gets its weights; only those of the first
            convolution are rescaled, because there pictures are 0..255 and here -1..1.
    """
    twin = PlainJohnson()
    pairs = [(nn.Conv2d, nn.Conv2d), (nn.InstanceNorm2d, InstanceNorm)]
    with torch.no_grad():
        for theirs, ours in pairs:
            targets = [module for module in twin.modules() if isinstance(module, theirs)]
            sources = [module for module in network.modules() if isinstance(module, ours)]
            for target, source in zip(targets, sources, strict=True):
                target.weight.copy_(source.weight)
                target.bias.copy_(source.bias)
        first = next(module for module in twin.modules() if isinstance(module, nn.Conv2d))
        # w (2 x / 255 - 1) + b  =  (2 w / 255) x + (b - sum of w); reflected pixels are ordinary pixels.
        first.bias.sub_(first.weight.sum((1, 2, 3)))
        first.weight.mul_(2 / 255)
    return twin.eval()


def features_before_tanh(network: TransformerNet, images: Tensor) -> Tensor:
    """Return what the last layer of ``network`` gives for pictures (B, 3, H, W) in [0, 1], H and W multiples of 4."""
    return network.decoder(network.trunk(network.encoder(images * 2 - 1)))
