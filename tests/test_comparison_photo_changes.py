"""Changes of photos, and the plain measures, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stylize.comparison.photo_changes import (
    CHANGES,
    brighten,
    brightness,
    change_brightness,
    change_colour,
    change_gamma,
    darken,
    darkest_and_brightest,
    variation,
)
from stylize.comparison.wording import capital, in_words, levels_of, listed


def photos(count: int = 2, side: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(seed))


def test_changes_of_one_value():
    grey = torch.full((1, 3, 1, 1), 0.25)
    assert change_brightness(grey, -0.5).flatten().tolist() == [-0.25] * 3, "not clipped"
    assert change_gamma(grey, 0.5).flatten().tolist() == [0.5] * 3
    assert change_colour(grey, 0.5).flatten().tolist() == [0.375, 0.25, 0.125]
    assert darken(torch.ones(1, 3, 1, 1)).unique().item() == pytest.approx(0.35)
    assert brighten(torch.zeros(1, 3, 1, 1)).unique().item() == pytest.approx(0.65)


@pytest.mark.parametrize("name", CHANGES)
def test_the_neutral_factor_changes_nothing(name):
    change = CHANGES[name]
    assert change.neutral in change.factors
    assert list(change.factors) == sorted(set(change.factors))
    assert torch.allclose(change.function(photos(), change.neutral), photos(), atol=1e-6)


@pytest.mark.parametrize("name", CHANGES)
def test_linear_and_removable_mean_what_they_say(name):
    change, before = CHANGES[name], photos(1)[0].double()
    after = change.function(before[None], change.factors[0])[0]

    def is_linear(x: torch.Tensor, y: torch.Tensor) -> bool:
        design = torch.stack([x.flatten(), torch.ones_like(x.flatten())], 1)
        fit = torch.linalg.lstsq(design, y.flatten()[:, None]).solution
        return torch.allclose(design @ fit, y.flatten()[:, None], atol=1e-7)

    assert all(is_linear(x, y) for x, y in zip(before, after, strict=True)) == change.linear
    # One gain for all channels; a shift of their own they may have.
    centred = [x - x.mean((1, 2), keepdim=True) for x in (before, after)]
    assert is_linear(*centred) == change.removable


@given(st.floats(0.1, 5), st.floats(-1, 1))
def test_variation_sees_the_gain_and_not_the_shift(gain, shift):
    changed = variation(gain * photos().double() + shift)
    assert torch.allclose(changed, gain * variation(photos().double()))


def test_variation_by_hand():
    half = torch.zeros(1, 3, 2, 4)
    half[..., 2:] = 1
    assert variation(half).item() == pytest.approx(127.5)
    colour = torch.tensor([1.0, 0.5, 0.0])[None, :, None, None].expand(1, 3, 4, 4)
    assert variation(colour).item() == 0, "one colour does not vary, whatever the colour"


def test_brightness_and_its_order():
    primaries = torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2)
    assert torch.allclose(brightness(primaries), torch.tensor([0.299, 0.587, 0.114]))
    steps = torch.tensor([0.6, 0.1, 0.9, 0.3])[:, None, None, None].expand(4, 3, 2, 2)
    dark, bright = darkest_and_brightest(steps, 2)
    assert dark[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.3])
    assert bright[:, 0, 0, 0].tolist() == pytest.approx([0.6, 0.9])


def test_words():
    values = (0, 1e-7, 0.00912, 0.5, 12.34, 1234.5)
    assert [in_words(value) for value in values] == ["0", "under 0.001", "0.0091", "0.5", "12.3", "1234"]
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert levels_of({"a": 1.5, "b": 0.0}) == "1.5 grey levels (a) and 0 (b)"
    assert capital("instance@deep beside X") == "Instance@deep beside X"
