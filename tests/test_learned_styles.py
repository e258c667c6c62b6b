"""What a run learns: which style each photo gets, and what the loss asks of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stylize.config import TrainConfig
from stylize.evaluation import Losses, Validation
from stylize.learned_styles import LearnedStyles, OneStyle, mean_validation, validate
from stylize.losses import PerceptualLoss, gram_matrix
from stylize.preparation import STANDARD_DEVIATION, STANDARD_MEAN, standardise
from stylize.transformer import TransformerNet
from stylize.vgg import load_loss_network
from tests.helpers import tiny_config
from tests.training_helpers import TINY_LOSS


@pytest.fixture(scope="module")
def loss():
    return PerceptualLoss(load_loss_network(last="relu2_1"), TINY_LOSS)


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def collection(paintings: int, **changes) -> TrainConfig:
    names = tuple(f"painting-{number}.png" for number in range(paintings))
    return TrainConfig(style=names, norm="conditional-instance", **changes)


def learned(loss, paintings: int = 2, **changes) -> LearnedStyles:
    given = [pictures(1, 3, 24 + number, 20, seed=number) for number in range(paintings)]
    return LearnedStyles(collection(paintings, **changes), given, loss)


@given(st.integers(1, 12), st.integers(1, 7), st.integers(0, 5))
def test_every_style_has_its_turn_before_one_has_its_next(styles, batch_size, seed):
    bare = LearnedStyles.__new__(LearnedStyles)
    bare.names, bare.seed = tuple(map(str, range(styles))), seed
    drawn = torch.cat([bare.draw(step, batch_size) for step in range(3 * styles)]).tolist()
    for first in range(0, len(drawn), styles):
        assert sorted(drawn[first : first + styles]) == list(range(styles))


def test_the_order_follows_from_seed_and_step(loss):
    first, again, other = learned(loss, 5, seed=1), learned(loss, 5, seed=1), learned(loss, 5, seed=2)
    steps = [first.draw(step, 3).tolist() for step in range(20)]
    assert [again.draw(step, 3).tolist() for step in reversed(range(20))] == steps[::-1]
    assert [other.draw(step, 3).tolist() for step in range(20)] != steps


def test_targets_are_those_of_each_photos_own_painting(loss):
    styles = learned(loss)
    assert styles.names == ("painting-0", "painting-1", "photo")
    photos = pictures(4, 3, 16, 16, seed=9)
    numbers = torch.tensor([1, 2, 0, 1])
    goals = styles.goals(numbers, photos)
    assert torch.equal(goals[[0, 2, 3]], photos[[0, 2, 3]])
    torch.testing.assert_close(goals[1], standardise(photos)[1].clamp(0, 1))
    targets = styles.targets(numbers, goals)
    with torch.no_grad():
        own = loss.loss_network(goals, TINY_LOSS.style_layers)
    for layer in TINY_LOSS.style_layers:
        assert torch.equal(targets.grams[layer][0], styles.painted[1].grams[layer][0])
        assert torch.equal(targets.grams[layer][2], styles.painted[0].grams[layer][0])
        torch.testing.assert_close(targets.grams[layer][1], gram_matrix(own[layer])[1], rtol=1e-3, atol=1e-3)
    assert targets.content_energy.shape == (4,)


def test_a_photo_of_any_contrast_has_one_goal_in_the_style_photo(loss):
    """Instance norm cannot know contrast and brightness, so the goal must not depend on them."""
    styles, numbers = learned(loss), torch.tensor([2, 2])
    photos = pictures(2, 3, 16, 16)
    goals = styles.goals(numbers, photos)
    torch.testing.assert_close(styles.goals(numbers, 0.2 + 0.5 * photos), goals, rtol=0, atol=1e-4)
    assert float(goals.mean()) == pytest.approx(STANDARD_MEAN, abs=0.02)
    assert float(goals.std()) == pytest.approx(STANDARD_DEVIATION, abs=0.02)
    terms = loss(goals, loss.content_targets(goals), styles.targets(numbers, goals))
    assert float(terms.content.max()) == 0 and float(terms.style.max()) < 1e-9
    painted = loss(goals, loss.content_targets(goals), styles.targets(torch.tensor([0, 1]), goals))
    assert float(painted.style.min()) > 1e-3


def test_the_style_photo_is_measured_against_its_goal(loss):
    styles = learned(loss)
    photos = pictures(2, 3, 24, 24, seed=5)
    untouched = styles.validators([photos])["photo"].photo
    goals = standardise(photos).clamp(0, 1)
    terms = loss(photos, loss.content_targets(goals), loss.style_targets(goals))
    assert untouched.total == pytest.approx(float(terms.total.mean()), rel=1e-5) and untouched.content > 0


def test_a_run_of_one_painting_has_its_targets_as_they_are(loss):
    config = TrainConfig(style="painting.png")
    styles = LearnedStyles(config, [pictures(1, 3, 24, 24)], loss)
    assert styles.names == ("painting",)
    assert styles.targets(torch.zeros(3, dtype=torch.long), pictures(3, 3, 8, 8)) is styles.painted[0]


def test_each_style_is_measured_as_it_is_painted(loss):
    styles = learned(loss, photo_style=False)
    network = TransformerNet(tiny_config("conditional-instance", styles=2), seed=3).eval()
    with torch.no_grad():
        network.encoder[1].bias[1] += 2
    batches = [pictures(2, 3, 24, 24, seed=5)]
    measured = validate(network, styles.validators(batches), collection=True)
    assert set(measured) == {"painting-0", "painting-1"}
    with torch.no_grad():
        painted = network(batches[0], torch.tensor([1, 1])).clamp(0, 1)
    terms = loss(painted, loss.content_targets(batches[0]), styles.painted[1])
    assert measured["painting-1"].evaluation_mode.total == pytest.approx(float(terms.total.mean()), rel=1e-5)
    assert measured["painting-0"].evaluation_mode.total != measured["painting-1"].evaluation_mode.total


def test_one_style_paints_like_its_number():
    network = TransformerNet(tiny_config("conditional-batch", styles=3), seed=3).eval()
    with torch.no_grad():
        network.encoder[1].weight.uniform_(0.5, 2)
    images = pictures(2, 3, 20, 20)
    with torch.no_grad():
        torch.testing.assert_close(OneStyle(network, 2)(images), network(images, torch.tensor([2, 2])))


def test_the_mean_of_measurements_by_hand():
    first = Validation(Losses(1, 2, 3, 4), Losses(0, 0, 0, 0), Losses(8, 8, 8, 8), 0.5, 7)
    second = Validation(Losses(3, 2, 1, 0), Losses(2, 2, 2, 2), Losses(8, 8, 8, 8), 0.1, 7)
    mean = mean_validation([first, second])
    assert mean.evaluation_mode == Losses(2, 2, 2, 2)
    assert mean.training_mode == Losses(1, 1, 1, 1)
    assert mean.contrast_change == pytest.approx(0.3) and mean.photos == 7
    assert mean_validation([first]) is first
