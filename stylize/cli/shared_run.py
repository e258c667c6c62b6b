"""One of the processes that train a run of a study together, started by :mod:`stylize.comparison.shared_runs`.

    python -m stylize.cli.shared_run ORDER

ORDER is a JSON file: the settings of the run, whether it is resumed, whether only deterministic algorithms are wanted,
and the file whose appearance means that the run is to be saved and stopped. Standard output is for whoever started it:
after every step a line of JSON from the first process, and one from the process that says why the run failed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stylize.cli.determinism import deterministically
from stylize.cli.stopping import stop_between_steps
from stylize.config import TrainConfig
from stylize.errors import AnotherProcessFailed, StylizeError
from stylize.launch import launched
from stylize.training import TrainProgress, train

SECONDS_TO_SAVE = 60.0
"""For so long a signal to end does not; torchrun kills a process that is still there after half a minute."""

LONGEST = 500
"""Characters of an error that nobody expected."""


def share_of_run(order: Path) -> int:
    """Do the share of this process, and return its exit status."""
    told = json.loads(order.read_text(encoding="utf-8"))
    stop, first = Path(told["stop"]), launched().first

    def on_step(progress: TrainProgress) -> None:
        if first:
            heard = _tell(asdict(progress) | {"validation": None, "sample": None})
            if stop.exists() or not heard:
                raise KeyboardInterrupt

    try:
        # SIGTERM comes when another of the processes has ended: by then this one may be saving.
        with deterministically(told["deterministic"]), stop_between_steps(SECONDS_TO_SAVE):
            train(TrainConfig.from_json(told["config"]), on_step, resume=told["resume"])
    except AnotherProcessFailed:
        return 1
    except StylizeError as error:
        _tell({"error": type(error).__name__, "message": str(error)})
        return 1
    except Exception as error:
        words = f"{type(error).__name__}: {' '.join(str(error).split())}"
        _tell({"error": "", "message": f"a process of the run failed: {words[:LONGEST]}"})
        raise
    return 0


def _tell(row: dict[str, Any]) -> bool:
    """Write a line to whoever started this process; return whether somebody is there."""
    try:
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(share_of_run(Path(sys.argv[1])))
