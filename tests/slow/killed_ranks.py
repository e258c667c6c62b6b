"""Kill processes of a run under torchrun with SIGKILL at random moments, continue it, and see what is left.

    python -m tests.slow.killed_ranks --kills 10

Two runs of the same settings are killed and continued: one always with two processes, which must end in the same
weights, byte for byte, as a run that nobody killed; and one with another number of processes each time, which must have
the losses of that run within a tolerance. After every kill exactly one line must say what happened, and the checkpoint
must be one that can be read. Writes ``benchmarks/results/faults-ranks.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from benchmarks import record
from stylize.checkpoints import read_training_state
from stylize.errors import WeightsError
from stylize.run_folder import run_folder
from tests.torchrun import Torchrun, steps_in_log
from tests.training_helpers import logged_steps, logged_totals, make_material

BATCH = 6
"""Divisible by every number of processes here."""

NUMBERS = (3, 2)
"""How many processes continue a killed run, in turn."""

STEPS_AHEAD = 4
"""At most so many steps after those of the part before, a part is killed."""

TOLERANCE = 0.05
"""Of the loss of a step, beside that of a run that nobody killed. Rounding grows from step to step."""

SAID = "Error: another process of the run ended"


def settings(material: Path, steps: int) -> list[str]:
    """Return the arguments of ``stylize train``."""
    options = f"--image-size 64 --style-size 64 --batch-size {BATCH} --norm batch --sync-batch-norm --precision float32"
    options += f" --device cpu --checkpoint-interval 2 --validation-interval 5 --steps {steps}"
    return [str(material / "painting.png"), str(material / "photos"), *options.split()]


def killed(run: Torchrun, step: int, rank: int, wait: float) -> str | None:
    """Kill a process of a run some time after a step; return what was wrong afterwards, if anything was."""
    run.wait_for_step(step)
    time.sleep(wait)
    os.kill(run.worker(rank), signal.SIGKILL)
    status, _, lines = run.ended()
    errors = [line for line in lines if line.startswith("Error: ")]
    if status == 0:
        return "torchrun said that all is well"
    if len(errors) != 1 or not errors[0].startswith(SAID):
        return f"{len(errors)} lines: {errors}"
    try:
        read_training_state(run_folder(run.output) / "checkpoint.safetensors")
    except WeightsError as error:
        return str(error)
    return None


def digest(path: Path) -> str:
    """Return a digest of the tensors of a weights file; its header tells how long the training took."""
    tensors = load_file(str(path))
    parts = (name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def kill_and_continue(
    folder: Path, options: Sequence[str], kills: int, numbers: Sequence[int], draw: random.Random
) -> list[str]:
    """Kill a run so many times, continue it to its end, and return what was wrong."""
    folder.mkdir()
    wrong, done = [], 0
    for number in range(kills):
        processes = numbers[number % len(numbers)]
        run = Torchrun(folder, *options, *(["--resume"] if number else []), processes=processes)
        rank, step = draw.randrange(processes), done + draw.randint(1, STEPS_AHEAD)
        problem = killed(run, step, rank, draw.uniform(0, 0.3))
        print(f"{folder.name}: kill {number + 1}, process {rank + 1} of {processes}: {problem or 'ok'}", flush=True)
        wrong += [problem] if problem else []
        done = steps_in_log(run.output)
    run = Torchrun(folder, *options, "--resume", processes=numbers[kills % len(numbers)])
    status, _, errors = run.ended()
    return wrong + ([f"status {status}: {errors}"] if status else [])


def compared(whole: Path, other: Path, steps: int) -> str | None:
    """Return how the log of a killed run differs from that of one that nobody killed, if it does."""
    if logged_steps(other) != list(range(1, steps + 1)):
        return f"steps {logged_steps(other)} in the log"
    pairs = zip(logged_totals(whole).values(), logged_totals(other).values(), strict=True)
    furthest = max(abs(theirs / ours - 1) for ours, theirs in pairs)
    print(f"{other.parent.name}: losses differ by {furthest:.2%} at most", flush=True)
    return f"losses differ by {furthest:.1%}" if furthest > TOLERANCE else None


def main() -> None:
    """Kill, continue, compare and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=record.whole, default=10, help="of each of the two runs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the processes")
    asked = parser.parse_args()
    steps = (STEPS_AHEAD + 8) * asked.kills
    folder = Path(tempfile.mkdtemp(prefix="stylize-ranks-"))
    draw = random.Random(asked.seed)
    try:
        options = settings(make_material(folder / "material"), steps)
        (folder / "whole").mkdir()
        whole = Torchrun(folder / "whole", *options)
        if whole.ended()[0]:
            sys.exit("the run that nobody killed failed")
        same = kill_and_continue(folder / "same", options, asked.kills, (2,), draw)
        other = kill_and_continue(folder / "other", options, asked.kills, NUMBERS, draw)
        same_output, other_output = (folder / name / "run.safetensors" for name in ("same", "other"))
        try:
            if digest(same_output) != digest(whole.output):
                same.append("other weights")
        except (OSError, SafetensorError) as error:
            same.append(str(error))
        if other_output.exists() and (problem := compared(whole.output, other_output, steps)):
            other.append(problem)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    one_line = "no line or several that say what happened, a checkpoint that cannot be read"
    rows = [
        {
            "fault": "SIGKILL to one of two processes that train together, and continued by two",
            "tried": asked.kills,
            "lost": len(same),
            "means": f"{one_line}, or other weights at the end than without kills",
        },
        {
            "fault": "SIGKILL to one of two or three processes, and continued by three or two",
            "tried": asked.kills,
            "lost": len(other),
            "means": f"{one_line}, a step that is missing in the log, or a loss further than {TOLERANCE:.0%} from "
            "that of the step without kills",
        },
    ]
    facts = record.facts()
    document = {"command": f"python -m tests.slow.killed_ranks --kills {asked.kills}", "date": facts["date"][:10]}
    document |= {"commit": facts["commit"], "rows": rows, "wrong": same + other}
    record.write_text(record.RESULTS / "faults-ranks.json", json.dumps(document, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
