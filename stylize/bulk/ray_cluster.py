"""Workers of a Ray cluster, of this machine or of many, through Ray Data: an actor pool with one network per actor.

Only the names of photos go to the workers, and lines of the manifest come back. Ray Data gives a worker no more tasks
than it can take next, starts another worker for one that died, and gives it the tasks of that one again.

Reference: Ray Data, "Stateful transforms"; ``ray.data.Dataset.map_batches`` with a class.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import pickle
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from pathlib import Path
from types import TracebackType
from typing import Any

from stylize import errors
from stylize.bulk.jobs import Job
from stylize.bulk.manifest import Row
from stylize.bulk.settings import Settings
from stylize.bulk.storage import Storage
from stylize.errors import DeviceError, InputError, StylizeError

PACKAGES = ("ray", "pyarrow", "fsspec")
"""What ``stylize[ray]`` brings."""

OBJECT_STORE_BYTES = 100 * 2**20
"""Shared memory of a Ray of this machine: only names and lines go through it."""

CONNECT_SECONDS = 5.0
"""How long the machine of a cluster may take to answer."""

TASK_RETRIES = 2
"""How often Ray gives a task to another worker after one that died."""


def check_ray() -> None:
    """Check that Ray is installed.

    Raises:
        InputError: It is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"a Ray cluster needs {', '.join(missing)}; pip install 'stylize[ray]'")


class PaintBatch:
    """What Ray makes of each actor: a worker that paints batches.

    Args:
        settings: What to paint with.
        files: The files of the style.
        output: Folder of the results.
        prepare: Called first in the process of the worker.
    """

    def __init__(
        self, settings: Settings, files: dict[Path, bytes], output: Storage, prepare: Callable[[], object] | None
    ) -> None:
        import ray

        from stylize.bulk.worker import Worker

        # Ray gives the tasks of a worker that died to the one that took its place.
        self.replaces_another = ray.get_runtime_context().was_current_actor_reconstructed
        if prepare is not None:
            prepare()
        self.worker = Worker(settings, files, output)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        jobs = [pickle.loads(bytes(job)) for job in batch["job"]]
        if self.replaces_another:
            jobs = [job.again for job in jobs]
        return {"row": [json.dumps(row) for row in self.worker.paint_all(jobs)]}


