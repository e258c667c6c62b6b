"""Painting the frames of a video one after the other, steadily.

Three things can be kept over time, all dropped at a cut:

- the statistics of the norms (:mod:`stylize.video.statistics`), so that what comes into view changes the rest of the
  picture slowly. It costs nearly nothing, and does nothing about strokes that are painted anew in each frame. A network
  without such statistics, like one with batch norm, is painted as it is;
- the grid of blocks on which the network works (:mod:`stylize.video.moving_grid`), which goes along with the camera, so
  that a pan does not paint every stroke anew. It costs a coarse estimate of the motion;
- the painting itself. The painted frame before is brought along the optical flow of the video to where its things are
  now (:mod:`stylize.video.flow`), and where the flow can be trusted part of it is kept. Strokes then move with what
  they are painted on.

How much is kept. To blend pictures that differ blurs them, and to warp them again and again does so too. With D, the
mean squared difference of the new painting and the one brought along, and V, the variance of the detail of the new
one, the part kept is KEPT / (1 + CAUTION D / V): most where the two agree, when nothing can blur, and less where they
differ, when a little goes a long way. (Keep k of independent errors, and their step from frame to frame falls to
(1 - k)^2 / (1 + k): with a third kept, already to a third.) Cubic interpolation makes the warping itself blur little.
What the blend takes from the contrast of the strokes is given back (:mod:`stylize.video.detail`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stylize.controls import PLAIN, Controls
from stylize.engines.torch_engine import TorchEngine
from stylize.errors import InputError
from stylize.stylizer import Stylizer
from stylize.video.cuts import CutDetector, thumbnail
from stylize.video.detail import with_detail_of
from stylize.video.exposure import SAME, ExposureFollower
from stylize.video.flow import Floats, Motion, MotionEstimator, opencv, to_frame, to_pixels, warp
from stylize.video.moving_grid import MovingGrid
from stylize.video.statistics import SmoothedEngine

SMOOTHING = 0.2
"""Seconds over which statistics are averaged. The longer, the further they are from those of a frame that has changed,
and with them the picture from its style."""

GRID_EDGE = 256
"""Long edge, in pixels, at which motion is estimated for the grid alone: half a pixel of the frame is near enough."""

KEPT = 0.8
"""Part of the painting that is kept from one frame to the next where the flow can be trusted and nothing differs."""

CAUTION = 4.0
"""How fast less is kept as the paintings differ. Chosen by trying a few values on the clips of the stability benchmark,
whose page gives what came of this one: the more cautious, the nearer the style distance to that of frame by frame, and
the more the strokes change from frame to frame."""

DETAIL = 16
"""Side, in pixels, of the squares around whose mean the variance of the detail is taken."""

SAMPLED = 4
"""Every so manieth row and column is looked at to decide how much is kept."""


@dataclass(frozen=True)
class _Past:
    """The frame before: as the flow needs it, and painted, (H, W, 3), where that is wanted again."""

    prepared: Floats
    painted: Floats | None


class FramePainter:
    """Paints the frames of a video in their order.

    Args:
        stylizer: What paints. It is not changed, and others may use it at the same time.
        smoothing: Seconds over which the statistics of the norms are averaged; None takes those of each frame.
        flow: Whether to carry the painting along the optical flow; needs OpenCV.
        follow_exposure: Whether frames are brought to one exposure before their statistics are averaged.
        grid: Whether to move the grid of the network along with the camera; needs OpenCV. Nothing comes of it where
            ``controls`` have frames painted at another scale, nor with engines other than ``torch``: they prepare
            themselves for every size of frames, and the size changes.
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
        follow_exposure: bool = True,
        grid: bool = False,
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
        self._exposure = ExposureFollower()
        self._follow_exposure = follow_exposure
        moves = grid and isinstance(stylizer.engine, TorchEngine) and controls.scale == 1
        self._grid = MovingGrid(stylizer.network.config.reduction) if moves else None
        self._motion = None
        if flow or moves:
            self._motion = MotionEstimator() if flow else MotionEstimator(GRID_EDGE)
        self._past: _Past | None = None

    def reset(self) -> None:
        """Forget the frames so far."""
        self._detector.reset()
        self._new_scene()
        self.cuts = 0

    def state(self) -> dict[str, Tensor]:
        """Return what is known of the frames so far, for :meth:`restore` of a painter made like this one."""
        parts = {"cuts": self._detector.state(), "exposure": self._exposure.state()}
        if self._engine is not None:
            parts["statistics"] = self._engine.state()
        if self._grid is not None:
            parts["grid"] = self._grid.state()
        if self._past is not None:
            past = {"prepared": self._past.prepared, "painted": self._past.painted}
            parts["past"] = {name: torch.from_numpy(pixels) for name, pixels in past.items() if pixels is not None}
        # Copies, for the next frame may change what is known.
        return {f"{part}/{name}": one.clone() for part, state in parts.items() for name, one in state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where a painter made like this one was when it returned ``state``; frames are painted the same, bit
        by bit."""
        parts: dict[str, dict[str, Tensor]] = {}
        for key, one in state.items():
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = one
        self.reset()
        self._detector.restore(parts.get("cuts", {}))
        if "exposure" in parts:
            self._exposure.restore(parts["exposure"])
        if self._engine is not None and "statistics" in parts:
            self._engine.restore(parts["statistics"])
        if self._grid is not None and "grid" in parts:
            self._grid.restore(parts["grid"])
        if "past" in parts:
            past = {name: one.numpy() for name, one in parts["past"].items()}
            self._past = _Past(past["prepared"], past.get("painted"))

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
        elapsed = self._interval if elapsed is None else elapsed
        small = thumbnail(frame)
        if self._detector.sees_cut(small):
            self.cuts += 1
            self._new_scene()
        exposure = self._exposure.follow(small, elapsed) if self._follow_exposure else SAME
        if self._engine is not None:
            self._engine.advance(elapsed, exposure)
        if self._motion is None:
            return self._stylizer.paint(frame, self._controls)
        prepared = self._motion.prepare(frame)
        motion = self._follow(prepared, tuple(frame.shape[-2:]))
        painted = self._painted(frame)
        pixels = None
        if self.flow:
            painted, pixels = self._carried(painted, motion)
        self._past = _Past(prepared, pixels)
        return painted

    def _new_scene(self) -> None:
        self._past = None
        self._exposure.forget()
        if self._grid is not None:
            self._grid.forget()
        if self._engine is not None:
            self._engine.forget()

    def _follow(self, prepared: Floats, size: tuple[int, int]) -> Motion | None:
        """Move the grid along with a frame of ``size``, height and width; return its motion where that is wanted."""
        past = self._past
        if past is None or past.prepared.shape != prepared.shape:
            return None
        back = self._motion.flow(prepared, past.prepared)
        if self._grid is not None:
            self._grid.follow(back, (size[1] / back.shape[1], size[0] / back.shape[0]))
        if past.painted is None or past.painted.shape[:2] != size:
            return None
        onward = self._motion.flow(past.prepared, prepared)
        return self._motion.motion(prepared, past.prepared, back, onward, size)

    def _painted(self, frame: Tensor) -> Tensor:
        """Paint a frame by itself."""
        if self._grid is None:
            return self._stylizer.paint(frame, self._controls)
        painted = self._stylizer.paint(self._grid.padded(frame), self._controls)
        return self._grid.cropped(painted, *frame.shape[-2:])

    def _carried(self, painted: Tensor, motion: Motion | None) -> tuple[Tensor, Floats]:
        """Return a painted frame with the strokes of the one before it where they belong, also as (H, W, 3)."""
        pixels = to_pixels(painted)
        if motion is None:
            return painted, pixels
        brought = warp(self._past.painted, motion.flow, sharp=True)
        kept = motion.trust * part_kept(pixels, brought, motion.trust)
        blended = opencv().blendLinear(brought, pixels, kept, 1 - kept)
        pixels = with_detail_of(blended, pixels)
        # Cubic interpolation goes a little beyond the values it lies between, and so do stronger details.
        np.clip(pixels, 0, 1, out=pixels)
        return to_frame(pixels).to(painted.device), pixels


def part_kept(painted: Floats, brought: Floats, trust: Floats) -> float:
    """Return the part of a painting that is kept for the next frame, from 0 to :data:`KEPT`.

    Args:
        painted: The next frame as painted by itself, (H, W, 3).
        brought: The painting brought along the flow, (H, W, 3).
        trust: (H, W), how far the flow can be trusted.
    """
    resize, area = opencv().resize, opencv().INTER_AREA
    height, width = trust.shape
    means = resize(painted, (max(1, width // DETAIL), max(1, height // DETAIL)), interpolation=area)
    # A sixteenth of the pixels will do for a sum over the frame.
    painted, brought, trust = (values[::SAMPLED, ::SAMPLED] for values in (painted, brought, trust))
    detail = painted - resize(means, trust.shape[::-1]).reshape(painted.shape)
    disagreement, variance = (
        float(np.square(one).sum(2).ravel() @ trust.ravel()) for one in (brought - painted, detail)
    )
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
