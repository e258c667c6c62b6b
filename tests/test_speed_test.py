"""The speed test: planted times give exact numbers, and no failure stops the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from stylize import speed_ceilings, speed_test, zoo
from stylize.config import PRESETS
from stylize.errors import InputError, StylizeError, WeightsError
from stylize.program import lower
from stylize.speed_ceilings import Probe
from stylize.speed_plan import PLAIN, Case, Contestant, SpeedPlan, available_contestants, plan_cases
from stylize.speed_test import NOT_MEASURED, Row, SpeedTest, photo, shipped_or_random
from stylize.transformer import TransformerNet
from tests.helpers import tiny_collection, tiny_config
from tests.test_speed_turns import Clock, planted

FLOAT, BRAIN, INT8 = Contestant("torch", "float32"), Contestant("torch", "bfloat16"), Contestant("openvino", "int8")


# A whole test, with fake engines.


class World:
    """Networks and engines whose times are planted.

    Attributes:
        times: Seconds of each run, warming up included, by contestant.
        offsets: What is added to the picture, in grey levels.
        failing: Contestants that cannot be made.
        painted: Every run, in order: contestant and size.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.times: dict[Contestant, list[float]] = {}
        self.offsets: dict[Contestant, float] = {}
        self.failing: dict[Contestant, Exception] = {}
        self.painted: list[tuple[Contestant, int]] = []
        self.made: list[tuple[Any, ...]] = []
        self.probed: dict[str, list[float]] = {"float32": [1.0, 0.5], "bfloat16": [0.25]}
        world = self

        class Plain(TransformerNet):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                assert torch.is_inference_mode_enabled() and not self.training
                return world.paint(PLAIN, images)

        class Engine:
            def __init__(self, contestant: Contestant, device: torch.device) -> None:
                self.contestant, self.device = contestant, device

            def paint(self, images: torch.Tensor) -> torch.Tensor:
                return world.paint(self.contestant, images)

        def make_engine(network, name, precision, device, threads):
            world.made.append((type(network), name, precision, str(device), threads))
            contestant = Contestant(name, precision)
            if contestant in world.failing:
                raise world.failing[contestant]
            return Engine(contestant, device)

        def ceilings(precision: str, device: torch.device) -> Iterator[Probe]:
            for number, seconds in enumerate(world.probed.get(precision, [])):
                run = planted(world.clock, [9, *[seconds] * 9])
                yield Probe(f"probe {number}", precision, 1e9, run)

        networks = {norm: Plain(tiny_config(norm)).eval() for norm in ("instance", "batch")}
        monkeypatch.setattr(speed_test, "shipped_or_random", lambda name, norm: (networks[norm], "random"))
        monkeypatch.setattr(speed_test, "make_engine", make_engine)
        monkeypatch.setattr(speed_ceilings, "ceiling_probes", ceilings)
        self.multiplications = lower(networks["instance"]).multiplications_per_pixel

    def paint(self, contestant: Contestant, images: torch.Tensor) -> torch.Tensor:
        self.painted.append((contestant, images.shape[-1]))
        self.clock.now += self.times[contestant].pop(0)
        painted = images * 0.5 + 0.1
        painted[..., 0, 0] += self.offsets.get(contestant, 0) / 255
        return painted

    def test(self, *contestants: Contestant, **settings: Any) -> SpeedTest:
        plan = {"cases": plan_cases(["fast"], ["instance"], [20]), "repeats": 3} | settings
        return SpeedTest(SpeedPlan(contestants=contestants, **plan), clock=self.clock)


@pytest.fixture
def world(monkeypatch) -> World:
    return World(monkeypatch)


