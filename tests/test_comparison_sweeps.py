"""The sweeps, with networks whose answers are known, and the exact invariance of instance norm."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from stylize.comparison.photo_changes import CHANGES, Change
from stylize.comparison.subject import Ruler, Subject
from stylize.comparison.sweeps import SweepRow, finding, sweep
from stylize.config import LossConfig
from stylize.transformer import TransformerNet
from stylize.vgg import load_loss_network
from tests.helpers import tiny_config

LINEAR = {name: change for name, change in CHANGES.items() if change.removable}


class Identity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.eval()

    def norm_places(self) -> list:
        return []

    def forward(self, photos: Tensor) -> Tensor:
        return photos


class Counting(Identity):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, photos: Tensor) -> Tensor:
        self.seen += len(photos)
        return photos


class Constant(Identity):
    def forward(self, photos: Tensor) -> Tensor:
        return torch.full_like(photos, 0.25)


class MeanRuler:
    """The style distance is the mean of the picture."""

    def style(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))


def mid_photos(count: int = 3, side: int = 8) -> Tensor:
    """Return photos that brightness, colour and contrast keep within [0, 1]."""
    return 0.4 + 0.2 * torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(0))


def subject(norm: str, **changes) -> Subject:
    return Subject(norm, TransformerNet(tiny_config(norm, **changes)).eval())


def test_identity_network_by_hand():
    photos = mid_photos()
    rows = sweep([Subject("identity", Identity())], photos, MeanRuler())
    assert [(row.change, row.factor) for row in rows] == [(n, f) for n, c in CHANGES.items() for f in c.factors]
    by_factor = {(row.change, row.factor): row for row in rows}
    means = photos.mean((1, 2, 3))
    brighter = by_factor["brightness", 0.15]
    assert brighter.output_change == pytest.approx(255 * 0.15, rel=1e-5)
    assert brighter.style == pytest.approx(float(means.mean()) + 0.15)
    assert brighter.style_spread == pytest.approx(float(means.std(correction=0)), rel=1e-4)
    assert brighter.style_of_photos == pytest.approx((means + 0.15).tolist())
    unchanged = by_factor["contrast", 1.0]
    assert unchanged.unchanged and unchanged.output_change == 0 and not brighter.unchanged
    flatter = by_factor["contrast", 0.25]
    assert flatter.output_variation == pytest.approx(0.25 * unchanged.output_variation, rel=1e-4)
    deviation = (photos - means[:, None, None, None]).abs().mean()
    assert flatter.output_change == pytest.approx(255 * 0.75 * float(deviation), rel=1e-4)
    cast = by_factor["colour cast", 0.3]
    assert cast.output_change == pytest.approx(255 * 0.3 * float((photos[:, 0] + photos[:, 2]).mean()) / 3, rel=1e-4)
    assert not any(row.instance_first for row in rows)


def test_constant_network_never_moves():
    rows = sweep([Subject("constant", Constant())], mid_photos(), MeanRuler())
    assert {(row.style, row.style_spread, row.output_change, row.output_variation) for row in rows} == {(0.25, 0, 0, 0)}
    assert "do not reach the result" in finding(rows)
    # It is no instance norm that makes it blind, and the finding does not say so.
    assert "instance norm" not in finding(rows)


def test_the_unchanged_photo_is_painted_once():
    network = Counting()
    sweep([Subject("counting", network)], mid_photos(3), MeanRuler())
    changed = sum(len(change.factors) - 1 for change in CHANGES.values())
    assert network.seen == 3 * (1 + changed)


def test_own_changes():
    inverted = {"inverted": Change(lambda photos, _: 1 - photos, (0.0, 1.0), 0.0, "", True, False)}
    rows = sweep([Subject("identity", Identity())], mid_photos(), MeanRuler(), inverted)
    assert [row.output_change > 0 for row in rows] == [False, True]
    assert finding(rows).startswith("Inverted moves the result by up to")


# An epsilon that is nothing beside the variance, as the formula without it has the property.
@pytest.mark.parametrize("norm", ["instance", "instance@first+layer"])
def test_instance_norm_in_the_first_layer_does_not_see_contrast_and_brightness(norm):
    rows = sweep([subject(norm, norm_epsilon=1e-12)], mid_photos(side=24), MeanRuler(), LINEAR)
    assert all(row.instance_first for row in rows)
    assert max(row.output_change for row in rows) < 0.01
    assert "a property of instance norm after the first convolution with reflection padding" in finding(rows)


# 16 channels: of 8 or fewer every one is a group of its own, and group norm is instance norm.
@pytest.mark.parametrize("norm", ["batch", "layer", "group", "none", "batch@first+instance"])
def test_others_do(norm):
    rows = sweep([subject(norm, norm_epsilon=1e-12, channels=(16, 16))], mid_photos(side=24), MeanRuler(), LINEAR)
    assert not any(row.instance_first for row in rows)
    for change in LINEAR:
        assert max(row.output_change for row in rows if row.change == change) > 0.05


def test_zero_padding_breaks_it():
    network = TransformerNet(tiny_config("instance", norm_epsilon=1e-12)).eval()
    first = network.encoder[0]
    first.padding, first.conv.padding = 0, (1, 1)
    rows = sweep([Subject("instance", network)], mid_photos(side=24), MeanRuler(), LINEAR)
    assert max(row.output_change for row in rows) > 0.5
    assert "was not expected to move" in finding(rows)
    assert "not something learned" not in finding(rows)


def test_a_gain_per_channel_is_not_removed():
    rows = sweep([subject("instance", norm_epsilon=1e-12)], mid_photos(side=24), MeanRuler())
    assert max(row.output_change for row in rows if row.change == "colour cast") > 0.1


def test_rows_are_json():
    rows = sweep([Subject("identity", Identity())], mid_photos(), MeanRuler())
    again = json.loads(json.dumps([dataclasses.asdict(row) for row in rows]))
    assert again[0]["label"] == "identity" and again[0]["change"] == "contrast"


def test_with_the_loss_network():
    painting = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    ruler = Ruler(load_loss_network(last="relu4_1"), LossConfig(), painting)
    change = {"contrast": Change(lambda photos, factor: painting.expand_as(photos), (0.0, 1.0), 0.0, "", True, True)}
    rows = sweep([Subject("identity", Identity())], mid_photos(2, side=32), ruler, change)
    assert rows[0].style > 0.1
    assert rows[1].style == pytest.approx(0, abs=1e-6), "the painting has the style of the painting"


def row(label: str, change: str, factor: float, style: tuple[float, ...], moved: float) -> SweepRow:
    removable = change in LINEAR
    mean = sum(style) / len(style)
    return SweepRow(label, label == "instance", change, factor, factor == 1, removable, mean, 0.0, style, moved, 50.0)


def rows_with(unchanged: tuple[float, ...], changed: tuple[float, ...], moved: float = 30.0) -> list[SweepRow]:
    """Return a sweep in which instance stays at 0.1 and batch goes from ``unchanged`` to ``changed``."""
    return [
        row("instance", "contrast", 1, (0.1, 0.1), 0.0),
        row("instance", "contrast", 0.5, (0.1, 0.1), 0.002),
        row("batch", "contrast", 1, unchanged, 0.0),
        row("batch", "contrast", 0.5, changed, moved),
    ]


def test_finding_of_the_expected_story():
    text = finding(rows_with((0.2, 0.2), (0.3, 0.15)))
    assert "moves by at most 0.002 grey levels (instance)" in text
    assert "The same changes move the result by up to 30 grey levels (batch)" in text
    assert "differ by a factor of 2: 0.2 (batch) against 0.1 (instance)" in text
    # The best of both photos is (0.2 + 0.15) / 2: a quarter of the gap.
    assert "25 % of that gap goes away, so this invariance alone does not explain it" in text


def test_finding_when_the_invariance_explains_all():
    text = finding(rows_with((0.2, 0.2), (0.1, 0.1)))
    assert "the gap goes away (0.1)" in text and "may explain all of it" in text
    assert "alone does not" not in text


def test_finding_without_a_gap():
    text = finding(rows_with((0.102, 0.1), (0.4, 0.4)))
    assert "hardly differ" in text and "factor of 4" in text
    assert "alone does not" not in text


def test_finding_when_batch_norm_is_better():
    text = finding(rows_with((0.05, 0.05), (0.05, 0.05)))
    assert "On unchanged photos batch, which does see them, is closer to the style" in text
    assert "factor" not in text


def test_finding_when_nothing_moves_and_when_instance_norm_does():
    still = finding(rows_with((0.2, 0.2), (0.2, 0.2), moved=0.0))
    assert "at most 0.002 grey levels (instance) and 0 (batch)" in still
    assert "For instance this is" in still and "move the result" not in still
    swapped = [dataclasses.replace(r, output_change=9.0) for r in rows_with((0.2, 0.2), (0.2, 0.2), 9.0)]
    assert "was not expected to move" in finding(swapped)


def test_finding_of_what_is_not_removed():
    rows = [row("instance", "gamma", 2, (0.1,), 4.0), row("batch", "gamma", 2, (0.1,), 0.1)]
    assert finding(rows) == (
        "Gamma moves the result by up to 4 grey levels (instance). Gamma does not reach the result of batch:"
        " 0.1 grey levels (batch)."
    )


def test_nothing_measured():
    assert finding([]) == "Nothing was measured."
