"""The benchmark of bulk runs: its pictures, its checks, and the cost that is computed from its numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import bulk, bulk_report, record
from benchmarks.sessions import SessionRun
from stylize.errors import ImageError, InputError, StylizeError
from stylize.images import read_picture
from tests.slow import kill_bulk

KNOWN = {
    "facts": {"cpu": "a processor", "cores": 4},
    "count": 500,
    "broken": 10,
    "workers": 2,
    "size": 256,
    "style": "starry-night",
    "load": 0.2,
    "speeds": [
        {"size": 256, "count": 490, "pixels": 43_000, "rate": 10.0, "start_seconds": 7.0},
        {"size": 1024, "count": 100, "pixels": 700_000, "rate": 2.5, "start_seconds": 8.0},
    ],
    "checked": {
        "results": 490,
        "done": 490,
        "failures_named": 10,
        "lost": 0,
        "listed_twice": 0,
        "written_twice": 0,
        "wrong_failures": 0,
        "half_written": 0,
        "differing_from_plain": 0,
    },
    "again": {"painted": 0, "kept": 490},
}


def test_the_cost_by_hand():
    # 10 photos a second are 36,000 an hour: 27.8 hours, on two cores 55.6 core-hours.
    one = bulk_report.cost(KNOWN["speeds"][0], 2, 0.09)
    assert one["hours"] == pytest.approx(1e6 / 36_000)
    assert one["core_hours"] == pytest.approx(2e6 / 36_000)
    assert one["dollars"] == pytest.approx(5.0)
    text = bulk_report.cost_text(KNOWN, 0.09)
    assert "| 256 px | 43,000 | 490 | 10.0 | 27.8 | 55.6 | $5.00 |" in text and "the 7 and 8 seconds until" in text
    assert (
        "| 1024 px | 700,000 | 100 | 2.5 | 111.1 | 222.2 | $20.00 |" in text and "at $0.09 an hour of one core" in text
    )


@pytest.mark.parametrize("name", ["lost", "listed_twice", "written_twice", "wrong_failures", "differing_from_plain"])
def test_any_loss_fails(name):
    assert bulk_report.passed(KNOWN)
    assert not bulk_report.passed(KNOWN | {"checked": KNOWN["checked"] | {name: 1}})
    assert not bulk_report.passed(KNOWN | {"checked": KNOWN["checked"] | {"results": 489}})
    assert not bulk_report.passed(KNOWN | {"again": {"painted": 1, "kept": 489}})


def test_photos_are_all_different_and_as_many_are_broken_as_asked(tmp_path):
    broken = bulk.make_photos(tmp_path / "photos", 40, 5, 24)
    paths = sorted((tmp_path / "photos").rglob("*.jpg"))
    assert len(paths) == 40 and len(set(broken)) == 5
    assert len({path.read_bytes() for path in paths}) == 40
    for path in paths:
        if path.relative_to(tmp_path / "photos").as_posix() in broken:
            with pytest.raises(ImageError):
                read_picture(path)
        else:
            assert max(read_picture(path).image.size) == 24


def test_the_speed_by_hand(tmp_path):
    rows = [{"status": "done", "photo": str(n), "finished": 100 + 0.5 * n, "width": 20, "height": 10} for n in range(5)]
    rows.append({"status": "failed", "photo": "6", "reason": "it is empty"})
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = {"size": 20, "count": 5, "pixels": 200, "rate": 2.0, "start_seconds": 10.0}
    assert bulk.speed(tmp_path, 20, 90.0) == expected
    (tmp_path / "manifest.jsonl").write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(StylizeError, match="too few pictures"):
        bulk.speed(tmp_path, 20, 90.0)


def test_the_check_sees_what_went_wrong(tmp_path):
    photos, output, plain = (tmp_path / name for name in ("photos", "out", "plain"))
    rows = []
    for name in ("a", "b", "c", "d"):
        for folder in (photos, output, plain):
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.jpg").write_bytes(name.encode())
        rows.append({"status": "done", "photo": str(photos / f"{name}.jpg"), "worker": "w:1"})
    before = {"results": bulk.results(output)}
    rows[3] = {"status": "failed", "photo": str(photos / "d.jpg"), "reason": "d.jpg is damaged"}
    (output / "d.jpg").unlink()
    (output / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = bulk.check(photos, output, plain, {"results": {}}, ["d.jpg"])
    assert (found["results"], found["done"], found["failures_named"]) == (3, 3, 1)
    assert not any(found[name] for name in ("lost", "listed_twice", "wrong_failures", "differing_from_plain"))
    (output / "a.jpg").unlink()
    (output / "b.jpg").write_bytes(b"another")
    (output / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[2]]))
    found = bulk.check(photos, output, plain, before, [])
    names = ("lost", "listed_twice", "wrong_failures", "differing_from_plain")
    assert [found[name] for name in names] == [2, 1, 1, 1]
    assert found["written_twice"] >= 2  # a and d are gone


def test_the_row_counts_what_was_lost():
    known = KNOWN | {"facts": KNOWN["facts"] | {"command": "python benchmarks/bulk.py", "date": "today"}}
    (row,) = bulk_report.fault(known)["rows"]
    assert (row["tried"], row["lost"]) == (1, 0)
    known |= {"checked": KNOWN["checked"] | {"written_twice": 2, "results": 489}}
    assert bulk_report.fault(known)["rows"][0]["lost"] == 3


def test_the_check_of_killed_runs_sees_what_went_wrong(tmp_path):
    photos, output = tmp_path / "photos", tmp_path / "out"
    output.mkdir()
    for name in "abc":
        (output / f"{name}.jpg").write_bytes(name.encode())
    reference, seen = kill_bulk.content(output), bulk.results(output)
    rows = [
        {"status": "done", "photo": str(photos / name), "output": name, "output_sha256": digest}
        for name, digest in sorted(reference.items())
    ]
    rows.append({"status": "failed", "photo": str(photos / "bad.jpg"), "reason": "bad.jpg is empty"})

    def wrong(*changed):
        (output / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
        return sorted(kill_bulk.losses(photos, output, reference, {"bad.jpg"}, seen))

    assert wrong(*rows) == []
    assert wrong(*rows[1:]) == ["a.jpg is listed 0 times"]
    assert wrong(*rows, rows[0]) == ["a.jpg is listed 2 times"]
    assert wrong(*rows[:-1], rows[-1] | {"status": "done"}) == ["bad.jpg is done, not failed: bad.jpg is empty"]
    assert wrong(rows[0] | {"output_sha256": "0"}, *rows[1:]) == ["the manifest has another sha256 of a.jpg"]
    (output / "new.jpg").write_bytes(b"a")
    (output / "new.jpg").replace(output / "a.jpg")
    assert wrong(*rows) == ["a.jpg was written again"]
    (output / "b.jpg").unlink()
    (output / "d.jpg").write_bytes(b"d")
    found = wrong(*rows)
    assert {"b.jpg is missing", "d.jpg should not be there"} <= set(found)
    half = output / ".stylize-bulk" / "new" / "half"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"")
    assert "half is half-written" in wrong(*rows)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found through /proc")
def test_nothing_outlives_a_session():
    sleep = "import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
    sleep += "preexec_fn=os.setpgrp, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(1)"
    with SessionRun([sys.executable, "-c", sleep]) as run:
        assert run.process.communicate(timeout=60)[0] == "1\n"
        run.kill_group()
        assert len(run.left()) == 1  # in a group of its own
    assert run.left() == []


def test_the_page_shows_the_cost_of_the_results():
    text = bulk.DOCS.read_text(encoding="utf-8")
    path = Path(record.RESULTS / "bulk.json")
    if not path.exists():
        pytest.skip("not measured yet")
    known = json.loads(path.read_text(encoding="utf-8"))
    assert bulk_report.filled(text, known, known["price"]) == text, "run python benchmarks/bulk.py --docs"
    assert bulk_report.passed(known)
    report = (record.RESULTS / "bulk.md").read_text(encoding="utf-8")
    assert report.rstrip("\n") == bulk_report.markdown(known).rstrip("\n")
    with pytest.raises(InputError, match="has no place"):
        bulk_report.filled("nothing", known, 1.0)
