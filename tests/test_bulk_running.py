"""What a bulk run does when workers die, and what its workers get."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.bulk import ray_cluster, running
from stylize.bulk.jobs import Job, Photo, Work, decide
from stylize.bulk.manifest import Manifest
from stylize.bulk.running import Outcome, batch_size, owned, run
from stylize.bulk.storage import NEW, Entry, Storage
from stylize.errors import InputError, RunInUse, StylizeError
from tests.bulk_helpers import settings_of
from tests.helpers import tiny_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


SIZE = Entry(10, "monday")


def photo(name="a.jpg", entry=SIZE, output=None):
    return Photo(Storage("/photos"), name, name, output or name, entry)


class Dying:
    """A cluster that loses what it is told to; its workers paint nothing."""

    workers = 2

    def __init__(self, loses):
        self.loses, self.given = loses, []

    def paint(self, jobs, batch):
        for start in range(0, len(jobs), batch):
            task = jobs[start : start + batch]
            self.given.append(task)
            if not self.loses(task, len(self.given)):
                yield [job.row("done", output=job.photo.output, output_size=1) for job in task]


def many(count):
    return Work([Job(photo(f"{number}.jpg")) for number in range(count)])


def run_dying(tmp_path, count, loses):
    cluster, outcome, manifest = Dying(loses), Outcome(), Manifest(Storage.at(str(tmp_path)))
    manifest.begin({})
    run(many(count), manifest, cluster, outcome)
    return cluster, outcome, manifest


def test_photos_of_lost_tasks_are_given_out_again(tmp_path):
    cluster, outcome, manifest = run_dying(tmp_path, 40, lambda task, number: number == 2)
    assert (outcome.done, outcome.failed) == (40, 0)
    assert {row["status"] for row in manifest.rows.values()} == {"done"} and len(manifest.rows) == 40
    lost = cluster.given[1]
    again = [task for task in cluster.given[8:]]
    assert [task[0].photo for task in again] == [job.photo for job in lost] and all(len(task) == 1 for task in again)
    assert all(task[0].begun for task in again)


def test_a_photo_that_kills_its_workers_fails_alone(tmp_path):
    _, outcome, manifest = run_dying(tmp_path, 40, lambda task, number: any(j.photo.name == "7.jpg" for j in task))
    assert (outcome.done, outcome.failed) == (39, 1)
    assert "each worker that was given it ended" in manifest.rows["/photos/7.jpg"]["reason"]


def test_a_line_that_comes_twice_counts_once(tmp_path):
    class Twice(Dying):
        def paint(self, jobs, batch):
            for rows in super().paint(jobs, batch):
                yield rows
                yield rows

    outcome, manifest = Outcome(), Manifest(Storage.at(str(tmp_path)))
    manifest.begin({})
    run(many(10), manifest, Twice(lambda *_: False), outcome)
    assert outcome.done == 10


def test_what_is_done_when_a_run_is_stopped_is_written_down(tmp_path):
    def stop(row):
        if row["photo"].endswith("/5.jpg"):
            raise KeyboardInterrupt

    place, outcome = Storage.at(str(tmp_path)), Outcome()
    manifest = Manifest(place)
    manifest.begin({})
    with pytest.raises(KeyboardInterrupt):
        run(many(10), manifest, Dying(lambda *_: False), outcome, stop)
    rows = Manifest.read(place, place.files()).rows
    assert sorted(key for key, row in rows.items() if row["status"] == "done") == [f"/photos/{n}.jpg" for n in range(6)]
    assert len(rows) == 10


def test_many_photos_are_given_out_in_slices(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "SLICE", 7)
    sizes = []

    class Counting(Dying):
        def paint(self, jobs, batch):
            sizes.append(len(jobs))
            return super().paint(jobs, batch)

    outcome, manifest = Outcome(), Manifest(Storage.at(str(tmp_path)))
    manifest.begin({})
    run(many(20), manifest, Counting(lambda *_: False), outcome)
    assert sizes == [7, 7, 6] and outcome.done == 20


@given(st.integers(1, 10**6), st.integers(1, 1000))
def test_tasks_are_small_and_enough(jobs, workers):
    batch = batch_size(jobs, workers)
    assert 1 <= batch <= running.BATCH
    assert batch == 1 or jobs / batch >= running.TASKS_PER_WORKER * workers


def test_what_the_command_keeps_of_each_photo(tmp_path, monkeypatch):
    """Less than 3 KB, as docs/bulk.md says: from the list of the photos to the manifest that is put together."""
    monkeypatch.setattr("stylize.bulk.manifest.FLUSH_LINES", 100)
    monkeypatch.setattr("stylize.bulk.manifest.JOINED_PARTS", 5)
    count, place = 2000, Storage.at(str(tmp_path))
    facts = {"output_size": 12345, "output_sha256": "a" * 64, "input_sha256": "b" * 64, "seconds": 0.123}
    facts |= {"finished": 1700000000.123, "worker": "worker-12:12345", "width": 1024, "height": 768}
    gc.collect()
    tracemalloc.start()
    try:
        photos = [
            photo(f"album-{number % 30}/photo-{number:07d}.jpg", Entry(10**6 + number, f"17000{number}.25"))
            for number in range(count)
        ]
        manifest = Manifest(place)
        manifest.begin({})
        for job in decide(photos, manifest, {}, False).jobs:
            manifest.add([job.begun_row])
            manifest.add([job.row("done", output=job.photo.output, **facts)])
        manifest.put_together()
        again = Manifest.read(place, place.files())
        del manifest
        assert len(decide(photos, again, {one.output: Entry(12345, "") for one in photos}, False).kept) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3000 * count


def test_two_runs_do_not_share_a_folder(tmp_path):
    place = Storage.at(str(tmp_path))
    with owned(place):
        with pytest.raises(RunInUse, match="another run paints into"), owned(place):
            pass
    with owned(place):
        pass


def test_what_killed_workers_left_half_written_is_removed(tmp_path):
    place = Storage.at(str(tmp_path))
    place.write(f"{NEW}/half", b"half a picture")
    run_dying(tmp_path, 1, lambda *_: False)
    assert not any(name.startswith(NEW) for name in place.files())


@pytest.mark.parametrize(
    ("nodes", "workers", "expected"),
    [
        ([2], 2, 1),
        ([2], 1, 2),
        ([4, 4, 4], 3, 4),
        ([4, 4, 4], 4, 2),
        ([4, 4, 4], 1, 4),
        ([8, 2], 3, 2),
        ([8, 2], 10, 1),
    ],
)
def test_cores_are_shared_out_within_machines(nodes, workers, expected):
    assert ray_cluster.cores_each(nodes, workers) == expected


@pytest.mark.parametrize(
    ("kind", "nodes", "asked", "workers", "each", "together"),
    [
        ("core", [2], None, 2, 1, 2),
        ("core", [8, 2], 3, 3, 2, 3),
        ("core", [4, 4, 4], 3, 3, 4, 1),
        ("core", [4, 4, 4], 6, 6, 2, 2),
        ("GPU", [2, 1], None, 3, 1, 2),
    ],
)
def test_what_each_worker_has(weights, tmp_path, monkeypatch, kind, nodes, asked, workers, each, together):
    monkeypatch.setattr(ray_cluster, "check_ray", lambda: None)
    cluster = ray_cluster.RayCluster(settings_of(weights), {}, Storage.at(str(tmp_path)), workers=asked)
    cluster._share(nodes, kind)
    assert cluster.workers == workers and cluster._resources["num_cpus"] == each
    assert ("num_gpus" in cluster._resources) == (kind == "GPU")
    # So many share the memory of a machine.
    assert cluster.settings.workers == together


@pytest.mark.parametrize(
    ("kind", "nodes", "asked", "message"),
    [
        ("core", [2, 2], 5, "5 workers given, and this machine has 4 cores; give --workers up to that"),
        ("GPU", [1], 2, "2 workers given, and this machine has 1 GPU;"),
        ("GPU", [0], None, "this machine has no GPU for a worker; give another --device"),
        ("GPU", [0], 2, "this machine has no GPU for a worker"),
    ],
)
def test_more_workers_than_there_is_place_for(weights, tmp_path, monkeypatch, kind, nodes, asked, message):
    monkeypatch.setattr(ray_cluster, "check_ray", lambda: None)
    cluster = ray_cluster.RayCluster(settings_of(weights), {}, Storage.at(str(tmp_path)), workers=asked)
    with pytest.raises(InputError, match=message):
        cluster._share(nodes, kind)


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        ("stylize.errors.InputError: no: such engine", InputError, "no: such engine"),
        ("stylize.errors.Nothing: x", StylizeError, "of the Ray cluster do not work: stylize.errors.Nothing: x"),
        ("stylize.errors.suggest: x", StylizeError, "of the Ray cluster do not work: stylize.errors.suggest: x"),
        ("ValueError: x", StylizeError, "of the Ray cluster do not work: ValueError: x"),
    ],
)
def test_what_workers_say_that_do_not_start(line, kind, text):
    error = ray_cluster._of_workers(line)
    assert type(error) is kind and str(error).removeprefix("the workers ") == text


@pytest.mark.parametrize("address", ["nowhere", "localhost:", "localhost:99999", "ray://x", ":1"])
def test_addresses_that_are_none(address):
    with pytest.raises(InputError, match="HOST:PORT, ray://HOST:PORT or auto is accepted"):
        ray_cluster.check_address(address)


def test_a_cluster_that_does_not_answer():
    import socket

    with socket.socket() as held:  # bound, but it does not listen
        held.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match="no Ray cluster answers at"):
            ray_cluster.check_address(f"127.0.0.1:{held.getsockname()[1]}")
