"""Frozen statistics against statistics computed by hand and cases with known answers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from stylize.comparison.frozen_statistics import (
    ALL_BUT_FIRST,
    EVERYWHERE,
    FIRST,
    LOW_CONTRAST,
    NOWHERE,
    TEST_PHOTOS,
    FrozenStatistics,
    Outcome,
    Variant,
    finding,
    frozen_subject,
    measure_frozen_statistics,
    population_statistics,
    variant_layers,
)
from stylize.comparison.subject import CHUNK, Subject
from stylize.config import TransformerConfig
from stylize.errors import InputError
from stylize.evaluation import change_contrast
from stylize.norms import BatchNorm, InstanceNorm
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config


class Brightness:
    """A ruler that takes the mean of a picture for its style distance."""

    def style(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).mean(1)

    def content(self, images: torch.Tensor, photos: torch.Tensor) -> torch.Tensor:
        return (images - photos).flatten(1).abs().mean(1)


def network(norm: str = "instance", **changes) -> TransformerNet:
    """A network whose norms have scales and shifts of their own."""
    net = TransformerNet(tiny_config(norm, **changes)).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for place in net.norm_places():
            place.norm.weight.uniform_(0.5, 1.5, generator=generator)
            place.norm.bias.uniform_(-0.5, 0.5, generator=generator)
    return net


def random_photos(count: int, size: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    level = torch.rand(count, 3, 1, 1, generator=generator)
    return (level + 0.5 * (torch.rand(count, 3, size, size, generator=generator) - 0.5)).clamp(0, 1)


def arriving(net: TransformerNet, photos: torch.Tensor) -> dict[str, torch.Tensor]:
    """The features that reach each norm, of all photos at once."""
    found: dict[str, torch.Tensor] = {}
    handles = [
        place.norm.register_forward_pre_hook(lambda _, inputs, name=place.name: found.update({name: inputs[0]}))
        for place in net.norm_places()
    ]
    with torch.no_grad():
        net(photos)
    for handle in handles:
        handle.remove()
    return found


def test_statistics_are_pooled_over_positions_and_photos_of_the_untouched_network():
    net, photos = network(), random_photos(CHUNK + 3)
    statistics = population_statistics(net, photos)
    features = arriving(net, photos)
    assert list(statistics) == list(features)
    for name, values in features.items():
        rows = values.double().transpose(0, 1).flatten(1)
        torch.testing.assert_close(statistics[name].pooled_mean, rows.mean(1), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(statistics[name].total, rows.var(1, correction=0), atol=1e-6, rtol=1e-4)


def test_a_frozen_layer_applies_the_statistics_it_was_given():
    net, photos = network(), random_photos(3)
    statistics = population_statistics(net, random_photos(6, seed=1))
    names = list(statistics)
    frozen = frozen_subject(Subject("instance", net), statistics, names[1:])
    own, place = net.norm_places()[0].norm, frozen.network.norm_places()[0]
    features = arriving(net, photos)["encoder 1"]
    mean, variance = statistics["encoder 1"].pooled_mean.float(), statistics["encoder 1"].total.float()
    scale = own.weight.detach() / (variance + own.epsilon).sqrt()
    expected = (features - mean[:, None, None]) * scale[:, None, None] + own.bias.detach()[:, None, None]
    torch.testing.assert_close(place.norm(features), expected)
    kinds = [type(place.norm) for place in frozen.network.norm_places()]
    assert kinds == [BatchNorm] + [InstanceNorm] * (len(names) - 1)


def test_with_a_population_of_one_photo_nothing_changes_for_that_photo():
    net, photo = network(residual_blocks=2), random_photos(1, 21)
    subject = Subject("instance", net)
    statistics = population_statistics(net, photo)
    for kept in variant_layers(net).values():
        frozen = frozen_subject(subject, statistics, kept)
        torch.testing.assert_close(frozen.paint(photo), subject.paint(photo), atol=1e-5, rtol=0)
    frozen = frozen_subject(subject, statistics, ())
    faded = change_contrast(photo, LOW_CONTRAST)
    assert (subject.paint(faded) - subject.paint(photo)).abs().max() < 1e-3
    assert (frozen.paint(faded) - frozen.paint(photo)).abs().max() > 0.02


def test_the_given_network_is_unchanged():
    net, photos = network(), random_photos(3)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    kinds = [type(place.norm) for place in net.norm_places()]
    measure_frozen_statistics(Subject("instance", net), Brightness(), photos, photos)
    assert [type(place.norm) for place in net.norm_places()] == kinds
    assert list(net.state_dict()) == list(state)
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_variants_of_a_network_with_all_parts():
    layers = variant_layers(network())
    everything = ("encoder 1", "encoder 2", "residual 1.1", "residual 1.2", "decoder 1")
    assert layers == {
        EVERYWHERE: everything,
        NOWHERE: (),
        FIRST: everything[:1],
        "encoder only": everything[:2],
        "residual part only": everything[2:4],
        "decoder only": everything[4:],
        ALL_BUT_FIRST: everything[1:],
    }


def test_variants_that_keep_the_same_layers_are_one():
    fast = TransformerNet(TransformerConfig(space_to_depth=4, channels=(4,), residual_blocks=1, first_kernel=3))
    assert "encoder only" not in variant_layers(fast)
    lone = TransformerNet(tiny_config(channels=(4,), residual_blocks=0))
    assert variant_layers(lone) == {EVERYWHERE: ("encoder 1",), NOWHERE: ()}
    assert list(variant_layers(network("instance@first"))) == [EVERYWHERE, NOWHERE]


def test_only_instance_norms_are_frozen():
    net = network("instance@first")
    statistics = population_statistics(net, random_photos(2))
    assert list(statistics) == ["encoder 1"]
    frozen = frozen_subject(Subject("instance@first", net), statistics, ())
    own = [place.norm for place in net.norm_places()][1:]
    copied = [place.norm for place in frozen.network.norm_places()][1:]
    assert all(torch.equal(one.running_var, two.running_var) for one, two in zip(own, copied, strict=True))


def test_what_is_measured_is_what_the_variants_paint():
    subject, population, photos = Subject("instance", network()), random_photos(5), random_photos(4, seed=7)
    result = measure_frozen_statistics(subject, Brightness(), population, photos, test_photos=3)
    assert (result.label, result.population, result.photos, result.contrast) == ("instance", 5, 3, LOW_CONTRAST)
    assert [variant.name for variant in result.variants] == list(variant_layers(subject.network))
    statistics = population_statistics(subject.network, population)
    for variant in result.variants:
        assert set(variant.kept) | set(variant.frozen) == set(statistics)
        assert not set(variant.kept) & set(variant.frozen)
        frozen = frozen_subject(subject, statistics, variant.kept)
        for outcome, factor in ((variant.plain, 1.0), (variant.low_contrast, LOW_CONTRAST)):
            pictures = frozen.paint(change_contrast(photos[:3], factor))
            means = pictures.flatten(1).mean(1)
            assert outcome.styles == pytest.approx(means.tolist(), abs=1e-6)
            assert outcome.style == pytest.approx(float(means.mean()), abs=1e-6)
            assert outcome.spread == pytest.approx(float(means.std(correction=0)), abs=1e-6)
            deviations = [255 * float(picture.std(correction=0)) for picture in pictures]
            assert outcome.pixel_deviation == pytest.approx(sum(deviations) / 3, rel=1e-5)
    # Instance norm cannot see contrast, and the first layer's alone hides it from the rest (but for epsilon).
    moved = {one.name: abs(one.plain.style - one.low_contrast.style) for one in result.variants}
    assert moved[NOWHERE] > 1e-3
    assert moved[EVERYWHERE] < 0.1 * moved[NOWHERE]
    assert moved[FIRST] < 0.1 * moved[NOWHERE]
    json.dumps(asdict(result), allow_nan=False)
    assert finding(result)
    assert measure_frozen_statistics(subject, Brightness(), population, photos).photos == TEST_PHOTOS


def test_networks_and_layers_that_cannot_be_frozen():
    with pytest.raises(InputError, match="a network with batch norm given; only one with instance norm"):
        population_statistics(network("batch"), random_photos(1))
    net = network()
    with pytest.raises(InputError, match="no instance norm in layer 'encoder 9'; the network has it in encoder 1,"):
        frozen_subject(Subject("instance", net), population_statistics(net, random_photos(1)), ["encoder 9"])


def outcome(style: float) -> Outcome:
    return Outcome(style, 0.0, 50.0, (style, style))


def story(**styles: tuple[float, float]) -> FrozenStatistics:
    names = {
        "whole": EVERYWHERE,
        "none": NOWHERE,
        "first": FIRST,
        "residual": "residual part only",
        "rest": ALL_BUT_FIRST,
    }
    variants = tuple(
        Variant(names[key], (), ("encoder 1", "decoder 1"), outcome(plain), outcome(low))
        for key, (plain, low) in styles.items()
    )
    return FrozenStatistics("instance", 0.25, 64, 2, variants)


def test_finding_of_the_expected_story():
    text = finding(
        story(whole=(0.04, 0.04), none=(0.16, 0.44), first=(0.1, 0.1), residual=(0.07, 0.08), rest=(0.05, 0.06))
    )
    assert "weights were trained with the statistics of each photo" in text
    assert "replaced by the statistics of 64 photos in 2 layers" in text
    assert "rises from 0.040 to 0.160, to 4.0 times as much (it is larger for 2 of 2 photos)" in text
    assert "at contrast 0.25 it rises from 0.040 to 0.440, to 11.0 times as much" in text
    assert "first layer only it is 0.100, 50 % of the rise undone (at contrast 0.25 0.100, 85 %" in text
    assert "in the residual part only it is lower, 0.070, 75 %" in text
    assert "it is 0.050 (at contrast 0.25 0.060): little of the rise is owed to that layer alone" in text


def test_finding_of_the_opposite_story():
    text = finding(story(whole=(0.2, 0.2), none=(0.1, 0.2), first=(0.1, 0.1), residual=(0.15, 0.1), rest=(0.15, 0.1)))
    assert "falls from 0.200 to 0.100 (it is larger for 0 of 2 photos)" in text
    assert "at contrast 0.25 it hardly changes, from 0.200 to 0.200" in text
    assert "in the residual part only it is no lower, 0.150" in text
    assert "undone" not in text and "owed" not in text
    text = finding(story(whole=(0.1, 0.1), none=(0.2, 0.2), first=(0.3, 0.2), rest=(0.19, 0.2)))
    assert "0.300, even more than kept nowhere" in text
    assert "most of the rise is owed to that layer alone" in text
    assert "some of the rise" in finding(story(whole=(0.1, 0.1), none=(0.2, 0.2), rest=(0.13, 0.2)))


def test_finding_of_a_network_with_one_such_layer_or_an_exact_fit():
    text = finding(story(whole=(0.0, 0.0), none=(0.2, 0.2)))
    assert "rises from 0.000 to 0.200 (" in text and "first layer" not in text
    result = story(whole=(0.1, 0.1), none=(0.2, 0.2))
    with pytest.raises(InputError, match="without the variants"):
        finding(replace(result, variants=result.variants[:1]))
