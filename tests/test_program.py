"""The program of a network computes what the network computes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.applied_norms import AppliedNorm, applied
from stylize.config import PRESETS, TransformerConfig
from stylize.errors import InputError
from stylize.norms import NORMS, make_norm
from stylize.program import Layer, Program, lower
from stylize.transformer import OUTPUT_SCALE, TransformerNet, padded_size
from tests.helpers import tiny_config

CONFIGS = {
    "plain": {},
    "shuffle": {"space_to_depth": 2, "output": "shuffle"},
    "blocks of 2": {"space_to_depth": 2, "channels": (6,)},
    "blocks of 4": {"space_to_depth": 4, "channels": (6,)},
    "even": {"channels": (4, 8, 8), "first_kernel": 5, "last_kernel": 9},
}
"""Changes to the tiny architecture that reach every branch of the network."""


def trained(config: TransformerConfig, seed: int = 0) -> TransformerNet:
    """Return a network whose norms are not at their initial values."""
    network = TransformerNet(config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if "norm" in name or ".weight" not in name and "conv" not in name:
                if tensor.dtype == torch.float32:
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) * 1.5 + 0.1)
    return network.eval()


def normalise(norm: AppliedNorm, features: torch.Tensor) -> torch.Tensor:
    """Apply a norm by its formula."""
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
    scale, shift = norm.coefficients(mean, variance)
    return features * scale[:, :, None, None] + shift[:, :, None, None]


def run_layer(layer: Layer, features: torch.Tensor) -> torch.Tensor:
    mode = "replicate" if layer.upsampling else "reflect"
    result = F.conv2d(F.pad(features, (layer.padding,) * 4, mode=mode), layer.weight, layer.bias, layer.stride)
    if layer.upsampling:
        batch, _, height, width = features.shape
        channels = layer.channels_out
        merged = torch.empty(batch, channels, 2 * height, 2 * width)
        for phase in range(4):
            p, q = divmod(phase, 2)
            own = result[:, phase * channels : (phase + 1) * channels, p : p + height, q : q + width]
            merged[:, :, p::2, q::2] = own
        result = merged
    if layer.norm is not None:
        result = normalise(layer.norm, result)
    return F.relu(result) if layer.relu else result


def run(program: Program, images: torch.Tensor) -> torch.Tensor:
    """Run a program as its docstring says, with nothing clever."""
    height, width = images.shape[-2:]
    bottom, right = (
        size - side for size, side in zip(padded_size(program.config, height, width), (height, width), strict=True)
    )
    features = F.pad(images, (0, right, 0, bottom), mode="reflect")
    features = F.pixel_unshuffle(features, program.unshuffle)
    for layer in program.encoder:
        features = run_layer(layer, features)
    for first, second in program.blocks:
        features = features + run_layer(second, run_layer(first, features))
    for layer in program.decoder:
        features = run_layer(layer, features)
    features = F.pixel_shuffle(features, program.shuffle)
    return (0.5 + OUTPUT_SCALE * torch.tanh(features))[..., :height, :width]


@pytest.mark.parametrize("norm", [*NORMS, "instance@first", "batch@encoder+none"])
@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_a_program_computes_what_the_network_computes(norm, changes):
    network = trained(tiny_config(norm, **changes), seed=3)
    images = torch.rand(2, 3, 29, 34, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(run(lower(network), images), network(images), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(("norm", "expected"), [("batch", 0), ("weight", 0), ("none", 0), ("instance", 5), ("ibn", 5)])
def test_what_does_not_depend_on_the_photo_is_folded(norm, expected):
    program = lower(trained(tiny_config(norm)))
    assert sum(layer.norm is not None for layer in program.layers) == expected
    assert program.needs_statistics == (expected > 0)


def test_a_program_does_not_change_with_its_network():
    network = trained(tiny_config("batch-instance"))
    program = lower(network)
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    before = run(program, images)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.zero_()
    torch.testing.assert_close(run(program, images), before, atol=0, rtol=0)


def test_multiplications_per_pixel_of_the_presets():
    # By hand for the field's network: 9x9x3x32 = 7776; 3x3x32x64 / 4 = 4608; 3x3x64x128 / 16 = 4608;
    # ten of 3x3x128x128 / 16 = 9216; upsampling 16x128x64 / 16 = 8192 and 16x64x32 / 4 = 8192; 9x9x32x3 = 7776.
    assert lower(TransformerNet(PRESETS["johnson"])).multiplications_per_pixel == 133_312
    # fast: 9x48x64 / 16 = 1728; ten of 9x64x64 / 16 = 2304; 16x64x32 / 16 = 2048; 16x32x3 / 4 = 384.
    assert lower(TransformerNet(PRESETS["fast"])).multiplications_per_pixel == 27_200


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(list(NORMS)), st.integers(1, 17), st.integers(0, 1000))
def test_the_form_of_a_norm_is_the_norm(name, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    convolution = torch.nn.Conv2d(2, channels, 1)
    layer = make_norm(name, channels, 1e-3, convolution).eval()
    with torch.no_grad():
        for tensor in [*layer.parameters(), *layer.buffers()]:
            if tensor.dtype == torch.float32:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
        features = convolution(torch.randn(2, 2, 5, 6, generator=generator))
        torch.testing.assert_close(normalise(applied(layer), features), layer(features), atol=2e-5, rtol=1e-4)


def test_statistics_of_groups_by_hand():
    norm = AppliedNorm(torch.zeros(4), torch.ones(4), torch.zeros(4), groups=2, epsilon=0.0)
    mean, variance = norm.shared(torch.tensor([[0.0, 2.0, 5.0, 5.0]]), torch.tensor([[1.0, 3.0, 4.0, 0.0]]))
    assert mean.tolist() == [[1, 1, 5, 5]]
    assert variance.tolist() == [[3, 3, 2, 2]]  # (1 + 3) / 2 + (1 + 1) / 2; (4 + 0) / 2 + 0


def test_only_a_fixed_norm_can_be_folded():
    norm = AppliedNorm(torch.zeros(2), torch.ones(2), torch.zeros(2), groups=2, epsilon=1e-5)
    with pytest.raises(InputError, match="only a fixed one can be folded"):
        norm.fold(torch.ones(2, 1, 1, 1), torch.zeros(2))


def test_another_layer_is_refused():
    with pytest.raises(InputError, match="a Linear given; a normalisation layer"):
        applied(torch.nn.Linear(1, 1))
