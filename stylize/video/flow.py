"""Optical flow between two frames, where it can be trusted, and warping along it.

The flow is that of Kroeger et al. (DIS), as OpenCV has it. It is not trusted

- where it leaves the frame;
- where the flow back does not lead back to where it came from: an occlusion (Sundaram et al., section 4);
- where it changes abruptly: it is blurred across the edge of something that moves (Ruder et al., section 4);
- where the two frames look different along it, as in a flash, a reflection or a shadow.

References:
    Kroeger, Timofte, Dai, Van Gool 2016, "Fast Optical Flow using Dense Inverse Search", arXiv 1603.03590.
    Sundaram, Brox, Keutzer 2010, "Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow".
    Ruder, Dosovitskiy, Brox 2016, "Artistic Style Transfer for Videos", arXiv 1604.08610, section 4.3.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stylize.errors import InputError

Floats = NDArray[np.float32]

FLOW_EDGE = 384
"""Long edge, in pixels, at which flow is estimated for painting: larger frames are reduced to it."""

SMALLEST = 48
"""Short edge in pixels to which smaller frames are enlarged: OpenCV's flow needs a few of its patches."""

LEAD_BACK = (0.01, 0.5)
"""Forward and backward flow may differ by this part of their squared lengths, and this many squared pixels."""

EDGE_OF_MOTION = (0.01, 0.002)
"""The squared gradient of the flow may be this part of its squared length, and this much."""

SAME_LOOK = 0.1
"""Mean difference of the colours, in [0, 1], of two frames along the flow at which trust has fallen to 1/e."""


@dataclass(frozen=True)
class Motion:
    """Where each pixel of a frame was, or will be, in another one.

    Attributes:
        flow: (H, W, 2) float32 in pixels, to the right and down: pixel (x, y) is found at (x, y) + flow[y, x] in the
            other frame.
        trust: (H, W) float32 from 0, no counterpart, to 1.
    """

    flow: Floats
    trust: Floats


