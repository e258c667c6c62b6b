"""The work of ``stylize apply --engine-cluster``: many photos, painted by the workers of a cluster."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from stylize.bulk.jobs import Work, decide
from stylize.bulk.manifest import NAME, Manifest, Row, check_settings
from stylize.bulk.ray_cluster import RayCluster, check_ray
from stylize.bulk.running import Outcome, owned, run
from stylize.bulk.settings import Settings, style_files
from stylize.bulk.storage import Storage
from stylize.cli.allocator import keep_freed_memory
from stylize.cli.apply_report import LISTED_PROBLEMS
from stylize.cli.apply_request import Request
from stylize.cli.bulk_photos import find_photos, output_storage
from stylize.cli.outputs import Naming

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm

LINE_SECONDS = 10.0
"""How often a line says how far the run is, where there is no terminal for a bar."""

QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_worker_niceness": "0"}
"""Environment of Ray: it reports to nobody, keeps its messages to itself, and does not put its workers last (its own
default is 15, at which they stand still on a machine that does anything else)."""


class BulkJob:
    """One run of the command on a cluster.

    Args:
        request: What was asked for.
        naming: What the names of the results say.
        started: When the command began, in seconds of :func:`time.perf_counter`.
    """

    def __init__(self, request: Request, naming: Naming, started: float) -> None:
        self.request, self.naming, self.started = request, naming, started
        self.failures: list[Row] = []
        self.outcome = Outcome()
        self.total = 0
        self.workers = 0
        self._said = time.perf_counter()
        self._bar: tqdm | None = None
        self._out = sys.stdout

    def run(
        self,
        photos: Sequence[str],
        output: str | None,
        workers: int | None,
        address: str | None,
        ctx: click.Context,
    ) -> None:
        """Find the photos, paint those that are not done, and report.

        Raises:
            InputError: Ray or what was given cannot be used.
            OutputError: The manifest cannot be written.
        """
        check_ray()
        storage = output_storage(output)
        settings = self._settings()
        found = find_photos(photos, storage, self.naming)
        with owned(storage):
            there = storage.files()
            manifest = Manifest.read(storage, there)
            check_settings(manifest, settings.facts(), there, self.request.overwrite)
            manifest.begin(settings.facts())
            work = decide(found, manifest, there, self.request.overwrite)
            self.total = len(work.jobs) + len(work.problems)
            self._paint(work, manifest, settings, storage, workers, address)
        self._report(storage, ctx)

    def _settings(self) -> Settings:
        request = self.request
        return Settings(
            request.styles[0],
            request.size,
            request.controls,
            request.strength,
            request.device,
            request.engine,
            request.precision,
            request.strips.tile,
            request.strips.memory,
            request.strips.statistics,
        )

    def _paint(
        self,
        work: Work,
        manifest: Manifest,
        settings: Settings,
        storage: Storage,
        workers: int | None,
        address: str | None,
    ) -> None:
        """Give the work to the cluster; without any, none is started."""
        files = style_files(settings.style)
        options: dict[str, Any] = {"workers": workers, "address": address, "prepare": keep_freed_memory}
        cluster = RayCluster(settings, files, storage, **options)
        # Ray prints on standard output that a worker died or did not start, with tracebacks. What comes of it, we say.
        with (
            open(os.devnull, "w", encoding="utf-8") as nothing,
            redirect_stdout(nothing),
            _environment(QUIET_RAY),
            cluster if work.jobs else nullcontext(),
            self._progress(),
        ):
            self.workers = cluster.workers
            try:
                run(work, manifest, cluster, self.outcome, self._take)
            except KeyboardInterrupt:
                from stylize.cli import INTERRUPTED, Failure

                raise Failure(
                    f"stopped by Ctrl-C after {self.outcome.done} of {self.total} photos; those are kept, and the same "
                    "command goes on",
                    INTERRUPTED,
                ) from None

    @contextmanager
    def _progress(self) -> Iterator[None]:
        """Show a bar over the photos while the block runs, on a terminal."""
        from tqdm import tqdm

        self._bar = tqdm(
            total=self.total,
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} photos [{elapsed}<{remaining}, {rate_fmt}]",
            unit="photo",
        )
        try:
            yield
        finally:
            self._bar.close()

    def _take(self, row: Row) -> None:
        """Take note of a photo that came back, and say how far the run is."""
        if row["status"] == "failed":
            self.failures.append(row)
        self._bar.update()
        now = time.perf_counter()
        if self._bar.disable and now - self._said >= LINE_SECONDS and not self.request.as_json:
            self._said = now
            failed = f", {self.outcome.failed} failed" if self.outcome.failed else ""
            click.echo(f"painted {self.outcome.done} of {self.total} photos{failed}", file=self._out)

    def _report(self, storage: Storage, ctx: click.Context) -> None:
        """Print the summary or the JSON document, then the failures, and exit with their status."""
        outcome, seconds = self.outcome, time.perf_counter() - self.started
        total = outcome.done + outcome.kept + outcome.failed
        where = storage.url(NAME)
        if self.request.as_json:
            failures = [{"photo": row["photo"], "error": row["reason"]} for row in self.failures]
            document = {
                "painted": outcome.done,
                "kept": outcome.kept,
                "failures": failures,
                "seconds": round(seconds, 3),
                "workers": self.workers,
                "manifest": where,
            }
            click.echo(json.dumps(document, indent=2))
        else:
            style = self.request.styles[0]
            kept = f", {outcome.kept} were there already" if outcome.kept else ""
            click.echo(
                f"painted {outcome.done} photo{'s' * (outcome.done != 1)}{kept}: {style.name}, {style.norm} norm, in "
                f"{seconds:.1f} s ({click.format_filename(where)})"
            )
        if not self.failures:
            return
        click.echo(f"{len(self.failures)} of {total} failed:", err=True)
        for row in self.failures[:LISTED_PROBLEMS]:
            named = any(name in row["reason"] for name in (row["photo"], os.path.basename(row["photo"])))
            click.echo(f"  {row['reason']}" if named else f"  {row['photo']}: {row['reason']}", err=True)
        if len(self.failures) > LISTED_PROBLEMS:
            click.echo(f"  and {len(self.failures) - LISTED_PROBLEMS} more (the manifest lists all)", err=True)
        ctx.exit(1)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment that are not set, while the block runs."""
    missing = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
