"""Where normalising each photo by itself hurts, with networks whose answers are known."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from stylize.comparison.limits import (
    NOISES,
    Brightness,
    BrightnessRow,
    Flat,
    FlatRow,
    Mixed,
    MixedRow,
    brightness_finding,
    correlation,
    finding,
    flat,
    flat_finding,
    limits,
    lost_brightness,
    mixed,
    mixed_finding,
)
from stylize.comparison.subject import Subject
from stylize.errors import InputError
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config


class Function(nn.Module):
    """A network that is a function of the photos."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, photos: Tensor) -> Tensor:
        return self.function(photos)


IDENTITY = Subject("identity", Function(lambda photos: photos))
CONSTANT = Subject("constant", Function(lambda photos: torch.full_like(photos, 0.4)))
HALVED = Subject("halved", Function(lambda photos: 0.25 + photos / 2))
WHITENED = Subject(
    "whitened",
    Function(
        lambda photos: (
            0.5 + 0.05 * (photos - photos.mean((2, 3), keepdim=True)) / photos.std((2, 3), keepdim=True).clamp_min(1e-9)
        )
    ),
)
MEAN = Subject("mean", Function(lambda photos: photos.mean((2, 3), keepdim=True).expand_as(photos)))


def photos(count: int = 4, side: int = 16) -> Tensor:
    """Return photos, each darker than the next, which all changes keep within [0, 1]."""
    noise = torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(0))
    steps = torch.linspace(0, 0.1, count)[:, None, None, None]
    return 0.4 + 0.1 * noise + steps


def by_noise(result: Flat, label: str) -> dict[float, FlatRow]:
    return {round(row.noise / 255, 9): row for row in result.rows if row.label == label}


def test_flat_pictures_by_hand():
    result = flat([IDENTITY, CONSTANT, WHITENED], photos(side=32))
    identity = by_noise(result, "identity")
    assert list(identity) == list(NOISES)
    assert identity[0.0].variation == pytest.approx(0, abs=1e-4)
    for noise in NOISES[2:]:
        assert identity[noise].variation == pytest.approx(255 * noise, rel=0.05)
        assert identity[noise].half_flat_variation == pytest.approx(255 * noise, rel=0.1)
    assert all(row.variation < 1e-4 for row in by_noise(result, "constant").values())
    whitened = by_noise(result, "whitened")
    for noise in NOISES[2:]:
        assert whitened[noise].variation == pytest.approx(255 * 0.05, rel=0.02), "whatever the noise"
    # A textured half sets the scale: of noise of 0.001 beside it little is left.
    assert whitened[1e-3].half_flat_variation < 1.0
    # The mean photo of the identity varies by 0.1 / sqrt(12).
    assert result.photo_variation["identity"] == pytest.approx(255 * 0.1 / 12**0.5, rel=0.05)


def test_a_real_instance_norm_blows_noise_up_and_epsilon_stops_it():
    sharp, blunt = (
        Subject(name, TransformerNet(tiny_config("instance", norm_epsilon=epsilon)).eval())
        for name, epsilon in (("sharp", 1e-9), ("blunt", 0.5))
    )
    batch = Subject("batch", TransformerNet(tiny_config("batch")).eval())
    result = flat([sharp, blunt, batch], photos(side=16), (1e-3,))
    amplified = {row.label: row.variation / row.noise for row in result.rows}
    assert amplified["sharp"] > 10
    assert amplified["sharp"] > 20 * amplified["blunt"]
    assert amplified["sharp"] > 20 * amplified["batch"]


def test_flat_is_the_same_every_time():
    assert flat([WHITENED], photos()) == flat([WHITENED], photos())


