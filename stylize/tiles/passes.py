"""In which order the layers of a program are computed when the picture does not fit into memory.

A normalisation with statistics of the whole picture can only be applied when all of its input was seen once. So the
picture is walked through several times (passes), from top to bottom, and each pass ends at the first layer whose
statistics are not known yet: it gathers them.

Only features at the resolution of the residual blocks are stored, in two places: ``trunk`` (the input x of a block)
and ``branch`` (the output of the last convolution within it, not yet normalised). What lies before (encoder) and after
(decoder) would be too large; it is computed again in each pass that needs it. A part of the network that needs no
statistics costs no pass of its own.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from stylize.program import Program

Place = Literal["trunk", "branch"]
Source = Literal["picture", "trunk", "branch"]

ENTER: Literal["enter"] = "enter"
"""Step: a residual block begins; its input is remembered."""

LEAVE: Literal["leave"] = "leave"
"""Step: a residual block ends; its input is added."""

KEEP: Literal["keep"] = "keep"
"""Step: the features are written to the trunk store."""

Step = int | Literal["enter", "leave", "keep"]
"""A layer, by its number in ``program.layers``, or one of the steps above."""


@dataclass(frozen=True)
class Pass:
    """One walk over the whole picture.

    Attributes:
        source: Where features come from. ``trunk``: from the trunk store, with what is in the branch store added,
            where ``branch_raw`` is set. ``branch``: from the branch store alone.
        trunk_raw: The layer whose output, before its norm and ReLU, is in the trunk store; None = finished features.
        branch_raw: The same of the branch store; None = nothing to be read there.
        steps: What is computed, in order.
        gathers: Whether the statistics of the last layer are gathered.
        store: Where the output of the last layer, before its norm and ReLU, is written.
    """

    source: Source
    trunk_raw: int | None
    branch_raw: int | None
    steps: tuple[Step, ...]
    gathers: bool = False
    store: Place | None = None

    @property
    def paints(self) -> bool:
        """Whether the pass ends with the painted picture."""
        return not self.gathers and self.store is None

    @property
    def layers(self) -> list[int]:
        """Numbers of the layers that are computed."""
        return [step for step in self.steps if isinstance(step, int)]

    @property
    def places(self) -> set[Place]:
        """Where the pass writes."""
        return ({self.store} if self.store else set()) | ({"trunk"} if KEEP in self.steps else set())


@dataclass(frozen=True)
class _Position:
    """How far features are there: everything before ``step`` is done."""

    step: int
    source: Source = "picture"
    trunk_raw: int | None = None
    branch_raw: int | None = None

    def finished_at(self, step: int) -> bool:
        """Whether the trunk store holds just what goes into ``step``."""
        return self.source == "trunk" and self.step == step and self.trunk_raw is None and self.branch_raw is None


def schedule(program: Program, known: Container[int] = ()) -> list[Pass]:
    """Return the passes that paint a picture, in order; the last one paints.

    Args:
        program: The network.
        known: Numbers of layers, in ``program.layers``, whose statistics are known already.
    """
    return _Scheduler(program, known).passes()


class _Scheduler:
    def __init__(self, program: Program, known: Container[int]) -> None:
        encoder, blocks, decoder = len(program.encoder), len(program.blocks), len(program.decoder)
        numbers = iter(range(len(program.layers)))
        self.steps: list[int | tuple[int, int]] = [next(numbers) for _ in range(encoder)]
        self.steps += [(next(numbers), next(numbers)) for _ in range(blocks)]
        self.steps += [next(numbers) for _ in range(decoder)]
        self.trunk, self.decoder = encoder, encoder + blocks
        self.open = {number for number, layer in enumerate(program.layers) if layer.norm is not None}
        self.open = {number for number in self.open if number not in known}

    def passes(self) -> list[Pass]:
        found: list[Pass] = []
        position: _Position | None = _Position(0)
        while position is not None:
            one, position = self._next(position)
            found.append(one)
        return found

    def _next(self, position: _Position) -> tuple[Pass, _Position | None]:
        """Return the pass that starts at a position, and where the following one starts; None after the last."""
        done: list[Step] = []
        resume = position  # Where the next pass starts unless this one gets further.

        def ended(following: _Position, store: Place | None, gathers: bool = True) -> tuple[Pass, _Position]:
            one = Pass(position.source, position.trunk_raw, position.branch_raw, tuple(done), gathers, store)
            return one, following

        if position.source == "branch":
            # In the middle of a block, which its second layer ends.
            number = position.branch_raw + 1
            done.append(number)
            gathers = number in self.open
            self.open.discard(number)
            return ended(_Position(position.step + 1, "trunk", None, number), "branch", gathers)

        def keep(step: int) -> None:
            nonlocal resume
            if not position.finished_at(step):
                done.append(KEEP)
                resume = _Position(step, "trunk")

        for step in range(position.step, len(self.steps)):
            here = self.steps[step]
            if isinstance(here, tuple):
                first, second = here
                if first in self.open:
                    keep(step)
                    done.append(first)
                    self.open.discard(first)
                    return ended(_Position(step, "branch", None, first), "branch")
                if second in self.open:
                    keep(step)
                    done += [first, second]
                    self.open.discard(second)
                    return ended(_Position(step + 1, "trunk", None, second), "branch")
                done += [ENTER, first, second, LEAVE]
                continue
            if step == self.decoder and any(number in self.open for number in self.steps[step:]):
                keep(step)
            done.append(here)
            if here in self.open:
                self.open.discard(here)
                if step == self.trunk - 1:
                    return ended(_Position(self.trunk, "trunk", here), "trunk")
                return ended(resume, None)
        return Pass(position.source, position.trunk_raw, position.branch_raw, tuple(done)), None
