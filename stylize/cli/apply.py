"""``stylize apply``: paint photos."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stylize.cli.allocator import keep_freed_memory
from stylize.cli.determinism import deterministic_option, deterministically, steady_memory
from stylize.cli.options import (
    NORM,
    MemoryParameter,
    ScaleParameter,
    TileParameter,
    cluster_options,
    collection_option,
    device_option,
    engine_option,
    json_option,
    overwrite_option,
    precision_option,
    preserve_colour_option,
    strength_option,
)
from stylize.config import PRESETS
from stylize.controls import Controls
from stylize.errors import InputError
from stylize.zoo import DEFAULT_NORM, DEFAULT_PRESET, DEFAULT_STYLE

if TYPE_CHECKING:
    from stylize.cli.apply_job import Job
    from stylize.cli.apply_request import Request
    from stylize.cli.outputs import Naming, Plan

SHEET = "sheet"
"""What the name of a sheet ends in."""


@click.command("apply")
@click.argument("photos", nargs=-1, metavar="PHOTO...")
@click.option(
    "--style",
    "styles",
    multiple=True,
    metavar="NAME|FILE|MIX",
    help="Style, style file, weights file or ONNX file, or a mixture of the styles of a collection: "
    f"great-wave:0.6,starry-night:0.4. Twice with --mask: one for white, one for black.  [default: {DEFAULT_STYLE}]",
)
@collection_option
@strength_option("photo")
@preserve_colour_option("photo")
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    metavar="PICTURE",
    help="Where to paint: white is painted, black keeps the photo, grey is in between. With two styles, white takes "
    "the first and black the second.",
)
@click.option(
    "--sheet",
    "as_sheet",
    is_flag=True,
    help="Paint every style of the collection, or those of --style a,b,c, on one labelled sheet, PHOTO-sheet.jpg.",
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
@click.option(
    "--size",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Long edge of the result in pixels; with --sheet, of a tile.",
)
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
@deterministic_option
@json_option
@overwrite_option
@cluster_options
@click.option("--list", "show_list", is_flag=True, help="Show the shipped styles, as 'stylize styles' does.")
@click.pass_context
def command(
    ctx: click.Context,
    photos: tuple[str, ...],
    styles: tuple[str, ...],
    collection: str | None,
    strength: float,
    preserve_colour: bool,
    mask: Path | None,
    as_sheet: bool,
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
    deterministic: bool,
    as_json: bool,
    overwrite: bool,
    cluster: str | None,
    workers: int | None,
    ray_address: str | None,
    show_list: bool,
) -> None:
    """Paint photos in a style.

    PHOTO is a picture, a folder (with everything below it), or - for standard input. The result lies beside the
    photo, as PHOTO-STYLE.jpg, or beside the folder, as FOLDER-STYLE, unless -o says where.

    \b
    stylize apply photo.jpg
    stylize apply photo.jpg --sheet
    stylize apply photo.jpg --style great-wave:0.6,starry-night:0.4
    stylize apply photo.jpg --strength 0.6 --preserve-color
    stylize apply photo.jpg --mask sky.png --style starry-night --style great-wave
    stylize apply holiday/ --style great-wave -o painted/
    stylize apply photo.jpg --norm instance --norm batch
    stylize apply - < photo.jpg > painted.jpg
    stylize apply s3://bucket/photos --engine-cluster ray -o s3://bucket/painted
    """
    started = time.perf_counter()
    if show_list:
        from stylize.cli.styles import print_styles

        print_styles(as_json)
        return
    if not photos:
        raise click.UsageError("no photo given; try 'stylize apply photo.jpg', or --list for the shipped styles", ctx)
    if scale == 1 and scale_passes == 2:
        raise click.UsageError("--scale-passes 2 needs --scale below 1, or auto")
    if cluster is None and (workers is not None or ray_address is not None):
        raise click.UsageError(
            f"{'--workers' if workers is not None else '--ray-address'} is for a cluster; add --engine-cluster ray"
        )
    if cluster is not None and (as_sheet or mask is not None or len(set(norms)) > 1):
        raise click.UsageError(
            "--engine-cluster paints many photos in one style; leave out --sheet, --mask and a second --norm"
        )
    if as_sheet:
        _check_sheet(norms, mask, size, tile)
    elif scale != 1 and isinstance(tile, int):
        raise click.UsageError("--scale and --tile with a number do not go together yet; leave one of them out")
    if deterministic:
        if cluster is not None:
            raise click.UsageError("--deterministic is for one process; leave it or --engine-cluster out")
        memory = steady_memory() if memory is None else memory
    from stylize.cli.apply_choice import choose_for_apply, choose_for_sheet
    from stylize.cli.apply_request import Request, Strips

    # Everything that can be checked without torch comes before its import, which takes seconds.
    if as_sheet:
        chosen = choose_for_sheet(styles, norms[0] if norms else None, preset, collection)
    else:
        chosen = choose_for_apply(styles, norms, preset, collection, mask)
    request = Request(
        chosen,
        size=size,
        overwrite=overwrite,
        as_json=as_json,
        device=device,
        engine=engine,
        precision=precision,
        deterministic=deterministic,
        strips=Strips(tile, memory, tile_statistics),
        controls=Controls(scale, scale_passes, preserve_colour),
        strength=strength,
        mask=mask,
    )
    _check_controls(request, norms)
    if cluster is not None:
        from stylize.cli.apply_bulk import BulkJob

        BulkJob(request, _naming(request, preset), started).run(photos, output, workers, ray_address, ctx)
        return
    plan = _plan(photos, output, as_sheet, request, preset)
    _check_output(plan, request)
    if as_sheet:
        from stylize.cli.sheet_job import SheetJob as Work
    else:
        from stylize.cli.apply_job import Job as Work
    job = Work(request, plan, started)
    if plan.tasks:
        keep_freed_memory()
        with deterministically(deterministic):
            job.load()
            _check_engine(job)
            job.run()
    job.report(ctx)


def _check_engine(job: Job) -> None:
    """Refuse to promise equal bits for an engine that does not."""
    engines = {one.engine.name for one in job.stylizers} - {"torch"}
    if job.request.deterministic and engines:
        raise InputError(f"--deterministic is for the engine torch, and this style is painted by {engines.pop()}")


def _plan(photos: Sequence[str], output: str | None, sheet: bool, request: Request, preset: str | None) -> Plan:
    """Decide where the results go."""
    from stylize.cli.outputs import Naming, make_plan

    naming = Naming(SHEET, (DEFAULT_NORM,)) if sheet else _naming(request, preset)
    return make_plan(photos, output, naming, request.overwrite)


def _naming(request: Request, preset: str | None) -> Naming:
    """Return what the names of results that are no sheet say."""
    from stylize.cli.outputs import Naming

    styles, shown = request.styles, preset if preset != DEFAULT_PRESET else None
    if request.mask is not None and len(styles) == 2:
        return Naming(f"{styles[0].name}-{styles[1].name}", (styles[0].norm,), shown)
    return Naming(styles[0].name, tuple(one.norm for one in styles), shown)


def _check_sheet(norms: Sequence[str], mask: Path | None, size: int | None, tile: str | int) -> None:
    """Refuse what a sheet cannot be combined with."""
    for given, what in ((len(set(norms)) > 1, "--norm given twice"), (mask is not None, "--mask")):
        if given:
            raise click.UsageError(f"--sheet shows many styles on a whole photo and takes no {what}; leave it out")
    if isinstance(tile, int):
        raise click.UsageError("--sheet paints small pictures, which need no strips; leave out --tile")
    from stylize.style_sheet import TILE_RANGE

    if size is not None and not TILE_RANGE[0] <= size <= TILE_RANGE[1]:
        lowest, highest = TILE_RANGE
        raise click.UsageError(f"--size {size} given for the tiles of a sheet; {lowest} to {highest} is accepted")


def _check_controls(request: Request, norms: Sequence[str]) -> None:
    """Refuse controls that do not go together."""
    from stylize.cli.apply_strips import strips_problem

    given = [
        name
        for name, differs in (
            ("--strength", request.strength != 1),
            ("--preserve-color", request.controls.preserve_colour),
        )
        if differs
    ]
    if given and len(set(norms)) > 1:
        raise click.UsageError(
            f"--norm given twice compares networks as they are, and measures them; leave out {' and '.join(given)}, or "
            "give one --norm"
        )
    problem = strips_problem(request)
    if isinstance(request.strips.tile, int) and problem is not None:
        raise click.UsageError(f"{problem}; leave out --tile, or paint a large picture with --scale 0.5")


def _check_output(plan: Plan, request: Request) -> None:
    """Refuse outputs that would mix, or replace the mask."""
    from stylize.cli.apply_choice import check_mask

    if request.mask is not None:
        check_mask(request.mask, [path for task in plan.tasks for path in task.files])
    if any(None in task.outputs for task in plan.tasks):
        if request.as_json:
            raise InputError("--json and the picture cannot both go to standard output; give -o FILE")
        if sys.stdout.isatty():
            raise InputError(
                "a picture is not written to a terminal; give -o FILE, or send the output to a file or a pipe"
            )
