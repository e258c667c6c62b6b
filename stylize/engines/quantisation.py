"""Networks in 8-bit whole numbers, by NNCF, and what that costs in quality.

Convolutions are quantised: weights to 8 bits for each output channel, features to 8 bits for the whole tensor, their
range taken from the example photos with :data:`CLIPPED` left out at each end. What stays in float was found by
measuring the shipped networks on photos that are not among the examples:

- the input of every normalisation. NNCF quantises it by itself, which costs more quality than all convolutions
  together and saves no time;
- the sum of every residual block, for the rounding errors of one block would go through all that follow;
- the first residual block, then the second, in networks that need it: errors there grow on the way.

Reference: Jacob et al. 2018, arXiv 1712.05877 (whole-number arithmetic); NNCF, "Post-training quantization".
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from stylize.engines.engine import Engine
from stylize.errors import InputError, StylizeError
from stylize.images import read_image, resize_long_edge, to_tensor
from stylize.zoo import example_photos

if TYPE_CHECKING:
    from stylize.vgg import VGG19

EXTRA = "pip install 'stylize[openvino]'"
"""What installs the packages that this and :mod:`stylize.engines.openvino_engine` need."""

PROCESS = Path(__file__).with_name("quantisation_process.py")

CALIBRATION_SIZE = 256
"""Long edge in pixels of the photos to calibrate with. With 320 the result is the same."""

CLIPPED = 1e-4
"""Share of the features beyond each end of the range. Without it, a few of the largest set the step of all."""

TARGET = 1.5
"""Mean difference from float32, in grey levels, up to which no more is left in float."""

SUMS = r"blocks\.\d+\.sum"

STEPS = ([SUMS], [SUMS, r"blocks\.0\..*"], [SUMS, r"blocks\.[01]\..*"])
"""What to leave in float, as patterns of the names of :mod:`stylize.engines.onnx_graph`, from the fastest."""

MOST_DIFFERENCE = 2.0
"""Mean difference from float32, in grey levels, up to which 8 bits count as the same picture."""

MOST_STYLE_CHANGE = 0.02
"""Change of the style distance, as a share of it, up to which 8 bits count as the same style."""


@dataclass(frozen=True)
class Quantised:
    """A quantised network.

    Attributes:
        structure: OpenVINO's XML.
        weights: What belongs to it.
        difference: Mean difference from float32 on the photos it was calibrated with, in grey levels.
        kept: Patterns of the names of what was left in float.
    """

    structure: bytes
    weights: bytes
    difference: float
    kept: tuple[str, ...]


@dataclass(frozen=True)
class Loss:
    """What an engine loses beside another one, over some photos.

    Attributes:
        difference: Mean absolute difference of the pictures, in grey levels of 0..255.
        worst_difference: That of the photo with the greatest.
        style_change: Change of the mean style distance to the painting, as a share of it; above 0 is further away.
    """

    difference: float
    worst_difference: float
    style_change: float

    @property
    def within_limits(self) -> bool:
        """Whether it is within :data:`MOST_DIFFERENCE` and :data:`MOST_STYLE_CHANGE`."""
        return self.difference < MOST_DIFFERENCE and abs(self.style_change) <= MOST_STYLE_CHANGE


def measure_loss(
    engine: Engine,
    reference: Engine,
    photos: Sequence[Tensor],
    painting: Tensor,
    *,
    loss_network: VGG19 | None = None,
) -> Loss:
    """Return what ``engine`` loses beside ``reference``, on photos that neither was calibrated with.

    Args:
        engine: The engine to judge, such as one in 8 bits.
        reference: The same network in float32.
        photos: (1, 3, H, W) each, RGB in [0, 1].
        painting: (1, 3, H, W), at the size the network was trained with (:func:`stylize.evaluation.painting_size`).
        loss_network: A loss network that was loaded before; None loads the one in the box.

    Raises:
        InputError: No photos.
    """
    from stylize.evaluation import style_distance  # Late: what only paints does without the loss network.

    if not photos:
        raise InputError("no photos given to measure with; one or more are accepted")
    differences, found, expected = [], 0.0, 0.0
    for photo in photos:
        ours = engine.paint(photo.to(engine.device)).cpu()
        theirs = reference.paint(photo.to(reference.device)).cpu()
        differences.append(255 * float((ours - theirs).abs().mean()))
        found += float(style_distance(ours, painting, loss_network=loss_network))
        expected += float(style_distance(theirs, painting, loss_network=loss_network))
    return Loss(sum(differences) / len(differences), max(differences), found / expected - 1)


def calibration_photos() -> list[Tensor]:
    """Return the example photos at :data:`CALIBRATION_SIZE`, (1, 3, H, W) each.

    Raises:
        StylizeError: The installation is incomplete.
    """
    photos = [to_tensor(resize_long_edge(read_image(path), CALIBRATION_SIZE)) for path in example_photos()]
    if not photos:
        raise StylizeError("the example photos that are shipped with stylize are missing; install stylize again")
    return photos


def quantise(model: bytes, *, threads: int, rest: str = "f32", photos: Sequence[Tensor] | None = None) -> Quantised:
    """Quantise a network; it takes seconds, in a process of its own.

    Args:
        model: Its ONNX model (:func:`stylize.engines.onnx_graph.onnx_model`).
        threads: Threads to compute with.
        rest: What is not quantised is computed in this: ``f32`` or ``bf16``.
        photos: Photos to calibrate with, (1, 3, H, W) each; None takes the example photos.

    Raises:
        InputError: The package ``nncf`` is not installed.
        StylizeError: The quantisation failed.
    """
    if importlib.util.find_spec("nncf") is None:
        raise InputError(f"int8 needs the package nncf, which is not installed; {EXTRA}")
    chosen = calibration_photos() if photos is None else photos
    arrays = {f"{position:04d}": photo.detach().cpu().numpy() for position, photo in enumerate(chosen)}
    request = {"threads": threads, "rest": rest, "clipped": CLIPPED, "target": TARGET, "steps": STEPS}
    try:
        with tempfile.TemporaryDirectory(prefix="stylize-int8-") as name:
            folder = Path(name)
            (folder / "float.onnx").write_bytes(model)
            np.savez(folder / "photos.npz", **arrays)
            (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
            _run(folder)
            report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
            return Quantised(
                (folder / "int8.xml").read_bytes(),
                (folder / "int8.bin").read_bytes(),
                float(report["difference"]),
                tuple(report["float"]),
            )
    except OSError as error:
        raise StylizeError(f"the network could not be quantised: {error.strerror or error}") from error


def _run(folder: Path) -> None:
    """Run :data:`PROCESS`; what it prints is kept from the user, but for the last line of a failure."""
    # Warnings of the packages are not ours to mend, whatever is made of warnings here.
    command = [sys.executable, "-W", "ignore", str(PROCESS), str(folder)]
    finished = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or [f"exit status {finished.returncode}"]
        raise StylizeError(f"the network could not be quantised: {lines[-1].strip()[:300]}")
