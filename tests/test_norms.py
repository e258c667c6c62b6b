"""The normalisation layers against float64 formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stylize.config import NORM_NAMES
from stylize.errors import InputError
from stylize.norms import NORMS, BatchNorm, InstanceNorm, batch_statistics, make_norm

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def normalised(features: torch.Tensor, axes: tuple[int, ...] = (2, 3), epsilon: float = 1e-5) -> np.ndarray:
    """Ulyanov et al. 2016, equation 2 (axes 2, 3) or equation 1 (axes 0, 2, 3), in float64."""
    values = features.detach().double().numpy()
    mean = values.mean(axis=axes, keepdims=True)
    variance = ((values - mean) ** 2).mean(axis=axes, keepdims=True)
    return (values - mean) / np.sqrt(variance + epsilon)


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_scale_and_shift(layer: nn.Module, seed: int = 1) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(features(layer.weight.numel(), seed=seed))
        layer.bias.copy_(features(layer.bias.numel(), seed=seed + 1))
    return layer


# ---------------------------------------------------------------------------------------------------------------- map


def test_the_map_has_the_names_of_the_configuration():
    assert tuple(NORMS) == NORM_NAMES


@pytest.mark.parametrize("name", NORMS)
def test_every_layer_has_scale_and_shift_per_channel_and_its_epsilon(name):
    layer = make_norm(name, 5, 0.25)
    assert {key: tuple(value.shape) for key, value in layer.named_parameters()} == {"weight": (5,), "bias": (5,)}
    # Variance 1 and epsilon 0.25: values are divided by sqrt(1.25).
    column = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(1, 5, 1, 2)
    assert torch.allclose(layer.train()(column), column / 1.25**0.5)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_every_layer_keeps_memory_format_and_dtype(name, memory, dtype, training):
    layer = make_norm(name, 6, 1e-5).train(training)
    result = layer(features(2, 6, 5, 7).to(dtype).contiguous(memory_format=FORMATS[memory]))
    assert result.dtype == dtype
    assert result.shape == (2, 6, 5, 7)
    assert result.is_contiguous(memory_format=FORMATS[memory])


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(InputError, match=r"unknown normalisation 'instence'; did you mean 'instance'\?.*batch"):
        make_norm("instence", 4, 1e-5)


# ----------------------------------------------------------------------------------------------------- instance norm


def test_instance_norm_by_hand():
    # Channel 0: mean 2, variance 1; channel 1: mean 0, variance 4. The second picture has numbers of its own.
    pictures = torch.tensor([[[[1.0, 3.0]], [[-2.0, 2.0]]], [[[5.0, 5.0]], [[0.0, 10.0]]]])
    layer = InstanceNorm(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, 3.0]))
        layer.bias.copy_(torch.tensor([0.5, -1.0]))
    expected = torch.tensor([[[[-1.5, 2.5]], [[-4.0, 2.0]]], [[[0.5, 0.5]], [[-4.0, 2.0]]]])
    assert torch.allclose(layer(pictures), expected, atol=1e-4)


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 3, 5, 7), (3, 64, 33, 20), (1, 8, 1, 9)])
def test_instance_norm_is_the_formula_per_picture_and_channel(memory, shape):
    layer = with_scale_and_shift(InstanceNorm(shape[1]))
    given_features = (3 * features(*shape) + 1).contiguous(memory_format=FORMATS[memory])
    weight, bias = (value.detach().double().numpy().reshape(1, -1, 1, 1) for value in (layer.weight, layer.bias))
    expected = normalised(given_features) * weight + bias
    np.testing.assert_allclose(layer(given_features).detach().numpy(), expected, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("mean", [30, 300])
@pytest.mark.parametrize("memory", FORMATS)
def test_instance_norm_of_features_far_from_zero(memory, mean):
    # A mean of 300 standard deviations costs 300 * 2^-24 = 2e-5 of precision; a variance computed as the difference
    # of two large numbers costs 300^2 times 2^-24 = 5e-3 and more.
    given_features = (features(2, 16, 37, 41) + mean).contiguous(memory_format=FORMATS[memory])
    error = np.abs(InstanceNorm(16)(given_features).detach().numpy() - normalised(given_features)).max()
    assert error < 2e-5 + 1e-6 * mean


@pytest.fixture
def one_thread():
    """Several threads sum several parts, which hides what long sums in float32 lose."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("memory", FORMATS)
