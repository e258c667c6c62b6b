"""What every engine offers."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Engine(Protocol):
    """Runs one network.

    Attributes:
        name: ``torch``, ``onnxruntime`` or ``openvino``.
        precision: What it computes in: ``float32``, ``bfloat16``, ``float16`` or ``int8``.
        device: Where pictures are expected and returned.
    """

    name: str
    precision: str
    device: torch.device

    def paint(self, images: Tensor) -> Tensor:
        """Stylize pictures; those of a batch do not influence each other.

        Args:
            images: (B, 3, H, W) float32, RGB in [0, 1], on :attr:`device`; H and W at least 1.

        Returns:
            (B, 3, H, W) float32, contiguous, RGB in [0, 1].
        """
        ...
