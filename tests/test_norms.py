"""The normalisation layers against float64 formulas."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from stylize.config import NORM_NAMES
from stylize.errors import InputError
from stylize.network_norms import GATE_RATE_FACTOR, batch_statistics, gate_means, initialise_from_data, parameter_groups
from stylize.norms import (
    DIFFERS_BETWEEN_MODES,
    NORMS,
    BatchInstanceNorm,
    BatchNorm,
    FollowsConvolution,
    GroupNorm,
    InstanceBatchNorm,
    InstanceNorm,
    LayerNorm,
    WeightNorm,
    differs_between_modes,
    make_norm,
)
from stylize.transformer import Conv, TransformerNet, UpsampleConv
from tests.helpers import tiny_config

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


def normalised_in_groups(given_features: torch.Tensor, groups: int, epsilon: float = 1e-5) -> np.ndarray:
    """Wu and He 2018, equations 1, 2 and 7, one group of one picture after the other, in float64."""
    result = given_features.detach().double().numpy().copy()
    size = result.shape[1] // groups
    for picture in result:
        for first in range(0, result.shape[1], size):
            part = picture[first : first + size]
            part[:] = (part - part.mean()) / np.sqrt(part.var() + epsilon)
    return result


def made(name: str, channels: int, epsilon: float = 1e-5, seed: int = 5) -> nn.Module:
    """A layer with drawn parameters, running statistics and convolution."""
    convolution = nn.Conv2d(channels, channels, 1)
    layer = make_norm(name, channels, epsilon, convolution)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in [*layer.parameters(), *layer.buffers(), *convolution.parameters()]:
            if value.is_floating_point():
                value.uniform_(0.25, 1, generator=generator)
    return layer


# ---------------------------------------------------------------------------------------------------------------- map


def test_the_map_has_the_names_of_the_configuration():
    assert tuple(NORMS) == NORM_NAMES


SCALED = [name for name in NORMS if name != "none"]
NORMALISING = [name for name in SCALED if name != "weight"]


@pytest.mark.parametrize("name", SCALED)
def test_every_layer_has_one_scale_and_one_shift_per_channel(name):
    sizes: dict[str, int] = {}
    for key, value in make_norm(name, 5, 1e-5).named_parameters():
        kind = key.rpartition(".")[2]
        if kind != "gate":
            sizes[kind] = sizes.get(kind, 0) + value.numel()
    assert sizes == {"weight": 5, "bias": 5}


def test_no_normalisation_has_no_parameters_and_lets_features_pass():
    layer = make_norm("none", 5, 1e-5, nn.Conv2d(5, 5, 1))
    given_features = features(2, 5, 3, 4)
    assert list(layer.parameters()) == [] == list(layer.buffers())
    assert layer(given_features) is given_features


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("name", NORMALISING)
def test_every_layer_begins_as_the_formula_with_its_epsilon(name, memory):
    layer = make_norm(name, 5, 0.25)
    # Variance 1 and epsilon 0.25: values are divided by sqrt(1.25). The same for all channels and pictures, so that
    # every normalisation comes to the same.
    column = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).repeat(2, 5, 1, 1).contiguous(memory_format=FORMATS[memory])
    assert torch.allclose(layer.train()(column), column / 1.25**0.5)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_layer_keeps_memory_format_and_dtype(name, memory, dtype, channels):
    layer = made(name, channels)
    given_features = features(2, channels, 5, 7).to(dtype).contiguous(memory_format=FORMATS[memory])
    for training in (True, False):
        layer.to(torch.float64 if dtype == torch.float64 else torch.float32).train(training)
        result = layer(given_features)
        assert result.dtype == dtype
        assert result.shape == given_features.shape
        assert result.is_contiguous(memory_format=FORMATS[memory])


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("memory", FORMATS)
def test_every_layer_keeps_the_dtype_of_autocast(name, memory):
    layer = made(name, 4)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(features(2, 4, 5, 7).bfloat16().contiguous(memory_format=FORMATS[memory]))
    assert result.dtype == torch.bfloat16


@pytest.mark.parametrize("mean", [0, 30, 300])
@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("name", NORMS)
def test_every_layer_computes_bfloat16_features_in_float32(name, memory, mean):
    layer = made(name, 6)
    for follower in (module for module in layer.modules() if isinstance(module, FollowsConvolution)):
        follower.follow(nn.Conv2d(6, 6, 1).requires_grad_(False))
        follower.convolution.bias.fill_(mean)
    rounded = (2 * features(2, 6, 17, 21) + mean).bfloat16().contiguous(memory_format=FORMATS[memory])
    exact = copy.deepcopy(layer).double()
    for follower in (module for module in exact.modules() if isinstance(module, FollowsConvolution)):
        follower.convolution.double()
    with torch.no_grad():
        expected = exact(rounded.double())
        error = (layer(rounded).double() - expected).abs()
    # Half a unit of bfloat16 in the result, and what float32 loses beside a large mean.
    assert (error <= 2**-8 * expected.abs() + 1e-3).all()


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


KINDS = {"instance": lambda channels: channels, "layer": lambda channels: 1, "group": lambda channels: 8}
"""The normalisations of one picture, with their number of groups for a multiple of 8 channels."""


@pytest.mark.parametrize("mean", [30, 300])
@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("name", KINDS)
def test_features_far_from_zero(name, memory, mean):
    # A mean of 300 standard deviations costs 300 * 2^-24 = 2e-5 of precision; a variance computed as the difference
    # of two large numbers costs 300^2 times 2^-24 = 5e-3 and more.
    given_features = (features(2, 16, 37, 41) + mean).contiguous(memory_format=FORMATS[memory])
    expected = normalised_in_groups(given_features, KINDS[name](16))
    error = np.abs(make_norm(name, 16, 1e-5)(given_features).detach().numpy() - expected).max()
    assert error < 2e-5 + 1e-6 * mean


@pytest.fixture
def one_thread():
    """Several threads sum several parts, which hides what long sums in float32 lose."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize(("groups", "channels"), [(2, 2), (1, 2), (2, 8)])
