"""Options that several commands share."""

from __future__ import annotations

import click

from stylize.config import ENGINE_NAMES, PRECISION_NAMES, parse_norm
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
    help="What it computes in; auto is bfloat16 on a CPU that multiplies it natively, else float32.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist already.")
