"""Options that several commands share."""

from __future__ import annotations

import click

device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Where to compute: auto, cpu, cuda, cuda:N or mps.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist already.")
