"""Carrying out a study: trained once, taken afterwards, shared between processes, and never mixed with another."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from PIL import Image

from stylize import training
from stylize.comparison import experiments
from stylize.comparison.experiments import (
    Point,
    RunResult,
    StudyProgress,
    best_rates,
    carry_out,
    check_material,
    estimate,
    is_done,
    read_result,
    train_or_take,
    weights_of,
)
from stylize.comparison.plan import Study, planned_runs
from stylize.config import PRESETS
from stylize.errors import ImageError, InputError, OutputError, TrainingInterrupted, WeightsError
from stylize.run_folder import LOCK, run_folder
from stylize.training import train
from tests.helpers import save_photo, tiny_config, tiny_weights
from tests.training_helpers import TINY_LOSS, make_material

STEPS = 4


class Killed(BaseException):
    """Stands for the end of the process: nothing in the library may handle it."""


@pytest.fixture(scope="module", autouse=True)
def tiny_preset() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "fast", tiny_config())
        yield


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Path:
    folder = make_material(tmp_path_factory.mktemp("material"))
    tiny_weights(folder / "other.safetensors")
    return folder


def make_study(material: Path, runs: Path, **changes: Any) -> Study:
    values = {
        "paintings": (str(material / "painting.png"),),
        "photos": str(material / "photos"),
        "runs": str(runs),
        "norms": ("instance", "batch"),
        "seeds": 1,
        "steps": STEPS,
        "batch_size": 2,
        "image_size": 32,
        "style_size": 32,
        "controls": (),
        "photo_counts": (),
        "validations": 2,
        "precision": "float32",
        "device": "cpu",
        "loss": TINY_LOSS,
    }
    return Study(**(values | changes))


def numbers(results: list[RunResult]) -> list[tuple[str, list[float]]]:
    """Return what is measured, without times, which no two runs have in common."""
    return [(result.name, [point.total for point in result.curve]) for result in results]


@pytest.fixture
def trained(monkeypatch) -> list[tuple[str, bool]]:
    """The calls of ``train`` from now on: the norm, and whether it was resumed."""
    calls: list[tuple[str, bool]] = []

    def spy(config, on_step=None, *, resume=False):
        calls.append((config.norm, resume))
        return train(config, on_step, resume=resume)

    monkeypatch.setattr(experiments, "train", spy)
    return calls


# ------------------------------------------------------------------------------------------------------- a whole study


@pytest.fixture(scope="module")
def whole(material, tmp_path_factory):
    """A study with every kind of run, carried out once: the study, results, progress, and the first estimate."""
    study = make_study(
        material,
        tmp_path_factory.mktemp("runs"),
        norms=("instance", "batch", "batch-instance"),
        controls=("equalise", "stylize"),
        control_weights=str(material / "other.safetensors"),
        photo_counts=(3,),
    )
    before = estimate(study)
    reported: list[StudyProgress] = []
    return study, carry_out(study, reported.append), reported, before


def test_every_run_has_its_result(whole):
    study, results, _, _ = whole
    runs = planned_runs(study)
    assert [result.name for result in results] == [run.name for run in runs]
    assert len(results) == 3 + 4 + 2
    for run, result in zip(runs, results, strict=True):
        assert (result.purpose, result.painting, result.norm, result.seed) == (run.purpose, "painting", run.norm, 0)
        assert result.preparation == run.config.preparation
        assert result.photo_limit == run.config.photo_limit
        assert result.learning_rate == 2e-3
        assert result.failure == ""
        assert [point.step for point in result.curve] == [2, 4]
        assert result.final == result.curve[-1]
        assert 0 < result.curve[0].seconds <= result.seconds
        assert result.photo_style > 0
        assert weights_of(run).exists() and is_done(run)


def test_results_are_the_numbers_of_the_weights_file(whole):
    from stylize.checkpoints import read_weights_file

    study, results, _, _ = whole
    for run, result in zip(planned_runs(study), results, strict=True):
        metrics = read_weights_file(weights_of(run)).metadata["metrics"]
        assert result.final.total == metrics["evaluation_mode"]["total"]
        assert result.final.training_style == metrics["training_mode"]["style"]
        assert result.final.contrast_change == metrics["contrast_change"]
        assert result.photo_style == metrics["photo"]["style"]


def test_gates_of_batch_instance_norm_alone(whole):
    from stylize.checkpoints import load_network
    from stylize.network_norms import gate_means

    study, results, _, _ = whole
    for run, result in zip(planned_runs(study), results, strict=True):
        network, _ = load_network(weights_of(run))
        expected = gate_means(network)
        assert bool(expected) == (run.norm == "batch-instance")
        # The gates of the finished network, not those of the measurement before it.
        assert list(result.final.gates) == pytest.approx(expected)
        assert all(len(point.gates) == len(expected) for point in result.curve)


def test_progress_counts_the_steps_of_the_whole_study(whole):
    _, results, reported, _ = whole
    total = len(results) * STEPS
    assert [progress.step for progress in reported] == list(range(1, total + 1))
    assert {(progress.steps, progress.runs) for progress in reported} == {(total, len(results))}
    assert [progress.done for progress in reported[::STEPS]] == list(range(len(results)))
    assert [progress.run for progress in reported[::STEPS]] == [result.name for result in results]
    assert all(progress.training.step == (progress.step - 1) % STEPS + 1 for progress in reported)


def test_results_are_plain_json_values(whole):
    _, results, _, _ = whole
    row = json.loads(json.dumps(results[0].to_json()))
    assert row["curve"][1]["total"] == results[0].final.total


def test_a_second_call_takes_everything_as_it_is(whole, trained):
    study, results, _, _ = whole
    reported: list[StudyProgress] = []
    assert carry_out(study, reported.append) == results
    assert trained == [] and reported == []


def test_a_larger_study_takes_what_is_there(whole, trained):
    study, results, _, _ = whole
    more = carry_out(replace(study, norms=(*study.norms, "layer"), controls=(), photo_counts=()))
    assert trained == [("layer", False)]
    assert more[:3] == results[:3] and more[3].norm == "layer"


def test_the_estimate(whole, trained):
    study, _, _, before = whole
    assert 0 < before < 600
    assert estimate(study) == 0.0
    assert trained == []


# -------------------------------------------------------------------------------------------- interrupted and continued


def test_interrupted_and_continued(material, tmp_path, trained):
    study = make_study(material, tmp_path / "runs")
    reference = numbers(carry_out(make_study(material, tmp_path / "reference")))
    trained.clear()

    def stop(progress: StudyProgress) -> None:
        if progress.step == STEPS + 3:  # in the third step of the second run
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match="stopped after step 3 of 4 and saved"):
        carry_out(study, stop)
    assert trained == [("instance", False), ("batch", False)]
    assert estimate(study) > 0
    trained.clear()
    reported: list[StudyProgress] = []
    assert numbers(carry_out(study, reported.append)) == reference
    assert trained == [("batch", True)]
    assert [progress.step for progress in reported] == [2 * STEPS]


def test_killed_after_the_weights_and_before_their_measurement_was_written_down(
    material, tmp_path, monkeypatch, trained
):
    """A run whose weights are there but not the end of its log is not done."""
    study = make_study(material, tmp_path)
    run = planned_runs(study)[0]
    append = training._Run._append_log

    def killed(self, row):
        if "final" in row:
            raise Killed
        append(self, row)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training._Run, "_append_log", killed)
        train_or_take(run)
    assert weights_of(run).exists() and not is_done(run)
    assert [point.step for point in read_result(run).curve] == [2]
    trained.clear()
    assert [point.step for point in train_or_take(run).curve] == [2, 4]
    assert trained == [("instance", True)] and is_done(run)


# ------------------------------------------------------------------------------------------------------------ diverging


@pytest.fixture
def batch_norm_diverges(monkeypatch):
    step = training._Run._step

    def diverging(self, photos, rate):
        if self.config.norm == "batch" and self.step == 2:
            raise self._not_finite("the loss is nan at step 3")
        return step(self, photos, rate)

    monkeypatch.setattr(training._Run, "_step", diverging)


def test_a_diverged_run_is_a_result_and_not_tried_again(material, tmp_path, batch_norm_diverges, trained):
    study = make_study(material, tmp_path / "runs")
    instance, batch = carry_out(study)
    assert trained == [("instance", False), ("batch", False)]
    assert instance.final is not None and instance.failure == ""
    assert batch.final is None
    assert batch.failure.startswith("the loss is nan at step 3")
    assert [point.step for point in batch.curve] == [2]  # what was measured before is kept
    trained.clear()
    assert carry_out(study) == [instance, batch]
    assert trained == []
    assert estimate(study) == 0.0


def test_a_diverged_run_of_other_settings_is_refused(material, tmp_path, batch_norm_diverges):
    carry_out(make_study(material, tmp_path, norms=("batch", "layer"), learning_rate=0.5))
    with pytest.raises(InputError, match="painting-batch-seed0.safetensors has another learning_rate"):
        carry_out(make_study(material, tmp_path, norms=("batch", "layer"), learning_rate=1e-3))


def test_a_final_measurement_that_is_no_number_is_a_failure(whole, tmp_path):
    study, _, _, _ = whole
    run = planned_runs(study)[0]
    shutil.copytree(Path(study.runs), tmp_path / "runs")
    moved = replace(run, config=replace(run.config, output=str(tmp_path / "runs" / weights_of(run).name)))
    log = run_folder(weights_of(moved)) / "log.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows[-1]["final"]["evaluation_mode"]["total"] = math.nan
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = train_or_take(moved)
    assert result.final is None and result.failure == "its held-out loss is no finite number"


# ------------------------------------------------------------------------------------------------------- other settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 5}, "another steps, validation_interval;"),
        ({"batch_size": 3}, "another batch_size"),
        ({"learning_rate": 1e-3}, "another learning_rate"),
        ({"image_size": 40}, "another image_size"),
        ({"style_size": 40}, "another style_size"),
        ({"loss": replace(TINY_LOSS, style_weight=6.0)}, "another loss"),
        ({"validation_photos": 3}, "another validation_photos"),
    ],
)
def test_a_finished_run_of_other_settings_is_refused(whole, trained, changes, said):
    study, _, _, _ = whole
    with pytest.raises(InputError) as caught:
        carry_out(replace(study, photo_counts=(), **changes))
    message = str(caught.value)
    assert said in message and message.startswith(f"the run {Path(study.runs) / 'painting-instance-seed0'}")
    assert "give another folder for the runs, or delete it" in message and "\n" not in message
    assert trained == []


def test_a_finished_run_of_an_older_version_is_taken(whole, tmp_path, trained):
    """A setting that did not exist then has the value that does what was done then."""
    study, results, _, _ = whole
    shutil.copytree(Path(study.runs), tmp_path / "runs")
    for log in (tmp_path / "runs").glob("*.run/log.jsonl"):
        first, *rest = log.read_text().splitlines(keepends=True)
        begun = json.loads(first)
        del begun["config"]["sync_batch_norm"], begun["config"]["photo_style"]
        log.write_text(json.dumps(begun) + "\n" + "".join(rest))
    assert numbers(carry_out(replace(study, runs=str(tmp_path / "runs")))) == numbers(results)
    assert trained == []


def test_another_painting_of_the_same_name_is_refused(whole, tmp_path):
    study, _, _, _ = whole
    with Image.open(study.paintings[0]) as painting:
        painting.rotate(180).save(tmp_path / "painting.png")
    with pytest.raises(InputError, match="has another painting;"):
        carry_out(replace(study, paintings=(str(tmp_path / "painting.png"),)))


def test_other_photos_are_refused(whole, tmp_path):
    study, _, _, _ = whole
    for index in range(12):
        save_photo(tmp_path / "photos" / f"other-{index}.png", seed=index)
    with pytest.raises(InputError, match="has another choice of photos;"):
        carry_out(replace(study, photos=str(tmp_path / "photos")))


def test_a_study_that_moved_is_still_the_same(whole, material, tmp_path, trained):
    """Folder of runs, photos and painting lie elsewhere; what is in them is the same."""
    study, results, _, _ = whole
    shutil.copytree(material, tmp_path / "material")
    shutil.copytree(study.runs, tmp_path / "runs")
    moved = make_study(
        tmp_path / "material",
        tmp_path / "runs",
        norms=study.norms,
        controls=study.controls,
        control_weights=str(tmp_path / "material" / "other.safetensors"),
        photo_counts=study.photo_counts,
    )
    assert numbers(carry_out(moved)) == numbers(results)
    assert trained == []


def test_a_run_without_its_log_is_refused(whole, tmp_path):
    study, _, _, _ = whole
    shutil.copytree(study.runs, tmp_path / "runs")
    moved = replace(study, runs=str(tmp_path / "runs"))
    (run_folder(weights_of(planned_runs(moved)[0])) / "log.jsonl").unlink()
    with pytest.raises(InputError, match="painting-instance-seed0.safetensors has no log; give another folder"):
        carry_out(moved)


# ----------------------------------------------------------------------------------------------------- missing material


def test_what_is_missing_is_said_before_any_training(material, tmp_path, trained):
    """A mistake in the last run must not show after hours of the others."""
    complete = make_study(
        material, tmp_path / "runs", controls=("stylize",), control_weights=str(material / "other.safetensors")
    )
    check_material(complete)
    (tmp_path / "text.png").write_text("no picture")
    for changes, error, said in (
        ({"photo_counts": (3, 50)}, InputError, "photo_limit is 50, and there are only 9 photos to train on"),
        ({"control_weights": str(tmp_path / "no.safetensors")}, WeightsError, "no.safetensors not found"),
        ({"paintings": (*complete.paintings, str(tmp_path / "text.png"))}, ImageError, "text.png"),
        ({"photos": str(tmp_path / "nowhere")}, InputError, "nowhere not found"),
    ):
        with pytest.raises(error, match=said):
            carry_out(replace(complete, **changes))
    assert trained == [] and not (tmp_path / "runs").exists()


# ----------------------------------------------------------------------------------------------------- sharing the work


def test_a_run_in_use_is_left_to_its_process(material, tmp_path, monkeypatch, trained):
    """Another process trains the first run while this one does the rest, and is waited for."""
    study = make_study(material, tmp_path, norms=("instance", "batch", "layer"))
    first = planned_runs(study)[0]
    run_folder(weights_of(first)).mkdir(parents=True)
    lock = FileLock(run_folder(weights_of(first)) / LOCK)
    lock.acquire()
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        assert [call for call in trained if call[0] != "instance"] == [("batch", False), ("layer", False)]
        if len(naps) == 2:
            lock.release()
            train(first.config)  # the other process finishes it

    monkeypatch.setattr(experiments.time, "sleep", sleep)
    results = carry_out(study)
    assert [result.norm for result in results] == ["instance", "batch", "layer"]
    assert all(result.final is not None for result in results)
    assert naps == [experiments.WAIT] * 2
    assert trained.count(("batch", False)) == trained.count(("layer", False)) == 1


def test_a_run_that_another_process_gave_up_is_continued(material, tmp_path, monkeypatch, trained):
    study = make_study(material, tmp_path)
    first = planned_runs(study)[0]

    def stop(progress):
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        train(first.config, stop)
    lock = FileLock(run_folder(weights_of(first)) / LOCK)
    lock.acquire()
    monkeypatch.setattr(experiments.time, "sleep", lambda seconds: lock.release())
    assert all(result.final is not None for result in carry_out(study))
    assert trained == [("instance", True), ("batch", False), ("instance", True), ("instance", True)]


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_that_another_process_finishes_after_the_look_at_it(material, tmp_path, monkeypatch, begun):
    """Between the look and the lock lie seconds in which photos are loaded."""
    study = make_study(material, tmp_path)
    run = planned_runs(study)[0]
    if begun:

        def stop(progress):
            raise KeyboardInterrupt

        with pytest.raises(TrainingInterrupted):
            train(run.config, stop)
    calls = []

    def overtaken(config, on_step=None, *, resume=False):
        calls.append(resume)
        train(config, resume=resume)
        return train(config, on_step, resume=resume)

    monkeypatch.setattr(experiments, "train", overtaken)
    assert train_or_take(run).final is not None
    assert calls == [begun]


def test_errors_that_are_no_race_are_not_hidden(material, tmp_path, monkeypatch):
    run = planned_runs(make_study(material, tmp_path))[0]

    def full(*arguments, **options):
        raise OutputError("the disk is full")

    monkeypatch.setattr(experiments, "train", full)
    with pytest.raises(OutputError, match="the disk is full"):
        train_or_take(run)


# ---------------------------------------------------------------------------------------------------------------- rates


def planted(norm: str, rate: float, total: float | None, **changes: Any) -> RunResult:
    curve = () if total is None else (Point(4, 1.0, 1, 1, total, 1, 1, total, 0.0),)
    values = {"preparation": "none", "photo_limit": None, "failure": "diverged" if total is None else ""} | changes
    return RunResult(f"{norm}-{rate}", "rates", "wave", norm, 0, rate, curve=curve, **values)


def test_best_rates_by_hand():
    results = [
        planted("instance", 5e-4, 2.0),
        planted("instance", 2e-3, 1.0),
        planted("instance", 8e-3, 3.0),
        planted("batch", 8e-3, 1.5),  # a tie goes to the lower rate, in whichever order
        planted("batch", 5e-4, 1.5),
        planted("layer", 5e-4, 4.0),
        planted("layer", 2e-3, None),
        planted("none", 5e-4, None),
        planted("none", 2e-3, None),
    ]
    assert best_rates(results) == {"instance": 2e-3, "batch": 5e-4, "layer": 5e-4}
    assert best_rates(results[::-1]) == best_rates(results)
    assert best_rates([]) == {} == best_rates(results[-2:])


def test_a_study_with_tuned_rates(material, tmp_path, trained):
    study = make_study(
        material, tmp_path, rates=(1e-5, 1e-2), seeds=2, norms=("instance", "batch", "instance@first")
    )  # fmt: skip
    reported: list[StudyProgress] = []
    results = carry_out(study, reported.append)
    assert {(progress.runs, progress.steps) for progress in reported} == {(7, 7 * STEPS)}
    assert [progress.step for progress in reported] == list(range(1, 7 * STEPS + 1))
    tried = [result for result in results if result.purpose == "rates"]
    assert [(result.norm, result.learning_rate) for result in tried] == [
        ("instance", 1e-5), ("instance", 1e-2), ("batch", 1e-5), ("batch", 1e-2)
    ]  # fmt: skip
    best = best_rates(tried)
    rest = {(result.norm, result.seed): result.learning_rate for result in results if result.purpose == "norms"}
    assert rest == {
        ("instance", 1): best["instance"],
        ("batch", 1): best["batch"],
        ("instance@first", 0): min(best.values()),
    }
    trained.clear()
    assert carry_out(study) == results
    assert estimate(study) == 0.0
    assert trained == []
