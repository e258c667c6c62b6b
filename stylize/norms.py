"""The normalisations of the transformer network, by name.

Every layer takes and returns features (B, C, H, W) of any range, keeps the memory format and the dtype of its input,
and has a learned scale and shift per channel (``weight``, ``bias``, both (C,)), but for ``none``.

What shares one mean and one variance tells them apart (Wu and He 2018, figure 2):

==================  ================================================================================================
``instance``        the positions of one channel of one photo
``batch``           the positions of one channel of all photos of the batch; in evaluation mode, of training
``layer``           the positions of all channels of one photo
``group``           the positions of a group of channels of one photo
``ibn``             instance norm for the first half of the channels, batch norm for the others
``batch-instance``  a learned mixture of batch and instance norm for every channel
``weight``          nothing: the weights of the convolution are normalised instead of the features
``none``            nothing at all
==================  ================================================================================================

To add one: write the layer, and give it a line in :data:`NORMS` and its name in ``stylize.config.NORM_NAMES``.

References:
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv 1607.08022, equation 2 (instance norm) and equation 1 (batch norm as the
    earlier stylization network used it).
    Ioffe, Szegedy 2015, arXiv 1502.03167, algorithms 1 and 2 (batch norm, in training and in evaluation).
    Ba, Kiros, Hinton 2016, arXiv 1607.06450, section 3 (layer norm).
    Wu, He 2018, arXiv 1803.08494, section 3 (group norm).
    Salimans, Kingma 2016, arXiv 1602.07868, sections 2 and 3 (weight norm and its initialisation).
    Pan, Luo, Shi, Tang 2018, arXiv 1807.09441, section 3 (IBN).
    Nam, Kim 2018, arXiv 1805.07925, section 3 (batch-instance norm).
    Mishkin, Matas 2016, arXiv 1511.06422, algorithm 1 (initial weights scaled by data, for ``none``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stylize.config import parse_norm
from stylize.errors import InputError, unknown_name

GROUPS = 8
"""Groups of group norm, where the channels can be divided so."""


def at_least_float32(features: Tensor) -> Tensor:
    """Return the features in float32, or in float64 where they are; bfloat16 has too few digits for statistics."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


class GroupNorm(nn.Module):
    """Normalise every group of channels of every picture by its own mean and variance.

    There are no running statistics by design: with them an instance norm applies population statistics in evaluation
    mode, which is batch norm under another name.

    Mean and variance are computed in float32, also for bfloat16 and float16 features, and the variance from centred
    features. Two kernels of torch that would do are not used, and one only where it is exact:

    - ``torch.nn.InstanceNorm2d`` turns channels-last features to contiguous ones and back in every layer;
    - ``torch.group_norm`` is the same formula and fast, but on channels-last features it takes the variance as a
      difference of two sums of float32, which is wrong for large pictures and for features far from zero
      (``tests/test_norms.py`` has both cases). On contiguous features of a CPU it is exact, and used.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variance. A group that is constant over a picture becomes ``bias``.
        groups: Number of groups. None: :data:`GROUPS`, or the largest number below that divides both it and C.
        affine: Learn a scale and a shift.

    Reference: Wu and He 2018, equations 1, 2 and 7.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, groups: int | None = None, affine: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.groups = math.gcd(GROUPS, channels) if groups is None else groups
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, features: Tensor) -> Tensor:
        if features.device.type == "cpu" and features.is_contiguous():
            # Not the functional wrapper: that one refuses a single 1x1 picture, whose norm is the bias.
            return torch.group_norm(features, self.groups, self.weight, self.bias, self.epsilon)
        wide = at_least_float32(features)
        if self.groups == self.channels:
            centred = wide - wide.mean((2, 3), keepdim=True)
            variance = centred.square().mean((2, 3), keepdim=True)
            scale = torch.rsqrt(variance + self.epsilon)
        else:
            split = wide.unflatten(1, (self.groups, -1))
            # The mean of the means of the channels: on channels-last features torch sums over channels and positions
            # at once one value after the other, which is slower and loses digits.
            centred = split - split.mean((3, 4), keepdim=True).mean(2, keepdim=True)
            variance = centred.square().mean((3, 4), keepdim=True).mean(2, keepdim=True)
            scale = torch.rsqrt(variance + self.epsilon).expand(-1, -1, split.shape[2], -1, -1).flatten(1, 2)
            centred = centred.flatten(1, 2)
        if self.weight is None or self.bias is None:
            return (centred * scale).to(features.dtype)
        # Scale and statistics are one factor, so that the features are walked through once.
        return torch.addcmul(self.bias[:, None, None], centred, self.weight[:, None, None] * scale).to(features.dtype)

    def extra_repr(self) -> str:
        groups = "" if self.groups == self.channels else f", groups={self.groups}"
        return f"{self.channels}, epsilon={self.epsilon}{groups}"


class InstanceNorm(GroupNorm):
    """Normalise every channel of every picture by its own mean and variance, in training and in evaluation alike.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variance. A channel that is constant over a picture becomes ``bias``.
        affine: Learn a scale and a shift.

    Reference: Ulyanov et al. 2016, equation 2.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, affine: bool = True) -> None:
        super().__init__(channels, epsilon, groups=channels, affine=affine)


