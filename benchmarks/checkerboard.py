"""How much of a picture is a pattern that repeats every two (or four) pixels, which is how upsampling layers fail.

A checkerboard and stripes of period 2 are the frequencies (pi, pi), (pi, 0) and (0, pi). Their sign flips every pixel
and stays the same from place to place, so their energy sits in single bins of the spectrum, whereas grain, edges and
brush strokes fill the bins around them just as much. The measure is therefore local: power in those bins against
power in the bins a little below them, on the same axis (edges in pictures favour the axes).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW = 32
"""Side of the windows in pixels; a pattern may change its strength and sign from one to the next."""

NEIGHBOURS = (2, 3)
"""How many bins below the highest frequency the comparison lies; the Hann window leaks into 1 and not into 2."""


@dataclass(frozen=True)
class Checkerboard:
    """Patterns of one period in some pictures.

    Attributes:
        ratio: Power of the patterns divided by the power at neighbouring frequencies: about 1 for noise, below 1 for
            photos (whose spectrum falls), far above 1 for a checkerboard.
        levels: Root mean square of the patterns beyond what the neighbours have, in grey levels of 0..255.
    """

    ratio: float
    levels: float


def checkerboard(images: Tensor, period: int = 2) -> Checkerboard:
    """Measure the patterns of a period, 2 or 4 pixels, in pictures (B, 3, H, W) in [0, 1], H and W at least
    :data:`WINDOW`.

    The pictures are cut into windows that overlap by half, each weighted by a Hann window (Welch 1967). With P(u, v)
    the mean power at u and v bins, n = WINDOW / period and k in :data:`NEIGHBOURS`:

        pattern      P(n, 0) + P(0, n) + P(n, n)
        neighbours   mean over k of  P(n-k, 0) + P(0, n-k) + (P(n-k, n-k) + P(n, n-k) + P(n-k, n)) / 3
        ratio        pattern / neighbours

    and for period 4, which has bins on both sides, the mean over k and -k. A pattern of period 2 and amplitude a, as in
    0.5 + a (-1)^(x + y), adds a^2 to P(n, n).
    """
    window = torch.hann_window(WINDOW, dtype=torch.float64, device=images.device)
    weight = window[:, None] * window[None, :]
    pieces = images.double().unfold(2, WINDOW, WINDOW // 2).unfold(3, WINDOW, WINDOW // 2)
    # Without its own mean a window has nothing at (0, 0) to leak.
    pieces = pieces - pieces.mean((-2, -1), keepdim=True)
    spectrum = torch.fft.fft2(pieces * weight).abs().square() / weight.sum() ** 2
    power = spectrum.mean(tuple(range(spectrum.dim() - 2)))
    top = WINDOW // period
    signs = (1,) if period == 2 else (1, -1)
    pattern = power[top, 0] + power[0, top] + power[top, top]
    near = power.new_zeros(())
    for step in (sign * step for step in NEIGHBOURS for sign in signs):
        low = top - step
        corner = (power[low, low] + power[top, low] + power[low, top]) / 3
        near = near + (power[low, 0] + power[0, low] + corner) / (len(NEIGHBOURS) * len(signs))
    floor = torch.finfo(torch.float32).tiny
    levels = 255 * float((pattern - near).clamp(min=0).sqrt())
    return Checkerboard(float((pattern + floor) / (near + floor)), levels)