def test_a_large_photo_keeps_its_precision(groups, channels, memory, one_thread):
    # A million positions: added to one float32 sum, one after the other, they lose a thousandth (16 million: a tenth).
    side = 1024 * 2 // channels
    given_features = (features(1, channels, side, side) + 100).contiguous(memory_format=FORMATS[memory])
    with torch.no_grad():
        result = GroupNorm(channels, groups=groups)(given_features).numpy()
    assert np.abs(result - normalised_in_groups(given_features, groups)).max() < 1e-4


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


# ------------------------------------------------------------------------------------------- layer norm and group norm


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize(
    ("name", "channels", "groups"),
    [("layer", 5, 1), ("layer", 16, 1), ("group", 64, 8), ("group", 12, 4), ("group", 6, 2), ("group", 7, 1)],
)
def test_layer_and_group_norm_are_the_formula_per_group(name, channels, groups, memory):
    given_features = (3 * features(3, channels, 4, 7) + 1).contiguous(memory_format=FORMATS[memory])
    layer = with_scale_and_shift(make_norm(name, channels, 1e-5))
    weight, bias = (value.detach().double().numpy()[:, None, None] for value in (layer.weight, layer.bias))
    expected = normalised_in_groups(given_features, groups) * weight + bias
    for training in (True, False):
        result = layer.train(training)(given_features).detach().numpy()
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=3e-5)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 5),
    size=st.integers(1, 4),
    batch=st.integers(1, 3),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    memory=st.sampled_from(list(FORMATS)),
    affine=st.booleans(),
)
def test_group_norm_has_the_values_and_gradients_of_torchs(groups, size, batch, height, width, memory, affine):
    channels = groups * size
    ours, theirs = GroupNorm(channels, 0.1, groups, affine).double(), nn.GroupNorm(groups, channels, 0.1, affine)
    if affine:
        with_scale_and_shift(ours)
    theirs.double().load_state_dict(ours.state_dict())
    direction = features(batch, channels, height, width, seed=3).double()
    found = []
    for layer, format_ in ((ours, FORMATS[memory]), (theirs, torch.contiguous_format)):
        leaf = features(batch, channels, height, width).double().contiguous(memory_format=format_).requires_grad_()
        # torch's layer refuses one 1x1 picture in training; what it calls does not.
        result = torch.group_norm(leaf, groups, layer.weight, layer.bias, 0.1) if layer is theirs else layer(leaf)
        (result * direction).sum().backward()
        found.append([result.detach(), leaf.grad, *(value.grad for value in layer.parameters())])
    for mine, torchs in zip(*found, strict=True):
        assert torch.allclose(mine, torchs, atol=1e-9)


