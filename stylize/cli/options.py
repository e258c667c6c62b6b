"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from stylize.config import ENGINE_NAMES, PRECISION_NAMES, parse_norm
from stylize.controls import MAXIMUM_STRENGTH, checked_strength
from stylize.errors import InputError


class NormParameter(click.ParamType):
    """A normalisation, or one with a placement, as :func:`stylize.config.parse_norm` reads it."""

    name = "norm"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(parse_norm(value))
        except InputError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NORM"


NORM = NormParameter()


class TileParameter(click.ParamType):
    """``auto``, ``off``, or the rows of a strip."""

    name = "tile"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        text = str(value).strip().lower()
        if text in ("auto", "off"):
            return text
        if text.isascii() and text.isdigit() and int(text) > 0:
            return int(text)
        self.fail(f"'{value}' given; auto, off or a number of pixels, such as 512, is accepted", param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "auto|off|PX"


class ScaleParameter(click.ParamType):
    """``auto``, or a number above 0 up to 1."""

    name = "scale"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        text = str(value).strip().lower()
        if text == "auto":
            return text
        try:
            scale = float(text)
        except ValueError:
            scale = 0.0
        if not 0 < scale <= 1:
            self.fail(f"'{value}' given; auto or a number above 0 up to 1, such as 0.5, is accepted", param, ctx)
        return scale

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "auto|NUMBER"


class StrengthParameter(click.ParamType):
    """A number from 0 to 1.5."""

    name = "strength"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return checked_strength(float(str(value)))
        except ValueError:  # InputError is one, too.
            limit = f"{MAXIMUM_STRENGTH:g}"
            self.fail(
                f"'{value}' given; a number from 0 (the photo) to {limit} is accepted, 1 is the style", param, ctx
            )

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NUMBER"


class MemoryParameter(click.ParamType):
    """A number of bytes with a unit, such as ``2GB``."""

    name = "memory"

    UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", str(value).lower(), flags=re.ASCII)
        size = 0 if match is None else int(float(match[1]) * self.UNITS[match[2] or ""])
        if not 0 < size < 2**60:
            self.fail(f"'{value}' given; a number of bytes such as 2GB, 500MB or 1.5GiB is accepted", param, ctx)
        return size

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "SIZE"


device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Where to compute: auto, cpu, cuda, cuda:N or mps.",
)

engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINE_NAMES]),
    show_default="torch",
    help="What computes; auto takes the fastest that is installed.",
)

precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", *PRECISION_NAMES]),
    default="auto",
    show_default=True,
    help="What it computes in; auto is bfloat16 on a CPU that multiplies it natively, float16 on a CUDA GPU where that "
    "agrees, else float32.",
)

collection_option = click.option(
    "--collection",
    metavar="NAME|FILE",
    help="Network of several styles in which names of styles are looked up: a shipped one, or a file.  [default: all "
    "that is shipped]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist already.")


def strength_option(subject: str) -> Callable[[Any], Any]:
    """Return the option ``--strength``; ``subject`` is what a strength of 0 leaves as it is."""
    return click.option(
        "--strength",
        type=StrengthParameter(),
        default=1.0,
        show_default=True,
        help=f"0 is the {subject}, 1 the style, and up to 1.5 is more than the style.",
    )


def preserve_colour_option(subject: str) -> Callable[[Any], Any]:
    """Return the option ``--preserve-color``; ``subject`` is what the colours are those of."""
    return click.option(
        "--preserve-color",
        "--preserve-colour",
        "preserve_colour",
        is_flag=True,
        help=f"Keep the colors of the {subject}; the painting gives light, dark and strokes.",
    )


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a run on a cluster."""
    for option in reversed(
        (
            click.option(
                "--engine-cluster",
                "cluster",
                type=click.Choice(["ray"]),
                help="Paint with many workers, on this machine or a Ray cluster; PHOTO and -o may be URLs such as "
                "s3://bucket/photos, and the same command goes on where a run was stopped.",
            ),
            click.option(
                "--workers",
                type=click.IntRange(min=1),
                metavar="N",
                help="Workers of the cluster, each with its own network.  [default: one for each core or GPU]",
            ),
            click.option(
                "--ray-address",
                metavar="HOST:PORT",
                help="Ray cluster to paint on; auto finds the one of this machine.  [default: start one here]",
            ),
        )
    ):
        command = option(command)
    return command