class LayerNorm(GroupNorm):
    """Normalise every picture by the mean and the variance of all its features.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variance.

    Reference: Ba et al. 2016, equation 3, with the statistics of a convolutional layer as in Wu and He 2018.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__(channels, epsilon, groups=1)


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


class InstanceBatchNorm(nn.Module):
    """Instance norm for the first half of the channels (of an odd number: the smaller half), batch norm for the rest.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variances.

    Reference: Pan et al. 2018, IBN-a.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.half = channels // 2
        self.instance = InstanceNorm(self.half, epsilon) if self.half else None
        self.batch = BatchNorm(channels - self.half, epsilon)

    def forward(self, features: Tensor) -> Tensor:
        if self.instance is None:
            return self.batch(features)
        first, second = features[:, : self.half], features[:, self.half :]
        return torch.cat([self.instance(first), self.batch(second)], dim=1)


class BatchInstanceNorm(nn.Module):
    """A mixture of batch and instance norm, learned for every channel: gate x batch + (1 - gate) x instance.

    The gates begin at 1, which is batch norm, and are kept within [0, 1] by the layer itself; they are meant to learn
    :data:`stylize.network_norms.GATE_RATE_FACTOR` times faster than other weights.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variances.

    Reference: Nam and Kim 2018, equations 3 and 4.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.batch = nn.BatchNorm2d(channels, eps=epsilon, affine=False)
        self.instance = InstanceNorm(channels, epsilon, affine=False)
        # One scale and one shift for the mixture.
        self.gate = nn.Parameter(torch.ones(channels))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            # A step of the optimiser may have left [0, 1]; a clamp in the formula alone would have no gradient there,
            # and the gate could never come back.
            with torch.no_grad():
                self.gate.clamp_(0, 1)
        # A copy in training: autograd must not keep what the next forward pass clamps in place.
        gate = self.gate.clone() if self.training else self.gate.clamp(0, 1)
        wide = at_least_float32(features)
        by_batch, by_instance = self.batch(wide), self.instance(wide)
        mixed = by_instance + gate[:, None, None] * (by_batch - by_instance)
        return torch.addcmul(self.bias[:, None, None], mixed, self.weight[:, None, None]).to(features.dtype)


class FollowsConvolution(nn.Module):
    """A layer that needs the convolution before it, and the first batch to begin from.

    Both kinds set themselves up so that on the first batch every channel has mean 0 and variance 1, as batch norm
    would have it: they then begin as the same function of that batch as batch norm
    (:func:`stylize.network_norms.initialise_from_data`).

    Args:
        epsilon: Added to the variances of the first batch, as batch norm does.
    """

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        # In a tuple, so that the convolution does not become a submodule of this layer as well.
        self._followed: tuple[nn.Conv2d, ...] = ()
        self.initialising = False

    def follow(self, convolution: nn.Conv2d) -> None:
        """Take ``convolution`` for the one whose output comes in."""
        self._followed = (convolution,)

    @property
    def convolution(self) -> nn.Conv2d:
        """The convolution whose output comes in.

        Raises:
            InputError: None was given to :meth:`follow`.
        """
        if not self._followed:
            raise InputError(f"{type(self).__name__} stands after no convolution; call follow() first")
        return self._followed[0]

    def initialise(self, mean: Tensor, deviation: Tensor) -> None:
        """Take up the mean and the standard deviation (C,) that the convolution's output has on the first batch."""
        raise NotImplementedError

    def transform(self, features: Tensor) -> Tensor:
        """Return the output of this layer."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        if not self.initialising:
            return self.transform(features)
        wide = at_least_float32(features)
        variance, mean = torch.var_mean(wide, dim=(0, 2, 3), correction=0)
        # A channel that is constant but for rounding keeps the scale of its convolution.
        varies = variance > 1e-12 * (1 + mean.square())
        deviation = torch.where(varies, (variance + self.epsilon).sqrt(), torch.ones_like(variance))
        self.initialise(mean, deviation)
        return ((wide - mean[:, None, None]) / deviation[:, None, None]).to(features.dtype)


class WeightNorm(FollowsConvolution):
    """Divide the weights of each filter by their norm, and learn its scale apart: w = g v / |v|.

    Because a convolution is linear this is done to its output: (g / |v|) (v * x) + b. The direction v is the weight of
    the convolution before, g is ``weight``, b is ``bias``; the bias of the convolution has no part, as before batch
    norm. Nothing here depends on the features.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: The least that a filter is divided by, and what is added to the variances of the first batch.

    Reference: Salimans and Kingma 2016, equations 2 and 5, and section 3 for the initialisation.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__(epsilon)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def _filter_norms(self) -> Tensor:
        return self.convolution.weight.flatten(1).norm(dim=1).clamp_min(self.epsilon)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return what the output of the convolution is multiplied by and what is added: (C,) each."""
        scale, shift = self.weight / self._filter_norms(), self.bias
        if self.convolution.bias is not None:
            shift = shift - scale * self.convolution.bias
        return scale, shift

    def transform(self, features: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift()
        wide = at_least_float32(features)
        return torch.addcmul(shift[:, None, None], wide, scale[:, None, None]).to(features.dtype)

    def initialise(self, mean: Tensor, deviation: Tensor) -> None:
        bias = self.convolution.bias
        self.weight.copy_(self._filter_norms() / deviation)
        self.bias.copy_(((0 if bias is None else bias) - mean) / deviation)


class NoNorm(FollowsConvolution):
    """No normalisation: the features pass.

    Without help such a network begins with an output near grey and learns slowly, so its convolutions are scaled once,
    by the first batch, to the variance that a normalisation would give.

    Args:
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variances of the first batch.

    Reference: Mishkin and Matas 2016, algorithm 1, in one pass and with the mean removed too.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__(epsilon)

    def transform(self, features: Tensor) -> Tensor:
        return features

    def initialise(self, mean: Tensor, deviation: Tensor) -> None:
        convolution = self.convolution
        convolution.weight.copy_(convolution.weight / deviation[:, None, None, None])
        if convolution.bias is not None:
            convolution.bias.copy_((convolution.bias - mean) / deviation)