def test_instance_layer_and_group_norm_are_one_formula():
    given_features = features(2, 6, 5, 4).contiguous(memory_format=torch.channels_last)
    for layer, groups in ((InstanceNorm(6), 6), (LayerNorm(6), 1), (GroupNorm(6), math.gcd(8, 6))):
        assert torch.equal(layer(given_features), GroupNorm(6, groups=groups)(given_features))


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("name", ["layer", "group"])
def test_layer_and_group_norm_of_one_colour_are_the_bias(name, memory):
    layer = with_scale_and_shift(make_norm(name, 8, 1e-5))
    for size in ((1, 1), (3, 4)):
        result = layer(torch.full((1, 8, *size), 0.7).contiguous(memory_format=FORMATS[memory]))
        assert torch.allclose(result, layer.bias[:, None, None].expand_as(result), atol=1e-3)


@pytest.mark.parametrize("name", ["layer", "group"])
def test_layer_and_group_norm_keep_what_tells_channels_apart(name):
    # A contrast of the whole picture is lost, as with instance norm; one of a single channel is not.
    layer = make_norm(name, 16, 1e-12)
    given_features = features(2, 16, 6, 5)
    assert torch.allclose(layer(3 * given_features + 1), layer(given_features), atol=1e-5)
    tinted = given_features.clone()
    tinted[:, 0] *= 3
    assert (layer(tinted) - layer(given_features)).abs().max() > 0.1


# --------------------------------------------------------------------------------------------------------- weight norm


def weight_norms(layer: Conv | UpsampleConv) -> tuple[nn.Module, WeightNorm, nn.Module]:
    """Return our convolution and weight norm in float64, and the same with torch's parametrization."""
    ours, theirs = layer.double(), copy.deepcopy(layer).double()
    norm = WeightNorm(ours.conv.out_channels).double()
    norm.follow(ours.conv)
    parametrizations.weight_norm(theirs.conv)
    with_scale_and_shift(norm)
    with torch.no_grad():
        theirs.conv.parametrizations.weight.original0.copy_(norm.weight[:, None, None, None])
        theirs.conv.bias.copy_(norm.bias)
    return ours, norm, theirs


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("kind", ["plain", "strided", "upsampling"])
def test_weight_norm_has_the_values_and_gradients_of_torchs(kind, memory):
    torch.manual_seed(0)
    layers = {"plain": Conv(3, 5, 3), "strided": Conv(3, 5, 5, stride=2), "upsampling": UpsampleConv(3, 5)}
    ours, norm, theirs = weight_norms(layers[kind])
    inputs = [features(2, 3, 6, 8).double().contiguous(memory_format=FORMATS[memory]).requires_grad_() for _ in "ab"]
    results = [norm(ours(inputs[0])), theirs(inputs[1])]
    for result in results:
        (result * features(*result.shape, seed=4).double()).sum().backward()
    reference = theirs.conv.parametrizations.weight
    pairs = [
        results,
        [given_features.grad for given_features in inputs],
        (norm.weight.grad, reference.original0.grad.flatten()),
        (ours.conv.weight.grad, reference.original1.grad),
        (norm.bias.grad, theirs.conv.bias.grad),
    ]
    for mine, torchs in pairs:
        assert torch.allclose(mine, torchs, atol=1e-9)
    # The bias of the convolution has no part.
    assert ours.conv.bias.abs().max() > 0.05
    assert ours.conv.bias.grad.abs().max() < 1e-9