def opencv() -> ModuleType:
    """Return the module ``cv2``.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError:
        raise InputError("optical flow needs OpenCV; pip install 'stylize[video]'") from None


class MotionEstimator:
    """Finds the motion between frames.

    Args:
        edge: Long edge in pixels at which flow is estimated; larger frames are reduced to it. None: never reduced.
        same_look: See :data:`SAME_LOOK`; None trusts the flow whatever the colours along it.
        fine: Whether to take OpenCV's slower, finer settings, for measuring.

    Raises:
        InputError: OpenCV is not installed.
    """

    def __init__(
        self, edge: int | None = FLOW_EDGE, same_look: float | None = SAME_LOOK, *, fine: bool = False
    ) -> None:
        self.edge, self.same_look = edge, same_look
        self._cv2 = opencv()
        # The presets "fast" and "medium". Both stop at a quarter of the resolution, where small motion is lost.
        self._dis = self._cv2.DISOpticalFlow_create(2 if fine else 1)
        self._dis.setFinestScale(0 if fine else 1)

    def prepare(self, frame: Tensor) -> Floats:
        """Return a frame (1, 3, H, W) in [0, 1] as (h, w, 3) in [0, 1], of the size at which flow is estimated."""
        height, width = frame.shape[-2:]
        ratio = 1.0 if self.edge is None else min(1.0, self.edge / max(height, width))
        ratio = max(ratio, SMALLEST / min(height, width))
        size = max(SMALLEST, round(ratio * width)), max(SMALLEST, round(ratio * height))
        # Most of the way by whole numbers, before the channels are brought together: that is several times faster.
        step = int(1 / ratio)
        if step > 1:
            frame = F.avg_pool2d(frame, step)
        pixels = to_pixels(frame)
        if pixels.shape[1::-1] == size:
            return pixels
        kind = self._cv2.INTER_AREA if ratio < 1 else self._cv2.INTER_LINEAR
        return self._cv2.resize(pixels, size, interpolation=kind)

    def flow(self, first: Floats, second: Floats) -> Floats:
        """Return the flow (h, w, 2) from the first to the second of two prepared frames."""
        return self._dis.calc(self._grey(first), self._grey(second), None)

    def between(self, first: Floats, second: Floats) -> tuple[Floats, Floats]:
        """Return the flow (h, w, 2) from the first to the second of two prepared frames, and the flow back."""
        return self.flow(first, second), self.flow(second, first)

    def motion(self, here: Floats, there: Floats, flow: Floats, back: Floats, size: tuple[int, int]) -> Motion:
        """Return the motion from one frame to another.

        Args:
            here: The prepared frame whose pixels are asked for.
            there: The prepared frame in which they are sought.
            flow: The flow from ``here`` to ``there``, (h, w, 2).
            back: The flow from ``there`` to ``here``.
            size: Height and width of the frames before they were prepared.
        """
        trust = trusted(flow, warp(back, flow))
        if self.same_look is not None:
            difference = self._cv2.absdiff(here, warp(there, flow)) @ np.full(3, 1 / 3, np.float32)
            difference = self._cv2.blur(difference, (5, 5)) / self.same_look
            trust *= np.exp(-difference * difference)
        height, width = size
        small_height, small_width = trust.shape
        if (small_height, small_width) != size:
            flow = self._cv2.resize(flow, (width, height)) * np.float32([width / small_width, height / small_height])
            trust = self._cv2.resize(trust, (width, height))
        return Motion(flow, trust)

    def _grey(self, pixels: Floats) -> NDArray[np.uint8]:
        grey = self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2GRAY)
        return self._cv2.convertScaleAbs(grey, alpha=255.0)


def to_pixels(frame: Tensor) -> Floats:
    """Return a frame (1, 3, H, W) as an array (H, W, 3) in memory of its own."""
    # By torch, which rearranges with all its threads, where numpy has one.
    pixels = torch.empty(*frame.shape[-2:], frame.shape[1])
    return pixels.copy_(frame[0].detach().permute(1, 2, 0)).numpy()


def to_frame(pixels: Floats) -> Tensor:
    """Return an array (H, W, 3) as a frame (1, 3, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()


def warp(pixels: Floats, flow: Floats, *, sharp: bool = False) -> Floats:
    """Return what a picture shows where the flow points: result(x, y) = pixels((x, y) + flow(x, y)).

    Args:
        pixels: (H, W) or (H, W, C).
        flow: (H, W, 2) in pixels.
        sharp: Interpolate by cubic polynomials, which keep more detail but may leave the range of the values, instead
            of linearly.

    Returns:
        An array of the shape of ``pixels``; beyond the edge its last row or column goes on.
    """
    cv2 = opencv()
    x, y = _targets(flow)
    kind = cv2.INTER_CUBIC if sharp else cv2.INTER_LINEAR
    return cv2.remap(pixels, x, y, kind, borderMode=cv2.BORDER_REPLICATE)


def trusted(flow: Floats, back: Floats) -> Floats:
    """Return where a flow can be trusted, (H, W) of 0 and 1.

    Args:
        flow: (H, W, 2) in pixels.
        back: (H, W, 2): the flow back, taken from where ``flow`` points.

    Reference: Ruder et al., equations 5 and 6, with the numbers of Sundaram et al.
    """
    height, width = flow.shape[:2]
    x, y = _targets(flow)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    length = _squares(flow)
    part, constant = LEAD_BACK
    leads_back = _squares(flow + back) <= part * (length + _squares(back)) + constant
    down, right = np.zeros_like(flow), np.zeros_like(flow)
    np.subtract(flow[1:], flow[:-1], out=down[:-1])
    np.subtract(flow[:, 1:], flow[:, :-1], out=right[:, :-1])
    part, constant = EDGE_OF_MOTION
    smooth = _squares(down) + _squares(right) <= part * length + constant
    return (inside & leads_back & smooth).astype(np.float32)


def _targets(flow: Floats) -> tuple[Floats, Floats]:
    """Return x and y, (H, W) each, of where a flow points."""
    height, width = flow.shape[:2]
    return flow[..., 0] + np.arange(width, dtype=np.float32), flow[..., 1] + np.arange(height, dtype=np.float32)[
        :, None
    ]


def _squares(vectors: Floats) -> Floats:
    """Return the squared lengths (H, W) of vectors (H, W, 2)."""
    x, y = vectors[..., 0], vectors[..., 1]
    return x * x + y * y
