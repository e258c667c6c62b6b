"""Training mode against evaluation mode, and batch norm with one photo."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from stylize.comparison.modes import (
    Identity,
    Modes,
    ModesRow,
    finding,
    identity_with_instance_norm,
    modes,
    with_instance_norm,
)
from stylize.comparison.subject import Subject
from stylize.norms import InstanceNorm
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config


class Planted(nn.Module):
    """In training mode every picture becomes the mean of its batch, in evaluation mode 0.25."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[float]] = []

    def norm_places(self) -> list:
        return []

    def forward(self, photos: Tensor) -> Tensor:
        if not self.training:
            return torch.full_like(photos, 0.25)
        self.batches.append(photos[:, 0, 0, 0].tolist())
        return photos.mean().expand_as(photos)


class MeanRuler:
    """Style: the mean of the picture. Content: its mean distance to the photo."""

    def content_and_style(self, pictures: list[Tensor], photos: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [((images - photos).abs().mean((1, 2, 3)), images.mean((1, 2, 3))) for images in pictures]


def greys(*values: float, side: int = 4) -> Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, side, side).clone()


def noise(count: int, side: int = 16) -> Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(0))


def batch_network(**changes) -> TransformerNet:
    """Return a batch-norm network whose averages, scales and shifts are not those it begins with."""
    network = TransformerNet(tiny_config("batch", **changes)).eval()
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for place in network.norm_places():
            place.norm.weight.uniform_(0.5, 2, generator=source)
            place.norm.bias.uniform_(-1, 1, generator=source)
            place.norm.running_mean.uniform_(-1, 1, generator=source)
            place.norm.running_var.uniform_(0.5, 2, generator=source)
    return network


def test_planted_modes_by_hand():
    network = Planted().eval()
    result = modes([Subject("planted", network)], greys(0.2, 0.4, 0.6), MeanRuler())
    assert (result.photos, result.batch_size) == (3, 3)
    row = result.rows[0]
    assert row.style_training == pytest.approx(0.4)
    assert row.style_evaluation == pytest.approx(0.25)
    assert row.content_training == pytest.approx((0.2 + 0 + 0.2) / 3)
    assert row.content_evaluation == pytest.approx((0.05 + 0.15 + 0.35) / 3)
    assert row.change == pytest.approx(255 * 0.15, rel=1e-5)
    assert row.identity is None
    assert not network.training


def test_every_batch_is_full():
    network = Planted().eval()
    result = modes([Subject("planted", network)], greys(0.1, 0.2, 0.3, 0.4, 0.5), MeanRuler())
    assert result.batch_size == 4
    assert network.batches == [pytest.approx([0.1, 0.2, 0.3, 0.4]), pytest.approx([0.5, 0.1, 0.2, 0.3])]
    # Four results of the first batch and one of the second: (4 * 0.25 + 0.275) / 5.
    assert result.rows[0].style_training == pytest.approx((4 * 0.25 + 0.275) / 5)


@pytest.mark.parametrize("norm", ["instance", "layer", "group", "none"])
def test_networks_that_have_one_mode(norm):
    row = modes([Subject(norm, TransformerNet(tiny_config(norm)).eval())], noise(3), MeanRuler()).rows[0]
    assert row.change < 1e-3
    assert row.style_training == pytest.approx(row.style_evaluation, abs=1e-6)
    assert row.identity is None


def test_batch_norm_has_two_and_keeps_its_averages():
    network = batch_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    row = modes([Subject("batch", network)], noise(3), MeanRuler()).rows[0]
    assert row.change > 1
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("settings", [{}, {"space_to_depth": 4, "channels": (8,)}])
def test_batch_norm_with_one_photo_is_instance_norm(settings):
    network, photos = batch_network(**settings), noise(3)
    twin = with_instance_norm(network)
    assert all(isinstance(place.norm, InstanceNorm) for place in twin.norm_places())
    identity = identity_with_instance_norm(network, photos)
    assert identity.largest <= identity.largest_before_clamp < 0.01
    # In evaluation mode it is another function, or the test would prove nothing.
    with torch.no_grad():
        assert 255 * (twin(photos) - network(photos)).abs().max() > 1


def test_the_identity_is_not_taken_for_granted():
    network = batch_network()
    # An epsilon of its own breaks it.
    network.norm_places()[0].norm.eps = 1.0
    assert identity_with_instance_norm(network, noise(1)).largest_before_clamp > 0.5


@pytest.mark.parametrize("norm", ["instance", "ibn", "batch-instance", "instance@first"])
def test_no_identity_unless_all_is_batch_norm(norm):
    assert with_instance_norm(TransformerNet(tiny_config(norm))) is None


def row(label: str, training: float, evaluation: float, change: float, identity: Identity | None = None) -> ModesRow:
    return ModesRow(label, training, evaluation, 0.9, 0.9, change, identity)


INSTANCE = row("instance", 0.05, 0.05, 0.0)


def test_finding_of_the_expected_story():
    batch = row("batch", 0.07, 0.08, 6.4, Identity(0.002, 0.003))
    text = finding(Modes(8, 4, (INSTANCE, batch)))
    assert "Batch paints another picture in each mode (6.4 grey levels apart)" in text
    assert "closer to the style than in evaluation mode (0.07 against 0.08)" in text
    assert "Instance is the same in both modes." in text
    assert "In its better mode, too, batch is further from the style than instance: 0.07 against 0.05." in text
    assert "batch is instance norm with the same weights: the largest difference" in text
    assert "of a value is 0.003 grey levels" in text


def test_finding_of_the_opposite():
    batch = row("batch", 0.06, 0.04, 6.4, Identity(12.0, 12.0))
    text = finding(Modes(8, 4, (INSTANCE, batch)))
    assert "further from the style than in evaluation mode (0.06 against 0.04)" in text
    assert "In its better mode batch is closer to the style than instance: 0.04 against 0.05." in text
    assert "batch is not instance norm: values differ by up to 12 grey levels" in text
    same = finding(Modes(8, 4, (INSTANCE, row("batch", 0.07, 0.07, 0.1))))
    assert same == "Instance and batch are the same in both modes."
    assert "one photo" not in text.split("In training mode with")[0]
    assert "With one photo, training mode had no other" in finding(Modes(1, 1, (INSTANCE,)))
    assert finding(Modes(0, 0, ())) == "Nothing was measured."


def test_numbers_are_json():
    values = json.loads(json.dumps(dataclasses.asdict(Modes(8, 4, (row("batch", 1, 2, 3, Identity(0.0, 0.0)),)))))
    assert values["rows"][0]["identity"] == {"largest": 0.0, "largest_before_clamp": 0.0}
