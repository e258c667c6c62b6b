"""Several processes that train one network together, on the process groups of PyTorch.

Gloo connects processes on CPUs, NCCL those on NVIDIA GPUs. Numbers, messages and flags always go through Gloo, so that
a connection that is lost is noticed by the process that waits.

When one process fails, the others cannot go on, and would fail too, each with a message of its own about a lost
connection. Here one of them says what was wrong, and only one: the process that failed by itself, the first of all
processes if several did; or, when a process was killed and could say nothing, the first to notice. The others raise
:class:`stylize.errors.AnotherProcessFailed`, which the command line does not show.

Reference: Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", arXiv 2006.15704.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from stylize.devices import available_devices, choose_device
from stylize.errors import AnotherProcessFailed, DeviceError, InputError, ProcessLost, StylizeError, TrainingError
from stylize.launch import Launch

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others, which wait in turn while the first one measures on held-out photos. The end
of a process is noticed at once; this is for one that hangs. It is what PyTorch allows Gloo by itself."""

SECONDS_FOR_THE_FIRST = 1.0
"""How long a process that failed leaves it to the first one to say why: mostly that one fails for the same reason."""

SECONDS_TO_LET_GO = 0.05
"""How long the threads of a group have, before it ends, to let go of the tensors that they sent. They need Python's
lock for it, and up to torch 2.7 a group that ends keeps that lock while it waits for them: for ever, if one has not let
go yet (https://github.com/pytorch/pytorch/pull/154976)."""

LOST = ("closed by peer", "Connection reset", "Broken pipe", "Timed out", "timeout", "gloo", "NCCL", "Socket")
"""What torch says when a connection to another process is lost. Gloo has no type of error of its own."""

_groups = itertools.count()

Value = TypeVar("Value")


def own_device(name: str, launch: Launch) -> torch.device:
    """Return the device on which this process computes: with several processes, each has a GPU of its own.

    Args:
        name: As :func:`stylize.devices.choose_device` takes it.
        launch: Which process this is.

    Raises:
        DeviceError: No such device, or too few of them.
    """
    if not launch.several:
        return choose_device(name)
    kind = choose_device(name).type
    if kind == "mps":
        raise DeviceError(f"{launch.size} processes cannot share a GPU of an Apple computer; pass --device cpu")
    if kind == "cpu":
        return torch.device("cpu")
    if name.strip().lower() not in ("auto", "cuda"):
        raise DeviceError(f"device '{name}' given to {launch.size} processes; 'cuda' gives each a GPU of its own")
    present = [device for device in available_devices() if device.startswith("cuda")]
    if launch.local_size > len(present):
        raise DeviceError(
            f"{launch.local_size} processes were started on a machine with {len(present)} "
            f"GPU{'' if len(present) == 1 else 's'}; start one for each GPU, or pass --device cpu"
        )
    return torch.device(present[launch.local_rank])


