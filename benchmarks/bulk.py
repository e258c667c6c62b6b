"""Bulk apply on a Ray of this machine: a worker killed on the way, broken pictures, pictures per second and their cost.

    python benchmarks/bulk.py [--count 500] [--broken 10] [--workers 2] [--size 256] [--sizes 1024] [--price 0.04]

Runs of ``stylize apply FOLDER --engine-cluster ray``, and one of plain ``stylize apply``:

1. a clean one, whose pictures per second are measured;
2. one in which a worker is killed (SIGKILL) as soon as a part of the pictures is done;
3. the same command once more, which has nothing to do but to try the broken pictures again;
4. plain apply with one thread, for the bytes of its pictures;
5. clean ones of fewer and larger pictures, whose pictures per second are measured, too.

The photos are parts of the example photos, all different. The numbers go to ``benchmarks/results/bulk.json`` and
``bulk.md``, and the cost of a million photos to ``docs/bulk.md`` (``--docs`` writes that alone, from the kept numbers;
with another ``--price`` for that price).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from benchmarks.bulk_report import fault, filled, markdown, passed
from benchmarks.sessions import SessionRun
from stylize.errors import InputError, StylizeError
from stylize.resources import examples_directory

DOCS = record.ROOT / "docs" / "bulk.md"
STYLE = "starry-night"
PRICE = 0.04
"""US dollars for an hour of one core: an assumption to be replaced by what yours costs (``--price``)."""

KILL_AFTER = 0.3
"""Part of the pictures that is done when a worker is killed."""


def make_photos(folder: Path, count: int, broken: int, size: int) -> list[str]:
    """Write photos and broken files; return the names of the broken ones.

    Args:
        folder: Where to; it is made.
        count: Files in all.
        broken: How many of them are broken, in turn: empty, cut off, text, zeros, and the header of a PNG alone.
        size: Long edge in pixels.
    """
    from PIL import Image

    from stylize.images import read_image

    examples = [read_image(path) for path in sorted((examples_directory() / "photos").glob("*.jpg"))]
    folder.mkdir(parents=True)
    bad = {round((number + 0.5) * count / broken): number for number in range(broken)}
    names = []
    for number in range(count):
        image = examples[number % len(examples)]
        step = number // len(examples)
        # Each is another part of its photo, from the whole down to half of it.
        share = 1 - 0.5 * (step * 0.618 % 1)
        left = round((1 - share) * image.width * (step * 0.755 % 1))
        top = round((1 - share) * image.height * (step * 0.57 % 1))
        box = (left, top, left + round(share * image.width), top + round(share * image.height))
        part = image.crop(box)
        part.thumbnail((size, size), Image.Resampling.LANCZOS)
        path = folder / f"{number % 10}" / f"{number:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        part.save(path, quality=92)
        if number in bad:
            whole = path.read_bytes()
            kinds = (b"", whole[: len(whole) // 3], b"this is no picture\n" * 40, bytes(2000), b"\x89PNG\r\n\x1a\n" * 9)
            path.write_bytes(kinds[bad[number] % len(kinds)])
            names.append(path.relative_to(folder).as_posix())
    return names


def command(photos: Path, output: Path, workers: int | None) -> list[str]:
    """Return a command line of ``stylize apply``, on Ray or, without workers, plain."""
    made = [sys.executable, "-m", "stylize", "apply", str(photos), "-o", str(output), "--style", STYLE, "--json"]
    return [*made, "--device", "cpu", *(["--engine-cluster", "ray", "--workers", str(workers)] if workers else [])]


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a command and return its JSON document.

    Raises:
        StylizeError: It did not print one.
    """
    printed, errors = process.communicate()
    try:
        return json.loads(printed)
    except ValueError:
        print(printed, errors, sep="\n", file=sys.stderr)
        raise StylizeError(f"the run ended with status {process.returncode} and without a JSON document") from None


