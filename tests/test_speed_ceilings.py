"""The ceilings of a machine: what is run to find them does what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from stylize import speed_ceilings
from stylize.speed_ceilings import ceiling_probes


@pytest.fixture
def small(monkeypatch) -> None:
    """Ceilings of next to no work."""
    for name, value in {"MATRIX_SIDE": 32, "PICTURE_SIDE": 6, "CHANNELS": 8}.items():
        monkeypatch.setattr(speed_ceilings, name, value)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_probes_do_as_many_operations_as_they_say(small, monkeypatch, precision):
    probes = list(ceiling_probes(precision, torch.device("cpu")))
    assert [probe.name for probe in probes] == [
        "matrix multiplication 32 x 32",
        "3x3 convolution of 8 channels, contiguous",
        "3x3 convolution of 8 channels, channels-last",
    ]
    done = []

    def multiply(left: torch.Tensor, right: torch.Tensor, mm: Any = torch.mm) -> torch.Tensor:
        result = mm(left, right)
        done.append((result.dtype, result.numel() * left.shape[1], left.is_contiguous()))
        return result

    def convolve(x: torch.Tensor, weight: torch.Tensor, padding: int, conv2d: Any = F.conv2d) -> torch.Tensor:
        result = conv2d(x, weight, padding=padding)
        done.append((result.dtype, result.numel() * weight[0].numel(), x.is_contiguous()))
        return result

    monkeypatch.setattr(torch, "mm", multiply)
    monkeypatch.setattr(F, "conv2d", convolve)
    for probe in probes:
        probe.run()
        assert probe.precision == precision
    assert [2 * multiplications for _, multiplications, _ in done] == [probe.operations for probe in probes]
    assert {str(dtype) for dtype, _, _ in done} == {f"torch.{precision}"}
    assert [contiguous for _, _, contiguous in done] == [True, True, False]


def test_eight_bits_are_probed_where_torch_can(small, monkeypatch):
    device = torch.device("cpu")
    assert [probe.operations for probe in ceiling_probes("int8", device)] == [2 * 32**3]
    monkeypatch.delattr(torch, "_int_mm")
    assert list(ceiling_probes("int8", device)) == []


@pytest.mark.parametrize("precision", ["float3", "nn", "auto"])
def test_unknown_precisions_have_no_probes(precision):
    assert list(ceiling_probes(precision, torch.device("cpu"))) == []
