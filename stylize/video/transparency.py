"""Transparency in clips: networks paint what is opaque, so it is laid over white, as in pictures and animations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

KEPT_APART = "alpha_mode"
"""Where WebM says that transparency lies beside the pictures; FFmpeg's own decoders of VP8 and VP9 do not read it."""


def may_be_transparent(frame: VideoFrame) -> bool:
    """Tell whether the pixels of a decoded frame have an alpha, or a palette that may have."""
    return frame.format.has_palette or any(one.is_alpha for one in frame.format.components)


def alpha_of(frame: VideoFrame, width: int, height: int) -> np.ndarray:
    """Return the alpha (height, width), uint8, of a decoded frame that may be transparent."""
    return frame.reformat(width, height, "rgba").to_ndarray()[..., 3]


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return pixels (H, W, 3), uint8, of which ``alpha`` (H, W), uint8, says how much is seen, laid over white."""
    opaque = alpha[..., None].astype(np.uint16)
    # 255 less what is missing of white; half of 255 is added, so that the division rounds.
    return (255 - ((255 - rgb.astype(np.uint16)) * opaque + 127) // 255).astype(np.uint8)


def transparency_note(frame: VideoFrame, stream: VideoStream) -> str | None:
    """Return what to tell the user of the transparency of a clip, by its first frame; None where it has none."""
    if may_be_transparent(frame):
        if not frame.format.has_palette or alpha_of(frame, frame.width, frame.height).min() < 255:
            return "what is transparent in it is painted on white"
        return None
    said = {name.lower(): value for name, value in stream.metadata.items()}
    if said.get(KEPT_APART) == "1":
        return "its transparency lies where it cannot be read, and is left out"
    return None