def test_planted_times_give_exact_numbers(world):
    world.times = {PLAIN: [99, 4, 6, 3], FLOAT: [99, 1, 2, 3], BRAIN: [99, 0.5, 0.25, 4]}
    world.offsets = {FLOAT: 0, BRAIN: 10}
    test = world.test(FLOAT, BRAIN)
    test.run()
    plain, first, second = test.rows()
    assert [(row.engine, row.precision) for row in (plain, first, second)] == [
        ("plain", "float32"), ("torch", "float32"), ("torch", "bfloat16"),
    ]  # fmt: skip
    assert (plain.ms, plain.ms_min, plain.ms_max) == (4000, 3000, 6000)
    assert (first.ms, first.ms_min, first.ms_max) == (2000, 1000, 3000)
    assert (second.ms, second.ms_min, second.ms_max) == (500, 250, 4000)
    assert plain.times_faster == 1
    assert first.times_faster == 3  # of 4, 3 and 1
    assert second.times_faster == 8  # of 8, 24 and 0.75
    rate = 2 * world.multiplications * 400 / 2 / 1e9
    assert first.gflops == pytest.approx(rate)
    assert first.megapixels_per_second == pytest.approx(400 / 2 / 1e6)
    # 10^9 operations in half a second, the better of two probes; in bfloat16 in a quarter.
    assert first.percent_of_ceiling == first.percent_of_float32_ceiling == pytest.approx(100 * rate / 2)
    assert second.percent_of_ceiling == pytest.approx(100 * 4 * rate / 4)
    assert second.percent_of_float32_ceiling == pytest.approx(100 * 4 * rate / 2)
    assert (plain.largest_difference, first.largest_difference, first.mean_difference) == (0, 0, 0)
    assert second.largest_difference == pytest.approx(10, abs=1e-3)
    assert second.mean_difference == pytest.approx(10 / 400, abs=1e-5)
    assert {row.repeats for row in test.rows()} == {3}
    assert all(row.error is None and not row.capped for row in test.rows())


def test_the_whole_picture_is_painted_in_rotating_order(world):
    world.times = {PLAIN: [1] * 8, FLOAT: [1] * 8, BRAIN: [1] * 8}
    world.test(FLOAT, BRAIN, cases=plan_cases(["fast"], ["instance"], [8, 12])).run()
    p, f, b = PLAIN, FLOAT, BRAIN
    rounds = [p, f, b, f, b, p, b, p, f, p, f, b]
    assert world.painted == [(one, 8) for one in rounds] + [(one, 12) for one in rounds]
    # One engine for all sizes of a network.
    assert len(world.made) == 2


def test_engines_get_the_network_the_device_and_the_threads(world):
    threads = torch.get_num_threads()
    world.times = {PLAIN: [1] * 4, FLOAT: [1] * 4}
    world.test(FLOAT, threads=threads).run()
    ((kind, *rest),) = world.made
    assert issubclass(kind, TransformerNet)
    assert rest == ["torch", "float32", "cpu", threads]
    world.times = {PLAIN: [1] * 4, FLOAT: [1] * 4}
    world.test(FLOAT).run()
    assert world.made[-1][-1] == threads


def test_an_engine_that_cannot_be_made_is_a_row_with_the_reason(world):
    world.times = {PLAIN: [1] * 8, FLOAT: [0.5] * 8}
    world.failing = {INT8: StylizeError("pip install\n'stylize[openvino]'")}
    test = world.test(INT8, FLOAT, cases=plan_cases(["fast"], ["instance"], [8, 12]))
    test.run()
    rows = {(row.size, row.engine): row for row in test.rows()}
    assert len(rows) == 6
    for size in (8, 12):
        assert rows[size, "openvino"].error == "pip install 'stylize[openvino]'"
        assert rows[size, "openvino"].ms is None
        assert rows[size, "torch"].times_faster == 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda picture: picture[..., 1:], "it returned a picture of shape (1, 3, 20, 19), not (1, 3, 20, 20)"),
        (lambda picture: picture * float("nan"), "its picture has values that are no finite numbers"),
    ],
)
def test_a_wrong_picture_is_no_result(world, monkeypatch, spoil, reason):
    world.times = {PLAIN: [1] * 4, FLOAT: [1] * 4, BRAIN: [1] * 4}
    right = world.paint
    monkeypatch.setattr(
        world, "paint", lambda one, images: spoil(right(one, images)) if one == BRAIN else right(one, images)
    )
    test = world.test(BRAIN, FLOAT)
    test.run()
    assert [row.error for row in test.rows()] == [None, reason, None]


