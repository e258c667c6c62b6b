"""Bulk runs with a worker of this process: nothing is lost, done twice or replaced, whatever is killed."""

from __future__ import annotations

import json
import os
import pickle
import threading

import pytest

from stylize.bulk.jobs import decide
from stylize.bulk.manifest import Manifest
from stylize.bulk.settings import style_files
from stylize.bulk.storage import HOME, Storage
from stylize.bulk.worker import PICTURES_AT_ONCE, Worker
from stylize.controls import Controls
from tests.bulk_helpers import (
    BROKEN,
    PLACES,
    InProcess,
    a_place,
    bulk,
    make_holiday,
    photos_in,
    result_names,
    rows_of,
    settings_of,
)
from tests.helpers import save_photo, tiny_collection, tiny_style_file, tiny_weights

FLUSH = Manifest.flush


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def holiday(tmp_path):
    return make_holiday(tmp_path / "holiday")


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    yield from a_place(request.param, tmp_path)


def test_the_manifest_tells_what_was_done(holiday, tmp_path, weights):
    import hashlib

    place = Storage.at(str(tmp_path / "out"))
    outcome, _ = bulk([one for one in photos_in(holiday) if one.name != "grey.gif"], place, settings_of(weights))
    assert (outcome.done, outcome.kept, outcome.failed) == (6, 0, 3)
    head, *rows = rows_of(place)
    assert head["status"] == "settings" and head["settings"]["style"] == "test-style"
    assert len(rows) == 9 and len({row["photo"] for row in rows}) == 9
    failed = {os.path.basename(row["photo"]): row["reason"] for row in rows if row["status"] == "failed"}
    assert sorted(failed) == BROKEN and all("\n" not in reason for reason in failed.values())
    assert "is empty" in failed["empty.jpg"] and "truncated" in failed["half.jpg"]
    for row in rows:
        if row["status"] == "done":
            data = place.read(row["output"])
            assert (row["output_size"], row["output_sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
            with open(row["photo"], "rb") as file:
                assert row["input_sha256"] == hashlib.sha256(file.read()).hexdigest()
            assert row["seconds"] > 0 and row["worker"].endswith(f":{os.getpid()}")
    assert [name for name in place.files() if name.startswith(HOME)] == []


def test_a_second_run_paints_only_what_is_new_changed_or_gone(holiday, tmp_path, weights):
    place, chosen = Storage.at(str(tmp_path / "out")), settings_of(weights)
    names = ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    bulk(photos_in(holiday, names), place, chosen)
    before = {name: place.read(name) for name in names}
    os.utime(holiday / "0.jpg", (1, 1))  # another time, the same content
    save_photo(holiday / "1.jpg", 50, 20, seed=9)
    place.remove("2.jpg")
    save_photo(holiday / "4.jpg")
    painted = []
    cluster = InProcess(chosen, place)
    outcome, manifest = bulk(
        photos_in(holiday, [*names, "4.jpg"]), place, chosen, cluster, on_row=lambda row: painted.append(row["photo"])
    )
    assert [os.path.basename(name) for name in painted] == ["0.jpg", "1.jpg", "2.jpg", "4.jpg"]
    assert (outcome.done, outcome.kept, outcome.failed) == (3, 2, 0)
    assert {name for name in names if place.read(name) != before[name]} == {"1.jpg"}
    assert manifest.rows[str(holiday / "0.jpg")]["stamp"] == "1.0"
    # And then there is nothing to do, for which no cluster is needed.
    outcome, _ = bulk(photos_in(holiday, [*names, "4.jpg"]), place, chosen)
    assert (outcome.done, outcome.kept) == (0, 5)


def test_a_photo_that_broke_and_was_mended_gets_its_result_back(holiday, tmp_path, weights):
    place, chosen, names = Storage.at(str(tmp_path / "out")), settings_of(weights), ["0.jpg"]
    bulk(photos_in(holiday, names), place, chosen)
    whole, painted = (holiday / "0.jpg").read_bytes(), place.read("0.jpg")
    (holiday / "0.jpg").write_bytes(whole[:300])
    for _ in range(2):
        outcome, manifest = bulk(photos_in(holiday, names), place, chosen)
        assert outcome.failed == 1 and "truncated" in manifest.rows[str(holiday / "0.jpg")]["reason"]
    assert place.read("0.jpg") == painted
    (holiday / "0.jpg").write_bytes(whole)
    outcome, manifest = bulk(photos_in(holiday, names), place, chosen)
    row = manifest.rows[str(holiday / "0.jpg")]
    assert (outcome.kept, outcome.failed, row["status"]) == (1, 0, "done") and "reason" not in row
    save_photo(holiday / "0.jpg", 44, 30, seed=8)
    outcome, _ = bulk(photos_in(holiday, names), place, chosen)
    assert outcome.done == 1 and place.read("0.jpg") != painted


def test_a_result_that_somebody_changed_and_put_back_is_kept(holiday, tmp_path, weights):
    place, chosen, names = Storage.at(str(tmp_path / "out")), settings_of(weights), ["0.jpg"]
    bulk(photos_in(holiday, names), place, chosen)
    painted = place.read("0.jpg")
    place.write("0.jpg", b"somebody's")
    for _ in range(2):
        outcome, _ = bulk(photos_in(holiday, names), place, chosen)
        assert outcome.failed == 1 and place.read("0.jpg") == b"somebody's"
    place.write("0.jpg", painted)
    outcome, manifest = bulk(photos_in(holiday, names), place, chosen)
    assert outcome.kept == 1 and manifest.rows[str(holiday / "0.jpg")]["status"] == "done"


def test_what_a_worker_writes_that_outlived_its_run_is_taken(holiday, tmp_path, weights):
    """The next run has begun already, and finds the result before or after it has painted the photo itself."""
    place, chosen, reference = Storage.at(str(tmp_path / "out")), settings_of(weights), tmp_path / "reference"
    bulk(photos_in(holiday, ["0.jpg", "1.jpg"]), Storage.at(str(reference)), chosen)
    manifest = Manifest(place)
    manifest.begin(chosen.facts())
    jobs = decide(photos_in(holiday, ["0.jpg", "1.jpg"]), manifest, place.files(), False).jobs
    manifest.add([job.begun_row for job in jobs])
    manifest.flush()

    class Slow(Worker):
        def paint(self, job, read):
            made = super().paint(job, read)
            if job.photo.name == "1.jpg":
                place.write("1.jpg", (reference / "1.jpg").read_bytes())
                written.append(os.stat(place.local_path("1.jpg")).st_ino)
            return made

    written = []
    cluster = InProcess(chosen, place)
    cluster.worker = Slow(chosen, style_files(chosen.style), place)
    outcome, manifest = bulk(photos_in(holiday, ["0.jpg", "1.jpg"]), place, chosen, cluster)
    assert (outcome.done, outcome.failed) == (2, 0)
    assert [row.get("found", False) for row in manifest.rows.values()] == [False, True]
    assert os.stat(place.local_path("1.jpg")).st_ino == written[0]


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_that_was_stopped_goes_on_where_it_was(holiday, tmp_path, weights, monkeypatch, stop):
    """Stopped after so many lines, of which none was written down: the results themselves are found."""
    place, chosen, names = Storage.at(str(tmp_path / "out")), settings_of(weights), [f"{n}.jpg" for n in range(4)]
    names += ["wrong.jpg", "sub/alpha.png"]
    photos = photos_in(holiday, names)
    reference = Storage.at(str(tmp_path / "reference"))
    bulk(photos, reference, chosen)

    class Killed(Exception):
        pass

    seen = []

    def kill(row):
        seen.append(row)
        if len(seen) == stop:
            raise Killed

    def flush_only_begun(manifest):
        """As if the process were killed: nothing that it still held is written."""
        if all(row["status"] == "begun" for row in manifest._waiting):
            FLUSH(manifest)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Manifest, "flush", flush_only_begun)
        bulk(photos, place, chosen, on_row=kill)
    there = {name: os.stat(place.local_path(name)).st_mtime_ns for name in result_names(place)}
    assert len(there) >= stop
    outcome, _ = bulk(photos, place, chosen)
    assert outcome.done == len(names) and outcome.failed == 0
    assert result_names(place) == result_names(reference)
    for name in result_names(place):
        assert place.read(name) == reference.read(name)
    # What was there was not written again.
    assert {name: os.stat(place.local_path(name)).st_mtime_ns for name in there} == there
    assert sum(bool(row.get("found")) for row in rows_of(place)) == len(there)


def test_a_file_that_appears_while_a_run_goes_on_is_not_replaced(holiday, tmp_path, weights):
    place, chosen = Storage.at(str(tmp_path / "out")), settings_of(weights)
    (job,) = decide(photos_in(holiday, ["0.jpg"]), Manifest(place), {}, False).jobs
    place.write("0.jpg", b"of somebody else")
    (row,) = InProcess(chosen, place).worker.paint_all([job])
    assert row["status"] == "failed" and "is there now; it is not replaced" in row["reason"]
    assert place.read("0.jpg") == b"of somebody else"


def test_alpha_whose_name_is_taken_is_said(holiday, tmp_path, weights):
    place = Storage.at(str(tmp_path / "out"))
    place.write("wrong.png", b"of somebody else")
    outcome, manifest = bulk(photos_in(holiday, ["wrong.jpg"]), place, settings_of(weights))
    assert outcome.failed == 1 and place.read("wrong.png") == b"of somebody else"
    assert "has alpha" in next(iter(manifest.rows.values()))["reason"]


def test_photos_and_results_may_be_behind_urls(holiday, place, weights, tmp_path):
    names = ["0.jpg", "half.jpg", "sub/alpha.png"]
    reference = Storage.at(str(tmp_path / "reference"))
    bulk(photos_in(holiday, names), reference, settings_of(weights))
    outcome, manifest = bulk(photos_in(f"simplecache::file://{holiday}", names), place, settings_of(weights))
    assert (outcome.done, outcome.failed) == (2, 1)
    for name in ("0.jpg", "sub/alpha.png"):
        assert place.read(name) == reference.read(name)
    assert all(photo.startswith("simplecache::file://") for photo in manifest.rows)
    outcome, _ = bulk(photos_in(f"simplecache::file://{holiday}", names[:1]), place, settings_of(weights))
    assert (outcome.done, outcome.kept) == (0, 1)


def test_a_photo_that_vanishes_fails_alone(holiday, tmp_path, weights):
    photos = photos_in(holiday, ["0.jpg", "1.jpg"])
    (holiday / "0.jpg").unlink()
    outcome, manifest = bulk(photos, Storage.at(str(tmp_path / "out")), settings_of(weights))
    assert (outcome.done, outcome.failed) == (1, 1)
    assert "no such file" in manifest.rows[photos[0].key]["reason"]


def test_too_large_a_file_is_not_read(holiday, tmp_path, weights, monkeypatch):
    monkeypatch.setattr("stylize.image_limits.MAXIMUM_FILE_BYTES", 100)
    outcome, manifest = bulk(photos_in(holiday, ["0.jpg"]), Storage.at(str(tmp_path / "out")), settings_of(weights))
    assert outcome.failed == 1 and "more than the 100 that are read" in next(iter(manifest.rows.values()))["reason"]


def test_strips_give_the_same_picture(holiday, tmp_path, weights):
    from PIL import Image, ImageChops

    whole, strips = Storage.at(str(tmp_path / "whole")), Storage.at(str(tmp_path / "strips"))
    bulk(photos_in(holiday, ["0.jpg", "sub/alpha.png"]), whole, settings_of(weights))
    bulk(photos_in(holiday, ["0.jpg", "sub/alpha.png"]), strips, settings_of(weights, tile=16))
    for name in ("0.jpg", "sub/alpha.png"):
        pictures = [Image.open(place.local_path(name)) for place in (whole, strips)]
        assert pictures[0].mode == pictures[1].mode and pictures[0].size == pictures[1].size
        difference = ImageChops.difference(*(one.convert("RGB") for one in pictures))
        assert max(high for _, high in difference.getextrema()) <= 2


def test_strips_that_do_not_fit_are_said_with_the_name_of_the_result(holiday, tmp_path, weights):
    place = Storage.at(str(tmp_path / "out"))
    outcome, manifest = bulk(photos_in(holiday, ["0.jpg"]), place, settings_of(weights, tile=16, memory=1000))
    reason = manifest.rows[str(holiday / "0.jpg")]["reason"]
    assert outcome.failed == 1 and reason.startswith("'0.jpg': ") and "allow more memory" in reason


def test_a_worker_holds_three_pictures_at_most(holiday, tmp_path, weights, monkeypatch):
    """However many there are, and however slow writing is."""
    for number in range(4, 12):
        save_photo(holiday / f"{number}.jpg", 16, 16)
    held, most, lock = set(), [], threading.Lock()

    def counted(change):
        with lock:
            change()
            most.append(len(held))

    class Slow(Worker):
        def read(self, job):
            counted(lambda: held.add(job.photo.name))
            return super().read(job)

        def write(self, job, painted):
            threading.Event().wait(0.02)
            row = super().write(job, painted)
            counted(lambda: held.discard(job.photo.name))
            return row

    place, chosen = Storage.at(str(tmp_path / "out")), settings_of(weights)
    names = [f"{number}.jpg" for number in range(12)]
    jobs = decide(photos_in(holiday, names), Manifest(place), {}, False).jobs
    assert len(list(Slow(chosen, style_files(chosen.style), place).paint_all(jobs))) == 12
    assert max(most) == PICTURES_AT_ONCE and not held


def test_a_style_travels_with_its_files(tmp_path):
    from stylize.bulk.settings import unpacked
    from stylize.style_choice import choose_style
    from stylize.stylizer import load

    collection = tiny_collection(tmp_path / "collection.safetensors")
    style = tiny_style_file(tmp_path / "mine.safetensors", collection)
    chosen = choose_style(f"{style}:0.5,first:0.5", collection=collection)
    chosen, files = pickle.loads(pickle.dumps((chosen, style_files(chosen))))
    expected = load(chosen, device="cpu").network.state_dict()
    collection.unlink()
    style.unlink()
    with unpacked(chosen, files) as there:
        loaded = load(there, device="cpu").network.state_dict()
    assert all((loaded[name] == expected[name]).all() for name in expected)


def test_settings_that_change_the_picture_are_told_apart(weights, tmp_path):
    base = settings_of(weights).facts()
    other = tiny_weights(tmp_path / "tiny.safetensors", seed=5)
    for changed in (
        settings_of(other),
        settings_of(weights, size=100),
        settings_of(weights, strength=0.5),
        settings_of(weights, controls=Controls(0.5)),
        settings_of(weights, tile=64),
    ):
        assert changed.facts() != base
    assert settings_of(weights, workers=7, memory=10**9).facts() == base
    assert json.loads(json.dumps(base)) == base
