"""How steady a painted video is, measured along the motion of the video it was painted from.

Warping error
    Mean squared difference of a painted frame and the painted frame before it, brought to its place by the flow
    between the two frames of the source, over the pixels where that flow can be trusted. (Lai et al., section 4.2,
    with the mean over the three channels in the place of their sum.)
Moving error
    The same, over the pixels that move by at least :data:`MOVING` pixels. Averages of pixels, which do not know of
    motion, look steady where nothing moves and leave trails where something does.
Flicker
    What comes and goes at once: of a painted frame minus the mean of its two neighbours in time, both brought to its
    place, the root mean square of the means of patches of :data:`PATCH` x :data:`PATCH` pixels. Noise in single pixels
    and steady change hardly count; what the eye sees as flicker or pumping does.

Neither says anything about the painting: a grey frame is perfectly steady. So look at the style distance as well
(:func:`stylize.evaluation.style_distance`).

Reference:
    Lai, Huang, Wang, Shechtman, Yumer, Yang 2018, "Learning Blind Video Temporal Consistency", arXiv 1808.00449.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stylize.errors import InputError
from stylize.video.flow import Floats, Motion, MotionEstimator, to_pixels, warp

MOVING = 1.0
"""Pixels by which something moves from frame to frame, to count for the moving error."""

PATCH = 8
"""Side in pixels of the patches of the flicker."""

COVERED = 0.5
"""Part of a patch that must be trusted for the patch to count."""


@dataclass(frozen=True)
class Step:
    """The motion between a frame and the next one.

    Attributes:
        back: From each pixel of the next frame to this one.
        onward: From each pixel of this frame to the next one.
    """

    back: Motion
    onward: Motion


@dataclass(frozen=True)
class Stability:
    """How steady a painted video is; smaller is steadier.

    Attributes:
        warping_error: Mean squared difference, of values in [0, 1].
        moving_error: The same where things move; NaN where nothing does.
        flicker: Root mean square of the patches, of values in [0, 1].
    """

    warping_error: float
    moving_error: float
    flicker: float


def motion_of(frames: Sequence[Tensor], cuts: Sequence[int] = ()) -> list[Step | None]:
    """Return the motion from each frame of a video to the next.

    Args:
        frames: At least two, (1, 3, H, W) in [0, 1], all of one size.
        cuts: Numbers of the frames that begin a new scene.

    Returns:
        One step less than there are frames; None across a cut.

    Raises:
        InputError: Fewer than two frames, or OpenCV is not installed.
    """
    if len(frames) < 2:
        raise InputError(f"{len(frames)} frames given; stability is a matter of at least two")
    estimator = MotionEstimator(edge=None, same_look=None, fine=True)
    prepared = [estimator.prepare(frame) for frame in frames]
    size = tuple(frames[0].shape[-2:])
    steps: list[Step | None] = []
    for number, (first, second) in enumerate(zip(prepared, prepared[1:], strict=False), start=1):
        if number in cuts:
            steps.append(None)
            continue
        onward, back = estimator.between(first, second)
        steps.append(
            Step(
                back=estimator.motion(second, first, back, onward, size),
                onward=estimator.motion(first, second, onward, back, size),
            )
        )
    return steps


def measure_stability(painted: Sequence[Tensor], steps: Sequence[Step | None]) -> Stability:
    """Measure a painted video.

    Args:
        painted: The painted frames, (1, 3, H, W) in [0, 1].
        steps: The motion of the video they were painted from, from :func:`motion_of`.

    Raises:
        InputError: The numbers of frames and steps do not fit.
    """
    if len(steps) != len(painted) - 1:
        raise InputError(f"{len(painted)} painted frames given with {len(steps)} steps; one step less is accepted")
    pictures = [to_pixels(frame) for frame in painted]
    pairs = [
        (first, second, step.back)
        for first, second, step in zip(pictures, pictures[1:], steps, strict=False)
        if step is not None
    ]
    energies = [
        flicker_energy(*three, before.back, after.onward)
        for three, before, after in zip(
            zip(pictures, pictures[1:], pictures[2:], strict=False), steps, steps[1:], strict=False
        )
        if before is not None and after is not None
    ]
    return Stability(
        _mean([warping_error(*pair) for pair in pairs]),
        _mean([warping_error(*pair, moving=MOVING) for pair in pairs]),
        math.sqrt(_mean(energies)),
    )


def warping_error(before: Floats, painted: Floats, back: Motion, moving: float = 0.0) -> float:
    """Return the mean squared difference of a painted frame and the one before it along the motion.

    Args:
        before: The painted frame before it, (H, W, 3).
        painted: The painted frame, (H, W, 3).
        back: The motion from the frame to the one before it.
        moving: Pixels by which a pixel must have moved to count.

    Returns:
        Of values in [0, 1]; NaN where no pixel counts.
    """
    counts = _trusted(back)
    if moving:
        counts &= np.square(back.flow).sum(2) >= moving**2
    if not counts.any():
        return math.nan
    return float(np.square(painted - warp(before, back.flow))[counts].mean(dtype=np.float64))


def flicker_energy(before: Floats, painted: Floats, after: Floats, back: Motion, onward: Motion) -> float:
    """Return the mean square of the patches in which a painted frame differs from both its neighbours.

    Args:
        before: The painted frame before it, (H, W, 3).
        painted: The painted frame.
        after: The painted frame after it.
        back: The motion from the frame to the one before it.
        onward: The motion from the frame to the one after it.

    Returns:
        Of values in [0, 1]; NaN where no patch can be trusted.
    """
    trust = (_trusted(back) & _trusted(onward))[..., None]
    difference = painted - (warp(before, back.flow) + warp(after, onward.flow)) / 2
    covered = _patches(trust.astype(np.float32))
    means = _patches(difference * trust) / np.maximum(covered, 1e-6)
    counts = covered[..., 0] >= COVERED
    return float(np.square(means)[counts].mean(dtype=np.float64)) if counts.any() else math.nan


def _trusted(motion: Motion) -> np.ndarray:
    return motion.trust > 0.5


def _patches(pixels: Floats) -> Floats:
    """Return the means (h, w, C) of the patches of a picture (H, W, C); what is no whole patch is left out."""
    height, width, channels = pixels.shape
    side = min(PATCH, height, width)
    rows, columns = height // side, width // side
    whole = pixels[: rows * side, : columns * side]
    return whole.reshape(rows, side, columns, side, channels).mean((1, 3))


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the numbers among the values, NaN where there is none."""
    numbers = [value for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan
