"""A whole training study, once for real and tiny, and every sentence that is made of one."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stylize.comparison.claims import NOT_TESTED
from stylize.comparison.experiments import carry_out
from stylize.comparison.plan import Study, planned_runs
from stylize.comparison.report_folder import write_study
from stylize.comparison.study import Painted, StudyOutcome, conclude
from stylize.comparison.study_sections import not_reproduced, study_sections, study_verdict
from stylize.comparison.tables import number_text
from stylize.config import PRESETS
from tests.comparison_helpers import (
    LOSSES,
    numbers_in,
    outcome_of,
    planted_run,
    planted_study,
    sentences,
    small_networks,
    texts,
    unswayed,
    without_charts,
)
from tests.helpers import save_photo, tiny_config
from tests.training_helpers import TINY_LOSS, make_material

NORMS = ("instance", "batch", "batch-instance", "instance@first")


@dataclass(frozen=True)
class Whole:
    """A study that was carried out once, and its report."""

    root: Path
    study: Study
    outcome: StudyOutcome
    document: dict[str, Any]
    page: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Iterator[Whole]:
    root = make_material(tmp_path_factory.mktemp("study"))
    painting = (root / "painting.png").rename(root / "<b>&'wave' $x$.png")
    [control] = small_networks(root, "instance")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(PRESETS, "fast", tiny_config())
        study = Study(
            paintings=(str(painting),),
            photos=str(root / "photos"),
            runs=str(root / "runs"),
            norms=NORMS,
            seeds=2,
            steps=4,
            batch_size=2,
            image_size=32,
            style_size=32,
            controls=("equalise", "stylize"),
            control_weights=str(control),
            photo_counts=(4,),
            validations=2,
            validation_photos=2,
            precision="float32",
            device="cpu",
            loss=TINY_LOSS,
        )
        results = carry_out(study)
        done: list[tuple[int, int]] = []
        photos = [save_photo(root / "shown" / f"<i>{index}.png", 50, 40, seed=index) for index in range(3)]
        outcome = conclude(
            study, results, photos, picture_size=32, optimum_steps=3, on_step=lambda *step: done.append(step)
        )
        assert done == [(step, 6) for step in range(1, 7)]
    page = write_study(root / "report", outcome, {"command": "stylize compare --train", "device": "cpu"})
    document = json.loads((root / "report" / "results.json").read_text(encoding="utf-8"))
    yield Whole(root, study, outcome, document, page.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------------------------------------------- a whole run


def test_every_planned_run_is_there_and_finished(whole):
    assert [run.name for run in whole.outcome.results] == [run.name for run in planned_runs(whole.study)]
    assert all(run.final is not None and run.final.step == 4 for run in whole.outcome.results)
    assert [(one.norm, one.seeds, one.diverged) for one in whole.outcome.summaries] == [
        (norm, 2 if norm in ("instance", "batch") else 1, 0) for norm in NORMS
    ]
    assert whole.outcome.rates == {}


def test_all_networks_begin_as_the_same_function_of_the_same_photos(whole):
    """Fairness: before anything is learned, the losses of norms that do the same are equal."""
    from tests.training_helpers import read_log

    first = {}
    for run in planned_runs(whole.study):
        if run.purpose == "norms" and run.seed == 0:
            first[run.norm] = next(row for row in read_log(Path(run.config.output)) if "total" in row)
    # The gates of batch-instance norm begin at batch norm.
    assert first["batch"]["total"] == pytest.approx(first["batch-instance"]["total"], rel=1e-5)
    assert first["batch"]["total"] != first["instance"]["total"]
    assert len({run.config.learning_rate for run in planned_runs(whole.study)}) == 1


def test_pictures_by_every_norm_of_the_first_seed(whole):
    assert [one.photo for one in whole.outcome.pictures] == ["<i>0", "<i>1", "<i>2"]
    for one in whole.outcome.pictures:
        assert list(one.by_norm) == list(NORMS)
        assert {image.size for image in (one.original, *one.by_norm.values())} == {(32, 32)}
    pictures = {image.tobytes() for image in whole.outcome.pictures[0].by_norm.values()}
    assert len(pictures) == len(NORMS)


def test_the_gap_to_the_optimum_is_of_the_main_norms(whole):
    optimum = whole.outcome.optimum
    assert [descent.start for descent in optimum.descents] == ["photo", "instance", "batch"]
    assert (optimum.photos, optimum.steps) == (2, 3)


def walk(value: Any) -> Iterator[Any]:
    """Yield every number and text in a document."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)
    else:
        yield value


def test_the_json_is_finite_and_tells_no_folders(whole):
    training = whole.document["training"]
    assert all(math.isfinite(value) for value in walk(training) if isinstance(value, float))
    assert [run["norm"] for run in training["runs"]] == [run.norm for run in whole.outcome.results]
    assert training["study"]["runs"] == f"{whole.root.name}/runs"
    assert training["study"]["control_weights"] == f"{whole.root.name}/instance.safetensors"
    for path in (whole.root / "report").iterdir():
        assert str(whole.root).encode() not in path.read_bytes(), path.name


def test_every_number_of_the_verdict_comes_from_the_json(whole):
    training = whole.document["training"]
    medians = {
        (one["norm"], key): one[key]["median"]
        for one in training["summaries"]
        for key in ("total", "style", "training_total")
    }
    first = {
        (run["norm"], run["preparation"]): run["curve"][-1]["total"]
        for run in training["runs"]
        if run["seed"] == 0 and run["photo_limit"] is None
    }
    gaps = {kind: first["batch", kind] / first["instance", kind] for kind in ("none", "equalise", "stylize")}
    ratios = [*gaps.values(), first["batch", "stylize"] / first["instance", "none"]]
    ratios.append(medians["batch", "style"] / medians["instance", "style"])
    left = [math.log(gaps[kind]) / math.log(gaps["none"]) for kind in ("equalise", "stylize")]
    written = {f"{value:.2f}" for value in [*medians.values(), *ratios]} | {f"{100 * share:.0f}" for share in left}
    written |= {f"{value:.4f}" for value in medians.values()}
    said = [number for line in study_verdict(whole.outcome) for number in numbers_in(line)]
    # "2 seeds or more each", and differences of "2 % and less" are no measurements.
    assert len(said) > 6 and set(said) - {"2"} <= written


def test_the_page_has_every_section_and_names_are_escaped(whole):
    with pytest.MonkeyPatch.context() as patched:
        without_charts(patched.setattr)
        sections = study_sections(whole.outcome)
    assert [one.anchor for one in sections] == [
        "curves", "norms", "trained-pictures", "photos", "placement", "gates", "photo-counts", "optimum", "claims"
    ]  # fmt: skip
    for one in sections:
        assert whole.page.count(f'<section class="part" id="{one.anchor}">') == 1
        for text in texts(one):
            assert html.escape(text) in whole.page, text
    for line in [*study_verdict(whole.outcome), *not_reproduced(whole.outcome)]:
        assert html.escape(line) in whole.page
    assert "<b>" not in whole.page and "<i>" not in whole.page
    assert html.escape("<b>&'wave' $x$") in whole.page


