"""``stylize bench``: its table, its document, and one clear line for whatever was wrong."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from stylize import speed_ceilings, speed_plan, speed_test
from stylize.cli import bench as bench_command
from stylize.cli import main
from stylize.cli.bench import table
from stylize.errors import StylizeError
from stylize.speed_test import Progress
from tests.helpers import ROOT, run_python

TINY = ("--size", "32", "--preset", "fast", "--norm", "instance", "--repeats", "1", "--device", "cpu")


def bench(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)], prog_name="stylize")


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path) -> None:
    """Ceilings of next to no work, in an empty folder; the process of the tests keeps its allocator as it is."""
    monkeypatch.setattr(bench_command, "keep_freed_memory", lambda: True)
    for name, value in {"MATRIX_SIDE": 32, "PICTURE_SIDE": 6, "CHANNELS": 8}.items():
        monkeypatch.setattr(speed_ceilings, name, value)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake(monkeypatch) -> SimpleNamespace:
    """Two fake engines; ``fake.paint`` is what they do, ``fake.make`` is called with name and precision before."""
    fake = SimpleNamespace(paint=lambda images: images, make=lambda name, precision: None)

    def make_engine(network, name, precision, device, threads):
        fake.make(name, precision)
        return SimpleNamespace(name=name, precision=precision, device=device, paint=lambda images: fake.paint(images))

    offered = {"torch": ["float32", "bfloat16"], "openvino": ["int8"]}
    monkeypatch.setattr(speed_test, "make_engine", make_engine)
    monkeypatch.setattr(speed_plan, "installed_engines", lambda: list(offered))
    monkeypatch.setattr(speed_plan, "precisions", lambda name, device: offered[name])
    return fake


def test_a_small_run():
    result = bench(*TINY, "--engine", "torch", "--precision", "float32")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("preset"))
    plain, engine = (lines[header + number].split() for number in (1, 2))
    assert plain[:6] == ["fast", "instance", "32", "plain", "float32", "1"]
    assert engine[:6] == ["fast", "instance", "32", "torch", "float32", "1"]
    assert "1.00x" in plain
    assert any(line.startswith("ceiling in float32: ") for line in lines)
    assert "fast, instance norm, 32 px" in result.stderr
    assert "random" not in result.stdout
    assert "the process keeps the memory it frees" in result.stdout


def test_json_on_standard_output_and_in_a_file(tmp_path):
    result = bench(*TINY, "--engine", "torch", "--precision", "float32", "--json", "-o", "bench.json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert json.loads((tmp_path / "bench.json").read_text(encoding="utf-8")) == document
    assert list(document) == ["machine", "ceilings", "rows"]
    assert [row["engine"] for row in document["rows"]] == ["plain", "torch"]
    assert document["rows"][1]["error"] is None
    assert document["machine"]["keeps_freed_memory"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_all_that_is_installed_is_measured(fake):
    result = bench(*TINY, "--json")
    rows = json.loads(result.stdout)["rows"]
    assert [(row["engine"], row["precision"]) for row in rows] == [
        ("plain", "float32"), ("torch", "float32"), ("torch", "bfloat16"), ("openvino", "int8"),
    ]  # fmt: skip
    assert result.exit_code == 0


def test_an_engine_that_fails_is_named_and_the_status_says_so(fake):
    def make(name: str, precision: str) -> None:
        if name == "openvino":
            raise StylizeError("this processor is not supported")

    fake.make = make
    result = bench(*TINY, "--size", "40")
    assert result.exit_code == 1
    said = "no numbers for fast instance 32 px openvino int8 and 1 more: this processor is not supported"
    assert said in result.stdout.splitlines()
    assert "torch   bfloat16" in result.stdout
    assert result.stderr.splitlines()[-1] == "Error: 2 of 8 rows could not be measured"


def test_ctrl_c_prints_and_keeps_what_was_measured(fake, tmp_path):
    count = 0

    def paint(images: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        if images.shape[-1] == 40:
            raise KeyboardInterrupt
        return images

    fake.paint = paint
    result = bench(*TINY, "--size", "40", "--engine", "torch", "-o", "bench.json")
    assert result.exit_code == 130
    assert count == 5  # twice each at 32 px, and the one that was stopped
    assert "Error: stopped by Ctrl-C with 3 of 6 rows measured; those are kept" in result.stderr
    assert "no numbers for fast instance 40 px plain float32 and 2 more: not measured: stopped before" in result.stdout
    rows = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert [row["ms"] is not None for row in rows] == [True] * 3 + [False] * 3


def test_johnson_is_measured_at_its_larger_size_only_when_asked(fake, monkeypatch):
    plans = []

    def remember(self: speed_test.SpeedTest, on_step: Any) -> None:
        plans.append(self.plan)

    monkeypatch.setattr(speed_test.SpeedTest, "run", remember)
    result = bench()
    assert "johnson at 1024 px is left out, to save time; --preset johnson measures it" in result.stderr
    (plan,) = plans
    measured = {(case.preset, case.size) for case in plan.cases}
    assert measured == {("fast", 512), ("fast", 1024), ("johnson", 512)}
    assert {case.norm for case in plan.cases} == {"instance", "batch"}
    assert plan.repeats == 7
    assert plan.seconds * len(plan.cases) * len(plan.everyone) == pytest.approx(speed_plan.TOTAL_SECONDS)
    for arguments in (("--preset", "johnson"), ("--size", "1024")):
        assert "left out" not in bench(*arguments).stderr
        assert ("johnson", 1024) in {(case.preset, case.size) for case in plans[-1].cases}
    bench("--repeats", "9")
    assert (plans[-1].repeats, plans[-1].seconds) == (9, None)
    bench("--seconds", "2.5")
    assert (plans[-1].repeats, plans[-1].seconds) == (7, 2.5)


BAD = [
    (("--size", "0"), "0 is not in the range"),
    (("--size", "100000"), "100000 is not in the range"),
    (("--repeats", "0"), "0 is not in the range"),
    (("--seconds", "0"), "0.0 is not in the range"),
    (("--seconds", "nan"), "nan seconds"),
    (("--threads", "0"), "0 is not in the range"),
    (("--threads", "100000"), "--threads 100000 given; this machine has "),
    (("--preset", "fats"), "'fats' is not one of 'fast', 'johnson'"),
    (("--norm", "instanse"), "did you mean 'instance'"),
    (("--engine", "openvno"), "unknown engine 'openvno'; did you mean 'openvino'?"),
    (("--precision", "float23"), "unknown precision 'float23'; did you mean 'float32'?"),
    (("--engine", "onnxruntime"), "pip install 'stylize[onnx]'"),
    (("--engine", "torch", "--precision", "int8"), "unknown precision of torch on cpu 'int8'"),
    (("--device", "cpuu"), "unknown device 'cpuu'"),
    (("-o", "missing/bench.json"), "cannot write 'missing/bench.json': there is no folder 'missing'"),
    (("-o", "."), "'.' is a folder"),
    (("-o", "-"), "--json prints the document on standard output"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_line(fake, tmp_path, arguments, said):
    given = () if "--device" in arguments else ("--device", "cpu")
    result = bench(*given, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_unless_told(fake, tmp_path):
    path = tmp_path / "bench.json"
    path.write_text("mine")
    result = bench(*TINY, "-o", path)
    assert result.exit_code == 1
    assert "exists already; --overwrite replaces it" in result.stderr
    assert path.read_text() == "mine"
    assert "fast" not in result.stdout
    assert bench(*TINY, "-o", path, "--overwrite").exit_code == 0
    assert len(json.loads(path.read_text(encoding="utf-8"))["rows"]) == 4


def test_a_file_that_appears_meanwhile_is_kept_too(fake, tmp_path):
    def paint(images: torch.Tensor) -> torch.Tensor:
        (tmp_path / "bench.json").write_text("mine")
        return images

    fake.paint = paint
    result = bench(*TINY, "-o", "bench.json")
    assert result.exit_code == 1
    assert "bfloat16" in result.stdout  # What was measured is not lost.
    assert (tmp_path / "bench.json").read_text() == "mine"


def test_threads_are_set_before_torch_is_imported():
    code = """
