"""``stylize apply``: paint photos."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from stylize.cli.allocator import keep_freed_memory
from stylize.cli.options import (
    NORM,
    MemoryParameter,
    ScaleParameter,
    TileParameter,
    device_option,
    engine_option,
    json_option,
    overwrite_option,
    precision_option,
)
from stylize.config import PRESETS
from stylize.errors import InputError
from stylize.style_choice import choose_style
from stylize.zoo import DEFAULT_PRESET, DEFAULT_STYLE, style_name

if TYPE_CHECKING:
    from stylize.checkpoints import WeightsFile
    from stylize.cli.outputs import Plan


@click.command("apply")
@click.argument("photos", nargs=-1, metavar="PHOTO...")
@click.option(
    "--style", default=DEFAULT_STYLE, show_default=True, metavar="NAME|FILE", help="Style, weights file, or ONNX file."
)
@click.option(
    "--norm",
    "norms",
    multiple=True,
    type=NORM,
    help="Normalisation of the network; given twice, both are painted and compared.  [default: instance]",
)
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Architecture of a shipped style.")
@click.option("-o", "--output", metavar="OUT", help="File or folder for the results; - is standard output.")
@click.option("--size", type=click.IntRange(min=1), metavar="PX", help="Long edge of the result in pixels.")
@click.option(
    "--scale",
    type=ScaleParameter(),
    default=1.0,
    show_default=True,
    help="Paint at this part of the size and enlarge along the strokes: 0.5 makes them twice as bold.",
)
@click.option(
    "--scale-passes",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="2 paints twice: fine strokes over bold ones.",
)
@click.option(
    "--tile",
    type=TileParameter(),
    default="auto",
    show_default=True,
    help="Paint in strips of so many pixels, with the same result; auto does where memory asks for it.",
)
@click.option(
    "--memory", type=MemoryParameter(), help="Most memory for a picture, such as 2GB.  [default: half of what is free]"
)
@click.option(
    "--tile-statistics",
    type=click.Choice(["exact", "thumbnail"]),
    default="exact",
    show_default=True,
    help="What strips are normalised by: the whole picture, or a small copy of it, which is faster but another result.",
)
@device_option
@engine_option
@precision_option
@json_option
@overwrite_option
@click.option("--list", "show_list", is_flag=True, help="Show the shipped styles, as 'stylize styles' does.")
@click.pass_context
def command(
    ctx: click.Context,
    photos: tuple[str, ...],
    style: str,
    norms: tuple[str, ...],
    preset: str | None,
    output: str | None,
    size: int | None,
    scale: str | float,
    scale_passes: int,
    tile: str | int,
    memory: int | None,
    tile_statistics: str,
    device: str,
    engine: str | None,
    precision: str,
    as_json: bool,
    overwrite: bool,
    show_list: bool,
) -> None:
    """Paint photos in a style.

    PHOTO is a picture, a folder (with everything below it), or - for standard input. The result lies beside the
    photo, as PHOTO-STYLE.jpg, or beside the folder, as FOLDER-STYLE, unless -o says where.

    \b
    stylize apply photo.jpg
    stylize apply holiday/ --style great-wave -o painted/
    stylize apply photo.jpg --norm instance --norm batch
    stylize apply - < photo.jpg > painted.jpg
    """
    started = time.perf_counter()
    if show_list:
        from stylize.cli.styles import print_styles

        print_styles(as_json)
        return
    if not photos:
        raise click.UsageError("no photo given; try 'stylize apply photo.jpg', or --list for the shipped styles", ctx)
    # Everything that can be checked without torch comes before its import, which takes seconds.
    asked = list(dict.fromkeys(norms)) or [None]
    chosen = [choose_style(style, norm, preset) for norm in asked]
    plan = _plan(photos, output, chosen, preset, overwrite)
    if as_json and any(None in task.outputs for task in plan.tasks):
        raise InputError("--json and the picture cannot both go to standard output; give -o FILE")
    if any(None in task.outputs for task in plan.tasks) and sys.stdout.isatty():
        raise InputError("a picture is not written to a terminal; give -o FILE, or send the output to a file or a pipe")
    from stylize.cli.apply_job import Job, Request, Strips

    if scale != 1 and isinstance(tile, int):
        raise click.UsageError("--scale and --tile with a number do not go together yet; leave one of them out", ctx)
    if scale == 1 and scale_passes == 2:
        raise click.UsageError("--scale-passes 2 needs --scale below 1, or auto", ctx)
    strips = Strips(tile, memory, tile_statistics)
    job = Job(Request(size, overwrite, as_json, device, engine, precision, strips, scale, scale_passes), plan, started)
    if plan.tasks:
        keep_freed_memory()
        job.load(chosen)
        job.run()
    job.report(ctx)


def _plan(
    photos: Sequence[str], output: str | None, chosen: list[WeightsFile], preset: str | None, overwrite: bool
) -> Plan:
    from stylize.cli.outputs import Naming, make_plan

    norms = tuple(weights.architecture.norm for weights in chosen)
    naming = Naming(style_name(chosen[0]), norms, preset if preset != DEFAULT_PRESET else None)
    return make_plan(photos, output, naming, overwrite)
