"""Runs that a study has trained by several processes: what they compute, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from stylize.comparison import experiments
from stylize.comparison.experiments import check_material, is_done, train_or_take
from stylize.comparison.plan import PlannedRun, Study
from stylize.comparison.shared_runs import _error, train_together
from stylize.comparison.sharing import losses_with_shares, shared_subjects
from stylize.comparison.subject import Ruler
from stylize.config import TrainConfig
from stylize.errors import (
    DeviceError,
    Diverged,
    InputError,
    OutputError,
    ProcessLost,
    RunInUse,
    StylizeError,
    TrainingInterrupted,
)
from stylize.paintings import load_painting
from stylize.run_folder import LOCK, run_folder
from stylize.training import TrainProgress, train
from stylize.vgg import load_loss_network
from tests.helpers import ROOT
from tests.training_helpers import TINY_LOSS, logged_steps, logged_totals, make_material, read_log, tiny_run

SECONDS = 120
"""After which something counts as hung."""


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Path:
    return make_material(tmp_path_factory.mktemp("material"))


def planned(config: TrainConfig, processes: int = 2) -> PlannedRun:
    return PlannedRun(Path(str(config.output)).stem, "painting", config.norm, 0, config, "processes", processes)


@pytest.fixture(scope="module")
def shared(material, tmp_path_factory) -> PlannedRun:
    """A finished run of batch norm by two processes with one photo each."""
    run = planned(tiny_run(material, tmp_path_factory.mktemp("shared") / "batch.safetensors", norm="batch"))
    steps: list[TrainProgress] = []
    train_or_take(run, steps.append)
    assert [progress.step for progress in steps] == list(range(1, 7))
    assert {progress.steps for progress in steps} == {6}
    assert all(progress.losses["total"] > 0 and progress.photos_per_second > 0 for progress in steps)
    return run


# --------------------------------------------------------------------------------------------------------- what is done


def test_a_run_by_several_processes_is_a_result_like_others(shared):
    result = train_or_take(shared)  # taken as it is
    assert (result.processes, result.synchronised, result.purpose) == (2, False, "processes")
    assert result.final is not None and result.final.step == 6
    assert is_done(shared)
    assert read_log(shared.config.output)[0]["processes"] == 2


def test_norms_of_one_photo_compute_what_one_process_does(material, tmp_path):
    together = tiny_run(material, tmp_path / "together.safetensors", norm="instance")
    alone = replace(together, output=tmp_path / "alone.safetensors")
    train_together(together, 2)
    train(alone)
    expected = logged_totals(alone.output)
    assert list(expected) == [1, 2, 3, 4, 5, 6]
    assert logged_totals(together.output) == pytest.approx(expected, rel=1e-4)


def test_one_photo_in_each_process_makes_batch_norm_learn_as_instance_norm(shared, material, tmp_path):
    """The share is one photo, so its statistics are those of instance norm, until the running averages are used."""
    instance = tiny_run(material, tmp_path / "instance.safetensors", norm="instance")
    train(instance)
    assert logged_totals(shared.config.output) == pytest.approx(logged_totals(instance.output), rel=1e-3)
    ruler = Ruler(load_loss_network(), TINY_LOSS, load_painting(material / "painting.png", 32))
    result = train_or_take(shared)
    measured = losses_with_shares([shared], [result], lambda: ruler)
    final = read_log(instance.output)[-1]["final"]["evaluation_mode"]["total"]
    assert measured == {shared.name: pytest.approx(final, rel=1e-2)}
    assert result.final.total > 1.05 * final  # as it is applied


def test_what_is_measured_with_shares(shared, material, tmp_path):
    """Only finished runs by several processes, each with statistics of its own."""

    def never() -> Ruler:
        raise AssertionError("nothing is to be measured")

    result = train_or_take(shared)
    for run in (
        replace(shared, processes=1),
        replace(shared, norm="instance"),
        replace(shared, config=replace(shared.config, sync_batch_norm=True)),
    ):
        assert losses_with_shares([run], [result], never) == {}
    assert losses_with_shares([shared], [replace(result, failure="the loss is nan")], never) == {}


def test_the_networks_that_are_shown(shared):
    result = train_or_take(shared)
    assert [one.label for one in shared_subjects([shared], [result])] == ["batch, 2 processes"]
    assert shared_subjects([replace(shared, seed=1)], [result]) == []
    assert shared_subjects([replace(shared, norm="layer")], [result]) == []
    assert shared_subjects([replace(shared, processes=1)], [result]) == []


def test_a_run_by_another_number_of_processes_is_refused(shared):
    with pytest.raises(InputError, match=r"batch\.safetensors has another number of processes; give another folder"):
        train_or_take(replace(shared, processes=1))


# --------------------------------------------------------------------------------------------------------- how it ends


def test_stopped_and_continued(material, tmp_path):
    # So many steps that the processes are not through before they are told to stop.
    config = tiny_run(material, tmp_path / "run.safetensors", checkpoint_interval=1000, steps=150)
    run = planned(config)

    def stop(progress: TrainProgress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match=r"stopped after step \d+ of 150 and saved"):
        train_or_take(run, stop)
    assert not Path(config.output).exists() and not is_done(run)
    assert train_or_take(run).final is not None
    assert logged_steps(config.output) == list(range(1, 151))
    reference = replace(config, output=tmp_path / "reference.safetensors")
    train_together(reference, 2)
    expected = load_file(reference.output)
    for name, tensor in load_file(config.output).items():
        assert torch.equal(tensor, expected[name]), name


def test_what_a_process_says_is_what_is_raised(material, tmp_path):
    config = tiny_run(material, tmp_path / "run.safetensors", batch_size=3)
    with pytest.raises(InputError) as caught:
        train_together(config, 2)
    assert str(caught.value).startswith("batches of 3 photos given to 2 processes; each takes an equal share")
    assert not run_folder(Path(config.output)).exists()


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for Python")
def test_processes_that_say_nothing_of_their_own(material, tmp_path, monkeypatch):
    """Such as those of a broken installation."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module >&2\necho named torch >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(StylizeError) as caught:
        train_together(tiny_run(material, tmp_path / "run.safetensors"), 2)
    assert str(caught.value) == (
        f"2 processes could not train {tmp_path / 'run.safetensors'} together: no module named torch"
    )


