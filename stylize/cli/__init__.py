"""The command ``stylize``: a group whose commands are imported when they are used."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from stylize import __version__
from stylize.errors import InputError, StylizeError, printable, suggest

COMMANDS = ("apply", "video", "webcam", "web", "train", "compare", "styles", "collect", "export", "bench")
"""Names of the commands; each is ``command`` in the module of that name."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""

Result = TypeVar("Result")


class Failure(click.ClickException):
    """An error as the user sees it: one line on standard error and an exit status."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(printable(" ".join(message.split())))  # it may quote names that strangers gave
        self.exit_code = exit_code


def translate_errors(work: Callable[[], Result]) -> Result:
    """Call ``work`` and turn the errors that are no defects of stylize into a :class:`Failure`."""
    try:
        return work()
    except StylizeError as error:
        raise Failure(str(error), 2 if isinstance(error, InputError) else 1) from error
    except KeyboardInterrupt as error:
        raise Failure("stopped by Ctrl-C", INTERRUPTED) from error
    except MemoryError as error:
        raise Failure("not enough memory", 1) from error
    except ImportError as error:
        raise Failure(f"a package that stylize needs cannot be imported: {error}", 1) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # Whoever read our output has had enough: click ends quietly.
        raise Failure(f"{error.strerror or error}" + (f": '{error.filename}'" if error.filename else ""), 1) from error


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"stylize.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"unknown command '{args[0]}'{suggest(args[0], COMMANDS)} (known: {', '.join(COMMANDS)})")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Help and version are printed here, and there may be no room for what is printed.
        return translate_errors(lambda: super(LazyGroup, self).parse_args(ctx, args))

    def invoke(self, ctx: click.Context) -> Any:
        return translate_errors(lambda: super(LazyGroup, self).invoke(ctx))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="stylize", message="%(prog)s %(version)s")
def main() -> None:
    """Repaint photos in the style of a painting.

    \b
    stylize apply photo.jpg                 paint a photo with a shipped style
    stylize video clip.mp4                  paint a clip, with its sound
    stylize webcam                          paint what a camera sees
    stylize web                             paint in the browser
    stylize styles                          show the shipped styles
    stylize train painting.jpg photos/      learn a style of your own
    stylize collect COLLECTION STYLE...     put styles of your own together in one network
    stylize compare photo.jpg               show what instance and batch norm do, with measurements
    stylize export starry-night             write a network as an ONNX file, or as a folder to share
    stylize bench                           measure how fast this machine paints
    """
