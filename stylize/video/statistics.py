"""The means and variances of the norms, averaged over the frames of a video.

A norm that depends on the photo takes mean and variance from each frame by itself. When something bright comes into
view, they change, and with them the painting of all that did not: the picture pumps. Averaged over time, they follow
slowly.

The average is the one over all frames so far, taken as one long picture in which a frame that is t seconds old has the
weight exp(-t / seconds). So means are averaged, and the variance is that of the mixture: the average variance of the
frames plus the variance of their means. With equal weights it is instance norm over all positions of a clip. (Averages
of the variances alone, of their logarithms or of the deviations gave, on four clips, warping errors within 1 % of its.)
The first frame has no more weight than any other, so the average is soon a good one.

What it costs: the norm of each frame takes away every change of exposure, and an average would do so only in part.
So frames are brought to one exposure before (:mod:`stylize.video.exposure`).

Reference: Chan, Golub, LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
equation 2.1 (the mixture of two parts).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from stylize.engines.torch_engine import TorchEngine
from stylize.errors import InputError
from stylize.video.exposure import SAME, Exposure

PAIR = ("mean", "variance")


class StatisticsAverage:
    """Mean and variance of several sets of channels, each averaged over time.

    Args:
        seconds: Time after which a frame counts 1/e of what it counted at first.

    Raises:
        InputError: The time is not above 0.
    """

    def __init__(self, seconds: float) -> None:
        if not 0 < seconds < math.inf:  # Written so that NaN is refused too.
            raise InputError(f"a smoothing of {seconds!r} seconds given; a number above 0 is accepted, or none at all")
        self.seconds = seconds
        self._weight = 0.0
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def forget(self) -> None:
        """Start anew, as at a cut."""
        self._weight = 0.0
        self._known.clear()

    def advance(self, elapsed: float) -> None:
        """Begin a frame.

        Args:
            elapsed: Seconds since the frame before it.
        """
        self._weight = 1.0 + math.exp(-max(0.0, elapsed) / self.seconds) * self._weight

    def add(self, key: str, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Take in the statistics of a frame.

        Args:
            key: Which of the sets of channels.
            mean: Of any shape.
            variance: Of the same shape.

        Returns:
            Mean and variance of the frames so far, this one with them.
        """
        known = self._known.get(key)
        if known is not None:
            share = 1.0 / self._weight
            difference = mean - known[0]
            # Of a mixture, and never negative, as a difference of second moments could be.
            variance = torch.lerp(known[1], variance, share).addcmul_(difference, difference, value=share - share**2)
            mean = known[0].add(difference, alpha=share)
        self._known[key] = (mean, variance)
        return mean, variance

    def state(self) -> dict[str, Tensor]:
        """Return what is known of the frames so far; the names of the sets hold no colon."""
        state = {
            f"{key}:{what}": one for key, both in self._known.items() for what, one in zip(PAIR, both, strict=True)
        }
        return {**state, "weight": torch.tensor(self._weight, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Know what another average knew when it returned ``state``, with its numbers on ``device``."""
        self._weight = float(state["weight"])
        mean, variance = PAIR
        keys = [name.removesuffix(f":{mean}") for name in state if name.endswith(f":{mean}")]
        self._known = {key: (state[f"{key}:{mean}"].to(device), state[f"{key}:{variance}"].to(device)) for key in keys}


class SmoothedEngine:
    """An engine whose norms take their statistics from the frames so far; it paints the frames of one video.

    Args:
        engine: The engine; others may go on using it.
        seconds: See :class:`StatisticsAverage`.

    Attributes:
        name: That of the engine, like the others.
        precision: What it computes in.
        device: Where.
    """

    def __init__(self, engine: TorchEngine, seconds: float) -> None:
        self.name, self.precision, self.device = engine.name, engine.precision, engine.device
        self._engine = engine
        self._average = StatisticsAverage(seconds)
        self._exposure = SAME
        self._call = 0

    def forget(self) -> None:
        """Start anew, as at a cut."""
        self._average.forget()

    def advance(self, elapsed: float, exposure: Exposure = SAME) -> None:
        """Begin a frame.

        Args:
            elapsed: Seconds since the frame before it.
            exposure: What brings it to the exposure of the frames before.
        """
        self._average.advance(elapsed)
        self._exposure = exposure
        self._call = 0

    def paint(self, images: Tensor) -> Tensor:
        """See :meth:`stylize.engines.engine.Engine.paint`; a frame may be painted several times over.

        Args:
            images: One frame, (1, 3, H, W) float32, RGB in [0, 1].
        """
        # Each further pass over a frame sees other pictures, and has statistics of its own.
        call, self._call = self._call, self._call + 1
        return self._engine.paint(self._exposure.applied(images), functools.partial(self._filtered, call))

    def _filtered(self, call: int, layer: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        return self._average.add(f"{call} {layer}", mean, variance)

    def state(self) -> dict[str, Tensor]:
        """Return what is known of the frames so far."""
        return self._average.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Know what another engine knew when it returned ``state``."""
        self._average.restore(state, self.device)