class RayCluster:
    """Workers on a Ray cluster, while the block runs.

    Args:
        settings: What to paint with.
        files: The files of the style.
        output: Folder of the results.
        workers: How many; None takes one for each GPU where networks run on GPUs, else one for each core.
        address: ``HOST:PORT`` of a cluster, ``ray://HOST:PORT``, or ``auto``; None starts a Ray of this machine.
        prepare: Called first in the process of each worker.

    Raises:
        InputError: Ray is not installed.
    """

    def __init__(
        self,
        settings: Settings,
        files: dict[Path, bytes],
        output: Storage,
        *,
        workers: int | None = None,
        address: str | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        check_ray()
        self.settings, self.files, self.output, self.prepare = settings, files, output, prepare
        self.asked, self.address = workers, address
        self.workers = workers or 1
        self._resources: dict[str, float] = {}
        self._started = False

    def __enter__(self) -> RayCluster:
        """Start Ray, or connect to it.

        Raises:
            InputError: There is no cluster at the address, or it is too small.
            DeviceError: It has no GPU, and one was asked for.
            StylizeError: Ray does not start.
        """
        import ray

        if not ray.is_initialized():
            self._connect()
            self._started = True
        have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores, gpus = ([int(resources.get(kind, 0)) for resources in have] for kind in ("CPU", "GPU"))
        on_gpu = self.settings.device.startswith("cuda") or (self.settings.device == "auto" and sum(gpus) > 0)
        try:
            self._share(gpus if on_gpu else cores, "GPU" if on_gpu else "core")
        except InputError:
            self.__exit__(None, None, None)
            raise
        return self

    def _share(self, nodes: Sequence[int], kind: str) -> None:
        """Decide how many workers there are, and what each has: a GPU, or cores.

        Args:
            nodes: How many GPUs or cores each machine has.
            kind: ``GPU`` or ``core``.

        Raises:
            InputError: There are fewer than workers.
        """
        most = sum(nodes)
        where = f"the cluster at '{self.address}'" if self.address else "this machine"
        if most < 1:
            raise DeviceError(f"{where} has no {kind} for a worker; give another --device or --ray-address")
        self.workers = self.asked or most
        if self.workers > most:
            raise InputError(
                f"{self.workers} workers given, and {where} has {most} {kind}{'s' * (most != 1)}; give --workers up to "
                "that"
            )
        each = 1 if kind == "GPU" else cores_each(nodes, self.workers)
        # A worker that has several cores to itself computes with all of them.
        self._resources = {"num_cpus": 1, "num_gpus": 1} if kind == "GPU" else {"num_cpus": each}
        together = min(self.workers, max(node // each for node in nodes))
        self.settings = replace(self.settings, workers=together)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        if self._started:
            ray.shutdown()
            self._started = False

    def _connect(self) -> None:
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            cores = max(os.cpu_count() or 1, self.asked or 1)
            quiet |= {"num_cpus": cores, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
        else:
            check_address(self.address)
        try:
            with _silent_errors():
                ray.init(address=self.address or "local", **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            what = f"no Ray cluster answers at '{self.address}'" if self.address else "Ray does not start"
            raise (InputError if self.address else StylizeError)(f"{what}: {_line(error)}") from error

    def paint(self, jobs: Sequence[Job], batch: int) -> Iterator[Sequence[Row]]:
        """Give jobs to the workers, ``batch`` at a time, and yield lines of the manifest as they come.

        Raises:
            StylizeError: The workers cannot start.
        """
        import pyarrow
        import ray.data
        from ray.exceptions import RayError

        _keep_quiet("ray.data")
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # A task whose workers died is left out, and its photos are given out again one by one.
        context.max_errored_blocks = -1
        packed = [pickle.dumps(job) for job in jobs]
        tasks = [pyarrow.table({"job": packed[start : start + batch]}) for start in range(0, len(packed), batch)]
        photos = ray.data.from_arrow(tasks)
        with warnings.catch_warnings():
            # Ray 2.60 warns that Ray 2.64 will take no number of retries; from then on it always tries again.
            warnings.simplefilter("ignore")
            takes_more = any(one.kind is one.VAR_KEYWORD for one in signature(photos.map_batches).parameters.values())
            painted = photos.map_batches(
                PaintBatch,
                fn_constructor_args=(self.settings, self.files, self.output, self.prepare),
                compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(tasks))),
                batch_size=batch,
                batch_format="numpy",
                **self._resources,
                **({"max_task_retries": TASK_RETRIES} if takes_more else {}),
            )
        try:
            for rows in painted.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
                yield [json.loads(row) for row in rows.get("row", ())]
        except RayError as error:
            raise _of_workers(_line(error)) from error


def cores_each(nodes: Sequence[int], workers: int) -> int:
    """Return the most cores that so many workers can each have, on machines with so many cores.

    A worker has its cores on one machine. There are at least as many cores as workers.
    """
    return next(cores for cores in range(max(nodes), 0, -1) if sum(node // cores for node in nodes) >= workers)


def check_address(address: str) -> None:
    """Check that something answers at the address of a cluster: Ray itself would try for a minute.

    Raises:
        InputError: It is no address, or nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise InputError(f"--ray-address '{address}' given; HOST:PORT, ray://HOST:PORT or auto is accepted")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(f"no Ray cluster answers at '{address}': {error.strerror or error}") from error


@contextmanager
def _silent_errors() -> Iterator[None]:
    """Keep what libraries write to standard error past Python off it: Ray says there that it was asked to be quiet."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _keep_quiet(name: str) -> None:
    """Keep a logger of Ray off the terminal; its files have everything."""
    for handler in logging.getLogger(name).handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)


def _of_workers(line: str) -> StylizeError:
    """Return the error to raise when the workers do not start: their own, where it is one of ours."""
    kind, _, text = line.partition(": ")
    own = getattr(errors, kind.rpartition(".")[2], None) if kind.startswith(f"{errors.__name__}.") else None
    if isinstance(own, type) and issubclass(own, StylizeError):
        return own(text)
    return StylizeError(f"the workers of the Ray cluster do not work: {line}")


def _line(error: BaseException) -> str:
    """Return what an error of Ray says, in one line: the last of its text, which is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
