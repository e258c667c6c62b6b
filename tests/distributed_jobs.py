"""What several connected processes do in ``tests/test_distributed.py``: a script that forks them, so that torch is
imported only once.

    python -m tests.distributed_jobs MATERIAL FOLDER

Every job is a function that all processes of it call at once; what it returns in each is written to
``FOLDER/<job>-<rank>.pt``, and how it ended to ``FOLDER/<job>-<rank>.txt``.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # what DistributedDataParallel imports late, so that not every process does
from click.testing import CliRunner
from torch import Tensor, distributed

from stylize import training
from stylize.cli import main as main_command
from stylize.config import NORM_NAMES, TrainConfig
from stylize.distributed import Processes, joined
from stylize.errors import InputError, StylizeError, TrainingInterrupted
from stylize.launch import launched
from stylize.run_folder import run_folder
from stylize.synchronised_norms import overall_statistics, synchronised
from stylize.training import TrainProgress, train
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config
from tests.training_helpers import tiny_run

PASSES = 2
BATCH = 6
STEPS = 4
CPU = torch.device("cpu")
SECONDS = 120
"""After which a job counts as hung."""

HANGING = 5.0
"""Seconds for which a process hangs; the others wait half as long."""

NETWORKS = {name: tiny_config(name) for name in (*NORM_NAMES, "instance@encoder", "batch@first+none")}
NETWORKS |= {name: tiny_config(name, styles=3) for name in ("conditional-instance", "conditional-batch")}
NETWORKS["odd ibn"] = tiny_config("ibn", channels=(3, 5))


# ------------------------------------------------------------------------------------------- networks, in float64


def material_of(name: str) -> tuple[TransformerNet, Tensor, Tensor | None]:
    """Return a network in float64, its photos for every pass (PASSES, BATCH, 3, H, W), and their styles."""
    network = TransformerNet(NETWORKS[name], seed=3).double()
    generator = torch.Generator().manual_seed(5)
    # Photos that differ in brightness and contrast, so that the shares of a batch have other statistics than all.
    photos = torch.rand(PASSES, BATCH, 3, 12, 16, generator=generator, dtype=torch.float64)
    photos = photos * torch.linspace(0.2, 1, BATCH, dtype=torch.float64)[:, None, None, None]
    styles = torch.arange(BATCH) % 3 if NETWORKS[name].conditional else None
    return network, photos, styles


def passes(
    network: torch.nn.Module, called: torch.nn.Module, photos: Tensor, styles: Tensor | None
) -> dict[str, Tensor]:
    """Return the outputs of every pass, and gradients and buffers after the last one."""
    results: dict[str, Tensor] = {}
    for number, batch in enumerate(photos):
        network.zero_grad(set_to_none=True)
        painted = called(batch) if styles is None else called(batch, styles)
        (painted - batch.mean((1, 2, 3), keepdim=True)).square().flatten(1).mean(1).mean().backward()
        results[f"output {number}"] = painted.detach()
    results |= {f"gradient {name}": parameter.grad for name, parameter in network.named_parameters()}
    return results | {f"buffer {name}": buffer.clone() for name, buffer in network.named_buffers()}


def share_of(processes: Processes) -> slice:
    items = processes.launch.items(BATCH)
    return slice(items.start, items.stop)


def networks(processes: Processes, together: bool) -> dict[str, dict[str, Tensor]]:
    """Compute with every network, with or without synchronised statistics; each process has its share."""
    share = share_of(processes)
    results = {}
    for name in NETWORKS:
        network, photos, styles = material_of(name)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += processes.launch.rank  # only the first one's numbers count
        called = processes.parallel(synchronised(network) if together else network)
        results[name] = passes(network, called, photos[:, share], None if styles is None else styles[share])
    return results


def statistics(processes: Processes) -> dict[str, Any]:
    """Take statistics of features far from zero, and their gradients."""
    features = far_from_zero()[share_of(processes)].requires_grad_()
    mean, variance, count = overall_statistics(features)
    # Another weight in each process: the gradient is that of the sum of what all of them compute.
    ((1 + processes.launch.rank) * (mean.square().sum() + variance.square().sum())).backward()
    return {"mean": mean.detach(), "variance": variance.detach(), "count": count, "gradient": features.grad}


def far_from_zero() -> Tensor:
    """Return features (BATCH, 4, 5, 7) whose variance is small beside their mean."""
    return 1000 + torch.randn(BATCH, 4, 5, 7, generator=torch.Generator().manual_seed(8))


def messages(processes: Processes) -> dict[str, Any]:
    rank = processes.launch.rank
    return {
        "mean": processes.mean({"a": float(rank), "b": 1e-30}),
        "any": [processes.any(rank == 1), processes.any(False), processes.any(True)],
        "gathered": processes.gathered({"rank": rank}),
        "first": processes.from_first(f"of {rank}"),
    }


# ---------------------------------------------------------------------------------------------------------- training


def runs(material: Path, folder: Path) -> dict[str, TrainConfig]:
    """Return the settings of the runs that are compared with those of one process."""

    def run(name: str, **changes: Any) -> TrainConfig:
        return tiny_run(material, folder / f"{name}.safetensors", batch_size=BATCH, steps=STEPS, **changes)

    paintings = (material / "painting.png", material / "photos" / "photo-00.png")
    third = material / "photos" / "photo-01.png"
    return {
        "instance": run("instance"),
        "none": run("none", norm="none", preparation="standardise"),
        "batch": run("batch", norm="batch", sync_batch_norm=True),
        "shares": run("shares", norm="batch"),
        "broken photos": run("broken photos", photos=material / "broken", validation=material / "photos"),
        "collection": run("collection", style=paintings, own_output=True),
        "several": run("several", style=paintings, norm="conditional-batch", sync_batch_norm=True),
        "adapted": run("adapted", style=third, adapt=folder / "collection.safetensors", learning_rate=0.03),
    }


def training_runs(material: Path, folder: Path) -> dict[str, Any]:
    """Train everything; the results are equal in all processes."""
    results = {}
    for name, config in runs(material, folder).items():
        reported: list[dict[str, float]] = []
        result = train(config, lambda progress, into=reported: into.append(progress.losses))
        results[name] = {"losses": reported, "result": result}
    return results


def command_line(material: Path, folder: Path) -> tuple[int, str]:
    """Train by the command; return its exit status and what it said."""
    options = f"--image-size 32 --style-size 32 --batch-size {BATCH} --steps 2 --style-layer relu1_1 --content-layer "
    options += "relu1_1 --precision float32 --device cpu"
    arguments = [material / "painting.png", material / "photos", *options.split(), "-o", folder / "command.safetensors"]
    result = CliRunner().invoke(main_command, ["train", *map(str, arguments)], prog_name="stylize")
    return result.exit_code, result.output


def interrupt(progress: TrainProgress, at: int) -> None:
    if progress.step == at:
        raise KeyboardInterrupt


def resuming(material: Path, folder: Path) -> dict[str, Any]:
    """Train in one piece, and interrupted by the last process only and resumed."""
    launch = launched()
    settings = {"batch_size": BATCH, "checkpoint_interval": 100, "norm": "batch-instance", "sync_batch_norm": True}
    whole = tiny_run(material, folder / "whole.safetensors", **settings)
    train(whole)
    parts = tiny_run(material, folder / "parts.safetensors", **settings)
    try:
        train(parts, partial(interrupt, at=3) if launch.rank == launch.size - 1 else None)
    except (TrainingInterrupted, StylizeError) as error:
        stopped = f"{type(error).__name__}: {error}"
    if launch.first:
        shutil.copytree(run_folder(folder / "parts.safetensors"), folder / "few.run")
        shutil.copytree(run_folder(folder / "parts.safetensors"), folder / "one.run")
    return {"stopped": stopped, "resumed_at": train(parts, resume=True).resumed_at}


def resuming_with_fewer(material: Path, folder: Path) -> int:
    """Go on with the copy of the interrupted run."""
    settings = {"batch_size": BATCH, "checkpoint_interval": 100, "norm": "batch-instance", "sync_batch_norm": True}
    return train(tiny_run(material, folder / "few.safetensors", **settings), resume=True).resumed_at


# ---------------------------------------------------------------------------------------------------------- failures


def failing(what: str, material: Path, folder: Path) -> None:
    """Train, with something that goes wrong in the second process, or in all."""
    launch = launched()
    second = launch.rank == 1
    settings = {"batch_size": BATCH, "steps": 50}
    config = tiny_run(material, folder / f"{what}.safetensors", **settings)

    def on_step(progress: TrainProgress) -> None:
        if progress.step == 5 and second:
            if what == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "one fails":
                raise InputError("the second one has had enough")
            if what == "hung":
                time.sleep(HANGING)

    if what == "hung":
        training.joined = partial(joined, timeout=timedelta(seconds=HANGING / 2))
    if what == "all fail":
        config = tiny_run(material, folder / "x.safetensors", **settings, photos=folder / "nowhere")
    if what == "other photos" and second:
        config = tiny_run(material, folder / "x.safetensors", **settings, photos=material / "others")
    if what == "other settings" and second:
        config = tiny_run(material, folder / "x.safetensors", **settings, seed=7)
    if what == "full disk" and launch.first:
        os.fsync = no_space
    if what == "before the first step" and second:
        training.load_painting = gone
    train(config, on_step)


def no_space(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def gone(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def alone_at_the_meeting() -> None:
    """Wait for another process that never comes."""
    with joined(launched(), CPU, timeout=timedelta(seconds=1)):
        pass


def joined_twice() -> bool:
    with joined(launched(), CPU), joined(launched(), CPU):
        return True


FAILURES = ("killed", "one fails", "hung", "all fail", "other photos", "other settings", "full disk")
FAILURES = (*FAILURES, "before the first step")


# ------------------------------------------------------------------------------------------------------ the processes


def connected(work: Callable[[Processes], Any], store: Path) -> Any:
    """Do ``work`` in a group that meets in a file."""
    with joined(launched(), CPU, store=distributed.FileStore(str(store), launched().size)) as processes:
        return work(processes)


def connected_twice(store: Path) -> Any:
    """Do the same in a second group that meets where the first one did."""
    connected(messages, store)
    return connected(messages, store)


def fork(job: str, work: Callable[[], Any], size: int, folder: Path, absent: int = 0) -> None:
    """Do ``work`` in ``size`` processes; the last ``absent`` of them are never started."""
    port = free_port()
    children = []
    for rank in range(size - absent):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # this process has computed nothing yet
            child = os.fork()
        if child == 0:
            in_child(f"{folder / job}-{rank}", work, rank, size, port)
        children.append(child)
    # As torchrun does, keep the store in a process that outlives the others. Only now: a fork takes no thread along.
    store = distributed.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    until = time.monotonic() + SECONDS
    while children and time.monotonic() < until:
        children = [child for child in children if os.waitpid(child, os.WNOHANG)[0] == 0]
        time.sleep(0.01)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    del store


def in_child(prefix: str, work: Callable[[], Any], rank: int, size: int, port: int) -> None:
    """Do ``work`` as one of several processes, write down what came of it, and end."""
    try:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        os.environ.update({name: str(value) for name, value in names.items()})
        os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
        os.environ.update({"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"})
        began = time.monotonic()
        try:
            torch.save(work(), f"{prefix}.pt")
            said = "done"
        except StylizeError as error:
            said = f"{type(error).__name__}: {error}"
        left = "; a group is left" if distributed.is_initialized() else ""
        Path(f"{prefix}.txt").write_text(f"{said}{left}\n{time.monotonic() - began:.3f}")
    except BaseException:  # the process ends here, whatever it was
        Path(f"{prefix}.txt").write_text(traceback.format_exc())
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def free_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def main(material: Path, folder: Path) -> None:
    """Do all jobs, one after the other."""
    for together in (False, True):
        job = "synchronised" if together else "own"
        work = partial(connected, partial(networks, together=together), folder / f"{job}.store")
        fork(job, work, 2, folder)
    fork("statistics", partial(connected, statistics, folder / "statistics.store"), 3, folder)
    fork("messages", partial(connected_twice, folder / "messages.store"), 3, folder)
    fork("training", partial(training_runs, material, folder), 2, folder)
    fork("command", partial(command_line, material, folder), 2, folder)
    fork("resuming", partial(resuming, material, folder), 3, folder)
    fork("resuming with fewer", partial(resuming_with_fewer, material, folder), 2, folder)
    for what in FAILURES:
        fork(what, partial(failing, what, material, folder), 3, folder)
    fork("alone at the meeting", alone_at_the_meeting, 2, folder, absent=1)
    fork("joined twice", joined_twice, 2, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
