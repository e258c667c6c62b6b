"""The benchmark of GPUs: its arithmetic by hand, that it runs on a CPU, and what it says where there is no GPU."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import EXACT, PLAIN, VARIANTS, Variant
from stylize import speed_test
from stylize.errors import StylizeError
from stylize.transformer import TransformerNet
from tests.helpers import ROOT, run_python, tiny_config

SCRIPT = ROOT / "benchmarks" / "gpu.py"


def test_help_answers_without_torch():
    code = f"""
import runpy, sys
sys.argv = ["gpu.py", "--help"]
try:
    runpy.run_path(r"{SCRIPT}", run_name="__main__")
finally:
    print("TORCH" if "torch" in sys.modules else "LIGHT")
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage:") and result.stdout.rstrip().endswith("LIGHT")


def test_without_a_gpu_it_ends_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        gpu.record.run(lambda: gpu.main([]))
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: PyTorch finds no CUDA GPU on this machine") and said.err.count("\n") == 1


@pytest.mark.parametrize("size", ["512", "512x", "514x512", "8x512", "512 x 512"])
def test_sizes_that_the_plain_network_cannot_paint(size, capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--sizes", size])
    assert "multiples of 4 from 16 up" in capsys.readouterr().err
    assert gpu.size_of("1920x1080") == (1920, 1080)


def test_what_is_run_where():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert gpu.chosen_variants(cuda, compiled=True) == list(VARIANTS)
    assert {str(one) for one in VARIANTS if one not in gpu.chosen_variants(cpu, compiled=False)} == {
        "plain float16, channels-last, compiled",
        "stylize float32, graphs",
        "stylize float16, graphs",
        "stylize bfloat16, graphs",
    }
    assert (str(PLAIN), str(EXACT)) == ("plain float32", "plain float32, no TF32")


def test_times_by_hand():
    row = gpu.row(Variant("float16"), [0.2, 0.1, 0.4], [0.8, 0.8, 0.8], frames=20)
    assert row == {
        "variant": "stylize float16",
        "ms": 10,
        "frames_per_second": 100,
        "times_faster": 4,
        "all_ms": [10, 5, 20],
    }
    assert gpu.row(PLAIN, [], [], 1)["ms"] is None


def test_tf32_is_put_back():
    before = torch.backends.cudnn.allow_tf32
    with gpu.tf32(not before):
        assert torch.backends.cudnn.allow_tf32 is not before
    with gpu.tf32(None):
        assert torch.backends.cudnn.allow_tf32 is before
    assert torch.backends.cudnn.allow_tf32 is before


def reflects_halves() -> bool:
    """Say whether torch reflects float16 on a CPU, as the plain network does on a GPU."""
    try:
        torch.nn.functional.pad(torch.zeros(1, 1, 4, 4, dtype=torch.float16), (1, 1, 1, 1), mode="reflect")
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not reflects_halves(), reason="this torch computes less in float16 on a CPU than on a GPU")
def test_it_runs_on_a_cpu_and_writes_both_files(tmp_path):
    gpu.main(["--device", "cpu", "--sizes", "32x16", "--runs", "2", "--output", str(tmp_path)])
    results = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [(case["preset"], case["size"]) for case in results["cases"]] == [("johnson", [32, 16]), ("fast", [32, 16])]
    for case in results["cases"]:
        rows = {row["variant"]: row for row in case["rows"]}
        assert list(rows) == [str(one) for one in gpu.chosen_variants(torch.device("cpu"), compiled=False)]
        assert all(row["error"] is None and len(row["all_ms"]) == 2 for row in rows.values())
        assert rows["plain float32"]["times_faster"] == 1
        assert rows["plain float32"]["mean_difference"] == 0
        # The same network: but for rounding, what both give is the same picture.
        assert rows["stylize float32"]["largest_difference"] < 0.1
        assert 0 < rows["stylize float16"]["mean_difference"] < 2
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert text.startswith("# The benchmark of GPUs, on a CPU\n") and "## fast, instance norm, 32 x 16" in text


def test_on_a_cpu_nothing_is_written_unless_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu.record, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "VARIANTS", (PLAIN,))
    gpu.main(["--device", "cpu", "--sizes", "16x16", "--runs", "1", "--presets", "fast"])
    assert "| plain float32 |" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_fails_is_named_and_the_others_are_measured(tmp_path, monkeypatch):
    network = TransformerNet(tiny_config()).eval()
    monkeypatch.setattr(speed_test, "shipped_or_random", lambda name, norm: (network, "random"))
    recorded = Variant("float32", graphs=True)
    monkeypatch.setattr(gpu, "chosen_variants", lambda device, compiled: [PLAIN, recorded])
    with pytest.raises(StylizeError, match="not measured, at one size or more: stylize float32, graphs"):
        gpu.main(["--device", "cpu", "--sizes", "16x16", "--runs", "1", "--presets", "fast", "--output", str(tmp_path)])
    plain, other = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["cases"][0]["rows"]
    assert plain["ms"] > 0 and other["ms"] is None
    assert "Not measured: `stylize float32, graphs`: cpu has no CUDA graphs." in (tmp_path / "gpu.md").read_text()
