"""The state of an unfinished training run: network, optimiser and position, written between steps and taken up again.

Crops, flips and order follow from the seed and the step, and the weights were drawn from the seed. So there is no
random state beyond these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylize.checkpoints import read_training_state, write_training_state
from stylize.config import TrainConfig
from stylize.errors import InputError, WeightsError

NETWORK = "network."
OPTIMISER = "optimizer."
"""What the names of tensors begin with."""

OF_THIS_MACHINE = ("style", "photos", "output", "validation", "start_from", "licence")
"""Settings that name something on one machine, or reach the first process only: processes may have others."""

FILES = ("preparation_weights", "adapt")
"""Settings that may be files, which can lie in another folder on another machine."""


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Attributes:
        step: Steps done.
        seconds: Of training.
        nearest: The style of a collection from which an added one began.
        unreadable: Photos that could not be read, with the reason.
    """

    step: int
    seconds: float
    nearest: str | None = None
    unreadable: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingState:
    """The file that holds the state of a run.

    Attributes:
        path: The file.
        config: The settings of the run.
        photos: Digest of its training photos.
        paintings: Digest of its paintings.
    """

    path: Path
    config: TrainConfig
    photos: str
    paintings: str

    def decisive(self) -> dict[str, Any]:
        """Return what decides what is learned, and must be the same in all processes of a run; plain JSON values."""
        values = {name: value for name, value in self.config.to_json().items() if name not in OF_THIS_MACHINE}
        values |= {name: values[name] and Path(values[name]).name for name in FILES}
        values["loss"] |= {"loss_network": Path(values["loss"]["loss_network"]).name}
        values["deterministic"] = torch.are_deterministic_algorithms_enabled()
        return values | {"photos": self.photos, "style": self.paintings}

    def write(self, network: nn.Module, optimizer: torch.optim.Optimizer, position: Position) -> None:
        """Write the state over the one before, atomically.

        Raises:
            OutputError: It cannot be written; the state before is unchanged.
        """
        tensors = {f"{NETWORK}{name}": tensor for name, tensor in network.state_dict().items()}
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMISER}{index}.{name}": tensor for name, tensor in values.items()}
        facts = {
            "config": self.config.to_json(),
            "photos": self.photos,
            "painting": self.paintings,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "nearest": position.nearest,
            "step": position.step,
            "seconds": position.seconds,
            "unreadable": {str(path): reason for path, reason in position.unreadable.items()},
        }
        write_training_state(self.path, tensors, facts)

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer, output: Path) -> Position:
        """Give a network and its optimiser the state in the file, and return where the run stands.

        Args:
            network: The network, as the settings make it.
            optimizer: Its optimiser.
            output: What the run is to end in, for messages.

        Raises:
            InputError: Photos, paintings or the kind of algorithms are not those that the run began with.
            WeightsError: The file is damaged.
        """
        tensors, facts = read_training_state(self.path)
        if facts.get("photos") != self.photos:
            raise InputError(f"the training photos are not those that the run of {output} began with")
        if facts.get("painting", self.paintings) != self.paintings:
            named = ", ".join(str(path) for path in self.config.paintings)
            raise InputError(f"the painting {named} was changed after the run of {output} began")
        now = torch.are_deterministic_algorithms_enabled()
        if facts.get("deterministic", False) is not now:
            raise InputError(
                f"the run of {output} was begun with{'out' if now else ''} deterministic algorithms; resume it "
                f"with{'out' if now else ''} --deterministic"
            )
        state: dict[int, dict[str, Tensor]] = {}
        try:
            network.load_state_dict({n.removeprefix(NETWORK): t for n, t in tensors.items() if n.startswith(NETWORK)})
            for name, tensor in tensors.items():
                if name.startswith(OPTIMISER):
                    _, index, key = name.split(".", 2)
                    state.setdefault(int(index), {})[key] = tensor
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
            return Position(
                int(facts["step"]),
                float(facts["seconds"]),
                facts.get("nearest"),
                {Path(path): reason for path, reason in facts["unreadable"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise WeightsError(f"{self.path} is damaged ({error}); start anew with --overwrite") from error


def is_finite(network: nn.Module) -> bool:
    """Say whether every weight and every running statistic of a network is a finite number."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())
