"""The stylization network: sizes, equivalences, exact invariances and initial weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import stylize.transformer as transformer
from stylize.conditional_norms import Conditional, ConditionalConv2d
from stylize.config import NORM_NAMES, PRESETS, TransformerConfig, preset
from stylize.errors import InputError
from stylize.norms import NORMS, BatchInstanceNorm
from stylize.transformer import OUTPUT_SCALE, Conv, TransformerNet, UpsampleConv, mirrored_indices
from tests.helpers import tiny_config

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}

ODD = {
    "one resolution": tiny_config(channels=(5,), first_kernel=1, last_kernel=1),
    "no trunk": tiny_config(residual_blocks=0),
    "large kernels": tiny_config(first_kernel=15, last_kernel=15),
    "only the last kernel is large": tiny_config(first_kernel=1, last_kernel=15),
    "four resolutions": tiny_config(channels=(3, 4, 5, 6)),
    "blocks of 2": tiny_config(space_to_depth=2, first_kernel=5),
    "blocks of 4": tiny_config(space_to_depth=4, first_kernel=9),
    "blocks of 4, narrow": tiny_config(space_to_depth=4, channels=(2, 4)),
    "blocks of 2, shuffled": tiny_config(space_to_depth=2, output="shuffle", last_kernel=7),
    "blocks of 4, shuffled": tiny_config(space_to_depth=4, output="shuffle", last_kernel=1),
    "batch norm": tiny_config("batch"),
}

NETWORKS = {name: TransformerNet(config).eval() for name, config in ODD.items()}
NETWORKS |= {name: TransformerNet(preset(name)).eval() for name in PRESETS}


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------------ architecture


def test_johnson_is_the_network_of_the_field():
    network = TransformerNet(preset("johnson"))
    # Weights and biases of the table in stylize/transformer.py, and scale and shift of each normalisation.
    layers = [(3, 32, 9), (32, 64, 3), (64, 128, 3), *[(128, 128, 3)] * 10, (128, 64, 3), (64, 32, 3), (32, 3, 9)]
    count = sum(wide * narrow * size**2 + narrow for wide, narrow, size in layers)
    count += 2 * sum(narrow for _, narrow, _ in layers[:-1])
    assert network.parameter_count == count == 1_679_235
    found = [
        (module.in_channels, module.out_channels, module.kernel_size[0])
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert found == layers


def test_the_last_convolution_has_the_kernel_of_the_configuration():
    def last_kernel(config: TransformerConfig) -> int:
        convolutions = [m for m in TransformerNet(config).modules() if isinstance(m, nn.Conv2d)]
        return convolutions[-1].kernel_size[0]

    assert last_kernel(tiny_config(last_kernel=7)) == 7
    assert last_kernel(tiny_config(last_kernel=7, space_to_depth=2, output="shuffle")) == 7


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_every_hidden_convolution_of_johnson_is_normalised(norm):
    network = TransformerNet(preset("johnson", norm))
    norms = [module for module in network.modules() if type(module) is NORMS[norm]]
    assert len(norms) == len(network.norm_places()) == 15
    assert all(not isinstance(module, nn.ConvTranspose2d) for module in network.modules())


# -------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None)
@example(height=1, width=1)
@example(height=2, width=1)
@example(height=1, width=67)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_output_size_is_input_size(name, height, width):
    if name == "johnson":  # the costly one
        height, width = min(height, 37), min(width, 37)
    images = pictures(1, 3, height, width)
    with torch.no_grad():
        painted = NETWORKS[name](images)
    assert painted.shape == images.shape
    assert painted.dtype == torch.float32
    assert torch.isfinite(painted).all()


def test_every_picture_of_a_batch_is_painted_on_its_own():
    images = pictures(3, 3, 17, 14)
    with torch.no_grad():
        together = NETWORKS["fast"](images)
        alone = torch.cat([NETWORKS["fast"](image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 4, 8, 8), (0, 3, 8, 8), (1, 3, 0, 8), (1, 3, 8, 0), ()])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match=r"pictures of shape \(.*\) given; \(B, 3, H, W\) with H, W >= 1 is accepted"):
        NETWORKS["no trunk"](torch.zeros(shape))


@pytest.mark.parametrize("name", ["fast", "blocks of 4, shuffled", "batch norm"])
def test_output_stays_within_its_bounds_and_reaches_beyond_black_and_white(name):
    config = NETWORKS[name].config
    network = TransformerNet(config).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(100)
        painted = network(pictures(1, 3, 24, 24))
    assert OUTPUT_SCALE == 150 / 255
    assert (painted - 0.5).abs().max() <= 150 / 255 + 1e-6
    assert painted.min() < -0.08
    assert painted.max() > 1.08


@pytest.mark.parametrize("name", ["fast", "large kernels"])
def test_a_picture_padded_to_a_size_the_strides_divide_is_continued_by_reflection(name):
    network = NETWORKS[name]
    images = pictures(1, 3, 37, 39)
    down, right = (-side % network.config.reduction for side in (37, 39))
    by_hand = F.pad(images, (0, right, 0, down), mode="reflect")
    with torch.no_grad():
        assert torch.equal(network(images), network(by_hand)[..., :37, :39])


@pytest.mark.parametrize("memory", FORMATS)
def test_both_memory_formats_give_one_result(memory):
    network = TransformerNet(preset("fast")).eval()
    images = pictures(2, 3, 30, 21)
    with torch.no_grad():
        expected = network(images)
        network.to(memory_format=FORMATS[memory])
        painted = network(images.contiguous(memory_format=FORMATS[memory]))
    assert torch.allclose(painted, expected, atol=1e-4)


# -------------------------------------------------------------------------------------------------- mirrored_indices


@given(st.integers(1, 20), st.integers(0, 60))
def test_mirrored_indices_are_numpys_reflection(length, more):
    row = np.arange(length)
    expected = np.pad(row, (0, more), mode="reflect")  # numpy repeats a row of one
    assert mirrored_indices(length, length + more, torch.device("cpu")).tolist() == expected.tolist()


def test_mirrored_indices_of_the_docstring():
    indices = mirrored_indices(3, 8, torch.device("cpu"))
    assert "".join("abc"[index] for index in indices) == "abcbabcb"


# ------------------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2), (9, 1)])
def test_conv_pads_by_reflection(size, stride):
    layer = Conv(2, 3, size, stride)
    features = pictures(1, 2, 11, 8)
    padded = torch.from_numpy(np.pad(features.numpy(), ((0, 0), (0, 0), *[(size // 2,) * 2] * 2), mode="reflect"))
    result = layer(features)
    assert result.shape == (1, 3, -(-11 // stride), -(-8 // stride))
    assert torch.allclose(result, F.conv2d(padded, layer.conv.weight, layer.conv.bias, stride), atol=1e-6)


def plain_upsampling(layer: UpsampleConv, features: torch.Tensor) -> torch.Tensor:
    """The definition: nearest upsampling by 2, reflection padding by 1, 3x3 convolution."""
    large = F.interpolate(features, scale_factor=2, mode="nearest")
    return F.conv2d(F.pad(large, (1, 1, 1, 1), mode="reflect"), layer.conv.weight, layer.conv.bias)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    memory=st.sampled_from(list(FORMATS)),
)
def test_upsampling_convolution_is_its_definition_with_its_gradients(batch, channels, height, width, memory):
    torch.manual_seed(0)
    layer = UpsampleConv(*channels)
    features = pictures(batch, channels[0], height, width).contiguous(memory_format=FORMATS[memory]) - 0.5
    direction = pictures(batch, channels[1], 2 * height, 2 * width, seed=1) - 0.5
    results = []
    for function in (layer, lambda x: plain_upsampling(layer, x)):
        leaf = features.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        layer.zero_grad()
        painted = function(leaf)
        (painted * direction).sum().backward()
        results.append([painted.detach(), leaf.grad, layer.conv.weight.grad.clone(), layer.conv.bias.grad.clone()])
    for fast, plain in zip(*results, strict=True):
        assert torch.allclose(fast, plain, atol=2e-5)


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_upsampling_convolution_keeps_memory_format_and_dtype(memory, dtype):
    torch.manual_seed(0)
    layer = UpsampleConv(6, 4).to(dtype)
    features = (pictures(2, 6, 5, 7) - 0.5).to(dtype).contiguous(memory_format=FORMATS[memory])
    with torch.no_grad():
        result = layer(features)
        expected = plain_upsampling(layer.double(), features.double())
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=FORMATS[memory])
    # bfloat16: the sums of taps are rounded once more, by 2^-9 of at most 0.5 each, 54 products of at most 0.5.
    assert torch.allclose(result.double(), expected, atol={torch.bfloat16: 2e-2}.get(dtype, 1e-6))


def test_upsampling_convolution_in_autocast():
    torch.manual_seed(0)
    layer = UpsampleConv(6, 4)
    features = pictures(1, 6, 5, 7) - 0.5
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(features)
    assert result.dtype == torch.bfloat16
    assert torch.allclose(result.float(), plain_upsampling(layer, features), atol=2e-2)


# ------------------------------------------------------------------------------------ a last convolution for each style

STYLES = 3
ENDS = [
    "one resolution",
    "large kernels",
    "blocks of 2",
    "blocks of 4",
    "blocks of 2, shuffled",
    "blocks of 4, shuffled",
]


def with_own_output(name: str, own_output: bool = True) -> TransformerNet:
    """Return a network of three styles, of which each has a last convolution of its own, all different."""
    settings = vars(ODD[name]) | {"norm": "conditional-instance", "styles": STYLES, "own_output": own_output}
    network = TransformerNet(TransformerConfig(**settings), seed=3).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Conditional):
                for numbers in module.parameters():
                    numbers += 0.2 * torch.randn(numbers.shape, generator=generator)
    return network


@pytest.mark.parametrize("name", ENDS)
def test_all_styles_begin_with_the_last_convolution_of_a_network_of_one_style(name):
    settings = vars(ODD[name]) | {"norm": "conditional-instance", "styles": STYLES, "own_output": True}
    several, one = TransformerNet(TransformerConfig(**settings), seed=3), TransformerNet(ODD[name], seed=3).eval()
    assert isinstance(several.output.conv, ConditionalConv2d) and isinstance(one.output.conv, nn.Conv2d)
    assert sum(isinstance(module, ConditionalConv2d) for module in several.modules()) == 1
    for style in range(STYLES):
        assert torch.equal(several.output.conv.weight[style], one.output.conv.weight)
        assert torch.equal(several.output.conv.bias[style], one.output.conv.bias)
    images = pictures(2, 3, 17, 14)
    with torch.no_grad():
        painted = several.eval()(images, torch.tensor([2, 0]))
        assert torch.allclose(painted, one(images), atol=2e-6)
    assert list(several.state_dict()) == list(one.state_dict())
    more = several.output.conv.weight[1:].numel() + several.output.conv.bias[1:].numel()
    norms = 2 * (STYLES - 1) * sum(place.convolution.out_channels for place in one.norm_places())
    assert several.parameter_count == one.parameter_count + more + norms


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("name", ENDS)
def test_styles_of_a_batch_do_not_touch_each_other(name, memory):
    network = with_own_output(name)
    images, styles = pictures(4, 3, 17, 14), torch.tensor([2, 0, 1, 0])
    with torch.no_grad():
        alone = torch.cat([network(images[i : i + 1], styles[i : i + 1]) for i in range(4)])
        # torch refuses channels_last for the five dimensions of these weights, so the network must leave them alone.
        assert network.to(memory_format=FORMATS[memory]) is network
        together = network(images.contiguous(memory_format=FORMATS[memory]), styles)
    assert torch.allclose(together, alone, atol=1e-5)
    assert (together[0] - network(images[:1], torch.tensor([1]))[0]).abs().mean() > 1e-3
    if memory == "channels-last" and name != "one resolution":  # whose kernels are of one position
        assert network.encoder[0].conv.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ENDS)
def test_gradients_reach_the_last_convolution_of_the_painted_styles_only(name):
    network = with_own_output(name)
    images = pictures(2, 3, 12, 13)
    network(images, torch.tensor([2, 0])).square().sum().backward()
    weight, bias = network.output.conv.weight.grad, network.output.conv.bias.grad
    assert float(weight[1].abs().max()) == float(bias[1].abs().max()) == 0
    assert all(float(weight[style].abs().max()) > 0 and float(bias[style].abs().max()) > 0 for style in (0, 2))
    both = weight.clone()
    network.zero_grad()
    network(images[:1], torch.tensor([2])).square().sum().backward()
    again = network.output.conv.weight.grad
    assert torch.allclose(again[2], both[2], rtol=1e-4, atol=1e-5) and float(again[:2].abs().max()) == 0


def test_upsampling_with_a_convolution_for_each_style_is_its_definition():
    torch.manual_seed(0)
    layer = UpsampleConv(4, 3)
    layer.conv = ConditionalConv2d(layer.conv, STYLES)
    with torch.no_grad():
        layer.conv.weight += torch.randn(layer.conv.weight.shape)
        layer.conv.bias += torch.randn(layer.conv.bias.shape)
    shares, features = torch.tensor([[0.0, 1.0, 0.0], [0.5, -0.5, 1.0]]), pictures(2, 4, 3, 5)
    layer.conv.choose(shares)
    painted = layer(features)
    plain = UpsampleConv(4, 3)
    for item, share in enumerate(shares):
        with torch.no_grad():
            plain.conv.weight.copy_(torch.tensordot(share, layer.conv.weight, 1))
            plain.conv.bias.copy_(share @ layer.conv.bias)
        assert torch.allclose(painted[item : item + 1], plain_upsampling(plain, features[item : item + 1]), atol=2e-5)


@pytest.mark.parametrize("own_output", [False, True])
def test_moving_a_network_moves_all_of_it(own_output):
    network = with_own_output("blocks of 2", own_output).to(torch.float64, memory_format=torch.channels_last)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}
    assert network(pictures(1, 3, 8, 8).double(), torch.tensor([1])).dtype == torch.float64
    assert {parameter.dtype for parameter in network.to("cpu", torch.float32).parameters()} == {torch.float32}
    assert network.to(device="cpu", dtype=torch.float64).output.conv.bias.dtype == torch.float64


# -------------------------------------------------------------------------------------------------------- invariances


class ZeroPadding:
    """torch.nn.functional with zeros wherever reflection or replication is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(F, name)

    @staticmethod
    def pad(features: torch.Tensor, padding: Any, mode: str = "constant") -> torch.Tensor:
        return F.pad(features, padding)


