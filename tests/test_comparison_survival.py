"""What survives a normalisation: shares of variance and linear fits against planted answers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.comparison import linear_probe, survival
from stylize.comparison.pooled_features import AFTER, BEFORE, PASSED_ON, PooledFeatures, pooled_features
from stylize.comparison.subject import CHUNK, Subject
from stylize.comparison.survival import (
    Layer,
    NetworkSurvival,
    Samples,
    Stage,
    Survival,
    between_photo_share,
    finding,
    linear_fits,
    make_samples,
    measure_survival,
    photo_facts,
)
from stylize.errors import InputError
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config


def network(norm: str = "instance", **changes) -> TransformerNet:
    return TransformerNet(tiny_config(norm, **changes)).eval()


def random_photos(count: int, size: int = 24, seed: int = 0) -> torch.Tensor:
    """Photos of different contrast, colour and brightness."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, 3, size // 4, size // 4, generator=generator)
    smooth = F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
    contrast = 0.2 + 0.8 * torch.rand(count, 1, 1, 1, generator=generator)
    colour = 0.3 + 0.4 * torch.rand(count, 3, 1, 1, generator=generator)
    return (colour + contrast * (smooth - 0.5)).clamp(0, 1)


def features(mean, variance) -> PooledFeatures:
    return PooledFeatures(torch.tensor(mean).double(), torch.tensor(variance).double())


# Shares of the variance.


def test_share_is_zero_for_equal_means_and_one_for_flat_photos():
    assert between_photo_share(features([[1.0], [1.0]], [[2.0], [3.0]])) == (0.0, 1)
    assert between_photo_share(features([[1.0], [3.0]], [[0.0], [0.0]])) == (1.0, 1)


def test_share_is_a_mean_over_channels_that_are_not_constant():
    # Means 1 and 3: variance 1 between, 3 within: a quarter. The second has a share of 1, the third is constant.
    mean, variance = [[1.0, -5.0, 7.0], [3.0, 5.0, 7.0]], [[2.0, 0.0, 0.0], [4.0, 0.0, 1e-12]]
    share, channels = between_photo_share(features(mean, variance))
    assert (share, channels) == (pytest.approx((0.25 + 1) / 2), 2)
    assert between_photo_share(features([[4.0], [4.0]], [[0.0], [0.0]])) == (0.0, 0)
    assert between_photo_share(features([[0.0], [0.0]], [[0.0], [0.0]])) == (0.0, 0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-10, 10))
def test_share_is_that_of_all_values_and_does_not_depend_on_scale_and_shift(seed, scale, shift):
    values = torch.randn(5, 2, 30, generator=torch.Generator().manual_seed(seed)).double()
    values[1] += 1
    values = scale * values + shift
    pooled = PooledFeatures(values.mean(2), values.var(2, correction=0))
    rows = values.transpose(0, 1).flatten(1)
    expected = (values.mean(2).var(0, correction=0) / rows.var(1, correction=0)).mean()
    assert between_photo_share(pooled)[0] == pytest.approx(float(expected), abs=1e-9)
    torch.testing.assert_close(pooled.total, rows.var(1, correction=0))
    torch.testing.assert_close(pooled.pooled_mean, rows.mean(1))


def test_flat_photos_differ_only_between_each_other_and_equal_photos_only_within():
    flat = torch.tensor([0.1, 0.5, 0.8])[:, None, None, None].expand(-1, 3, 16, 16)
    equal = random_photos(1).expand(3, -1, -1, -1)
    first = pooled_features(network("batch"), flat)["encoder 1"][BEFORE]
    assert between_photo_share(first)[0] == pytest.approx(1, abs=1e-6)
    assert between_photo_share(pooled_features(network("batch"), equal)["encoder 1"][BEFORE])[0] < 1e-9


# The features that are pooled.


