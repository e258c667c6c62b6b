"""Several processes under torchrun run the same command: the user hears one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from stylize.cli import INTERRUPTED
from stylize.errors import AnotherProcessFailed, InputError
from stylize.launch import Launch, launched


@contextmanager
def one_voice(launch: Launch) -> Iterator[None]:
    """End a process without a word where another says why.

    Raises:
        click.exceptions.Exit: Another does.
    """
    try:
        yield
    except AnotherProcessFailed:
        raise click.exceptions.Exit(1) from None
    except click.UsageError as error:
        if launch.local_rank:
            raise click.exceptions.Exit(error.exit_code) from None
        raise
    except KeyboardInterrupt:
        if launch.local_rank:
            raise click.exceptions.Exit(INTERRUPTED) from None
        raise


class OneVoiceCommand(click.Command):
    """A command that several processes run together, of which one tells the user what is wrong."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with one_voice(_launch()):
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with one_voice(_launch()):
            return super().invoke(ctx)


def _launch() -> Launch:
    try:
        return launched()
    except InputError:  # the command says what is wrong; its help does not need to know
        return Launch()
