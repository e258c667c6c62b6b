"""The header of a safetensors file, read without its tensors and without torch.

The file may come from a stranger: what its header says is checked before anything is allocated, its tensors must fill
the file without gaps, and nothing in it can execute code.

Reference: the description of the format in the repository of safetensors, "Format".
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylize.errors import WeightsError

MAXIMUM_HEADER_BYTES = 4 * 1024**2
"""A header of our networks has a few kilobytes; a larger one is not read."""

MAXIMUM_ENTRIES = 64
"""Texts in a header; ours have four or five."""

MAXIMUM_TENSORS = 20_000
"""Tensors in a file. The state of a training run has most: the largest network has 1,200, and three for each more."""

MAXIMUM_DIMENSIONS = 8
"""Sides of a tensor; ours have at most five."""

BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
"""Bytes of a number, by the name of its type in a safetensors header."""


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file.

    Attributes:
        texts: Its metadata, names to texts.
        tensors: Type and shape of every tensor, by name.
    """

    texts: dict[str, str]
    tensors: dict[str, tuple[str, tuple[int, ...]]]


def read_header(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, without its tensors and without torch.

    Raises:
        WeightsError: As :func:`read_whole_header`.
    """
    return read_whole_header(path).texts


def read_whole_header(path: Path) -> Header:
    """Return the header of a safetensors file, without its tensors and without torch.

    Raises:
        WeightsError: The file is missing, is no safetensors file, is shorter than its header says, or its header lists
            more, or other, than a file of ours can.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            raise WeightsError(f"{path} is no regular file; a .safetensors file is accepted")  # a pipe would block
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            # The length of a header can look like a pickle (640 is 80 02); only what follows tells them apart.
            begins = file.read(1)
            if begins != b"{" and prefix[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
                raise WeightsError(
                    f"{path} is a pickle (.pt, .pth), which can execute code and is never loaded; a .safetensors file "
                    "made by `stylize train` is accepted"
                )
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= MAXIMUM_HEADER_BYTES or 8 + length > size:
                raise WeightsError(f"{path} is not a safetensors file, or it is truncated ({size} bytes)")
            header = json.loads(begins + file.read(length - 1), object_pairs_hook=_each_once)
    except WeightsError:  # a ValueError itself, which the handler for damaged JSON below must not take
        raise
    except FileNotFoundError:
        raise WeightsError(f"weights file {path} not found") from None
    except IsADirectoryError:
        raise WeightsError(f"{path} is a folder; a .safetensors file is accepted") from None
    except OSError as error:
        raise WeightsError(f"weights file {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        problem = "its header is no JSON, or names something twice"
        raise WeightsError(f"{path} is not a safetensors file: {problem}") from error
    return _checked_header(path, header, size - 8 - length)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table of JSON. Of a name that is there twice, two readers might take different ones."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name is there twice")
    return values


def _checked_header(path: Path, header: object, data_bytes: int) -> Header:
    """Return a header after checking that the tensors it lists fill the file, each in a place of its own."""
    if not isinstance(header, dict):
        raise WeightsError(f"{path} is not a safetensors file: its header is no table")
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        raise WeightsError(f"{path} is not a safetensors file: its metadata is no table of texts")
    for count, most, what in ((len(texts), MAXIMUM_ENTRIES, "texts"), (len(header), MAXIMUM_TENSORS, "tensors")):
        if count > most:
            raise WeightsError(f"{path} holds {count} {what}, more than the {most} that are read")
    tensors, places = {}, []
    for name, entry in header.items():
        entry = entry if isinstance(entry, dict) else {}
        offsets, shape, kind = (entry.get(key) for key in ("data_offsets", "shape", "dtype"))
        if not _are_counts(offsets, 2) or len(offsets) != 2:
            raise WeightsError(f"{path} is damaged: a tensor without a place in the file")
        if not _are_counts(shape, MAXIMUM_DIMENSIONS) or not isinstance(kind, str) or kind not in BYTES:
            raise WeightsError(f"{path} is damaged: a tensor without a shape or of an unknown type")
        if offsets[1] - offsets[0] != math.prod(shape) * BYTES[kind]:
            raise WeightsError(f"{path} is damaged: a tensor whose place has not the size of its shape")
        places.append(offsets)
        tensors[name] = (kind, tuple(shape))
    end = 0
    for first, last in sorted(places):
        if first != end:
            raise WeightsError(f"{path} is damaged: its tensors overlap or leave gaps")
        end = last
    if end != data_bytes:
        raise WeightsError(f"{path} is truncated or damaged: {data_bytes} bytes of weights, {end} expected")
    return Header(texts, tensors)


def _are_counts(values: object, most: int) -> bool:
    """Return whether something is a list of whole numbers, 0 or more, that 64 bits can hold."""
    if not isinstance(values, list) or len(values) > most:
        return False
    return all(type(value) is int and 0 <= value < 2**63 for value in values)
