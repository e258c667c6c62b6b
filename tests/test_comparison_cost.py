"""The cost of norms: folding and tiles are exact where they should be; memory and ratios against known answers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from stylize.comparison import cost
from stylize.comparison.cost import Cost, Pass, finding, fold_batch_norm, measure_cost
from stylize.comparison.halves import Halves, aligned, paint_halves, receptive_radius
from stylize.comparison.live_tensors import peak_memory
from stylize.comparison.subject import Subject
from stylize.errors import InputError
from stylize.norms import BatchNorm
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config

ARCHITECTURES = {
    "plain": {},
    "flat": {"channels": (4,), "residual_blocks": 0},
    "wide kernels": {"first_kernel": 5, "last_kernel": 7},
    "deep": {"channels": (4, 6, 8), "residual_blocks": 2},
    "blocks of 2": {"space_to_depth": 2},
    "blocks of 4": {"space_to_depth": 4, "channels": (6,), "residual_blocks": 2},
    "shuffle": {"space_to_depth": 4, "channels": (6,), "output": "shuffle", "last_kernel": 5},
}


def random_photos(count: int, height: int = 24, width: int = 24) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def network(norm: str = "batch", **changes) -> TransformerNet:
    """A network whose norms have scales, shifts and running averages of their own."""
    net = TransformerNet(tiny_config(norm, **changes)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for place in net.norm_places():
            if hasattr(place.norm, "weight"):
                place.norm.weight.uniform_(0.5, 2, generator=generator)
                place.norm.bias.uniform_(-0.5, 0.5, generator=generator)
            if isinstance(place.norm, BatchNorm):
                place.norm.running_mean.uniform_(-0.3, 0.3, generator=generator)
                place.norm.running_var.uniform_(0.05, 0.5, generator=generator)
    return net


# Folding.


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_folded_batch_norm_paints_the_same(name):
    net = network(**ARCHITECTURES[name])
    state = {key: value.clone() for key, value in net.state_dict().items()}
    folded = fold_batch_norm(net)
    photos = random_photos(2, 21, 26)
    with torch.no_grad():
        assert (folded(photos) - net(photos)).abs().max() < 1e-5
    assert not any(isinstance(module, BatchNorm) for module in folded.modules())
    assert len(folded.norm_places()) == len(net.norm_places())
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


def test_folding_is_by_the_running_averages_even_in_training_mode():
    net = network()
    photos = random_photos(2)
    with torch.no_grad():
        expected = net(photos)
        assert (fold_batch_norm(net.train())(photos) - expected).abs().max() < 1e-5
    assert net.training


@pytest.mark.parametrize("norm", ["weight", "none", "weight@encoder"])
def test_other_fixed_norms_fold_too(norm):
    net, photos = network(norm), random_photos(1)
    with torch.no_grad():
        assert (fold_batch_norm(net)(photos) - net(photos)).abs().max() < 1e-5


@pytest.mark.parametrize("norm", ["instance", "layer", "ibn", "instance@decoder"])
def test_norms_that_look_at_the_photo_do_not_fold(norm):
    with pytest.raises(InputError, match="cannot be folded into a convolution: it takes statistics from the photo"):
        fold_batch_norm(TransformerNet(tiny_config(norm)).eval())


# Halves.


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_halves_with_batch_norm_are_the_whole_with_enough_overlap(name):
    net = network(**ARCHITECTURES[name])
    config = net.config
    enough = aligned(receptive_radius(config), config)
    subject = Subject("batch", net)
    # Sides that are no multiple of the network's step, lying and standing.
    for height, width in ((21, 2 * enough + 27), (2 * enough + 25, 23)):
        photos = random_photos(1, height, width)
        whole = subject.paint(photos)
        assert 255 * (paint_halves(subject, photos, enough) - whole).abs().max() < 0.01
        assert 255 * (paint_halves(subject, photos, 0) - whole).abs().max() > 0.5


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_radius_holds_and_is_not_far_too_large(name):
    net = network(**ARCHITECTURES[name])
    radius, step = receptive_radius(net.config), net.config.reduction
    side = 2 * aligned(radius, net.config) + 3 * step
    middle = side // 2 // step * step
    seen = []
    # What a change of one pixel changes; pixels of one step differ in how far they reach.
    photos = random_photos(1, side, side).double()
    net = net.double()
    with torch.no_grad():
        plain = net(photos)
        for offset in range(step):
            changed = photos.clone()
            changed[..., middle + offset] += 100
            columns = torch.nonzero((net(changed) - plain).abs().amax((0, 1, 2))).flatten()
            seen += [abs(int(column) - middle - offset) for column in columns]
    assert radius - 2 * step <= max(seen) <= radius


def test_halves_with_instance_norm_are_not_the_whole():
    subject = Subject("instance", network("instance"))
    photos = random_photos(1, 24, 64)
    photos[..., 40:] *= 0.2
    enough = aligned(receptive_radius(subject.network.config), subject.network.config)
    assert 255 * (paint_halves(subject, photos, enough) - subject.paint(photos)).abs().max() > 0.5


@pytest.mark.parametrize("overlap", [-2, 1, 20, 40])
def test_overlaps_that_cannot_be(overlap):
    with pytest.raises(InputError, match=f"overlap of {overlap} px given for halves of a photo of 40 px"):
        paint_halves(Subject("batch", network()), random_photos(1, 10, 40), overlap)


# Memory.


class Steps(nn.Module):
    """Makes one tensor of the size of its input after another, and lets go of all but the last two."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for _ in range(self.steps):
            images = images * 2
        return images


