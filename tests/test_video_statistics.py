"""Statistics averaged over time, and the hook of the engine that takes them."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.engines.torch_engine import TorchEngine
from stylize.errors import InputError
from stylize.norms import NORMS, GroupNorm
from stylize.program import lower
from stylize.video.statistics import SmoothedEngine, StatisticsAverage
from tests.helpers import tiny_config
from tests.test_program import CONFIGS, trained


def photo(seed: int, height: int = 29, width: int = 34) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) ** (1 + seed)


@pytest.mark.parametrize("norm", [*NORMS, "instance@first"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_filter_that_changes_nothing_changes_nothing(norm, precision):
    engine = TorchEngine(lower(trained(tiny_config(norm), seed=3)), precision)
    painted = engine.paint(photo(0), lambda layer, mean, variance: (mean, variance))
    atol = 1e-5 if precision == "float32" else 2 / 255
    torch.testing.assert_close(painted, engine.paint(photo(0)), atol=atol, rtol=0)


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-4), ("bfloat16", 0.03)])
def test_statistics_of_another_photo_are_those_a_network_would_take(changes, precision, limit):
    network = trained(tiny_config("instance", **changes), seed=5)
    norms = [module for module in network.modules() if isinstance(module, GroupNorm)]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    hooks = [
        norm.register_forward_pre_hook(
            lambda _, inputs: seen.append((inputs[0].mean((2, 3)), inputs[0].var((2, 3), correction=0)))
        )
        for norm in norms
    ]
    with torch.no_grad():
        network(photo(0))
    for hook in hooks:
        hook.remove()

    engine, recorded = TorchEngine(lower(network), precision), {}

    def record(layer, mean, variance):
        recorded[layer] = (mean.clone(), variance.clone())
        return mean, variance

    engine.paint(photo(0), record)
    assert len(recorded) == len(norms) == len(seen)
    if precision == "float32":
        for (mean, variance), (true_mean, true_variance) in zip(recorded.values(), seen, strict=True):
            # The whole mean, with all constants that the engine leaves out where the norm takes them away again.
            torch.testing.assert_close(mean, true_mean, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(variance, true_variance, atol=1e-4, rtol=1e-4)

    frozen = copy.deepcopy(network)
    for norm, (mean, variance) in zip([m for m in frozen.modules() if isinstance(m, GroupNorm)], seen, strict=True):

        def forward(x, norm=norm, mean=mean, variance=variance):
            normal = (x - mean[..., None, None]) * torch.rsqrt(variance[..., None, None] + norm.epsilon)
            return normal * norm.weight[:, None, None] + norm.bias[:, None, None]

        norm.forward = forward
    with torch.no_grad():
        expected = frozen(photo(1)).clamp(0, 1)
    layers = dict(zip(recorded, seen, strict=True))
    painted = engine.paint(photo(1), lambda layer, mean, variance: layers[layer])
    assert float((expected - engine.paint(photo(1))).abs().mean()) > 0.01  # The filter has something to do.
    assert float((painted - expected).abs().mean()) < limit


def test_the_hand_values_of_an_average():
    average = StatisticsAverage(1 / math.log(2))  # After a second, half.
    numbers = [(torch.tensor([1.0]), torch.tensor([4.0])), (torch.tensor([4.0]), torch.tensor([1.0]))]
    average.advance(9.0)
    assert average.add("x", *numbers[0]) == numbers[0]
    average.advance(1.0)
    mean, variance = average.add("x", *numbers[1])
    # Weights 1/3 and 2/3: the mean 3; the variance (4 + 2) / 3 and that of the means, (4 + 2) / 3.
    assert float(mean) == pytest.approx(3) and float(variance) == pytest.approx(4)
    average.forget()
    average.advance(1.0)
    assert average.add("x", *numbers[1]) == numbers[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 999))
def test_equal_weights_give_the_statistics_of_all_frames_together(frames, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(frames, 4, 50, generator=generator) * 2 + torch.randn(frames, 4, 1, generator=generator) * 3
    average = StatisticsAverage(1e9)
    for frame in values:
        average.advance(0.04)
        mean, variance = average.add(0, frame.mean(1)[None], frame.var(1, correction=0)[None])
    together = values.transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean[0], together.mean(1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(variance[0], together.var(1, correction=0), atol=1e-3, rtol=1e-4)


@given(st.lists(st.tuples(st.floats(-1e3, 1e3, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=8))
def test_the_variance_is_never_negative(frames):
    average = StatisticsAverage(0.2)
    for mean, variance in frames:
        average.advance(0.04)
        assert float(average.add(0, torch.tensor([mean]), torch.tensor([variance]))[1]) >= 0


def test_what_is_added_is_left_as_it_was():
    average = StatisticsAverage(1.0)
    given_mean, given_variance = torch.zeros(1, 2), torch.ones(1, 2)
    for value in (0.0, 5.0, 9.0):
        average.advance(0.1)
        average.add(0, given_mean + value, given_variance)
    assert given_mean.tolist() == [[0, 0]] and given_variance.tolist() == [[1, 1]]


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(seconds):
    with pytest.raises(InputError, match="above 0"):
        StatisticsAverage(seconds)


def test_a_second_pass_over_a_frame_has_statistics_of_its_own():
    engine = TorchEngine(lower(trained(tiny_config())))
    smoothed = SmoothedEngine(engine, 1.0)
    smoothed.advance(0.04)
    first, second = smoothed.paint(photo(0)), smoothed.paint(photo(2))
    torch.testing.assert_close(first, engine.paint(photo(0)), atol=1e-5, rtol=0)
    torch.testing.assert_close(second, engine.paint(photo(2)), atol=1e-5, rtol=0)
    smoothed.advance(0.04)
    assert float((smoothed.paint(photo(2)) - engine.paint(photo(2))).abs().max()) > 0.01