def test_weight_norm_knows_the_direction_of_a_filter_alone():
    ours, norm, _ = weight_norms(Conv(3, 5, 3))
    given_features = features(1, 3, 6, 6).double()
    before = norm(ours(given_features))
    with torch.no_grad():
        ours.conv.weight.mul_(7)
    assert torch.allclose(norm(ours(given_features)), before, atol=1e-9)


def test_weight_norm_of_a_filter_of_zeros_is_the_bias_and_stays_finite():
    convolution = nn.Conv2d(2, 3, 3)
    layer = with_scale_and_shift(make_norm("weight", 3, 1e-5, convolution))
    with torch.no_grad():
        convolution.weight[0] = 0
    given_features = features(1, 2, 5, 5).requires_grad_()
    result = layer(convolution(given_features))
    assert torch.allclose(result[:, 0], layer.bias[0], atol=1e-3)
    result.sum().backward()
    leaves = [given_features, *convolution.parameters(), *layer.parameters()]
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


@pytest.mark.parametrize("name", ["weight", "none"])
def test_a_layer_without_its_convolution_says_what_is_missing(name):
    layer = make_norm(name, 3, 1e-5)
    with pytest.raises(InputError, match="stands after no convolution; call follow"):
        layer.convolution.weight.sum()


@pytest.mark.parametrize("name", ["weight", "none"])
def test_the_convolution_is_no_part_of_the_layer_that_follows_it(name):
    layer = make_norm(name, 3, 1e-5, nn.Conv2d(2, 3, 1))
    assert len(list(layer.modules())) == 1
    assert not any("conv" in key for key in layer.state_dict())


# -------------------------------------------------------------------------------------------- initialisation from data


def photos(batch: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, 20, 18, generator=torch.Generator().manual_seed(seed))


SHAPES = {
    "encoder, trunk, decoder": {},
    "blocks of 4": {"space_to_depth": 4, "channels": (6,)},
    "no trunk, shuffled": {"space_to_depth": 2, "residual_blocks": 0, "output": "shuffle"},
}


@pytest.mark.parametrize("contrast", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["weight", "none"])
def test_after_initialisation_a_network_is_the_batch_norm_network_on_that_batch(name, shape, contrast):
    # Nearly flat photos, where epsilon counts, too: the variances of the features are as small as epsilon there.
    batch = 0.5 + contrast * (photos() - 0.5)
    network, reference = (
        TransformerNet(tiny_config(norm, **SHAPES[shape]), seed=3).double() for norm in (name, "batch")
    )
    initialise_from_data(network, batch.double())
    with torch.no_grad():
        expected = reference.train()(batch.double())
        for training in (True, False):
            assert torch.allclose(network.train(training)(batch.double()), expected, atol=1e-6)
        # On other photos the two are not the same function.
        other = photos(seed=1).double() * contrast
        assert (network(other) - reference(other)).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["weight", "none"])
def test_after_initialisation_every_channel_of_every_layer_has_mean_0_and_variance_1(name):
    network = TransformerNet(tiny_config(name, norm_epsilon=1e-12), seed=3)
    initialise_from_data(network, photos())
    outputs = []
    for place in network.norm_places():
        place.norm.register_forward_hook(lambda module, given, result: outputs.append(result))
    with torch.no_grad():
        network(photos())
    assert len(outputs) == len(network.norm_places()) == 5
    for output in outputs:
        variance, mean = torch.var_mean(output, dim=(0, 2, 3), correction=0)
        assert torch.allclose(mean, torch.zeros_like(mean), atol=1e-4)
        assert torch.allclose(variance, torch.ones_like(variance), atol=1e-3)


def test_initialisation_twice_is_initialisation_once():
    for name in ("weight", "none"):
        network = TransformerNet(tiny_config(name), seed=3).double()
        initialise_from_data(network, photos().double())
        before = state(network)
        initialise_from_data(network, photos().double())
        assert all(torch.allclose(value, before[key], atol=1e-3) for key, value in state(network).items())