def test_instance_norm_of_a_large_photo_keeps_its_precision(memory, one_thread):
    # A million positions: added to one float32 sum, one after the other, they lose a thousandth (16 million: a tenth).
    given_features = (features(1, 2, 1024, 1024) + 0.5).contiguous(memory_format=FORMATS[memory])
    with torch.no_grad():
        error = np.abs(InstanceNorm(2)(given_features).numpy() - normalised(given_features)).max()
    assert error < 1e-4


@pytest.mark.parametrize("mean", [0, 30, 300])
@pytest.mark.parametrize("memory", FORMATS)
def test_instance_norm_of_bfloat16_features_has_float32_statistics(memory, mean):
    given_features = (2 * features(2, 16, 37, 41) + mean).bfloat16().contiguous(memory_format=FORMATS[memory])
    expected = normalised(given_features)  # of the same rounded values
    error = np.abs(InstanceNorm(16)(given_features).detach().double().numpy() - expected)
    assert (error <= 2**-8 * np.abs(expected) + 2e-3).all()


@pytest.mark.parametrize("memory", FORMATS)
def test_instance_norm_passes_the_gradients_of_the_formula(memory):
    given_features = features(2, 4, 5, 6).contiguous(memory_format=FORMATS[memory]).requires_grad_()
    direction = features(2, 4, 5, 6, seed=9)
    layer = with_scale_and_shift(InstanceNorm(4))
    (layer(given_features) * direction).sum().backward()
    exact = given_features.detach().double().requires_grad_()
    mean, variance = exact.mean((2, 3), keepdim=True), exact.var((2, 3), correction=0, keepdim=True)
    weight = layer.weight.detach().double().view(1, 4, 1, 1).requires_grad_()
    ((exact - mean) / (variance + 1e-5).sqrt() * weight * direction.double()).sum().backward()
    assert torch.allclose(given_features.grad.double(), exact.grad, atol=1e-5)
    assert torch.allclose(layer.weight.grad.double(), weight.grad.flatten(), atol=1e-4)
    assert torch.allclose(layer.bias.grad, direction.sum((0, 2, 3)), atol=1e-4)


def test_instance_norm_remembers_nothing():
    layer = InstanceNorm(4)
    assert list(layer.buffers()) == []
    before = layer.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    layer.train()(features(3, 4, 5, 5) * 10)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_instance_norm_is_the_same_in_training_and_evaluation():
    layer = with_scale_and_shift(InstanceNorm(4))
    given_features = features(3, 4, 6, 5)
    assert torch.equal(layer.train()(given_features), layer.eval()(given_features))


def test_instance_norm_of_one_picture_does_not_see_the_others():
    layer = InstanceNorm(4)
    first = features(1, 4, 6, 5)
    beside_small = layer(torch.cat([first, features(1, 4, 6, 5, seed=1)]))[0]
    beside_large = layer(torch.cat([first, 1000 * features(1, 4, 6, 5, seed=2)]))[0]
    assert torch.equal(beside_small, beside_large)
    assert torch.allclose(beside_small, layer(first)[0], atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("value", [0.0, 0.7, -3.0])
def test_instance_norm_of_a_single_position_or_a_constant_is_the_bias(training, pictures, value):
    layer = with_scale_and_shift(InstanceNorm(6)).train(training)
    bias = layer.bias.detach().view(1, 6, 1, 1)
    # 1 / sqrt(epsilon) enlarges the rounding of the mean by 316.
    for size in ((1, 1), (3, 4)):
        result = layer(torch.full((pictures, 6, *size), value))
        assert torch.allclose(result, bias.expand_as(result), atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 100), st.floats(-10, 10), st.sampled_from(list(FORMATS)))
