"""Every claim against planted runs: each verdict it can reach, and the planted numbers in its sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.comparison.claims import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, UNDECIDED, Claim, gate_ends, judge
from stylize.comparison.evidence import SMALLEST_NOISE, Evidence
from stylize.comparison.experiments import Point, RunResult
from stylize.comparison.plan import FULL_NORMS

RATE = 2e-3


def point(total: float, step: int = 100, gates: Sequence[float] = (), trained: float | None = None) -> Point:
    trained = total if trained is None else trained
    return Point(step, 1.0, total / 2, total / 20, total, trained / 2, trained / 20, trained, 0.01, tuple(gates))


def run(
    norm: str,
    total: float | None,
    seed: int = 0,
    preparation: str = "none",
    photo_limit: int | None = None,
    painting: str = "wave",
    rate: float = RATE,
    gates: Sequence[float] = (),
    trained: float | None = None,
    processes: int = 1,
    synchronised: bool = False,
) -> RunResult:
    """Return a run that ended with a loss, or one that diverged (None)."""
    curve = () if total is None else (point(2 * total), point(total, 200, gates, trained))
    failure = "the loss is nan at step 3" if total is None else ""
    name = f"{painting}-{norm}-{seed}-{preparation}-{photo_limit}-{rate}-{processes}-{synchronised}"
    several = {"processes": processes, "synchronised": synchronised}
    return RunResult(
        name, "norms", painting, norm, seed, rate, preparation, photo_limit, curve, 0.9, 1.0, failure, **several
    )


def plain(**totals: float | None) -> list[RunResult]:
    """Return one run for each norm; ``first`` stands for ``instance@first`` and so on."""
    longer = {
        "first": "instance@first",
        "shallow": "instance@shallow",
        "deep": "instance@deep",
        "gated": "batch-instance",
    }
    return [run(longer.get(norm, norm), total) for norm, total in totals.items()]


def decide(key: str, results: Sequence[RunResult], rates: dict[str, float] | None = None) -> Claim:
    claims = {claim.key: claim for claim in judge(Evidence(results, rates or {}, "wave"))}
    return claims[key]


def seeds(norm: str, *totals: float | None, **changes) -> list[RunResult]:
    return [run(norm, total, seed, **changes) for seed, total in enumerate(totals)]


KEYS = (
    "instance-beats-batch",
    "not-only-the-modes",
    "contrast-is-not-all",
    "style-normalised-photos",
    "preparation-does-not-replace-it",
    "weight-norm",
    "no-use-in-combining",
    "instance-shallow-batch-deep",
    "first-layer",
    "more-photos",
    "shared-out-batch",
    "normalisation-is-needed",
)


def test_every_claim_once_and_none_is_tested_without_runs():
    claims = judge(Evidence([], {}, "wave"))
    assert tuple(claim.key for claim in claims) == KEYS
    assert {claim.verdict for claim in claims} == {NOT_TESTED}
    assert all(claim.claim.endswith(".") and claim.source and claim.sentence.endswith(".") for claim in claims)


# ---------------------------------------------------------------------------------------------------------------- noise


def test_the_noise_is_that_of_the_painting_with_all_the_runs():
    calm, wild = seeds("instance", 1.0, 1.05), [replace(run, painting="night") for run in seeds("instance", 1.0, 1.5)]
    assert Evidence([*calm, *wild], {}, "wave").noise == pytest.approx(0.05 / 1.025)
    assert Evidence([calm[0], *wild], {}, "wave").noise == pytest.approx(0.5 / 1.25)


def test_the_noise_is_the_largest_spread_between_seeds_but_never_below_two_percent():
    assert Evidence(plain(instance=1, batch=2), {}, "wave").noise == SMALLEST_NOISE == 0.02
    noisy = [*seeds("instance", 1.0, 1.1), *seeds("batch", 2.0, 2.1, 2.6)]
    evidence = Evidence(noisy, {}, "wave")
    assert evidence.noise == pytest.approx(0.6 / 2.1)
    assert [evidence.compare(first, 1) for first in (0.7, 0.72, 1, 1.28, 1.29)] == [-1, 0, 0, 0, 1]


def test_runs_at_another_rate_do_not_count():
    results = [run("instance", 1.0), run("instance", 9.0, rate=8e-3), run("batch", 2.0), run("batch", 0.1, rate=5e-4)]
    evidence = Evidence(results, {"instance": RATE, "batch": RATE}, "wave")
    assert (evidence.total("instance"), evidence.total("batch")) == (1.0, 2.0)


# ------------------------------------------------------------------------------------------------- instance beats batch


def test_instance_beats_batch_reproduced():
    claim = decide("instance-beats-batch", [*seeds("instance", 1.0, 1.25, 1.5), *seeds("batch", 2.0, 3.0, 2.5)])
    assert claim.verdict == REPRODUCED
    assert "lower one in every run (3 seeds or more each)" in claim.sentence
    # Medians 1.25 and 2.5, style distances a twentieth of them.
    assert "wave: instance 1.25, batch 2.50" in claim.sentence
    assert "style distance 0.0625 against 0.1250 (2.00 times)" in claim.sentence


def test_instance_beats_batch_not_reproduced():
    claim = decide("instance-beats-batch", plain(instance=2, batch=1))
    assert claim.verdict == NOT_REPRODUCED
    assert "in no run (1 seed or more each)" in claim.sentence
    assert "(0.50 times)" in claim.sentence


def test_instance_beats_batch_undecided_where_runs_overlap():
    claim = decide("instance-beats-batch", [*seeds("instance", 1.0, 2.0), *seeds("batch", 1.5, 2.5)])
    assert claim.verdict == UNDECIDED
    assert "in some runs only" in claim.sentence


@pytest.mark.parametrize(("instance", "batch"), [(1.0, 1.01), (1.01, 1.0), (1.0, 1.0)])
def test_a_percent_is_no_difference(instance, batch):
    claim = decide("instance-beats-batch", plain(instance=instance, batch=batch))
    assert claim.verdict == UNDECIDED
    assert claim.sentence.endswith("Differences of 2 % and less count as none.")


def test_every_painting_counts():
    better = plain(instance=1, batch=2)
    worse = [run("instance", 3, painting="night"), run("batch", 1, painting="night")]
    claim = decide("instance-beats-batch", better + worse)
    assert claim.verdict == UNDECIDED
    assert "wave: instance 1.00, batch 2.00" in claim.sentence and "night: instance 3.00, batch 1.00" in claim.sentence


def test_the_fewest_seeds_are_named():
    results = [*seeds("instance", 1, 1, 1), *seeds("batch", 2, 2, None)]
    assert "(2 seeds or more each)" in decide("instance-beats-batch", results).sentence


# ------------------------------------------------------------------------------------------------------------ the modes


@pytest.mark.parametrize(("trained", "verdict"), [(1.5, REPRODUCED), (1.01, UNDECIDED), (0.8, NOT_REPRODUCED)])
def test_not_only_the_modes(trained, verdict):
    claim = decide("not-only-the-modes", [run("instance", 1.0), run("batch", 2.0, trained=trained)])
    assert claim.verdict == verdict
    assert f"of batch norm: 2.00 in evaluation mode, {trained:.2f} in training mode" in claim.sentence
    assert "of instance norm: 1.00 and 1.00" in claim.sentence


# ------------------------------------------------------------------------------------------------------------- controls


def with_control(preparation: str, instance: float, batch: float, plain_batch: float = 2.0) -> list[RunResult]:
    return [
        *plain(instance=1.0, batch=plain_batch),
        run("instance", instance, preparation=preparation),
        run("batch", batch, preparation=preparation),
    ]


@pytest.mark.parametrize(
    ("batch", "left", "verdict"),
    [
        (2.0, "100 %", REPRODUCED),
        (4.0, "200 %", REPRODUCED),
        (2**0.25, "25 %", NOT_REPRODUCED),
        (0.5, "-100 %", NOT_REPRODUCED),
    ],
)
def test_contrast_is_not_all(batch, left, verdict):
    """Of a gap of 2 times, in logarithms: 4 times is twice the gap, the fourth root of 2 a quarter of it."""
    claim = decide("contrast-is-not-all", with_control("equalise", 1.0, batch))
    assert claim.verdict == verdict
    assert f"is 2.00 times instance norm's on plain photos and {batch:.2f} times on equalised ones" in claim.sentence
    assert f"{left} of the gap" in claim.sentence


@pytest.mark.parametrize("plain_batch", [0.5, 1.0, 1.015])
@pytest.mark.parametrize(
    ("key", "preparation"), [("contrast-is-not-all", "equalise"), ("style-normalised-photos", "stylize")]
)
def test_without_a_gap_there_is_nothing_that_could_remain(key, preparation, plain_batch):
    claim = decide(key, with_control(preparation, 1.0, 1.01, plain_batch))
    assert claim.verdict == NOT_TESTED
    assert "no gap on plain photos that could remain" in claim.sentence


@pytest.mark.parametrize(
    ("instance", "batch", "verdict"),
    [
        (0.9, 1.0, REPRODUCED),  # 15 % of the gap is left, and batch norm is as good as instance norm was
        (1.9, 2.0, UNDECIDED),  # the gap is gone because instance norm got worse
        (0.5, 1.05, UNDECIDED),  # batch norm is as good as instance norm was, which got better as well
        (1.0, 1.9, NOT_REPRODUCED),
    ],
)
def test_style_normalised(instance, batch, verdict):
    claim = decide("style-normalised-photos", with_control("stylize", instance, batch))
    assert claim.verdict == verdict
    assert f"2.00 times instance norm's on plain photos and {batch / instance:.2f} times" in claim.sentence
    assert f"has {batch:.2f} times the loss of instance norm on plain photos" in claim.sentence
    assert f"{100 * math.log2(batch / instance):.0f} % of the gap" in claim.sentence


@pytest.mark.parametrize(
    ("value", "closed", "verdict"),
    [(2.0, 0, REPRODUCED), (2**0.5, 50, REPRODUCED), (1.0, 100, NOT_REPRODUCED), (0.5, 200, NOT_REPRODUCED)],
)
def test_preparation_does_not_replace_it(value, closed, verdict):
    claim = decide("preparation-does-not-replace-it", with_control("standardise", 1.0, value))
    assert claim.verdict == verdict
    assert f"held-out loss {value:.2f}, instance norm on plain photos 1.00: {closed} % of the gap" in claim.sentence


def test_preparation_cannot_replace_what_does_not_help():
    claim = decide("preparation-does-not-replace-it", with_control("standardise", 1.0, 0.7, plain_batch=0.9))
    assert claim.verdict == NOT_TESTED
    assert "there was no gap to close" in claim.sentence


def test_controls_are_held_against_runs_of_their_own_seed():
    """The other seeds would give 4 times; seed 0 has 2."""
    results = [*with_control("equalise", 1.0, 2.0), run("instance", 1.0, 1), run("batch", 6.0, 1), run("batch", 4.0, 2)]
    assert (
        "is 2.00 times instance norm's on plain photos and 2.00 times"
        in decide("contrast-is-not-all", results).sentence
    )


# ---------------------------------------------------------------------------------------------------------- other norms


@pytest.mark.parametrize(
    ("weight", "verdict", "said"),
    [
        (0.5, REPRODUCED, "lower than batch norm (2.00) and lower than instance norm (1.00)"),
        (1.01, UNDECIDED, "lower than batch norm (2.00) and within the noise of instance norm (1.00)"),
        (1.99, NOT_REPRODUCED, "within the noise of batch norm (2.00) and higher than instance norm (1.00)"),
        (3.0, NOT_REPRODUCED, "higher than batch norm (2.00) and higher than instance norm (1.00)"),
    ],
)
def test_weight_norm(weight, verdict, said):
    claim = decide("weight-norm", plain(instance=1, batch=2, weight=weight))
    assert claim.verdict == verdict
    assert claim.sentence == f"Held-out loss: weight ends at {weight:.2f}, {said}."


def test_weight_norm_needs_no_batch_norm_beside_it():
    claim = decide("weight-norm", plain(instance=1, weight=2))
    assert claim.verdict == NOT_REPRODUCED
    assert claim.sentence == "Held-out loss: weight ends at 2.00, higher than instance norm (1.00)."


def test_weight_norm_that_diverged():
    claim = decide("weight-norm", plain(instance=1, batch=2, weight=None))
    assert claim.verdict == NOT_REPRODUCED
    assert claim.sentence == "The only run of weight diverged; instance norm ends at a held-out loss of 1.00."


@pytest.mark.parametrize(
    ("none", "verdict"), [(3.0, REPRODUCED), (2.02, NOT_REPRODUCED), (1.5, NOT_REPRODUCED), (None, REPRODUCED)]
)
def test_normalisation_is_needed(none, verdict):
    claim = decide("normalisation-is-needed", plain(instance=1, batch=2, none=none))
    assert claim.verdict == verdict
    assert ("diverged" if none is None else f"none ends at {none:.2f}") in claim.sentence


def test_no_rate_at_which_a_network_without_normalisation_trains():
    rates = {"batch": RATE}  # none of the rates tried was any good for the other
    results = [run("batch", 2.0), *(run("none", None, rate=rate) for rate in (5e-4, 2e-3, 8e-3))]
    claim = decide("normalisation-is-needed", results, rates)
    assert claim.verdict == REPRODUCED
    assert claim.sentence == "All 3 runs of none diverged; batch norm ends at a held-out loss of 2.00."


@pytest.mark.parametrize(
    ("totals", "verdict"),
    [
        ({"gated": 1.0, "ibn": 1.5}, REPRODUCED),
        ({"gated": 1.2, "ibn": 0.8}, NOT_REPRODUCED),
        ({"gated": 0.8}, NOT_REPRODUCED),
        ({"ibn": 0.99}, REPRODUCED),
    ],
)
def test_no_use_in_combining(totals, verdict):
    claim = decide("no-use-in-combining", plain(instance=1, batch=2, **totals))
    assert claim.verdict == verdict
    for norm, total in totals.items():
        name = {"gated": "batch-instance"}.get(norm, norm)
        assert f"{name} ends at {total:.2f}" in claim.sentence
    assert "gates" not in claim.sentence


def test_combining_without_batch_norm_still_says_something():
    claim = decide("no-use-in-combining", plain(instance=1, gated=2))
    assert claim.sentence == "Held-out loss: batch-instance ends at 2.00, higher than instance norm (1.00)."


def test_gates_are_those_at_the_end_averaged_over_seeds():
    results = [
        *plain(instance=1, batch=2),
        run("batch-instance", 1.0, 0, gates=(0.2, 0.4, 0.9)),
        run("batch-instance", 1.0, 1, gates=(0.4, 0.8, 0.7)),
        run("batch-instance", None, 2),
    ]
    assert gate_ends(Evidence(results, {}, "wave")) == pytest.approx([0.3, 0.6, 0.8])
    said = "end at 0.30 in the first layer, 0.80 in the last, 0.57 on average"
    assert said in decide("no-use-in-combining", results).sentence
    assert gate_ends(Evidence(results[:2], {}, "wave")) == []


@pytest.mark.parametrize(
    ("shallow", "deep", "verdict"),
    [
        (1.0, 2.0, REPRODUCED),
        (0.5, 2.0, REPRODUCED),
        (1.5, 2.0, NOT_REPRODUCED),  # better than the other half, worse than everywhere
        (1.0, 1.01, UNDECIDED),
        (1.5, 1.0, NOT_REPRODUCED),
    ],
)
def test_shallow_and_deep(shallow, deep, verdict):
    claim = decide("instance-shallow-batch-deep", plain(instance=1.0, shallow=shallow, deep=deep))
    assert claim.verdict == verdict
    assert f"shallow half {shallow:.2f}, in the deep half {deep:.2f}, everywhere 1.00" in claim.sentence


@pytest.mark.parametrize(
    ("first", "verdict", "way"),
    [(2**0.5, REPRODUCED, 50), (2.0, NOT_REPRODUCED, 0), (3.0, NOT_REPRODUCED, -58), (0.5, NOT_REPRODUCED, 200)],
)
def test_first_layer(first, verdict, way):
    claim = decide("first-layer", plain(instance=1, batch=2, first=first))
    assert claim.verdict == verdict
    said = f"everywhere 2.00, instance norm in the first layer {first:.2f}, in all layers 1.00: {way} % of the way."
    assert said in claim.sentence


def test_a_first_layer_that_does_nearly_all_leaves_the_rest_undecided():
    claim = decide("first-layer", plain(instance=1, batch=2, first=1.01))
    assert claim.verdict == UNDECIDED
    assert claim.sentence.endswith(
        "in all layers 1.00: 99 % of the way; the rest of the way is within the noise of 2 %."
    )


def test_first_layer_where_there_is_no_way_to_go():
    claim = decide("first-layer", plain(instance=1, batch=1, first=0.5))
    assert claim.verdict == NOT_REPRODUCED
    assert "of the way" not in claim.sentence


# ------------------------------------------------------------------------------------------------------ training photos


@pytest.mark.parametrize(
    ("instance", "batch", "verdict"),
    [
        ((1.2, 1.1, 1.0), (2.0, 2.2, 2.5), REPRODUCED),
        ((1.0, 1.0, 1.01), (2.0, 2.2, 2.5), REPRODUCED),
        ((1.0, 1.2, 1.4), (2.0, 2.2, 2.5), NOT_REPRODUCED),  # instance norm gets worse as well
        ((1.2, 1.1, 1.0), (2.5, 2.2, 2.0), NOT_REPRODUCED),
        ((1.0, 1.0, 1.0), (2.0, 2.0, 2.02), NOT_REPRODUCED),
    ],
)
def test_more_photos(instance, batch, verdict):
    results = [
        run(norm, total, photo_limit=limit)
        for norm, row in (("instance", instance), ("batch", batch))
        for total, limit in zip(row, (8, 64, None), strict=True)
    ]
    claim = decide("more-photos", results[::-1])
    assert claim.verdict == verdict
    for norm, row in (("instance", instance), ("batch", batch)):
        assert f"{norm} norm {row[0]:.2f} (8), {row[1]:.2f} (64), {row[2]:.2f} (all)" in claim.sentence


@pytest.mark.parametrize(
    ("instance", "batch", "verdict"),
    [
        ((1.0, 1.0, 1.0), (1.5, 1.6, 2.5), REPRODUCED),
        ((1.0, 1.0, 0.9), (1.5, 1.6, 2.5), REPRODUCED),
        ((1.0, 1.0, 1.2), (1.5, 1.6, 2.5), NOT_REPRODUCED),
        ((1.0, 1.0, 1.0), (1.5, 1.5, 1.52), NOT_REPRODUCED),
        ((1.0, 1.0, 1.0), (1.5, 1.6, 1.2), NOT_REPRODUCED),
    ],
)
def test_shared_out_batches(instance, batch, verdict):
    results = [
        run(norm, total, processes=count)
        for norm, row in (("instance", instance), ("batch", batch))
        for total, count in zip(row, (1, 2, 4), strict=True)
    ]
    claim = decide("shared-out-batch", results[::-1])
    assert claim.verdict == verdict
    assert f"batch norm 1.50 (1), {batch[1]:.2f} (2), {batch[2]:.2f} (4); instance norm 1.00 (1)" in claim.sentence
    assert "synchronised" not in claim.sentence
    more = [*results, run("batch", 1.55, processes=4, synchronised=True)]
    assert decide("shared-out-batch", more).sentence.endswith("; batch norm with synchronised statistics 1.55 (4).")
    assert decide("shared-out-batch", more).verdict == verdict


def test_shared_out_batches_that_diverge():
    alone = [run("instance", 1.0), run("batch", 1.5), run("instance", 1.0, processes=4)]
    claim = decide("shared-out-batch", [*alone, run("batch", None, processes=4)])
    assert claim.verdict == REPRODUCED
    assert claim.sentence == "All runs of batch norm by 4 processes diverged, and none of instance norm."
    claim = decide("shared-out-batch", [*alone, run("batch", None, 1, processes=4), run("batch", 1.5, processes=4)])
    assert claim.verdict == UNDECIDED
    assert claim.sentence.endswith("; runs by 4 processes that diverged: batch 1, instance 0.")


def test_runs_of_several_processes_decide_no_other_claim():
    """They are no further seeds of the norm."""
    alone = [*seeds("instance", 1.0, 1.02), *seeds("batch", 1.5, 1.52)]
    shared = [run(norm, 9.0, seed, processes=4) for norm in ("instance", "batch") for seed in range(3)]
    shared += [run("batch", 7.0, seed, processes=4, synchronised=True) for seed in range(3)]
    for one, other in zip(judge(Evidence(alone, {}, "wave")), judge(Evidence(alone + shared, {}, "wave")), strict=True):
        assert one == other or one.key == "shared-out-batch"


# --------------------------------------------------------------------------------------------------------- missing runs


NEEDED = {
    "instance-beats-batch": plain(instance=1, batch=2),
    "not-only-the-modes": plain(instance=1, batch=2),
    "contrast-is-not-all": with_control("equalise", 1, 2),
    "style-normalised-photos": with_control("stylize", 1, 1),
    "preparation-does-not-replace-it": [*plain(instance=1, batch=2), run("batch", 2, preparation="standardise")],
    "weight-norm": plain(instance=1, weight=2),
    "no-use-in-combining": plain(instance=1, gated=1),
    "instance-shallow-batch-deep": plain(instance=1, shallow=2, deep=3),
    "first-layer": plain(instance=1, batch=2, first=1.5),
    "more-photos": [run(norm, 1, photo_limit=limit) for norm in ("instance", "batch") for limit in (8, None)],
    "shared-out-batch": [run(norm, 1, processes=count) for norm in ("instance", "batch") for count in (1, 4)],
    "normalisation-is-needed": plain(batch=1, none=2),
}


def test_all_claims_are_among_these():
    assert tuple(NEEDED) == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_a_claim_is_tested_with_the_runs_it_needs_and_not_without_one_of_them(key):
    assert decide(key, NEEDED[key]).verdict != NOT_TESTED
    for missing in range(len(NEEDED[key])):
        rest = NEEDED[key][:missing] + NEEDED[key][missing + 1 :]
        claim = decide(key, rest)
        assert claim.verdict == NOT_TESTED
        assert claim.sentence == "The runs that would tell are not part of this study, or diverged."


NAMES = (*FULL_NORMS, "instance@first+none")
PLANTED = st.builds(
    run,
    st.sampled_from(NAMES),
    st.one_of(st.none(), st.floats(0.05, 20)),
    st.integers(0, 2),
    st.sampled_from(("none", "none", "equalise", "standardise", "stylize")),
    st.sampled_from((None, None, 8, 64)),
    st.sampled_from(("wave", "night")),
    st.sampled_from((RATE, 8e-3)),
    processes=st.sampled_from((1, 1, 2, 4)),
    synchronised=st.booleans(),
)


@given(st.lists(PLANTED, max_size=40), st.dictionaries(st.sampled_from(NAMES), st.sampled_from((RATE, 8e-3))))
@settings(max_examples=150, deadline=None)
def test_no_study_is_too_strange(results, rates):
    """Whatever is missing or diverged, every claim has a verdict and a sentence without holes."""
    claims = judge(Evidence(results, rates, "wave"))
    assert tuple(claim.key for claim in claims) == KEYS
    for claim in claims:
        assert claim.verdict in (REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_TESTED)
        assert "nan" not in claim.sentence and "None" not in claim.sentence and "inf" not in claim.sentence
        assert "  " not in claim.sentence and ": ." not in claim.sentence and ": ;" not in claim.sentence
        assert "\n" not in claim.sentence and claim.sentence.endswith(".")


@given(st.floats(0.1, 10), st.floats(0.1, 10))
@settings(max_examples=100, deadline=None)
def test_the_sentence_of_the_headline_agrees_with_its_verdict(instance, batch):
    claim = decide("instance-beats-batch", plain(instance=instance, batch=batch))
    assert (claim.verdict == REPRODUCED) == (instance < batch and abs(instance / batch - 1) > SMALLEST_NOISE)
    assert ("in every run" in claim.sentence) == (instance < batch)
    assert f"instance {instance:.2f}, batch {batch:.2f}" in claim.sentence


def saturated(norm: str, rate: float = RATE) -> RunResult:
    """Return a finished run whose pictures are as far from the style as the photos."""
    found = run(norm, 10.0, rate=rate)
    return replace(found, photo_style=found.curve[-1].style)


@pytest.mark.parametrize(("norm", "key"), [("weight", "weight-norm"), ("none", "normalisation-is-needed")])
def test_a_network_that_learned_nothing_decides_nothing(norm, key):
    others = [run("instance", 1.0), run("batch", 2.0)]
    claim = decide(key, [*others, saturated(norm)])
    assert claim.verdict == UNDECIDED
    assert claim.sentence.startswith(f"{norm} learned nothing at a learning rate of {RATE:g}")
    # With rates of its own the norm had its chance.
    assert decide(key, [*others, saturated(norm), saturated(norm, RATE / 4)]).verdict != UNDECIDED
