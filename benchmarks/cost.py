"""Multiplications that a network needs per pixel of the picture."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from stylize.transformer import UpsampleConv

PHASE_MULTIPLICATIONS = 16
"""Of an UpsampleConv per low-resolution position and pair of channels: four phases, a 2x2 kernel each."""


def macs_per_pixel(network: nn.Module, size: int = 256) -> float:
    """Return the multiply-accumulates of all convolutions per pixel of a picture (1, 3, size, size).

    Norms, activations and padding are left out, as is usual. Nothing is computed: the network runs on torch's meta
    device, which only follows shapes.

    Args:
        network: Any network of picture to picture; it is not changed.
        size: Side of the picture. One that the network's strides divide gives the exact number.
    """
    macs = 0

    def convolution(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        macs += output.numel() * module.weight[0].numel()

    def upsampling(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # It hands its weights to F.conv2d itself, so the hook on its nn.Conv2d never fires. What its convolution
        # computes in the one extra row and column is thrown away and left out here.
        nonlocal macs
        height, width = inputs[0].shape[-2:]
        conv = module.conv
        macs += PHASE_MULTIPLICATIONS * conv.in_channels * conv.out_channels * height * width

    shadow = copy.deepcopy(network).to("meta").eval()
    for module in shadow.modules():
        if isinstance(module, UpsampleConv):
            module.register_forward_hook(upsampling)
        elif isinstance(module, nn.Conv2d):
            module.register_forward_hook(convolution)
    with torch.no_grad():
        shadow(torch.empty(1, 3, size, size, device="meta"))
    return macs / size**2
