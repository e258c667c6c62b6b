"""Set the clock of the commands wrong, and see that they come to the same results.

    python -m tests.slow.clock

Every job is killed somewhere in the middle at the true time, and then goes on in a process whose clock is a year
behind, a year ahead, or jumps a year back and forth again and again; the times of all files it finds are a year off as
well. The result must be that of a run with a good clock.

The clock is that of one process alone: a small library, made by the C compiler ``cc``, stands before the functions of
the system that tell the time of day (LD_PRELOAD; Linux). What counts from the start of the machine is left alone, as it
is when somebody sets a clock.
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
from pathlib import Path

from tests.slow.jobs import Folder, Frames, Study, Train, Video, make_material, result_of
from tests.slow.kills import Killer, Moment, differences
from tests.slow.rows import save_rows

JOBS = (Train, Video, Frames, Folder, Study)
"""The jobs, the shortest ones first."""

YEAR = 365 * 24 * 3600

CLOCKS = {"a year behind": (-YEAR, 0), "a year ahead": (YEAR, 0), "jumping by two years": (-YEAR, 40)}
"""Seconds that are added to the time of day, and after how many looks at it the sign changes; 0 is never."""

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long wrong(void) {
    static long calls;
    const char *by = getenv("CLOCK_WRONG_BY"), *every = getenv("CLOCK_TURNS_AFTER");
    long seconds = by ? atol(by) : 0, turns = every ? atol(every) : 0;
    return turns && (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) / turns) % 2 ? -seconds : seconds;
}

int clock_gettime(clockid_t id, struct timespec *told) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, told);
    if (!status && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) told->tv_sec += wrong();
    return status;
}

int gettimeofday(struct timeval *restrict told, void *restrict zone) {
    struct timespec now;
    int status = clock_gettime(CLOCK_REALTIME, &now);
    if (!status) { told->tv_sec = now.tv_sec; told->tv_usec = now.tv_nsec / 1000; }
    return status;
}

time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}
"""

MEANS = "another result than with a good clock, an error, or a run that hangs"


def make_library(folder: Path) -> Path:
    """Compile what stands before the clock, and return it.

    Raises:
        RuntimeError: There is no compiler, or the clock does not obey.
    """
    if sys.platform != "linux" or shutil.which("cc") is None:
        raise RuntimeError("this needs Linux and a C compiler called cc")
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    told = subprocess.run(
        [sys.executable, "-c", "import datetime, time; print(time.time(), datetime.datetime.now().timestamp())"],
        env=os.environ | environment(library, -YEAR, 0),
        capture_output=True,
        text=True,
        check=True,
    )
    if not all(abs(float(one) + YEAR - time.time()) < 60 for one in told.stdout.split()):
        raise RuntimeError(f"the clock does not obey: {told.stdout}")
    return library


def environment(library: Path, by: int, turns: int) -> dict[str, str]:
    """Return the environment of a process with a wrong clock."""
    return {"LD_PRELOAD": str(library), "CLOCK_WRONG_BY": str(by), "CLOCK_TURNS_AFTER": str(turns)}


def age(folder: Path, by: float) -> None:
    """Let all files below a folder be changed so many seconds from now."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() + by,) * 2)


def main() -> None:
    """Set clocks wrong."""
    names = [job.name for job in JOBS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=names, action="append", help="only this job; may be given several times")
    parser.add_argument("--output", type=Path, help="another file for the result")
    asked = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="stylize-clock-"))
    try:
        library = make_library(work)
    except RuntimeError as error:
        sys.exit(str(error))
    material = make_material(work / "material")
    tried, losses, done = dict.fromkeys(CLOCKS, 0), {name: [] for name in CLOCKS}, []
    for kind in JOBS:
        if asked.only and kind.name not in asked.only:
            continue
        killer = Killer(kind(material), work / kind.name, random.Random(0))
        killer.work.mkdir(parents=True)
        killer.reference()
        for number, (name, (by, turns)) in enumerate(CLOCKS.items()):
            folder = killer.new_folder(f"clock-{number}")
            # Later where it is resumed for certain: something is finished then.
            status = killer.run(folder, Moment("time", 0.75 * killer.tally.seconds["fresh"]))
            found = killer.check(folder) if status == -signal.SIGKILL else []
            age(folder, -by)  # as made by a good clock, seen with a wrong one
            killer.more = environment(library, by, turns)
            status = killer.run(folder, None)
            killer.more = {}
            tried[name] += 1
            if "Traceback" in killer.said or not killer.job.complete(folder, status, killer.said):
                found.append(f"exit status {status}: {killer.said}")
            elif (result := result_of(killer.job, folder)) != killer.wanted:
                found.append(f"another result: {differences(killer.wanted, result)}")
            losses[name] += [f"{kind.name}: {one}" for one in found]
            print(f"{kind.name}, {name}: {'; '.join(found) or 'the same result'}", flush=True)
        done.append(kind.words)
        if not asked.only or asked.output:  # after each, so that nothing is lost when this is stopped
            save(done, tried, losses, asked.output)
    if any(losses.values()):
        sys.exit(f"see {work}")
    shutil.rmtree(work)


def save(done: list[str], tried: dict[str, int], losses: dict[str, list[str]], output: Path | None) -> None:
    """Write what became of the jobs that are done."""
    rows = [
        {
            "fault": f"A clock that is {name} when killed work goes on: {', '.join(done)}",
            "tried": tried[name],
            "lost": len(losses[name]),
            "means": MEANS,
        }
        for name in CLOCKS
    ]
    save_rows("clock", rows, output, losses=losses)


if __name__ == "__main__":
    main()
