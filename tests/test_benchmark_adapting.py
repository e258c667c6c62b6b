"""Adapting beside training from scratch: steps from a speed, what is said, and one whole run of tiny networks."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from benchmarks import adapting_time
from stylize import training
from stylize.errors import InputError, TrainingInterrupted
from stylize.style_collections import read_style_file
from tests.helpers import save_photo, tiny_collection

NAMES = ("first", "second", "photo")


def part(total, **more):
    return {"date": "-", "total": total, "seconds": 10.0, **more}


@pytest.mark.parametrize(
    ("adapted", "said"),
    [((1.0, 1.1), ("reached by 2 of 2", "5 % above")), ((1.2, 0.9), ("reached by 1 of 2", "5 % above"))]
    + [((1.3, 1.5), ("reached by 0 of 2", "40 % above")), ((0.5, 0.7), ("reached by 2 of 2", "40 % below"))],
)
def test_what_is_said_follows_from_the_numbers(adapted, said):
    parts = {"a scratch": part(1.0), "b scratch": part(1.0)}
    parts |= {f"{name} adapted": part(total) for name, total in zip("ab", adapted, strict=True)}
    (line,) = adapting_time.findings({"paintings": ["a", "b"], "parts": parts})
    assert all(words in line for words in said)
    assert f"a {adapted[0]:.2f}, b {adapted[1]:.2f}" in line


def test_without_a_run_from_scratch_nothing_is_said():
    results = {"paintings": ["a"], "parts": {"a adapted": part(1.0)}}
    assert adapting_time.findings(results) == []
    assert list(adapting_time.rows_of(results)["a"]) == ["adapted"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapting")
    for seed in range(5):
        save_photo(folder / "photos" / f"{seed}.png", 44, 40, seed)
    for seed in range(2):
        save_photo(folder / "held-out" / f"{seed}.png", 44, 40, 50 + seed)
    save_photo(folder / "new.png", 60, 48, 9)
    tiny_collection(folder / "tiny.safetensors", NAMES, style_size=32)
    return folder


def options(folder, *more):
    given = [folder / "new.png", "--photos", folder / "photos", "--validation", folder / "held-out"]
    given += ["--photos-count", "2", "--size", "32", "--collection", folder / "tiny.safetensors", "--threads", "1"]
    given += ["--scratch", "1000", "--adapt", "500", "--scratch-image-size", "32", "--adapt-image-size", "32"]
    given += ["--runs", folder / "runs", "--output", folder / "results", "--sheet", folder / "adapting.jpg", *more]
    return [str(one) for one in given]


SETTINGS = {"steps": 300, "learning_rate": 1e-2, "image_size": 192}


def planned_as(seconds_per_step, overhead):
    def plan(job):
        steps = max(1, int((job.budget - overhead) / seconds_per_step))
        return {"steps": steps, "seconds_per_step": seconds_per_step, "overhead": overhead}

    return plan


@pytest.fixture(scope="module")
def made(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapting_time, "plan", planned_as(200.0, 100.0))
        patch.setattr(adapting_time, "SHOWN_SIZE", 32)
        patch.setattr(adapting_time, "ADAPTING", SETTINGS)
        adapting_time.main(options(folder))
    return json.loads((folder / "results" / "adapting.json").read_text(encoding="utf-8"))


def test_three_runs_are_measured_on_the_same_photos(made, folder):
    parts = made["parts"]
    steps = {kind: parts[f"new {kind}"]["steps"] for kind in adapting_time.KINDS}
    assert steps == {"scratch": 4, "adapted": 2, "examples": 2}  # (1000 - 100) / 200 and (500 - 100) / 200
    trained = {kind: parts[f"new {kind}"]["training_photos"] for kind in adapting_time.KINDS}
    assert trained == {"scratch": 5, "adapted": 5, "examples": 8}
    photos = [parts[f"new {kind}"]["photo"] for kind in adapting_time.KINDS]
    assert photos[0] == photos[1] == photos[2] and photos[0]["content"] == 0
    assert parts["new adapted"]["nearest"] in NAMES and "nearest" not in parts["new scratch"]
    assert parts["new adapted"]["total"] != parts["new adapted"]["before"]["total"]
    assert read_style_file(folder / "runs" / "adapted" / "new.safetensors").name == "new"
    page = (folder / "results" / "adapting.md").read_text(encoding="utf-8")
    assert "| new | adapted, example photos | 8 |" in page and str(folder) not in page
    with Image.open(folder / "adapting.jpg") as picture:
        assert picture.width == 1200


def test_what_is_done_is_kept(made, folder, monkeypatch):
    monkeypatch.setattr(adapting_time, "run_job", None)
    monkeypatch.setattr(adapting_time, "plan", None)
    monkeypatch.setattr(adapting_time, "ADAPTING", SETTINGS)
    monkeypatch.setattr(adapting_time, "SHOWN_SIZE", 32)
    adapting_time.main(options(folder))
    again = json.loads((folder / "results" / "adapting.json").read_text(encoding="utf-8"))
    assert again["parts"] == made["parts"]
    with pytest.raises(InputError, match="another adapt"):
        adapting_time.main(options(folder, "--adapt", "400"))


def test_a_run_that_was_stopped_continues_with_its_plan(made, folder, tmp_path, monkeypatch):
    output, runs = tmp_path / "results", tmp_path / "runs"
    more = ["--output", output, "--runs", runs, "--sheet", tmp_path / "sheet.jpg"]
    monkeypatch.setattr(adapting_time, "plan", planned_as(200.0, 100.0))
    monkeypatch.setattr(adapting_time, "SHOWN_SIZE", 32)
    real = adapting_time.measure

    def stop(*given):
        raise KeyboardInterrupt

    # Stopped when the first run was trained and not yet measured.
    monkeypatch.setattr(adapting_time, "measure", stop)
    with pytest.raises(KeyboardInterrupt):
        adapting_time.main(options(folder, *more))
    trained = (runs / "scratch" / "new.safetensors").read_bytes()
    monkeypatch.setattr(adapting_time, "measure", real)
    # The machine is faster now, and what was planned stays.
    monkeypatch.setattr(adapting_time, "plan", planned_as(100.0, 100.0))
    adapting_time.main(options(folder, *more))
    parts = json.loads((output / "adapting.json").read_text(encoding="utf-8"))["parts"]
    assert parts["new scratch"]["steps"] == 4 and parts["new scratch"]["resumed"] is True
    assert parts["new adapted"]["steps"] == 4 and parts["new adapted"]["resumed"] is False
    assert (runs / "scratch" / "new.safetensors").read_bytes() == trained
    assert parts["new scratch"]["total"] == made["parts"]["new scratch"]["total"]


def test_a_run_that_was_stopped_on_the_way_is_resumed(folder, tmp_path, monkeypatch):
    given = adapting_time.parsed(options(folder, "--runs", tmp_path / "runs"))
    collection = adapting_time.choose_collection(folder / "tiny.safetensors")
    job = adapting_time.make_jobs(given, collection, folder / "new.png")[1]
    planned = {"steps": 3, "seconds_per_step": 1.0, "overhead": 100.0}
    real = training.train

    def interrupted(config, on_step, **more):
        def stop(progress):
            raise KeyboardInterrupt

        return real(config, stop, **more)

    monkeypatch.setattr(training, "train", interrupted)
    with pytest.raises(TrainingInterrupted):
        adapting_time.run_job(job, planned, stale=True)
    monkeypatch.setattr(training, "train", real)
    found = adapting_time.run_job(job, planned, stale=False)
    # What came before the first step and after the last is in the plan, and counts once.
    assert found["resumed"] and 100 < found["seconds"] < 200
    assert adapting_time.read_metadata(job)["steps"] == 3


def test_a_trial_gives_the_steps_that_fill_the_time(folder, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(adapting_time.time, "perf_counter", lambda: clock[0])

    def train(config, on_step):
        assert config.steps == adapting_time.TRIAL and config.output.parent != folder
        clock[0] += 3.0  # before the first step
        for step in range(config.steps):
            clock[0] += 2.5 if step else 6.5  # the first is slower
            on_step(step)
        clock[0] += 2.0

    monkeypatch.setattr("stylize.training.train", train)
    given = adapting_time.parsed(options(folder, "--scratch", "60", "--adapt", "1"))
    jobs = adapting_time.make_jobs(
        given, adapting_time.choose_collection(folder / "tiny.safetensors"), folder / "a.png"
    )
    # 8 steps of 2.5 s, and 3 + 4 + 2 s beside them: (60 - 9) / 2.5 = 20.4.
    assert adapting_time.plan(jobs[0]) == {"steps": 20, "seconds_per_step": 2.5, "overhead": 9.0}
    assert adapting_time.plan(jobs[1])["steps"] == 1


def test_paintings_that_the_collection_knows_are_refused(folder, tmp_path):
    def refused(match, path):
        with pytest.raises(InputError, match=match):
            adapting_time.main([str(path), *options(folder)])

    refused("among the paintings", save_photo(tmp_path / "first.png", 60, 48, 4))
    refused("not found", tmp_path / "nowhere.png")
    refused("same name", save_photo(tmp_path / "new.png", 60, 48, 4))
    with pytest.raises(SystemExit):
        adapting_time.main(options(folder, "--adapt", "0"))
