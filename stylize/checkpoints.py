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
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylize.config import TransformerConfig
from stylize.errors import InputError, OutputError, WeightsError, printable
from stylize.plain_json import read_table
from stylize.weights_header import read_header, read_whole_header

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.transformer import TransformerNet

FORMAT = "stylize"
FORMAT_VERSION = "1"
TRAINING_FORMAT = "stylize-training"
MAXIMUM_ARCHITECTURE = 10_000
"""Characters of an architecture in a header; ours have two hundred."""

WEIGHTS_DTYPES = ("float16", "float32")

FLOATS = ("F16", "BF16", "F32", "F64")
"""Types that learned numbers are read from."""

MODEL_FILE = "model.safetensors"
"""Name of the weights in a folder that is laid out as on the Hugging Face hub."""


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


def weights_path(path: Path | str) -> Path:
    """Return the file that a path stands for: the path itself, or of a folder the ``model.safetensors`` in it.

    Raises:
        WeightsError: A folder without one.
    """
    path = Path(path)
    if not os.path.isdir(path):  # False for every path that cannot be, where Path.is_dir raises
        return path
    inside = path / MODEL_FILE
    if inside.is_file():
        return inside
    others = sorted(one.name for one in path.glob("*.safetensors"))[:3]
    held = f"; it holds {', '.join(others)}: give the path of one" if others else ""
    raise WeightsError(
        f"{path} is a folder without {MODEL_FILE}{held}; a .safetensors file is accepted, or a folder made by `stylize "
        "export --format huggingface`"
    )


def read_weights_file(path: Path | str) -> WeightsFile:
    """Read the header of a weights file, without its tensors and without torch.

    Args:
        path: The file, or a folder with a ``model.safetensors`` (:func:`weights_path`).

    Raises:
        WeightsError: The file is missing, a pickle, truncated, of another kind or of an unknown architecture, or its
            architecture is larger than any network that is built.
    """
    path = weights_path(path)
    return _described(path, read_header(path))


def _described(path: Path, header: Mapping[str, str]) -> WeightsFile:
    """Return what the header of a weights file says."""
    if header.get("format") != FORMAT:
        kind = f"a '{shown_kind(header)}' file" if header.get("format") else "a safetensors file of something else"
        raise WeightsError(f"{path} is {kind}; a network made by `stylize train` is accepted")
    if header.get("format_version") != FORMAT_VERSION:
        version = str(header.get("format_version"))[:LONGEST_KIND]
        given = None if "format_version" not in header else version
        raise WeightsError(f"{path} has format version {given!r}, not {FORMAT_VERSION}: update stylize")
    architecture = read_architecture(header.get("architecture", ""), path)
    try:
        metadata = read_table(header.get("metadata", "{}"))
    except ValueError as error:
        raise WeightsError(f"{path}: its metadata cannot be used: {_one_line(error)}") from error
    return WeightsFile(path, architecture, metadata)


LONGEST_KIND = 40
"""Characters of the name of a format, or of a version, that a message shows."""


def shown_kind(header: Mapping[str, str]) -> str:
    """Return the format that a header names, as a message shows it."""
    return printable(header["format"][:LONGEST_KIND])


def read_architecture(text: str, path: Path) -> TransformerConfig:
    """Return the architecture that a file names, if it is one that can be built.

    Args:
        text: JSON of :class:`stylize.config.TransformerConfig`.
        path: The file, for messages.

    Raises:
        WeightsError: It is none, or one that is larger than any network that is built.
    """
    if len(text) > MAXIMUM_ARCHITECTURE:
        raise WeightsError(f"{path}: its architecture has {len(text)} characters; {MAXIMUM_ARCHITECTURE} are the most")
    try:
        values = read_table(text)
        unknown = set(values) - {field.name for field in fields(TransformerConfig)}
        if unknown:
            names = _one_line(str(sorted(unknown)))
            raise WeightsError(f"{path}: its architecture has settings this stylize does not know: {names}")
        return TransformerConfig(**values)
    except WeightsError:  # a ValueError itself
        raise
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: its architecture cannot be used ({_one_line(error)})") from error


def _one_line(error: object) -> str:
    """Return what an error says, in one line of a sane length: it may quote what is in the file."""
    text = printable(" ".join(str(error).split()))
    return text if len(text) <= 300 else f"{text[:300]}..."


def load_network(path: Path | str, device: str = "cpu") -> tuple[TransformerNet, WeightsFile]:
    """Load a network in float32 and evaluation mode.

    Args:
        path: A weights file, or a folder with a ``model.safetensors``.
        device: Where to put the network, as torch names it.

    Raises:
        WeightsError: As :func:`read_weights_file`, or the tensors do not fit the architecture.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from stylize.transformer import TransformerNet

    path = weights_path(path)
    header = read_whole_header(path)
    weights = _described(path, header.texts)
    another = f"{path} holds the weights of another architecture than its header says"
    try:
        with torch.device("meta"):
            network = TransformerNet(weights.architecture)
        expected = {name: (t.shape, t.dtype) for name, t in network.state_dict().items()}
        # Compared before anything is allocated: a header cannot ask for more memory than its file has bytes.
        if not _fits(header.tensors, expected):
            raise WeightsError(another)
        tensors = load_file(str(path))
    except (TypeError, RuntimeError) as error:  # settings of a type that no network can be built from
        raise WeightsError(f"{path}: its architecture cannot be used ({_one_line(error)})") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read ({_one_line(error)})") from error
    # Copies: what was loaded may still lie in the file, which somebody may change.
    state = {name: t.to(torch.float32 if t.is_floating_point() else t.dtype, copy=True) for name, t in tensors.items()}
    # Once more, because the file may have been exchanged since its header was read.
    if {name: (t.shape, t.dtype) for name, t in state.items()} != expected:
        raise WeightsError(another)
    if not all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point()):
        raise WeightsError(f"{path} holds weights that are not finite numbers; train it again")
    # Assigned, not copied: to allocate the meta tensors first costs a third of a second of imports inside torch.
    network.load_state_dict(state, strict=True, assign=True)
    return network.to(device).eval(), weights


def _fits(tensors: Mapping[str, tuple[str, tuple[int, ...]]], expected: Mapping[str, Any]) -> bool:
    """Return whether the tensors of a header are those of a network: names, shapes, and floats where it has floats."""
    if tensors.keys() != expected.keys():
        return False
    return all(
        shape == tuple(expected[name][0]) and (kind in FLOATS) == expected[name][1].is_floating_point
        for name, (kind, shape) in tensors.items()
    )


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
        facts = json.loads(header["facts"])
        if not isinstance(facts, dict):
            raise ValueError("its facts are no table")
        return load_file(str(path)), facts
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise WeightsError(f"training state {path} cannot be read ({_one_line(error)})") from error


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