@pytest.mark.parametrize(
    ("module", "tensors"),
    [
        (nn.Identity(), 0),
        (nn.Flatten(), 0),
        (nn.ReLU(), 1),
        (nn.ReLU(inplace=True), 0),
        (nn.Sequential(nn.ReLU(), nn.Flatten(), nn.ReLU()), 2),
        (Steps(1), 1),
        (Steps(5), 2),
        (nn.Conv2d(3, 6, 3, padding=1), 2),
    ],
)
def test_peak_memory_by_hand(module, tensors):
    photos = random_photos(1, 16, 16)
    assert peak_memory(module, photos) == tensors * photos.numel() * photos.element_size()


def test_peak_memory_is_the_same_every_time_and_grows_with_the_photo():
    net = network("instance")
    small, large = (peak_memory(net, random_photos(1, side, side)) for side in (16, 32))
    assert peak_memory(net, random_photos(1, 16, 16)) == small
    assert large == pytest.approx(4 * small, rel=0.3)


# The whole probe.


def test_cost_of_two_networks():
    subjects = [Subject("instance", network("instance")), Subject("batch", network())]
    result = measure_cost(subjects, random_photos(2, 40, 48), sizes=(16, 24), repeats=2)
    assert [(entry.label, entry.size, entry.folded) for entry in result.passes] == [
        (label, size, folded)
        for size in (16, 24)
        for label, folded in (("instance", False), ("batch", False), ("batch, folded", True))
    ]
    assert {entry.reference for entry in result.passes} == {"batch"}
    own = [entry for entry in result.passes if entry.label == "batch"]
    assert all(entry.ratio == 1 and entry.memory_ratio == 1 for entry in own)
    assert all(entry.seconds > 0 and entry.megabytes > 0 for entry in result.passes)
    assert result.fold_error < 0.01
    overlaps = sorted({entry.overlap for entry in result.halves})
    assert overlaps[0] == 0 and overlaps[-1] == aligned(receptive_radius(subjects[0].network.config), tiny_config())
    errors = {(entry.label, entry.overlap): entry for entry in result.halves}
    assert errors["batch", overlaps[-1]].largest < 0.01 and errors["batch", overlaps[-1]].enough
    assert errors["batch", 0].largest > 0.5 and not errors["batch", 0].enough
    assert errors["instance", overlaps[-1]].largest > 0.05
    assert errors["batch", 0].largest >= errors["batch", 0].mean > 0
    json.dumps(asdict(result), allow_nan=False)
    assert finding(result)


