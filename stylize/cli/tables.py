"""Aligned tables of plain text."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from stylize.errors import printable

SMALL_FILE = 100_000
"""Bytes below which a size is told in kilobytes."""


def file_text(path: str | os.PathLike[str]) -> str:
    """Return the name of a file as text that a terminal shows and does not obey; the name may be a stranger's."""
    return printable(click.format_filename(path))


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[int] = frozenset()) -> str:
    """Return a table with columns two spaces apart.

    Args:
        header: One title per column.
        rows: One cell per column.
        numeric: Columns that are aligned to the right.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def padded(line: list[str]) -> str:
        cells = (
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join(padded(line) for line in lines)


def size_text(*sizes: int) -> str:
    """Return sizes in bytes as people read them: ``7 KB``, ``0.8 MB``, ``0.8 to 3.4 MB``."""
    scale, digits, unit = (1e3, 0, "KB") if max(sizes) < SMALL_FILE else (1e6, 1, "MB")
    least, most = (f"{size / scale:.{digits}f}" for size in (min(sizes), max(sizes)))
    return f"{most} {unit}" if least == most else f"{least} to {most} {unit}"
