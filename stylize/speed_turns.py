"""Several things timed in turns (A B C, B C A, C A B, ...): whatever else the machine does meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch

from stylize.errors import StylizeError

FAILURES = (StylizeError, RuntimeError, MemoryError, ImportError, OSError, ValueError)
"""What an engine may raise without stopping the others."""


@dataclass
class Turn:
    """Something that is timed, once in each round.

    Attributes:
        work: What is timed; returns a result, which is looked at after the round of warming up.
        look: Looks at that result; raises one of :data:`FAILURES` where it is wrong.
        seconds: Of the counted rounds.
        capped: Whether it left for lack of time.
        error: Why it left.
    """

    work: Callable[[], Any]
    look: Callable[[Any], None] = lambda result: None
    seconds: list[float] = field(default_factory=list)
    capped: bool = False
    error: str | None = None


def take_turns(
    turns: Sequence[Turn],
    repeats: int,
    seconds: float | None = None,
    clock: Callable[[], float] = perf_counter,
    on_round: Callable[[int], None] = lambda number: None,
) -> None:
    """Time several things in interleaved rounds; each round begins with another one. Round 0 does not count.

    What fails is left out from then on, with the reason in :attr:`Turn.error`.

    Args:
        turns: What is timed; the samples are put in there, as they come.
        repeats: Rounds that count.
        seconds: One that has used so much in counted rounds is left out from then on; None = no limit.
        clock: Returns seconds.
        on_round: Called with the number of each round before it.
    """
    for number in range(repeats + 1):
        for turn in turns:
            turn.capped = turn.capped or (seconds is not None and sum(turn.seconds) >= seconds)
        if all(turn.capped or turn.error is not None for turn in turns):
            return
        on_round(number)
        for position in range(len(turns)):
            turn = turns[(number + position) % len(turns)]
            if turn.capped or turn.error is not None:
                continue
            try:
                begin = clock()
                result = turn.work()
                elapsed = clock() - begin
                if number == 0:
                    turn.look(result)
                else:
                    turn.seconds.append(elapsed)
            except FAILURES as error:
                turn.error = reason_of(error)


def reason_of(error: BaseException) -> str:
    """Return what an error says, in one line that is not too long."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 300 else f"{words[:297]}..."


def finish(device: torch.device) -> None:
    """Wait until a device has done what it was told; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