def test_a_reference_is_made_where_none_is_given():
    subject = Subject("batch", network("instance"))  # A label that is taken.
    other = Subject("small", network("instance", channels=(4,)))
    result = measure_cost([subject, other], random_photos(1, 16, 16), sizes=(8,), repeats=1)
    assert [(entry.label, entry.reference) for entry in result.passes] == [
        ("batch", "batch (2)"),
        ("small", "batch (3)"),
        ("batch (2)", "batch (2)"),
        ("batch (3)", "batch (3)"),
        ("batch (2), folded", "batch (2)"),
        ("batch (3), folded", "batch (3)"),
    ]
    assert all(type(place.norm).__name__ == "InstanceNorm" for place in subject.network.norm_places())


def test_ratios_are_taken_round_by_round(monkeypatch):
    # A machine that gets slower from round to round: the ratio is the same in each.
    clock = {"calls": 0}

    def slow(net: TransformerNet, photo: torch.Tensor) -> float:
        clock["calls"] += 1
        number = (clock["calls"] - 1) // 3
        factor = (
            3.0 if net.config.norm == "instance" else 2.0 if net.norm_places()[0].norm.__class__ is BatchNorm else 1.0
        )
        return factor * (1 + number) ** 2

    monkeypatch.setattr(cost, "_time", slow)
    subjects = [Subject("instance", network("instance")), Subject("batch", network())]
    passes = {entry.label: entry for entry in measure_cost(subjects, random_photos(1), (8,), repeats=3).passes}
    assert clock["calls"] == 9
    assert passes["instance"].ratio == pytest.approx(1.5)
    assert passes["batch, folded"].ratio == pytest.approx(0.5)
    assert passes["instance"].seconds == pytest.approx(12)


def test_photos_too_small_for_halves_give_none():
    result = measure_cost([Subject("batch", network())], random_photos(1, 2, 2), sizes=(8,), repeats=1)
    assert result.halves == ()
    assert "halves" not in finding(result)


@pytest.mark.parametrize(("sizes", "repeats"), [((), 1), ((0,), 1), ((8,), 0)])
def test_bad_input(sizes, repeats):
    with pytest.raises(InputError, match="at least one of each"):
        measure_cost([Subject("batch", network())], random_photos(1), sizes, repeats)
    with pytest.raises(InputError, match="0 networks"):
        measure_cost([], random_photos(1))


# In words.


def told(instance: float, batch: float, ratio: float, memory: float, folded: float) -> Cost:
    passes = (
        Pass("instance", False, "batch", 512, 0.1, ratio, 10.0, memory),
        Pass("batch", False, "batch", 512, 0.1, 1.0, 10.0, 1.0),
        Pass("batch, folded", True, "batch", 512, 0.1, folded, 10.0, 1.0),
        Pass("instance", False, "batch", 256, 0.1, 77.0, 10.0, 77.0),
    )
    halves = (
        Halves("instance", 0, False, 88.0, 8.0),
        Halves("instance", 56, True, instance, 1.0),
        Halves("batch", 56, True, batch, 0.0),
    )
    return Cost(passes, halves, 0.001, 5, 2, "cpu")


def test_finding_says_what_the_numbers_say():
    text = finding(told(38.05, 0.0, 1.2, 1.06, 0.9))
    assert "For a photo of 512 px" in text and "77" not in text
    assert "instance takes 1.20 times the time and 1.06 times the memory" in text
    assert "batch folded into the convolutions takes 0.90 times the time" in text
    assert "with 56 px of the other half, give the whole with batch and do not" in text
    assert "and do not give the whole with instance (by up to 38.0 grey levels)" in text.replace("38.1", "38.0")


def test_finding_turns_round_with_the_numbers():
    text = finding(told(0.1, 20.0, 0.98, 0.5, 1.4))
    assert "instance takes the same time and 0.50 times the memory" in text
    assert "folded into the convolutions takes 1.40 times the time" in text
    assert "give the whole with instance and do not give the whole with batch (by up to 20.0" in text
    both = told(0.1, 0.1, 1, 1, 1)
    assert "do not" not in finding(both)
    assert "halves" not in finding(replace(both, halves=()))
