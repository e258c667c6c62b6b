"""Tiny training runs: a painting, a few photos, a network of a few thousand parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import ImageOps

from stylize.config import LossConfig, TrainConfig
from tests.helpers import save_photo, synthetic_image, tiny_config

TINY_LOSS = LossConfig(
    content_layer="relu1_1",
    style_layers=("relu1_1", "relu2_1"),
    style_layer_weights=(1.0, 1.0),
    content_weight=1.0,
    style_weight=5.0,
    tv_weight=0.2,
)
"""Layers so shallow that the loss network costs next to nothing."""

PHOTOS = 10

TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}
"""What torchrun tells one of its processes."""


def make_material(folder: Path, photos: int = PHOTOS) -> Path:
    """Write ``painting.png`` and ``photos/`` into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    # Dark where the photos are light, so that its style is something to learn.
    ImageOps.invert(synthetic_image(48, 40, seed=99)).rotate(90, expand=True).save(folder / "painting.png")
    for index in range(photos):
        save_photo(folder / "photos" / f"photo-{index:02d}.png", 44 + index, 40, seed=index)
    return folder


def tiny_run(folder: Path, output: Path, **changes: Any) -> TrainConfig:
    """Return the settings of a run on :func:`make_material` that takes well under a second."""
    settings: dict[str, Any] = {
        "style": folder / "painting.png",
        "photos": folder / "photos",
        "output": output,
        "architecture": tiny_config(),
        "steps": 6,
        "batch_size": 2,
        "image_size": 32,
        "style_size": 32,
        "learning_rate": 0.001,
        "warmup": 2,
        "precision": "float32",
        "device": "cpu",
        "weights_dtype": "float32",
        "validation_interval": 1000,
        "checkpoint_interval": 2,
        "loss": TINY_LOSS,
    }
    return TrainConfig(**(settings | changes))


def read_log(output: Path) -> list[dict[str, Any]]:
    """Return the rows of the log of a run."""
    text = (output.with_suffix(".run") / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def logged_steps(output: Path) -> list[int]:
    """Return the steps whose losses stand in the log, in order."""
    return [row["step"] for row in read_log(output) if "total" in row]


def logged_totals(output: Path) -> dict[int, float]:
    """Return the total loss of every step in the log."""
    return {row["step"]: row["total"] for row in read_log(output) if "total" in row}
