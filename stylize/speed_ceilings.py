"""How fast a machine computes at best: the rate of its best matrix multiplication or convolution, in each precision.

A network is little but convolutions, so the share of that ceiling that it reaches says how much is left unused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.speed_turns import FAILURES, Turn, finish, take_turns

CEILING_SECONDS = 1.0
"""Time for the counted rounds of one multiplication or convolution, whatever the number of rounds."""

CEILING_PRECISIONS = ("float32", "bfloat16", "int8")
"""Precisions whose ceiling is measured in any case."""

MATRIX_SIDES = {"cuda": 8192}
"""Rows and columns of the matrices that are multiplied, by kind of device; see :data:`MATRIX_SIDE`."""

MATRIX_SIDE = 2048
"""The same on other devices: enough for the full rate of a CPU, and soon done."""

PICTURE_SIDES = {"cuda": 512}
"""Height and width of what is convolved, by kind of device; see :data:`PICTURE_SIDE`."""

PICTURE_SIDE = 128
"""The same on other devices: what the residual blocks of ``johnson`` see of a picture of 512 px."""

CHANNELS = 128
"""Channels of what is convolved, as in the residual blocks of ``johnson``."""


@dataclass(frozen=True)
class Probe:
    """One operation that may reach the ceiling of the machine.

    Attributes:
        name: What it is.
        precision: What it computes in.
        operations: Multiplications and additions of one run.
        run: Runs it to its end.
    """

    name: str
    precision: str
    operations: float
    run: Callable[[], Any]


def ceiling_probes(precision: str, device: torch.device) -> Iterator[Probe]:
    """Make what is run to find the ceiling in one precision: the kinds of work that processors are best at.

    Args:
        precision: ``float32``, ``bfloat16``, ``float16`` or ``int8``; of others there are none.
        device: Where to compute.
    """
    side = MATRIX_SIDES.get(device.type, MATRIX_SIDE)
    generator = torch.Generator().manual_seed(0)

    def run(operation: Callable[[], Tensor]) -> Callable[[], None]:
        def timed() -> None:
            with torch.inference_mode():
                operation()
            finish(device)

        return timed

    name = f"matrix multiplication {side} x {side}"
    if precision == "int8":
        multiply = getattr(torch, "_int_mm", None)  # There is no public one.
        if multiply is not None:
            first, second = (
                torch.randint(-128, 128, (side, side), generator=generator).to(device, torch.int8) for _ in range(2)
            )
            if device.type == "cuda":
                second = second.t()  # The only order that the GPU's kernels take.
            yield Probe(name, precision, 2.0 * side**3, run(lambda: multiply(first, second)))
        return
    dtype = getattr(torch, precision, None)
    if not isinstance(dtype, torch.dtype):
        return
    left, right = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
    yield Probe(name, precision, 2.0 * side**3, run(lambda: torch.mm(left, right)))
    height = PICTURE_SIDES.get(device.type, PICTURE_SIDE)
    features = torch.randn(1, CHANNELS, height, height, generator=generator)
    kernels = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=generator) / CHANNELS
    operations = 2.0 * 9 * CHANNELS**2 * height**2
    for order, layout in (("contiguous", torch.contiguous_format), ("channels-last", torch.channels_last)):
        x, weight = (tensor.to(device, dtype).contiguous(memory_format=layout) for tensor in (features, kernels))
        convolve = run(lambda x=x, weight=weight: F.conv2d(x, weight, padding=1))
        yield Probe(f"3x3 convolution of {CHANNELS} channels, {order}", precision, operations, convolve)


class Ceilings:
    """The ceilings of a device.

    Args:
        device: The device.
        precisions: Precisions to measure beside :data:`CEILING_PRECISIONS`.
    """

    def __init__(self, device: torch.device, precisions: Sequence[str] = ()) -> None:
        self._device = device
        self._precisions = list(dict.fromkeys([*CEILING_PRECISIONS, *precisions]))
        self._probes: list[tuple[Probe, Turn]] = []

    def measure(
        self,
        repeats: int,
        clock: Callable[[], float] = perf_counter,
        on_round: Callable[[int], None] = lambda number: None,
    ) -> None:
        """Run all probes in turns; see :func:`stylize.speed_turns.take_turns` for the arguments."""
        for precision in self._precisions:
            try:
                probes = list(ceiling_probes(precision, self._device))
            except FAILURES:
                continue  # The device does not know this precision; the report has no ceiling for it.
            self._probes += [(probe, Turn(probe.run)) for probe in probes]
        take_turns([turn for _, turn in self._probes], repeats, CEILING_SECONDS, clock, on_round)

    def found(self) -> dict[str, dict[str, Any]]:
        """Return the ceiling in each precision: the best rate in ``gflops`` (10^9 multiplications and additions each
        second, at the median time), the ``probe`` that reached it, and the rates of all ``probes``; None where nothing
        could be measured."""
        ceilings: dict[str, dict[str, Any]] = {}
        for precision in self._precisions:
            rates = {
                probe.name: probe.operations / median(turn.seconds) / 1e9
                for probe, turn in self._probes
                if probe.precision == precision and turn.error is None and turn.seconds
            }
            best = max(rates, key=lambda name: rates[name], default=None)
            ceilings[precision] = {"gflops": rates[best] if best else None, "probe": best, "probes": rates}
        return ceilings
