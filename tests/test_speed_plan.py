"""What a speed test is to measure: what there is, what was asked for, and what cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from stylize import speed_plan
from stylize.errors import InputError
from stylize.speed_plan import (
    PLAIN,
    Case,
    Contestant,
    SpeedPlan,
    available_contestants,
    default_seconds,
    plan_cases,
)

FLOAT, BRAIN = Contestant("torch", "float32"), Contestant("torch", "bfloat16")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cases": ()}, "no network and size given"),
        ({"cases": (Case("fast", "instance", 0),)}, "size is 0"),
        ({"cases": (Case("fats", "instance", 8),)}, "did you mean 'fast'"),
        ({"cases": (Case("fast", "instanse", 8),)}, "did you mean 'instance'"),
        ({"repeats": 0}, "0 rounds given"),
        ({"seconds": 0.0}, "0 seconds"),
        ({"seconds": float("nan")}, "nan seconds"),
        ({"threads": 0}, "0 threads given"),
    ],
)
def test_plans_that_cannot_be(changes, said):
    settings = {"cases": (Case("fast", "instance", 8),), "contestants": (FLOAT,)} | changes
    with pytest.raises(InputError, match=said):
        SpeedPlan(**settings)


def test_cases_are_each_there_once():
    assert plan_cases(["fast"], ["instance", "instance@everywhere"], [8, 8]) == (Case("fast", "instance", 8),)
    assert len(plan_cases(["fast", "johnson"], ["instance", "batch"], [8, 16])) == 8
    with pytest.raises(InputError, match="unknown preset 'x'"):
        plan_cases(["x"], ["instance"], [8])


def test_the_plain_run_is_there_once():
    plan = SpeedPlan((Case("fast", "instance", 8),), (PLAIN, FLOAT))
    assert plan.everyone == (PLAIN, FLOAT)


@pytest.fixture
def installed(monkeypatch) -> None:
    offered = {"torch": ["float32", "bfloat16"], "openvino": ["float32", "int8"]}
    monkeypatch.setattr(speed_plan, "installed_engines", lambda: list(offered))
    monkeypatch.setattr(speed_plan, "precisions", lambda name, device: offered[name])


def test_contestants_are_all_that_is_installed_or_what_is_wanted(installed):
    def names(**chosen: Sequence[str]) -> list[str]:
        return [str(one) for one in available_contestants(**chosen)]

    assert names() == ["torch float32", "torch bfloat16", "openvino float32", "openvino int8"]
    assert names(engines=["openvino"]) == ["openvino float32", "openvino int8"]
    assert names(wanted=["bfloat16", "int8"]) == ["torch bfloat16", "openvino int8"]


def test_on_a_gpu_the_others_are_not_asked_unless_named(installed, monkeypatch):
    monkeypatch.setattr(speed_plan, "choose_device", lambda name: torch.device(name))
    assert {one.engine for one in available_contestants("cuda")} == {"torch"}
    assert {one.engine for one in available_contestants("cuda", ["openvino"])} == {"openvino"}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"engines": ["openvinno"]}, "did you mean 'openvino'"),
        ({"engines": ["onnxruntime"]}, r"pip install 'stylize\[onnx\]', or choose another: torch, openvino"),
        ({"engines": ["torch"], "wanted": ["int8"]}, "unknown precision of torch on cpu 'int8'.*float32, bfloat16"),
    ],
)
def test_contestants_that_are_not_there(installed, chosen, said):
    with pytest.raises(InputError, match=said):
        available_contestants(**chosen)


def test_the_time_is_shared_out():
    cases = plan_cases(["fast"], ["instance", "batch"], [8, 16])
    assert default_seconds(cases, (FLOAT, BRAIN)) * 4 * 3 == pytest.approx(speed_plan.TOTAL_SECONDS)
