"""The colours of a clip: what its numbers mean, and the way from them to RGB and back.

A clip stores light and two colour differences. The matrix between them and RGB, and the range of the numbers, differ
from clip to clip: read with the wrong ones, reds turn orange and blacks grey. Frames are painted as RGB with the
primaries and the transfer curve of the clip, and written with the matrix, range, primaries and curve that it had, and
marked so. RGB sources (GIF, pictures) become BT.709 of limited range, which every player knows.

Numbers are those of ITU-T H.273, which FFmpeg uses too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stylize.errors import InputError
from stylize.video.transparency import alpha_of, may_be_transparent, over_white

if TYPE_CHECKING:
    from av import VideoFrame

UNSPECIFIED = 2
LIMITED, FULL = 1, 2

BT709, SMPTE170M, BT2020 = 1, 6, 9

MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""Matrices that can be converted, and their numbers in swscale (BT.601 has one, whatever it is called)."""

TRANSFER_NAMES = {16: "PQ", 18: "HLG"}
"""Transfer curves of high dynamic range."""

BY_HAND = frozenset((BT2020,))
"""Matrices that are computed here: PyAV knows them from version 18 on, which needs Python 3.11."""

SHARES = {BT2020: (0.2627, 0.0593)}
"""Of red and of blue in the light."""

RGB_MATRIX = 0

# Bilinear, exact rounding, colour at every pixel: right to 2 levels, at little cost (measured on ramps).
_EXACT = 2 | 0x40000 | 0x2000


@dataclass(frozen=True)
class Colour:
    """What the numbers of a clip mean.

    Attributes:
        matrix: Between the stored numbers and RGB; 0 for a clip that stores RGB.
        range: 1 = limited (16..235), 2 = full (0..255).
        primaries: Which red, green and blue.
        transfer: Curve between numbers and light.
    """

    matrix: int = BT709
    range: int = LIMITED
    primaries: int = BT709
    transfer: int = BT709

    @property
    def hdr(self) -> str | None:
        """Name of the curve of high dynamic range, or None."""
        return TRANSFER_NAMES.get(self.transfer)

    @property
    def written(self) -> Colour:
        """What the painted clip gets: the same, or BT.709 for RGB and for what was tone-mapped to it."""
        if self.hdr is not None:
            return Colour()
        if self.matrix == RGB_MATRIX:
            return Colour(transfer=BT709)
        return self


def colour_of(frame: VideoFrame, name: str) -> Colour:
    """Return what the numbers of a decoded frame mean.

    A matrix that is not given is BT.709 from 1280 pixels of width or above 576 of height, else BT.601: what players
    take, and the painted clip says it.

    Args:
        frame: The frame.
        name: What error messages call its clip.

    Raises:
        InputError: Its colours are stored in a way that cannot be converted.
    """
    matrix, pixel_format = int(frame.colorspace), frame.format
    if pixel_format.is_rgb or pixel_format.has_palette:
        return Colour(RGB_MATRIX, FULL, int(frame.color_primaries), int(frame.color_trc))
    if matrix in (RGB_MATRIX, 3, UNSPECIFIED):
        matrix = BT709 if frame.width >= 1280 or frame.height > 576 else SMPTE170M
    if matrix not in MATRICES:
        raise InputError(
            f"{name} stores its colours in a way that cannot be read (matrix {matrix} of H.273); convert it to BT.709 "
            "first"
        )
    full = int(frame.color_range) == FULL or pixel_format.name.startswith("yuvj")
    return Colour(matrix, FULL if full else LIMITED, int(frame.color_primaries), int(frame.color_trc))


