"""The measures of stability against hand values, and what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

from stylize.errors import InputError
from stylize.video.flow import Motion, to_pixels
from stylize.video.stability import Step, flicker_energy, measure_stability, motion_of, warping_error
from tests.test_video_flow import texture

HEIGHT, WIDTH = 32, 48


def motion(x: float = 0.0, y: float = 0.0, trust: np.ndarray | None = None) -> Motion:
    flow = np.tile(np.float32([x, y]), (HEIGHT, WIDTH, 1))
    return Motion(flow, np.ones((HEIGHT, WIDTH), np.float32) if trust is None else trust)


def grey(value: float) -> torch.Tensor:
    return torch.full((1, 3, HEIGHT, WIDTH), value)


STILL = Step(motion(), motion())


def test_the_warping_error_by_hand():
    before, painted = to_pixels(grey(0.5)), to_pixels(grey(0.5))
    painted[:, :12] = 0.9
    assert warping_error(before, painted, motion()) == pytest.approx(0.16 / 4)
    left = np.zeros((HEIGHT, WIDTH), np.float32)
    left[:, :12] = 1
    assert warping_error(before, painted, motion(trust=left)) == pytest.approx(0.16)
    assert math.isnan(warping_error(before, painted, motion(trust=0 * left)))
    assert math.isnan(warping_error(before, painted, motion(), moving=1.0))
    assert warping_error(before, painted, motion(0.8, 0.8), moving=1.0) == pytest.approx(0.16 / 4)


def test_what_moves_with_the_flow_has_no_error():
    large = to_pixels(texture(HEIGHT, WIDTH + 5))
    before, painted = large[:, :WIDTH], large[:, 5:]
    inside = np.ones((HEIGHT, WIDTH), np.float32)
    inside[:, -5:] = 0
    assert warping_error(before, painted, motion(5, trust=inside)) == pytest.approx(0, abs=1e-10)
    assert warping_error(before, painted, motion(trust=inside)) > 1e-3


def test_flicker_is_what_comes_and_goes():
    still, flash = to_pixels(grey(0.5)), to_pixels(grey(0.6))
    assert flicker_energy(still, flash, still, motion(), motion()) == pytest.approx(0.01, rel=1e-3)
    darker, brighter = to_pixels(grey(0.4)), to_pixels(grey(0.6))
    assert flicker_energy(darker, still, brighter, motion(), motion()) == pytest.approx(0, abs=1e-10)
    noise = np.random.default_rng(0).normal(0, 0.1, still.shape).astype(np.float32)
    # 64 values in a patch: its mean has 1/64 of their variance.
    assert flicker_energy(still, still + noise, still, motion(), motion()) == pytest.approx(0.01 / 64, rel=0.3)
    nowhere = np.zeros((HEIGHT, WIDTH), np.float32)
    assert math.isnan(flicker_energy(still, flash, still, motion(trust=nowhere), motion()))


def test_patches_of_which_too_little_is_trusted_do_not_count():
    still, painted = to_pixels(grey(0.5)), to_pixels(grey(0.5))
    painted[:, :3] = 1.0
    trust = np.ones((HEIGHT, WIDTH), np.float32)
    trust[:, 3:8] = 0  # 3 of 8 columns of the first patches remain, and those differ.
    assert flicker_energy(still, painted, still, motion(trust=trust), motion()) == pytest.approx(0, abs=1e-10)
    trust[:, 3] = 1  # 4 of 8, three of them 0.5 away.
    expected = (0.5 * 3 / 4) ** 2 / (WIDTH / 8)
    assert flicker_energy(still, painted, still, motion(trust=trust), motion()) == pytest.approx(expected, rel=1e-4)


def test_a_clip_by_hand():
    painted = [grey(0.5), grey(0.6), grey(0.5), grey(0.6)]
    measured = measure_stability(painted, [STILL, STILL, STILL])
    assert measured.warping_error == pytest.approx(0.01, rel=1e-4)
    assert measured.flicker == pytest.approx(0.1, rel=1e-4)
    assert math.isnan(measured.moving_error)
    across_a_cut = measure_stability([grey(0.5), grey(0.5), grey(0.9), grey(0.9)], [STILL, None, STILL])
    assert across_a_cut.warping_error == 0 and math.isnan(across_a_cut.flicker)


def test_the_average_of_pixels_trails_where_things_move():
    large = texture(64, 160, seed=3)
    frames = [large[..., 3 * k : 3 * k + 96].contiguous() for k in range(6)]
    steps = motion_of(frames)
    assert len(steps) == 5 and all(step is not None for step in steps)
    assert measure_stability(frames, steps).moving_error < 1e-4
    trailing = [frames[0]]
    for frame in frames[1:]:
        trailing.append(trailing[-1].lerp(frame, 0.5))
    assert measure_stability(trailing, steps).moving_error > 10 * measure_stability(frames, steps).moving_error


def test_cuts_are_left_out():
    frames = [texture(seed=1), texture(seed=1), texture(seed=2)]
    assert [step is None for step in motion_of(frames, cuts=[2])] == [False, True]


def test_bad_input():
    with pytest.raises(InputError, match="at least two"):
        motion_of([grey(0.5)])
    with pytest.raises(InputError, match="one step less"):
        measure_stability([grey(0.5)] * 3, [STILL])
