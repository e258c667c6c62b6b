"""A bulk run: the work is given to a cluster, and what comes back is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from filelock import FileLock, Timeout

from stylize.bulk.jobs import Job, Work
from stylize.bulk.manifest import Manifest, Row
from stylize.bulk.storage import HOME, NEW, Storage
from stylize.errors import OutputError, RunInUse

SLICE = 10_000
"""Photos that are given to the cluster at a time; the manifest says of each beforehand that it is begun."""

BATCH = 8
"""Most photos of one task of a worker. What a killed worker had finished of them is found, and not painted again."""

TASKS_PER_WORKER = 4
"""A run of few photos is cut into at least so many tasks for each worker, so that all end at about the same time."""

RESULT = ("output", "output_size", "output_sha256", "input_sha256")
"""What a line says of a result."""

TRIES = 2
"""How often photos whose workers died are given out: first together, then one by one."""


class Cluster(Protocol):
    """What has workers."""

    workers: int

    def paint(self, jobs: Sequence[Job], batch: int) -> Iterator[Sequence[Row]]:
        """Give jobs to the workers, ``batch`` at a time, and yield lines of the manifest as they come.

        Jobs whose worker died, again and again, are left out.
        """


@dataclass
class Outcome:
    """What came out of a run.

    Attributes:
        done: Photos that were painted.
        kept: Photos whose results were there already.
        failed: Photos that could not be painted.
    """

    done: int = 0
    kept: int = 0
    failed: int = 0


@contextmanager
def owned(storage: Storage) -> Iterator[None]:
    """Own the folder of the results while the block runs. Behind a URL there is nothing that could be locked.

    Raises:
        RunInUse: Another run writes there.
        OutputError: The folder cannot be made.
    """
    if not storage.is_local:
        yield
        return
    path = storage.local_path(f"{HOME}/lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(blocking=False)
    except Timeout:  # an OSError itself
        raise RunInUse(f"another run paints into '{storage.root}'; wait for it, stop it, or give another -o") from None
    except OSError as error:
        raise OutputError(f"cannot write to '{storage.root}': {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def run(
    work: Work,
    manifest: Manifest,
    cluster: Cluster,
    outcome: Outcome,
    on_row: Callable[[Row], None] | None = None,
) -> None:
    """Do what there is to do, and write down what was done.

    When it is stopped (KeyboardInterrupt, or any error), what is done so far is written down first.

    Args:
        work: What there is to do.
        manifest: The list of what was done.
        cluster: What has workers.
        outcome: Counts what came out.
        on_row: Called after each photo with its line of the manifest.

    Raises:
        StylizeError: The workers cannot start, or the manifest cannot be written.
    """
    before: dict[str, Row] = {}

    def take(row: Row) -> None:
        if row["status"] == "same":
            row = {**before.pop(row["photo"]), "status": "done", "size": row["size"], "stamp": row["stamp"]}
            row.pop("reason", None)
            outcome.kept += 1
        elif row["status"] == "done":
            outcome.done += 1
        else:
            outcome.failed += 1
            row = _with_result(row, manifest)
        manifest.add([row])
        if on_row is not None:
            on_row(row)

    outcome.kept += len(work.kept)
    manifest.storage.remove(NEW)  # What workers that were killed left half-written.
    try:
        for photo, error in work.problems:
            take(Job(photo).row("failed", reason=str(error)))
        for start in range(0, len(work.jobs), SLICE):
            jobs = work.jobs[start : start + SLICE]
            before.update({job.photo.key: manifest.rows[job.photo.key] for job in jobs if job.known})
            manifest.add([_with_result(job.begun_row, manifest) for job in jobs])
            manifest.flush()
            for row in _painted(jobs, cluster):
                take(row)
    finally:
        manifest.flush()
    manifest.put_together()
    manifest.storage.remove(NEW)


def _with_result(row: Row, manifest: Manifest) -> Row:
    """Return a line with what an older one says of the result of its photo, which may still be there."""
    older = manifest.rows.get(row["photo"], {})
    return {**{name: older[name] for name in RESULT if name in older}, **row} if "output" in older else row


def _painted(jobs: Sequence[Job], cluster: Cluster) -> Iterator[Row]:
    """Give jobs to a cluster until each came back, or was given out :data:`TRIES` times."""
    left = {job.photo.key: job for job in jobs}
    batch = batch_size(len(jobs), cluster.workers)
    for _ in range(TRIES):
        for rows in cluster.paint(list(left.values()), batch):
            for row in rows:
                if left.pop(row["photo"], None) is not None:
                    yield row
        if not left:
            return
        # One by one, so that a photo that kills its worker takes no other along.
        left, batch = {key: job.again for key, job in left.items()}, 1
    for job in left.values():
        reason = f"{job.photo.label}: each worker that was given it ended; the machine may have too little memory"
        yield job.row("failed", reason=reason)


def batch_size(jobs: int, workers: int) -> int:
    """Return how many photos one task of a worker has."""
    return max(1, min(BATCH, jobs // (TASKS_PER_WORKER * workers)))