def test_instance_norm_does_not_see_contrast_and_brightness(contrast, brightness, memory):
    given_features = features(2, 3, 9, 8).contiguous(memory_format=FORMATS[memory])
    layer = InstanceNorm(3, epsilon=1e-10)
    assert torch.allclose(layer(contrast * given_features + brightness), layer(given_features), atol=5e-4)


# -------------------------------------------------------------------------------------------------------- batch norm


@pytest.mark.parametrize("memory", FORMATS)
def test_batch_norm_in_training_is_the_formula_over_the_batch(memory):
    given_features = (3 * features(4, 5, 7, 6) + 1).contiguous(memory_format=FORMATS[memory])
    result = BatchNorm(5).train()(given_features)
    np.testing.assert_allclose(result.detach().numpy(), normalised(given_features, (0, 2, 3)), rtol=1e-4, atol=3e-5)


def test_batch_norm_of_one_picture_in_training_is_instance_norm():
    instance, batch = InstanceNorm(5), BatchNorm(5).train()
    given_features = 3 * features(1, 5, 7, 6) + 1
    assert torch.allclose(instance(given_features), batch(given_features), atol=1e-5)
    two = torch.cat([given_features, 2 * given_features])
    assert (instance(two) - batch(two)).abs().max() > 0.1


def test_batch_norm_in_evaluation_uses_running_averages():
    layer = BatchNorm(2, epsilon=0.25).eval()
    layer.running_mean.copy_(torch.tensor([1.0, -1.0]))
    layer.running_var.copy_(torch.tensor([3.75, 0.0]))
    result = layer(torch.tensor([3.0, 1.0]).view(1, 2, 1, 1))
    assert torch.allclose(result.flatten(), torch.tensor([1.0, 4.0]))


def test_batch_norm_learns_running_averages_in_training_only():
    layer = BatchNorm(3)
    layer.eval()(features(2, 3, 4, 4) + 5)
    assert torch.equal(layer.running_mean, torch.zeros(3))
    layer.train()(features(2, 3, 4, 4) + 5)
    assert (layer.running_mean > 0.2).all()


# -------------------------------------------------------------------------------------------------- batch_statistics


def mixed_network() -> nn.Module:
    """A network in training mode with one part frozen in evaluation mode."""
    network = nn.Sequential(BatchNorm(3), nn.Sequential(BatchNorm(3), InstanceNorm(3)), nn.Dropout(0.5))
    network.train()
    network[1].eval()
    return network


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("fails", [False, True])
def test_batch_statistics_leaves_modes_and_running_averages_as_they_were(fails):
    network = mixed_network()
    with torch.no_grad():
        network(features(4, 3, 5, 5))
    before, modes_before = state(network), modes(network)
    addresses = [buffer.data_ptr() for buffer in network.buffers()]
    try:
        with batch_statistics(network), torch.no_grad():
            assert all(modes(network))
            network(features(4, 3, 5, 5, seed=3) * 7 + 2)
            # Something was there to be undone.
            assert not torch.equal(network[0].running_mean, before["0.running_mean"])
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert modes(network) == modes_before
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [buffer.data_ptr() for buffer in network.buffers()] == addresses


def test_batch_statistics_normalises_with_the_batch_also_a_network_in_evaluation_mode():
    layer = BatchNorm(3).eval()
    given_features = 2 * features(4, 3, 5, 5) + 1
    with batch_statistics(layer):
        inside = layer(given_features)
    np.testing.assert_allclose(inside.detach().numpy(), normalised(given_features, (0, 2, 3)), rtol=1e-4, atol=3e-5)
    assert not layer.training
    assert torch.allclose(layer(given_features), given_features, atol=1e-3)  # running averages: still 0 and 1


def test_batch_statistics_changes_nothing_for_instance_norm():
    layer = with_scale_and_shift(InstanceNorm(3)).eval()
    given_features = features(2, 3, 5, 5)
    with batch_statistics(layer):
        inside = layer(given_features)
    assert torch.equal(inside, layer(given_features))
