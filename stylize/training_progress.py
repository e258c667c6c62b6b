"""What is known of a training run while it goes on: after every step, in the log, and as pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylize.evaluation import Validation
from stylize.images import to_image, write_image
from stylize.learned_styles import OneStyle
from stylize.network_norms import gate_means
from stylize.transformer import TransformerNet

SPEED_WINDOW = 20
"""Steps over which photos per second are averaged."""


@dataclass(frozen=True)
class TrainProgress:
    """What is known after a step.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        losses: Means over the batch: content, style, total_variation, total.
        learning_rate: Of this step.
        photos_per_second: Over the last steps.
        seconds_left: Estimate.
        validation: The measurements, when this step had a validation.
        sample: The sample picture written at this step, if any.
    """

    step: int
    steps: int
    losses: dict[str, float]
    learning_rate: float
    photos_per_second: float
    seconds_left: float
    validation: Validation | None = None
    sample: Path | None = None


class Pace:
    """How fast the steps of a run follow each other, from now on.

    Args:
        before: Seconds that earlier parts of the run took.
    """

    def __init__(self, before: float) -> None:
        self._before = before
        self._began = time.perf_counter()
        self._times = [self._began]

    def step_done(self) -> None:
        """Take note that a step has ended."""
        self._times = [*self._times[-SPEED_WINDOW:], time.perf_counter()]

    @property
    def seconds(self) -> float:
        """Seconds of training until the end of the last step, over all the parts of the run."""
        return self._before + self._times[-1] - self._began

    @property
    def steps_per_second(self) -> float:
        """Over the last steps."""
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)


def progress_row(
    progress: TrainProgress, seconds: float, network: TransformerNet, styles: Mapping[str, Validation] | None
) -> dict[str, Any]:
    """Return what the log of a run says of a step.

    Args:
        progress: The step.
        seconds: Of training until its end.
        network: The network after it.
        styles: The measurements of each style of a collection; None for a network of one style.
    """
    row: dict[str, Any] = {"step": progress.step, **progress.losses, "learning_rate": progress.learning_rate}
    row |= {"photos_per_second": round(progress.photos_per_second, 3), "seconds": round(seconds, 2)}
    if progress.validation is not None:
        row["validation"] = progress.validation.to_json()
        row |= facts_of_network(network, styles)
    return row


def facts_of_network(network: TransformerNet, styles: Mapping[str, Validation] | None) -> dict[str, Any]:
    """Return what the log says of a network beside its mean losses: those of its styles, and the mean of its gates."""
    facts: dict[str, Any] = {}
    if styles is not None:
        facts["styles"] = {name: one.to_json() for name, one in styles.items()}
    if gates := gate_means(network):
        facts["gates"] = gates
    return facts


def write_sample(network: TransformerNet, photos: Tensor, styles: int | None, path: Path) -> None:
    """Paint photos and put them side by side in a picture; of a collection, a row for each style.

    Args:
        network: The network; its mode is as before afterwards.
        photos: (B, 3, S, S) in [0, 1], on the device of the network.
        styles: How many styles a collection has; None for a network of one.
        path: The picture.

    Raises:
        OutputError: It cannot be written.
    """
    was_training = network.training
    network.eval()
    views = [network] if styles is None else [OneStyle(network, number) for number in range(styles)]
    with torch.no_grad():
        rows = [torch.cat(list(view(photos).cpu()), dim=-1) for view in views]
    network.train(was_training)
    write_image(to_image(torch.cat(rows, dim=-2)), path, overwrite=True)
