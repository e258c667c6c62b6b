"""Painting the frames of a video one after the other, steadily.

Two things can be kept over time, both dropped at a cut:

- the statistics of the norms (:mod:`stylize.video.statistics`), so that what comes into view changes the rest of the
  picture slowly. It costs nearly nothing, and does nothing about strokes that are painted anew in each frame. A network
  without such statistics, like one with batch norm, is painted as it is;
- the painting itself. The painted frame before is brought along the optical flow of the video to where its things are
  now (:mod:`stylize.video.flow`), and where the flow can be trusted part of it is kept. Strokes then move with what
  they are painted on.

How much is kept. To blend pictures that differ blurs them, and to warp them again and again does so too. With D, the
mean squared difference of the new painting and the one brought along, and V, the variance of the detail of the new
one, the part kept is KEPT / (1 + CAUTION D / V): most where the two agree, when nothing can blur, and less where they
differ, when a little goes a long way. (Keep k of independent errors, and their step from frame to frame falls to
(1 - k)^2 / (1 + k): with a third kept, already to a third.) Cubic interpolation makes the warping itself blur little.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stylize.controls import PLAIN, Controls
from stylize.engines.torch_engine import TorchEngine
from stylize.errors import InputError
from stylize.stylizer import Stylizer
from stylize.video.cuts import CutDetector
from stylize.video.flow import Floats, MotionEstimator, opencv, to_frame, to_pixels, warp
from stylize.video.statistics import SmoothedEngine

SMOOTHING = 0.2
"""Seconds over which statistics are averaged. The longer, the further they are from those of a frame that has changed,
and with them the picture from its style."""

KEPT = 0.8
"""Part of the painting that is kept from one frame to the next where the flow can be trusted and nothing differs."""

CAUTION = 2.0
"""How fast less is kept as the paintings differ: chosen on five clips, so that each has at most about half of the
warping error of frame by frame, without a blur that its style distance would show (``benchmarks/stability.py``)."""

DETAIL = 16
"""Side, in pixels, of the squares around whose mean the variance of the detail is taken."""

FORGOTTEN = 0.05
"""Weight of the past at which it no longer matters."""


@dataclass(frozen=True)
class _Past:
    """The frame before: as the flow needs it, and painted, (H, W, 3)."""

    prepared: Floats
    painted: Floats


class FramePainter:
    """Paints the frames of a video in their order.

    Args:
        stylizer: What paints. It is not changed, and others may use it at the same time.
        smoothing: Seconds over which the statistics of the norms are averaged; None takes those of each frame.
        flow: Whether to carry the painting along the optical flow; needs OpenCV.
        frame_rate: Frames per second.
        controls: How frames are painted.

    Attributes:
        smoothing: Seconds over which statistics are averaged; None where there is nothing to average.
        flow: Whether the painting is carried along.
        cuts: Number of cuts found since the painter was made or reset.

    Raises:
        InputError: A smoothing or frame rate that is not above 0; smoothing with an engine other than ``torch``; or
            OpenCV is needed and not installed.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        *,
        smoothing: float | None = SMOOTHING,
        flow: bool = False,
        frame_rate: float = 25.0,
        controls: Controls = PLAIN,
    ) -> None:
        if not 0 < frame_rate < math.inf:
            raise InputError(f"{frame_rate!r} frames per second given; a number above 0 is accepted")
        self.flow, self.cuts = flow, 0
        self._interval, self._controls = 1.0 / frame_rate, controls
        self._stylizer, self._engine = _smoothed(stylizer, smoothing)
        self.smoothing = None if self._engine is None else smoothing
        self._detector = CutDetector()
        self._motion = MotionEstimator() if flow else None
        self._past: _Past | None = None

    @property
    def warm_up_frames(self) -> int:
        """How many frames a part of the video should be preceded by, to be painted as if all had been painted."""
        remembered = [0]
        if self.smoothing is not None:
            remembered.append(math.ceil(-math.log(FORGOTTEN) * self.smoothing / self._interval))
        if self.flow:
            remembered.append(math.ceil(math.log(FORGOTTEN) / math.log(KEPT)))
        return max(remembered)

    def reset(self) -> None:
        """Forget the frames so far."""
        self._detector.reset()
        self._new_scene()
        self.cuts = 0

    def warm_up(self, frames: Iterable[Tensor]) -> None:
        """Forget the frames so far, and take in those before a part of the video (:attr:`warm_up_frames` of them).

        A part of a video that starts so is painted the same, whether or not the parts before it were painted just now.
        """
        self.reset()
        for frame in frames:
            self.paint(frame)

    def paint(self, frame: Tensor, elapsed: float | None = None) -> Tensor:
        """Paint the next frame.

        Args:
            frame: (1, 3, H, W) float32, RGB in [0, 1].
            elapsed: Seconds since the frame before it; None takes the frame rate.

        Returns:
            The painted frame, of the same shape and on the same device, in [0, 1].

        Raises:
            InputError: Not one frame, or of another dtype or range.
        """
        if frame.dim() != 4 or frame.shape[0] != 1:
            raise InputError(f"frames of shape {tuple(frame.shape)} given; one at a time, (1, 3, H, W), is accepted")
        if self._engine is None and self._motion is None:
            return self._stylizer.paint(frame, self._controls)
        if self._detector.is_cut(frame):
            self.cuts += 1
            self._new_scene()
        if self._engine is not None:
            self._engine.advance(self._interval if elapsed is None else elapsed)
        painted = self._stylizer.paint(frame, self._controls)
        return painted if self._motion is None else self._carried(frame, painted)

    def _new_scene(self) -> None:
        self._past = None
        if self._engine is not None:
            self._engine.forget()

    def _carried(self, frame: Tensor, painted: Tensor) -> Tensor:
        """Return a painted frame with the strokes of the one before it where they belong."""
        prepared, pixels = self._motion.prepare(frame), to_pixels(painted)
        past = self._past
        if past is not None and past.painted.shape == pixels.shape:
            onward, back = self._motion.between(past.prepared, prepared)
            motion = self._motion.motion(prepared, past.prepared, back, onward, pixels.shape[:2])
            brought = warp(past.painted, motion.flow, sharp=True)
            brought -= pixels
            brought *= motion.trust[..., None] * part_kept(pixels, brought, motion.trust)
            pixels += brought
            # Cubic interpolation goes a little beyond the values it lies between.
            np.clip(pixels, 0, 1, out=pixels)
            painted = to_frame(pixels).to(painted.device)
        self._past = _Past(prepared, pixels)
        return painted


