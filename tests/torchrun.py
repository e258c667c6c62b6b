"""``torchrun -m stylize train`` as a process of its own, whose processes can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from stylize.run_folder import run_folder
from tests.helpers import ROOT
from tests.training_helpers import TORCHRUN

SECONDS = 120
"""After which a run counts as hung."""


class Torchrun:
    """A run that several processes begin together.

    Args:
        folder: Where the weights are written, and what torchrun says.
        arguments: Of ``stylize train``.
        processes: How many.
    """

    def __init__(self, folder: Path, *arguments: object, processes: int = 2) -> None:
        self.output = folder / "run.safetensors"
        self.streams = [open(folder / f"{name}.txt", "w+") for name in ("stdout", "stderr")]  # noqa: SIM115
        environment = {name: value for name, value in os.environ.items() if name not in TORCHRUN}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *"-m torch.distributed.run --standalone --nproc-per-node".split(), str(processes)]
        self.process = subprocess.Popen(
            [*command, "-m", "stylize", "train", *map(str, arguments), "-o", str(self.output)],
            cwd=ROOT,
            env=environment,
            stdout=self.streams[0],
            stderr=self.streams[1],
        )

    def wait_for_step(self, step: int) -> None:
        """Wait until a step, or a later one, stands in the log of the run."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            if steps_in_log(self.output) >= step:
                return
            time.sleep(0.01)
        raise AssertionError(f"no step {step}: {self.ended()}")

    def worker(self, rank: int) -> int:
        """Return the number of the process of that rank."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if f"\0RANK={rank}\0" in "\0" + Path(f"/proc/{child}/environ").read_text():
                return int(child)
        raise AssertionError(f"torchrun has no process {rank}")

    def ended(self) -> tuple[int, str, list[str]]:
        """Wait for the end and return the status, what was said, and the lines on standard error that are ours."""
        try:
            status = self.process.wait(timeout=SECONDS)
        finally:
            self.process.kill()
        texts = []
        for stream in self.streams:
            stream.seek(0)
            texts.append(stream.read())
            stream.close()
        return status, texts[0], [line for line in texts[1].splitlines() if line.startswith(("Error: ", "step "))]


def steps_in_log(output: Path) -> int:
    """Return the last step in the log of a run."""
    log = run_folder(output) / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return max((int(line.split(",")[0].split(":")[1]) for line in lines if line.startswith('{"step": ')), default=0)
