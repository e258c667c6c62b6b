"""Commands in processes of their own: fresh ones, and ones that are forked from a process that has imported everything.

A forked one takes a fraction of a second where a fresh one takes seconds, nearly all of which are imports.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

LONGEST_TEXT = 2**20
"""Bytes that a forked process can say."""

PAUSE = 0.001
"""Seconds between two looks at a process."""


class Forked:
    """A process forked from this one, used as one of :class:`subprocess.Popen`.

    Args:
        work: What it does; ends with the exit status of the process.
        folder: Where it works.
        said: File for what it says.
        spare: Folder for the system's temporary files.
        limit: Most bytes of a file.
    """

    def __init__(
        self, work: Callable[[], None], folder: Path, said: Path, spare: Path, limit: int | None = None
    ) -> None:
        self.returncode: int | None = None
        self._said = said
        # A pipe, because a file could not be written where files may not grow.
        self._reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, LONGEST_TEXT)
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._reading)
            _do(work, folder, writing, spare, limit)
        os.close(writing)

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.returncode = os.waitstatus_to_exitcode(status)
                with open(self._reading, "rb") as file:
                    self._said.write_bytes(file.read())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It runs longer.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired("forked", timeout)
            time.sleep(PAUSE)
        return self.returncode


def _do(work: Callable[[], None], folder: Path, text: int, spare: Path, limit: int | None) -> None:
    """Be the forked process; never returns."""
    status = 99
    try:
        os.setsid()
        os.dup2(text, 1)
        os.dup2(text, 2)
        os.chdir(folder)
        os.environ["TMPDIR"] = tempfile.tempdir = str(spare)
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        work()
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def prepare() -> None:
    """Import what the commands need, once for all the processes that are forked from this one."""
    import av  # noqa: F401
    import onnxruntime  # noqa: F401
    import torch

    import stylize.cli.train_report
    import stylize.comparison.report_folder
    import stylize.comparison.study
    import stylize.engines.onnxruntime_engine
    import stylize.large_pictures
    import stylize.training
    import stylize.video.segments
    import stylize.web.painting  # noqa: F401

    torch.set_num_threads(1)  # threads do not outlive a fork
