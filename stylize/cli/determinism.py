"""``--deterministic``: only algorithms that give the same bits each time.

The switches are those of the whole process. The command line may set them, a library must not; a program that calls
stylize sets its own, as PyTorch's page on reproducibility says. They are as before when the command is over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from stylize.errors import StylizeError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Read by cuBLAS when it starts: with buffers of fixed sizes its sums come in one order."""

WORKSPACES = (":4096:8", ":16:8")
"""Settings with which that holds, the faster one first."""

SHARE_OF_MEMORY = 0.25
"""Part of the installed memory that a picture may take where no limit is given; what is free changes all the time, and
decides whether a picture is painted in strips."""

USUAL_MEMORY = 2 * 10**9
"""The same in bytes where the system does not say how much is installed."""

deterministic_option = click.option(
    "--deterministic",
    is_flag=True,
    help="Use only algorithms of PyTorch that give the same bits each time, or stop where it has none. Two runs with "
    "the same inputs and seed then end in equal pictures and weights, also where one was stopped and resumed: on the "
    "same machine, with the same versions and as many threads; between others nothing is promised. On a CPU that holds "
    "without this option too; it is for GPUs, where it costs time.",
)


@contextmanager
def deterministically(wanted: bool) -> Iterator[None]:
    """Let torch compute with such algorithms alone meanwhile, where that is wanted.

    Args:
        wanted: Whether it is; else nothing happens, and torch is not imported.

    Raises:
        StylizeError: Something was asked of torch for which it has no such algorithm.
    """
    if not wanted:
        yield
        return
    workspace = os.environ.get(WORKSPACE)
    if workspace not in WORKSPACES:
        os.environ[WORKSPACE] = WORKSPACES[0]  # before cuBLAS starts, which is at the first product of matrices

    import torch

    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # it takes the algorithm that is the fastest this time
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        said = str(error).partition(".")[0]
        raise StylizeError(
            f"torch {torch.__version__} cannot do that in a way that gives the same bits each time ({said}); leave out "
            "--deterministic, or compute with --device cpu"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            del os.environ[WORKSPACE]
        else:
            os.environ[WORKSPACE] = workspace


def steady_memory() -> int:
    """Return the bytes that painting a picture may take, by what is installed and not by what is free now."""
    try:
        return int(SHARE_OF_MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return USUAL_MEMORY