def test_pooled_features_are_those_that_pass():
    photos = random_photos(CHUNK + 2, 16)
    net = network("batch", residual_blocks=2)
    pooled = pooled_features(net, photos)
    assert list(pooled) == [place.name for place in net.norm_places()]
    with torch.no_grad():
        before = net.encoder[0](photos * 2 - 1)
        after = net.encoder[1](before)
        encoded = net.encoder(photos * 2 - 1)
        block = net.trunk[0](encoded)
        inner = net.trunk[0].conv2(F.relu(net.trunk[0].norm1(net.trunk[0].conv1(encoded))))
    expected = {
        ("encoder 1", BEFORE): before,
        ("encoder 1", AFTER): after,
        ("encoder 1", PASSED_ON): F.relu(after),
        ("encoder 2", PASSED_ON): encoded,
        ("residual 1.2", BEFORE): inner,
        ("residual 1.2", PASSED_ON): block,
    }
    for (layer, stage), values in expected.items():
        values = values.double()
        torch.testing.assert_close(pooled[layer][stage].mean, values.mean((2, 3)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            pooled[layer][stage].variance, values.var((2, 3), correction=0), atol=1e-5, rtol=1e-4
        )


def test_nothing_is_left_behind():
    net = network()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    pooled_features(net, random_photos(2, 16))
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


def test_hooks_go_when_the_pass_fails():
    net = network()
    with pytest.raises(InputError):
        pooled_features(net, torch.zeros(1, 4, 8, 8))
    assert not any(module._forward_hooks for module in net.modules())


# The linear fit.


def planted(count: int, channels: int, seed: int = 0) -> PooledFeatures:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(count, channels, generator=generator).double()
    return PooledFeatures(mean, 0.5 + torch.rand(count, channels, generator=generator).double())


def test_planted_dependence_is_read_and_noise_is_not():
    pooled = planted(64, 6)
    sources = [number % 8 for number in range(64)]
    by_mean = 3 + pooled.mean[:, :1] - 2 * pooled.mean[:, 3:4]
    by_deviation = torch.cat([pooled.variance[:, 1:2].sqrt(), 5 * pooled.variance[:, 2:3].sqrt() + by_mean], 1)
    noise = torch.randn(64, 2, generator=torch.Generator().manual_seed(9)).double()
    fits = linear_fits(pooled, [by_mean, by_deviation, noise], sources)
    assert fits[0] > 0.99
    assert fits[1] > 0.99
    assert fits[2] <= 0.2


def test_versions_of_one_photo_are_never_on_both_sides():
    # Features say which photo it is, the target is a property of the photo: read only by having seen that photo.
    generator = torch.Generator().manual_seed(1)
    sources = [number // 8 for number in range(64)]
    marks, facts = torch.eye(8).double(), torch.randn(8, 1, generator=generator).double()
    mean = marks[sources] + 0.01 * torch.randn(64, 8, generator=generator).double()
    pooled = PooledFeatures(mean, torch.ones(64, 8).double())
    target = facts[sources]
    assert linear_fits(pooled, [target], sources)[0] <= 0.2
    assert linear_fits(pooled, [target], range(64))[0] > 0.9


def ridge(columns, targets, learned, tested, penalty):
    """Ridge regression with an intercept, solved in the plain way."""
    centre, level = columns[learned].mean(0), targets[learned].mean(0)
    rows = columns[learned] - centre
    gram = rows.T @ rows + penalty * torch.eye(columns.shape[1]).double()
    weights = torch.linalg.solve(gram, rows.T @ (targets[learned] - level))
    return level + (columns[tested] - centre) @ weights


def test_the_fit_is_that_of_nested_regressions_made_one_by_one():
    pooled = planted(30, 5, seed=3)
    sources = [0] * 7 + [4] * 5 + [2] * 9 + [9] * 9
    noise = torch.randn(30, 1, generator=torch.Generator().manual_seed(2)).double()
    target = pooled.mean[:, :1] + pooled.mean[:, 1:2].square() + 0.3 * noise
    unit = pooled.total.sqrt()
    columns = torch.cat([pooled.mean / unit, pooled.variance.sqrt() / unit], 1)
    where = torch.tensor(sources)
    missed = baseline = 0.0
    for source in set(sources):
        penalties = [30 * noise**2 for noise in linear_probe.NOISES]
        inner = [
            sum(
                (
                    ridge(columns, target, (where != source) & (where != other), where == other, penalty)
                    - target[where == other]
                )
                .square()
                .sum()
                for other in set(sources) - {source}
            )
            for penalty in penalties
        ]
        best = penalties[int(torch.stack(inner).argmin())]
        own = where == source
        missed += (ridge(columns, target, ~own, own, best) - target[own]).square().sum()
        baseline += (target[own] - target[~own].mean(0)).square().sum()
    assert linear_fits(pooled, [target], sources)[0] == pytest.approx(float(1 - missed / baseline), abs=1e-9)


def test_what_is_as_small_as_rounding_counts_as_gone():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(40, 1, generator=generator).double()
    sources = [number % 5 for number in range(40)]
    loud = PooledFeatures(0.5 * target, torch.ones(40, 1).double())
    faint = PooledFeatures(1e-5 * target, torch.ones(40, 1).double())
    assert linear_fits(loud, [target], sources)[0] > 0.95
    assert abs(linear_fits(faint, [target], sources)[0]) < 0.01


def test_constant_features_and_constant_targets_read_nothing():
    constant = PooledFeatures(torch.ones(12, 3).double(), torch.zeros(12, 3).double())
    sources = [number % 4 for number in range(12)]
    target = torch.randn(12, 1, generator=torch.Generator().manual_seed(0))
    assert linear_fits(constant, [target], sources)[0] == pytest.approx(0, abs=1e-12)
    assert linear_fits(planted(12, 3), [torch.ones(12, 1)], sources)[0] == 0


def test_two_photos_are_too_few():
    with pytest.raises(InputError, match="2 different photos given .* 3 or more"):
        linear_fits(planted(12, 3), [torch.ones(12, 1)], [0, 1] * 6)
    with pytest.raises(InputError, match="2 different photos"):
        measure_survival([Subject("instance", network())], random_photos(2))


def test_photo_facts_by_hand():
    photo = torch.zeros(CHUNK + 1, 3, 2, 2)
    photo[0, 0] = 0.8
    photo[-1, :, 0] = 1
    contrast, colour = photo_facts(photo)
    assert contrast.shape == (CHUNK + 1, 1)
    assert float(contrast[0]) == pytest.approx(0, abs=1e-7)
    assert float(contrast[-1]) == pytest.approx(0.5)
    assert colour[0].tolist() == pytest.approx([0.8, 0, 0])
    assert colour[-1].tolist() == pytest.approx([0.5] * 3)


# Versions of the photos.


@pytest.mark.parametrize("shape", [(40, 32), (200, 150), (1, 1), (3, 200)])
def test_samples_are_seeded_balanced_and_in_range(shape):
    photos = torch.rand(3, 3, *shape, generator=torch.Generator().manual_seed(0))
    samples = make_samples(photos, 10, seed=4)
    size = min(*shape, survival.SAMPLE_SIZE)
    assert samples.photos.shape == (10, 3, size, size)
    assert samples.photos.min() >= 0 and samples.photos.max() <= 1
    assert sorted(samples.sources.count(source) for source in range(3)) == [3, 3, 4]
    again = make_samples(photos, 10, seed=4)
    assert torch.equal(samples.photos, again.photos) and samples.sources == again.sources
    assert not torch.equal(samples.photos, make_samples(photos, 10, seed=5).photos)


def test_samples_differ_in_contrast_and_colour_and_come_from_their_photo():
    photos = random_photos(2, 32)
    photos[0, 0] = 0.0  # No red in the first photo, and so in no version of it but for the change of contrast.
    photos[0, 1:] = 0.0
    samples = make_samples(photos, 12)
    for picture, source in zip(samples.photos, samples.sources, strict=True):
        assert (float(picture.max()) == 0) == (source == 0)
    contrast, colour = photo_facts(samples.photos[1::2])
    assert contrast.max() > 1.5 * contrast.min()
    assert colour.std(0).min() > 0.01


# The whole probe.


def test_instance_norm_hides_what_batch_norm_passes():
    photos = random_photos(6)
    subjects = [Subject("instance", network()), Subject("batch", network("batch"))]
    result = measure_survival(subjects, photos, Samples(random_photos(60, seed=3), tuple(n % 10 for n in range(60))))
    instance, batch = result.networks
    assert (result.photos, result.samples, result.sources) == (6, 60, 10)
    assert [layer.name for layer in instance.layers] == [place.name for place in subjects[0].network.norm_places()]
    assert {layer.norm for layer in instance.layers} == {"InstanceNorm"}
    assert [layer.passed_on for layer in instance.layers if layer.name.startswith("residual")] == [
        "after the ReLU",
        "after the sum",
    ]
    first = instance.layers[0]
    assert first.before.contrast_fit > 0.8 and first.before.colour_fit > 0.95
    for layer in instance.layers:
        assert layer.after.between_share < 1e-9
        assert abs(layer.after.contrast_fit) < 0.2 and abs(layer.after.colour_fit) < 0.2
    assert first.before.between_share > 0.1
    for layer in batch.layers:
        assert layer.after.between_share == pytest.approx(layer.before.between_share, rel=1e-3)
        assert layer.after.contrast_fit == pytest.approx(layer.before.contrast_fit, abs=0.02)
    assert "batch lets more of the contrast through than instance" in finding(result)
    json.dumps(asdict(result), allow_nan=False)


def test_default_samples_are_made_of_the_photos():
    result = measure_survival([Subject("none", network("none"))], random_photos(3, 16))
    assert (result.samples, result.sources) == (survival.SAMPLES, 3)


# In words.


def told(
    label: str, before: float, after: float, onward: float, contrast: float, colour: float = 0.5
) -> NetworkSurvival:
    def stage(name: str, share: float) -> Stage:
        return Stage(name, share, 4, contrast, colour)

    stages = (stage(BEFORE, before), stage(AFTER, after), stage(PASSED_ON, onward))
    return NetworkSurvival(label, (Layer("encoder 1", "Norm", "after the ReLU", *stages),))


def test_finding_says_what_the_numbers_say():
    low, high = told("instance", 0.2, 0.0, 0.01, -0.1), told("batch", 0.2, 0.2, 0.15, 0.8)
    text = finding(Survival(8, 64, 8, (high, low)))
    assert "with instance it is 20.0 % before the norms, falls to 0.0 % behind them" in text
    assert "stays at 20.0 %" in text
    assert "contrast -0.10 and mean colour 0.50 with instance" in text
    assert text.index("contrast -0.10") < text.index("contrast 0.80")
    assert "batch lets more of the contrast through than instance" in text
    assert "right behind instance the mean is the same for every photo by construction" in text


def test_finding_turns_round_with_the_numbers():
    low, high = told("instance", 0.2, 0.3, 0.3, 0.9), told("batch", 0.2, 0.1, 0.1, 0.2)
    text = finding(Survival(8, 64, 8, (low, high)))
    assert "instance lets more of the contrast through than batch" in text
    assert "rises to 30.0 %" in text and "falls to 10.0 %" in text
    assert "by construction" not in text
    same = finding(Survival(8, 64, 8, (low, replace(low, label="batch"))))
    assert "the norms hardly differ in how much of the contrast they let through" in same


def test_finding_of_one_and_of_many_networks():
    assert "contrast through" not in finding(Survival(8, 64, 8, (told("batch", 0.2, 0.2, 0.2, 0.5),)))
    many = tuple(told(name, 0.2, 0.2, 0.2, fit) for name, fit in (("a", 0.5), ("b", 0.1), ("c", 0.9)))
    text = finding(Survival(8, 64, 8, many))
    assert "c lets more of the contrast through than b" in text and "with a" not in text