def test_lost_brightness_by_hand():
    result = lost_brightness([IDENTITY, HALVED, CONSTANT, WHITENED], photos())
    identity, halved, constant, whitened = result.rows
    assert result.photos == 4
    assert (identity.brightness_slope, identity.contrast_slope) == pytest.approx((1, 1), abs=1e-3)
    assert (halved.brightness_slope, halved.contrast_slope) == pytest.approx((0.5, 0.5), abs=1e-3)
    assert (whitened.brightness_slope, whitened.contrast_slope) == pytest.approx((0, 0), abs=1e-3)
    assert (identity.correlation, identity.rank_correlation) == pytest.approx((1, 1))
    assert (halved.correlation, halved.rank_correlation) == pytest.approx((1, 1))
    assert (constant.brightness_slope, constant.correlation, constant.rank_correlation) == (0, None, None)
    # Its results are equally bright but for float error, in which there is no order.
    assert (whitened.correlation, whitened.rank_correlation) == (None, None)


def test_inverted_order_and_too_few_photos():
    inverted = Subject("inverted", Function(lambda photos: 1 - photos))
    row = lost_brightness([inverted], photos()).rows[0]
    assert (row.brightness_slope, row.rank_correlation) == pytest.approx((-1, -1), abs=1e-3)
    few = lost_brightness([IDENTITY], photos(2)).rows[0]
    assert few.brightness_slope == pytest.approx(1, abs=1e-3)
    assert (few.correlation, few.rank_correlation) == (None, None)


def test_correlation_by_hand():
    assert correlation(torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 1, 3])) == pytest.approx(0.5)
    assert correlation(torch.tensor([1.0, 2]), torch.tensor([2.0, 1])) is None


def test_rank_correlation_ignores_the_spacing_and_shares_ranks():
    squared = Subject("squared", Function(lambda photos: (4 * (photos - 0.4)) ** 3))
    row = lost_brightness([squared], photos(5)).rows[0]
    assert row.rank_correlation == pytest.approx(1) and row.correlation < 0.999
    # Dark and bright only: ranks 0.5 0.5 2.5 2.5 against 0 1 2 3, 4 / sqrt(4 * 5).
    steps = Subject(
        "steps", Function(lambda photos: (photos.mean((1, 2, 3), keepdim=True) > 0.5).float().expand_as(photos) * 0.5)
    )
    row = lost_brightness([steps], photos(4)).rows[0]
    assert row.rank_correlation == pytest.approx(4 / 20**0.5)


def test_a_real_instance_norm_loses_brightness_and_batch_norm_does_not():
    networks = [
        Subject(norm, TransformerNet(tiny_config(norm, norm_epsilon=1e-9)).eval()) for norm in ("instance", "batch")
    ]
    instance, batch = lost_brightness(networks, photos(3)).rows
    assert abs(instance.brightness_slope) < 1e-3
    assert abs(batch.brightness_slope) > 1e-3


def test_mixed_by_hand():
    greys = torch.tensor([0.2, 0.4, 0.8])[:, None, None, None].expand(3, 3, 4, 8)
    result = mixed([IDENTITY, MEAN], greys)
    assert (result.neighbours, result.distance) == ("chosen", 4)
    identity, mean = result.rows
    assert (identity.far, identity.near) == (0, 0)
    # The mean of the picture moves by half of bright minus dark of the others: 0.4, 0.6, 0.2, halved.
    assert (mean.far, mean.near) == pytest.approx((255 * 0.2, 255 * 0.2), rel=1e-5)


@pytest.mark.parametrize(("count", "others"), [(1, (0.2,)), (2, (0.4, 0.2))])
def test_mixed_with_few_photos(count, others):
    greys = torch.tensor([0.2, 0.4])[:count, None, None, None].expand(count, 3, 4, 8)
    result = mixed([MEAN], greys)
    assert result.neighbours == "made"
    # Dark 0.35 x and bright 1 - 0.35 (1 - x) differ by 0.65 whatever x is.
    assert result.rows[0].far == pytest.approx(255 * 0.65 / 2, rel=1e-5)


def test_mixed_sees_how_far_a_filter_reaches():
    blurred = Subject("blurred", Function(lambda x: nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)))
    row = mixed([blurred], photos(3)).rows[0]
    assert row.far == 0 and row.near > 0


