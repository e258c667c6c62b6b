"""Watch the memory of 2,000 photos in one command, and of 2,000 training steps.

    python -m tests.slow.memory

The resident memory of the process (VmRSS) is read from ``/proc`` (Linux) after every so many photos or steps. The
first quarter is the warm-up: libraries are loaded, the allocator has seen every size. After it, memory must not grow
by more than 5 percent.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import record
from stylize.checkpoints import replacing
from tests.slow.rows import save_rows

SIZES = ((96, 64), (128, 96), (80, 120))
"""Width and height of the photos."""

TRAINING = (
    "--image-size 32 --style-size 32 --batch-size 2 --style-layer relu1_1 --content-layer relu1_1 --device cpu "
    "--validation-interval 100 --checkpoint-interval 100"
).split()

GROWTH = 0.05
"""Most growth after the first quarter."""

CHART = record.RESULTS / "memory.png"


def resident_megabytes(process: int) -> float | None:
    """Return the resident memory of a process, or None for one that has ended."""
    try:
        with open(f"/proc/{process}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1000 * 1.024
    except OSError:
        return None
    return None


def painted_photos(running: subprocess.Popen[str], work: Path) -> Iterator[int]:
    """Yield how many photos are painted, whenever that changes."""
    count = 0
    for line in running.stdout:
        if line.startswith("["):
            count += 1
            yield count


def trained_steps(running: subprocess.Popen[str], work: Path) -> Iterator[int]:
    """Yield how many steps are done, whenever a look at the log shows more."""
    log, place, lines = work / "painting.run" / "log.jsonl", 0, 0
    while running.poll() is None:
        if log.exists():
            with open(log, "rb") as file:
                file.seek(place)
                more = file.read()
            place += len(more)
            if more:
                lines += more.count(b"\n")
                yield lines - 1  # the first holds the settings
        time.sleep(0.02)


def watch(command: list[str], work: Path, steps: Any, every: int) -> list[tuple[int, float]]:
    """Run a command and return its memory in MB after every so many steps.

    Raises:
        RuntimeError: The command fails.
    """
    environment = os.environ | {"PYTHONPATH": str(record.ROOT), "OMP_NUM_THREADS": "1"}
    found: list[tuple[int, float]] = []
    with open(work / "said", "w+", encoding="utf-8") as said:
        with subprocess.Popen(
            [sys.executable, "-m", "stylize", *command],
            cwd=work, env=environment, stdout=subprocess.PIPE, stderr=said, text=True,
        ) as running:  # fmt: skip
            following = every
            for done in steps(running, work):
                if done >= following:
                    memory = resident_megabytes(running.pid)
                    if memory is not None:
                        found.append((done, memory))
                    following = done + every
            running.communicate()
        if running.returncode:
            said.seek(0)
            raise RuntimeError(f"{command[0]} ended with {running.returncode}: {said.read()}")
    return found


def describe(samples: list[tuple[int, float]]) -> dict[str, float]:
    """Return what samples of (steps, MB) say after the first quarter.

    ``growth`` compares the median of the last tenth with that of the tenth that follows the first quarter.
    """
    last = samples[-1][0]
    later = [one for one in samples if one[0] >= last / 4]
    first = statistics.median(memory for step, memory in later if step <= 0.35 * last)
    final = statistics.median(memory for step, memory in later if step >= 0.9 * last)
    slope = statistics.linear_regression(*zip(*later, strict=True)).slope
    return {
        "steps": last,
        "samples": len(samples),
        "after_a_quarter_mb": round(first, 1),
        "at_the_end_mb": round(final, 1),
        "largest_mb": round(max(memory for _, memory in samples), 1),
        "mb_per_1000": round(1000 * slope, 2),
        "growth": round(final / first - 1, 4),
    }


def make_photos(folder: Path, count: int) -> None:
    """Write so many photos of the three sizes."""
    from tests.helpers import synthetic_image

    folder.mkdir(parents=True)
    masters = []
    for number, size in enumerate(SIZES):
        masters.append(folder.parent / f"master-{number}.jpg")
        synthetic_image(*size, seed=number).save(masters[-1], quality=90)
    for number in range(count):
        shutil.copy(masters[number % len(masters)], folder / f"{number:05d}.jpg")


def draw(measured: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Draw the memory of each command."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, samples in measured.items():
        axes.plot(*zip(*samples, strict=True), label=name, linewidth=1.2)
    axes.set(xlabel="photos, or steps", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def main() -> None:
    """Watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=record.whole, default=2000, help="photos, and steps")
    parser.add_argument("--every", type=record.whole, default=20, help="photos or steps between two looks")
    parser.add_argument("--output", type=Path, help="another file for the result; then no chart is drawn")
    asked = parser.parse_args()
    if asked.count < 40 * asked.every:
        parser.error("at least 40 looks are needed to say anything")
    from tests.training_helpers import make_material

    work = Path(tempfile.mkdtemp(prefix="stylize-memory-"))
    make_photos(work / "photos", asked.count)
    make_material(work / "material")
    train = ["train", str(work / "material" / "painting.png"), str(work / "material" / "photos"), *TRAINING]
    commands = {
        "photos": (["apply", "photos", "-o", "painted", "--device", "cpu"], painted_photos),
        "training steps": ([*train, "--steps", str(asked.count), "-o", "painting.safetensors"], trained_steps),
    }
    measured, rows, details = {}, [], {}
    for name, (command, steps) in commands.items():
        samples = watch(command, work, steps, asked.every)
        known = describe(samples)
        measured[name], details[name] = samples, {**known, "memory": [[step, round(mb, 1)] for step, mb in samples]}
        rows.append(
            {
                "fault": f"{asked.count:,} {name} in one `stylize {command[0]}`, its memory watched",
                "tried": asked.count,
                "lost": int(known["growth"] > GROWTH),
                "means": f"resident memory that grows by more than {100 * GROWTH:g} % after the first quarter; it was "
                f"{known['after_a_quarter_mb']:.0f} MB then and {known['at_the_end_mb']:.0f} MB at the end, "
                f"{known['mb_per_1000']:+.2f} MB per 1,000, at most {known['largest_mb']:.0f} MB",
            }
        )
        print(f"{name}: {known}", flush=True)
    shutil.rmtree(work)
    if asked.output is None:
        draw(measured, CHART)
    print(f"wrote {save_rows('memory', rows, asked.output, measured=details)}")
    sys.exit(1 if any(row["lost"] for row in rows) else 0)


if __name__ == "__main__":
    main()
