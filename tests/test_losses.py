"""The loss terms against values by hand, and their sum."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.config import LossConfig
from stylize.losses import (
    PerceptualLoss,
    content_loss,
    energy,
    gram_matrix,
    style_distance,
    style_loss,
    total_variation_loss,
)
from stylize.vgg import load_loss_network

CONFIG = LossConfig(
    content_layer="relu1_2",
    style_layers=("relu1_1", "relu2_1"),
    style_layer_weights=(1.0, 3.0),
    content_weight=2.0,
    style_weight=7.0,
    tv_weight=11.0,
    style_strength=0.5,
)


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def loss() -> PerceptualLoss:
    return PerceptualLoss(load_loss_network(last="relu2_1"), CONFIG)


# --------------------------------------------------------------------------------------------------------------- Gram


def test_gram_matrix_by_hand():
    two_channels = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, -1.0]]]])
    # 1 + 4 + 9 + 16 = 30; 0 + 2 + 0 - 4 = -2; 0 + 1 + 0 + 1 = 2; each over 4 positions.
    assert torch.allclose(gram_matrix(two_channels), torch.tensor([[[7.5, -0.5], [-0.5, 0.5]]]))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(1, 7), st.booleans())
def test_gram_matrix_is_its_definition(batch, channels, height, width, channels_last):
    values = features(batch, channels, height, width)
    expected = torch.einsum("bihw,bjhw->bij", values.double(), values.double()) / (height * width)
    if channels_last:
        values = values.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(gram_matrix(values).double(), expected, atol=1e-5)


def test_gram_matrix_does_not_depend_on_where_things_are():
    values = features(1, 5, 4, 6)
    shuffled = values.flatten(2)[:, :, torch.randperm(24, generator=torch.Generator().manual_seed(0))].view(1, 5, 4, 6)
    assert torch.allclose(gram_matrix(values), gram_matrix(shuffled), atol=1e-6)
    assert torch.allclose(gram_matrix(values), gram_matrix(values.tile(1, 1, 3, 2)), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gram_matrix_of_half_precision_is_float32_and_close(dtype):
    values = 100 * features(1, 8, 32, 32)  # as large as those of VGG19: a sum over the positions is 1e7
    gram = gram_matrix(values.to(dtype))
    exact = gram_matrix(values.double().float())
    assert gram.dtype == torch.float32
    assert ((gram - exact).norm() / exact.norm()).item() < 0.01


# --------------------------------------------------------------------------------------------------- relative distances


def test_energy_is_the_mean_square_of_each_picture():
    assert energy(torch.tensor([[[[1.0, 3.0]]], [[[0.0, 2.0]]]])).tolist() == [5.0, 2.0]


def test_content_loss_by_hand():
    target = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 2.0]]]])  # energies 12.5 and 2
    given_features = torch.tensor([[[[3.0, 9.0]]], [[[1.0, 2.0]]]])  # distances 12.5 and 0.5
    assert content_loss(given_features, target).tolist() == pytest.approx([1.0, 0.25])
    # With a painting of energy 7.5 the references are 10 and 4.75.
    assert content_loss(given_features, target, torch.tensor([7.5])).tolist() == pytest.approx([1.25, 0.5 / 4.75])


def test_style_loss_by_hand():
    target = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    grams = torch.tensor([[[3.0, 0.0], [0.0, 9.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert style_loss(grams, target).tolist() == pytest.approx([1.0, 1.0])
    assert style_loss(torch.tensor([[[3.0, 1.0], [1.0, 4.0]]]), target).tolist() == pytest.approx([2 / 25])


def test_equal_is_0_and_nothing_is_1():
    values = features(3, 4, 5, 6)
    gram = gram_matrix(values)
    assert content_loss(values, values).tolist() == [0, 0, 0]
    assert content_loss(torch.zeros_like(values), values).tolist() == pytest.approx([1, 1, 1])
    assert style_loss(gram, gram).tolist() == [0, 0, 0]
    assert style_loss(torch.zeros_like(gram), gram).tolist() == pytest.approx([1, 1, 1])


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 1e4))
def test_the_unit_of_the_features_does_not_matter(unit):
    values, target, painting = features(2, 4, 5, 6), features(2, 4, 5, 6, seed=1), features(1, 4, 7, 7, seed=2)
    plain = content_loss(values, target, energy(painting))
    scaled = content_loss(unit * values, unit * target, energy(unit * painting))
    assert torch.allclose(plain, scaled, rtol=1e-4)
    plain = style_loss(gram_matrix(values), gram_matrix(painting))
    assert torch.allclose(plain, style_loss(gram_matrix(unit * values), gram_matrix(unit * painting)), rtol=1e-4)


def test_distances_are_per_picture():
    values, target = features(3, 4, 5, 6), features(3, 4, 5, 6, seed=1)
    together = content_loss(values, target)
    alone = [content_loss(values[i : i + 1], target[i : i + 1]).item() for i in range(3)]
    assert together.shape == (3,)
    assert together.tolist() == pytest.approx(alone)
    grams, painting = gram_matrix(values), gram_matrix(target[:1])
    assert style_loss(grams, painting).tolist() == pytest.approx(
        [style_loss(grams[i : i + 1], painting).item() for i in range(3)]
    )


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_an_all_zero_target_gives_a_finite_loss_and_gradient(size):
    values = (size * features(1, 3, 4, 4)).requires_grad_()
    zero = torch.zeros(1, 3, 4, 4)
    for value in (content_loss(values, zero), style_loss(gram_matrix(values), gram_matrix(zero))):
        (gradient,) = torch.autograd.grad(value.sum(), values)
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient).all()
        assert value.item() > 1e3
    assert content_loss(zero, zero).item() == 0
    assert style_loss(gram_matrix(zero), gram_matrix(zero)).item() == 0


def test_bfloat16_features_are_compared_in_float32():
    # 256 and 258 are neighbours in bfloat16; their squares' sum is not representable there.
    target = torch.full((1, 3, 8, 8), 256.0).bfloat16()
    result = content_loss(torch.full((1, 3, 8, 8), 258.0).bfloat16(), target)
    assert result.dtype == torch.float32
    assert result.item() == pytest.approx((2 / 256) ** 2, rel=1e-5)


def test_style_distance_weighs_layers_by_their_shares():
    config = LossConfig(style_layers=("relu1_1", "relu2_1"), style_layer_weights=(1.0, 3.0))
    targets = {name: gram_matrix(features(1, 2, 3, 3, seed=i)) for i, name in enumerate(config.style_layers)}
    grams = {name: gram_matrix(features(2, 2, 3, 3, seed=i + 5)) for i, name in enumerate(config.style_layers)}
    first, second = (style_loss(grams[name], targets[name]) for name in config.style_layers)
    expected = (first + 3 * second) / 4
    assert torch.allclose(style_distance(grams, targets, config), expected)
    nothing = {name: torch.zeros_like(gram) for name, gram in grams.items()}
    assert style_distance(nothing, targets, config).tolist() == pytest.approx([1, 1])


# ---------------------------------------------------------------------------------------------------- total variation


def test_total_variation_by_hand():
    picture = torch.tensor([[0.0, 1.0], [0.5, 1.0]]).expand(1, 3, 2, 2)
    # Down: 0.25, 0 (mean 0.125); right: 1, 0.25 (mean 0.625).
    assert total_variation_loss(picture).tolist() == pytest.approx([0.75])


def test_total_variation_does_not_grow_with_the_picture():
    stripes = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 3, 16, 16)
    assert total_variation_loss(stripes).item() == pytest.approx(1)
    assert total_variation_loss(stripes.tile(1, 1, 1, 4)).item() == pytest.approx(1)


@pytest.mark.parametrize(("shape", "expected"), [((2, 3, 1, 1), 0), ((2, 3, 1, 2), 1), ((2, 3, 2, 1), 1)])
def test_total_variation_of_pictures_without_neighbours(shape, expected):
    picture = torch.zeros(shape)
    picture.view(2, 3, -1)[:, :, -1] = 1
    assert total_variation_loss(picture).tolist() == [expected if shape[2] * shape[3] > 1 else 0] * 2


def test_total_variation_is_per_picture():
    images = torch.cat([torch.zeros(1, 3, 4, 4), pictures(1, 3, 4, 4)])
    result = total_variation_loss(images)
    assert result[0] == 0
    assert result[1] == total_variation_loss(images[1:])[0]


# ---------------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "function",
    [
        lambda x: content_loss(x, features(2, 3, 4, 5, seed=1), torch.tensor([0.5])).sum(),
        lambda x: style_loss(gram_matrix(x), gram_matrix(features(1, 3, 4, 5, seed=1))).sum(),
        lambda x: total_variation_loss(x).sum(),
    ],
    ids=["content", "style", "total variation"],
)
def test_gradients_are_finite_differences(function):
    values = features(2, 3, 4, 5).requires_grad_()
    (slope,) = torch.autograd.grad(function(values), values)
    for seed in range(3):
        direction = features(2, 3, 4, 5, seed=seed + 10)
        with torch.no_grad():
            step = 1e-2
            measured = (function(values + step * direction) - function(values - step * direction)) / (2 * step)
        expected = (slope * direction).sum()
        assert measured.item() == pytest.approx(expected.item(), rel=1e-2, abs=1e-3)


# ---------------------------------------------------------------------------------------------------- perceptual loss


def test_total_is_the_weighted_sum(loss):
    photos, painting = pictures(2, 3, 16, 16), pictures(1, 3, 20, 24, seed=1)
    images = pictures(2, 3, 16, 16, seed=2)
    terms = loss(images, loss.content_targets(photos), loss.style_targets(painting))
    assert torch.allclose(terms.total, 2 * terms.content + 7 * 0.5 * terms.style + 11 * terms.total_variation)
    assert terms.content.shape == terms.style.shape == terms.total_variation.shape == terms.total.shape == (2,)
    # Each term from the features, by its definition.
    found, photo, wanted = (
        loss.loss_network(pictures, ["relu1_1", "relu1_2", "relu2_1"]) for pictures in (images, photos, painting)
    )
    reference = (photo["relu1_2"].square().mean((1, 2, 3)) + wanted["relu1_2"].square().mean()) / 2
    distance = (found["relu1_2"] - photo["relu1_2"]).square().mean((1, 2, 3))
    assert torch.allclose(terms.content, distance / reference)
    shallow, deep = (style_loss(gram_matrix(found[name]), gram_matrix(wanted[name])) for name in ("relu1_1", "relu2_1"))
    assert torch.allclose(terms.style, 0.25 * shallow + 0.75 * deep)
    assert torch.equal(terms.total_variation, total_variation_loss(images))


def test_the_photo_has_no_content_loss_and_the_painting_no_style_loss(loss):
    photos, painting = pictures(1, 3, 16, 16), pictures(1, 3, 16, 16, seed=1)
    content, style = loss.content_targets(photos), loss.style_targets(painting)
    assert loss(photos, content, style).content.item() == 0
    assert loss(painting, content, style).style.item() == pytest.approx(0, abs=1e-9)
    assert loss(painting, content, style).content.item() > 0.1
    assert loss(photos, content, style).style.item() > 1e-4


def test_style_strength_is_a_factor_on_the_style_weight_alone(loss):
    images, photos, painting = pictures(1, 3, 16, 16), pictures(1, 3, 16, 16, seed=1), pictures(1, 3, 16, 16, seed=2)
    totals = {}
    for strength in (0.0, 1.0, 2.0):
        settings = {**vars(CONFIG), "style_strength": strength}
        other = PerceptualLoss(loss.loss_network, LossConfig(**settings))
        terms = other(images, other.content_targets(photos), other.style_targets(painting))
        totals[strength] = terms.total.item()
    assert totals[1.0] - totals[0.0] == pytest.approx(7 * terms.style.item(), rel=1e-4)
    assert totals[2.0] - totals[1.0] == pytest.approx(7 * terms.style.item(), rel=1e-4)


def test_targets_carry_no_graph_and_pictures_get_a_gradient_that_leads_down(loss):
    images = pictures(1, 3, 16, 16).requires_grad_()
    photos, painting = pictures(1, 3, 16, 16, seed=1).requires_grad_(), pictures(1, 3, 16, 16, seed=2).requires_grad_()
    content, style = loss.content_targets(photos), loss.style_targets(painting)
    assert not content.requires_grad
    assert not any(gram.requires_grad for gram in style.grams.values())
    assert not style.content_energy.requires_grad
    before = loss(images, content, style).total
    (slope,) = torch.autograd.grad(before.sum(), images)
    assert torch.isfinite(slope).all()
    with torch.no_grad():
        after = loss(images - 1e-3 * slope / slope.abs().max(), content, style).total
    assert after.item() < before.item()
    assert all(parameter.grad is None for parameter in loss.loss_network.parameters())


def test_pictures_beyond_black_and_white_keep_their_gradient(loss):
    images = torch.full((1, 3, 16, 16), 1.05).requires_grad_()
    terms = loss(images, loss.content_targets(pictures(1, 3, 16, 16)), loss.style_targets(pictures(1, 3, 16, 16)))
    (slope,) = torch.autograd.grad(terms.total.sum(), images)
    assert (slope != 0).float().mean() > 0.9


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_painting_of_one_colour_and_a_black_photo_give_a_finite_loss(loss, level):
    images = pictures(1, 3, 16, 16).requires_grad_()
    style = loss.style_targets(torch.full((1, 3, 16, 16), level))
    terms = loss(images, loss.content_targets(torch.zeros(1, 3, 16, 16)), style)
    (slope,) = torch.autograd.grad(terms.total.sum(), images)
    assert torch.isfinite(terms.total).all()
    assert torch.isfinite(slope).all()


def test_a_layer_may_serve_content_and_style(loss):
    config = LossConfig(content_layer="relu1_1", style_layers=("relu1_1",), style_layer_weights=(2.0,))
    both = PerceptualLoss(loss.loss_network, config)
    photos = pictures(1, 3, 12, 12)
    terms = both(photos, both.content_targets(photos), both.style_targets(photos))
    assert (terms.content.item(), terms.style.item()) == (0, 0)