class Processes:
    """The processes of a run, as one of them sees them. When it is alone, everything is as it was given.

    Every method that exchanges something must be called by all processes, in the same order.

    Args:
        launch: Which process this is.
        device: On which it computes.
        messages: The group through which numbers and messages go; None when it is alone.
        store: What all processes can read and write at any time; None when it is alone.
    """

    def __init__(
        self,
        launch: Launch,
        device: torch.device,
        messages: distributed.ProcessGroup | None = None,
        store: distributed.Store | None = None,
    ) -> None:
        self.launch = launch
        self.device = device
        self.messages = messages
        self.store = store

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.launch.first

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.launch.size

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the means over all processes of numbers by name."""
        if self.messages is None:
            return dict(values)
        numbers = torch.tensor(list(values.values()), dtype=torch.float64)
        distributed.all_reduce(numbers, group=self.messages)
        return dict(zip(values, (numbers / self.size).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Say whether ``flag`` is set in any process."""
        if self.messages is None:
            return flag
        flags = torch.tensor([int(flag)])
        distributed.all_reduce(flags, group=self.messages)
        return bool(flags.item())

    def gathered(self, value: Value) -> list[Value]:
        """Return the values of all processes, in the order of their ranks."""
        if self.messages is None:
            return [value]
        found: list[Value] = [value] * self.size
        distributed.all_gather_object(found, value, group=self.messages)
        return found

    def from_first(self, value: Value) -> Value:
        """Return the value that the first process has."""
        box = [value]
        if self.messages is not None:
            distributed.broadcast_object_list(box, src=0, group=self.messages)
        return box[0]

    def agree(self, given: Mapping[str, Any]) -> None:
        """Check that all processes were given the same.

        Args:
            given: What this process was given, by name; plain JSON values.

        Raises:
            InputError: One of them was given something else than the first.
        """
        gathered = self.gathered(dict(given))
        for number, other in enumerate(gathered, 1):
            different = [name for name, value in gathered[0].items() if other.get(name) != value]
            if different:
                raise InputError(
                    f"process {number} of {self.size} was not given the same {different[0]} as the first; all need the "
                    "same settings, paintings, photos and checkpoint"
                )

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return what computes the same as ``network`` and takes the mean of all processes' gradients.

        The network begins in all processes as it is in the first. Its buffers, such as running averages, are those of
        the first process too, before every forward pass.
        """
        if self.messages is None:
            return network
        parallel = nn.parallel.DistributedDataParallel(network)
        # Without annotations: torch compares them with types, and here they are texts.
        parallel.register_comm_hook(self.size, lambda size, bucket: _mean_gradients(size, bucket))
        return parallel

    def lost(self, error: BaseException) -> bool:
        """Say whether ``error`` means that the connection to another process was lost."""
        if self.messages is None or not isinstance(error, RuntimeError):
            return False
        return isinstance(error, distributed.DistError) or any(words in str(error) for words in LOST)

    def speaks(self, error: StylizeError) -> bool:
        """Say whether this process is the one to tell the user that ``error`` ended the run."""
        if self.store is None:
            return True
        try:
            if isinstance(error, ProcessLost):
                # A process that failed by itself says why, now or soon.
                return self.store.add("failed", 0) == 0 and self.store.add("told", 1) == 1
            self.store.add("failed", 1)
            if self.first:
                self.store.set("first failed", "")
            elif self._first_failed():
                return False
            return self.store.add("told", 1) == 1
        except RuntimeError:  # the store is gone with the process that kept it
            return True

    def _first_failed(self) -> bool:
        # Asked again and again, because Store.wait warns of the time that passed.
        until = time.monotonic() + SECONDS_FOR_THE_FIRST
        while not self.store.check(["first failed"]):
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True


def _mean_gradients(size: int, bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """Put the mean over the processes in the place of some gradients, added up in the order of the ranks.

    DistributedDataParallel lays gradients side by side, in another way after its first step than in it, and the order
    in which a reduction adds up the numbers of three or more processes depends on their place. A resumed run would
    then differ in the last digits from one that was never interrupted.
    """
    own = bucket.buffer()
    rows = [torch.empty_like(own) for _ in range(size)]
    distributed.all_gather(rows, own)
    # Of a GPU, what waits for this future also waits for what the GPU still computes.
    devices = [own.device] if own.is_cuda else []
    result: torch.futures.Future[torch.Tensor] = torch.futures.Future(devices=devices)
    result.set_result(torch.stack(rows).mean(0))
    return result


@contextmanager
def joined(
    launch: Launch,
    device: torch.device,
    *,
    store: distributed.Store | None = None,
    timeout: timedelta = TIMEOUT,
) -> Iterator[Processes]:
    """Be one of the processes of a run while the block runs; none of their connections is left afterwards.

    Args:
        launch: Which process this is.
        device: On which it computes.
        store: Through which the processes find each other; None: as torchrun says it.
        timeout: How long to wait for the others, at the start and later.

    Raises:
        InputError: The calling program has a process group already.
        TrainingError: The processes did not find each other.
        AnotherProcessFailed: The block failed in this process because it failed in another, which says why.
    """
    if not launch.several:
        yield Processes(launch, device)
        return
    if not distributed.is_available():
        raise TrainingError("this build of torch has no torch.distributed; train with one process")
    if distributed.is_initialized():
        raise InputError("torch.distributed has a process group already; end it before training")
    try:
        processes = _connected(launch, device, store, timeout)
        try:
            with _losses_named(processes):
                yield processes
        except StylizeError as error:
            if not processes.speaks(error):
                raise AnotherProcessFailed("another process of the run failed") from error
            if launch.first or isinstance(error, ProcessLost):
                raise
            raise type(error)(f"process {launch.rank + 1} of {launch.size}: {error}") from error
    finally:
        if distributed.is_initialized():
            time.sleep(SECONDS_TO_LET_GO)
            distributed.destroy_process_group()


@contextmanager
def _losses_named(processes: Processes) -> Iterator[None]:
    """Turn what torch raises when a connection is lost into :class:`ProcessLost`."""
    try:
        yield
    except RuntimeError as error:
        if processes.lost(error):
            raise ProcessLost("another process of the run ended before the first step, and did not say why") from error
        raise


def _connected(launch: Launch, device: torch.device, store: distributed.Store | None, timeout: timedelta) -> Processes:
    """Connect to the other processes.

    Raises:
        TrainingError: They were not found in time.
    """
    on_gpu = device.type == "cuda" and distributed.is_nccl_available()
    try:
        if store is None:
            # Where and which: MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE.
            store, _, _ = next(distributed.rendezvous("env://", timeout=timeout))
            store.set_timeout(timeout)
        # Names of its own for every group: those of one that was ended may still be in the store.
        own = distributed.PrefixStore(f"stylize {next(_groups)}", store)
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=own,
            rank=launch.rank,
            world_size=launch.size,
            timeout=timeout,
            device_id=device if on_gpu else None,
        )
        messages = distributed.new_group(backend="gloo", timeout=timeout) if on_gpu else distributed.group.WORLD
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"process {launch.rank + 1} of {launch.size} could not connect to the others ({reason}); check that all "
            "were started and that MASTER_ADDR and MASTER_PORT are those of the first machine"
        ) from error
    return Processes(launch, device, messages, own)
