"""What is said while a picture is painted in strips."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import click

SECONDS_BETWEEN_LINES = 10.0
"""Where there is no terminal for a bar."""


class StripProgress:
    """A bar on a terminal, else a line of text now and then, both on standard error.

    Args:
        name: The photo.
        alone: Whether it is the only one; the bar over several photos takes the place of this one.
        quiet: No lines of text.
    """

    def __init__(self, name: str, alone: bool, quiet: bool) -> None:
        from tqdm import tqdm

        self.name = name
        self.terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=None,
            file=sys.stderr,
            disable=not (self.terminal and alone),
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} strips [{elapsed}<{remaining}]",
            leave=False,
        )
        self.lines = alone and not quiet and not self.terminal
        self.said = time.monotonic()

    def __enter__(self) -> StripProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def advance(self, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` strips are done, in all passes."""
        self.bar.total = total
        self.bar.update(done - self.bar.n)
        if self.lines and time.monotonic() - self.said >= SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            click.echo(f"{self.name}: {done} of {total} strips", err=True)
