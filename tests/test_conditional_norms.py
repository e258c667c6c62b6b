"""Layers with numbers for each style: the normalisations, and the last convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stylize.conditional_norms import (
    LAYERS,
    ConditionalBatchNorm,
    ConditionalConv2d,
    ConditionalInstanceNorm,
    make_conditional_norm,
)
from stylize.config import CONDITIONAL_NORMS
from stylize.errors import InputError
from stylize.network_norms import batch_statistics
from stylize.norms import BatchNorm, InstanceNorm
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config

CHANNELS, STYLES = 5, 3


def layer(name: str = "conditional-instance", seed: int = 0, channels: int = CHANNELS, epsilon: float = 1e-3):
    """Return a layer whose styles differ."""
    made = make_conditional_norm(name, channels, epsilon, STYLES)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        made.weight.copy_(torch.randn(STYLES, channels, generator=generator))
        made.bias.copy_(torch.randn(STYLES, channels, generator=generator))
    return made


def run(made, features, shares):
    """Return what a layer makes of features, without gradients."""
    made.choose(torch.as_tensor(shares, dtype=torch.float32))
    with torch.no_grad():
        return made(features)


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


def by_hand(features, weight, bias, shares, epsilon):
    """Dumoulin et al. 2017, equation 5, in numpy and float64, picture by picture and channel by channel."""
    result = np.empty(features.shape)
    for item, picture in enumerate(np.asarray(features, dtype=np.float64)):
        for channel, plane in enumerate(picture):
            scale = sum(share * row[channel] for share, row in zip(shares[item], weight, strict=True))
            shift = sum(share * row[channel] for share, row in zip(shares[item], bias, strict=True))
            deviation = np.sqrt(((plane - plane.mean()) ** 2).mean() + epsilon)
            result[item, channel] = scale * (plane - plane.mean()) / deviation + shift
    return result


def test_the_names_are_those_of_the_settings():
    assert tuple(LAYERS) == tuple(CONDITIONAL_NORMS)
    with pytest.raises(InputError, match=r"unknown normalisation 'conditional-layer'.*known: conditional-instance"):
        make_conditional_norm("conditional-layer", 3, 1e-5, 2)


def test_the_formula():
    made, features = layer(), pictures(3, CHANNELS, 6, 7)
    shares = [[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, -0.5, 1.5]]
    expected = by_hand(features, made.weight.tolist(), made.bias.tolist(), shares, 1e-3)
    np.testing.assert_allclose(run(made, features, shares).numpy(), expected, atol=2e-6)


def test_a_new_layer_normalises_and_nothing_else():
    made, features = make_conditional_norm("conditional-instance", CHANNELS, 1e-5, STYLES), pictures(2, CHANNELS, 8, 8)
    painted = run(made, features, [[0, 1, 0], [0, 0, 1]])
    torch.testing.assert_close(painted.mean((2, 3)), torch.zeros(2, CHANNELS), atol=1e-6, rtol=0)
    torch.testing.assert_close(painted.var((2, 3), correction=0), torch.ones(2, CHANNELS), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("name", "plain"), [("conditional-instance", InstanceNorm), ("conditional-batch", BatchNorm)])
@pytest.mark.parametrize("style", range(STYLES))
def test_one_style_is_the_plain_norm_with_its_numbers(name, plain, style):
    made, features = layer(name).eval(), pictures(2, CHANNELS, 6, 5)
    alone = plain(CHANNELS, 1e-3).eval()
    with torch.no_grad():
        alone.weight.copy_(made.weight[style])
        alone.bias.copy_(made.bias[style])
        if name == "conditional-batch":
            for one in (made, alone):
                one.running_mean.copy_(torch.arange(5.0) / 5)
                one.running_var.copy_(1 + torch.arange(5.0))
        expected = alone(features)
    painted = run(made, features, torch.nn.functional.one_hot(torch.tensor([style, style]), STYLES))
    torch.testing.assert_close(painted, expected, atol=1e-6, rtol=1e-6)


def test_pictures_of_a_batch_get_each_their_style():
    made, features = layer(), pictures(3, CHANNELS, 6, 7)
    shares = torch.eye(STYLES)[[2, 0, 1]]
    together = run(made, features, shares)
    for item in range(3):
        alone = run(made, features[item : item + 1], shares[item : item + 1])
        assert torch.equal(together[item : item + 1], alone)
    assert not torch.allclose(together[0], run(made, features[:1], [[1.0, 0, 0]])[0], atol=0.1)


numbers = st.floats(-2, 2, width=32)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(numbers, min_size=STYLES, max_size=STYLES), st.lists(numbers, min_size=STYLES, max_size=STYLES), numbers
)
def test_a_layer_is_linear_in_the_shares(first, second, part):
    made, features = layer(), pictures(1, CHANNELS, 4, 4)
    mixed = [part * a + (1 - part) * b for a, b in zip(first, second, strict=True)]
    expected = part * run(made, features, [first]) + (1 - part) * run(made, features, [second])
    torch.testing.assert_close(run(made, features, [mixed]), expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [False, True])
def test_the_memory_format_is_kept(name, training):
    made, features = layer(name).train(training), pictures(2, CHANNELS, 6, 7)
    last = features.to(memory_format=torch.channels_last)
    shares = [[1, 0, 0], [0, 1, 0]]
    painted = run(made, last, shares)
    assert painted.is_contiguous(memory_format=torch.channels_last) and not painted.is_contiguous()
    assert run(made, features, shares).is_contiguous()
    torch.testing.assert_close(painted.contiguous(), run(made, features, shares), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_features_are_normalised_in_float32(name, dtype):
    # Around 40 bfloat16 has steps of 0.25; means and variances must not be rounded a second time.
    made, features = layer(name).train(), (pictures(2, CHANNELS, 6, 7) + 40).to(dtype)
    shares = [[1, 0, 0], [0, 1, 0]]
    painted = run(made, features, shares)
    assert painted.dtype == dtype
    expected = run(made, features.float(), shares)
    torch.testing.assert_close(painted.float(), expected, atol=0.05, rtol=0.02)


def test_only_the_chosen_rows_learn():
    made = layer()
    made.choose(torch.eye(STYLES)[[1, 1]])
    made(pictures(2, CHANNELS, 4, 4)).square().sum().backward()
    for numbers in (made.weight.grad, made.bias.grad):
        assert float(numbers[1].abs().min()) > 0
        assert float(numbers[[0, 2]].abs().max()) == 0


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name):
    made = layer(name, channels=2, epsilon=0.1).double().train()
    made.choose(torch.tensor([[0.3, 0.7, 0.0], [0.0, 0.5, 0.9]]))
    assert torch.autograd.gradcheck(made, pictures(2, 2, 3, 3).double().requires_grad_())


@pytest.mark.parametrize("name", LAYERS)
def test_autocast_does_not_round_the_numbers_of_a_style(name):
    made, features = layer(name).train(), pictures(2, CHANNELS, 6, 7)
    shares = [[0.3, 0.7, 0.0], [0.0, 0.0, 1.0]]
    expected = run(made, features, shares)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(run(made, features, shares), expected)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_that_was_not_told_the_style(name):
    made, features = layer(name), pictures(1, CHANNELS, 4, 4)
    with pytest.raises(InputError, match="not told which to paint"):
        made(features)
    run(made, features, [[1, 0, 0]])
    made.choose(None)
    with pytest.raises(InputError, match="not told which to paint"):
        made(features)


def test_batch_statistics_of_the_batch_in_training_and_gathered_ones_later():
    made, features = layer("conditional-batch").train(), pictures(4, CHANNELS, 6, 7)
    shares = torch.eye(STYLES)[[0, 1, 2, 0]]
    trained = run(made, features, shares)
    mean, variance = features.mean((0, 2, 3)), features.var((0, 2, 3), correction=0)
    scale, shift = shares @ made.weight.detach(), shares @ made.bias.detach()
    normalised = (features - mean[:, None, None]) / (variance + 1e-3).sqrt()[:, None, None]
    expected = normalised * scale[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(trained, expected, atol=1e-5, rtol=1e-5)
    assert int(made.num_batches_tracked) == 1
    torch.testing.assert_close(made.running_mean, 0.1 * mean)
    torch.testing.assert_close(made.running_var, 0.9 + 0.1 * features.var((0, 2, 3), correction=1))

    made.eval()
    later = run(made, features[:1], shares[:1])
    normalised = (features[:1] - made.running_mean[:, None, None]) / (made.running_var + 1e-3).sqrt()[:, None, None]
    expected = normalised * made.weight[0].detach()[:, None, None] + made.bias[0].detach()[:, None, None]
    torch.testing.assert_close(later, expected, atol=1e-5, rtol=1e-5)
    assert int(made.num_batches_tracked) == 1


def test_the_instance_variant_does_the_same_in_both_modes():
    made, features = layer(), pictures(2, CHANNELS, 6, 7)
    shares = [[1, 0, 0], [0, 0, 1]]
    assert torch.equal(run(made.train(), features, shares), run(made.eval(), features, shares))
    assert not list(made.buffers())


def test_batch_statistics_leave_a_network_as_it_was():
    network = TransformerNet(tiny_config("conditional-batch", styles=2)).eval()
    layers = [module for module in network.modules() if isinstance(module, ConditionalBatchNorm)]
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    assert len(before) == 3 * len(layers) > 0
    images, styles = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    with torch.no_grad():
        evaluated = network(images, styles)
        with batch_statistics(network):
            inside = network(images, styles)
            assert all(int(one.num_batches_tracked) == 1 for one in layers)
        after = network(images, styles)
    assert not torch.allclose(inside, evaluated, atol=1e-3)
    assert torch.equal(after, evaluated)
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
    assert not any(module.training for module in network.modules())


def test_the_layers_say_what_they_are():
    assert "5, styles=3" in repr(layer())
    assert isinstance(layer(), ConditionalInstanceNorm)


# ----------------------------------------------------------------------------------------- a convolution for each style


def convolution(kernel: int = 3, seed: int = 0) -> ConditionalConv2d:
    """Return a convolution from 5 to 2 channels whose styles differ."""
    made = ConditionalConv2d(nn.Conv2d(CHANNELS, 2, kernel), STYLES)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for numbers in made.parameters():
            numbers.copy_(torch.randn(numbers.shape, generator=generator))
    return made


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_by_hand(kernel):
    made, features = convolution(kernel), pictures(3, CHANNELS, 4, 5)
    shares = [[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, -0.5, 1.5]]
    painted = run(made, features, shares)
    weight, bias = (numbers.detach().double().numpy() for numbers in (made.weight, made.bias))
    assert painted.shape == (3, 2, 5 - kernel, 6 - kernel)
    for item, y, x in np.ndindex(3, 5 - kernel, 6 - kernel):
        window = features[item, :, y : y + kernel, x : x + kernel].double().numpy()
        mixed = np.tensordot(shares[item], weight, 1)
        expected = (mixed * window).sum((1, 2, 3)) + np.tensordot(shares[item], bias, 1)
        np.testing.assert_allclose(painted[item, :, y, x].numpy(), expected, atol=2e-5)


def test_every_style_begins_as_the_convolution_that_was_given():
    plain, features = nn.Conv2d(CHANNELS, 2, 3), pictures(2, CHANNELS, 6, 7)
    made = ConditionalConv2d(plain, STYLES)
    assert made.weight.shape == (STYLES, *plain.weight.shape) and made.bias.shape == (STYLES, 2)
    with torch.no_grad():
        expected = plain(features)
        torch.testing.assert_close(run(made, features, torch.eye(STYLES)[[0, 2]]), expected)
        plain.weight.zero_()  # the styles have copies
        made.weight[1] = 0
        torch.testing.assert_close(run(made, features, torch.eye(STYLES)[[0, 2]]), expected)


def test_only_the_chosen_convolutions_learn_and_each_from_its_own_picture():
    made, features = convolution(), pictures(2, CHANNELS, 5, 5)
    made.choose(torch.eye(STYLES)[[2, 0]])
    made(features).square().sum().backward()
    assert float(made.weight.grad[1].abs().max()) == float(made.bias.grad[1].abs().max()) == 0
    for style, picture in ((2, features[:1]), (0, features[1:])):
        weight, bias = (numbers[style].detach().clone().requires_grad_() for numbers in (made.weight, made.bias))
        F.conv2d(picture, weight, bias).square().sum().backward()
        torch.testing.assert_close(made.weight.grad[style], weight.grad)
        torch.testing.assert_close(made.bias.grad[style], bias.grad)


def test_gradients_of_a_convolution():
    made = convolution(1).double()
    made.choose(torch.tensor([[0.3, 0.7, 0.0], [0.0, 0.5, 0.9]]).double())
    features = pictures(2, CHANNELS, 2, 2).double().requires_grad_()

    def value(features, weight, bias):
        return torch.func.functional_call(made, {"weight": weight, "bias": bias}, (features,))

    assert torch.autograd.gradcheck(value, (features, made.weight, made.bias))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(numbers, min_size=STYLES, max_size=STYLES), st.lists(numbers, min_size=STYLES, max_size=STYLES), numbers
)
def test_a_convolution_is_linear_in_the_shares(first, second, part):
    made, features = convolution(), pictures(1, CHANNELS, 4, 4)
    mixed = [part * a + (1 - part) * b for a, b in zip(first, second, strict=True)]
    expected = part * run(made, features, [first]) + (1 - part) * run(made, features, [second])
    torch.testing.assert_close(run(made, features, [mixed]), expected, atol=1e-3, rtol=1e-4)


def test_a_convolution_keeps_the_memory_format_and_follows_autocast():
    made, features = convolution(), pictures(2, CHANNELS, 6, 7)
    shares = [[1, 0, 0], [0, 1, 0]]
    expected = run(made, features, shares)
    last = run(made, features.to(memory_format=torch.channels_last), shares)
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.contiguous(), expected, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = run(made, features, shares)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), expected, atol=0.3, rtol=0.02)


def test_a_convolution_that_was_not_told_the_style():
    with pytest.raises(InputError, match="not told which to paint"):
        convolution()(pictures(1, CHANNELS, 4, 4))
