"""The choice of the device that computes. Nothing here changes the state of the process."""

from __future__ import annotations

import re

import torch

from stylize.errors import DeviceError, suggest

KINDS = ("auto", "cpu", "cuda", "mps")
"""Kinds of devices by name; a number after ``cuda:`` picks one of several GPUs."""


def available_devices() -> list[str]:
    """Return the names of the devices of this machine, the fastest kind first and ``cpu`` last."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``.

    Args:
        name: ``auto`` (a GPU when there is one, else the CPU), ``cpu``, ``cuda`` (the first GPU), ``cuda:N`` or
            ``mps`` (the GPU of an Apple computer).

    Raises:
        DeviceError: No such kind of device, or this machine has none.
    """
    match = re.fullmatch(r"(auto|cpu|mps|cuda)(?::(\d+))?", name.strip().lower())
    if match is None or (match[2] is not None and match[1] != "cuda"):
        raise DeviceError(f"unknown device '{name}'{suggest(name, KINDS)} (known: auto, cpu, cuda, cuda:N, mps)")
    present = available_devices()
    kind, index = match[1], match[2]
    if kind == "auto":
        return torch.device(present[0])
    wanted = f"cuda:{int(index or 0)}" if kind == "cuda" else kind
    if wanted not in present:
        raise DeviceError(f"device '{name}' is not there; this machine has: {', '.join(present)} (or use 'auto')")
    return torch.device(wanted)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype to train in.

    Args:
        name: ``float32``, ``bfloat16``, or ``auto``: bfloat16 where the device multiplies it natively, else float32.
        device: The device that computes.
    """
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        # AVX-512 BF16 and AMX multiply bfloat16; on an older CPU it is emulated and slower than float32.
        capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        return torch.bfloat16 if capability.startswith("AVX512") and probe() else torch.float32
    return torch.float32
