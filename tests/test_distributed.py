"""Training with several processes: the same losses as with one, one voice, and no process that waits for ever."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stylize import distributed
from stylize.checkpoints import read_training_state, read_weights_file
from stylize.conditional_norms import ConditionalBatchNorm
from stylize.data import PhotoStream, find_photos
from stylize.distributed import joined, own_device
from stylize.errors import DeviceError, InputError
from stylize.launch import Launch
from stylize.run_folder import run_folder
from stylize.synchronised_norms import SynchronisedBatchNorm, SynchronisedConditionalBatchNorm, synchronised
from stylize.training import train
from tests.distributed_jobs import BATCH, FAILURES, NETWORKS, STEPS, far_from_zero, material_of, passes, runs
from tests.helpers import run_python
from tests.training_helpers import logged_steps, logged_totals, make_material, read_log, tiny_run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = make_material(tmp_path_factory.mktemp("material"))
    make_material(folder / "more", photos=11)
    (folder / "more" / "photos").rename(folder / "others")
    make_material(folder / "more", photos=10)
    (folder / "more" / "photos").rename(folder / "broken")
    for index in range(6):
        (folder / "broken" / f"bad-{index}.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def jobs(material, tmp_path_factory):
    """The folder in which several connected processes left what came of their jobs."""
    folder = tmp_path_factory.mktemp("jobs")
    result = run_python("-m", "tests.distributed_jobs", str(material), str(folder), timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    return folder


def said(jobs: Path, job: str, rank: int) -> str:
    """Return how a job ended in one of its processes."""
    return (jobs / f"{job}-{rank}.txt").read_text().splitlines()[0]


def found(jobs: Path, job: str, rank: int) -> Any:
    """Return what a process computed in a job."""
    assert (jobs / f"{job}-{rank}.txt").exists(), f"{job}: process {rank} did not end"
    assert said(jobs, job, rank) == "done", (jobs / f"{job}-{rank}.txt").read_text()
    return torch.load(jobs / f"{job}-{rank}.pt", weights_only=False)


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(distributed, "choose_device", torch.device)
    monkeypatch.setattr(distributed, "available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    pair = [Launch(rank, 4, rank % 2, 2) for rank in range(4)]
    assert [str(own_device("cuda", launch)) for launch in pair] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert own_device("cpu", pair[1]) == torch.device("cpu")
    assert own_device("cuda:1", Launch()) == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="device 'cuda:1' given to 4 processes; 'cuda' gives each a GPU of its own"):
        own_device("cuda:1", pair[0])
    with pytest.raises(DeviceError, match="3 processes were started on a machine with 2 GPUs; start one for each GPU"):
        own_device("cuda", Launch(0, 3, 0, 3))
    with pytest.raises(DeviceError, match="cannot share a GPU of an Apple computer; pass --device cpu"):
        own_device("mps", pair[0])


def test_one_process_alone_has_what_it_gave():
    with joined(Launch(), torch.device("cpu")) as processes:
        assert not torch.distributed.is_initialized()
        network = nn.Linear(1, 1)
        assert processes.parallel(network) is network
        assert processes.mean({"a": 0.1}) == {"a": 0.1}
        assert (processes.any(True), processes.any(False)) == (True, False)
        assert (processes.gathered("x"), processes.from_first("x")) == (["x"], "x")
        assert not processes.lost(RuntimeError("Connection closed by peer"))


def test_every_process_reads_its_share_of_the_same_photos(material):
    stream = PhotoStream(find_photos(material / "photos", 1, ""), 32, 0.6, seed=4)
    whole = list(stream.batches(1, 4, 6))
    shares = [list(stream.batches(1, 4, 6, Launch(rank, 3).items(6))) for rank in range(3)]
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([share[step] for share in shares]), batch)


# ------------------------------------------------------------------------------------------- synchronised statistics


def norms_of(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_norm_of_the_batch_is_synchronised_and_every_tensor_shared(name):
    network, _, _ = material_of(name)
    before = norms_of(network, nn.BatchNorm2d, ConditionalBatchNorm)
    twin = synchronised(network)
    ours = (SynchronisedBatchNorm, SynchronisedConditionalBatchNorm)
    assert len(norms_of(twin, *ours)) == len(before) == len(norms_of(twin, nn.BatchNorm2d, ConditionalBatchNorm))
    assert norms_of(network, nn.BatchNorm2d, ConditionalBatchNorm) == before and not norms_of(network, *ours)
    for tensors in (nn.Module.named_parameters, nn.Module.named_buffers):
        theirs, own = dict(tensors(network)), dict(tensors(twin))
        assert theirs.keys() == own.keys()
        assert all(own[key] is tensor for key, tensor in theirs.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_synchronised_networks_compute_what_one_process_computes(jobs, name):
    network, photos, styles = material_of(name)
    expected = passes(network, network, photos, styles)
    results = [found(jobs, "synchronised", rank)[name] for rank in (0, 1)]
    for key, tensor in expected.items():
        shares = [result[key] for result in results]
        if key.startswith("output"):
            assert torch.allclose(torch.cat(shares), tensor, rtol=1e-9, atol=1e-9), key
        else:
            for share in shares:
                assert torch.allclose(share, tensor, rtol=1e-8, atol=1e-9), key


@pytest.mark.parametrize("name", NETWORKS)
def test_otherwise_each_process_has_the_statistics_of_its_share(jobs, name):
    halves = []
    for part in (slice(0, BATCH // 2), slice(BATCH // 2, None)):
        network, photos, styles = material_of(name)
        halves.append(passes(network, network, photos[:, part], None if styles is None else styles[part]))
    results = [found(jobs, "own", rank)[name] for rank in (0, 1)]
    for key in halves[0]:
        for rank, result in enumerate(results):
            if key.startswith("output"):
                expected: Tensor = halves[rank][key]
            elif key.startswith("gradient"):
                expected = (halves[0][key] + halves[1][key]) / 2
            elif rank == 0:
                expected = halves[0][key]  # the running averages that are kept
            else:
                continue
            assert torch.allclose(result[key], expected, rtol=1e-8, atol=1e-9), key


def test_statistics_far_from_zero_are_those_of_the_whole_batch(jobs):
    features = far_from_zero().double().requires_grad_()
    variance, mean = torch.var_mean(features, dim=(0, 2, 3), correction=0)
    (6 * (mean.square().sum() + variance.square().sum())).backward()  # 1 + 2 + 3
    results = [found(jobs, "statistics", rank) for rank in range(3)]
    for result in results:
        assert result["count"] == BATCH * 5 * 7
        torch.testing.assert_close(result["mean"].double(), mean.detach(), rtol=1e-6, atol=0)
        torch.testing.assert_close(result["variance"].double(), variance.detach(), rtol=1e-3, atol=0)
    gradient = torch.cat([result["gradient"] for result in results]).double()
    torch.testing.assert_close(gradient, features.grad, rtol=1e-4, atol=1e-4)


def test_messages(jobs):
    for rank in range(3):
        result = found(jobs, "messages", rank)
        assert result["mean"] == {"a": 1.0, "b": pytest.approx(1e-30, rel=1e-12)}
        assert result["any"] == [True, False, True]
        assert result["gathered"] == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
        assert result["first"] == "of 0"


# ---------------------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def alone(material, jobs, tmp_path_factory):
    """The same runs with one process: the losses that were reported, and the result."""
    folder = tmp_path_factory.mktemp("alone")
    results = {}
    for (name, config), given_to_all in zip(runs(material, folder).items(), runs(material, jobs).values(), strict=True):
        reported: list[dict[str, float]] = []
        config = replace(config, adapt=given_to_all.adapt)
        result = train(config, lambda progress, into=reported: into.append(progress.losses))
        results[name] = {"losses": reported, "result": result}
    return results


RUNS = [name for name in runs(Path(), Path()) if name != "shares"]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_have_the_losses_of_one(jobs, alone, name):
    expected = alone[name]
    for rank in (0, 1):
        result = found(jobs, "training", rank)[name]
        assert len(result["losses"]) == STEPS
        for step, losses in enumerate(result["losses"]):
            assert losses == pytest.approx(expected["losses"][step], rel=2e-4), step
        for mode in ("evaluation_mode", "training_mode"):
            ours, theirs = (getattr(one["result"].validation, mode) for one in (result, expected))
            assert ours.total == pytest.approx(theirs.total, rel=2e-3)
        assert result["result"].nearest == expected["result"].nearest
        assert result["result"].unreadable == expected["result"].unreadable
    first, second = (found(jobs, "training", rank)[name] for rank in (0, 1))
    assert first == second


def test_unreadable_photos_of_all_processes_are_reported(jobs):
    result = found(jobs, "training", 0)["broken photos"]["result"]
    assert len(result.unreadable) >= 5
    assert all(path.name.startswith("bad-") for path in result.unreadable)


def test_without_synchronisation_batch_norm_learns_something_else(jobs, alone):
    """The first step already differs; otherwise the test above would say nothing about synchronised statistics."""
    shares, together = found(jobs, "training", 0)["shares"], alone["batch"]
    assert shares["losses"][0]["style"] != pytest.approx(together["losses"][0]["style"], rel=2e-3)


def test_only_the_first_process_writes_and_the_file_says_how_many_there_were(jobs):
    output = jobs / "batch.safetensors"
    metadata = read_weights_file(output).metadata
    assert (metadata["processes"], metadata["sync_batch_norm"], metadata["batch_size"]) == (2, True, BATCH)
    assert logged_steps(output) == list(range(1, STEPS + 1))
    assert read_log(output)[0]["processes"] == 2


def test_of_a_command_that_two_processes_run_one_speaks(jobs):
    first, second = (found(jobs, "command", rank) for rank in (0, 1))
    assert second == (0, "")
    assert first[0] == 0
    for begins in ("learning painting.png with instance norm (fast, 2 steps of 6 photos, 2 processes) -> ", "wrote "):
        assert sum(line.startswith(begins) for line in first[1].splitlines()) == 1
    assert read_weights_file(jobs / "command.safetensors").metadata["processes"] == 2


def test_one_process_writes_nothing_of_processes(alone):
    assert "processes" not in read_weights_file(alone["instance"]["result"].path).metadata
    assert "processes" not in read_log(alone["instance"]["result"].path)[0]


def test_a_resumed_run_ends_in_the_same_weights(jobs):
    results = [found(jobs, "resuming", rank) for rank in range(3)]
    assert [result["resumed_at"] for result in results] == [3, 3, 3]
    stopped = [result["stopped"] for result in results]
    assert stopped[0].startswith("TrainingInterrupted: stopped after step 3 of 6 and saved; the same command")
    assert stopped[1:] == [SILENT, SILENT]
    whole, parts = (load_file(str(jobs / f"{name}.safetensors")) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(parts[name], tensor), name


def test_a_run_is_resumed_with_another_number_of_processes(jobs, material):
    assert [found(jobs, "resuming with fewer", rank) for rank in (0, 1)] == [3, 3]
    settings = {"batch_size": BATCH, "checkpoint_interval": 100, "norm": "batch-instance", "sync_batch_norm": True}
    assert train(tiny_run(material, jobs / "one.safetensors", **settings), resume=True).resumed_at == 3
    whole = logged_totals(jobs / "whole.safetensors")
    assert logged_totals(jobs / "few.safetensors") == pytest.approx(whole, rel=2e-4)
    assert logged_totals(jobs / "one.safetensors") == pytest.approx(whole, rel=2e-4)
    assert [read_weights_file(jobs / f"{name}.safetensors").metadata.get("processes") for name in ("few", "one")] == [
        2, None
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- failures

SILENT = "AnotherProcessFailed: another process of the run failed"
LOST = r"ProcessLost: another process of the run ended or hung after step \d+ of 50; the checkpoint of step \d+ is"


def told(jobs: Path, job: str, *ranks: int) -> str:
    """Return the one line that one of the processes says."""
    lines = [said(jobs, job, rank) for rank in ranks]
    spoken = [line for line in lines if line != SILENT]
    assert len(spoken) == 1, lines
    return spoken[0]


def test_a_killed_process_ends_all_with_one_line(jobs):
    line = told(jobs, "killed", 0, 2)
    assert re.match(LOST, line) and line.endswith("--resume continues, also with another number of processes")
    assert not (jobs / "killed-1.txt").exists()
    assert int(read_training_state(run_folder(jobs / "killed.safetensors") / "checkpoint.safetensors")[1]["step"]) == 4


def test_a_process_that_hangs_is_not_waited_for(jobs):
    assert re.match(LOST, told(jobs, "hung", 0, 2))
    ended = [float((jobs / f"hung-{rank}.txt").read_text().splitlines()[1]) for rank in range(3)]
    assert max(ended[0], ended[2]) < ended[1]


def test_a_process_that_is_gone_before_the_first_step(jobs):
    line = told(jobs, "before the first step", 0, 2)
    assert line == "ProcessLost: another process of the run ended before the first step, and did not say why"


@pytest.mark.parametrize(
    ("job", "rank", "line"),
    [
        ("one fails", 1, "InputError: process 2 of 3: the second one has had enough"),
        ("all fail", 0, "InputError: folder of photos .*nowhere not found; give an existing folder"),
        ("other photos", 0, "InputError: process 2 of 3 was not given the same photos as the first; all need"),
        ("other settings", 0, "InputError: process 2 of 3 was not given the same seed as the first; all need"),
        ("full disk", 0, "OutputError: cannot write .*: the disk is full; what was there is unchanged"),
    ],
)
def test_the_process_that_fails_says_why_and_the_others_nothing(jobs, job, rank, line):
    assert re.match(line, told(jobs, job, 0, 1, 2))
    assert said(jobs, job, rank) != SILENT
    assert job in FAILURES


def test_nobody_else_comes_to_the_meeting(jobs):
    line = said(jobs, "alone at the meeting", 0)
    assert line.startswith("TrainingError: process 1 of 2 could not connect to the others (")
    assert line.endswith(
        "check that all were started and that MASTER_ADDR and MASTER_PORT are those of the first machine"
    )
    assert float((jobs / "alone at the meeting-0.txt").read_text().splitlines()[1]) < 10


def test_a_program_that_has_a_process_group_already(jobs):
    line = told(jobs, "joined twice", 0, 1)
    assert line == "InputError: torch.distributed has a process group already; end it before training"


def test_nothing_to_synchronise(material, tmp_path):
    with pytest.raises(InputError, match="sync_batch_norm given with layer norm, which has no statistics of the batch"):
        train(tiny_run(material, tmp_path / "a.safetensors", norm="layer", sync_batch_norm=True))
    assert list(tmp_path.iterdir()) == []