def test_a_lost_process_is_no_result(material, tmp_path, monkeypatch):
    """The loss of one that was killed says nothing about its norm: the run is tried again."""
    run = planned(tiny_run(material, tmp_path / "run.safetensors"))

    def killed(*arguments, **options):
        raise ProcessLost("another process of the run ended or hung after step 3 of 6")

    with monkeypatch.context() as patch, pytest.raises(ProcessLost):
        patch.setattr(experiments, "train_together", killed)
        train_or_take(run)
    assert list(tmp_path.iterdir()) == []


def test_what_processes_say_is_told_apart(material, tmp_path):
    config = tiny_run(material, tmp_path / "run.safetensors")

    def told(kind: str, message: str = "the loss is nan") -> StylizeError:
        return _error({"error": kind, "message": message}, config, 2)

    assert type(told("Diverged")) is Diverged and str(told("Diverged")) == "the loss is nan"
    assert type(told("os")) is StylizeError and type(told("")) is StylizeError
    # What to do is another thing than under torchrun: a study has no --resume.
    lost = told("ProcessLost", "the same command with --resume continues, also with another number of processes")
    assert isinstance(lost, ProcessLost)
    assert str(lost) == (
        f"one of the 2 processes that trained {config.output} together ended or hung; the last checkpoint is kept, and "
        "the same command continues"
    )


def test_a_run_that_another_process_trains_is_left_to_it(material, tmp_path, monkeypatch):
    config = tiny_run(material, tmp_path / "run.safetensors")
    run = planned(config)
    folder = run_folder(Path(config.output))
    folder.mkdir()

    def never(*arguments, **options):
        raise AssertionError("processes are started")

    with monkeypatch.context() as patch, FileLock(folder / LOCK), pytest.raises(RunInUse):
        patch.setattr(experiments, "train_together", never)
        train_or_take(run)

    def late(config, processes, on_step, *, resume):
        (folder / "checkpoint.safetensors").touch()
        raise OutputError("run.safetensors has an unfinished run; pass --resume")

    folder.mkdir(exist_ok=True)
    with monkeypatch.context() as patch, pytest.raises(RunInUse, match="another process began .*run.safetensors mean"):
        patch.setattr(experiments, "train_together", late)
        train_or_take(run)


def test_nothing_of_another_run_is_passed_on(material, tmp_path, monkeypatch):
    """Neither what torchrun reads or tells, nor modules of the folder that somebody happens to be in."""
    for name, value in {"PET_NNODES": "2", "WORLD_SIZE": "1", "RANK": "0", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    here = tmp_path / "here"
    here.mkdir()
    if sys.version_info >= (3, 11):
        (here / "queue.py").write_text("raise SystemExit('another queue')")
    monkeypatch.chdir(here)
    config = tiny_run(material, tmp_path / "run.safetensors")
    train_together(config, 2)
    assert logged_steps(config.output) == [1, 2, 3, 4, 5, 6]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_nobody_goes_on_when_who_started_them_is_killed(material, tmp_path):
    config = tiny_run(material, tmp_path / "run.safetensors", steps=100_000, checkpoint_interval=50_000)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    code = (
        "import json, sys; from stylize.config import TrainConfig; "
        "from stylize.comparison.shared_runs import train_together; "
        "train_together(TrainConfig.from_json(json.load(open(sys.argv[1]))), 2)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "config.json")],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    log = run_folder(Path(config.output)) / "log.jsonl"
    wait_until(lambda: log.exists() and len(logged_steps(config.output)) > 3, starter)
    assert len(of_the_run(tmp_path)) >= 3  # torchrun and its two
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    wait_until(lambda: not of_the_run(tmp_path))
    # They saved before they went: the last step in the log is that of the checkpoint.
    last = logged_steps(config.output)[-1]
    steps: list[int] = []

    def stop(progress: TrainProgress) -> None:
        steps.append(progress.step)
        raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        train(config, stop, resume=True)
    assert steps == [last + 1]


def wait_until(there, process: subprocess.Popen | None = None) -> None:
    until = time.monotonic() + SECONDS
    while not there():
        assert time.monotonic() < until, "hung"
        assert process is None or process.poll() is None, "ended early"
        time.sleep(0.05)


def of_the_run(folder: Path) -> list[str]:
    """Return the numbers of the processes that train below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if b"shared_run" in words and str(folder).encode() in words:
            found.append(path.name)
    return found


# ------------------------------------------------------------------------------------------------------------ too many


def test_more_processes_than_gpus_are_refused_before_hours_go_by(material, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    study = Study(
        paintings=(str(material / "painting.png"),),
        photos=str(material / "photos"),
        runs=str(tmp_path),
        norms=("instance", "batch"),
        controls=(),
        photo_counts=(),
        processes=(2,),
        device="auto",
        image_size=32,
        style_size=32,
    )
    with pytest.raises(DeviceError, match="2 processes were started on a machine with 1 GPU; .* or pass --device cpu"):
        check_material(study)
    check_material(replace(study, device="cpu"))
