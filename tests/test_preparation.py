"""What is done to training photos: known histograms, known means, and what must not change the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.config import PREPARATIONS, TrainConfig
from stylize.errors import InputError
from stylize.preparation import (
    LEVELS,
    STANDARD_DEVIATION,
    STANDARD_MEAN,
    equalise_luminance,
    luminance,
    prepare,
    standardise,
)
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config


def grey(levels: np.ndarray) -> torch.Tensor:
    """Return one grey photo, (1, 3, H, W), of levels (H, W) from 0 to 255."""
    return torch.tensor(levels, dtype=torch.float32).div(255).expand(1, 3, *levels.shape).clone()


def drawn(seed: int, height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


SIDES = st.integers(1, 9)
SEEDS = st.integers(0, 10_000)


def test_luminance_by_hand():
    photo = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]]).T.reshape(1, 3, 2, 2)
    assert torch.allclose(luminance(photo), torch.tensor([[[[0.299, 0.587], [0.114, 0.5]]]]))


# ----------------------------------------------------------------------------------------------------------- equalising


def test_four_levels_by_hand():
    """Of four pixels each takes a quarter of [0, 1], and goes to its middle."""
    photo = grey(np.array([[10, 200], [11, 90]]))
    expected = grey(np.array([[1 / 8, 7 / 8], [3 / 8, 5 / 8]]) * 255)
    assert torch.allclose(equalise_luminance(photo), expected, atol=1e-6)


def test_unequal_shares_by_hand():
    """Three dark pixels share [0, 3/4], one bright pixel has the rest."""
    photo = grey(np.array([[5, 5], [5, 6]]))
    expected = grey(np.array([[3 / 8, 3 / 8], [3 / 8, 7 / 8]]) * 255)
    assert torch.allclose(equalise_luminance(photo), expected, atol=1e-6)


def test_every_photo_of_a_batch_has_its_own_histogram():
    photos = torch.cat([grey(np.arange(16).reshape(4, 4)), grey(255 - np.arange(16).reshape(4, 4)[::-1] * 9)])
    together = equalise_luminance(photos)
    for index in range(2):
        assert torch.equal(together[index : index + 1], equalise_luminance(photos[index : index + 1]))


@given(st.permutations(list(range(LEVELS))), SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_histogram_is_flat(levels, seed):
    """A grey photo in which every level stands once or twice has as many pixels in every sixteenth of [0, 1]."""
    times = 1 + seed % 2
    photo = grey(np.array(levels * times).reshape(-1, LEVELS))
    result = luminance(equalise_luminance(photo)).flatten()
    assert torch.histc(result, 16, 0, 1).tolist() == [LEVELS * times / 16] * 16
    assert float(result.mean()) == pytest.approx(0.5, abs=1e-6)


@given(SEEDS, SIDES, SIDES)
@settings(max_examples=40, deadline=None)
def test_any_increasing_map_of_luminance_is_undone(seed, height, width):
    """A curve, gamma or contrast, of a grey photo leaves the equalised photo as it was."""
    generator = np.random.default_rng(seed)
    levels = generator.integers(0, 64, (height, width))
    curve = np.sort(generator.choice(LEVELS, 64, replace=False))  # increasing, and no two levels become one
    assert torch.allclose(equalise_luminance(grey(levels)), equalise_luminance(grey(curve[levels])), atol=1e-6)


@given(SEEDS, SIDES, SIDES)
@settings(max_examples=40, deadline=None)
def test_colour_differences_stay_where_nothing_is_clipped(seed, height, width):
    photo = drawn(seed, height, width) * 0.3 + 0.35
    result = equalise_luminance(photo)
    assert result.min() >= 0 and result.max() <= 1
    inside = ((result > 0) & (result < 1)).all(1)
    for first, second in ((0, 1), (1, 2)):
        before, after = photo[:, first] - photo[:, second], result[:, first] - result[:, second]
        assert torch.allclose(before[inside], after[inside], atol=1e-6)


def test_colour_differences_of_a_photo_that_is_not_clipped_anywhere():
    photo = grey(np.array([[40, 50], [60, 70]])) + torch.tensor([0.05, -0.02, 0.01])[:, None, None]
    result = equalise_luminance(photo)
    assert ((result > 0) & (result < 1)).all()
    assert torch.allclose(result[:, 0] - result[:, 2], torch.full((1, 2, 2), 0.04), atol=1e-6)
    assert torch.allclose(luminance(result).flatten(), torch.tensor([1, 3, 5, 7]) / 8, atol=2e-3)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_photo_of_one_luminance_becomes_mid_grey(level):
    result = equalise_luminance(grey(np.full((3, 5), level)))
    assert torch.allclose(result, torch.full_like(result, 0.5), atol=1e-6)


def test_a_photo_of_one_colour_keeps_its_colour():
    photo = torch.tensor([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    result = equalise_luminance(photo)
    assert float(luminance(result)[0, 0, 0, 0]) == pytest.approx(0.5, abs=1e-6)
    assert torch.allclose(result[:, 0] - result[:, 2], torch.full((1, 4, 4), 0.2), atol=1e-6)


# -------------------------------------------------------------------------------------------------------- standardising


@given(SEEDS, st.integers(2, 9), st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_every_channel_gets_mean_and_deviation(seed, height, width):
    result = standardise(drawn(seed, height, width, batch=2))
    variance, mean = torch.var_mean(result, dim=(2, 3), correction=0)
    assert torch.allclose(mean, torch.full((2, 3), STANDARD_MEAN), atol=1e-5)
    assert torch.allclose(variance.sqrt(), torch.full((2, 3), STANDARD_DEVIATION), rtol=1e-3)


@given(SEEDS, st.floats(0.2, 1.0), st.floats(0.0, 0.5))
@settings(max_examples=40, deadline=None)
def test_gain_and_offset_of_a_channel_are_undone(seed, gain, offset):
    photo = drawn(seed, 6, 7)
    factors = torch.tensor([gain, 1.0, 0.5 * gain])[:, None, None]
    changed = photo * factors + torch.tensor([offset, 0.1, 0.0])[:, None, None]
    assert torch.allclose(standardise(photo), standardise(changed), atol=1e-4)


def test_standardised_by_hand():
    photo = torch.tensor([[0.0, 1.0], [0.2, 0.4], [0.6, 0.6]]).reshape(1, 3, 1, 2)
    expected = torch.tensor([[0.25, 0.75], [0.25, 0.75], [0.5, 0.5]]).reshape(1, 3, 1, 2)
    assert torch.allclose(standardise(photo), expected, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_a_constant_photo_becomes_the_mean(value):
    result = standardise(torch.full((2, 3, 33, 31), value))
    assert torch.allclose(result, torch.full_like(result, STANDARD_MEAN), atol=1e-3)


# -------------------------------------------------------------------------------------------------------------- by name


def test_names():
    photos = drawn(1, 8, 8, batch=2)
    network = TransformerNet(tiny_config()).eval()
    made = {name: prepare(name, photos, network) for name in PREPARATIONS}
    assert made["none"] is photos
    assert torch.equal(made["equalise"], equalise_luminance(photos))
    assert torch.equal(made["standardise"], standardise(photos))
    with torch.no_grad():
        assert torch.equal(made["stylize"], network(photos).clamp(0, 1))
    assert not made["stylize"].requires_grad
    assert {tuple(result.shape) for result in made.values()} == {(2, 3, 8, 8)}


def test_bad_names_and_a_missing_network():
    with pytest.raises(InputError, match=r"unknown preparation 'equalize'; did you mean 'equalise'\?"):
        prepare("equalize", drawn(0, 4, 4))
    with pytest.raises(InputError, match="preparation 'stylize' needs a network"):
        prepare("stylize", drawn(0, 4, 4))


@pytest.mark.parametrize(
    "changes",
    [{"preparation": "stylize"}, {"preparation_weights": "w.safetensors"}],
)
def test_stylize_and_its_weights_belong_together(changes):
    with pytest.raises(InputError, match="preparation 'stylize' and preparation_weights, a weights file, belong"):
        TrainConfig(style="a.jpg", **changes)


def test_settings_with_an_unknown_preparation():
    with pytest.raises(InputError, match=r"unknown preparation 'standardize'; did you mean 'standardise'\?"):
        TrainConfig(style="a.jpg", preparation="standardize")