def test_a_plain_run_that_fails_leaves_the_others_without_comparison(world, monkeypatch):
    world.times = {FLOAT: [1] * 4}
    right = world.paint

    def fail(contestant: Contestant, images: torch.Tensor) -> torch.Tensor:
        if contestant == PLAIN:
            raise RuntimeError("not enough memory")
        return right(contestant, images)

    monkeypatch.setattr(world, "paint", fail)
    test = world.test(FLOAT)
    test.run()
    plain, other = test.rows()
    assert plain.error == "not enough memory"
    assert (other.ms, other.times_faster, other.largest_difference, other.error) == (1000, None, None, None)


def test_slow_ones_have_fewer_rounds_and_are_compared_within_those(world):
    world.times = {PLAIN: [99, 8, 1, 1, 1, 1], FLOAT: [99, 2, 1, 1, 1, 1]}
    test = world.test(FLOAT, repeats=5, seconds=4)
    test.run()
    plain, quick = test.rows()
    assert (plain.repeats, plain.capped) == (1, True)
    assert (quick.repeats, quick.capped) == (3, True)
    assert quick.times_faster == 4  # In the only round they share.


def test_interrupted_it_tells_what_it_has(world, monkeypatch):
    world.times = {PLAIN: [1] * 9, FLOAT: [1] * 9}
    right, count = world.paint, 0

    def stop(contestant: Contestant, images: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == 8 + 5:  # Two of four rounds of the second case are done.
            raise KeyboardInterrupt
        return right(contestant, images)

    monkeypatch.setattr(world, "paint", stop)
    test = world.test(FLOAT, cases=plan_cases(["fast"], ["instance"], [8, 12, 16]))
    with pytest.raises(KeyboardInterrupt):
        test.run()
    assert [(row.size, row.repeats) for row in test.rows()] == [(8, 3), (8, 3), (12, 1), (12, 1), (16, 0), (16, 0)]
    assert [row.error for row in test.rows()[-2:]] == [NOT_MEASURED, NOT_MEASURED]


def test_before_anything_is_measured_the_report_is_whole(world):
    report = world.test(FLOAT).report()
    assert {row["error"] for row in report["rows"]} == {NOT_MEASURED}
    assert report["ceilings"]["float32"] == {"gflops": None, "probe": None, "probes": {}}


def test_the_report_is_json_with_fixed_keys(world):
    world.times = {PLAIN: [1] * 4, FLOAT: [1] * 4}
    world.failing = {INT8: StylizeError("no")}
    test = world.test(FLOAT, INT8)
    test.run()
    report = test.report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report) == ["machine", "ceilings", "rows"]
    assert list(report["machine"]) == ["date", "cpu", "cores", "threads", "device", "system", "versions"]
    assert report["machine"]["versions"]["torch"] == torch.__version__
    assert "openvino" in report["machine"]["versions"]
    assert report["machine"]["threads"] == torch.get_num_threads()
    assert list(report["ceilings"]) == ["float32", "bfloat16", "int8"]
    assert report["ceilings"]["float32"] == {"gflops": 2, "probe": "probe 1", "probes": {"probe 0": 1, "probe 1": 2}}
    assert report["ceilings"]["int8"] == {"gflops": None, "probe": None, "probes": {}}
    assert [list(row) for row in report["rows"]] == [list(Row.__dataclass_fields__)] * 3


def test_progress_never_goes_back_and_ends_at_the_total(world):
    world.times = {PLAIN: [1] * 16, FLOAT: [1] * 16}
    seen = []
    world.test(FLOAT, cases=plan_cases(["fast"], ["instance", "batch"], [8, 12]), seconds=2).run(seen.append)
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert seen[-1].done == seen[-1].total == 4 * 5
    assert {progress.total for progress in seen} == {20}
    assert "fast, batch norm, 12 px" in {progress.doing for progress in seen}


