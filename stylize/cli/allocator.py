"""Memory that torch gives back and soon asks for again is kept by the process.

glibc gives every large block its own pages, and returns them to the system when it is freed. A network on a CPU frees
and asks for such blocks in every layer, and the system clears millions of pages for nothing: at 1024 x 1024 pixels that
takes longer than the arithmetic. The setting is of the whole process: the command line may make it, a library must not.

Reference: mallopt(3); measured in ``benchmarks/results/peer.md`` (the plain network, with and without).
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4

TOP_PAD = 64 * 2**20
"""Bytes that the heap grows by beyond what is asked for."""


def keep_freed_memory() -> bool:
    """Let the allocator of this process keep what is freed; return whether it was glibc's and took the setting."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # Another C library, such as musl.
    # No block in pages of its own; the heap never shrinks (-1 is the largest size there is).
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, -1), mallopt(M_TOP_PAD, TOP_PAD)])
