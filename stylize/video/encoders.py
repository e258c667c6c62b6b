"""What painted clips are encoded with."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from stylize.errors import InputError

CLIP_SUFFIXES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes of video files that are written, and FFmpeg's names of their formats."""

QUALITY_RANGE = (0, 51)
DEFAULT_QUALITY = 20
"""The constant rate factor (CRF) of x264: lower is better and larger, 6 less is twice the size. 18 to 23 looks like the
frames that were painted; 20 keeps strokes crisp."""

BITS_PER_PIXEL = 0.25
"""Of a painted clip at quality 20, more or less: strokes are hard to compress (a rule of thumb)."""


@dataclass(frozen=True)
class Encoder:
    """An encoder and how it is set.

    Attributes:
        name: FFmpeg's name of it.
        label: What people call what it makes.
        settings: Quality as of x264 -> its own options.
        even: Whether width and height must be even.
    """

    name: str
    label: str
    settings: Callable[[int], dict[str, str]]
    even: bool = True


H264 = (
    Encoder("libx264", "H.264", lambda quality: {"crf": str(quality), "preset": "medium"}),
    Encoder("libopenh264", "H.264", lambda quality: _openh264(quality)),
    Encoder("mpeg4", "MPEG-4", lambda quality: _quantiser(quality), even=False),
)  # fmt: skip
VP9 = (
    Encoder("libvpx-vp9", "VP9", lambda quality: _vp9(quality), even=False),
    Encoder("libvpx", "VP8", lambda quality: _vp9(quality) | {"qmin": "0", "qmax": "63"}, even=False),
)


def _openh264(quality: int) -> dict[str, str]:
    """It has no constant quality; quantisers near the number of x264 come close."""
    return {"rc_mode": "quality", "qmin": str(max(1, quality)), "qmax": str(min(51, quality + 2))}


def _vp9(quality: int) -> dict[str, str]:
    """31 of VP9 looks like 23 of x264 (the recommendations of both)."""
    return {"crf": str(min(63, round(quality * 31 / 23))), "b": "0", "row-mt": "1", "cpu-used": "4"}


def _quantiser(quality: int) -> dict[str, str]:
    """MPEG-4 has quantisers from 2 to 31."""
    step = str(max(2, round(quality * 31 / QUALITY_RANGE[1])))
    return {"qmin": step, "qmax": step, "b": "0"}


def choose_encoder(suffix: str, available: Collection[str]) -> tuple[Encoder, str | None]:
    """Return the encoder for a suffix, and a note where it is not the usual one.

    Args:
        suffix: One of :data:`CLIP_SUFFIXES`.
        available: FFmpeg's names of what it can encode and decode with.

    Raises:
        InputError: None of those for the suffix is there.
    """
    wanted = VP9 if suffix.lower() == ".webm" else H264
    for encoder in wanted:
        if encoder.name in available:
            usual = encoder is wanted[0]
            note = None if usual else f"the encoder {wanted[0].name} is missing in this FFmpeg; {encoder.name} is taken"
            return encoder, note
    names = ", ".join(encoder.name for encoder in wanted)
    raise InputError(f"this FFmpeg has no encoder for {suffix} (looked for {names}); write frames to a folder instead")


def estimated_bytes(width: int, height: int, frames: int, quality: int) -> int:
    """Return how large a painted clip will be, within a factor of two or three."""
    return round(width * height * frames * BITS_PER_PIXEL / 8 * 2 ** ((DEFAULT_QUALITY - quality) / 6))