import sys
from stylize.cli.bench import _set_threads
assert "torch" not in sys.modules
_set_threads(2)
import torch
print(torch.get_num_threads())
"""
    result = run_python("-c", code)  # which starts with OMP_NUM_THREADS=1
    assert result.stdout == "2\n", result.stderr


def test_in_a_program_that_has_torch_already_other_threads_are_refused(fake, monkeypatch):
    before = dict(os.environ)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    result = bench(*TINY, "--threads", torch.get_num_threads() + 1)
    assert result.exit_code == 2
    assert "set OMP_NUM_THREADS=" in result.stderr
    assert dict(os.environ) == before
    assert bench(*TINY, "--threads", torch.get_num_threads()).exit_code == 0


def test_what_can_be_checked_without_torch_is():
    code = """
import sys
from stylize.cli import main
for arguments in (["--engine", "x"], ["--precision", "x"], ["-o", "missing/x"], ["--threads", "100000"]):
    try:
        main(["bench", *arguments])
    except SystemExit as error:
        assert error.code == 2, error.code
assert "torch" not in sys.modules
"""
    result = run_python("-c", code, cwd=ROOT)
    assert result.returncode == 0, result.stderr


class Terminal:
    """Standard error as a terminal."""

    def __init__(self) -> None:
        self.written = ""

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with bench_command._Bar() as bar:
        bar(Progress(2, 8, "fast, instance norm, 512 px"))
        bar(Progress(8, 8, "done"))
        assert bar.bar.n == bar.bar.total == 8
    assert "100%" in terminal.written


def document(**changes: Any) -> dict[str, Any]:
    """Return a report of one row."""
    row = {
        "preset": "fast", "norm": "instance", "weights": "starry-night", "engine": "torch", "precision": "bfloat16",
        "size": 512, "repeats": 7, "capped": False, "ms": 43.21, "ms_min": 40.0, "ms_max": 57.4,
        "megapixels_per_second": 6.07, "gflops": 317.4, "percent_of_ceiling": 73.6, "percent_of_float32_ceiling": 158.6,
        "times_faster": 3.256, "largest_difference": 2.04, "mean_difference": 0.151, "error": None,
    } | changes  # fmt: skip
    machine = {"date": "2026-10-01 12:00 UTC", "cpu": "A CPU", "cores": 2, "threads": 1, "device": "cpu"}
    machine |= {"system": "Linux, Python 3.11", "versions": {"stylize": "1", "torch": "2.15"}}
    machine["keeps_freed_memory"] = False
    ceilings = {
        "float32": {"gflops": 199.4, "probe": "3x3 convolution", "probes": {}},
        "int8": {"gflops": 780.2, "probe": "matrix multiplication", "probes": {}},
        "bfloat16": {"gflops": None, "probe": None, "probes": {}},
    }
    return {"machine": machine, "ceilings": ceilings, "rows": [row]}


def test_the_table():
    assert table(document(), 7).splitlines() == [
        "A CPU, 2 cores, 1 thread, on cpu; 2026-10-01 12:00 UTC",
        "Linux, Python 3.11, stylize 1, torch 2.15",
        "",
        "preset  norm      size  engine  precision  rounds    ms    min..max  MP/s  GFLOP/s"
        "  % of ceiling  % of float32  faster   difference",
        "fast    instance   512  torch   bfloat16        7  43.2  40.0..57.4  6.07      317"
        "            74           159   3.26x  2.04 / 0.15",
        "",
        "ceiling in float32: 199 GFLOP/s (3x3 convolution)",
        "ceiling in int8: 780 GOP/s (matrix multiplication)",
        "no ceiling was measured in bfloat16",
        "ms: median; faster: than the plain run of the same network in the same rounds;",
        "difference: largest / mean, in grey levels of 255, of its picture from that of the plain run",
    ]


def test_the_table_tells_what_was_cut_short_and_what_is_random():
    text = table(document(repeats=2, capped=True, weights="random"), 7, seconds=1.25)
    assert " 2/7 " in text
    assert "1 of 1 rows had fewer than 7 rounds, for their limit of 1.2 s each; --seconds changes it" in text
    assert "random weights, because none are shipped: fast instance; that changes no times" in text


def test_the_table_tells_of_a_busy_machine():
    said = "in 1 of 1 rows the longest time is over 1.5 times the shortest"
    assert said in table(document(ms_min=40, ms_max=61), 7)
    assert said not in table(document(ms_min=40, ms_max=59), 7)


def test_unknown_numbers_are_a_dash():
    changes = {"percent_of_ceiling": None, "times_faster": None, "largest_difference": None, "mean_difference": None}
    line = table(document(**changes), 7).splitlines()[4]
    assert line.split()[-5:] == ["159", "-", "-", "/", "-"]


def test_a_table_without_numbers_says_why():
    text = table(document(error="no", ms=None), 7)
    assert "preset" not in text
    assert text.endswith("no numbers for fast instance 512 px torch bfloat16: no")
