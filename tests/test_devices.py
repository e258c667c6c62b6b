"""The choice of the device."""

from __future__ import annotations

import pytest
import torch

from stylize.devices import available_devices, choose_device
from stylize.errors import DeviceError, InputError


@pytest.fixture
def machine(monkeypatch):
    """Pretend that the machine has a number of CUDA GPUs and an Apple GPU or none."""

    def pretend(gpus: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("gpus", "mps", "name", "expected"),
    [
        (0, False, "auto", "cpu"),
        (0, False, "cpu", "cpu"),
        (2, False, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, "cpu", "cpu"),
        (0, True, "auto", "mps"),
        (0, True, "mps", "mps"),
        (0, False, " CPU ", "cpu"),
    ],
)
def test_choice(machine, gpus, mps, name, expected):
    machine(gpus, mps)
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("gpus", "name", "present"), [(0, "cuda", "cpu"), (0, "mps", "cpu"), (1, "cuda:1", "cuda:0, cpu")]
)
def test_absent_device_says_what_is_there(machine, gpus, name, present):
    machine(gpus)
    with pytest.raises(DeviceError, match=f"device '{name}' is not there; this machine has: {present}"):
        choose_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "mps:0", "auto:1", "cuda:0:1"])
def test_unknown_device(machine, name):
    machine(1)
    with pytest.raises(DeviceError, match=r"unknown device .* cuda:N"):
        choose_device(name)


def test_suggestion_and_exit_status_tree(machine):
    machine()
    with pytest.raises(InputError, match="did you mean 'cuda'"):
        choose_device("cude")


def test_cpu_is_always_there_and_last(machine):
    machine(2, True)
    assert available_devices() == ["cuda:0", "cuda:1", "mps", "cpu"]