def change(network: nn.Module, contrast: float, brightness: tuple[float, float, float]) -> float:
    """How much the result changes with the picture's contrast and with a brightness per colour, at most."""
    images = pictures(1, 3, 21, 26).double()
    shifted = contrast * images + torch.tensor(brightness).double().view(1, 3, 1, 1)
    with torch.no_grad():
        return float((network(images) - network(shifted)).abs().max())


LOOKS = [(0.5, (0.0, 0.0, 0.0)), (1.0, (0.3, 0.3, 0.3)), (0.4, (0.1, -0.2, 0.5)), (3.0, (-1.0, 0.0, 0.0))]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", ["fast", "large kernels", "four resolutions", "blocks of 4", "blocks of 2, shuffled"])
def test_an_instance_norm_network_cannot_see_contrast_and_brightness(name, look):
    # In float64 and with a tiny epsilon, so that nothing but the invariance itself is left to fail.
    config = TransformerConfig(**{**vars(NETWORKS[name].config), "norm_epsilon": 1e-13})
    network = TransformerNet(config, seed=1).double().eval()
    assert change(network, *look) < 1e-5


@pytest.mark.parametrize("look", LOOKS[:3])
def test_the_invariance_holds_as_the_network_is_used(look):
    # float32 and epsilon 1e-5, against the noise that an 8-bit picture has anyway: half a level.
    network = NETWORKS["fast"]
    images = pictures(1, 3, 40, 44)
    contrast, brightness = look
    with torch.no_grad():
        first = network(images)
        second = network(contrast * images + torch.tensor(brightness).view(1, 3, 1, 1))
    assert (first - second).abs().max() < 0.5 / 255


