"""Kill the commands at random moments, let them go on, and compare the result with that of a run nobody killed.

    python -m tests.slow.kills --kills 60 --seed 0

Whole processes are killed with SIGKILL, with everything they started. Some are fresh ones, whose life begins with the
start of Python and seconds of imports; most are forked from one that has imported everything, whose life is the work
itself (``--fresh`` says how many). A moment is either a time, anywhere from the
start of Python to the very end, or right after the n-th change in the folder of the job, which is when files are
written. After every kill: what carries the name of a result is the older one or the finished one, whole; what carries
a final name in the folder of unfinished work can be read; everything else has a temporary name. At the end: the result
is that of a run without kills. Compared are the bytes of pictures, the tensors and metadata of weights files, the rows
of logs and the numbers of reports without durations, speeds and times of day, and the frames, times and sound of clips.

A failure can be repeated with the seed and ``--only``, as nearly as the machine allows: the moments are the same.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Union

from benchmarks import record
from tests.slow import disk_jobs
from tests.slow.children import PAUSE, Forked, prepare
from tests.slow.jobs import KILLED, Job, is_temporary, make_material, result_of
from tests.slow.rows import save_rows

MEANS = (
    "the result of before, or the finished one, gone or damaged after a kill; something half-written under a final "
    "name; another result than that of a run that nobody killed"
)

LONGEST = 300.0
"""Seconds after which a run that nobody kills counts as hanging."""

MOST_STARTS = 200
"""Starts of one job after which it counts as never ending."""


@dataclass(frozen=True)
class Moment:
    """When a process is killed.

    Attributes:
        kind: ``time`` or ``change``.
        value: Seconds after the start, or which change in the folder.
        pause: Seconds between the change and the kill.
        process: ``fresh`` or ``forked``.
    """

    kind: str
    value: float
    pause: float = 0.0
    process: str = "fresh"

    def __str__(self) -> str:
        if self.kind == "time":
            return f"{self.process}, {self.value:.3f} s after its start"
        return f"{self.process}, {1000 * self.pause:.1f} ms after change {self.value:.0f} in its folder"


@dataclass
class Tally:
    """What became of a job.

    Attributes:
        kills: How many.
        trials: How many times the job was begun and brought to its end.
        losses: What went wrong, in words.
        leftovers: Files of temporary names that lay there at the ends.
        seconds: Of the run that nobody killed, in a fresh and a forked process.
        changes: In the folder during that run.
        kinds: How many kills were of fresh and of forked processes.
    """

    kills: int = 0
    trials: int = 0
    losses: list[str] = field(default_factory=list)
    leftovers: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=lambda: {"fresh": 0, "forked": 0})


def state_of(folder: Path) -> dict[str, int]:
    """Return the sizes of all files below a folder, by name."""
    found: dict[str, int] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            try:
                found[path] = os.lstat(path).st_size
            except OSError:
                continue  # it is gone already
    return found


def changes(folder: Path, running: Running) -> Iterator[int]:
    """Count the changes in a folder until a process ends."""
    known, count = state_of(folder), 0
    while running.poll() is None:
        seen = state_of(folder)
        if seen != known:
            known, count = seen, count + 1
            yield count
        time.sleep(PAUSE)


Running = Union[Forked, "subprocess.Popen[bytes]"]


class Killer:
    """Starts a job again and again until it is done.

    Args:
        job: The job.
        work: A folder for it.
        random: Where moments come from.
        fresh: Share of the processes that are fresh ones.
    """

    def __init__(self, job: Job, work: Path, random: random.Random, fresh: float = 1.0) -> None:
        self.job, self.work, self.random, self.fresh = job, work, random, fresh
        self.said = ""
        self.more: dict[str, str] = {}  # environment of the processes
        self.tally = Tally()
        self.before: dict[str, str] = {}
        self.wanted: dict[str, str] = {}

    def start(self, folder: Path, kind: str = "fresh") -> Running:
        """Start the command in a process group of its own."""
        if kind == "forked":
            work = partial(disk_jobs.run, self.job, folder)
            return Forked(work, folder, self.work / "said", self.spare)
        environment = os.environ | {"PYTHONPATH": str(record.ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(self.spare)}
        environment |= self.more
        command = [sys.executable, "-m", self.job.module, *self.job.arguments(folder)]
        with open(self.work / "said", "wb") as said:
            return subprocess.Popen(
                command, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
            )

    @property
    def spare(self) -> Path:
        """The folder for temporary files of the system."""
        folder = self.work / "spare"
        folder.mkdir(exist_ok=True)
        return folder

    def new_folder(self, name: str) -> Path:
        """Make a folder as it is before the job."""
        folder = self.work / name
        folder.mkdir(parents=True)
        self.job.begin(folder)
        return folder

    def reference(self) -> None:
        """Do the job without a kill in each kind of process that is used; the result must be the same."""
        for kind in [*(["fresh"] if self.fresh else []), *(["forked"] if self.fresh < 1 else [])]:
            folder = self.new_folder(f"reference-{kind}")
            self.before = self.job.finals(folder)
            began = time.perf_counter()
            running, self.tally.changes[kind] = self.start(folder, kind), 0
            for count in changes(folder, running):
                self.tally.changes[kind] = count
                if time.perf_counter() - began > LONGEST:
                    self.kill(running)
            self.tally.seconds[kind] = round(time.perf_counter() - began, 3)
            said = (self.work / "said").read_text(encoding="utf-8", errors="replace")
            if running.returncode:
                raise RuntimeError(f"{self.job.name} fails without any kill: {said}")
            result = result_of(self.job, folder)
            if self.wanted and result != self.wanted:
                raise RuntimeError(f"{self.job.name} has two results: {differences(self.wanted, result)}")
            self.wanted = result

    def kill(self, running: Running) -> None:
        """Kill a process and all it started."""
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()

    def moment(self) -> Moment:
        """Return a moment: half of them anywhere in the life of a process, half of them when something is written."""
        process = "fresh" if self.random.random() < self.fresh else "forked"
        if self.random.random() < 0.5 or not self.tally.changes[process]:
            return Moment("time", self.random.uniform(0, 1.02 * self.tally.seconds[process]), process=process)
        pause = self.random.choice((0, 0, 0.001, 0.004))
        return Moment("change", self.random.randint(1, self.tally.changes[process]), pause, process)

    def run(self, folder: Path, moment: Moment | None) -> int:
        """Start the job and kill it at a moment; return its exit status, negative after a kill."""
        running = self.start(folder, "fresh" if moment is None and self.fresh == 1 else
                             "forked" if moment is None else moment.process)  # fmt: skip
        try:
            if moment is None or moment.kind == "time":
                running.wait(timeout=LONGEST if moment is None else moment.value)
            else:
                for counted in changes(folder, running):
                    if counted >= moment.value:
                        time.sleep(moment.pause)
                        break
        except subprocess.TimeoutExpired:
            if moment is None:
                self.tally.losses.append(f"it hangs: {folder.name}")
        if running.poll() is None:
            self.kill(running)
        self.said = (self.work / "said").read_text(encoding="utf-8", errors="replace")
        return running.returncode

    def check(self, folder: Path) -> list[str]:
        """Return what is wrong in the folder after a kill."""
        try:
            found = self.job.finals(folder)
        except Exception as error:  # whatever it is, something cannot be read
            return [f"a result cannot be read: {type(error).__name__}: {error}"]
        wrong = [f"{name} is gone" for name in self.before if name not in found]
        for name, digest in found.items():
            if digest not in (self.before.get(name), self.wanted.get(name)):
                wrong.append(f"{name} is neither the one of before nor the finished one")
        return wrong + list(self.job.unreadable(folder))

    def trial(self, number: int, most: int) -> None:
        """Bring the job to its end through kills."""
        folder = self.new_folder(f"trial-{number}")
        told, killed, losses = [], 0, len(self.tally.losses)
        for _ in range(MOST_STARTS):
            moment = self.moment() if self.tally.kills < most else None
            status = self.run(folder, moment)
            if status == -signal.SIGKILL:
                killed += 1
                self.tally.kills += 1
                self.tally.kinds[moment.process] += 1
                told.append(str(moment))
                self.tally.losses += [f"trial {number}, killed {moment}: {what}" for what in self.check(folder)]
            elif "Traceback" in self.said or not self.job.complete(folder, status, self.said):
                self.tally.losses.append(f"trial {number}, after kills {told}: exit status {status}: {self.said}")
                break
            else:
                break
        else:
            self.tally.losses.append(f"trial {number} never ends: {told}")
        if len(self.tally.losses) == losses:
            result = result_of(self.job, folder)
            if result != self.wanted:
                what = differences(self.wanted, result)
                self.tally.losses.append(f"trial {number}, after kills {told}: another result: {what}")
        self.tally.trials += 1
        left = [path for path in folder.rglob("*") if path.is_file() and is_temporary(path.relative_to(folder))]
        self.tally.leftovers += sum(path.name != ".lock" for path in left)
        print(f"  trial {number}: {killed} kills ({'; '.join(told) or 'none'})", flush=True)
        if len(self.tally.losses) == losses:
            shutil.rmtree(folder)
        else:
            print("\n".join(f"  LOST: {what}" for what in self.tally.losses[losses:]), f"  see {folder}", flush=True)


def differences(wanted: dict[str, str], found: dict[str, str]) -> str:
    """Return what differs between two results, in words."""
    return ", ".join(sorted(name for name in {**wanted, **found} if wanted.get(name) != found.get(name)))


def main() -> None:
    """Kill."""
    names = [job.name for job in KILLED]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=record.whole, default=60, help="kills of all jobs together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--fresh", type=float, default=0.25, help="share of the processes that are fresh ones, 0 to 1")
    parser.add_argument("--only", choices=names, action="append", help="only this job; may be given several times")
    parser.add_argument("--folder", type=Path, help="where to work; what was lost stays there")
    parser.add_argument("--output", type=Path, help="another file for the result")
    asked = parser.parse_args()
    work = asked.folder or Path(tempfile.mkdtemp(prefix="stylize-kills-"))
    material = make_material(work / "material")
    chosen = [job for job in KILLED if job.name in (asked.only or names)]
    rows, details = [], {}
    prepare()
    for number, kind in enumerate(chosen):
        killer = Killer(kind(material), work / kind.name, random.Random(f"{asked.seed} {kind.name}"), asked.fresh)
        killer.work.mkdir(parents=True)
        tally, most = killer.tally, (asked.kills + len(chosen) - 1 - number) // len(chosen)
        killer.reference()
        print(f"{kind.name}: {tally.seconds} s and {tally.changes} changes without a kill", flush=True)
        while tally.kills < most:
            killer.trial(tally.trials, most)
        rows.append(
            {
                "fault": f"kill -9 at a random moment: {kind.words}, {kind.again}",
                "tried": tally.kills,
                "lost": len(tally.losses),
                "means": MEANS,
            }
        )
        details[kind.name] = vars(tally)
        print(f"{kind.name}: {tally.kills} kills, {tally.trials} ends, {len(tally.losses)} lost, "
              f"{tally.leftovers} temporary files left", flush=True)  # fmt: skip
    if not asked.only or asked.output:
        print(f"wrote {save_rows('kills', rows, asked.output, seed=asked.seed, jobs=details)}")
    lost = sum(row["lost"] for row in rows)
    if not lost:
        shutil.rmtree(work)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