def test_the_tables_can_be_read(whole):
    names = {path.name for path in (whole.root / "report").iterdir()}
    assert names == {"index.html", *whole.document["files"]}
    with open(whole.root / "report" / "curves.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(len(run.curve) for run in whole.outcome.results)
    assert all(math.isfinite(float(row["total"])) for row in rows)
    with open(whole.root / "report" / "claims.csv", newline="", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == len(whole.outcome.claims)


def test_the_same_study_again_trains_nothing(whole, monkeypatch):
    monkeypatch.setitem(PRESETS, "fast", tiny_config())
    monkeypatch.setattr("stylize.comparison.experiments.train", None)
    assert carry_out(whole.study) == whole.outcome.results


# --------------------------------------------------------------------------------------------------- sentences, planted


@pytest.fixture
def charts(monkeypatch):
    without_charts(monkeypatch.setattr)


def said(outcome: StudyOutcome) -> list[str]:
    """Return every text of a report, the claims and their sources, which are quoted, left out."""
    found = [text for one in study_sections(outcome) for text in texts(one)] + study_verdict(outcome)
    return [*found, *(claim.sentence for claim in outcome.claims)]


def section(outcome: StudyOutcome, anchor: str) -> Any:
    return next((one for one in study_sections(outcome) if one.anchor == anchor), None)


DEFINITIONS = {
    # Questions and names of columns.
    "Given a gate between batch and instance norm in every channel, where does training put it?",
    "What does training on few photos cost, and does batch norm suffer from many?",
    "Which layers need instance norm, and is batch norm right for the deep ones?",
    "What does sharing out each batch over several processes do to each norm?",
    "A batch on several devices",
    "loss, batch statistics",
    "steps to batch norm's loss",
    # What was done and how it is written.
    "Held-out loss, as the network is applied, by the number of processes that share each batch.",
    "With one photo in each process, batch norm computes in training what instance norm does.",
    "One seed of instance and batch.",
    "Held-out loss of instance and batch norm for each kind of training photos.",
    "instance@first has instance norm in the first layer and batch norm in the rest;",
    "batch@first the reverse.",
    "Weight and none begin from the statistics of the first batch (see stylize.norms), so that every network starts as "
    "the same function of it.",
    # The beginnings of sentences whose numbers follow.
    "Batch norm on photos whose channels all have one mean and variance:",
    "Held-out loss of batch norm:",
    "With each batch of 4 photos shared out over 4 processes, the held-out loss is this many times that of one "
    "process:",
    "of instance norm:",
    # What is the same in both, because the gates were left as they are.
    "the layer that moved furthest ends nearer to instance norm, at 0.40.",
    "The gates of batch-instance norm, which begin at 1 (batch norm), end at 0.90 in the first layer, 0.40 in the "
    "last, 0.70 on average.",
}
"""Sentences with the name of a norm that say nothing about which is better; everything else must follow the numbers."""

SWAPPED: Mapping[str, float] = {**LOSSES, "instance": 1.5, "batch": 1.0}


def test_every_sentence_follows_the_numbers(charts):
    assert unswayed(said(planted_study()), said(planted_study(SWAPPED))) <= DEFINITIONS


def test_the_verdict_of_planted_losses_and_of_the_opposite():
    plain, swapped = study_verdict(planted_study()), study_verdict(planted_study(SWAPPED))
    assert plain[0].startswith("Instance norm's held-out loss is the lower one in every run (2 seeds or more each).")
    assert "instance 1.00, batch 1.51" in plain[0] and "(1.50 times)" in plain[0]
    assert swapped[0].startswith("Instance norm's held-out loss is the lower one in no run (2 seeds or more each).")
    assert "instance 1.51, batch 1.00" in swapped[0] and "(0.67 times)" in swapped[0]
    assert len(not_reproduced(planted_study(SWAPPED))) > len(not_reproduced(planted_study()))
    assert any(
        line.startswith("A network with instance norm reaches a lower")
        for line in not_reproduced(planted_study(SWAPPED))
    )


def test_when_instance_norm_reaches_the_loss_of_batch_norm(charts):
    [style, total] = section(planted_study(), "curves").body
    assert style.finding == (
        "On wave instance norm has the loss that batch norm ends with after 75 of 100 steps (7 s of training)."
    )
    assert "1.51 in evaluation mode, 1.43 in training mode" in total.finding
    [style, _] = section(planted_study(SWAPPED), "curves").body
    assert style.finding == "On wave instance norm does not reach the loss that batch norm ends with."
    # Without one of the two the question does not arise, and no answer is given.
    for losses in ({"instance": 1.0, "layer": 2.0}, {"batch": 1.0, "layer": 0.5}, {"layer": 1.0, "group": 0.5}):
        found = section(planted_study(losses, controls=(), photo_counts=()), "curves")
        assert "reach" not in found.body[0].finding and " has the loss" not in found.body[0].finding
        assert found.finding == "The runs that would tell are not part of this study, or diverged."


def test_nothing_is_said_of_other_training_than_this(charts):
    assert section(planted_study(), "curves").caveats[0] == (
        "100 steps of 4 crops of 128 px; what longer training or larger crops would change was not tried."
    )


def test_what_seeds_alone_do_is_said_only_where_it_was_measured(charts):
    assert section(planted_study(), "norms").finding == (
        "The lowest held-out loss of 9 norms on wave is that of instance (1.00), the highest that of none (2.00); "
        "seeds alone change a loss by up to 1 %, and differences of 2 % and less count as none."
    )
    once = planted_study({"layer": 1.0, "group": 1.5}, controls=(), photo_counts=())
    found = section(once, "norms")
    assert found.finding.endswith("; there is one seed of each, and differences of 2 % and less count as none.")
    assert found.caveats == []
    assert section(planted_study(), "norms").caveats[0] == "The norms were trained with 1 to 2 seeds."
    [one] = section(planted_study({"layer": 1.0, "weight": 1.5}, controls=(), photo_counts=()), "norms").caveats
    assert one.startswith("Weight begins from the statistics of the first batch")


def test_a_study_without_the_two_main_norms_has_a_verdict_of_its_own(charts):
    outcome = planted_study({"layer": 1.0, "group": 1.5}, controls=(), photo_counts=())
    assert all(claim.verdict == NOT_TESTED for claim in outcome.claims)
    [sentence] = study_verdict(outcome)
    assert sentence.startswith(
        "The lowest held-out loss of 2 norms on wave is that of layer (1.00), the highest that of"
    )
    assert not_reproduced(outcome) == []
    assert (
        section(outcome, "claims").finding
        == f"Of {len(outcome.claims)} claims: none tested, {len(outcome.claims)} not tested."
    )


def failed(outcome: StudyOutcome, *norms: str) -> StudyOutcome:
    """Return a study in which all runs of some norms diverged."""
    runs = str(outcome.study.runs)
    message = f"the loss is nan at step 7; the checkpoint of step 0 is kept in {runs}{os.sep}wave.run"
    results = [
        replace(run, curve=(), failure=message) if run.norm in norms or not norms else run for run in outcome.results
    ]
    return outcome_of(outcome.study, results, outcome.rates)


def test_a_study_whose_runs_all_diverged(charts, tmp_path):
    outcome = replace(failed(planted_study()), optimum=None)
    assert study_verdict(outcome) == [
        "No run was finished. Runs that diverged: instance, batch, weight, none, batch-instance, ibn, instance@first, "
        "instance@shallow, instance@deep."
    ]
    page = write_study(tmp_path / "report", outcome, {"command": "x"})
    text = (page.parent / "results.json").read_text(encoding="utf-8")
    assert "kept in wave.run" in text and "/somewhere" not in text


def test_norms_that_diverged_are_named_and_not_ranked(charts):
    outcome = failed(planted_study(), "none", "weight")
    finding = section(outcome, "norms").finding
    assert "of 7 norms" in finding and finding.endswith(" Runs that diverged: weight, none.")
    verdicts = {claim.key: claim for claim in outcome.claims}
    assert verdicts["weight-norm"].sentence.startswith("The only run of weight diverged; instance norm ends at")
    outcome = failed(planted_study(), "batch")
    assert verdicts.keys() == {claim.key for claim in outcome.claims}
    assert study_verdict(outcome)[0].startswith("The lowest held-out loss of 8 norms")
    assert not any("reproduced" in claim.verdict and "batch norm's" in claim.sentence for claim in outcome.claims)


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        (("equalise", "standardise", "stylize"), ["equalised ones", "one mean and variance", "photos of one style"]),
        (("equalise", "stylize"), ["equalised ones", "photos of one style"]),
        (("standardise",), ["one mean and variance"]),
        ((), None),
    ],
)
def test_only_the_controls_of_the_study_are_spoken_of(charts, controls, words):
    outcome = planted_study()
    kept = [run for run in outcome.results if run.preparation in ("none", *controls)]
    outcome = outcome_of(replace(outcome.study, controls=controls), kept, {})
    found = section(outcome, "photos")
    if words is None:
        assert found is None
        return
    for word in ("equalised ones", "one mean and variance", "photos of one style"):
        assert (word in found.finding) == (word in words)
    assert "The runs that would tell" not in found.finding


