"""The most memory that the tensors of a forward pass take at any moment, on any device, the same in every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode


class LiveTensors(TorchFunctionMode):
    """Counts the bytes of the tensors that calls of torch returned and that are still alive, and remembers the most.

    It sees every call of torch in the code of the network, on any device, and asks after each of them which storages
    have been let go; two views of one storage count once.
    """

    def __init__(self, without: Sequence[Tensor]) -> None:
        super().__init__()
        self.most = 0
        # Weak references keep the address of a storage from being given to another one.
        self.excluded = [StorageWeakRef(tensor.untyped_storage()) for tensor in without]
        self.known = {reference.cdata for reference in self.excluded}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else [result]:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                if reference.cdata not in self.known:
                    self.alive[reference.cdata] = (reference, storage.nbytes())
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.most = max(self.most, sum(size for _, size in self.alive.values()))
        return result


def peak_memory(network: nn.Module, photos: Tensor) -> int:
    """Return the most bytes that the tensors of a forward pass take at any moment.

    The weights and the photos do not count, nor does what a call of torch allocates and frees again while it runs.
    Unlike the memory of the process, this is the same in every run and on every machine with the same torch.

    Args:
        network: The network.
        photos: (B, 3, H, W).
    """
    counter = LiveTensors([*network.parameters(), *network.buffers(), photos])
    with torch.no_grad(), counter:
        network(photos)
    return counter.most
