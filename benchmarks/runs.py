"""Training runs of a benchmark: finished ones are taken as they are, unfinished ones are continued."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from stylize.checkpoints import WeightsFile, read_weights_file
from stylize.config import TrainConfig
from stylize.errors import InputError
from stylize.run_folder import run_folder
from stylize.training import TrainProgress, train
from stylize.training_photos import choose_photos

REPORTS = 20
"""Lines of progress per run, at most."""


def wanted_metadata(config: TrainConfig) -> dict[str, Any]:
    """Return what the weights file of a finished run with these settings must say."""
    names = ("norm", "steps", "batch_size", "image_size", "style_size", "learning_rate", "seed")
    values = config.to_json()
    return {name: values[name] for name in names} | {
        "loss": values["loss"],
        "painting": hashlib.sha256(Path(config.style).read_bytes()).hexdigest(),
        "photos": len(training_photos(config)[0]),
    }


def training_photos(config: TrainConfig) -> tuple[list[Path], list[Path]]:
    """Return the photos that a run trains on, and those it is measured on, as ``stylize.training`` picks them."""
    _, training, held_out = choose_photos(config)
    return training, held_out


def check_finished(weights: WeightsFile, config: TrainConfig) -> None:
    """Raise InputError when a finished run was made with other settings."""
    metadata = dict(weights.metadata)
    found = {name: metadata.get(name) for name in wanted_metadata(config)}
    found["painting"] = (metadata.get("painting") or {}).get("sha256")
    found["photos"] = metadata.get("training_photos")
    # The way through JSON turns tuples into lists.
    found["loss"] = {k: tuple(v) if isinstance(v, list) else v for k, v in (found["loss"] or {}).items()}
    wanted = wanted_metadata(config)
    wanted["loss"] = {k: tuple(v) if isinstance(v, list) else v for k, v in wanted["loss"].items()}
    different = [name for name in wanted if wanted[name] != found[name]]
    if weights.architecture != config.transformer:
        different.append("architecture")
    if different:
        raise InputError(
            f"{weights.path} was trained with another {', '.join(different)}; give another --runs, or delete it"
        )


def train_once(config: TrainConfig) -> WeightsFile:
    """Train, continue or take up the run of ``config`` and return its weights file, with the losses in its header.

    Raises:
        InputError: A finished run of that name has other settings.
    """
    output = Path(config.output or "")
    if output.exists():
        weights = read_weights_file(output)
        check_finished(weights, config)
        print(f"{output.stem}: finished before")
        return weights
    resume = (run_folder(output) / "checkpoint.safetensors").exists()
    every = max(1, config.steps // REPORTS)

    def report(progress: TrainProgress) -> None:
        if progress.step % every and progress.step != progress.steps:
            return
        losses = progress.losses
        print(
            f"{output.stem}: step {progress.step}/{progress.steps}, content {losses['content']:.4f}, style "
            f"{losses['style']:.4f}, {progress.photos_per_second:.1f} photos/s, {progress.seconds_left:.0f} s left",
            flush=True,
        )

    print(f"{output.stem}: {'continues' if resume else 'begins'}", flush=True)
    train(config, report, resume=resume)
    return read_weights_file(output)
