"""A command with all its processes, which are found by their session, whatever became of their parents.

Ray starts processes in groups of their own, and renames them; they stay in the session of the command. They are found
through ``/proc``; where there is none (not Linux), only the process group of the command is known.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from benchmarks import record

PROCESSES = Path("/proc")


class SessionRun:
    """A command on this checkout in a session of its own, with one thread for each process that paints.

    At the end of the block every process of it is killed that is still there.

    Args:
        arguments: The command line.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {"PYTHONPATH": str(record.ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            list(arguments),
            env=environment,
            cwd=record.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> SessionRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_group()
        # One that is killed may just have started another.
        while left := self.left():
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)

    def kill_group(self) -> None:
        """Kill the command and its process group (SIGKILL), and nothing else that it started."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()

    def left(self) -> list[int]:
        """Return the processes of the session that run. Its number is not given to another while there is one."""
        found = []
        for folder in PROCESSES.glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                # proc(5): number (name) state parent group session ...; the name may hold anything.
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state not in "ZX":
                    found.append(int(folder.name))
        return found
