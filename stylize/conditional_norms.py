"""What several styles in one network have of their own: a scale and a shift in every normalisation, and possibly the
last convolution.

All else is shared. A mixture of styles is the mixture of those numbers, because every layer is linear in them.

In a network these layers are told beforehand which styles the photos of the next batch are to have
(:meth:`Conditional.choose`, which :class:`stylize.transformer.TransformerNet` calls).

Reference: Dumoulin, Shlens, Kudlur 2017, arXiv 1610.07629, section 2.2, equation 5 (the norms; a last convolution for
each style is ours).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.config import CONDITIONAL_NORMS
from stylize.errors import InputError, unknown_name
from stylize.norms import InstanceNorm, at_least_float32


class Conditional(nn.Module):
    """A layer that depends on the style of each photo."""

    def __init__(self) -> None:
        super().__init__()
        self._shares: Tensor | None = None

    def choose(self, shares: Tensor | None) -> None:
        """Set how much of each style every photo of the batch gets, (B, N); None forgets it."""
        self._shares = shares

    def chosen(self, numbers: Tensor) -> Tensor:
        """Return what each photo of the batch gets, (B, ...), of the numbers (N, ...) of the styles.

        Raises:
            InputError: The layer was not told the styles.
        """
        if self._shares is None:
            raise InputError("a network of several styles was not told which to paint; give it the styles")
        # Autocast would round the numbers, which no layer of one style does with its own.
        with torch.autocast(numbers.device.type, enabled=False):
            return torch.tensordot(self._shares.to(numbers.dtype), numbers, dims=1)


class ConditionalNorm(Conditional):
    """What conditional normalisations have in common.

    Args:
        channels: C of the features (B, C, H, W).
        styles: N, the number of styles.

    Attributes:
        weight: Scales of the styles, (N, C).
        bias: Shifts of the styles, (N, C).
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(styles, channels))
        self.bias = nn.Parameter(torch.zeros(styles, channels))

    def normalised(self, features: Tensor) -> Tensor:
        """Return features (B, C, H, W) with mean 0 and variance 1, before scale and shift."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        scale, shift = self.chosen(self.weight), self.chosen(self.bias)
        normalised = at_least_float32(self.normalised(features))
        return torch.addcmul(shift[:, :, None, None], normalised, scale[:, :, None, None]).to(features.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, styles={self.weight.shape[0]}"


class ConditionalConv2d(Conditional):
    """A convolution with weights of its own for each style.

    Args:
        convolution: The convolution of one style, with a bias, without padding or stride; all styles begin as it.
        styles: N, the number of styles.

    Attributes:
        weight: (N, C_out, C_in, K, K).
        bias: (N, C_out).
    """

    def __init__(self, convolution: nn.Conv2d, styles: int) -> None:
        super().__init__()
        self.out_channels = convolution.out_channels
        self.weight = nn.Parameter(convolution.weight.detach().expand(styles, -1, -1, -1, -1).clone())
        self.bias = nn.Parameter(convolution.bias.detach().expand(styles, -1).clone())

    def of_each(self) -> list[tuple[Tensor, Tensor]]:
        """Return weight and bias for each photo of the batch."""
        return list(zip(self.chosen(self.weight), self.chosen(self.bias), strict=True))

    def forward(self, features: Tensor) -> Tensor:
        pairs = zip(features.split(1), self.of_each(), strict=True)
        return torch.cat([F.conv2d(photo, weight, bias) for photo, (weight, bias) in pairs])


class ConditionalInstanceNorm(ConditionalNorm):
    """Instance norm with a scale and a shift for each style.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variance.
        styles: N, the number of styles.

    Reference: Dumoulin et al. 2017, equation 5.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, styles: int = 1) -> None:
        super().__init__(channels, styles)
        self.norm = InstanceNorm(channels, epsilon, affine=False)

    def normalised(self, features: Tensor) -> Tensor:
        return self.norm(features)


class ConditionalBatchNorm(ConditionalNorm):
    """Batch norm with a scale and a shift for each style; mean and variance are shared by all styles of a batch.

    It stands here to be compared with: the same idea where the statistics are not those of the photo.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variance.
        styles: N, the number of styles.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, styles: int = 1) -> None:
        super().__init__(channels, styles)
        # Buffers as batch norm of one style has them, so that one style is taken out by name.
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))
        self.epsilon = epsilon
        self.momentum = 0.1

    def normalised(self, features: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked += 1
        wide = at_least_float32(features)
        return F.batch_norm(
            wide, self.running_mean, self.running_var, None, None, self.training, self.momentum, self.epsilon
        )


LAYERS: dict[str, type[ConditionalInstanceNorm] | type[ConditionalBatchNorm]] = {
    "conditional-instance": ConditionalInstanceNorm,
    "conditional-batch": ConditionalBatchNorm,
}
"""Conditional normalisations by name, equal to the keys of ``stylize.config.CONDITIONAL_NORMS`` (a test compares)."""


def make_conditional_norm(name: str, channels: int, epsilon: float, styles: int) -> ConditionalNorm:
    """Return the conditional normalisation called ``name``.

    Raises:
        InputError: No such normalisation.
    """
    if name not in LAYERS:
        raise InputError(unknown_name("normalisation", name, CONDITIONAL_NORMS))
    return LAYERS[name](channels, epsilon, styles)