def changed_by_initialisation(name: str) -> set[str]:
    network = TransformerNet(tiny_config(name), seed=3).train()
    network.trunk.eval()
    with torch.no_grad():
        network(photos(seed=2))  # running averages that are not the initial ones
    before, modes_before = state(network), modes(network)
    initialise_from_data(network, photos())
    assert modes(network) == modes_before
    assert state(network).keys() == before.keys()
    return {key for key, value in state(network).items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("name", [name for name in NORMS if name not in ("weight", "none")])
def test_initialisation_changes_nothing_for_other_norms(name):
    assert changed_by_initialisation(name) == set()


def test_initialisation_of_weight_norm_changes_scale_and_shift_alone():
    norms = ("encoder.1", "encoder.4", "trunk.0.norm1", "trunk.0.norm2", "decoder.1")
    assert changed_by_initialisation("weight") == {f"{norm}.{kind}" for norm in norms for kind in ("weight", "bias")}


def test_initialisation_without_norms_changes_the_hidden_convolutions_alone():
    layers = ("encoder.0.conv", "encoder.3.conv", "trunk.0.conv1.conv", "trunk.0.conv2.conv", "decoder.0.conv")
    assert changed_by_initialisation("none") == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def test_initialisation_of_one_layer_leaves_the_batch_norms_around_it_alone():
    assert changed_by_initialisation("weight@first") == {"encoder.1.weight", "encoder.1.bias"}
    assert changed_by_initialisation("weight@first+ibn") == {"encoder.1.weight", "encoder.1.bias"}
    assert changed_by_initialisation("none@decoder+batch-instance") == {"decoder.0.conv.weight", "decoder.0.conv.bias"}


def test_nothing_runs_where_nothing_begins_from_data():
    network = TransformerNet(tiny_config("instance"))
    network.register_forward_pre_hook(lambda module, given: pytest.fail("the network ran"))
    initialise_from_data(network, photos())


@pytest.mark.parametrize("name", ["weight", "none"])
def test_an_error_during_initialisation_leaves_no_layer_initialising(name):
    network = TransformerNet(tiny_config(name), seed=3).eval()
    with pytest.raises(InputError, match="pictures of shape"):
        initialise_from_data(network, torch.zeros(1, 4, 8, 8))
    handle = network.trunk.register_forward_hook(lambda module, given, result: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        initialise_from_data(network, photos())
    handle.remove()
    assert not any(place.norm.initialising for place in network.norm_places())
    assert not any(modes(network))
    before = state(network)
    network(photos())
    assert all(torch.equal(value, before[key]) for key, value in state(network).items())


@pytest.mark.parametrize("name", ["weight", "none"])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_flat_photos_do_not_blow_up_a_network(name, value):
    network = TransformerNet(tiny_config(name), seed=3)
    drawn = {place.name: place.convolution.weight.detach().clone() for place in network.norm_places()}
    initialise_from_data(network, torch.full((2, 3, 20, 18), value))
    for place in network.norm_places():
        scale = 1 if name == "none" else (place.norm.weight / place.convolution.weight.flatten(1).norm(dim=1))[:, None]
        found = scale * place.convolution.weight.flatten(1)
        # Nothing is known of the scale of a constant channel, so it keeps the one that was drawn.
        assert torch.allclose(found, drawn[place.name].flatten(1), atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(
            network(torch.full((1, 3, 20, 18), value)),
            TransformerNet(tiny_config("batch"), seed=3)(torch.full((2, 3, 20, 18), value))[:1],
            atol=1e-4,
        )


@pytest.mark.parametrize("name", ["weight", "none"])
def test_a_constant_channel_keeps_its_scale_beside_one_that_varies(name):
    convolution = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        # The second channel differs by a unit in the last place of float32, which says nothing about its scale.
        convolution.weight.copy_(torch.tensor([5.0, 2e-5]).view(2, 1, 1, 1))
        convolution.bias.copy_(torch.tensor([1.0, 300.1]))
    layer = make_norm(name, 2, 1e-12, convolution)
    network = nn.Sequential(convolution, layer)
    column = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2)
    expected = torch.cat([column, torch.zeros_like(column)], dim=1)
    initialise_from_data(network, column)
    assert (convolution(column)[:, 1].std() > 0).all()
    assert torch.allclose(network(column), expected, atol=1e-3)
    assert torch.allclose(network(10 * column), 10 * expected, atol=1e-3)


def test_initialisation_in_bfloat16_comes_close():
    for name in ("weight", "none"):
        network = TransformerNet(tiny_config(name), seed=3)
        with torch.autocast("cpu", torch.bfloat16):
            initialise_from_data(network, photos())
        assert all(value.dtype == torch.float32 for value in network.parameters())
        with torch.no_grad():
            expected = TransformerNet(tiny_config("batch"), seed=3).train()(photos())
            assert (network(photos()) - expected).abs().mean() < 0.02


# ----------------------------------------------------------------------------------------------------------------- ibn


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_ibn_is_instance_norm_for_the_first_half_and_batch_norm_for_the_others(channels, memory):
    half = channels // 2
    layer = InstanceBatchNorm(channels)
    given_features = (3 * features(3, channels, 5, 4) + 1).contiguous(memory_format=FORMATS[memory])
    expected = np.concatenate(
        [normalised(given_features)[:, :half], normalised(given_features, (0, 2, 3))[:, half:]], axis=1
    )
    np.testing.assert_allclose(layer.train()(given_features).detach().numpy(), expected, rtol=1e-4, atol=3e-5)
    # In evaluation mode the batch norms of a fresh layer let features pass; the instance norms do as before.
    evaluated = layer.eval()
    evaluated.batch.reset_running_stats()
    expected[:, half:] = given_features[:, half:].numpy()
    np.testing.assert_allclose(evaluated(given_features).detach().numpy(), expected, rtol=1e-4, atol=3e-5)


def test_ibn_trains_every_channel():
    layer = InstanceBatchNorm(5)
    (layer(features(2, 5, 4, 4)) * features(2, 5, 4, 4, seed=1)).sum().backward()
    gradients = [value.grad for name, value in layer.named_parameters() if name.endswith("weight")]
    assert sum(gradient.numel() for gradient in gradients) == 5
    assert all((gradient != 0).all() for gradient in gradients)


# ------------------------------------------------------------------------------------------------------ batch-instance


def gated(gate: float | list[float], channels: int = 3) -> BatchInstanceNorm:
    layer = with_scale_and_shift(BatchInstanceNorm(channels))
    with torch.no_grad():
        layer.gate.copy_(torch.tensor(gate))
    return layer


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("gate", [0.0, 0.25, 1.0])
def test_batch_instance_norm_is_the_mixture_of_the_two_formulas(gate, memory):
    given_features = (3 * features(4, 3, 5, 6) + 1).contiguous(memory_format=FORMATS[memory])
    layer = gated(gate)
    mixed = gate * normalised(given_features, (0, 2, 3)) + (1 - gate) * normalised(given_features)
    expected = mixed * layer.weight.detach().numpy()[:, None, None] + layer.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(layer.train()(given_features).detach().numpy(), expected, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize(("gate", "other"), [(1.0, BatchNorm), (0.0, InstanceNorm)])
def test_batch_instance_norm_at_its_ends_is_one_of_the_two_in_both_modes(gate, other):
    layer, plain = gated(gate), with_scale_and_shift(other(3))
    for seed, training in ((0, True), (1, True), (2, False)):  # two steps that move the running averages
        given_features = 2 * features(4, 3, 5, 6, seed=seed) + 1
        expected = plain.train(training)(given_features)
        assert torch.allclose(layer.train(training)(given_features), expected, atol=1e-5)


def test_batch_instance_norm_begins_as_batch_norm():
    given_features = 3 * features(4, 3, 5, 6) + 1
    assert torch.allclose(BatchInstanceNorm(3)(given_features), BatchNorm(3)(given_features), atol=1e-5)


def test_gates_that_left_their_range_come_back():
    layer = gated([-0.5, 0.5, 1.5]).train()
    given_features = features(4, 3, 5, 6) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1, 1)
    inside = gated([0.0, 0.5, 1.0])
    assert torch.equal(layer(given_features), inside(given_features))
    assert layer.gate.tolist() == [0.0, 0.5, 1.0]
    # Loss that wants the first gate up and the last one down: they leave the bounds on the next step.
    by_batch, by_instance = (gated(gate)(given_features).detach() for gate in (1.0, 0.0))
    target = (by_batch + by_instance) / 2
    ((layer(given_features) - target) ** 2).sum().backward()
    assert layer.gate.grad[0] < 0 < layer.gate.grad[2]
    with torch.no_grad():
        layer.gate -= 1e-3 * layer.gate.grad
    assert 0 < layer.gate[0] < 0.5 < layer.gate[2] < 1


def test_the_gradient_of_a_gate_at_its_bounds_is_the_one_of_the_mixture():
    given_features, direction = features(4, 3, 5, 6) + 1, features(4, 3, 5, 6, seed=1)
    layer = gated([0.0, 0.5, 1.0]).train()
    (layer(given_features) * direction).sum().backward()
    difference = normalised(given_features, (0, 2, 3)) - normalised(given_features)
    weight = layer.weight.detach().numpy()[:, None, None]
    expected = (difference * weight * direction.numpy()).sum((0, 2, 3))
    np.testing.assert_allclose(layer.gate.grad.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_batch_instance_norm_in_evaluation_clamps_the_gates_without_touching_them():
    layer = gated([-0.5, 0.5, 1.5]).eval()
    given_features = features(2, 3, 5, 6)
    assert torch.equal(layer(given_features), gated([0.0, 0.5, 1.0]).eval()(given_features))
    assert layer.gate.tolist() == [-0.5, 0.5, 1.5]


@pytest.mark.parametrize("name", NORMS)
def test_two_passes_can_share_one_backward(name):
    # As with gradients that are summed over several batches, or a consistency loss between two views.
    layer = made(name, 4).train()
    convolution = nn.Conv2d(4, 4, 1)
    first, second = (convolution(features(2, 4, 5, 5, seed=seed)) for seed in (0, 1))
    (layer(first).square().sum() + layer(second).square().sum()).backward()
    assert torch.isfinite(convolution.weight.grad).all()


def test_gate_means_are_clamped_and_in_order_of_depth():
    network = nn.Sequential(gated([0.0, 0.5, 1.0]), nn.Sequential(InstanceNorm(3), gated([1.5, 0.5, 0.25])))
    assert gate_means(network) == pytest.approx([0.5, 1.75 / 3])
    assert gate_means(TransformerNet(tiny_config("batch"))) == []


@pytest.mark.parametrize("name", [*NORMS, "batch-instance@encoder"])
def test_gates_and_they_alone_learn_faster(name):
    network = TransformerNet(tiny_config(name))
    groups = parameter_groups(network)
    names = {id(value): key for key, value in network.named_parameters()}
    gates = [key for key in names.values() if key.endswith(".gate")]
    assert len(gates) == {"batch-instance": 5, "batch-instance@encoder": 2}.get(name, 0)
    assert [group["rate_factor"] for group in groups] == [1.0, GATE_RATE_FACTOR][: 2 if gates else 1]
    found = [[names[id(value)] for value in group["params"]] for group in groups]
    assert found[0] == [key for key in names.values() if key not in gates]
    assert sum(found, []) == found[0] + gates


# --------------------------------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize("name", NORMS)
def test_the_list_of_norms_that_differ_between_modes_is_right(name):
    network = TransformerNet(tiny_config(name), seed=3)
    initialise_from_data(network, photos())
    with torch.no_grad():
        trained, evaluated = (network.train(training)(photos(seed=1)) for training in (True, False))
    differs = not torch.allclose(trained, evaluated, atol=1e-4)
    assert differs == (name in DIFFERS_BETWEEN_MODES) == differs_between_modes(name)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("instance@first", True),
        ("instance@first+layer", False),
        ("batch@first+layer", True),
        ("batch@first", True),
        ("none@deep+weight", False),
        ("group@encoder+ibn", True),
    ],
)
def test_a_placement_differs_between_modes_when_a_part_of_it_does(norm, expected):
    assert differs_between_modes(norm) is expected


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
