"""The details of a blended picture get their strength back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cv2")

from stylize.video.detail import STRONGEST, Floats, with_detail_of


def noise(seed: int, height: int = 64, width: int = 48) -> Floats:
    return np.random.default_rng(seed).uniform(0, 1, (height, width, 3)).astype(np.float32)


def fine_energy(picture: Floats) -> float:
    """Return the energy above the middle of the frequencies, by the Fourier transform."""
    transformed = np.fft.fft2(picture, axes=(0, 1))
    rows, columns = (np.abs(np.fft.fftfreq(count)) for count in picture.shape[:2])
    return float(np.square(np.abs(transformed[np.maximum.outer(rows, columns) > 0.25])).sum())


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 9))
def test_a_picture_has_its_own_detail(height: int, width: int, seed: int):
    picture = noise(seed, height, width)
    restored = with_detail_of(picture, picture)
    assert restored.shape == picture.shape and restored.dtype == np.float32
    np.testing.assert_allclose(restored, picture, atol=1e-5)


def test_what_a_blend_of_independent_strokes_lost_comes_back():
    first, second = noise(0), noise(1)
    blended = (first + second) / 2
    # Half of the variance, by hand; 1.5^2 is the most that can be given back of the missing factor 2.
    assert fine_energy(blended) == pytest.approx(fine_energy(second) / 2, rel=0.1)
    restored = with_detail_of(blended, second)
    assert fine_energy(restored) == pytest.approx(fine_energy(second), rel=0.1)
    # They are the strokes of the blend, only stronger.
    detail, stronger = (one - one.mean((0, 1)) for one in (blended, restored))
    assert np.vdot(detail, stronger) / np.linalg.norm(detail) / np.linalg.norm(stronger) > 0.98


def test_colours_and_coarse_shapes_stay():
    ramp = np.tile(np.linspace(0, 1, 96, dtype=np.float32)[None, :, None], (96, 1, 3))
    blended = 0.5 * ramp + 0.25
    restored = with_detail_of(blended + 0.01 * noise(2, 96, 96), ramp + 0.02 * noise(3, 96, 96))
    inner = restored[16:-16, 16:-16] - blended[16:-16, 16:-16]
    assert abs(float(inner.mean()) - 0.005) < 1e-3 and np.abs(inner).max() < 0.03


def test_no_factor_is_beyond_the_strongest():
    faint, strong = 0.5 + 0.001 * noise(4), noise(5)
    restored = with_detail_of(faint, strong)
    assert np.ptp(restored) <= STRONGEST * np.ptp(faint) * 1.5
    assert fine_energy(restored) == pytest.approx(STRONGEST**2 * fine_energy(faint), rel=0.05)
    assert fine_energy(with_detail_of(strong, faint)) == pytest.approx(fine_energy(strong) / STRONGEST**2, rel=0.05)


def test_flat_pictures_stay_flat():
    flat = np.full((20, 30, 3), 0.4, np.float32)
    np.testing.assert_allclose(with_detail_of(flat, noise(6, 20, 30)), flat, atol=1e-6)
    np.testing.assert_allclose(with_detail_of(flat, flat), flat, atol=1e-6)
