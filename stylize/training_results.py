"""What a finished training run writes down: a network, a collection, or a style file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from stylize.checkpoints import save_network
from stylize.config import PRESETS, TrainConfig
from stylize.evaluation import Validation
from stylize.learned_styles import mean_validation
from stylize.style_collections import Collection, load_collection, save_style_file
from stylize.style_vectors import network_digest, vector_names
from stylize.transformer import TransformerNet
from stylize.zoo import style_name


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves behind.

    Attributes:
        path: The weights file.
        validation: The final measurements, of the weights as they are in the file, in float32; of a collection, their
            mean over the styles.
        unreadable: Photos that could not be read, with the reason.
        seconds: Seconds of training, over all the parts of a resumed run.
        resumed_at: Step at which this part began; 0 for a run in one piece.
        validations: The final measurements of each style, by name.
        nearest: When a painting was added to a collection, the style it began as.
    """

    path: Path
    validation: Validation
    unreadable: dict[Path, str] = field(default_factory=dict)
    seconds: float = 0.0
    resumed_at: int = 0
    validations: dict[str, Validation] = field(default_factory=dict)
    nearest: str | None = None


@dataclass(frozen=True)
class History:
    """How a network was trained, beyond the settings.

    Attributes:
        seconds: Of training.
        device: On which.
        precision: In which.
        training_photos: On how many photos.
        paintings: What is known of each painting (:func:`stylize.paintings.painting_facts`).
        validations: The measurements of each style, by name.
        nearest: The style of a collection from which an added one began.
        processes: How many trained together at the end.
    """

    seconds: float
    device: str
    precision: str
    training_photos: int
    paintings: Sequence[dict[str, Any]]
    validations: Mapping[str, Validation]
    nearest: str | None = None
    processes: int = 1


def save_result(
    path: Path, network: TransformerNet, config: TrainConfig, history: History, collection: Collection | None = None
) -> None:
    """Write a trained network with its history; one that was adapted to a collection as a style file.

    Raises:
        OutputError: It cannot be written.
    """
    metadata = _metadata(network, config, history)
    if collection is not None:
        # What was frozen is that of the collection.
        learned = vector_names(load_collection(collection))
        vectors = {name: network.state_dict()[name] for name in learned}
        metadata["painting"] = history.paintings[0]
        metadata |= {"collection": style_name(collection.weights), "nearest": history.nearest}
        metadata["parameters"] = sum(vector.numel() for vector in vectors.values())
        save_style_file(path, vectors, network.config, collection.digest, metadata, overwrite=True)
        return
    if config.collection:
        metadata |= {"style": path.stem.removesuffix(f"-{config.norm}"), "network": network_digest(network)}
        metadata["styles"] = _entries(config, history)
    else:
        metadata["painting"] = history.paintings[0]
    save_network(path, network, metadata, dtype=config.weights_dtype, overwrite=True)


def _entries(config: TrainConfig, history: History) -> list[dict[str, Any]]:
    """Return what a collection says of each of its styles."""
    paintings: list[dict[str, Any] | None] = [*history.paintings]
    paintings += [None] * (len(config.style_names) - len(paintings))
    return [
        {"name": name, "painting": painting, "metrics": history.validations[name].to_json()}
        for name, painting in zip(config.style_names, paintings, strict=True)
    ]


def _metadata(network: TransformerNet, config: TrainConfig, history: History) -> dict[str, Any]:
    one = network.config.of_one_style
    same = (name for name, preset in PRESETS.items() if replace(preset, norm=one.norm) == one)
    several = {"processes": history.processes, "sync_batch_norm": config.sync_batch_norm}
    return {
        "style": config.paintings[0].stem,
        "norm": network.config.norm,
        "preset": next(same, "custom"),
        "parameters": network.parameter_count,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "photo_steps": config.steps * config.batch_size,
        "image_size": config.image_size,
        "style_size": config.style_size,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
        "seconds": round(history.seconds, 1),
        "device": history.device,
        "precision": history.precision,
        "torch": torch.__version__,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "training_photos": history.training_photos,
        "preparation": config.preparation,
        "start_from": None if config.start_from is None else Path(config.start_from).name,
        "loss": config.to_json()["loss"],
        "metrics": mean_validation(list(history.validations.values())).to_json(),
        "licence": config.licence,
        **(several if history.processes > 1 else {}),
    }
