"""The engine of plain PyTorch paints what the network paints."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.engines import channel_statistics
from stylize.engines.channel_statistics import statistics
from stylize.engines.torch_engine import TorchEngine
from stylize.norms import NORMS
from stylize.program import lower
from stylize.transformer import TransformerNet
from stylize.zoo import resolve_weights
from tests.helpers import tiny_config
from tests.test_program import CONFIGS, trained


def painted_by(network: TransformerNet, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(images).clamp(0, 1)


def shipped(style: str, norm: str) -> TransformerNet:
    from stylize.checkpoints import load_network

    return load_network(resolve_weights(style, norm).path)[0].eval()


@pytest.mark.parametrize("norm", [*NORMS, "instance@first", "batch@encoder+none"])
@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_the_engine_paints_what_the_network_paints(norm, changes):
    network = trained(tiny_config(norm, **changes), seed=3)
    engine = TorchEngine(lower(network))
    for size in ((29, 34), (64, 9), (13, 18)):
        images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
        painted = engine.paint(images)
        assert painted.is_contiguous() and painted.dtype == torch.float32
        torch.testing.assert_close(painted, painted_by(network, images), atol=1e-4, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(list(CONFIGS)), st.integers(0, 99))
def test_any_size_gives_a_picture_of_that_size(height, width, name, seed):
    engine = TorchEngine(lower(trained(tiny_config("instance", **CONFIGS[name]), seed)), "bfloat16")
    painted = engine.paint(torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)))
    assert painted.shape == (1, 3, height, width)
    lowest, highest = painted.aminmax()
    assert lowest >= 0 and highest <= 1  # False for NaN, too.


def test_the_caller_gets_an_ordinary_tensor():
    painted = TorchEngine(lower(trained(tiny_config()))).paint(torch.rand(1, 3, 8, 8))
    assert not painted.is_inference() and not painted.requires_grad


@pytest.mark.parametrize("value", [1.0, 0.3])
@pytest.mark.parametrize(("precision", "limit"), [("float32", 0.05), ("float16", 0.5), ("bfloat16", 3.0)])
def test_flat_pictures_are_not_blown_up(value, precision, limit):
    # Behind a flat picture every scale is 1 / sqrt(epsilon): what rounding leaves is multiplied by 300 in each layer.
    network = shipped("starry-night", "instance")
    images = torch.full((1, 3, 65, 64), value)
    difference = TorchEngine(lower(network), precision).paint(images) - painted_by(network, images)
    assert 255 * float(difference.abs().max()) < limit


@pytest.mark.parametrize("style", ["starry-night", "great-wave"])
def test_low_contrast_survives_bfloat16(style):
    # 0.5 .. 0.502 is a single value in bfloat16; instance norm must still see the noise.
    network = shipped(style, "instance")
    images = 0.5 + 0.002 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    difference = TorchEngine(lower(network), "bfloat16").paint(images) - painted_by(network, images)
    assert 255 * float(difference.abs().mean()) < 1


def test_channels_that_are_switched_off_stay_finite():
    # scale 0 and a shift of either sign: -b / a of the ReLU's threshold is infinite.
    network = trained(tiny_config("instance"))
    with torch.no_grad():
        for place in network.norm_places():
            place.norm.weight[0::3] = 0
            place.norm.weight[1::3] *= -1
            place.norm.bias[0::2] *= -1
            place.norm.weight[-1] = 1e-30
    images = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    for precision, limit in (("float32", 1e-4), ("float16", 0.02), ("bfloat16", 0.1)):
        painted = TorchEngine(lower(network), precision).paint(images)
        torch.testing.assert_close(painted, painted_by(network, images), atol=limit, rtol=0)


def test_pictures_of_a_batch_do_not_influence_each_other():
    engine = TorchEngine(lower(trained(tiny_config("instance"))))
    images = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(engine.paint(images)[1:2], engine.paint(images[1:2]), atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_statistics_of_many_positions(monkeypatch, dtype):
    monkeypatch.setattr(channel_statistics, "POSITIONS_PER_SUM", 100)
    features = (torch.randn(1, 5, 37, 11, generator=torch.Generator().manual_seed(0)) * 0.1 + 7).to(dtype)
    mean, variance = statistics(features.contiguous(memory_format=torch.channels_last))
    wide = features.double()
    torch.testing.assert_close(mean, wide.mean((2, 3)).float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance, wide.var((2, 3), correction=0).float(), rtol=1e-4, atol=0)


def test_statistics_by_hand():
    features = torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]]).contiguous(memory_format=torch.channels_last)
    mean, variance = statistics(features)
    assert mean.tolist() == [[2, 5]] and variance.tolist() == [[1, 0]]