def test_a_precision_without_ceiling_has_no_share(world):
    world.times = {PLAIN: [1] * 4, INT8: [1] * 4}
    world.probed = {}
    test = world.test(INT8)
    test.run()
    assert [(row.percent_of_ceiling, row.error) for row in test.rows()] == [(None, None)] * 2


def test_a_device_that_does_not_know_a_precision_stops_nothing(world, monkeypatch):
    def fail(precision: str, device: torch.device) -> Iterator[Probe]:
        raise RuntimeError("unsupported")

    monkeypatch.setattr(speed_ceilings, "ceiling_probes", fail)
    world.times = {PLAIN: [1] * 4}
    test = world.test()
    test.run()
    assert test.rows()[0].error is None


def test_other_threads_than_torch_has_are_refused():
    wanted = torch.get_num_threads() + 1
    plan = SpeedPlan((Case("fast", "instance", 8),), (FLOAT,), threads=wanted)
    with pytest.raises(InputError, match=f"OMP_NUM_THREADS={wanted}"):
        SpeedTest(plan)


# What is painted, with what.


@pytest.fixture
def small(monkeypatch) -> None:
    """Ceilings of next to no work."""
    for name, value in {"MATRIX_SIDE": 32, "PICTURE_SIDE": 6, "CHANNELS": 8}.items():
        monkeypatch.setattr(speed_ceilings, name, value)


def test_the_photo_is_a_square_of_the_size():
    for size in (1, 33):
        square = photo(size)
        assert square.shape == (1, 3, size, size)
        assert square.dtype == torch.float32
        assert 0 <= float(square.min()) <= float(square.max()) <= 1
    assert float(square.std()) > 0.05


def test_shipped_weights_are_used_where_there_are_some(monkeypatch):
    network, style = shipped_or_random("fast", "instance")
    assert style == "starry-night"
    assert network.config == PRESETS["fast"]
    assert not network.training
    network, style = shipped_or_random("fast", "group")
    assert (style, network.config.norm, network.training) == ("random", "group", False)

    network, style = shipped_or_random("johnson", "conditional-batch")
    assert (style, network.config.norm, network.config.styles) == ("random", "batch", 1)

    def damaged(*arguments: Any) -> None:
        raise WeightsError("damaged")

    monkeypatch.setattr(speed_test, "choose_style", damaged)
    with pytest.raises(WeightsError):
        shipped_or_random("fast", "instance")


def test_the_engine_of_torch_on_a_small_picture(small):
    contestants = available_contestants("cpu", ["torch"], ["float32"])
    test = SpeedTest(SpeedPlan(plan_cases(["fast"], ["instance"], [32]), contestants, repeats=1))
    test.run()
    plain, engine = test.rows()
    assert (plain.error, engine.error) == (None, None)
    assert engine.weights == "starry-night"
    assert engine.largest_difference < 1
    assert engine.percent_of_ceiling > 0 and engine.times_faster > 0
    assert test.ceilings()["float32"]["gflops"] > 0


def test_a_style_of_the_shipped_collection_is_timed_as_the_network_that_paints_it(small, monkeypatch, tmp_path):
    tiny_collection(tmp_path / "paintings-conditional-instance.safetensors", ("starry-night", "photo"))
    monkeypatch.setattr(zoo, "weights_directory", lambda: tmp_path)
    for norm in ("instance", "conditional-instance"):
        network, style = shipped_or_random("fast", norm)
        assert (style, network.config, network.training) == ("starry-night", tiny_config("instance"), False)
    contestants = available_contestants("cpu", ["torch"], ["float32"])
    test = SpeedTest(SpeedPlan(plan_cases(["fast"], ["conditional-instance"], [32]), contestants, repeats=1))
    test.run()
    assert [row.error for row in test.rows()] == [None, None]
    assert test.rows()[0].norm == "conditional-instance"
