"""What a normalisation does once a network is applied: one scale and one shift for every channel of every photo.

Every layer of :mod:`stylize.norms` is, in evaluation mode, of one form. With m and v the mean and the variance of the
features x over what shares them (the positions of a channel of a photo, or of a group of channels)::

    y = fixed * x + scale * (x - m) / sqrt(v + epsilon) + shift

For instance, layer and group norm ``fixed`` is 0. For batch norm, weight norm and no norm ``scale`` is 0, and all of it
can be folded into the convolution before. IBN and batch-instance norm have both parts. So whatever runs a network
(:mod:`stylize.program`) needs to know this form and no norm by name.

References: those of :mod:`stylize.norms`; Jacob et al. 2018, arXiv 1712.05877, section 3.2, for folding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from stylize.errors import InputError
from stylize.norms import BatchInstanceNorm, BatchNorm, GroupNorm, InstanceBatchNorm, NoNorm, WeightNorm


@dataclass(frozen=True)
class AppliedNorm:
    """One normalisation layer in evaluation mode.

    Attributes:
        fixed: (C,) factor of the features themselves.
        scale: (C,) factor of the features with mean 0 and variance 1.
        shift: (C,) what is added.
        groups: Number of groups of channels that share mean and variance; C where each has its own.
        epsilon: Added to the variance.
    """

    fixed: Tensor
    scale: Tensor
    shift: Tensor
    groups: int
    epsilon: float

    @property
    def channels(self) -> int:
        """C of the features (B, C, H, W)."""
        return self.shift.shape[0]

    def to(self, device: torch.device | str) -> AppliedNorm:
        """Return the same on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("fixed", "scale", "shift")}
        return replace(self, **moved)

    @property
    def needs_statistics(self) -> bool:
        """Whether it depends on the photo: on means and variances that are known only when all of it was seen."""
        return bool((self.scale != 0).any())

    def shared(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and variance of each group, given those of each channel: (B, C) each, and (B, C) back.

        The variance of a group is the mean variance of its channels plus the variance of their means.
        """
        if self.groups == self.channels:
            return mean, variance
        means, variances = mean.unflatten(1, (self.groups, -1)), variance.unflatten(1, (self.groups, -1))
        group_mean = means.mean(2, keepdim=True)
        group_variance = variances.mean(2, keepdim=True) + (means - group_mean).square().mean(2, keepdim=True)
        return group_mean.expand_as(means).flatten(1), group_variance.expand_as(variances).flatten(1)

    @property
    def ignores_constants(self) -> bool:
        """Whether a constant added to a channel changes nothing, as for instance norm: its own mean takes it away."""
        return self.groups == self.channels and not bool((self.fixed != 0).any())

    def coefficients(self, mean: Tensor, variance: Tensor, centre: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the scale and the shift of every channel.

        A flat channel has a variance near 0, and a scale of up to 1 / sqrt(epsilon), some hundreds: then a x and b are
        large and nearly cancel. With ``centre``, a value near the mean, what remains of x is small, and b too.

        Args:
            mean: (B, C) of the features of each channel.
            variance: (B, C), divided by the number of positions.
            centre: (B, C), what is subtracted from the features before they are scaled; None is 0.

        Returns:
            a and b, (B, C) each: the layer computes a (x - centre) + b.
        """
        shared_mean, shared_variance = self.shared(mean, variance)
        varying = self.scale * torch.rsqrt(shared_variance + self.epsilon)
        if centre is None:
            return self.fixed + varying, self.shift - varying * shared_mean
        return self.fixed + varying, self.shift + self.fixed * centre + varying * (centre - shared_mean)

    def fold(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of a convolution that computes the convolution and this layer in one.

        Args:
            weight: (C, C_in, K, K).
            bias: (C,).

        Raises:
            InputError: The layer needs statistics of the photo.
        """
        if self.needs_statistics:
            raise InputError("a normalisation with statistics of the photo given; only a fixed one can be folded")
        return weight * self.fixed[:, None, None, None], bias * self.fixed + self.shift


def _of_groups(layer: GroupNorm) -> AppliedNorm:
    scale = torch.ones(layer.channels) if layer.weight is None else layer.weight
    shift = torch.zeros(layer.channels) if layer.bias is None else layer.bias
    return AppliedNorm(torch.zeros_like(scale), scale, shift, layer.groups, layer.epsilon)


def _of_population(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the fixed scale and shift of a batch norm with its running averages."""
    scale = torch.rsqrt(layer.running_var.double() + layer.eps)
    if layer.affine:
        scale = scale * layer.weight.double()
    shift = -layer.running_mean.double() * scale
    if layer.affine:
        shift = shift + layer.bias.double()
    return scale.float(), shift.float()


def _of_batch(layer: BatchNorm) -> AppliedNorm:
    fixed, shift = _of_population(layer)
    return AppliedNorm(fixed, torch.zeros_like(fixed), shift, layer.num_features, layer.eps)


def _of_instance_batch(layer: InstanceBatchNorm) -> AppliedNorm:
    second = _of_batch(layer.batch)
    if layer.instance is None:
        return second
    first = _of_groups(layer.instance)
    fixed, scale, shift = (
        torch.cat([getattr(first, name), getattr(second, name)]) for name in ("fixed", "scale", "shift")
    )
    return AppliedNorm(fixed, scale, shift, len(shift), layer.instance.epsilon)


def _of_batch_instance(layer: BatchInstanceNorm) -> AppliedNorm:
    gate, weight = layer.gate.clamp(0, 1), layer.weight
    fixed, shift = _of_population(layer.batch)
    return AppliedNorm(
        weight * gate * fixed,
        weight * (1 - gate),
        layer.bias + weight * gate * shift,
        len(gate),
        layer.instance.epsilon,
    )


def _of_weights(layer: WeightNorm) -> AppliedNorm:
    scale, shift = layer.scale_and_shift()
    return AppliedNorm(scale, torch.zeros_like(scale), shift, len(scale), layer.epsilon)


def _of_nothing(layer: NoNorm) -> AppliedNorm:
    ones = torch.ones(layer.convolution.out_channels)
    return AppliedNorm(ones, torch.zeros_like(ones), torch.zeros_like(ones), len(ones), layer.epsilon)


APPLIED: dict[type[nn.Module], Callable[..., AppliedNorm]] = {
    GroupNorm: _of_groups,
    BatchNorm: _of_batch,
    InstanceBatchNorm: _of_instance_batch,
    BatchInstanceNorm: _of_batch_instance,
    WeightNorm: _of_weights,
    NoNorm: _of_nothing,
}
"""How each class of :mod:`stylize.norms`, or one derived from it, is brought to the common form."""


def applied(layer: nn.Module) -> AppliedNorm:
    """Return what a normalisation layer does in evaluation mode, in float32 on the CPU.

    Raises:
        InputError: The layer is none of :data:`stylize.norms.NORMS`.
    """
    for kind, make in APPLIED.items():
        if isinstance(layer, kind):
            with torch.no_grad():
                made = make(layer)
            # Copies on the CPU: a view of the layer's own weights would change with it.
            parts = (getattr(made, name).detach() for name in ("fixed", "scale", "shift"))
            fixed, scale, shift = (part.to("cpu", torch.float32, copy=True) for part in parts)
            return replace(made, fixed=fixed, scale=scale, shift=shift)
    raise InputError(f"a {type(layer).__name__} given; a normalisation layer of stylize.norms is accepted")