def to_rgb(frame: VideoFrame, colour: Colour, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a decoded frame as RGB of 8 bits, tone-mapped where it is of high dynamic range, on white where
    it is transparent.

    Args:
        frame: The frame.
        colour: What its numbers mean.
        size: Width and height of the result; None keeps those of the frame.

    Returns:
        (H, W, 3), uint8.
    """
    width, height = size or (frame.width, frame.height)
    scaled = (width, height) != (frame.width, frame.height)
    deep = colour.hdr is not None
    # Area averaging makes no noise when it makes smaller; Lanczos keeps edges when it makes larger.
    method = _EXACT if not scaled else (_EXACT & ~2) | (0x20 if width < frame.width else 0x200)
    if colour.matrix in BY_HAND:
        same = {"src_color_range": colour.range, "dst_color_range": colour.range}
        planes = frame.reformat(width, height, "yuv444p16le" if deep else "yuv444p", interpolation=method, **same)
        rgb = _rgb_of(planes.to_ndarray(), colour)
    else:
        rgb = _by_swscale(frame, colour, width, height, method, deep)
    if deep:
        from stylize.video.tone_mapping import tone_map

        rgb = tone_map(rgb, colour.hdr or "PQ", wide=colour.primaries in (BT2020, UNSPECIFIED))
    return over_white(rgb, alpha_of(frame, width, height)) if may_be_transparent(frame) else rgb


def _by_swscale(frame: VideoFrame, colour: Colour, width: int, height: int, method: int, deep: bool) -> np.ndarray:
    """Return a decoded frame as RGB of 8 or 16 bits."""
    settings: dict[str, int] = {} if colour.matrix == RGB_MATRIX else {
        "src_colorspace": MATRICES[colour.matrix],
        "src_color_range": colour.range,
        "dst_color_range": FULL,
    }  # fmt: skip
    return frame.reformat(width, height, "rgb48le" if deep else "rgb24", interpolation=method, **settings).to_ndarray()


def _rgb_of(planes: np.ndarray, colour: Colour) -> np.ndarray:
    """Return RGB (H, W, 3) of planes (3, H, W) of light and two colour differences, in the same number of bits."""
    largest = float(np.iinfo(planes.dtype).max)
    unit = (largest + 1) / 256  # one step of 8 bits
    base, light_range, colour_range = (
        (0, largest, largest) if colour.range == FULL else (16 * unit, 219 * unit, 224 * unit)
    )
    red_share, blue_share = SHARES[colour.matrix]
    light = (planes[0].astype(np.float32) - base) / light_range
    blue = light + 2 * (1 - blue_share) * (planes[1].astype(np.float32) - 128 * unit) / colour_range
    red = light + 2 * (1 - red_share) * (planes[2].astype(np.float32) - 128 * unit) / colour_range
    green = (light - red_share * red - blue_share * blue) / (1 - red_share - blue_share)
    rgb = np.stack((red, green, blue), axis=-1)
    return np.rint(rgb.clip(0, 1) * largest).astype(planes.dtype)


def _planes_of(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """Return the planes (3, H, W), uint8, of RGB of 8 bits (H, W, 3); the inverse of :func:`_rgb_of`."""
    base, light_range, colour_range = (0, 255, 255) if colour.range == FULL else (16, 219, 224)
    red_share, blue_share = SHARES[colour.matrix]
    red, green, blue = (pixels[..., channel].astype(np.float32) / 255 for channel in range(3))
    light = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    planes = (
        base + light_range * light,
        128 + colour_range * (blue - light) / (2 * (1 - blue_share)),
        128 + colour_range * (red - light) / (2 * (1 - red_share)),
    )
    return np.rint(np.stack(planes)).clip(0, 255).astype(np.uint8)


def from_rgb(pixels: np.ndarray, colour: Colour, pixel_format: str) -> VideoFrame:
    """Return RGB of 8 bits (H, W, 3) as a frame of the numbers that ``colour`` means, marked so."""
    from stylize.video.pyav import import_av

    make = import_av().VideoFrame.from_ndarray
    if colour.matrix in BY_HAND:
        frame = make(_planes_of(pixels, colour), format="yuv444p")
        settings = {"src_color_range": colour.range}
    else:
        frame = make(np.ascontiguousarray(pixels), format="rgb24")
        settings = {"src_color_range": FULL, "dst_colorspace": MATRICES[colour.matrix]}
    converted = frame.reformat(format=pixel_format, dst_color_range=colour.range, interpolation=_EXACT, **settings)
    converted.colorspace, converted.color_range = colour.matrix, colour.range
    return converted
