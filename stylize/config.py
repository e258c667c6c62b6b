"""Every hyperparameter of stylize, once, with its unit and its source. Imports nothing heavy.

The command line reads its defaults from these dataclasses, so no number is written twice.

Other modules import from here alone; behind the door stand ``architectures`` (norms, networks, presets) and
``train_config`` (the loss and a training run).
"""

from __future__ import annotations

from stylize.architectures import (
    CONDITIONAL_NORMS,
    NORM_NAMES,
    PLACEMENTS,
    PRESETS,
    NormPlacement,
    TransformerConfig,
    parse_norm,
    preset,
)
from stylize.train_config import (
    ADAPTING,
    IMAGE_SIZE_MINIMUM,
    PHOTO_STYLE,
    PRECISIONS,
    PREPARATIONS,
    STYLE_SIZE_MINIMUM,
    LossConfig,
    TrainConfig,
)

__all__ = [
    "ADAPTING",
    "CONDITIONAL_NORMS",
    "ENGINE_NAMES",
    "IMAGE_SIZE_MINIMUM",
    "LossConfig",
    "NORM_NAMES",
    "NormPlacement",
    "PHOTO_STYLE",
    "PLACEMENTS",
    "PRECISIONS",
    "PRECISION_NAMES",
    "PREPARATIONS",
    "PRESETS",
    "STYLE_SIZE_MINIMUM",
    "TrainConfig",
    "TransformerConfig",
    "parse_norm",
    "preset",
]

ENGINE_NAMES = ("torch", "onnxruntime", "openvino")
"""What can run a network (:mod:`stylize.engines`)."""

PRECISION_NAMES = ("float32", "bfloat16", "float16", "int8")
"""What one engine or another can compute in."""