def test_placements_without_the_runs_that_would_tell(charts):
    outcome = planted_study({"instance": 1.0, "batch": 1.5, "instance@residual": 1.2})
    found = section(outcome, "placement")
    assert found.finding == "The runs that would tell are not part of this study, or diverged."
    assert found.body[0].finding == "From the lowest to the highest loss: instance, instance@residual, batch."
    assert section(planted_study({"instance": 1.0, "batch": 1.5}), "placement") is None


def test_gates_are_read_as_they_are(charts):
    def gated(*gates: float) -> StudyOutcome:
        outcome = planted_study()
        results = [
            replace(run, curve=tuple(replace(point, gates=gates) for point in run.curve))
            if run.norm == "batch-instance"
            else run
            for run in outcome.results
        ]
        return outcome_of(outcome.study, results, {})

    assert section(gated(1.0, 0.9, 0.2, 0.6), "gates").finding == (
        "The mean gate ends at 0.95 in the shallower half of the layers and at 0.40 in the deeper half; the layer that "
        "moved furthest ends nearer to instance norm, at 0.20."
    )
    assert "ends nearer to batch norm, at 0.97" in section(gated(1.0, 0.97, 0.99, 1.0), "gates").finding
    assert section(gated(), "gates") is None


# --------------------------------------------------------------------------------------------------- shared-out batches