def lines(output: Path) -> list[dict[str, Any]]:
    """Return the lines of a manifest about photos, also while the run goes on."""
    files = [output / "manifest.jsonl", *sorted((output / ".stylize-bulk" / "lines").glob("*.jsonl"))]
    rows = [json.loads(line) for path in files if path.exists() for line in path.read_text("utf-8").splitlines()]
    return [row for row in rows if "photo" in row]


def results(output: Path) -> dict[str, tuple[int, int]]:
    """Return the pictures in a folder of results, with what changes when one is written again."""
    paths = [path for path in output.rglob("*.jpg") if ".stylize-bulk" not in path.parts]
    return {path.relative_to(output).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def kill_a_worker(process: subprocess.Popen[str], output: Path, after: int) -> dict[str, Any]:
    """Kill a worker of a run as soon as so many pictures are done; return what was there at that moment.

    Raises:
        StylizeError: The run ended before.
    """
    while process.poll() is None:
        done = [row for row in lines(output) if row["status"] == "done"]
        if len(done) >= after:
            worker = done[-1]["worker"]
            os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
            return {"worker": worker, "lines": len(done), "results": results(output)}
        time.sleep(0.1)
    raise StylizeError("the run ended before a worker was killed; give more pictures with --count")


def check(photos: Path, output: Path, plain: Path, killed: Mapping[str, Any], broken: list[str]) -> dict[str, Any]:
    """Return what a run with a killed worker left, beside what it should have left."""
    rows, files = lines(output), results(output)
    names = {row["photo"]: Path(row["photo"]).relative_to(photos).as_posix() for row in rows}
    done = Counter(names[row["photo"]] for row in rows if row["status"] == "done")
    failed = {names[row["photo"]]: row["reason"] for row in rows if row["status"] == "failed"}
    good = {path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg")} - set(broken)
    workers = {row.get("worker") for row in rows if row["status"] == "done"}
    return {
        "results": len(files),
        "done": len(done),
        "failed": len(failed),
        "failures_named": sum(Path(name).name in reason for name, reason in failed.items()),
        "wrong_failures": len(set(failed) ^ set(broken)),
        "lost": len(good - set(files)),
        "listed_twice": sum(count > 1 for count in done.values()),
        "written_twice": sum(files.get(name) != facts for name, facts in killed["results"].items()),
        "differing_from_plain": sum((output / n).read_bytes() != (plain / n).read_bytes() for n in good & set(files)),
        "half_written": len(list((output / ".stylize-bulk").rglob("new/*"))),
        "done_before_the_kill": len(killed["results"]),
        "found_after_the_kill": sum(bool(row.get("found")) for row in rows),
        "workers": len(workers),
        "reasons": dict(sorted(failed.items())),
    }


def speed(output: Path, size: int, begun: float) -> dict[str, Any]:
    """Return how fast a run was, by its manifest: pictures per second between the first and the last that it finished.

    Args:
        output: Folder of the results.
        size: Long edge of the pictures in pixels.
        begun: When the command was given, in seconds since 1970.

    Raises:
        StylizeError: There are too few pictures.
    """
    rows = [row for row in lines(output) if row["status"] == "done"]
    finished = sorted(row["finished"] for row in rows)
    if len(finished) < 2 or finished[-1] <= finished[0]:
        raise StylizeError("too few pictures to measure; give more with --count and --few")
    return {
        "size": size,
        "count": len(rows),
        "pixels": round(sum(row["width"] * row["height"] for row in rows) / len(rows)),
        "rate": (len(rows) - 1) / (finished[-1] - finished[0]),
        "start_seconds": finished[0] - begun,
    }


def write_docs(known: Mapping[str, Any], price: float) -> None:
    """Put the cost of a million photos into its place in docs/bulk.md."""
    text = DOCS.read_text(encoding="utf-8")
    record.write_text(DOCS, filled(text, known, price))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Do the runs and return the numbers."""
    from stylize.bulk.worker import PICTURES_AT_ONCE

    photos, seconds = folder / "photos", {}
    broken = make_photos(photos, options.count, options.broken, options.size)
    good = options.count - len(broken)

    def timed(
        name: str, photos: Path, output: str, workers: int | None, kill: bool = False
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        begun, killed = time.perf_counter(), {}
        with SessionRun(command(photos, folder / output, workers)) as run:
            if kill:
                killed = kill_a_worker(run.process, folder / output, max(1, round(KILL_AFTER * good)))
            document = finish(run.process)
        seconds[name] = time.perf_counter() - begun
        print(f"{name}: {seconds[name]:.1f} s", file=sys.stderr)
        return document, killed

    load, begun = (os.getloadavg()[0] if hasattr(os, "getloadavg") else None), time.time()
    timed("clean", photos, "clean", options.workers)
    speeds = [speed(folder / "clean", options.size, begun)]
    _, killed = timed("killed", photos, "killed", options.workers, kill=True)
    again, _ = timed("again", photos, "killed", options.workers)
    timed("plain", photos, "plain", None)
    for size in options.sizes:
        few = folder / f"photos-{size}"
        make_photos(few, options.few, 0, size)
        begun = time.time()
        timed(f"{size} px", few, f"few-{size}", options.workers)
        speeds.append(speed(folder / f"few-{size}", size, begun))
    return {
        "count": options.count,
        "broken": len(broken),
        "workers": options.workers,
        "size": options.size,
        "style": STYLE,
        "load": load,
        "pictures_held": PICTURES_AT_ONCE * options.workers,
        "speeds": speeds,
        **{f"{name}_seconds": seconds[name] for name in ("clean", "killed", "again", "plain")},
        "checked": check(photos, folder / "killed", folder / "plain", killed, broken),
        "again": {"painted": again["painted"], "kept": again["kept"]},
        "price": options.price,
    }


def positive(text: str) -> float:
    """Read a number above 0 for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} given; a number above 0 is accepted")
    return value


def main() -> None:
    """Measure and write, or write the page from what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=record.whole, default=500, help="pictures, the broken ones among them")
    parser.add_argument("--broken", type=record.whole, default=10)
    parser.add_argument("--workers", type=record.whole, default=2)
    parser.add_argument("--size", type=record.whole, default=256, help="long edge of the pictures in pixels")
    parser.add_argument(
        "--sizes", type=record.whole, nargs="*", default=[1024], help="long edges whose speed is measured as well"
    )
    parser.add_argument("--few", type=record.whole, default=100, help="pictures of each of these")
    parser.add_argument("--price", type=positive, default=PRICE, help="US dollars for an hour of one core")
    parser.add_argument(
        "--docs", action="store_true", help="write docs/bulk.md from the kept numbers and measure nothing"
    )
    parser.add_argument("-o", "--output", type=Path, default=record.RESULTS, help="folder for bulk.json and bulk.md")
    options = parser.parse_args()
    if options.broken >= options.count:
        raise InputError(f"{options.broken} broken pictures of {options.count} given; fewer broken ones are accepted")
    kept = options.output / "bulk.json"
    if options.docs:
        if not kept.exists():
            raise InputError(f"{kept.name} is missing; run the benchmark first")
        write_docs(json.loads(kept.read_text(encoding="utf-8")), options.price)
        return
    with tempfile.TemporaryDirectory(prefix="stylize-bulk-") as folder:
        known = measure(Path(folder).resolve(), options)
    known = {"facts": record.facts(), **known}
    record.save(options.output, "bulk", known, markdown(known))
    record.write_text(options.output / "faults-bulk-worker.json", json.dumps(fault(known), indent=1) + "\n")
    if options.output == record.RESULTS:
        write_docs(known, options.price)
    print(markdown(known))
    if not passed(known):
        raise StylizeError("not every count is as it should be")


if __name__ == "__main__":
    record.run(main)
