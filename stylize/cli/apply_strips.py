"""Which photos ``stylize apply`` paints in strips, and how it does that."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stylize.cli.apply_request import Painted, Request
from stylize.cli.outputs import Task
from stylize.cli.strip_progress import StripProgress
from stylize.errors import InputError

if TYPE_CHECKING:
    from stylize.finishing import Finishing
    from stylize.images import Picture
    from stylize.masks import Mask
    from stylize.stylizer import Stylizer

ADVICE = "paint it with --scale 0.5, make it smaller with --size, or allow it more memory with --memory"
"""What to do about a picture that strips cannot paint as asked."""


def wants_strips(request: Request, stylizers: Sequence[Stylizer], task: Task, size: tuple[int, int] | None) -> bool:
    """Say whether a picture (width, height) is to be painted in strips.

    Raises:
        InputError: Memory asks for strips, but what was asked for cannot be done in them.
    """
    strips = request.strips
    # Painted small, a picture needs strips no more than its file does.
    if size is None or strips.tile == "off" or None in task.outputs or request.controls.scale != 1:
        return False
    if isinstance(strips.tile, int):
        return True
    if any(stylizer.network is None for stylizer in stylizers):
        if strips.memory is not None:
            raise InputError(
                "--memory given with an ONNX file, which cannot be painted in strips to keep within it; leave "
                "it out, or give the name of a style or its weights file"
            )
        return False
    from stylize.large_pictures import default_memory, needed_bytes

    limit = default_memory() if strips.memory is None else strips.memory
    if max(needed_bytes(stylizer, *size) for stylizer in stylizers) <= limit:
        return False
    if problem := strips_problem(request):
        raise InputError(
            f"'{task.source.label}' ({size[0]}x{size[1]} px) is too large to be painted whole in "
            f"{limit / 1e6:,.0f} MB, and {problem}: {ADVICE}"
        )
    return True


def strips_problem(request: Request) -> str | None:
    """Return what of a request cannot be done in strips, in words, or None."""
    if request.mask is not None and len(request.styles) > 1:
        return "two styles with a mask cannot be painted in strips"
    if 0 < request.strength < 1 and any(one.has_photo_style for one in request.styles):
        return f"--strength {request.strength:g}, which is made by the photo style, cannot be painted in strips"
    return None


def paint_strips(
    request: Request,
    stylizer: Stylizer,
    task: Task,
    source: Path | Picture,
    mask: Callable[[tuple[int, int]], Mask | None],
    alone: bool,
) -> Painted:
    """Paint a picture strip by strip into its file.

    Args:
        request: What was asked for.
        stylizer: The network.
        task: The photo and its file.
        source: The photo, or what was read of it.
        mask: Returns the mask for a photo (width, height), or None where there is none.
        alone: Whether it is the only photo.

    Raises:
        InputError: What was asked for cannot be done in strips, or not within the limit of memory.
        OutputError: The file cannot be written.
    """
    from stylize.large_pictures import paint_large

    if task.comparison is not None:
        raise InputError("a picture in strips is painted with one norm at a time; give one --norm, or --tile off")
    begun = time.perf_counter()
    output, strips = task.outputs[0], request.strips

    def finishing(width: int, height: int) -> Finishing:
        return stylizer.finishing(request.controls, mask((width, height)))

    with StripProgress(task.source.label, alone=alone, quiet=request.as_json) as progress:
        painted = paint_large(
            stylizer,
            source,
            output,
            memory=strips.memory,
            strip=strips.tile if isinstance(strips.tile, int) else None,
            statistics=strips.statistics,
            dtype="float32" if request.precision == "auto" else request.precision,
            overwrite=request.overwrite,
            finishing=finishing,
            on_strip=progress.advance,
        )
    plan = painted.plan
    tiles = {
        "strip": plan.strip,
        "passes": plan.passes,
        "statistics": strips.statistics,
        "stored": str(plan.stored).removeprefix("torch."),
        "storage": list(plan.storage),
        "memory": painted.memory,
    }
    seconds = round(time.perf_counter() - begun, 3)
    size = (painted.width, painted.height)
    return Painted(task.source.label, str(output), stylizer.style, stylizer.norm, *size, seconds, tiles=tiles)
