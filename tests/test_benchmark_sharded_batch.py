"""The benchmark of shared-out batches: what it trains, and what it says of the numbers."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import record, sharded_batch
from stylize.cli import main
from stylize.config import TrainConfig
from stylize.errors import InputError, StylizeError
from tests.helpers import save_photo


def final(total: float, change: float = 0.02) -> dict[str, Any]:
    losses = {"content": 0.1, "style": 0.01, "total_variation": 0.0, "total": total}
    return {
        "evaluation_mode": losses,
        "training_mode": losses | {"total": total / 2},
        "contrast_change": change,
        "photos": 3,
        "first_step_total": 4 + change,
    }


NORMS = {
    "instance": {"1 process": [final(1.0), final(2.0)], "2 processes": [final(1.001), final(2.0)]},
    "batch": {
        "1 process": [final(1.0), final(1.0)],
        "2 processes": [final(1.5, 0.422), final(1.2, 0.02)],
        "2 processes, synchronised": [final(0.99), final(1.0)],
    },
}


def test_norms_with_batch_statistics_are_trained_both_ways():
    assert sharded_batch.arrangements("instance", (1, 2, 4)) == [(1, False), (2, False), (4, False)]
    everything = [(1, False), (2, False), (2, True), (4, False), (4, True)]
    for norm in ("batch", "ibn", "batch-instance"):
        assert sharded_batch.arrangements(norm, (1, 2, 4)) == everything
    assert [sharded_batch.arrangement_name(*one) for one in everything] == [
        "1 process", "2 processes", "2 processes, synchronised", "4 processes", "4 processes, synchronised"
    ]  # fmt: skip


def test_the_page_says_what_the_numbers_say():
    results = {
        "options": {"steps": 5, "batch_size": 4, "image_size": 32, "seeds": 2},
        "held_out_photos": 3,
        "norms": NORMS,
        "provenance": record.facts(),
    }
    page = sharded_batch.markdown(results)
    assert "| instance | 1 process | 1.500 | 0.750 |  | 5.1 |" in page
    assert "| batch | 2 processes | 1.350 | 0.675 | 1.200 to 1.500 | 56.4 |" in page
    assert page.count("differs from that of one process by a part of 0e+00 at most.") == 2
    assert page.count("by a part of 1e-01 at most.") == 1  # 4.422 beside 4.02
    assert (
        "- Norms without statistics of the batch: furthest from one process is 1.001 times its loss (instance, 2 p"
        in page
    )
    assert (
        "- Norms with statistics of each process: furthest from one process is 1.500 times its loss (batch, 2 p" in page
    )
    assert "as a multiple of the smallest: instance 2.000, batch 1.000." in page
    assert (
        "- Norms with synchronised statistics: furthest from one process is 0.990 times its loss (batch, 2 proce"
        in page
    )


@pytest.fixture
def commands(monkeypatch):
    """The commands that the benchmark starts; each trains in this process."""
    started: list[list[str]] = []
    really_run = subprocess.run

    def run(command, **options):
        if "stylize" not in command:
            return really_run(command, **options)
        started.append(command)
        words = command[command.index("stylize") + 1 :]
        result = CliRunner().invoke(main, words, prog_name="stylize")
        return subprocess.CompletedProcess(command, result.exit_code)

    monkeypatch.setattr(sharded_batch.subprocess, "run", run)
    return started


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    for seed in range(5):
        save_photo(folder / "photos" / f"{seed}.png", 48, 40, seed)
    save_photo(folder / "held" / "0.png", 48, 40, 9)
    style = save_photo(folder / "painting.png", 48, 48, 11)
    words = [
        "--photos",
        folder / "photos",
        "--validation",
        folder / "held",
        "--style",
        style,
        "--runs",
        folder / "runs",
    ]
    words += "--norm batch --processes 1 --seeds 1 --steps 1 --batch-size 2 --image-size 32 --style-size 32".split()
    return [str(word) for word in words], folder


def test_it_trains_writes_both_files_and_skips_finished_runs(options, capsys, commands):
    words, folder = options
    sharded_batch.main([*words, "--output", str(folder)])
    results = json.loads((folder / "sharded_batch.json").read_text(encoding="utf-8"))
    (one,) = results["norms"]["batch"]["1 process"]
    assert one["first_step_total"] > 0
    assert one["photos"] == results["held_out_photos"] == 1
    assert str(folder) not in json.dumps(results)
    assert "| batch | 1 process |" in (folder / "sharded_batch.md").read_text(encoding="utf-8")
    before = (folder / "runs" / "batch-1-seed-0.safetensors").read_bytes()
    capsys.readouterr()
    sharded_batch.main([*words, "--output", str(folder)])
    assert capsys.readouterr().out == "batch-1-seed-0: finished before\n"
    assert (folder / "runs" / "batch-1-seed-0.safetensors").read_bytes() == before
    with pytest.raises(InputError, match="was made with other settings"):
        sharded_batch.main([*words, "--steps", "2"])


def test_a_training_that_fails_is_one_line(options, tmp_path, commands):
    _, folder = options
    config = TrainConfig(
        style=str(tmp_path / "none.png"), photos=str(folder / "photos"), output=str(tmp_path / "a.safetensors")
    )
    with pytest.raises(StylizeError, match="the training of .* failed"):
        sharded_batch.train_kept(config, 2)
    (command,) = commands
    assert command[1:7] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def test_one_process_is_needed_to_compare_with(options):
    with pytest.raises(InputError, match="--processes without 1 given"):
        sharded_batch.main([*options[0], "--processes", "2", "4"])
