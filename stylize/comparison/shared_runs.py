"""A run of a study that several processes train together, and which this one starts, follows and stops.

What the processes do is what they do under torchrun (:mod:`stylize.training`); torchrun starts them here too. The first
one says after every step where it stands, a line of JSON each. Nobody who is told means that the one who started them
is gone: they save and stop. The program of each is :mod:`stylize.cli.shared_run`.

Reference: the documentation of ``torch.distributed.run``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from stylize import errors
from stylize.config import TrainConfig
from stylize.errors import ProcessLost, StylizeError
from stylize.launch import ADDRESS, COUNTS
from stylize.training import TrainProgress

PROGRAM = "stylize.cli.shared_run"
"""Started by name: no module of the library imports the command line."""

OF_TORCHRUN = ("PET_", "TORCHELASTIC_")
"""What the names of variables begin with that torchrun reads, and that it sets for its processes."""

LAST_WORDS = 300
"""Characters of what an unknown failure said that are passed on."""


def train_together(
    config: TrainConfig,
    processes: int,
    on_step: Callable[[TrainProgress], None] | None = None,
    *,
    resume: bool = False,
) -> None:
    """Train a network by several processes, each with its share of every batch.

    Args:
        config: What to train.
        processes: How many; they share the threads that this one has.
        on_step: Called after every step, with everything but validations and samples, which stand in the log of the
            run. When it raises KeyboardInterrupt the run is saved and stops.
        resume: Continue the unfinished run of the same output.

    Raises:
        TrainingInterrupted: ``on_step`` raised KeyboardInterrupt; the run was saved.
        StylizeError: What one of the processes raised, as :func:`stylize.training.train`.
    """
    with tempfile.TemporaryDirectory(prefix="stylize-shared-") as folder:
        order, stop = Path(folder) / "order.json", Path(folder) / "stop"
        deterministic = torch.are_deterministic_algorithms_enabled()
        told = {"config": config.to_json(), "resume": resume, "deterministic": deterministic, "stop": str(stop)}
        order.write_text(json.dumps(told), encoding="utf-8")
        with open(Path(folder) / "said.txt", "w+", encoding="utf-8", errors="replace") as said:
            with _started(order, processes, said) as process:
                failure = _followed(process, on_step or (lambda progress: None), stop)
            if failure is not None:
                raise _error(failure, config, processes)
            if process.returncode and not Path(str(config.output)).exists():
                said.seek(0)
                words = " ".join(said.read().split())[-LAST_WORDS:]
                raise StylizeError(f"{processes} processes could not train {config.output} together: {words}")


@contextmanager
def _started(order: Path, processes: int, said: Any) -> Iterator[subprocess.Popen[str]]:
    """Start the processes; they have ended when the block is left, whatever happened in it."""
    package = str(Path(errors.__file__).resolve().parent.parent)
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    threads = str(max(1, torch.get_num_threads() // processes))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    process = subprocess.Popen(
        [*command, "-m", PROGRAM, str(order)],
        env=_inherited() | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": threads},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        encoding="utf-8",
        errors="replace",
        # Ctrl-C on the terminal is for this process, which stops them between two steps.
        start_new_session=True,
    )
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            # Ended at once: torchrun passes it on to the others, which keep their last checkpoint.
            process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _inherited() -> dict[str, str]:
    """Return the environment of this process, without what would be told to torchrun or to processes of another one."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OF_TORCHRUN) and name not in (*ADDRESS, *COUNTS, "WORLD_SIZE")
    }


def _followed(
    process: subprocess.Popen[str], on_step: Callable[[TrainProgress], None], stop: Path
) -> dict[str, str] | None:
    """Report every step; return what went wrong in one of the processes, or None."""
    failure = None
    for line in process.stdout or ():
        try:
            row = json.loads(line)
        except ValueError:  # something that a library printed
            continue
        if not isinstance(row, dict):
            continue
        if "error" in row:
            # The first one knows best; only a lost connection has a reason that comes later.
            if failure is None or failure["error"] == ProcessLost.__name__:
                failure = row
        elif "step" in row and not stop.exists():
            try:
                on_step(TrainProgress(**row))
            except KeyboardInterrupt:
                stop.touch()
    return failure


def _error(failure: dict[str, str], config: TrainConfig, processes: int) -> StylizeError:
    """Return the error that one of the processes raised."""
    if failure["error"] == ProcessLost.__name__:
        return ProcessLost(
            f"one of the {processes} processes that trained {config.output} together ended or hung; the last "
            "checkpoint is kept, and the same command continues"
        )
    kind = getattr(errors, failure["error"] or "StylizeError", None)
    known = isinstance(kind, type) and issubclass(kind, StylizeError)
    return (kind if known else StylizeError)(failure["message"])