def test_zero_padding_would_break_the_invariance_to_brightness(monkeypatch):
    network = TransformerNet(tiny_config(norm_epsilon=1e-13), seed=1).double().eval()
    assert change(network, 1.0, (0.3, 0.3, 0.3)) < 1e-5
    monkeypatch.setattr(transformer, "F", ZeroPadding())
    assert change(network, 1.0, (0.3, 0.3, 0.3)) > 0.01


def test_a_batch_norm_network_sees_contrast_and_brightness_in_evaluation():
    network = TransformerNet(tiny_config("batch"), seed=1).train()
    with torch.no_grad():
        for seed in range(30):
            network(pictures(4, 3, 16, 16, seed=seed))
    network.double().eval()
    assert change(network, 0.5, (0.0, 0.0, 0.0)) > 0.01
    assert change(network, 1.0, (0.3, 0.3, 0.3)) > 0.01


@pytest.mark.parametrize("name", PRESETS)
def test_both_norms_are_one_network_for_a_single_picture_in_training(name):
    instance, batch = (TransformerNet(preset(name, norm), seed=3).double().train() for norm in ("instance", "batch"))
    one, two = pictures(1, 3, 16, 16).double(), pictures(2, 3, 16, 16, seed=1).double()
    two[1] *= 0.3
    with torch.no_grad():
        assert torch.allclose(instance(one), batch(one), atol=1e-5)
        assert (instance(two) - batch(two)).abs().max() > 0.01


