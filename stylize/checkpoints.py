"""Weights files: safetensors with the architecture and the history of the network in the header.

Format ``stylize`` version 1. The header's metadata (string to string) holds::

    format          "stylize"
    format_version  "1"
    architecture    JSON of TransformerConfig
    metadata        JSON of what training wrote down: style, norm, preset, steps, losses, licence, ...

and the tensors are the network's state dict, float16 or float32. Nothing in such a file can execute code, the
architecture is read from it and never guessed, and its sizes are checked before anything is allocated.

A training state (``format`` = ``stylize-training``) is a safetensors file as well: network, optimiser and counters.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylize.config import TransformerConfig
from stylize.errors import InputError, OutputError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.transformer import TransformerNet

FORMAT = "stylize"
FORMAT_VERSION = "1"
TRAINING_FORMAT = "stylize-training"
MAXIMUM_HEADER_BYTES = 4 * 1024**2
"""A header of our networks has a few kilobytes; a larger one is not read."""

WEIGHTS_DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class WeightsFile:
    """A weights file without its tensors.

    Attributes:
        path: The file.
        architecture: The network's architecture.
        metadata: What training wrote down, plain JSON values.
    """

    path: Path
    architecture: TransformerConfig
    metadata: dict[str, Any]


def read_header(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, without its tensors and without torch.

    Raises:
        WeightsError: The file is missing, is no safetensors file or is shorter than its header says.
    """
    try:
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
            header = json.loads(begins + file.read(length - 1))
    except WeightsError:  # a ValueError itself, which the handler for damaged JSON below must not take
        raise
    except FileNotFoundError:
        raise WeightsError(f"weights file {path} not found") from None
    except IsADirectoryError:
        raise WeightsError(f"{path} is a folder; a .safetensors file is accepted") from None
    except OSError as error:
        raise WeightsError(f"weights file {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not a safetensors file: its header is no JSON") from error
    return _checked_header(path, header, size - 8 - length)


def _checked_header(path: Path, header: object, data_bytes: int) -> dict[str, str]:
    """Return ``header["__metadata__"]`` after checking that the tensors it lists lie within the file."""
    if not isinstance(header, dict):
        raise WeightsError(f"{path} is not a safetensors file: its header is no table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError(f"{path} is not a safetensors file: its metadata is no table of texts")
    end = 0
    for entry in header.values():
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(o) is int and o >= 0 for o in offsets)):
            raise WeightsError(f"{path} is damaged: a tensor without a place in the file")
        end = max(end, *offsets)
    if end != data_bytes:
        raise WeightsError(f"{path} is truncated or damaged: {data_bytes} bytes of weights, {end} expected")
    return metadata


def read_weights_file(path: Path | str) -> WeightsFile:
    """Read the header of a weights file, without its tensors and without torch.

    Raises:
        WeightsError: The file is missing, a pickle, truncated, of another kind or of an unknown architecture.
    """
    path = Path(path)
    header = read_header(path)
    if header.get("format") != FORMAT:
        kind = f"a '{header['format']}' file" if header.get("format") else "a safetensors file of something else"
        raise WeightsError(f"{path} is {kind}; a network made by `stylize train` is accepted")
    if header.get("format_version") != FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format version {header.get('format_version')!r}, not {FORMAT_VERSION}: update stylize"
        )
    try:
        values = json.loads(header.get("architecture", ""))
        metadata = json.loads(header.get("metadata", "{}"))
        unknown = set(values) - {field.name for field in fields(TransformerConfig)}
        if unknown:
            raise WeightsError(f"{path}: its architecture has settings this stylize does not know: {sorted(unknown)}")
        architecture = TransformerConfig(**values)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path}: its architecture cannot be used ({error})") from error
    if not isinstance(metadata, dict):
        raise WeightsError(f"{path}: its metadata is no table")
    return WeightsFile(path, architecture, metadata)


def load_network(path: Path | str, device: str = "cpu") -> tuple[TransformerNet, WeightsFile]:
    """Load a network in float32 and evaluation mode.

    Args:
        path: A weights file.
        device: Where to put the network, as torch names it.

    Raises:
        WeightsError: As :func:`read_weights_file`, or the tensors do not fit the architecture.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from stylize.transformer import TransformerNet

    weights = read_weights_file(path)
    try:
        with torch.device("meta"):
            network = TransformerNet(weights.architecture)
        tensors = load_file(str(path))
    except (TypeError, RuntimeError) as error:  # settings of a type that no network can be built from
        raise WeightsError(f"{path}: its architecture cannot be used ({error})") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read ({error})") from error
    # Copies: what was loaded may still lie in the file, which somebody may change.
    state = {name: t.to(torch.float32 if t.is_floating_point() else t.dtype, copy=True) for name, t in tensors.items()}
    expected = {name: (t.shape, t.dtype) for name, t in network.state_dict().items()}
    # Compared before anything is allocated: a header cannot ask for more memory than its file has bytes.
    if {name: (t.shape, t.dtype) for name, t in state.items()} != expected:
        raise WeightsError(f"{path} holds the weights of another architecture than its header says")
    if not all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point()):
        raise WeightsError(f"{path} holds weights that are not finite numbers; train it again")
    # Assigned, not copied: to allocate the meta tensors first costs a third of a second of imports inside torch.
    network.load_state_dict(state, strict=True, assign=True)
    return network.to(device).eval(), weights


def save_network(
    path: Path | str,
    network: TransformerNet,
    metadata: Mapping[str, Any],
    *,
    dtype: str = "float16",
    overwrite: bool = False,
) -> None:
    """Write a network as a weights file, atomically.

    Args:
        path: The file to write; its name ends in ``.safetensors``.
        network: The network.
        metadata: What to write down about it; plain JSON values.
        dtype: ``float16`` (half the size) or ``float32``.
        overwrite: Replace an existing file.

    Raises:
        OutputError: The file exists, or cannot be written.
        InputError: An unknown dtype.
    """
    import torch

    if dtype not in WEIGHTS_DTYPES:
        raise InputError(f"weights dtype '{dtype}' given; float16 or float32 is accepted")
    target = getattr(torch, dtype)
    tensors = {
        name: tensor.detach().to("cpu", target if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": json.dumps(asdict(network.config)),
        "metadata": json.dumps(metadata, sort_keys=True),
    }
    write_safetensors(path, tensors, header, overwrite=overwrite)


def write_safetensors(
    path: Path | str, tensors: Mapping[str, Tensor], header: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Write tensors and metadata to a safetensors file, atomically.

    Raises:
        OutputError: The file exists and ``overwrite`` is not given, or it cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; pass --overwrite or another name")
    content = save(dict(tensors), metadata=dict(header))
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``, which takes its place when the block ends well and is removed otherwise.

    Raises:
        OutputError: The folder cannot be made or written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise OutputError(f"cannot write {path}: {reason}; what was there is unchanged") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def read_training_state(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts of a training state written by :func:`write_training_state`.

    Raises:
        WeightsError: The file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(Path(path))
    if header.get("format") != TRAINING_FORMAT:
        raise WeightsError(f"{path} is not the state of a training run")
    try:
        return load_file(str(path)), json.loads(header["facts"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(f"training state {path} cannot be read ({error})") from error


def write_training_state(path: Path | str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the state of a training run, atomically, over the one before.

    Args:
        path: The file.
        tensors: Everything that is a tensor.
        facts: Everything else; plain JSON values.

    Raises:
        OutputError: It cannot be written; the state before is unchanged.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"format": TRAINING_FORMAT, "facts": json.dumps(facts)}
    write_safetensors(path, contiguous, header, overwrite=True)
