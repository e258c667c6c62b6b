"""Paint pictures that are larger than memory, strip by strip, with the result of painting them whole.

A normalisation with statistics of the whole picture (instance norm) makes every pixel depend on all others, so strips
cannot be painted one by one, however much they overlap. Here the picture is walked through once for every such layer
(:mod:`stylize.tiles.passes`); each walk gathers the statistics of one layer over all strips and stores the features of
the residual blocks, which are small, for the next one (:mod:`stylize.tiles.store`). Within a walk every layer keeps the
last rows it has seen, so strips need no overlap (:mod:`stylize.tiles.rows`, :mod:`stylize.tiles.stages`).

The result is that of the whole picture but for rounding. ``statistics="thumbnail"`` is the faster approximation of
Chen et al. 2022, "Towards Ultra-Resolution Neural Style Transfer via Thumbnail Instance Normalization" (arXiv
2103.11784), section 3.2: statistics of a small copy of the picture, and then a single walk.

Example::

    plan = plan_tiles(program, source.height, source.width, memory=2 * 10**9)
    paint_tiled(program, source, sink, plan)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.errors import InputError
from stylize.program import Program
from stylize.tiles.chain import Chain, Chains, Inside
from stylize.tiles.features import Finish
from stylize.tiles.passes import Place, schedule
from stylize.tiles.pixel_blocks import with_pixel_blocks
from stylize.tiles.plan import THUMBNAIL, Statistics, TilePlan, plan_tiles, thumbnail_size
from stylize.tiles.rows import strip_heights
from stylize.tiles.sources import PictureSink, PictureSource, TensorSink, TensorSource, checked_rows
from stylize.tiles.stages import Moments
from stylize.tiles.store import RowStore, open_store

__all__ = [
    "THUMBNAIL",
    "PictureSink",
    "PictureSource",
    "Statistics",
    "TensorSink",
    "TensorSource",
    "TilePlan",
    "paint_tiled",
    "plan_tiles",
    "tensor_source",
]


def tensor_source(image: Tensor) -> TensorSource:
    """Return a picture (1, 3, H, W) in memory, float32 in [0, 1], as something to read strips from."""
    return TensorSource(image)


def paint_tiled(
    program: Program,
    source: PictureSource,
    sink: PictureSink,
    plan: TilePlan,
    *,
    scratch: Path | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    statistics: Statistics = "exact",
    on_strip: Callable[[int, int], None] | None = None,
    thumbnail: int = THUMBNAIL,
) -> None:
    """Paint a picture strip by strip.

    Args:
        program: The network.
        source: The picture. It is read once in each pass.
        sink: Where the result goes.
        plan: How, from :func:`plan_tiles` with the same ``program``, ``dtype`` and ``statistics``.
        scratch: Folder for scratch files, of which nothing is left at the end; None: the system's folder for temporary
            files, which on some systems lies in memory.
        dtype: What features are computed in; statistics are gathered in float32 and put together in float64.
        device: Where.
        statistics: ``exact``: of the whole picture. ``thumbnail``: of a small copy of it.
        on_strip: Called with the number of strips done, of all passes, and how many there are.
        thumbnail: Long edge in pixels of that small copy.

    Raises:
        InputError: The plan is for a picture of another size, the scratch folder cannot be written, or the source gives
            rows of another shape or dtype.
        OutputError: The disk of the scratch files is full.
    """
    if (source.height, source.width) != (plan.height, plan.width):
        raise InputError(
            f"a picture of {source.width}x{source.height} px given with a plan for {plan.width}x{plan.height} px"
        )
    if statistics not in ("exact", "thumbnail"):
        raise InputError(f"statistics '{statistics}' asked for; 'exact' and 'thumbnail' are accepted")
    with torch.inference_mode():
        painter = _Painter(program, plan, dtype, torch.device(device))
        if statistics == "thumbnail" and program.needs_statistics:
            passes = schedule(program, range(len(program.layers)))
            painter.begin(len(passes), on_strip, before=len(strip_heights(source.height, plan.strip)))
            small = _shrink(source, thumbnail_size(source.height, source.width, thumbnail), plan.strip, painter.advance)
            painter.finishes |= _statistics(program, small, plan, dtype, painter.device)
        painter.paint(source, sink, scratch, on_strip)


def _statistics(
    program: Program, image: Tensor, plan: TilePlan, dtype: torch.dtype, device: torch.device
) -> Mapping[int, Finish]:
    """Return what follows each layer of the network when it paints ``image``, a small picture."""
    height, width = image.shape[-2:]
    small = plan_tiles(program, height, width, strip=plan.strip, dtype=dtype)
    painter = _Painter(program, small, dtype, device)
    painter.paint(TensorSource(image), None, None, None)
    return painter.finishes


class _Painter:
    """Walks over one picture, pass by pass.

    Attributes:
        finishes: What follows each layer whose statistics are known.
    """

    def __init__(self, program: Program, plan: TilePlan, dtype: torch.dtype, device: torch.device) -> None:
        self.program = program = with_pixel_blocks(program)
        self.plan, self.device = plan, device
        self.chains = Chains(program, plan.height, plan.width, plan.waiting.keeping(), dtype, device)
        self.kernels = [
            (
                layer.weight.to(device, dtype).contiguous(memory_format=torch.channels_last),
                layer.bias.to(device, dtype),
            )
            for layer in program.layers
        ]
        self.finishes = {
            number: Finish(None, None, None, layer.relu)
            for number, layer in enumerate(program.layers)
            if layer.norm is None
        }
        self.done, self.total = 0, 0
        self.on_strip: Callable[[int, int], None] | None = None

    def begin(self, passes: int, on_strip: Callable[[int, int], None] | None, before: int = 0) -> None:
        """Say how many passes there will be, how many strips before them, and who wants to hear of strips done."""
        self.total, self.on_strip = passes * self.chains.strips(self.plan.strip) + before, on_strip

    def advance(self) -> None:
        """Count one more strip as done."""
        self.done += 1
        if self.on_strip is not None:
            self.on_strip(self.done, self.total)

    def paint(
        self,
        source: PictureSource,
        sink: PictureSink | None,
        scratch: Path | None,
        on_strip: Callable[[int, int], None] | None,
    ) -> None:
        """Paint a picture; without a sink, only gather the statistics of all layers."""
        passes = schedule(self.program, self.finishes)
        if sink is None:
            passes = [one for one in passes if one.gathers]
        if not self.total:
            self.begin(len(passes), on_strip)
        trunk = self.chains.trunk
        with ExitStack() as stack:
            stores: dict[Place, RowStore] = {}
            for place in sorted(set().union(*(one.places for one in passes))):
                keeping = self.chains.keeping[place]
                stores[place] = stack.enter_context(
                    open_store(keeping.place, scratch, trunk.channels, trunk.height, trunk.width, keeping.stored)
                )
            inside = Inside(source, sink.write if sink else None, stores, self.finishes, self.kernels)
            for one in passes:
                chain = self.chains.make(one, inside)
                top = 0
                for count in strip_heights(self.chains.padded[0], self.plan.strip):
                    _walk(chain, top, top + count)
                    top += count
                    self.advance()
                if chain.moments is not None:
                    self.finishes[one.layers[-1]] = self._finish(one.layers[-1], chain.moments)

    def _finish(self, number: int, moments: Moments) -> Finish:
        layer = self.program.layers[number]
        mean, variance = moments.mean[None], moments.variance[None]
        # As it will be subtracted: what rounding leaves is made up for by the shift.
        centre = mean.float().to(mean.dtype)
        found = (centre, *layer.norm.coefficients(mean, variance, centre))
        centre, scale, shift = (values[0].float()[:, None, None].to(self.device) for values in found)
        return Finish(centre, scale, shift, layer.relu)


def _walk(chain: Chain, top: int, bottom: int) -> None:
    """Take the strip of a pass between two rows of the picture through all stages. Nothing of it stays here."""
    rows = chain.first.read(top, bottom)
    for stage in chain.stages:
        rows = stage(rows)
        if rows is None:
            return


def _shrink(source: PictureSource, size: tuple[int, int], strip: int, advance: Callable[[], None]) -> Tensor:
    """Return a small copy (1, 3, height, width) of a picture: means over areas, read strip by strip."""
    height, width = size
    result = torch.zeros(1, 3, height, width)
    edges = torch.arange(height + 1, dtype=torch.float64) * (source.height / height)
    top = 0
    for count in strip_heights(source.height, strip):
        rows = F.adaptive_avg_pool2d(checked_rows(source, top, top + count).cpu(), (count, width))
        # How much of each row of the result each of these rows covers.
        first = torch.arange(top, top + count, dtype=torch.float64)
        covered = torch.minimum(edges[1:, None], first + 1) - torch.maximum(edges[:-1, None], first)
        share = covered.clamp_(min=0) * (height / source.height)
        reached = share.sum(1) > 0
        result[:, :, reached] += share[reached].float() @ rows
        top += count
        advance()
    return result.clamp_(0, 1)
