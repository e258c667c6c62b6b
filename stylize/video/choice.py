"""What paints a clip, by how steady it shall be."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from stylize.controls import PLAIN, Controls

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.stylizer import Stylizer
    from stylize.video.segments import Painter

OFF, STATISTICS, FLOW = STABILITIES = ("off", "statistics", "flow")

SMOOTHING_ENGINE = "torch"
"""The engine whose statistics can be smoothed."""


def usable_stability(wanted: str | None, stylizer: Stylizer, usual: str = FLOW) -> tuple[str, str | None]:
    """Return how steady a clip is painted, and a note where that is not what is usual.

    Args:
        wanted: One of :data:`STABILITIES`; None takes what is usual, or the nearest to it that can be had here.
        stylizer: The network.
        usual: The flow, or the statistics where every frame counts, as with a camera.
    """
    if wanted is not None:
        return wanted, None
    if usual == FLOW:
        if importlib.util.find_spec("cv2") is not None:
            return FLOW, None
        stability, note = usable_stability(None, stylizer, STATISTICS)
        return stability, note or "strokes are not carried along without OpenCV; pip install 'stylize[video]'"
    if stylizer.engine.name == SMOOTHING_ENGINE:
        return STATISTICS, None
    note = f"statistics cannot be smoothed with {stylizer.engine.name}: every frame is painted for itself"
    return OFF, f"{note} (--engine {SMOOTHING_ENGINE} smooths them)"


def make_painter(
    stylizer: Stylizer, stability: str, rate: float, controls: Controls = PLAIN, mask: Tensor | None = None
) -> Painter:
    """Return what paints frame after frame.

    Args:
        stylizer: The network.
        stability: One of :data:`STABILITIES`.
        rate: Frames per second.
        controls: How every frame is painted.
        mask: Where, (1, 1, H, W) in [0, 1]; None is everywhere.

    Raises:
        InputError: Something that is needed for it is not installed, or the engine cannot do it.
    """
    painter = _painter_of_whole_frames(stylizer, stability, rate, controls)
    if mask is None:
        return painter
    from stylize.video.masked_painter import MaskedPainter

    return MaskedPainter(painter, mask)


def _painter_of_whole_frames(stylizer: Stylizer, stability: str, rate: float, controls: Controls) -> Painter:
    # With a strength of 0 there are no strokes that could flicker, and nothing of the clip is to be blurred.
    if stability == OFF or stylizer.strength == 0:
        from stylize.video.plain_painter import PlainPainter

        return PlainPainter(stylizer, controls)
    from stylize.video.painter import SMOOTHING, FramePainter

    flow = stability == FLOW
    # The flow does without statistics where an engine has none to give.
    smoothing = None if flow and stylizer.engine.name != SMOOTHING_ENGINE else SMOOTHING
    return FramePainter(stylizer, smoothing=smoothing, flow=flow, grid=True, frame_rate=rate, controls=controls)
