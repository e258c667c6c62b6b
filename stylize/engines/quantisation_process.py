"""Quantises a network in a process of its own: ``python quantisation_process.py FOLDER``.

A process of its own, because NNCF prints, replaces the logger class of the whole process and reports its use over the
network unless told otherwise. It imports nothing of stylize, and is told everything by files in the folder:

    float.onnx      the network
    photos.npz      photos to calibrate with, float32 (1, 3, H, W) in [0, 1]
    request.json    {"threads", "rest", "clipped", "target", "steps": [[pattern of node names, ...], ...]}

It writes ``int8.xml`` and ``int8.bin`` (OpenVINO's form) and ``report.json``. The steps say what stays in float; the
first with which the painted photos differ from those of the float32 network by no more than ``target`` grey levels on
average is taken, or else the one that comes closest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def quantise(folder: Path) -> None:
    """Do what ``request.json`` in ``folder`` asks for."""
    import nncf
    import numpy as np
    import openvino

    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    with np.load(folder / "photos.npz") as stored:
        photos = [stored[name] for name in sorted(stored.files)]
    core = openvino.Core()
    model = core.read_model(folder / "float.onnx")

    def paint(one: Any, precision: str) -> list[Any]:
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": request["threads"],
            "ENABLE_CPU_PINNING": False,
        }
        asked = core.compile_model(one, "CPU", settings).create_infer_request()
        return [asked.infer({0: photo})[0].copy() for photo in photos]

    expected = paint(model, "f32")
    best: dict[str, Any] | None = None
    for step in request["steps"]:
        small = nncf.quantize(
            model.clone(),
            nncf.Dataset(photos, lambda photo: {0: photo}),
            # Features behind a ReLU have no negative half; the input of a residual block has an uneven one.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(photos),
            ignored_scope=nncf.IgnoredScope(types=["MVN"], patterns=step, validate=False),
            advanced_parameters=_settings(nncf, request["clipped"]),
        )
        found = paint(small, request["rest"])
        pairs = zip(found, expected, strict=True)
        difference = 255 * sum(float(np.abs(one - other).mean()) for one, other in pairs) / len(photos)
        if best is None or difference < best["difference"]:
            best = {"difference": difference, "float": step}
            openvino.save_model(small, folder / "int8.xml", compress_to_fp16=False)
        if difference <= request["target"]:
            break
    (folder / "report.json").write_text(json.dumps(best), encoding="utf-8")


def _settings(nncf: Any, clipped: float) -> Any:
    """Return what NNCF is to do otherwise than it does by itself."""
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    quantile = StatisticsType.QUANTILE
    return AdvancedQuantizationParameters(
        # It halves the range of weights for processors that would overflow; on those this engine is not worth it.
        overflow_fix=OverflowFix.DISABLE,
        activations_range_estimator_params=RangeEstimatorParameters(
            min=StatisticsCollectorParameters(
                statistics_type=quantile, aggregator_type=AggregatorType.MIN, quantile_outlier_prob=clipped
            ),
            max=StatisticsCollectorParameters(
                statistics_type=quantile, aggregator_type=AggregatorType.MAX, quantile_outlier_prob=clipped
            ),
        ),
    )


def main() -> None:
    """Quantise what the folder on the command line holds."""
    # The folder of this file has no business among the places to import from.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).resolve().parent]
    # Nothing is reported to anybody; both packages have a stand-in for when theirs is missing. Torch is not needed
    # here and takes seconds to import.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    sys.modules["torch"] = None  # type: ignore[assignment]
    quantise(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
