"""Kill a bulk run with SIGKILL at random moments and start it again, as often as asked.

    python -m tests.slow.kill_bulk [--kills 10] [--count 160] [--seed 1]

What is killed is the process group of ``stylize apply FOLDER --engine-cluster ray``: the command, and what of Ray is in
its group. What is not, workers too, may live on for a moment, and the next run begins at once. When a run comes to its
end before it is killed, its results are checked, and a new one begins with an empty folder. Checked is also that no
process of Ray is left a minute later.

The row for docs/reliability.md goes to ``benchmarks/results/faults-bulk.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.bulk import command, finish, lines, make_photos, results
from benchmarks.sessions import SessionRun
from stylize.errors import StylizeError

LEFT_SECONDS = 60.0
"""Processes that a killed run leaves are gone after so long."""

MEANS = (
    "a picture that is missing, differs in a byte from that of a run without kills, or is written again after it was "
    "whole; a photo that is not in the manifest exactly once, with the right outcome; a file left half-written; a run "
    "that does not go on; a process that is still there a minute later"
)


def content(output: Path) -> dict[str, str]:
    """Return the sha256 of each picture in a folder of results."""
    return {name: hashlib.sha256((output / name).read_bytes()).hexdigest() for name in results(output)}


def losses(
    photos: Path, output: Path, reference: Mapping[str, str], broken: set[str], seen: Mapping[str, Any]
) -> list[str]:
    """Return what is wrong with the results of a run that was killed and came to its end.

    Args:
        photos: Folder of the photos.
        output: Folder of the results.
        reference: The pictures of a run that was not killed.
        broken: Names of the broken photos.
        seen: What was there after a kill, from :func:`benchmarks.bulk.results`.
    """
    made, after, rows = content(output), results(output), lines(output)
    names = {row["photo"]: Path(row["photo"]).relative_to(photos).as_posix() for row in rows}
    found = [f"{name} is missing" for name in reference.keys() - made.keys()]
    found += [f"{name} should not be there" for name in made.keys() - reference.keys()]
    found += [f"{name} differs" for name in made.keys() & reference.keys() if made[name] != reference[name]]
    found += [f"{name} was written again" for name, facts in seen.items() if after.get(name) != facts]
    counted = Counter(names[row["photo"]] for row in rows)
    found += [f"{name} is listed {counted[name]} times" for name in {*reference, *broken} if counted[name] != 1]
    for row in rows:
        name = names[row["photo"]]
        wanted = "failed" if name in broken else "done"
        if row["status"] != wanted:
            found.append(f"{name} is {row['status']}, not {wanted}: {row.get('reason', '')}")
        elif wanted == "done" and row["output_sha256"] != made.get(row["output"]):
            found.append(f"the manifest has another sha256 of {name}")
    found += [f"{path.name} is half-written" for path in (output / ".stylize-bulk").rglob("new/*")]
    return found


def wait_for_end(run: SessionRun) -> float | None:
    """Return the seconds until nothing is left of a killed run, or None if something stays."""
    begun = time.monotonic()
    while run.left():
        if time.monotonic() - begun > LEFT_SECONDS:
            return None
        time.sleep(0.1)
    return time.monotonic() - begun


class Kills:
    """The runs and their kills.

    Args:
        folder: For photos and results.
        options: What the command line asks for.
    """

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.workers, self.chance = folder, options.workers, random.Random(options.seed)
        self.photos = folder / "photos"
        self.broken = set(make_photos(self.photos, options.count, options.broken, options.size))
        self.asked, self.kills, self.rounds = options.kills, 0, 0
        self.wrong: list[str] = []
        self.moments: list[tuple[float, int, int]] = []
        self.found = 0

    def measure(self) -> None:
        """Do the run without kills."""
        begun = time.perf_counter()
        with SessionRun(command(self.photos, self.folder / "reference", self.workers)) as run:
            finish(run.process)
        self.seconds = time.perf_counter() - begun
        self.reference = content(self.folder / "reference")

    def kill_all(self) -> None:
        """Kill and start again until it was done as often as asked, and to the end after the last kill."""
        with contextlib.ExitStack() as runs:
            killed: list[SessionRun] = []
            while self.kills < self.asked:
                self.rounds += 1
                output, seen = self.folder / f"round-{self.rounds}", {}
                while True:
                    run = runs.enter_context(SessionRun(command(self.photos, output, self.workers)))
                    if self.kills < self.asked and self.stopped(run, output):
                        killed.append(run)
                        seen = results(output)
                        continue
                    try:
                        finish(run.process)
                    except StylizeError as error:
                        self.wrong.append(str(error))
                    break
                self.wrong += losses(self.photos, output, self.reference, self.broken, seen)
                self.found += sum(bool(row.get("found")) for row in lines(output))
            left = [wait_for_end(run) for run in killed]
            self.wrong += ["processes of Ray were left" for seconds in left if seconds is None]

    def stopped(self, run: SessionRun, output: Path) -> bool:
        """Wait for a random moment of a run and kill it; say whether it had not come to its end before.

        Three of four moments are a random number of results and up to a fifth of a second more, so that it is killed
        while it paints however fast the machine is; the others, a random time, may be while it starts or ends.
        """
        begun, there = time.monotonic(), len(results(output))
        if self.chance.random() < 0.25:
            enough, wait = 0, self.chance.uniform(0, self.seconds)
        elif there < len(self.reference):
            # At most a quarter further, so that a run is killed several times before it is through.
            most = min(len(self.reference) - 1, there + len(self.reference) // 4)
            enough, wait = self.chance.randint(there, most), self.chance.uniform(0, 0.2)
        else:
            return False
        while len(results(output)) < enough and run.process.poll() is None:
            time.sleep(0.02)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(wait)
            return False
        run.kill_group()
        self.kills += 1
        self.moments.append((round(time.monotonic() - begun, 2), there, len(results(output))))
        print("kill {} after {} s: {} results before, {} now".format(self.kills, *self.moments[-1]), file=sys.stderr)
        return True


def main() -> None:
    """Kill, check, and write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=record.whole, default=10)
    parser.add_argument("--count", type=record.whole, default=160, help="pictures, the broken ones among them")
    parser.add_argument("--broken", type=record.whole, default=4)
    parser.add_argument("--size", type=record.whole, default=512, help="long edge of the pictures in pixels")
    parser.add_argument("--workers", type=record.whole, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder for faults-bulk.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stylize-kill-") as folder:
        kills = Kills(Path(folder).resolve(), options)
        kills.measure()
        kills.kill_all()
    row = {
        "fault": f"kill -9 of a bulk run of {options.count} pictures, {options.broken} of them broken, with its "
        "process group, at random moments; started again each time",
        "tried": kills.kills,
        "lost": len(kills.wrong),
        "means": MEANS,
    }
    known = record.facts()
    document = {
        "command": f"python -m tests.slow.kill_bulk {' '.join(known['command'].split()[2:])}".rstrip(),
        "date": known["date"],
        "commit": known["commit"],
        "rows": [row],
        "seconds_without_kills": round(kills.seconds, 1),
        "rounds": kills.rounds,
        "kills": [dict(zip(("seconds", "results_before", "results_then"), one, strict=True)) for one in kills.moments],
        "found_after_kills": kills.found,
        "wrong": kills.wrong,
    }
    record.write_text(options.output / "faults-bulk.json", json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    if kills.wrong:
        raise StylizeError(f"{len(kills.wrong)} things are not as they should be")


if __name__ == "__main__":
    record.run(main)
