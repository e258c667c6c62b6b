"""Numbers as text, as CSV and as JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stylize.checkpoints import replacing
from stylize.errors import InputError

MISSING = "–"
"""What a reader sees where there is no number."""

MINUS = "\N{MINUS SIGN}"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number_text(value: object, digits: int = 3) -> str:
    """Return a number as a person reads it: ``0.0417``, ``12,300``, ``3.1×10⁻⁷``; text is returned as it is.

    Args:
        value: A number, a text, or None. None, NaN and infinity are shown as :data:`MISSING`.
        digits: Significant digits of a number that is not whole, 1 or more.
    """
    value = _plain(value)
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if not isinstance(value, float):
        return str(value)
    size = abs(value)
    if size == 0:
        return "0"
    if not 1e-4 <= size < 1e7:
        mantissa, _, exponent = f"{value:.{max(digits - 2, 0)}e}".partition("e")
        return f"{mantissa}×{power_of_ten(int(exponent))}".replace("-", MINUS)
    # The exponent of the rounded number: 0.9996 with three digits is 1.00, not 1.000.
    decimals = digits - 1 - int(f"{size:.{digits - 1}e}".rpartition("e")[2])
    return f"{round(value, decimals):,.{max(decimals, 0)}f}".replace("-", MINUS)


def power_of_ten(exponent: int) -> str:
    """Return ``10⁻⁷`` for -7."""
    return "10" + str(exponent).translate(SUPERSCRIPTS)


def write_csv(path: Path | str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV (UTF-8, comma, one line break per row), whole or not at all.

    Floats keep every digit. None, NaN and infinity become empty cells.

    Args:
        path: The file; an existing one is replaced.
        header: Names of the columns.
        rows: As many cells in each as there are columns.

    Raises:
        InputError: A row has more or fewer cells than the header, or a cell is not a number or a text.
        OutputError: The file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise InputError(f"row {number} of {path} has {len(row)} cells for {len(header)} columns")
        cells = [_plain(cell) for cell in row]
        for cell in cells:
            if isinstance(cell, list | dict):
                raise InputError(
                    f"row {number} of {path} has a cell of kind {type(cell).__name__}; numbers and text fit"
                )
        writer.writerow(["" if cell is None else cell for cell in cells])
    _write_text(Path(path), text.getvalue())


def write_json(path: Path | str, document: object) -> None:
    """Write plain data as JSON (UTF-8, indented), whole or not at all.

    Floats keep every digit. NaN and infinity, which JSON does not have, become null. Arrays, scalars with an ``item``
    method, dataclasses and paths are written as what they hold.

    Args:
        path: The file; an existing one is replaced.
        document: Mappings, sequences, numbers, texts, None, in any nesting.

    Raises:
        InputError: The document holds something that JSON cannot express.
        OutputError: The file cannot be written.
    """
    _write_text(Path(path), json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically. A file name that is no UTF-8 arrives as a lone surrogate, which is written escaped."""
    content = text.encode("utf-8", "backslashreplace")
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _plain(value: object) -> Any:
    """Return ``value`` as None, bool, int, finite float, str, list or dict.

    Raises:
        InputError: It is none of these and cannot be turned into one.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(inner) for key, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [_plain(inner) for inner in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    # Scalars and arrays of NumPy and torch, without importing either.
    to_list = getattr(value, "tolist", None)
    if callable(to_list):
        return _plain(to_list())
    raise InputError(f"{value!r} of kind {type(value).__name__} cannot be written; numbers, text, lists and tables can")


def _key(key: object) -> str:
    """Return the key of a table as text."""
    if isinstance(key, str):
        return key
    plain = _plain(key)
    if isinstance(plain, list | dict):
        raise InputError(f"{key!r} cannot be the name of an entry; a text or a number is accepted")
    return "null" if plain is None else str(plain)