NORMS: dict[str, Callable[[int, float], nn.Module]] = {
    "instance": InstanceNorm,
    "batch": BatchNorm,
    "layer": LayerNorm,
    "group": GroupNorm,
    "weight": WeightNorm,
    "none": NoNorm,
    "ibn": InstanceBatchNorm,
    "batch-instance": BatchInstanceNorm,
}
"""Normalisation layers by name, each called with (channels, epsilon)."""

DIFFERS_BETWEEN_MODES = ("batch", "ibn", "batch-instance", "conditional-batch")
"""Normalisations that use the statistics of the batch in training mode and running averages in evaluation mode."""


def differs_between_modes(norm: str) -> bool:
    """Say whether a network with ``norm`` (a name, or with a placement) does in training what it does not do later."""
    chosen = parse_norm(norm)
    used = {chosen.norm} | ({chosen.other} if chosen.placement != "everywhere" else set())
    return not used.isdisjoint(DIFFERS_BETWEEN_MODES)


def make_norm(name: str, channels: int, epsilon: float, convolution: nn.Conv2d | None = None) -> nn.Module:
    """Return the normalisation layer called ``name`` for ``channels`` channels.

    Args:
        name: A key of :data:`NORMS`.
        channels: C of the features (B, C, H, W).
        epsilon: Added to the variance.
        convolution: The convolution whose output comes in; ``weight`` and ``none`` need it.

    Raises:
        InputError: No such normalisation.
    """
    if name not in NORMS:
        raise InputError(unknown_name("normalisation", name, NORMS))
    layer = NORMS[name](channels, epsilon)
    if isinstance(layer, FollowsConvolution) and convolution is not None:
        layer.follow(convolution)
    return layer
