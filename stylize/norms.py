"""The normalisations of the transformer network, by name.

Every layer takes and returns features (B, C, H, W) of any range, keeps the memory format and the dtype of its input,
and has a learned scale and shift per channel (``weight``, ``bias``, both (C,)).

References:
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv 1607.08022, equation 2 (instance norm) and equation 1 (batch norm as the
    earlier stylization network used it).
    Ioffe, Szegedy 2015, arXiv 1502.03167, algorithms 1 and 2 (batch norm, in training and in evaluation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stylize.errors import InputError, unknown_name


class InstanceNorm(nn.Module):
    """Normalise every channel of every picture by its own mean and variance, in training and in evaluation alike.

    There are no running statistics by design: with them an instance norm applies population statistics in evaluation
    mode, which is batch norm under another name.

    Mean and variance are computed in float32, also for bfloat16 and float16 features, and the variance from centred
    features. Two kernels of torch that would do are not used, and one only where it is exact:

    - ``torch.nn.InstanceNorm2d`` turns channels-last features to contiguous ones and back in every layer;
    - ``torch.group_norm`` with one group per channel is the same formula and fast, but on channels-last features it
      takes the variance as a difference of two sums of float32, which is wrong for large pictures and for features far
      from zero (``tests/test_norms.py`` has both cases). On contiguous features of a CPU it is exact, and used.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variance. A channel that is constant over a picture becomes ``bias``.

    Reference: Ulyanov et al. 2016, equation 2.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        if features.device.type == "cpu" and features.is_contiguous():
            # Not the functional wrapper: that one refuses a single 1x1 picture, whose norm is the bias.
            return torch.group_norm(features, self.channels, self.weight, self.bias, self.epsilon)
        wide = features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
        centred = wide - wide.mean((2, 3), keepdim=True)
        variance = centred.square().mean((2, 3), keepdim=True)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.epsilon)
        return torch.addcmul(self.bias[:, None, None], centred, scale).to(features.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, epsilon={self.epsilon}"


class BatchNorm(nn.BatchNorm2d):
    """Normalise every channel by statistics shared between pictures.

    In training mode mean and variance are those of the batch; in evaluation mode they are running averages gathered
    during training, the same for every picture.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variance.

    Reference: Ioffe and Szegedy 2015, algorithms 1 and 2.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__(channels, eps=epsilon)


NORMS: dict[str, Callable[[int, float], nn.Module]] = {
    "instance": InstanceNorm,
    "batch": BatchNorm,
}
"""Normalisation layers by name, each called with (channels, epsilon)."""


def make_norm(name: str, channels: int, epsilon: float) -> nn.Module:
    """Return the normalisation layer called ``name`` for ``channels`` channels.

    Raises:
        InputError: No such normalisation.
    """
    if name not in NORMS:
        raise InputError(unknown_name("normalisation", name, NORMS))
    return NORMS[name](channels, epsilon)


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Put ``network`` in training mode without letting it learn anything from what it sees.

    Inside the context batch norm normalises with the statistics of the batch, as in training; its running averages
    and every module's mode are as before afterwards. For instance norm nothing changes.
    """
    modes = [(module, module.training) for module in network.modules()]
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    buffers = [{name: buffer.clone() for name, buffer in layer.named_buffers()} for layer in layers]
    network.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for layer, saved in zip(layers, buffers, strict=True):
                for name, buffer in layer.named_buffers():
                    buffer.copy_(saved[name])
