"""What Pillow raises and warns of: told to the user in one line, or kept quiet."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from stylize.errors import ImageError

DECODER_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow's decoders are known to raise on damaged or hostile files, besides its own classes."""


def damaged(name: str, error: BaseException) -> ImageError:
    """Return our form of what a decoder raised."""
    reason = reason_of(error)
    problem = "truncated: a part of it is missing" if "truncat" in reason.lower() else f"damaged ({reason})"
    return ImageError(f"{name} is {problem}; copy or export it again")


def shown(path: Path | str) -> str:
    """Return a path for a message of one line: characters that do not print are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in os.fspath(path))


def reason_of(error: BaseException) -> str:
    """Return what an exception says, in one line, without the file name that Python adds."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on the disk"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters: contextlib.AbstractContextManager[object] | None = None


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence the warnings of Pillow (large pictures, odd metadata) while the block runs, in any number of threads.

    ``warnings.catch_warnings`` swaps one list for the whole process, so threads that overlap would leave the wrong
    one behind; here the first to come sets the filter and the last to go restores what was there.
    """
    global _quiet_depth, _quiet_filters
    if getattr(sys.flags, "context_aware_warnings", False):  # Python 3.14: each thread has filters of its own
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\b")
            yield
        return
    with _quiet_lock:
        if not _quiet_depth:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\b")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if not _quiet_depth and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
