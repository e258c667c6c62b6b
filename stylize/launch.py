"""How this process was started: alone, or by torchrun as one of several that train one network together.

torchrun says so in environment variables. They are read here without torch, so that a command knows early whether it
is the one to speak.

Reference: the documentation of ``torch.distributed.run``, "Environment Variables".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from stylize.errors import AnotherProcessFailed, InputError, StylizeError

ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
"""Where the processes meet."""

COUNTS = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""Which process this is of all, and which of how many on its machine."""


@dataclass(frozen=True)
class Launch:
    """Which of how many processes this is.

    Attributes:
        rank: Its number among all, from 0; the first one alone writes.
        size: How many there are.
        local_rank: Its number among those of its machine.
        local_size: How many its machine has.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes: files, the log and what the user reads."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    def items(self, batch_size: int) -> range:
        """Return which photos of a batch this process takes.

        Raises:
            InputError: The batch cannot be shared out evenly.
        """
        if batch_size % self.size:
            least = batch_size // self.size * self.size
            possible = " or ".join(str(size) for size in (least, least + self.size) if size)
            photos = "photo" if batch_size == 1 else "photos"
            raise InputError(
                f"batches of {batch_size} {photos} given to {self.size} processes; each takes an equal share of the "
                f"batch: give --batch-size {possible}, or start another number of processes"
            )
        share = batch_size // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    @contextmanager
    def alike(self) -> Iterator[None]:
        """Let the first process of each machine say what is wrong with something that all its processes were given.

        Raises:
            AnotherProcessFailed: The block failed in this process, and in the first one of this machine too.
        """
        try:
            yield
        except StylizeError as error:
            if self.local_rank == 0:
                raise
            raise AnotherProcessFailed("another process of the run failed") from error


def launched(environment: Mapping[str, str] | None = None) -> Launch:
    """Return how this process was started.

    Args:
        environment: The environment variables; None: those of this process.

    Raises:
        InputError: The variables say that there are other processes, but not where they meet, or contradict each other.
    """
    values = os.environ if environment is None else environment
    size = _whole(values, "WORLD_SIZE", 1) if values.get("WORLD_SIZE") else 1
    if size == 1:
        return Launch()
    missing = [name for name in (*COUNTS, *ADDRESS) if not values.get(name)]
    if missing:
        raise InputError(
            f"WORLD_SIZE is {size}, but {', '.join(missing)} is not set; start several processes with "
            f"'torchrun --nproc-per-node {size} -m stylize train ...', or unset WORLD_SIZE to train with one"
        )
    launch = Launch(
        _whole(values, "RANK", 0), size, _whole(values, "LOCAL_RANK", 0), _whole(values, "LOCAL_WORLD_SIZE", 1)
    )
    if launch.rank >= size or launch.local_rank >= launch.local_size:
        raise InputError(
            f"RANK is {launch.rank} of {size} and LOCAL_RANK {launch.local_rank} of {launch.local_size}; ranks count "
            "from 0 and end below the number of processes"
        )
    return launch


def _whole(values: Mapping[str, str], name: str, least: int) -> int:
    """Return an environment variable as a whole number of at least ``least``."""
    text = values[name].strip()
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise InputError(f"{name} is '{text}' in the environment; a whole number of {least} or more is accepted")
    return int(text)
