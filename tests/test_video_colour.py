"""What the numbers of a clip mean, and how it lies in its file."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from stylize.errors import InputError
from stylize.video.colour import FULL, LIMITED, Colour, colour_of, from_rgb, to_rgb
from stylize.video.orientation import UPRIGHT, Orientation, read_display_matrix
from stylize.video.tone_mapping import PAPER_WHITE, bend, hlg_to_scene, light_to_pq, pq_to_light, tone_map
from stylize.video.transparency import may_be_transparent, over_white, transparency_note

av = pytest.importorskip("av")

LUMA = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Shares of red and blue in the light (H.273), by matrix."""


def numbers_of(rgb: tuple[int, int, int], matrix: int, full: bool) -> tuple[float, float, float]:
    """Return what the standards say is stored for a colour."""
    red_share, blue_share = LUMA[matrix]
    red, green, blue = (level / 255 for level in rgb)
    light = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    u, v = (blue - light) / (2 * (1 - blue_share)), (red - light) / (2 * (1 - red_share))
    return (255 * light, 128 + 255 * u, 128 + 255 * v) if full else (16 + 219 * light, 128 + 224 * u, 128 + 224 * v)


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize("rgb", [(255, 255, 255), (0, 0, 0), (200, 50, 30), (10, 120, 250)])
def test_stored_numbers_are_those_of_the_standard(matrix, span, rgb):
    colour = Colour(matrix, span)
    frame = from_rgb(np.full((16, 32, 3), rgb, np.uint8), colour, "yuv420p")
    stored = frame.to_ndarray().reshape(-1)
    found = (stored[0], stored[16 * 32], stored[16 * 32 + 8 * 16])
    assert np.abs(np.subtract(found, numbers_of(rgb, matrix, span == FULL), dtype=float)).max() <= 1
    assert np.abs(to_rgb(frame, colour).astype(int) - rgb).max() <= 2
    assert (int(frame.colorspace), int(frame.color_range)) == (matrix, span)


def test_what_a_clip_does_not_say_is_taken_as_players_do():
    assert colour_of(av.VideoFrame(640, 480, "yuv420p"), "clip").matrix == 6
    assert colour_of(av.VideoFrame(1280, 720, "yuv420p"), "clip").matrix == 1
    assert colour_of(av.VideoFrame(640, 480, "yuvj420p"), "clip").range == FULL
    assert colour_of(av.VideoFrame(640, 480, "rgb24"), "clip").written == Colour()
    odd = SimpleNamespace(
        colorspace=8, format=SimpleNamespace(is_rgb=False, has_palette=False, name="yuv444p"), width=9, height=9
    )
    with pytest.raises(InputError, match="convert it to BT.709"):
        colour_of(odd, "clip")


def test_scaling():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = 255
    frame = from_rgb(pixels, Colour(), "yuv420p")
    for width, height in ((30, 20), (120, 80)):
        small = to_rgb(frame, Colour(), (width, height))
        assert small.shape == (height, width, 3)
        assert small[:, : width // 3].max() < 6 and small[:, -width // 3 :].min() > 249


def matrix_of(a: int, b: int, c: int, d: int) -> bytes:
    one = 1 << 16
    return struct.pack("=9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)


def test_display_matrices():
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)  # 0 1 2 / 3 4 5
    for numbers, expected in (
        ((1, 0, 0, 1), [[0, 1, 2], [3, 4, 5]]),
        ((-1, 0, 0, -1), [[5, 4, 3], [2, 1, 0]]),
        ((-1, 0, 0, 1), [[2, 1, 0], [5, 4, 3]]),
        ((0, 1, -1, 0), [[3, 0], [4, 1], [5, 2]]),  # x' = -y, y' = x: a quarter turn with the clock
        ((0, -1, 1, 0), [[2, 5], [1, 4], [0, 3]]),
        ((0, 1, 1, 0), [[0, 3], [1, 4], [2, 5]]),
    ):
        turn = read_display_matrix(matrix_of(*numbers))
        assert turn.upright(pixels)[..., 0].tolist() == expected
        assert turn.size(3, 2) == (len(expected[0]), len(expected))
    assert read_display_matrix(struct.pack("=9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)) is None
    assert read_display_matrix(b"short") is None
    assert UPRIGHT == Orientation(False, False, False)


def test_pq_and_hlg_have_the_values_of_the_standard():
    # BT.2100: PQ of 100 cd/m2 is 0.508, of 10,000 is 1; BT.2408: 203 cd/m2 is 58 % of PQ.
    assert light_to_pq(np.array([100.0, 10000.0, 203.0])) == pytest.approx([0.508, 1.0, 0.58], abs=1e-3)
    light = np.array([0.01, 1.0, 100.0, 4000.0])
    assert pq_to_light(light_to_pq(light)) == pytest.approx(light, rel=1e-6)
    assert hlg_to_scene(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 1 / 12, 1.0], abs=1e-4)


def test_bright_light_is_bent_and_dark_light_stays():
    light = np.linspace(0.1, 1000, 500)
    bent = bend(light)
    assert (np.diff(bent) >= 0).all()
    assert bent[light < 80] == pytest.approx(light[light < 80], rel=1e-6)
    assert bent[-1] == pytest.approx(PAPER_WHITE, rel=1e-3)


def test_tone_mapping():
    signal = np.round(65535 * light_to_pq(np.array([0.0, 50.0, 1000.0, 4000.0]))).astype(np.uint16)
    grey = np.repeat(signal[None, :, None], 3, axis=2)
    mapped = tone_map(grey, "PQ", wide=True)
    assert mapped.shape == (1, 4, 3) and mapped.dtype == np.uint8
    assert mapped[0, :, 0].tolist() == pytest.approx([0, 255 * (50 / 203) ** (1 / 2.4), 255, 255], abs=2)
    assert np.ptp(mapped.astype(int), axis=2).max() <= 1  # grey stays grey
    red = np.array([[[signal[1], 0, 0]]], np.uint16)
    wide, narrow = tone_map(red, "PQ", wide=True)[0, 0], tone_map(red, "PQ", wide=False)[0, 0]
    assert wide[0] > narrow[0] and wide[1] == wide[2] == 0  # red of BT.2020 lies beyond that of BT.709
    assert tone_map(np.full((1, 1, 3), 65535, np.uint16), "HLG", wide=True).min() >= 254


def test_transparency_is_laid_over_white():
    rgb = np.array([[[200, 0, 30], [200, 0, 30], [200, 0, 30]]], np.uint8)
    alpha = np.array([[255, 0, 51]], np.uint8)
    # 51 is a fifth: 255 - (255 - 200) / 5 and so on.
    assert over_white(rgb, alpha).tolist() == [[[200, 0, 30], [255, 255, 255], [244, 204, 210]]]


def test_which_clips_are_transparent():
    said = SimpleNamespace(metadata={"ALPHA_MODE": "1"})
    silent = SimpleNamespace(metadata={})
    opaque = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 9, np.uint8))
    assert transparency_note(opaque, silent) is None
    assert "cannot be read" in transparency_note(opaque, said)
    clear = av.VideoFrame.from_ndarray(np.full((16, 16, 4), 9, np.uint8), format="rgba")
    assert "on white" in transparency_note(clear, silent)
    assert not may_be_transparent(opaque) and may_be_transparent(clear)