def test_real_networks_and_a_change_at_a_distance():
    norms = ("instance", "layer", "batch", "none")
    networks = [Subject(norm, TransformerNet(tiny_config(norm)).eval()) for norm in norms]
    rows = mixed(networks, photos(3, side=64) ** 2).rows
    assert [row.far > 1e-3 for row in rows] == [True, True, False, False]


def test_all_limits_together_are_json():
    result = limits([IDENTITY, WHITENED], photos())
    values = json.loads(json.dumps(dataclasses.asdict(result)))
    assert values["brightness"]["rows"][1]["correlation"] is None
    text = finding(result)
    for part in (flat_finding(result.flat), brightness_finding(result.brightness), mixed_finding(result.mixed)):
        assert part and part in text
    assert finding(limits([], photos())) == "Nothing was measured."


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (3, 8, 8), (1, 3, 2, 8)])
def test_bad_input(shape):
    with pytest.raises(InputError, match="H, W >= 4 is accepted"):
        limits([IDENTITY], torch.zeros(shape))


def flat_result(instance: float, batch: float, half: float = 0.3) -> Flat:
    rows = [FlatRow("instance", noise, instance, half) for noise in (0.003, 0.25, 25.0)]
    rows += [FlatRow("batch", noise, batch, half) for noise in (0.003, 0.25, 25.0)]
    return Flat(tuple(rows), {"instance": 40.0, "batch": 20.0})


def test_flat_finding_follows_the_numbers():
    text = flat_finding(flat_result(30.0, 0.3))
    assert "Noise of 0.25 grey levels" in text and "30 grey levels (instance) and 0.3 (batch)" in text
    assert "75 % (instance) of what a photo becomes" in text
    assert "Even 0.003 grey levels of it become 30 grey levels (instance)." in text
    assert "that half varies by 0.3 grey levels (instance): the other half sets the scale" in text
    swapped = flat_finding(flat_result(0.3, 30.0, half=28.0))
    assert "150 % (batch)" in swapped and "% (instance)" not in swapped
    assert "no safer: it varies by 28 grey levels (batch)" in swapped and "sets the scale" not in swapped
    assert flat_finding(flat_result(0.3, 0.3)).endswith("no network here blows it up.")
    assert flat_finding(Flat((FlatRow("instance", 0.0, 0.0, 0.0),), {})) == ""


def test_brightness_finding_follows_the_numbers():
    lost, kept = BrightnessRow("instance", 0.0, 0.0, 0.5, 0.6), BrightnessRow("batch", 0.31, 0.22, 0.4, -0.05)
    text = brightness_finding(Brightness(8, (lost, kept)))
    assert "is lost with instance: the result follows it by 0 % (instance)" in text
    assert "Batch follows how bright a photo was taken by 31 % (batch)" in text
    assert "keeps 0 % (instance) and 22 % (batch)" in text
    assert "0.60 (instance) and -0.05 (batch), each uncertain by about 0.4" in text
    both = brightness_finding(
        Brightness(2, tuple(dataclasses.replace(kept, label=x, rank_correlation=None) for x in "ab"))
    )
    assert "lost" not in both and "A and b follow how bright" in both and "rank" not in both
    alone = brightness_finding(Brightness(8, (dataclasses.replace(lost, brightness_slope=-1e-9),)))
    assert "follows how" not in alone and "-0 %" not in alone


def test_mixed_finding_follows_the_numbers():
    def text(instance: float, batch: float) -> str:
        return mixed_finding(Mixed("chosen", 64, (MixedRow("instance", instance, 9.0), MixedRow("batch", batch, 9.0))))

    assert text(22.0, 0.0) == (
        "Replacing the right half changes the far left quarter of a picture, 64 pixels away, by 22 grey levels"
        " (instance): statistics of the whole picture carry it there. It does not with batch: 0 grey levels (batch)."
    )
    assert "by 22 grey levels (batch)" in text(0.0, 22.0) and "does not with instance" in text(0.0, 22.0)
    assert "statistics" not in text(22.0, 22.0)
    assert text(0.0, 0.1).startswith("Replacing the right half does not change the far left quarter")
