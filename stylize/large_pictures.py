"""Painting a picture file of any size into another one, within a limit of memory."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from stylize.controls import PLAIN
from stylize.engines.torch_engine import DTYPES
from stylize.errors import InputError
from stylize.finishing import Finishing
from stylize.images import Picture
from stylize.lightness_matching import copy_from_rows, lightness_match
from stylize.program import Program
from stylize.strips import PictureRows, RowWriter, held_bytes_to_write, open_rows, open_writer, rows_of
from stylize.stylizer import Stylizer
from stylize.tiles import Statistics, TensorSink, TensorSource, TilePlan, paint_tiled, plan_tiles
from stylize.transformer import padded_size

SHARE_OF_FREE_MEMORY = 0.5
"""Part of the free memory that a picture may take where no limit is given: other programs want some, too."""

USUAL_FREE_MEMORY = 4 * 10**9
"""Bytes of free memory to count on where the system does not say."""

GROWTH = 2
"""How much more a process grows than the tensors of a whole picture take, about: for what convolutions need inside,
conversions at both ends and holes of the allocator (``benchmarks/large.py --huge 2000 --memory 500MB`` shows it)."""

SPARE_BYTES = 48 * 2**20
"""Memory beyond what is counted: buffers of the libraries, Python's own, what the allocator keeps between strips."""


@dataclass(frozen=True)
class LargePainting:
    """A painted picture.

    Attributes:
        width: Pixels.
        height: Pixels.
        plan: How it was painted.
        memory: Limit that was kept, in bytes.
    """

    width: int
    height: int
    plan: TilePlan
    memory: int


def default_memory() -> int:
    """Return the bytes that painting a picture may take where no limit is given: half of what is free now."""
    return int(SHARE_OF_FREE_MEMORY * _free_memory())


def _free_memory() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return USUAL_FREE_MEMORY


def whole_bytes(program: Program, height: int, width: int, itemsize: int = 4) -> int:
    """Return about how many bytes it takes to paint a picture in one piece, with the torch engine.

    Counted are, at the layer where they are most, the input of the layer, its output before and after its norm, and in
    a residual block the sum; and the picture itself, in and out.

    Args:
        program: The network.
        height: Rows of the picture.
        width: Columns of the picture.
        itemsize: Bytes of one value: 4, or 2 for bfloat16 and float16.
    """
    tall, wide = padded_size(program.config, height, width)
    positions = tall * wide / program.unshuffle**2
    most, blocks = 0.0, {id(layer) for block in program.blocks for layer in block}
    for layer in program.layers:
        before = positions * layer.channels_in
        positions /= layer.stride**2
        raw = positions * layer.weight.shape[0]
        positions *= 4 if layer.upsampling else 1
        after = positions * layer.channels_out
        most = max(most, before + raw + after + (before if id(layer) in blocks else 0))
    return int(itemsize * most + 2 * 4 * 3 * height * width)


def needed_bytes(stylizer: Stylizer, width: int, height: int) -> int:
    """Return about how many bytes it takes to read a picture, paint it in one piece and write it."""
    itemsize = 4 if stylizer.engine.precision == "float32" else 2
    # Pillow's pixels have four bytes, of the photo and of the result.
    return GROWTH * whole_bytes(stylizer.program, height, width, itemsize) + 2 * 4 * width * height