def test_shared_out_batches(charts):
    found = section(planted_study(), "shared-batches")
    assert found.finding == (
        "With each batch of 4 photos shared out over 4 processes, the held-out loss is this many times that of one "
        "process: batch 1.40 where each process has statistics of its own; batch 1.03 with synchronised ones; instance "
        "1.01, which have no statistics of the batch. Differences of 2 % and less count as none."
    )
    _, again, table = found.body
    assert again == (
        "With one photo in each process, batch norm computes in training what instance norm does. With the statistics "
        "of each photo alone its networks come to a held-out loss of 1.89, those of instance norm to 1.00. As it is "
        "applied, batch norm has running averages instead, which that training never used, and comes to 2.10."
    )
    assert [row[:3] for row in table.rows] == [
        ("instance", "1 process", "2"),
        ("instance", "2 processes", "1"),
        ("instance", "4 processes", "1"),
        ("batch", "1 process", "2"),
        ("batch", "2 processes", "1"),
        ("batch", "4 processes", "1"),
        ("batch", "2 processes, synchronised", "1"),
        ("batch", "4 processes, synchronised", "1"),
    ]
    assert table.rows[5][3:7] == ("2.10", "1.400", "1.99", "1.89")
    assert table.rows[3][4] is None and [row[6] for row in table.rows] == [None] * 4 + ["1.62", "1.89", None, None]
    assert found.caveats[-1] == "One seed of instance and batch."


def test_a_batch_that_is_not_shared_out_to_the_last_photo(charts):
    outcome = planted_study(batch_size=8)
    _, table = section(outcome, "shared-batches").body
    assert table.rows[5][6] == "1.89"


def test_without_shared_out_batches_nothing_is_said_of_them(charts):
    outcome = planted_study(processes=())
    alone = [run for run in outcome.results if run.processes == 1]
    assert section(outcome_of(outcome.study, alone, {}), "shared-batches") is None
    # Norms without statistics of the batch alone.
    kept = [run for run in outcome.results if run.norm == "instance"]
    found = section(outcome_of(outcome.study, kept, {}), "shared-batches")
    assert "process: instance 1.01, which have no statistics of the batch." in found.finding
    assert len(found.body) == 2 and found.caveats[-1] == "One seed of instance."


