"""The ruler and the networks under examination."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stylize.comparison.subject import CHUNK, Ruler, Subject, chunk_of, mean_change, spread
from stylize.config import LossConfig
from stylize.errors import InputError
from stylize.evaluation import style_distance
from stylize.losses import PerceptualLoss
from stylize.transformer import TransformerNet
from stylize.vgg import load_loss_network
from tests.helpers import tiny_config


def photos(count: int, side: int = 48) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_pictures_are_those_of_the_whole_batch_clamped():
    network = TransformerNet(tiny_config("instance")).eval()
    given = photos(CHUNK + 1)
    painted = Subject("instance", network).paint(given)
    with torch.no_grad():
        assert torch.allclose(painted, network(given).clamp(0, 1), atol=1e-6)
    assert not painted.requires_grad


def test_large_pictures_go_one_by_one():
    assert [chunk_of(torch.empty(8, 3, side, side)) for side in (16, 256, 300, 512, 2000)] == [4, 4, 2, 1, 1]


def test_training_mode_is_refused():
    with pytest.raises(InputError, match="'batch' is in training mode"):
        Subject("batch", nn.Identity()).paint(photos(1))


def test_the_ruler_measures_what_training_minimises():
    config = LossConfig()
    network = load_loss_network(last=config.style_layers[-1])
    painting, given = photos(1, 64), photos(CHUNK + 1)
    ruler = Ruler(network, config, painting)
    pictures = given.flip(3) * 0.7
    loss = PerceptualLoss(network, config)
    with torch.no_grad():
        terms = loss(pictures, loss.content_targets(given), loss.style_targets(painting))
    assert torch.allclose(ruler.style(pictures), terms.style, rtol=1e-4)
    first, second = ruler.content_and_style([pictures, given], given)
    assert torch.allclose(first[0], terms.content, rtol=1e-4)
    assert torch.allclose(first[1], terms.style, rtol=1e-4)
    assert second[0].tolist() == [0] * len(given)
    assert torch.allclose(second[1], ruler.style(given), rtol=1e-4)
    assert torch.allclose(ruler.style(pictures), style_distance(pictures, painting, loss_network=network), rtol=1e-4)
    assert float(ruler.style(painting)) == pytest.approx(0, abs=1e-6)


def test_change_and_spread_by_hand():
    first = torch.zeros(2, 3, 2, 2)
    second = first.clone()
    second[1, 0] = 0.5
    assert mean_change(first, second).tolist() == pytest.approx([0, 255 * 0.5 / 3])
    assert spread([1.0, 3.0]) == 1
    assert spread([5.0]) == 0
    assert spread([]) == 0