def paint_large(
    stylizer: Stylizer,
    source: Path | Picture,
    output: Path,
    *,
    memory: int | None = None,
    strip: int | None = None,
    statistics: Statistics = "exact",
    dtype: str = "float32",
    overwrite: bool = False,
    scratch: Path | None = None,
    finishing: Callable[[int, int], Finishing] | None = None,
    on_strip: Callable[[int, int], None] | None = None,
) -> LargePainting:
    """Paint a picture strip by strip, from a file to a file, with the result of painting it whole.

    Args:
        stylizer: The network. Strips are painted by PyTorch whatever its engine.
        source: A picture file of any size, or a picture that was read.
        output: Where to; the suffix says the format. PNG and TIFF are written in strips, others held until the end.
        memory: Most bytes to take beyond what the process has already; None is :func:`default_memory`.
        strip: Rows of a strip; None chooses.
        statistics: ``exact``, or ``thumbnail`` for the approximation of a small copy (:mod:`stylize.tiles`).
        dtype: What to compute in: ``float32``, ``bfloat16`` or ``float16``.
        overwrite: Whether ``output`` may be replaced.
        scratch: Folder for scratch files, of which nothing is left; None is the folder of ``output`` where it exists,
            since the system's folder for temporary files often lies in memory.
        finishing: Called with the width and the height of the picture before it is painted; returns what is done to the
            painting pixel by pixel, without a second painting. None is the fade that the stylizer may have. Where the
            colours of the photo are wanted and no match of the lightness is given, the source is read once more for it.
        on_strip: Called with the number of strips done, in all passes, and how many there are.

    Raises:
        InputError: The limit is too small for this picture, the format of the output cannot hold it, or the stylizer
            has no network (an ONNX file) or a strength that strips cannot paint.
        ImageError: The source cannot be read.
        OutputError: The output or a scratch file cannot be written.
    """
    if dtype not in DTYPES:
        raise InputError(f"strips in {dtype} asked for; {', '.join(DTYPES)} are accepted")
    if not stylizer.can_paint_in_strips:
        raise InputError(
            f"a strength of {stylizer.strength:g}, which is made by the photo style, cannot be painted in strips; make "
            "the picture smaller, or paint it with strength 1"
        )
    memory = default_memory() if memory is None else memory
    if scratch is None and output.parent.is_dir():
        scratch = output.parent
    program = stylizer.program
    with _opened(source, memory, scratch) as rows:
        height, width = rows.height, rows.width
        finish = finishing(width, height) if finishing is not None else stylizer.finishing(PLAIN)
        held = rows.bytes_held + finish.bytes_held + held_bytes_to_write(output, width, height, alpha=rows.has_alpha)
        left = memory - rows.bytes_held - finish.bytes_held - SPARE_BYTES
        with open_writer(
            output, width, height, alpha=rows.has_alpha, exif=rows.exif, overwrite=overwrite, memory=max(left, 0)
        ) as writer:
            most = max(memory - held - SPARE_BYTES, 1)
            try:
                plan = plan_tiles(
                    program, height, width, strip=strip, memory=most, dtype=DTYPES[dtype], statistics=statistics
                )
            except InputError as error:
                beside = held + SPARE_BYTES
                raise InputError(
                    f"a limit of {memory / 1e6:,.0f} MB, of which the picture in and out take {beside / 1e6:,.0f} MB, "
                    f"is too small: {error}"
                ) from None
            paint = functools.partial(
                paint_tiled, program, scratch=scratch, dtype=DTYPES[dtype], device=stylizer.device
            )
            if finish.preserve_colour and finish.match is None:
                small = copy_from_rows(rows.rows, width, height)
                # A picture no larger, in strips as high: memory that does for that does for this. With the statistics
                # of a thumbnail less is counted than an exact painting takes, which is little for a picture so small.
                limit = most if statistics == "exact" else None
                small_plan = plan_tiles(program, *small.shape[2:], strip=plan.strip, memory=limit, dtype=DTYPES[dtype])
                sink = TensorSink(*small.shape[2:])
                paint(TensorSource(small), sink, small_plan)
                painted = Finishing(finish.fade).picture(sink.image, small)
                finish = replace(finish, match=(lightness_match(small, painted),))
            paint(rows, _Sink(writer, rows, finish), plan, statistics=statistics, on_strip=on_strip)
            writer.finish()
    return LargePainting(width, height, plan, memory)


def _opened(source: Path | Picture, memory: int, scratch: Path | None) -> PictureRows:
    if isinstance(source, Picture):
        return rows_of(source)
    return open_rows(source, memory, scratch=scratch)


class _Sink:
    """Finishes painted strips and writes them with the alpha of the photo."""

    def __init__(self, writer: RowWriter, photo: PictureRows, finishing: Finishing) -> None:
        self.writer, self.photo, self.finishing = writer, photo, finishing

    def write(self, top: int, rows: Tensor) -> None:
        """See :meth:`stylize.tiles.PictureSink.write`."""
        bottom = top + rows.shape[2]
        if self.finishing.needed:
            rows = self.finishing.rows(rows, self.photo.rows(top, bottom), top)
        alpha: np.ndarray | None = self.photo.alpha_rows(top, bottom) if self.photo.has_alpha else None
        self.writer.write(top, rows, alpha)
