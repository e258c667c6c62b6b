"""The photos beside a photo: what they change, and what not."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from stylize.comparison.batch_mates import AMPLIFICATION, BatchMates, MatesRow, batch_mates, finding
from stylize.comparison.photo_changes import DARKER, VISIBLE
from stylize.comparison.subject import Subject
from stylize.errors import InputError
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config


class Identity(nn.Module):
    def forward(self, photos: Tensor) -> Tensor:
        return photos


class BatchMean(nn.Module):
    """The planted dependence: in training mode every picture becomes the mean of its batch."""

    def forward(self, photos: Tensor) -> Tensor:
        return photos.mean().expand_as(photos) if self.training else photos


def greys(*values: float, side: int = 4) -> Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, side, side).clone()


def noise(count: int, side: int = 16, seed: int = 0) -> Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(seed))


def test_planted_dependence_by_hand():
    photo, companions = greys(0.5), greys(0.8, 0.1, 0.9, 0.2, 0.5, 0.7, 0.3)
    subjects = [Subject("identity", Identity()), Subject("mean", BatchMean())]
    result, pictures = batch_mates(subjects, photo, companions)
    assert result.companions == "chosen"
    # Three darkest 0.1 0.2 0.3, three brightest 0.7 0.8 0.9.
    assert (result.dark, result.bright) == pytest.approx((0.2, 0.8))
    identity, mean = result.rows
    assert (identity.change, identity.largest) == (0, 0)
    # (0.5 + 0.6) / 4 against (0.5 + 2.4) / 4.
    assert mean.change == pytest.approx(255 * 0.45, rel=1e-5)
    assert mean.largest == pytest.approx(255 * 0.45, rel=1e-5)
    assert [picture.label for picture in pictures] == ["identity", "mean"]
    assert pictures[1].beside_dark.unique().item() == pytest.approx(0.275)
    assert pictures[1].beside_bright.unique().item() == pytest.approx(0.725)
    assert pictures[0].difference.max() == 0
    assert pictures[1].difference.unique().item() == pytest.approx(min(AMPLIFICATION * 0.45, 1))


@pytest.mark.parametrize("companions", [None, greys(0.5, 0.5)[:0], greys(0.4, 0.6)])
def test_too_few_companions_are_made(companions):
    result, _ = batch_mates([Subject("mean", BatchMean())], greys(0.5), companions)
    assert result.companions == "made"
    middle = 0.5 if companions is None or len(companions) == 0 else (0.4 + 0.6 + 0.4) / 3
    assert result.dark == pytest.approx(DARKER * middle, rel=1e-5)
    assert result.bright == pytest.approx(1 - DARKER * (1 - middle), rel=1e-5)
    assert result.rows[0].change > VISIBLE


@pytest.mark.parametrize("norm", ["instance", "layer", "group", "batch", "batch-instance", "ibn"])
def test_real_networks(norm):
    network = TransformerNet(tiny_config(norm)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result, pictures = batch_mates([Subject(norm, network)], noise(1), noise(6, seed=1) ** 2)
    if norm in ("instance", "layer", "group"):
        assert result.rows[0].change < 1e-3
    else:
        assert result.rows[0].change > 0.05
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert pictures[0].difference.shape == (1, 3, 16, 16)


def test_bad_input():
    with pytest.raises(InputError, match=r"one photo \(1, 3, H, W\) is accepted"):
        batch_mates([], noise(2))
    with pytest.raises(InputError, match="scale them to one size"):
        batch_mates([], noise(1), noise(2, side=8))


def result_with(**changes: float) -> BatchMates:
    return BatchMates("chosen", 0.2, 0.8, 4.0, tuple(MatesRow(label, value, value) for label, value in changes.items()))


def test_finding_follows_the_numbers():
    expected = finding(result_with(instance=0.0, batch=12.34))
    assert "differ by 12.3 grey levels (batch) on average." in expected
    assert "Instance does not see the photos beside it: 0 grey levels (instance)." in expected
    swapped = finding(result_with(instance=12.34, batch=0.0))
    assert "differ by 12.3 grey levels (instance)" in swapped and "Batch does not see" in swapped
    assert "differ" not in finding(result_with(layer=0.0, group=0.1))
    assert "not see" not in finding(result_with(batch=3.0))
    assert finding(result_with()) == "Nothing was measured."


def test_numbers_are_json():
    values = json.loads(json.dumps(dataclasses.asdict(result_with(batch=1.0))))
    assert values["rows"] == [{"label": "batch", "change": 1.0, "largest": 1.0}]
