"""Export: a network as an ONNX file, checked against PyTorch before it gets its name."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stylize.checkpoints import WeightsFile, read_weights_file, replacing
from stylize.engines.onnx_files import OPSET, SUFFIX, file_metadata, require_onnx
from stylize.errors import InputError, OutputError, StylizeError
from stylize.style_choice import ChosenStyle, load_style
from stylize.style_collections import read_collection
from stylize.zoo import preset_name, style_name, style_needed

if TYPE_CHECKING:
    from stylize.engines.engine import Engine
    from stylize.transformer import TransformerNet

CHECKED_SHAPES = ((1, 5, 7), (2, 37, 53), (1, 3, 101), (1, 256, 255))
"""Batch, height and width of the pictures of the check: odd, flat, smaller than the padding, more than one.

One pixel is not among them. All features of a picture of one colour are equal, so that a normalisation with its
statistics divides rounding by rounding, and every engine, PyTorch too, ends up somewhere else.
"""

LIMIT = 0.1
"""Largest difference between ONNX Runtime and PyTorch that is accepted, in grey levels of 255."""


@dataclass(frozen=True)
class ExportReport:
    """What was written and how well it agrees with PyTorch.

    Attributes:
        output: The file.
        style: Name of the style.
        norm: Normalisation of the network.
        preset: Name of its architecture.
        opset: Version of the ONNX operators.
        file_size: Bytes of the file.
        checked: Sizes the file was run at, such as ``2x37x53`` (batch, height, width); none without ONNX Runtime.
        largest_difference: From PyTorch at any of those, in grey levels of 255; None where it was not checked.
        seconds: Time for everything.
    """

    output: Path
    style: str
    norm: str
    preset: str
    opset: int
    file_size: int
    checked: tuple[str, ...]
    largest_difference: float | None
    seconds: float


def default_output(weights: WeightsFile) -> Path:
    """Return where a network is exported to by default: STYLE-NORM.onnx in the current folder."""
    return Path(f"{style_name(weights)}-{weights.architecture.norm}{SUFFIX}".replace("/", "-").replace(os.sep, "-"))


def check_output(output: Path, overwrite: bool) -> None:
    """Check, before anything is computed, that a file may be written there.

    Raises:
        InputError: Its name does not end in ``.onnx``, or it is a folder.
        OutputError: It exists and ``overwrite`` is not given.
    """
    if output.is_dir():
        raise InputError(f"the output {output} is a folder; the name of a file with the suffix {SUFFIX} is accepted")
    if output.suffix.lower() != SUFFIX:
        raise InputError(f"the output {output} has another suffix than {SUFFIX}; only ONNX files are written")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; pass --overwrite or another name")


def export_onnx(
    weights: ChosenStyle | WeightsFile | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> ExportReport:
    """Write a network as an ONNX file, after checking it against PyTorch where ONNX Runtime is installed.

    Args:
        weights: The style or the mixture (:func:`stylize.style_choice.choose_style`), or the weights file of a network
            of one style.
        output: The file to write; its suffix is ``.onnx``.
        overwrite: Replace an existing file.

    Raises:
        InputError: The package ``onnx`` is not installed, or ``output`` is no name of an ONNX file.
        WeightsError: The weights file is missing, damaged or of another kind.
        OutputError: ``output`` exists, or cannot be written.
        StylizeError: The file computes something else than PyTorch; it was removed.
    """
    started = time.perf_counter()
    output = Path(output)
    check_output(output, overwrite)
    require_onnx()
    # Here, so that what can be checked without torch is checked before its import.
    from stylize.engines.onnx_graph import onnx_model
    from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine, available
    from stylize.program import lower

    network, weights = load_style(_chosen(weights))
    content = onnx_model(lower(network), file_metadata(weights)).SerializeToString()
    difference, shapes = None, ()
    if available():
        shapes = CHECKED_SHAPES
        # From the bytes that are written, through the checks that a reader of the file makes.
        difference = largest_difference(OnnxRuntimeEngine(content), network, shapes)
        if not difference <= LIMIT:  # Written so that NaN is refused too.
            raise StylizeError(
                f"the ONNX graph of {weights.path} differs from PyTorch by {difference:.3g} grey levels of 255, "
                f"more than {LIMIT:g}; nothing was written"
            )
    with replacing(output) as temporary:
        temporary.write_bytes(content)
    return ExportReport(
        output=output,
        style=style_name(weights),
        norm=weights.architecture.norm,
        preset=preset_name(weights),
        opset=OPSET,
        file_size=len(content),
        checked=tuple("x".join(map(str, shape)) for shape in shapes),
        largest_difference=difference,
        seconds=time.perf_counter() - started,
    )


def _chosen(weights: ChosenStyle | WeightsFile | str | os.PathLike[str]) -> ChosenStyle:
    """Return the style of a weights file that need not have the suffix of one."""
    if isinstance(weights, ChosenStyle):
        return weights
    given = weights if isinstance(weights, WeightsFile) else read_weights_file(Path(weights))
    if given.architecture.conditional:
        raise InputError(style_needed(read_collection(given.path)))
    return ChosenStyle(given)


def largest_difference(engine: Engine, network: TransformerNet, shapes: Sequence[tuple[int, int, int]]) -> float:
    """Return the largest difference of any value between an engine and PyTorch, in grey levels of 255.

    Args:
        engine: The engine.
        network: The network it should compute, on the CPU.
        shapes: Batch, height and width of the pictures; the pictures are noise.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    largest = torch.tensor(0.0)
    for batch, height, width in shapes:
        images = torch.rand(batch, 3, height, width, generator=generator)
        with torch.no_grad():
            expected = network(images).clamp(0, 1)
        # torch.maximum keeps NaN, which max() of floats may lose.
        largest = torch.maximum(largest, (engine.paint(images) - expected).abs().max())
    return 255 * float(largest)
