"""The command ``stylize apply --engine-cluster``, without Ray."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from stylize.bulk import ray_cluster
from stylize.bulk.manifest import NAME
from stylize.bulk.storage import Storage
from stylize.cli import main
from tests.bulk_helpers import BROKEN, RESULTS, InProcess, OneWorker, make_holiday, result_names
from tests.helpers import save_photo, tiny_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def holiday(tmp_path):
    return make_holiday(tmp_path / "holiday")


def apply(*arguments):
    return CliRunner().invoke(main, ["apply", *map(str, arguments)], prog_name="stylize")


@pytest.fixture
def no_ray(monkeypatch):
    """Let the command paint with a cluster of this process; return the clusters that were made."""
    monkeypatch.setattr(OneWorker, "made", [])
    monkeypatch.setattr("stylize.cli.apply_bulk.RayCluster", OneWorker)
    monkeypatch.setattr("stylize.cli.apply_bulk.check_ray", lambda: None)
    return OneWorker.made


def test_results_are_those_of_plain_apply_to_the_byte(holiday, tmp_path, weights, no_ray):
    options = ["--style", weights, "--device", "cpu", "--size", "33", "--strength", "0.7", "--preserve-color"]
    plain = apply(holiday, *options, "-o", tmp_path / "plain")
    assert plain.exit_code == 2 and "3 of 10 failed" in plain.stderr
    result = apply(holiday, *options, "-o", tmp_path / "bulk", "--engine-cluster", "ray")
    assert result.exit_code == 1 and "3 of 10 failed:" in result.stderr, result.output
    assert result.stdout.startswith("painted 7 photos: test-style, instance norm, in ")
    bulk_place, plain_place = Storage.at(str(tmp_path / "bulk")), Storage.at(str(tmp_path / "plain"))
    assert result_names(bulk_place) == result_names(plain_place) == RESULTS
    for name in RESULTS:
        assert bulk_place.read(name) == plain_place.read(name), name
    # The same failures in the same words.
    assert sorted(result.stderr.splitlines()[1:]) == sorted(plain.stderr.splitlines()[1:])


def cluster_apply(*arguments):
    return apply(*arguments, "--engine-cluster", "ray")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine-cluster", "ray", "--workers", "0"], "0 is not in the range x>=1"),
        (["--engine-cluster", "spark"], "'spark' is not 'ray'"),
        (["--workers", "2"], "--workers is for a cluster; add --engine-cluster ray"),
        (["--ray-address", "auto"], "--ray-address is for a cluster"),
        (["--engine-cluster", "ray", "--sheet"], "leave out --sheet"),
        (["--engine-cluster", "ray", "--norm", "instance", "--norm", "batch"], "leave out --sheet"),
        (["--engine-cluster", "ray", "--mask", "m.png"], "leave out --sheet"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message):
    result = apply(save_photo(tmp_path / "a.jpg"), "-o", tmp_path / "out", *options)
    assert result.exit_code == 2 and message in result.stderr, result.output
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    result = cluster_apply(save_photo(tmp_path / "a.jpg"), "--style", weights, "-o", tmp_path / "out")
    assert result.exit_code == 2 and "pip install 'stylize[ray]'" in result.stderr
    assert result.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


def test_the_same_command_goes_on_and_others_are_refused(holiday, tmp_path, weights, no_ray):
    options = ["--style", weights, "--device", "cpu", "-o", tmp_path / "out"]
    assert cluster_apply(holiday, *options).exit_code == 1
    again = cluster_apply(holiday, *options)
    assert again.exit_code == 1 and "painted 0 photos, 7 were there already" in again.stdout
    for name in BROKEN:
        (holiday / name).unlink()
    made = len(no_ray)
    last = cluster_apply(holiday, *options)
    assert last.exit_code == 0 and last.stderr == "" and len(no_ray) == made
    other = cluster_apply(holiday, *options, "--size", "20")
    assert other.exit_code == 2 and "other settings (size null, now 20)" in other.stderr
    over = cluster_apply(holiday, *options, "--size", "20", "--overwrite")
    assert over.exit_code == 0 and "painted 7 photos:" in over.stdout
    assert "painted 0 photos, 7 were" in cluster_apply(holiday, *options, "--size", "20", "--overwrite").stdout


def test_when_every_photo_fails_the_run_does(tmp_path, weights, no_ray):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in" / name).write_bytes(b"")
    result = cluster_apply(tmp_path / "in", "--style", weights, "-o", tmp_path / "out")
    assert result.exit_code == 1 and "2 of 2 failed:" in result.stderr and "painted 0 photos" in result.stdout


def test_the_json_document(holiday, tmp_path, weights, no_ray):
    result = cluster_apply(holiday, "--style", weights, "-o", tmp_path / "out", "--json", "--workers", "3")
    document = json.loads(result.stdout)
    assert (document["painted"], document["kept"], document["workers"]) == (7, 0, 3)
    assert sorted(os.path.basename(one["photo"]) for one in document["failures"]) == BROKEN
    assert document["manifest"] == str(tmp_path / "out" / NAME) and document["seconds"] > 0


def test_ctrl_c_keeps_what_is_done(holiday, tmp_path, weights, no_ray, monkeypatch):
    options = ["--style", weights, "--device", "cpu", "-o", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr(
            "stylize.cli.apply_bulk.BulkJob._take", lambda self, row: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        result = cluster_apply(holiday, *options)
    assert result.exit_code == 130 and "the same command goes on" in result.stderr
    result = cluster_apply(holiday, *options)
    assert result.exit_code == 1 and "3 of 10 failed" in result.stderr
    assert result_names(Storage.at(str(tmp_path / "out"))) == RESULTS


def test_what_ray_prints_does_not_get_into_the_json_document(tmp_path, weights, no_ray, monkeypatch):
    """Ray 2.60 prints on standard output that a worker died."""

    def noisy(self, jobs, batch, paint=InProcess.paint):
        print("(raylet) A worker died")
        yield from paint(self, jobs, batch)

    monkeypatch.setattr(InProcess, "paint", noisy)
    result = cluster_apply(save_photo(tmp_path / "a.jpg"), "--style", weights, "-o", tmp_path / "out", "--json")
    assert json.loads(result.stdout)["painted"] == 1 and result.stderr == ""
