"""What ``stylize apply`` says: while it works, at its end, and as a JSON document."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from stylize.cli.apply_comparison import comparison_table
from stylize.cli.apply_request import Painted, Request
from stylize.cli.outputs import Plan, Problem, Task
from stylize.cli.tables import file_text
from stylize.controls import BY_FADE, BY_PHOTO_STYLE
from stylize.errors import InputError, StylizeError, printable

if TYPE_CHECKING:
    from stylize.stylizer import Stylizer

LISTED_PROBLEMS = 20
"""Failures that are listed one by one at the end; ``--json`` has them all."""


class Report:
    """Gathers what is done and what failed, and says so.

    Args:
        request: What was asked for.
        plan: What is to be done.
        started: When the command began, in seconds of :func:`time.perf_counter`.

    Attributes:
        results: What was written.
        problems: What failed.
        loading: Seconds until the networks were loaded.
    """

    def __init__(self, request: Request, plan: Plan, started: float) -> None:
        self.request = request
        self.count = len(plan.tasks)
        self.total = len(plan.tasks) + len(plan.problems)
        self.started = started
        self.loading = 0.0
        self.results: list[Painted] = []
        self.problems: list[Problem] = list(plan.problems)
        self.comparisons: list[dict[str, str]] = []
        self.notes: list[str] = []
        # Standard output belongs to the picture or to the JSON document, if there is one.
        self.to_stderr = request.as_json or any(None in task.outputs for task in plan.tasks)

    def loaded(self) -> None:
        """Take note that the networks are loaded."""
        self.loading = time.perf_counter() - self.started

    def note(self, text: str) -> None:
        """Say something that the user should know, once, on standard error."""
        if text not in self.notes:
            self.notes.append(text)
            click.echo(f"note: {text}", err=True)

    def failed(self, task: Task, error: StylizeError) -> None:
        """Take note of a photo that could not be painted."""
        self.problems.append(Problem(task.source.label, error))

    def painted(self, number: int, task: Task, painted: list[Painted], quiet: bool) -> None:
        """Take note that a photo is done, and say it: a line, or a table where several norms are compared.

        Args:
            number: Which of the photos it is, from 1 up.
            task: The photo.
            painted: Its results.
            quiet: Whether a progress bar says it already.
        """
        self.results += painted
        if task.comparison is not None:
            self.comparisons.append({"photo": task.source.label, "output": str(task.comparison)})
        if self.request.as_json:
            return
        if task.comparison is not None:
            from tqdm import tqdm

            tqdm.write(comparison_table(task, painted), file=sys.stdout)
        elif self.total > 1 and not quiet:
            one = painted[0]
            counter = f"[{number}/{self.count}] " if self.count > 1 else ""
            self._say(
                f"{counter}{one.photo} -> {_shown(one.output)} ({one.width}x{one.height} px, {one.seconds:.1f} s)"
            )

    def finish(self, ctx: click.Context, stylizers: Sequence[Stylizer]) -> None:
        """Print the summary or the JSON document, then the failures, and exit with their status."""
        seconds = time.perf_counter() - self.started
        if self.request.as_json:
            click.echo(json.dumps(self._document(seconds, stylizers), indent=2))
        elif self.results:
            self._summarise(f"{seconds:.1f} s, {self.loading:.1f} s of it loading")
        if not self.problems:
            return
        if self.total == 1:
            raise self.problems[0].error
        click.echo(f"{len(self.problems)} of {self.total} failed:", err=True)
        for problem in self.problems[:LISTED_PROBLEMS]:
            named = problem.photo in str(problem.error)
            text = str(problem.error) if named else f"{problem.photo}: {problem.error}"
            click.echo(f"  {printable(text)}", err=True)
        if len(self.problems) > LISTED_PROBLEMS:
            click.echo(f"  and {len(self.problems) - LISTED_PROBLEMS} more (--json lists all)", err=True)
        ctx.exit(2 if all(isinstance(problem.error, InputError) for problem in self.problems) else 1)

    def _summarise(self, timing: str) -> None:
        one, how = self.results[0], self._how()
        if self.total == 1 and len(self.results) == 1:
            where = "standard output" if one.output == "-" else _shown(one.output)
            self._say(f"{one.photo} -> {where} ({how}, {one.width}x{one.height} px) in {timing}")
        else:
            done = len({result.photo for result in self.results})
            self._say(f"painted {done} of {self.total} photo{'s' * (self.total > 1)}: {how}, in {timing}")

    def _how(self) -> str:
        """Return in words how the results were painted."""
        one, request = self.results[0], self.request
        if one.styles is not None:
            parts = [f"{len(one.styles)} style{'s' * (len(one.styles) > 1)}"]
        elif request.mask is not None and len(request.styles) == 2:
            white, black = request.styles
            parts = [f"{white.name} where the mask is white, {black.name} where it is black", f"{one.norm} norm"]
        else:
            norms = dict.fromkeys(result.norm for result in self.results)
            parts = [one.style, f"{' and '.join(norms)} norm"]
        if request.strength != 1:
            how = {BY_PHOTO_STYLE: "by the photo style", BY_FADE: "as a fade"}
            ways = " and ".join(how[by] for by in strength_ways(request))
            parts.append(f"strength {request.strength:g} {ways}")
        if request.controls.preserve_colour:
            parts.append("colours of the photo")
        if request.mask is not None:
            parts.append(f"mask {file_text(request.mask)}")
        return ", ".join(parts)

    def _document(self, seconds: float, stylizers: Sequence[Stylizer]) -> dict[str, Any]:
        """Return the one document of ``--json``."""
        # Measurements are there where norms are compared, None for those that could not be made.
        absent = () if self.comparisons else ("style_distance", "contrast_change")
        results = [{key: value for key, value in asdict(one).items() if key not in absent} for one in self.results]
        for one in results:
            for key in ("tiles", "styles"):
                if one[key] is None:
                    del one[key]
        document: dict[str, Any] = {
            "results": results,
            "failures": [{"photo": problem.photo, "error": str(problem.error)} for problem in self.problems],
            "seconds": round(seconds, 3),
            "loading_seconds": round(self.loading, 3),
            "controls": describe_controls(self.request),
        }
        if self.comparisons:
            document["comparisons"] = self.comparisons
        if stylizers:
            one = stylizers[0]
            document |= {"device": str(one.device), "engine": one.engine.name, "precision": one.engine.precision}
        document["deterministic"] = self.request.deterministic
        return document

    def _say(self, text: str) -> None:
        """Print status where it does not mix with the output."""
        click.echo(text, err=self.to_stderr)


def strength_ways(request: Request) -> list[str]:
    """Return how the strength of a request is made, ``photo style`` or ``fade``; both only for styles that differ."""
    return list(dict.fromkeys(BY_PHOTO_STYLE if one.has_photo_style else BY_FADE for one in request.styles))


def describe_controls(request: Request) -> dict[str, Any]:
    """Return what the results were painted with, as plain values for JSON."""
    controls = request.controls
    ways = strength_ways(request)
    described = {
        "strength": request.strength,
        "strength_by": " and ".join(ways) if request.strength != 1 else None,
        "preserve_color": controls.preserve_colour,
        "mask": None if request.mask is None else str(request.mask),
        "scale": controls.scale,
        "scale_passes": controls.passes,
    }
    if request.mask is not None and len(request.styles) == 2:
        described |= {"white": request.styles[0].name, "black": request.styles[1].name}
    shares = {one.name: dict(one.shares) for one in request.styles if one.is_mixture}
    return described | ({"mixtures": shares} if shares else {})


def _shown(path: str) -> str:
    """Return a path in a form that every terminal can print."""
    return file_text(path)
