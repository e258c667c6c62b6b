"""Optical flow: found where things move, trusted where it can be, and pictures warped along it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

from stylize.video.flow import MotionEstimator, to_frame, to_pixels, trusted, warp


def texture(height: int = 80, width: int = 110, seed: int = 0) -> torch.Tensor:
    """Return a smooth random picture (1, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 6, width // 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


def motion(estimator: MotionEstimator, first: torch.Tensor, second: torch.Tensor):
    """Return the motion from the second of two frames back to the first."""
    one, two = estimator.prepare(first), estimator.prepare(second)
    onward, back = estimator.between(one, two)
    return estimator.motion(two, one, back, onward, tuple(first.shape[-2:]))


def constant_flow(x: float, y: float, height: int = 20, width: int = 30) -> np.ndarray:
    return np.tile(np.float32([x, y]), (height, width, 1))


def test_frames_and_pixels_and_back():
    frame = texture()
    pixels = to_pixels(frame)
    assert pixels.shape == (80, 110, 3) and torch.equal(to_frame(pixels), frame)
    pixels[:] = 0
    assert frame.max() > 0  # A copy.


def test_warp_looks_where_the_flow_points():
    pixels = np.arange(20 * 30, dtype=np.float32).reshape(20, 30)
    moved = warp(pixels, constant_flow(2, 1))
    assert (moved[:-1, :-2] == pixels[1:, 2:]).all()
    assert (moved[-1] == np.append(pixels[-1, 2:], [pixels[-1, -1]] * 2)).all()
    halfway = warp(pixels, constant_flow(0.5, 0))
    assert halfway[3, 4] == pytest.approx(pixels[3, 4] + 0.5, abs=0.02)
    colours = np.stack([pixels] * 3, axis=2)
    assert (warp(colours, constant_flow(2, 1))[..., 1] == moved).all()


def test_sharp_warping_keeps_more_detail():
    pixels = np.random.default_rng(0).random((40, 40, 3), dtype=np.float32)
    half = constant_flow(0.5, 0.5, 40, 40)
    assert warp(pixels, half, sharp=True).std() > 1.1 * warp(pixels, half).std()


@pytest.mark.parametrize(("x", "y"), [(3, 0), (0, -2), (-4, 2)])
@pytest.mark.parametrize("fine", [False, True])
def test_a_shift_is_found(x, y, fine):
    large = texture(100, 130)
    first, second = large[..., 10:90, 10:120], large[..., 10 + y : 90 + y, 10 + x : 120 + x]
    found = motion(MotionEstimator(fine=fine), first, second)
    inside = found.trust > 0.5
    assert inside.mean() > 0.75
    assert np.abs(found.flow[inside] - [x, y]).mean() < 0.2
    brought = warp(to_pixels(first), found.flow)
    assert np.abs(brought - to_pixels(second))[inside].mean() < 0.02


def test_large_frames_are_reduced_and_the_flow_is_in_their_pixels():
    large = torch.nn.functional.interpolate(texture(100, 130), scale_factor=4, mode="bicubic").clamp(0, 1)
    first, second = large[..., 40:360, 40:480], large[..., 40:360, 52:492]
    estimator = MotionEstimator(edge=110)
    assert estimator.prepare(first).shape == (80, 110, 3)
    found = motion(estimator, first, second)
    assert found.flow.shape == (320, 440, 2) and found.trust.shape == (320, 440)
    assert np.abs(found.flow[found.trust > 0.5] - [12, 0]).mean() < 0.8


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 300), (33, 7)])
def test_small_frames_are_enlarged(height, width):
    frame = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    found = motion(MotionEstimator(), frame, frame)
    assert found.flow.shape == (height, width, 2) and np.abs(found.flow).max() < 0.5


def test_what_a_flow_uncovers_is_not_trusted():
    # A square moves by 8 pixels over a background that stands still: what it uncovers was not there before.
    ground, square = texture(96, 128, seed=1), texture(32, 32, seed=2)
    first, second = ground.clone(), ground.clone()
    first[..., 32:64, 40:72] = square
    second[..., 32:64, 48:80] = square
    found = motion(MotionEstimator(same_look=None), first, second)
    assert found.trust[34:62, 41:47].mean() < 0.5
    assert found.trust[:, 100:].mean() > 0.95


def test_trust_by_hand():
    flow = constant_flow(3, 0)
    assert trusted(flow, -flow).tolist() == [[1.0] * 27 + [0.0] * 3] * 20  # It leaves the frame at the right.
    assert not trusted(flow, flow).any()  # It leads further away, not back.
    # 0.75 and 0.9 pixels, squared: 0.56 <= 0.01 (9 + 5.06) + 0.5 is true, and 0.81 <= 0.01 (9 + 4.41) + 0.5 is not.
    assert trusted(flow, constant_flow(-2.25, 0))[:, :27].all()
    assert not trusted(flow, constant_flow(-2.1, 0)).any()
    torn = flow.copy()
    torn[10:] = 0
    trust = trusted(torn, -torn)
    assert not trust[9].any() and trust[8, :27].all() and trust[11].all()


def test_a_flash_is_not_trusted():
    frame = 0.5 * texture()
    flash = frame + 0.4
    assert motion(MotionEstimator(), frame, frame).trust.mean() > 0.95
    assert motion(MotionEstimator(), frame, flash).trust.max() < 0.01