def part_kept(painted: Floats, difference: Floats, trust: Floats) -> float:
    """Return the part of a painting that is kept for the next frame, from 0 to :data:`KEPT`.

    Args:
        painted: The next frame as painted by itself, (H, W, 3).
        difference: The painting brought along the flow, minus ``painted``.
        trust: (H, W), how far the flow can be trusted.
    """
    # Every other row and column will do for a sum over the frame.
    pixels, difference, trust = (values[::2, ::2] for values in (painted, difference, trust))
    detail = pixels - opencv().blur(pixels, (DETAIL // 2 + 1, DETAIL // 2 + 1))
    disagreement, variance = (float(np.square(one).sum(2).ravel() @ trust.ravel()) for one in (difference, detail))
    return KEPT / (1 + CAUTION * disagreement / variance) if variance > 0 else 0.0


def _smoothed(stylizer: Stylizer, smoothing: float | None) -> tuple[Stylizer, SmoothedEngine | None]:
    """Return a Stylizer that smooths its statistics, and its engine; the same and None where there are none."""
    if smoothing is None:
        return stylizer, None
    engine = stylizer.engine
    if not isinstance(engine, TorchEngine):
        if stylizer.network is not None and not stylizer.program.needs_statistics:
            return stylizer, None
        raise InputError(
            f"smoothing given with the engine {engine.name}; only the engine torch can smooth: load the style with it, "
            "or smooth nothing"
        )
    smoothed = SmoothedEngine(engine, smoothing)
    if not engine.program.needs_statistics:
        return stylizer, None
    own = copy.copy(stylizer)
    own.engine = smoothed
    return own, smoothed
