"""How many numbers a network has, counted from its architecture: before any layer of it is made, and without torch.

An architecture may come from a stranger's file. Every number in it is checked on its own
(:class:`stylize.config.TransformerConfig`), but the largest of all of them together make a network of billions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylize.config import TransformerConfig

MAXIMUM_PARAMETERS = 250_000_000
"""Learned numbers of the largest network that is built or read: 1 GB in float32, 150 times those of ``johnson``."""

BYTES_PER_PARAMETER = 4
"""Networks compute in float32."""

NUMBERS_PER_CHANNEL = {
    "instance": 2,
    "batch": 2,
    "layer": 2,
    "group": 2,
    "weight": 2,
    "none": 0,
    "ibn": 2,
    "batch-instance": 3,
}
"""What each normalisation learns for a channel: a scale and a shift, and batch-instance norm a gate as well."""


def _convolution(inside: int, outside: int, size: int) -> int:
    """Return the weights and biases of a convolution."""
    return outside * (inside * size**2 + 1)


def count_parameters(config: TransformerConfig, norms: Iterable[str]) -> int:
    """Return how many numbers a network learns: exactly for one norm, at most for two.

    Args:
        config: The architecture.
        norms: The normalisations in it, names from :data:`stylize.config.NORM_NAMES`; conditional ones by the name of
            the norm they are for one style.
    """
    widths, block, styles = config.channels, config.space_to_depth, config.styles
    total = _convolution(3 * block**2, widths[0], config.first_kernel)
    normalised = [*widths, *[widths[-1]] * (2 * config.residual_blocks), *widths[-2::-1]]
    total += sum(_convolution(narrow, wide, 3) for narrow, wide in zip(widths, widths[1:], strict=False))
    total += 2 * config.residual_blocks * _convolution(widths[-1], widths[-1], 3)
    total += sum(_convolution(wide, narrow, 3) for narrow, wide in zip(widths, widths[1:], strict=False))
    last = widths[0]
    if config.output == "shuffle":
        end = _convolution(last, 3 * block**2, config.last_kernel)
    elif block == 1:
        end = _convolution(last, 3, config.last_kernel)
    else:
        if block == 4:
            half = max(last // 2, 3)
            total += _convolution(last, half, 3)
            normalised.append(half)
            last = half
        end = _convolution(last, 3, 3)
    total += end * (styles if config.own_output else 1)
    return total + sum(normalised) * styles * max(NUMBERS_PER_CHANNEL[name] for name in norms)
