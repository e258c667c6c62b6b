"""Planted runs, and what must be read from them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.comparison.experiments import Point, RunResult
from stylize.comparison.summaries import (
    Range,
    curve_range,
    final_range,
    reaches,
    select,
    spread_of,
    summarise,
)


def point(step: int, total: float, **changes: float) -> Point:
    values = {
        "content": total / 2,
        "style": total / 20,
        "training_content": total / 4,
        "training_style": total / 40,
        "training_total": total / 5,
        "contrast_change": total / 255,
    }
    return Point(step=step, seconds=step / 10, total=total, **(values | changes))


def run(norm: str, *totals: float, seed: int = 0, rate: float = 2e-3, failure: str = "", **changes) -> RunResult:
    values = {"purpose": "norms", "painting": "wave", "preparation": "none", "photo_limit": None} | changes
    curve = tuple(point(100 * (index + 1), total) for index, total in enumerate(totals))
    return RunResult(
        name=f"{norm}-{seed}-{rate}", norm=norm, seed=seed, learning_rate=rate, curve=curve, failure=failure, **values
    )


def step_of(one: Point) -> float:
    return one.step


def seconds_of(one: Point) -> float:
    return one.seconds


def total_of(one: Point) -> float:
    return one.total


# --------------------------------------------------------------------------------------------------------------- ranges


def test_range_by_hand():
    assert spread_of([3.0, 1.0, 2.0]) == Range(2.0, 1.0, 3.0)
    assert spread_of([4.0, 1.0]) == Range(2.5, 1.0, 4.0)
    assert all(math.isnan(value) for value in vars(spread_of([])).values())


def test_the_last_measurement_of_finished_runs_counts():
    runs = [run("instance", 5, 2), run("instance", 9, 4), run("instance", 1, 1, failure="diverged"), run("instance")]
    assert final_range(runs, total_of) == Range(3.0, 2.0, 4.0)
    assert [one.final is None for one in runs] == [False, False, True, True]


def test_curves_are_summed_up_where_all_finished_runs_were_measured():
    runs = [run("batch", 5, 4, 3), run("batch", 7, 6, 5, seed=1), run("batch", 1, failure="diverged", seed=2)]
    assert curve_range(runs, total_of) == [(100, Range(6, 5, 7)), (200, Range(5, 4, 6)), (300, Range(4, 3, 5))]
    assert [step for step, _ in curve_range([*runs, run("batch", 2, 2, seed=3)], total_of)] == [100, 200]
    assert curve_range(runs[2:], total_of) == [] == curve_range([], total_of)


# ------------------------------------------------------------------------------------------------------------- reaching


def test_reached_on_a_straight_line_between_two_measurements():
    one = run("instance", 4.0, 2.0, 1.0)
    assert reaches(one, 2.0, step_of) == 200
    assert reaches(one, 3.0, step_of) == 150
    assert reaches(one, 1.25, step_of) == pytest.approx(275)
    assert reaches(one, 1.25, seconds_of) == pytest.approx(27.5)
    assert reaches(one, 4.0, step_of) == reaches(one, 9.0, step_of) == 100  # the first measurement is the first known
    assert reaches(one, 0.9, step_of) is None
    assert reaches(run("instance"), 1.0, step_of) is None


def test_the_first_time_counts():
    assert reaches(run("batch", 4.0, 2.0, 4.0, 1.0), 2.5, step_of) == 175


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=8), st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_lower_loss_is_never_reached_sooner(totals, first, second):
    one = run("batch", *totals)
    low, high = sorted((first, second))
    late, soon = reaches(one, low, step_of), reaches(one, high, step_of)
    assert (late is None) == (low < min(totals))
    if late is not None:
        assert soon is not None and 100 <= soon <= late <= 100 * len(totals)


def summary(results, norm, rates=None, painting="wave"):
    return next(s for s in summarise(results, rates or {}) if (s.painting, s.norm) == (painting, norm))


def test_steps_to_the_loss_that_batch_norm_ends_with():
    results = [
        *(run("batch", 4, total, seed=seed) for seed, total in enumerate((1.8, 2.0, 2.2))),
        run("instance", 4, 0, seed=0),
        run("instance", 8, 0, seed=1),
        run("instance", 3, 1, seed=2),
    ]
    found = summary(results, "instance")
    assert found.steps_to_batch == 150  # 150, 175 and 150
    assert found.seconds_to_batch == 15
    assert summary(results, "batch").steps_to_batch == 200  # its own median is reached by two of three, in 200 and less


@pytest.mark.parametrize(
    ("ends", "steps"),
    [
        ((0, 0, 9), 150),  # 150, 150, never
        ((0, 1, 9), 500 / 3),  # 150, 167, never: the median is the slower of the two that got there
        ((0, 9, 9), None),
        ((0, 9), None),
        ((9,), None),
    ],
)
def test_a_run_that_never_gets_there_counts_as_slow(ends, steps):
    results = [run("batch", 4, 2), *(run("layer", 4, end, seed=seed) for seed, end in enumerate(ends))]
    found = summary(results, "layer").steps_to_batch
    assert found == (None if steps is None else pytest.approx(steps))


def test_without_batch_norm_there_is_nothing_to_reach():
    found = summary([run("instance", 4, 2), run("layer", 4, 2)], "instance")
    assert found.steps_to_batch is None and found.seconds_to_batch is None


# ------------------------------------------------------------------------------------------------------------ summaries


def test_a_summary_has_the_planted_numbers():
    results = [run("instance", 5, 2), run("instance", 5, 4, seed=1), run("instance", 3, seed=2, failure="diverged")]
    found = summary(results, "instance")
    assert (found.seeds, found.diverged, found.learning_rate) == (2, 1, 2e-3)
    assert found.total == Range(3, 2, 4)
    assert found.content == Range(1.5, 1, 2)
    assert found.style.median == pytest.approx(0.15)
    assert found.training_style.median == pytest.approx(0.075)
    assert found.training_total.median == pytest.approx(0.6)
    assert found.contrast_change.median == pytest.approx(3)  # in grey levels


def test_controls_photo_counts_and_other_rates_are_left_out():
    results = [
        run("batch", 5, 2),
        run("batch", 5, 1, preparation="equalise", purpose="controls"),
        run("batch", 5, 1, photo_limit=8, purpose="photos"),
        run("batch", 5, 1, rate=8e-3, purpose="rates"),
    ]
    found = summary(results, "batch", {"batch": 2e-3})
    assert (found.seeds, found.total) == (1, Range(2, 2, 2))
    assert select(results, "wave", "batch", {"batch": 2e-3}, "equalise")[0].preparation == "equalise"
    assert select(results, "wave", "batch", {}, photo_limit=8)[0].photo_limit == 8
    assert select(results, "wave", "batch", {"batch": 8e-3}) == [results[3]]
    assert len(select(results, "wave", "batch", {})) == 2
    assert select(results, "night", "batch", {}) == []


def test_one_summary_for_every_painting_and_norm_in_order():
    results = [run("batch", 2), run("instance", 1), run("batch", 9, painting="night"), run("batch", 3, seed=1)]
    found = summarise(results, {})
    assert [(s.painting, s.norm) for s in found] == [("wave", "batch"), ("wave", "instance"), ("night", "batch")]
    assert [s.total.median for s in found] == [2.5, 1, 9]


def test_a_norm_all_of_whose_runs_diverged():
    found = summary([run("none", failure="a"), run("none", 7, seed=1, failure="b"), run("batch", 2)], "none")
    assert (found.seeds, found.diverged) == (0, 2)
    assert math.isnan(found.total.median) and found.steps_to_batch is None


def test_no_runs_no_summaries():
    assert summarise([], {}) == []
