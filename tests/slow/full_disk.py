"""Let the disk be full, read-only or limited while stylize writes, at ever other writes, and see that nothing is lost.

    python -m tests.slow.full_disk

Every job that writes something is done in a process of its own on a small disk of its own (a tmpfs), on which good
results of an earlier time lie already:

    full        so many bytes are free: from none to as many as the job takes at its peak, in steps
    names       so many files can still be made: 0, 1, 2, ...
    read-only   the disk is mounted so that nothing can be written
    file size   no file may grow beyond so many bytes (RLIMIT_FSIZE), which is what a quota looks like from inside

The first three need the right to mount; without it only the last is done, and said so. After each: the exit status is
1 (or 0 where there was room enough), with one line and no traceback; results of before are unchanged; nothing
half-written carries a final name; no temporary file is left. Then there is room again, and the job, done again or
resumed, comes to the result that it has without faults.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.slow import disk_jobs
from tests.slow.children import PAUSE, Forked, prepare
from tests.slow.jobs import Job, is_temporary, make_material, result_of
from tests.slow.rows import save_rows
from tests.slow.small_disk import PAGE, Disk

LONGEST = 120.0
"""Seconds after which a job counts as hanging."""

NAMES = (0, 1, 2, 4, 8)
"""How many files can still be made."""

MEANS = (
    "a result of before gone or changed, something half-written under a final name, a temporary file left, a "
    "traceback, an exit status other than 1, or no way on once there is room"
)
FAULTS = {
    "full": "A disk that is full after so many bytes (tmpfs): {}",
    "names": "A disk on which no more files can be made (tmpfs): {}",
    "read-only": "A disk that is mounted read-only (tmpfs): {}",
    "file size": "Files that may not grow beyond a limit (RLIMIT_FSIZE): {}",
}


@dataclass
class Tally:
    """What became of a kind of fault.

    Attributes:
        tried: How often it was.
        failed: How often the job could not be done because of it.
        losses: What went wrong, in words.
    """

    tried: int = 0
    failed: int = 0
    losses: list[str] = field(default_factory=list)


class Starver:
    """Does a job under faults.

    Args:
        job: The job.
        work: Where to work where no disk can be mounted, and where texts go.
        disk: The disk, or None.
        tallies: Where the outcome is added, by kind of fault.
    """

    def __init__(self, job: Job, work: Path, disk: Disk | None, tallies: dict[str, Tally]) -> None:
        self.job, self.work, self.disk, self.tallies = job, work, disk, tallies
        self.place = work / "place" if disk is None else disk.place
        self.said = ""
        self.peak = 0
        self.largest = 0
        self.wanted: dict[str, str] = {}

    def begin(self, files: int = 10_000) -> dict[str, str]:
        """Make the folder as it is before the job and return the digests of what is in it."""
        if self.disk is None:
            shutil.rmtree(self.place, ignore_errors=True)
        else:
            self.disk.mount(files)
        self.place.mkdir()
        self.job.begin(self.place)
        return self.job.finals(self.place)

    def run(self, limit: int | None = None, watch: Callable[[], None] | None = None) -> int:
        """Do the job in a process of its own and return its exit status.

        Args:
            limit: Most bytes of a file.
            watch: Called all the time.
        """
        said = self.work / "said"
        # Temporary files of the system lie on the same disk.
        child = Forked(lambda: disk_jobs.run(self.job, self.place), self.place, said, self.place, limit)
        began = time.monotonic()
        while child.poll() is None:
            if watch is not None:
                watch()
            if time.monotonic() - began > LONGEST:
                os.killpg(child.pid, signal.SIGKILL)
            time.sleep(PAUSE)
        self.said = said.read_text(encoding="utf-8", errors="replace")
        return child.returncode

    def reference(self) -> None:
        """Do the job without a fault; learn its result, the room it takes, and its largest file."""
        self.begin()
        before = self.disk.used() if self.disk is not None else 0

        def watch() -> None:
            if self.disk is not None:
                self.peak = max(self.peak, self.disk.used() - before)
            for place, _, files in os.walk(self.place):
                for name in files:
                    with contextlib.suppress(OSError):
                        self.largest = max(self.largest, os.lstat(os.path.join(place, name)).st_size)

        status = self.run(watch=watch)
        if status:
            raise RuntimeError(f"{self.job.name} fails without any fault: {self.said}")
        self.wanted = result_of(self.job, self.place)
        # A look now and then misses what is there for a moment: at least the results were written beside the old ones.
        sizes = [(self.place / name).stat().st_size for name in self.wanted if (self.place / name).is_file()]
        self.peak = max(self.peak, sum(size + PAGE for size in sizes))

    def faults(self, steps: int) -> Iterator[tuple[str, int]]:
        """Yield every fault: its kind and how much is left."""
        if self.disk is not None:
            for number in range(steps):
                yield "full", self.peak * number // (steps - 1) // PAGE * PAGE
            for number in NAMES:
                yield "names", number
            yield "read-only", 0
        # Not every file is as large as the largest: more of the limits are small.
        for number in range(steps):
            yield "file size", int(self.largest * (number / (steps - 1)) ** 2)

    def starve(self, kind: str, left: int) -> None:
        """Do the job under one fault, look, and do it again without."""
        tally, losses = self.tallies[kind], []
        before = self.begin(400 if kind == "names" else 10_000)
        limit = left if kind == "file size" else None
        if kind == "full":
            self.disk.leave(left)
        elif kind == "names":
            self.disk.leave_names(left)
        elif kind == "read-only":
            self.disk.remount("ro")
        status = self.run(limit)
        losses += self.look(before, status)
        if kind == "read-only":
            self.disk.remount("rw")
        elif self.disk is not None:
            self.disk.free()
        tally.tried += 1
        tally.failed += status == 1
        said, again = self.said, 0
        if status:
            again = self.run()
            if not self.job.complete(self.place, again, self.said):
                losses.append(f"with room again: exit status {again}: {self.said.strip()}")
        if not losses and result_of(self.job, self.place) != self.wanted:
            losses.append("another result in the end")
        for loss in losses:
            text = f"{self.job.name}, {kind} {left}: {loss} (said: {said.strip()[-600:]})"
            tally.losses.append(text)
            print(f"  LOST: {text}", flush=True)

    def look(self, before: dict[str, str], status: int) -> list[str]:
        """Return what is wrong after a run under a fault."""
        wrong = []
        if "Traceback" in self.said or "Exception ignored" in self.said:
            wrong.append("a traceback")
        if status not in (0, 1):
            wrong.append(f"exit status {status}")
        try:
            found = self.job.finals(self.place)
        except Exception as error:  # whatever it is, something cannot be read
            return [*wrong, f"a result cannot be read: {type(error).__name__}: {error}"]
        wrong += [f"{name} is gone" for name in before if name not in found]
        for name, digest in found.items():
            if digest not in (before.get(name), self.wanted.get(name)):
                wrong.append(f"{name} is neither the one of before nor the finished one")
        wrong += self.job.unreadable(self.place)
        for path in self.place.rglob("*"):
            relative = path.relative_to(self.place)
            if is_temporary(relative) and path.name != ".lock" and path.is_file():
                wrong.append(f"{relative} is left")
        return wrong


def save(names: list[str], tallies: dict[str, Tally], output: Path | None) -> None:
    """Write what became of the jobs that are done."""
    what = f"{len(names)} kinds of writing"
    rows = [
        {"fault": FAULTS[kind].format(what), "tried": tally.tried, "lost": len(tally.losses), "means": MEANS}
        for kind, tally in tallies.items()
        if tally.tried
    ]
    save_rows("full_disk", rows, output, jobs=names, kinds={kind: vars(tally) for kind, tally in tallies.items()})


def main() -> None:
    """Starve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=14, help="sizes of free room, and of largest files")
    parser.add_argument("--only", action="append", help="only the job of this name; may be given several times")
    parser.add_argument("--no-mount", action="store_true", help="limit the size of files only")
    parser.add_argument("--output", type=Path, help="another file for the result")
    asked = parser.parse_args()
    if asked.steps < 2:
        parser.error(f"--steps {asked.steps} given; 2 or more is accepted")
    work = Path(tempfile.mkdtemp(prefix="stylize-disk-"))
    material = make_material(work / "material")
    prepare()
    disk: Disk | None = Disk(work / "disk")
    try:
        if asked.no_mount:
            raise PermissionError("--no-mount was given")
        disk.mount(100)
    except (PermissionError, FileNotFoundError) as error:
        print(f"no small disk can be mounted ({error}): only the size of files is limited", flush=True)
        disk = None
    tallies = {kind: Tally() for kind in FAULTS}
    names = []
    try:
        for make in disk_jobs.WRITERS:
            job = make(material)
            if asked.only and job.name not in asked.only:
                continue
            starver = Starver(job, work, disk, tallies)
            starver.reference()
            faults = list(starver.faults(asked.steps))
            for kind, left in faults:
                starver.starve(kind, left)
            names.append(job.words)
            room = "" if disk is None else f"{starver.peak:,} bytes at its peak, "
            print(f"{job.name}: {room}largest file {starver.largest:,} bytes, {len(faults)} faults", flush=True)
            # After each, so that nothing is lost when this is stopped.
            if not asked.only or asked.output:
                save(names, tallies, asked.output)
    finally:
        if disk is not None:
            disk.unmount()
        shutil.rmtree(work, ignore_errors=True)
    for kind, tally in tallies.items():
        print(f"{kind}: {tally.tried} tried, {tally.failed} failed with status 1, {len(tally.losses)} lost")
    sys.exit(1 if any(tally.losses for tally in tallies.values()) else 0)


if __name__ == "__main__":
    main()