# ---------------------------------------------------------------------------------------------------- initial weights


def convolutions(network: nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{kind}": value.detach().clone()
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
        for kind, value in module.named_parameters()
    }


@pytest.mark.parametrize("name", PRESETS)
def test_seed_decides_the_weights_and_the_norm_does_not(name):
    first = convolutions(TransformerNet(preset(name, "instance"), seed=5))
    for other in (TransformerNet(preset(name, "instance"), seed=5), TransformerNet(preset(name, "batch"), seed=5)):
        assert convolutions(other).keys() == first.keys()
        assert all(torch.equal(value, first[key]) for key, value in convolutions(other).items())
    different = convolutions(TransformerNet(preset(name), seed=6))
    assert all(not torch.equal(value, first[key]) for key, value in different.items())


def test_weights_do_not_depend_on_the_random_state_of_the_process():
    torch.manual_seed(1)
    first = convolutions(TransformerNet(tiny_config()))
    torch.manual_seed(2)
    second = convolutions(TransformerNet(tiny_config()))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_initial_weights_are_uniform_within_the_fan_in():
    network = TransformerNet(preset("johnson"), seed=0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = (module.in_channels * module.kernel_size[0] ** 2) ** -0.5
            assert module.weight.abs().max() <= bound
            assert module.bias.abs().max() <= bound
            assert float(module.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)


# ---------------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_gradients_are_finite_differences(norm):
    network = TransformerNet(tiny_config(norm, space_to_depth=2), seed=2).double().train()
    for module in network.modules():
        if isinstance(module, BatchInstanceNorm):
            module.gate.data.fill_(0.4)  # not at a bound, beyond which nothing changes
    images = pictures(2, 3, 9, 10).double().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(2, 3, 9, 10, generator=generator).double() - 0.5

    def value(pictures: torch.Tensor) -> torch.Tensor:
        return (network(pictures) * weight).sum()

    leaves = [images, *network.parameters()]
    slopes = torch.autograd.grad(value(images), leaves)
    # One random direction through the pictures, and one through all weights.
    for part in (slice(0, 1), slice(1, None)):
        chosen, gradient = leaves[part], slopes[part]
        directions = [torch.randn(leaf.shape, generator=generator).double() for leaf in chosen]
        expected = sum(float((slope * d).sum()) for slope, d in zip(gradient, directions, strict=True))
        step, values = 1e-8, []  # short, so that hardly any ReLU lies on another side
        for sign in (1, -2, 1):  # there, to the other side, and back
            with torch.no_grad():
                for leaf, direction in zip(chosen, directions, strict=True):
                    leaf += sign * step * direction
                values.append(float(value(images)))
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert abs(expected) > 0.05  # a slope of nothing would prove nothing
