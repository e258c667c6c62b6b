"""How a picture of some size is painted strip by strip within some memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from stylize.errors import InputError
from stylize.program import Program
from stylize.tiles.chain import Chains
from stylize.tiles.encoding import FLOAT32_BYTES, STORED_AS, StoredAs
from stylize.tiles.features import Keeping
from stylize.tiles.passes import Pass, Place, schedule
from stylize.tiles.pixel_blocks import with_pixel_blocks
from stylize.tiles.rows import strip_heights
from stylize.transformer import padded_size

WORK_BYTES = 200 * 10**6
"""Memory that the features of a strip may take where nothing else is asked for. Larger strips are not faster."""

WORK_BEYOND_LEAST = 100 * 10**6
"""Or this much beyond what the smallest strip takes, where a picture is so wide that this is more."""

LEAST_WORK_BYTES = 50 * 10**6
"""Below this strips become slow: features go to a scratch file first."""

ALLOCATOR = 4
"""How many times their size the features of a strip take from the system. The C library's allocator does not fill the
holes that they leave exactly: 2.1 to 4.1 times were measured with glibc, on networks and strips of several sizes."""

THUMBNAIL = 1024
"""Long edge in pixels of the thumbnail that statistics can be taken from instead of from the picture."""

COMPUTES_IN = (torch.float32, torch.bfloat16, torch.float16)

Storage = Literal["memory", "scratch"]
Statistics = Literal["exact", "thumbnail"]


@dataclass(frozen=True)
class Waiting:
    """Where features wait between passes.

    Attributes:
        trunk: Those of the trunk.
        branch: Those of the branches.
        stored: As what.
    """

    trunk: Storage
    branch: Storage
    stored: StoredAs

    def keeping(self) -> dict[Place, Keeping]:
        """Return the same by place."""
        return {"trunk": Keeping(self.trunk, self.stored), "branch": Keeping(self.branch, self.stored)}


WAYS = (
    Waiting("memory", "memory", "float32"),
    Waiting("memory", "memory", "int16"),
    # The branch is read and written twice in every block, the trunk once.
    Waiting("scratch", "memory", "int16"),
    Waiting("scratch", "scratch", "int16"),
)
"""From the fastest to the one that takes the least memory."""


@dataclass(frozen=True)
class TilePlan:
    """How a picture is painted in full-width strips.

    Attributes:
        height: Rows of the picture.
        width: Columns of the picture.
        strip: Rows of the picture in a strip, a multiple of ``program.config.reduction``.
        storage: Where features wait between passes, of the trunk and of the branches: ``memory`` or ``scratch``.
        stored: What they are kept as: ``float32`` or ``int16`` (:mod:`stylize.tiles.encoding`).
        passes: Walks over the picture.
        strips: Strips in all passes together.
        peak_bytes: Memory that the process takes at most, above what it takes already: for features, stores and
            weights, with what the allocator loses (:data:`ALLOCATOR`).
        live_bytes: The same without what the allocator loses: the size of all tensors.
        scratch_bytes: Room that scratch files take on the disk.
        multiplications: Multiplications of all convolutions in all passes.
    """

    height: int
    width: int
    strip: int
    storage: tuple[Storage, Storage]
    stored: StoredAs
    passes: int
    strips: int
    peak_bytes: int
    live_bytes: int
    scratch_bytes: int
    multiplications: int

    @property
    def waiting(self) -> Waiting:
        """Where features wait between passes."""
        return Waiting(*self.storage, self.stored)


def thumbnail_size(height: int, width: int, long_edge: int = THUMBNAIL) -> tuple[int, int]:
    """Return height and width of the thumbnail of a picture; a small picture is its own."""
    share = min(1.0, long_edge / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def plan_tiles(
    program: Program,
    height: int,
    width: int,
    *,
    strip: int | None = None,
    memory: int | None = None,
    dtype: torch.dtype = torch.float32,
    statistics: Statistics = "exact",
    storage: tuple[Storage, Storage] | None = None,
    stored: StoredAs | None = None,
) -> TilePlan:
    """Return how to paint a picture strip by strip.

    Args:
        program: The network.
        height: Rows of the picture.
        width: Columns of the picture.
        strip: Rows of a strip, rounded up to a multiple of ``program.config.reduction``. None: as many as take a
            moderate amount of memory.
        memory: Most bytes that features, stores and weights may take, without what the picture and the result take
            where they come from and go to. None: no limit; everything stays in memory as float32.
        dtype: What features are computed in: float32, bfloat16 or float16.
        statistics: As for :func:`stylize.tiles.paint_tiled`.
        storage: Where features wait between passes (:class:`TilePlan`); None chooses.
        stored: What they are kept as, ``float32`` or ``int16``; None chooses.

    Raises:
        InputError: The memory is not enough for one strip of the least height, or an argument that is not accepted.
    """
    _check(height, width, strip, memory, dtype, stored)
    planner = _Planner(program, height, width, dtype, statistics)
    ways = _ways(storage, stored)
    if not planner.places:
        ways = ways[:1]
    for way in ways:
        rows = planner.rows(strip, way, memory, last=way == ways[-1])
        plan = None if rows is None else planner.plan(rows, way)
        if plan is not None and (memory is None or plan.peak_bytes <= memory):
            return plan
    rows = planner.rounded(1 if strip is None else strip)
    least = min((planner.plan(rows, way) for way in ways), key=lambda plan: plan.peak_bytes)
    smaller = ", or less with a smaller strip" if least.strip > planner.reduction else ""
    raise InputError(
        f"{_megabytes(memory)} of memory given for a picture of {width}x{height} px in strips of {least.strip} rows; "
        f"at least {_megabytes(least.peak_bytes, up=True)} is needed{smaller}"
    )


def _ways(storage: tuple[Storage, Storage] | None, stored: StoredAs | None) -> list[Waiting]:
    """Return the ways for features to wait that are left to choose from."""
    accepted = STORED_AS if stored is None else (stored,)
    if storage is not None:
        return [Waiting(*storage, one) for one in accepted]
    if stored == "float32":
        return list(dict.fromkeys(Waiting(way.trunk, way.branch, stored) for way in WAYS))
    return [way for way in WAYS if way.stored in accepted]


def _megabytes(size: int, up: bool = False) -> str:
    """Return a size as text; rounded ``up``, so that giving that much is enough."""
    return f"{-(-size // 10**6) if up else size // 10**6:,} MB"


def _check(
    height: int, width: int, strip: int | None, memory: int | None, dtype: torch.dtype, stored: StoredAs | None
) -> None:
    if height < 1 or width < 1:
        raise InputError(f"a picture of {width}x{height} px given; it must have pixels")
    if strip is not None and strip < 1:
        raise InputError(f"strips of {strip} rows given; at least 1 is accepted")
    if memory is not None and memory < 1:
        raise InputError(f"{memory} bytes of memory given; it must be more than 0")
    if dtype not in COMPUTES_IN:
        raise InputError(f"dtype {dtype} given; float32, bfloat16 and float16 are accepted")
    if stored not in (None, *STORED_AS):
        raise InputError(f"features stored as {stored} asked for; {' and '.join(STORED_AS)} are accepted")


class _Planner:
    """Plans for one picture and one network."""

    def __init__(self, program: Program, height: int, width: int, dtype: torch.dtype, statistics: Statistics) -> None:
        self.program = program = with_pixel_blocks(program)
        self.height, self.width, self.dtype = height, width, dtype
        self.reduction = program.config.reduction
        self.padded = padded_size(program.config, height, width)
        self.thumbnail = statistics == "thumbnail" and program.needs_statistics
        known = range(len(program.layers)) if self.thumbnail else ()
        self.passes = schedule(program, known)
        self.places: set[Place] = set().union(*(one.places for one in self.passes))
        self.kinds = _kinds(self.passes, program)
        self.weights = sum(layer.weight.numel() + layer.bias.numel() for layer in program.layers) * dtype.itemsize

    def rounded(self, strip: int) -> int:
        """Return a height of strips that the network accepts and that is not beyond the picture."""
        return min(-(-strip // self.reduction) * self.reduction, self.padded[0])

    def rows(self, strip: int | None, way: Waiting, memory: int | None, last: bool) -> int | None:
        """Return the rows of a strip; None where another way should be tried before strips become so small.

        Args:
            strip: What was asked for; None chooses.
            way: How features wait.
            memory: Bytes there are; None = no limit.
            last: Whether there is no other way.
        """
        if strip is not None:
            return self.rounded(strip)
        allowed = max(WORK_BYTES, WORK_BEYOND_LEAST + self._work_bytes(self.reduction, way))
        if memory is not None:
            allowed = min(allowed, memory - self._stored_bytes(way, "memory") - self.weights)
            if allowed < LEAST_WORK_BYTES and not last:
                return None
        return self._largest(way, allowed)

    def _largest(self, way: Waiting, allowed: int) -> int:
        """Return the rows of the largest strip whose features take no more than ``allowed`` bytes, or the least."""
        low, high = 1, self.padded[0] // self.reduction
        while low < high:
            middle = (low + high + 1) // 2
            if self._work_bytes(middle * self.reduction, way) <= allowed:
                low = middle
            else:
                high = middle - 1
        return low * self.reduction

    def _chains(self, way: Waiting) -> Chains:
        return Chains(self.program, self.height, self.width, way.keeping(), self.dtype)

    def _work_bytes(self, strip: int, way: Waiting, waste: int = ALLOCATOR) -> int:
        chains = self._chains(way)
        return max(chains.most_bytes(one, strip, waste) for one in self.kinds)

    def _stored_bytes(self, way: Waiting, where: Storage) -> int:
        """Return the bytes of the stores that are in memory, or in scratch files."""
        trunk = self._chains(way).trunk
        return sum(
            keeping.size(trunk)
            for place, keeping in way.keeping().items()
            if place in self.places and keeping.place == where
        )

    def plan(self, strip: int, way: Waiting) -> TilePlan:
        """Return the plan for strips of ``strip`` rows."""
        chains = self._chains(way)
        stays = self.weights + self._stored_bytes(way, "memory")
        peak, live = stays + self._work_bytes(strip, way), stays + self._work_bytes(strip, way, waste=1)
        multiplications = sum(chains.multiplications(one) for one in self.passes)
        passes, strips = len(self.passes), len(self.passes) * chains.strips(strip)
        if self.thumbnail:
            # One pass more, to make the thumbnail.
            passes, strips = passes + 1, strips + len(strip_heights(self.height, strip))
            high, wide = thumbnail_size(self.height, self.width)
            small = plan_tiles(self.program, high, wide, strip=strip, dtype=self.dtype)
            size = 3 * high * wide * FLOAT32_BYTES
            peak, live = max(peak, small.peak_bytes + size), max(live, small.live_bytes + size)
            multiplications += small.multiplications
        return TilePlan(
            height=self.height,
            width=self.width,
            strip=strip,
            storage=(way.trunk, way.branch),
            stored=way.stored,
            passes=passes,
            strips=strips,
            peak_bytes=peak,
            live_bytes=live,
            scratch_bytes=self._stored_bytes(way, "scratch"),
            multiplications=multiplications,
        )


def _kinds(passes: list[Pass], program: Program) -> list[Pass]:
    """Return one pass of each kind: those of all blocks but the first are alike."""
    start, end = len(program.encoder), len(program.encoder) + 2 * len(program.blocks)

    def kind(one: Pass) -> Pass:
        steps = tuple(
            start + (step - start) % 2 if isinstance(step, int) and start <= step < end else step for step in one.steps
        )
        raw = None if one.branch_raw is None else start + (one.branch_raw - start) % 2
        return replace(one, branch_raw=raw, steps=steps)

    return list({kind(one): one for one in passes}.values())