def test_shared_out_runs_that_diverged(charts):
    outcome = planted_study()
    message = "the loss is nan at step 7"
    results = [
        replace(run, curve=(), failure=message) if run.norm == "batch" and run.processes == 4 else run
        for run in outcome.results
    ]
    found = section(outcome_of(outcome.study, results, {}), "shared-batches")
    assert "process: instance 1.01, which have" in found.finding
    assert found.finding.endswith(" Runs that diverged: batch (4 processes), batch (4 processes, synchronised).")
    assert [row[2:5] for row in found.body[-1].rows if row[:2] == ("batch", "4 processes")] == [
        ("0 (1 diverged)", "–", None)
    ]
    lost = [replace(run, curve=(), failure=message) if run.processes > 1 else run for run in outcome.results]
    found = section(outcome_of(outcome.study, lost, {}), "shared-batches")
    assert found.finding.startswith(
        "No run with each batch of 4 photos shared out over 4 processes has one of one process beside it. Runs that "
        "diverged: instance (2 processes), instance (4 processes), batch (2 processes), "
    )
    assert len(found.body) == 1


def test_seeds_that_diverged_make_no_ratio_better(charts):
    """Compared are the seeds that came to an end on both sides."""
    outcome = planted_study({"instance": 1.0, "batch": 1.5})
    extra = [planted_run("batch", 6.0, seed=1, purpose="processes", processes=4)]
    plain = outcome_of(outcome.study, [*outcome.results, *extra], {})
    assert "batch 2.69 where" in section(plain, "shared-batches").finding  # (2.1 + 6) / (1.5 + 1.515)
    lost = [replace(extra[0], curve=(), failure="the loss is nan at step 7")]
    found = section(outcome_of(outcome.study, [*outcome.results, *lost], {}), "shared-batches")
    assert "batch 1.40 where" in found.finding and "Runs that diverged: batch (4 processes)." in found.finding


def test_pictures_by_networks_of_several_processes(charts):
    picture = Image.new("RGB", (8, 8))
    outcome = planted_study()
    shown = Painted("a", picture, {"batch, 4 processes": picture})
    for pictures, expected in (
        ([], ["a, batch, 4 processes"]),
        ([Painted("a", picture, {"batch": picture})], ["a, batch, 1 process", "a, batch, 4 processes"]),
        ([Painted("b", picture, {"batch": picture})], ["a, batch, 4 processes"]),
    ):
        row = section(replace(outcome, pictures=pictures, shared_pictures=[shown]), "shared-batches").body[-1]
        assert [one.caption for one in row.pictures] == expected


def test_learning_rates(charts):
    outcome = planted_study({"instance": 1.0, "batch": 1.5})
    tried = [
        planted_run(norm, loss * factor, purpose="rates", rate=rate)
        for norm, loss in (("instance", 1.0), ("batch", 1.5))
        for rate, factor in (
            (0.0005, 1.2),
            (0.002, 1.0 if norm == "instance" else 1.1),
            (0.008, 0.9 if norm == "batch" else 2),
        )
    ]
    study = replace(outcome.study, rates=(0.0005, 0.002, 0.008), controls=(), photo_counts=())
    found = section(outcome_of(study, tried, {"instance": 0.002, "batch": 0.008}), "learning-rates")
    assert found.finding == "Each norm's own best of 0.0005, 0.002, 0.008: instance 0.002, batch 0.008."
    assert found.caveats[1:] == ("0.008 was the highest rate tried: a higher one might suit batch better still.",)
    assert section(outcome, "learning-rates") is None


def test_a_number_of_sentences_belong_to_numbers(charts):
    """No sentence of a study names a number that is nowhere in its results."""
    outcome = planted_study()
    document = outcome.to_json()
    values = [value for value in walk(document) if isinstance(value, int | float) and not isinstance(value, bool)]
    written = {
        text for value in values for text in (f"{value:.2f}", f"{value:.4f}", f"{value:.0f}", number_text(value))
    }
    finding = section(outcome, "norms").finding
    assert set(numbers_in(finding)) - {"9", "1", "2"} <= written


def test_sentences_end_and_begin_as_sentences_do(charts):
    for outcome in (planted_study(), planted_study(SWAPPED), failed(planted_study(), "none")):
        for one in study_sections(outcome):
            assert one.question.endswith("?")
            for text in (one.finding, *one.caveats):
                assert text.endswith("."), text
                assert "  " not in text and ".." not in text and " ." not in text and "nan" not in text.lower().split()
        assert not any(re.search(r"\bnan\b|\binf\b|None", text) for text in sentences(said(outcome)))
