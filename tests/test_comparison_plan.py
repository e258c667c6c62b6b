"""The plan of a study: how many runs, called what, and equal in all but the one thing in question."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.comparison.plan import (
    CONTROLS,
    FULL_NORMS,
    MAIN_NORMS,
    PLACED_NORMS,
    QUICK_NORMS,
    RATES,
    Study,
    chosen_rates,
    planned_runs,
    tuned_norms,
)
from stylize.config import NORM_NAMES, LossConfig
from stylize.errors import InputError


def study(**changes: Any) -> Study:
    values = {
        "paintings": ("paintings/wave.jpg",),
        "photos": "photos",
        "runs": "runs",
        "control_weights": "night.safetensors",
    }
    return Study(**(values | changes))


def names(one: Study, *arguments: Any) -> list[str]:
    return [run.name for run in planned_runs(one, *arguments)]


# --------------------------------------------------------------------------------------------------------------- counts


def test_the_full_plan():
    runs = planned_runs(study(paintings=("wave.jpg", "night.jpg")))
    count = {
        purpose: sum(run.purpose == purpose for run in runs) for purpose in ("norms", "controls", "photos", "rates")
    }
    # First painting: 3 seeds of the two main norms and 1 of 6 + 8 others; second painting: 3 seeds of the two.
    assert count == {"norms": 6 + 14 + 6, "controls": 3 * 2, "photos": 2 * 2, "rates": 0}
    assert len(FULL_NORMS) == 16
    assert {run.norm for run in runs if run.painting == "night"} == set(MAIN_NORMS)
    assert {run.norm for run in runs if run.painting == "wave"} == set(FULL_NORMS)
    assert {(run.purpose, run.seed) for run in runs if run.painting == "night"} == {("norms", s) for s in range(3)}


def test_a_quick_plan():
    quick = study(norms=QUICK_NORMS, seeds=1, controls=("equalise", "standardise"), photo_counts=(8,), steps=200)
    assert names(quick) == [
        "wave-instance-seed0",
        "wave-batch-seed0",
        "wave-weight-seed0",
        "wave-none-seed0",
        "wave-batch-instance-seed0",
        "wave-instance-seed0-equalise",
        "wave-batch-seed0-equalise",
        "wave-instance-seed0-standardise",
        "wave-batch-seed0-standardise",
        "wave-instance-seed0-8photos",
        "wave-batch-seed0-8photos",
    ]


def test_batches_that_are_shared_out():
    one = study(
        norms=("instance", "batch", "layer", "instance@first"), seeds=2, controls=(), photo_counts=(), processes=(2, 4)
    )
    shared = [run for run in planned_runs(one) if run.purpose == "processes"]
    assert [run.name for run in shared if run.processes == 4] == [
        "wave-instance-seed0-4processes",
        "wave-batch-seed0-4processes",
        "wave-batch-seed0-4processes-synchronised",
        "wave-layer-seed0-4processes",
        "wave-instance-seed1-4processes",
        "wave-batch-seed1-4processes",
        "wave-batch-seed1-4processes-synchronised",
    ]
    assert [run.processes for run in shared] == [2] * 7 + [4] * 7
    alone = {(run.norm, run.seed): run.config for run in planned_runs(one) if run.purpose == "norms"}
    for run in shared:
        assert run.config.sync_batch_norm == ("synchronised" in run.name)
        # Nothing else differs from the run of one process.
        same = replace(run.config, output=alone[run.norm, run.seed].output, sync_batch_norm=False)
        assert same == alone[run.norm, run.seed]


def test_shared_out_runs_have_the_rate_of_their_norm():
    one = study(norms=("instance", "batch"), seeds=1, controls=(), photo_counts=(), processes=(4,), rates=RATES)
    shared = [run for run in planned_runs(one, {"instance": 8e-3, "batch": 2e-3}) if run.processes == 4]
    assert [run.config.learning_rate for run in shared] == [8e-3, 2e-3, 2e-3]
    assert shared[0].name == "wave-instance-seed0-4processes-rate0.008"


@pytest.mark.parametrize("count", [1, 0, -2, 2.0, True, "2"])
def test_one_process_shares_nothing(count):
    with pytest.raises(InputError, match="^processes is .*; it must be a whole number, 2 or more$"):
        study(processes=(count,))


def test_shares_are_equal():
    with pytest.raises(InputError, match="batches of 4 photos given to 3 processes; each takes an equal share"):
        study(processes=(2, 3))


def test_what_matters_most_comes_first():
    assert names(study())[:2] == ["wave-instance-seed0", "wave-batch-seed0"]


def test_the_smallest_plan():
    assert names(study(norms=("batch", "layer"), seeds=1, controls=(), photo_counts=())) == [
        "wave-batch-seed0",
        "wave-layer-seed0",
    ]


@pytest.mark.parametrize(
    ("seeds", "other", "instance", "layer"), [(3, 1, 3, 1), (1, 3, 1, 3), (2, 2, 2, 2), (2, 0, 2, 0)]
)
def test_seeds_of_main_and_other_norms(seeds, other, instance, layer):
    runs = planned_runs(
        study(norms=("instance", "layer"), seeds=seeds, other_seeds=other, controls=(), photo_counts=())
    )
    assert sorted(run.seed for run in runs if run.norm == "instance") == list(range(instance))
    assert sorted(run.seed for run in runs if run.norm == "layer") == list(range(layer))


def test_a_study_without_the_main_norms_has_no_controls():
    assert {run.purpose for run in planned_runs(study(norms=("layer", "group")))} == {"norms"}


def test_the_files_of_a_run():
    run = planned_runs(study(runs="report/runs"))[0]
    assert run.config.output == str(Path("report/runs/wave-instance-seed0.safetensors"))
    assert run.config.style == "paintings/wave.jpg" and run.painting == "wave"


@given(
    st.lists(st.sampled_from(FULL_NORMS), min_size=2, max_size=16, unique=True),
    st.integers(1, 3),
    st.integers(0, 3),
    st.sets(st.sampled_from(CONTROLS)),
    st.sets(st.sampled_from((4, 8, 64))),
    st.sampled_from(((), RATES, (1e-3, 4e-3))),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_names_are_unique_and_runs_are_counted_right(norms, seeds, other_seeds, controls, counts, rates, paintings):
    one = study(
        paintings=tuple(f"p{index}.png" for index in range(paintings)),
        norms=tuple(norms),
        seeds=seeds,
        other_seeds=other_seeds,
        controls=tuple(sorted(controls)),
        photo_counts=tuple(sorted(counts)),
        rates=rates,
    )
    runs = planned_runs(one)
    assert len({run.name for run in runs}) == len({run.config.output for run in runs}) == len(runs)
    main = len(one.main_norms)
    if not rates:
        others = (len(one.norms) - main) * other_seeds
        extra = main * (len(controls) + len(counts)) + main * seeds * (paintings - 1)
        assert len(runs) == main * seeds + others + extra
    # The number announced at the start is the number that is trained, whichever rates turn out best.
    if rates:
        best = {norm: rates[-1] for norm in tuned_norms(one)}
        assert len(planned_runs(one, best)) == len(runs)


# ------------------------------------------------------------------------------------------------------------- fairness


ALLOWED = {
    "norm": {"norm"},
    "seed": {"seed"},
    "painting": {"style"},
    "preparation": {"preparation", "preparation_weights"},
    "photo_limit": {"photo_limit"},
}
"""What may differ between two runs, by the thing in question; the name of the file always does."""


def test_two_runs_differ_only_in_what_is_in_question():
    runs = planned_runs(study(paintings=("wave.jpg", "night.jpg"), photo_counts=(8,)))
    for first, second in combinations(runs, 2):
        one, other = first.config.to_json(), second.config.to_json()
        different = {name for name in one if one[name] != other[name]}
        asked = set()
        for question, attribute in (("norm", "norm"), ("seed", "seed"), ("painting", "painting")):
            if getattr(first, attribute) != getattr(second, attribute):
                asked |= ALLOWED[question]
        if first.config.preparation != second.config.preparation:
            asked |= ALLOWED["preparation"]
        if first.config.photo_limit != second.config.photo_limit:
            asked |= ALLOWED["photo_limit"]
        assert different - {"output"} <= asked, (first.name, second.name)
        assert "output" in different


def test_tuned_runs_differ_in_the_learning_rate_besides():
    one = study(norms=("instance", "batch"), rates=RATES, controls=(), photo_counts=())
    for first, second in combinations(planned_runs(one), 2):
        a, b = first.config.to_json(), second.config.to_json()
        assert {name for name in a if a[name] != b[name]} <= {"output", "norm", "seed", "learning_rate"}


def test_controls_and_photo_counts_have_a_plain_run_to_be_held_against():
    runs = planned_runs(study())
    plain = {(run.norm, run.seed) for run in runs if run.purpose == "norms"}
    others = [run for run in runs if run.purpose in ("controls", "photos")]
    assert others and all((run.norm, run.seed) in plain and run.seed == 0 for run in others)


def test_settings_reach_every_run():
    loss = LossConfig(style_weight=3.0)
    one = study(
        steps=120, batch_size=2, image_size=64, style_size=96, preset="johnson", precision="float32", device="cpu",
        validation="held", validation_photos=5, validations=6, loss=loss,
    )  # fmt: skip
    for run in planned_runs(one):
        config = run.config
        assert (config.steps, config.batch_size, config.image_size, config.style_size) == (120, 2, 64, 96)
        assert (config.preset, config.precision, config.device) == ("johnson", "float32", "cpu")
        assert (config.validation, config.validation_photos, config.validation_interval) == ("held", 5, 20)
        assert config.loss == loss and config.learning_rate == 2e-3


@given(st.integers(1, 300), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_no_more_measurements_than_asked_for(steps, validations):
    run = planned_runs(study(norms=MAIN_NORMS, steps=steps, validations=validations, seeds=1))[0]
    measured = [step for step in range(1, steps + 1) if step % run.config.validation_interval == 0 or step == steps]
    assert 1 <= len(measured) <= validations
    assert len(measured) == validations or steps % validations


def test_only_the_control_stylize_has_weights():
    for run in planned_runs(study()):
        assert (run.config.preparation_weights is not None) == (run.config.preparation == "stylize")


# ---------------------------------------------------------------------------------------------------------------- rates


def test_tuned_norms_are_those_without_a_placement_and_the_parts_of_mixtures():
    one = study(norms=("instance@first", "layer", "batch@deep+group"), rates=RATES)
    assert tuned_norms(one) == ["instance", "batch", "layer", "group"]
    assert tuned_norms(study(norms=("instance", "batch"))) == []


def test_a_placement_takes_the_lower_of_the_two_best_rates():
    one = study(norms=("instance", "batch", "instance@first", "batch@deep+group"), rates=RATES)
    best = {"instance": 8e-3, "batch": 2e-3, "group": 5e-4}
    assert chosen_rates(one, best) == best | {"instance@first": 2e-3, "batch@deep+group": 5e-4}
    # Of one of its norms every run diverged: the other decides.
    assert chosen_rates(one, {"instance": 8e-3})["instance@first"] == 8e-3
    assert chosen_rates(one, {}) == {}


def test_runs_with_tuned_rates():
    one = study(norms=("instance", "batch", "instance@first"), rates=RATES, seeds=2, controls=(), photo_counts=())
    runs = planned_runs(one, {"instance": 8e-3, "batch": 5e-4})
    assert [run.name for run in runs if run.purpose == "rates"] == [
        "wave-instance-seed0-rate0.0005",
        "wave-instance-seed0",
        "wave-instance-seed0-rate0.008",
        "wave-batch-seed0-rate0.0005",
        "wave-batch-seed0",
        "wave-batch-seed0-rate0.008",
    ]
    # Seed 0 at the best rate is a run of the grid already; the other seeds and the placement follow.
    assert [(run.name, run.config.learning_rate) for run in runs if run.purpose == "norms"] == [
        ("wave-instance@first-seed0-rate0.0005", 5e-4),
        ("wave-instance-seed1-rate0.008", 8e-3),
        ("wave-batch-seed1-rate0.0005", 5e-4),
    ]


def test_the_common_rate_serves_a_norm_all_of_whose_rates_diverged():
    one = study(norms=("instance", "none"), rates=(1e-3,), controls=(), photo_counts=(), seeds=1)
    assert names(one, {"instance": 1e-3}) == [
        "wave-instance-seed0-rate0.001",
        "wave-none-seed0-rate0.001",
        "wave-none-seed0",
    ]


# --------------------------------------------------------------------------------------------------------- bad settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paintings": ()}, "no painting given; a study needs at least one"),
        ({"norms": ("instance",)}, r"1 normalisation given \(instance\); a comparison needs two or more"),
        ({"norms": ("instance", "instance@everywhere")}, r"1 normalisation given \(instance\)"),
        ({"norms": ()}, "0 normalisation"),
        ({"norms": ("instance", "bacth")}, "unknown normalisation 'bacth'; did you mean 'batch'"),
        ({"norms": ("instance", "batch@middle")}, "unknown placement 'middle'"),
        ({"paintings": ("a/wave.jpg", "b/wave.png")}, "two paintings have one name"),
        ({"seeds": 0}, "seeds is 0; it must be a whole number, 1 or more"),
        ({"seeds": 1.5}, "seeds is 1.5"),
        ({"other_seeds": -1}, "other_seeds is -1; it must be a whole number, 0 or more"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": True}, "steps is True"),
        ({"validations": 0}, "validations is 0"),
        ({"control_weights": None}, "the control 'stylize' needs the weights file of another style"),
        ({"controls": ("equalize",)}, "unknown control 'equalize'; did you mean 'equalise'"),
        ({"controls": ("none",)}, "unknown control 'none'"),
        ({"controls": ("equalize",), "norms": ("layer", "group")}, "unknown control 'equalize'"),
        ({"photo_counts": (2,)}, "photo_limit is 2; it must be a whole number, 4"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"image_size": 16}, "image_size is 16"),
        ({"style_size": 16}, "style_size is 16"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"rates": (2e-3, 5.0)}, "learning_rate is 5.0"),
        ({"rates": (1e-3, 1.0000001e-3)}, "two runs would be called wave-instance-seed0-rate0.001; .* further apart"),
        ({"preset": "slow"}, "unknown preset 'slow'"),
        ({"precision": "float8"}, "unknown precision 'float8'"),
        # wave + batch-instance and wave-batch + instance
        ({"paintings": ("wave.jpg", "wave-batch.jpg")}, "two runs would be called wave-batch-instance-seed0; rename a"),
    ],
)  # fmt: skip
def test_bad_settings_are_one_clear_line(changes, said):
    with pytest.raises(InputError, match=said) as caught:
        study(**changes)
    assert "\n" not in str(caught.value)


def test_norms_are_kept_in_their_shortest_form_and_once():
    assert study(norms=("instance@first+batch", "batch", "instance@first")).norms == ("instance@first", "batch")


def test_settings_as_json():
    one = study()
    assert json.loads(json.dumps(one.to_json()))["norms"] == list(FULL_NORMS)
    assert replace(one, seeds=2).seeds == 2


def test_the_lists_of_norms():
    assert set(MAIN_NORMS) <= set(QUICK_NORMS) <= set(NORM_NAMES) <= set(FULL_NORMS)
    assert not set(PLACED_NORMS) & set(NORM_NAMES)
    assert study(norms=FULL_NORMS).norms == FULL_NORMS
