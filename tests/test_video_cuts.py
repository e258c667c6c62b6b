"""Cuts are found; flashes, fades, noise and movement are none."""

from __future__ import annotations

import pytest
import torch

from stylize.images import to_tensor
from stylize.video.cuts import CutDetector, colours_changed, structure_changed, thumbnail
from tests.helpers import synthetic_image


def scene(kind: int, shift: int = 0) -> torch.Tensor:
    """Return a frame (1, 3, 90, 120) of one of three scenes, its camera moved by some pixels."""
    if kind == 0:
        return to_tensor(synthetic_image(200, 90, seed=1))[..., shift : shift + 120].contiguous()
    generator = torch.Generator().manual_seed(kind)
    coarse = torch.rand(1, 3, 7, 16, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, size=(90, 220), mode="bicubic").clamp(0, 1)
    return picture[..., shift : shift + 120].contiguous()


def found(frames: list[torch.Tensor]) -> list[int]:
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.is_cut(frame)]


def test_cuts_are_found():
    frames = [scene(0)] * 3 + [scene(1)] * 3 + [scene(2)] * 3 + [scene(1)]
    assert found(frames) == [3, 6, 9]


def test_the_first_frame_and_the_first_after_a_reset_are_none():
    detector = CutDetector()
    assert not detector.is_cut(scene(0))
    detector.reset()
    assert not detector.is_cut(scene(1))
    assert detector.is_cut(scene(2))


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_movement_is_none(kind):
    assert found([scene(kind, shift) for shift in range(0, 80, 4)]) == []


def test_noise_is_none():
    generator = torch.Generator().manual_seed(0)
    frames = [(scene(1) + 0.1 * torch.randn(1, 3, 90, 120, generator=generator)).clamp(0, 1) for _ in range(5)]
    assert found(frames) == []


@pytest.mark.parametrize("gain", [0.4, 1.8])
@pytest.mark.parametrize("offset", [-0.2, 0.0, 0.3])
def test_flashes_and_jumps_of_exposure_are_none(gain, offset):
    flash = (gain * scene(1) + offset).clamp(0, 1)
    assert colours_changed(thumbnail(scene(1)), thumbnail(flash)) > 0.2  # The histograms alone would say so.
    assert found([scene(1), scene(1), flash, flash, scene(1), scene(1)]) == []


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_frames_of_one_colour_are_passed_over(value):
    flat = torch.full((1, 3, 90, 120), value)
    assert found([scene(1), flat, flat, scene(1)]) == []
    assert found([scene(1), flat, flat, scene(2)]) == [3]


def test_a_fade_is_none_and_the_scene_after_black_is_a_cut():
    fade = [k / 12 * scene(1) for k in range(12, -1, -1)]
    assert found(fade + fade[::-1]) == []
    other = [k / 12 * scene(2) for k in range(13)]
    cuts = found(fade + other)
    assert len(cuts) == 1 and 13 <= cuts[0] <= 16


def test_a_slow_dissolve_is_none():
    assert found([torch.lerp(scene(1), scene(2), k / 24) for k in range(25)]) == []


def test_scenes_of_the_same_colours_are_told_apart_by_their_structure():
    other = scene(1).flip(2)
    assert colours_changed(thumbnail(scene(1)), thumbnail(other)) < 0.02
    assert found([scene(1), other]) == [1]


def test_the_measures_by_hand():
    black, white = torch.zeros(3, 24, 32), torch.ones(3, 24, 32)
    half = black.clone()
    half[:, :12] = 1
    assert colours_changed(black, white) == 1 and colours_changed(black, black) == 0
    assert colours_changed(black, half) == pytest.approx(0.5)
    assert structure_changed(half, half / 2 + 0.1) == pytest.approx(0, abs=1e-5)
    assert structure_changed(half, 1 - half) == pytest.approx(2, abs=1e-5)
    assert structure_changed(half, black) == 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 700)])
def test_any_size(height, width):
    detector = CutDetector()
    for seed in range(2):
        frame = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
        assert detector.is_cut(frame) in (True, False)
