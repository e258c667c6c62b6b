"""Optimising the picture itself, on losses whose optimum is known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stylize.comparison.optimum import PHOTO, PIXEL_RATE, Descent, Optimum, finding, measure_optimum
from stylize.comparison.subject import Ruler, Subject
from stylize.errors import InputError
from stylize.losses import LossTerms
from stylize.vgg import load_loss_network
from tests.training_helpers import TINY_LOSS

GOAL = 0.8


class Quadratic:
    """A loss that is the mean squared distance to a flat picture, whatever the photo."""

    def content_targets(self, photos: torch.Tensor) -> torch.Tensor:
        return photos

    def __call__(self, images: torch.Tensor, content: torch.Tensor, style: object) -> LossTerms:
        assert content.shape == images.shape
        total = (images - GOAL).square().flatten(1).mean(1)
        return LossTerms(total, total, total, total)


QUADRATIC = SimpleNamespace(loss=Quadratic(), targets=None)


class Painter(nn.Module):
    """Paints every photo in one grey."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return torch.full_like(photos, self.value)


def subjects(**values: float) -> list[Subject]:
    return [Subject(label, Painter(value).eval()) for label, value in values.items()]


def photos(count: int = 2) -> torch.Tensor:
    return torch.full((count, 3, 5, 6), 0.5)


def test_the_first_step_by_hand():
    """Adam's first step is its rate, in the direction of the gradient: 0.5 becomes 0.52, 0.7 becomes 0.72."""
    result = measure_optimum(subjects(instance=0.7), photos(), QUADRATIC, steps=1)
    assert [descent.start for descent in result.descents] == [PHOTO, "instance"]
    assert result.descents[0].losses == pytest.approx([0.3**2, (0.3 - PIXEL_RATE) ** 2], rel=1e-4)
    assert result.descents[1].losses == pytest.approx([0.1**2, (0.1 - PIXEL_RATE) ** 2], rel=1e-4)
    assert (result.photos, result.steps, result.target) == (2, 1, result.descents[0].losses[-1])


def test_nearer_to_the_optimum_takes_fewer_steps():
    result = measure_optimum(subjects(best=GOAL, near=0.62, same=0.5, far=0.0), photos(), QUADRATIC, steps=8)
    steps = result.steps_to_target
    assert steps[PHOTO] == steps["same"] == 8
    assert steps["best"] == 0
    assert 0 < steps["near"] < 8
    assert steps["far"] is None


def test_losses_never_rise_even_when_adam_overshoots():
    result = measure_optimum(subjects(best=GOAL, near=0.79), photos(1), QUADRATIC, steps=60)
    for descent in result.descents:
        assert len(descent.losses) == 61
        assert list(descent.losses) == sorted(descent.losses, reverse=True)
    assert result.target < 1e-3
    assert result.descents[1].losses == (0.0,) * 61 or max(result.descents[1].losses) < 1e-12


def test_photos_are_averaged_and_starts_do_not_touch_each_other():
    mixed = torch.cat([torch.full((1, 3, 4, 4), 0.4), torch.full((1, 3, 4, 4), 0.6)])
    both = measure_optimum(subjects(a=0.7, b=0.1), mixed, QUADRATIC, steps=3)
    single = [measure_optimum(subjects(a=0.7), photo, QUADRATIC, steps=3) for photo in mixed.split(1)]
    for place in (0, 1):
        mean = torch.tensor([one.descents[place].losses for one in single], dtype=torch.float64).mean(0)
        assert both.descents[place].losses == pytest.approx(mean.tolist(), rel=1e-6)


def test_progress_is_reported_over_all_photos():
    seen: list[int] = []
    measure_optimum(subjects(a=0.7), photos(2), QUADRATIC, steps=3, on_step=seen.append)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_the_photos_stay_as_they_are():
    given_photos = photos()
    measure_optimum(subjects(a=0.7), given_photos, QUADRATIC, steps=2)
    assert torch.equal(given_photos, photos())


def test_with_the_real_loss():
    """The painting itself as the start has no style left to gain; the loss falls from everywhere else."""
    torch_loss = load_loss_network(last="relu2_1")
    generator = torch.Generator().manual_seed(1)
    painting = torch.rand(1, 3, 32, 32, generator=generator)
    ruler = Ruler(torch_loss, TINY_LOSS, painting)
    result = measure_optimum(subjects(grey=0.5), painting * 0.3 + 0.2, ruler, steps=4)
    for descent in result.descents:
        assert descent.losses[-1] < descent.losses[0]
    assert result.steps_to_target[PHOTO] == 4


def test_nothing_to_compare():
    with pytest.raises(InputError, match="0 networks and 2 photos given; at least one of each is needed"):
        measure_optimum([], photos(), QUADRATIC)
    with pytest.raises(InputError, match="1 networks and 0 photos"):
        measure_optimum(subjects(a=0.5), photos(0), QUADRATIC)
    with pytest.raises(InputError, match="steps is -1; it must be a whole number, 1 or more"):
        measure_optimum(subjects(a=0.5), photos(), QUADRATIC, steps=-1)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=9), st.floats(0, 10), st.floats(0, 10))
def test_a_lower_loss_never_takes_fewer_steps(losses, first, second):
    descent = Descent("a", tuple(sorted(losses, reverse=True)))
    low, high = sorted((first, second))
    late, soon = descent.steps_to(low), descent.steps_to(high)
    assert (late is None) == (low < min(losses))
    if late is not None:
        assert soon is not None and soon <= late
        assert descent.losses[late] <= low and all(loss > low for loss in descent.losses[:late])


# ------------------------------------------------------------------------------------------------------------- sentence


def planted(instance: tuple[float, ...], batch: tuple[float, ...], photo: tuple[float, ...] = (9, 4, 3)) -> Optimum:
    descents = (Descent(PHOTO, photo), Descent("instance", instance), Descent("batch", batch))
    reached = {descent.start: descent.steps_to(photo[-1]) for descent in descents}
    return Optimum(descents, 1, len(photo) - 1, photo[-1], reached)


def test_the_sentence_has_the_planted_numbers():
    said = finding(planted(instance=(4, 3, 2), batch=(6, 5, 4)))
    assert "takes 2 steps of Adam to a loss of 3.000" in said
    assert "instance 1, batch not within 2" in said
    assert said.endswith(
        "The batch-norm output needs 2 steps to become as good as the instance-norm output is at once."
    )


def test_the_sentence_says_the_opposite_where_batch_norm_is_ahead():
    said = finding(planted(instance=(8, 6, 5), batch=(4, 3, 2)))
    assert "instance not within 2, batch 1" in said
    assert said.endswith(
        "The instance-norm output needs more than 2 steps to become as good as the batch-norm output is at once."
    )


def test_the_sentence_for_other_networks_alone():
    descents = (Descent(PHOTO, (9, 3)), Descent("layer", (2, 1)))
    said = finding(Optimum(descents, 1, 1, 3, {PHOTO: 1, "layer": 0}))
    assert "layer 0." in said and "at once" not in said
