"""Adding a painting of the user's own to a collection, in minutes, with samples on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylize.config import ADAPTING, TrainConfig
from stylize.errors import InputError, TrainingInterrupted
from stylize.images import find_images
from stylize.style_collections import Collection
from stylize.training import train
from stylize.web.settings import Limits
from stylize.web.uploads import read_upload

STEPS = (5, 1000)
"""Fewest and most steps that can be chosen."""

DEFAULT_STEPS = int(ADAPTING["steps"])

CROPS = (64, 256)
"""Smallest and largest side of the squares that are learned from, in pixels."""

DEFAULT_CROP = int(ADAPTING["image_size"])

PAINTING_FACTOR = 2
"""Short side of the painting beside the side of the squares: the same strokes with small squares as with large ones."""

SAMPLES = 8
"""Samples that are shown on the way, about."""

HELD_OUT = 2
"""Photos that are not trained on, which the samples show."""

BATCH = 4


@dataclass(frozen=True)
class Progress:
    """Where adapting stands.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        seconds_left: Estimate.
        style_loss: Of this step.
        sample: The last sample: held-out photos, painted side by side; None before the first.
    """

    step: int
    steps: int
    seconds_left: float
    style_loss: float
    sample: Path | None


@dataclass(frozen=True)
class Adapted:
    """A style that was learned.

    Attributes:
        path: The style file.
        nearest: The style of the collection that it began as.
        distance: Style distance on the held-out photos.
        seconds: How long it took.
    """

    path: Path
    nearest: str | None
    distance: float
    seconds: float


@dataclass(frozen=True)
class Effort:
    """How long to learn.

    Attributes:
        steps: Steps, within :data:`STEPS`.
        crop: Side of the squares that are learned from, in pixels, within :data:`CROPS`.
    """

    steps: int = DEFAULT_STEPS
    crop: int = DEFAULT_CROP

    def __post_init__(self) -> None:
        for what, value, (least, most) in (("steps", self.steps, STEPS), ("pixels", self.crop, CROPS)):
            if not least <= value <= most:
                raise InputError(f"{value} {what} given; {least} to {most} are accepted")


def adapting_config(
    painting: Path,
    collection: Collection,
    folder: Path,
    effort: Effort,
    photos: Path | None = None,
    device: str = "auto",
) -> TrainConfig:
    """Return what is to be trained: a style file in ``folder`` named after the painting."""
    values = ADAPTING | {"steps": effort.steps, "image_size": effort.crop}
    return TrainConfig(
        style=painting,
        photos=photos,
        output=folder / f"{painting.stem}.safetensors",
        adapt=str(collection.weights.path.resolve()),
        batch_size=BATCH if photos is None else min(BATCH, max(1, len(find_images(photos)) - HELD_OUT)),
        style_size=PAINTING_FACTOR * effort.crop,
        validation_photos=HELD_OUT,
        validation_interval=max(1, effort.steps // SAMPLES),
        checkpoint_interval=effort.steps,
        device=device,
        **values,
    )


def adapt(
    painting: Path,
    collection: Collection,
    folder: Path,
    effort: Effort,
    limits: Limits,
    *,
    report: Callable[[Progress], None],
    stopped: Callable[[], bool],
    photos: Path | None = None,
    device: str = "auto",
) -> Adapted | None:
    """Learn a painting as a style of a collection.

    Args:
        painting: The picture.
        collection: The network that it becomes a style of.
        folder: Where the style file goes, and the folder of the run.
        effort: How long to learn.
        limits: How large the picture may be.
        report: Called after every step.
        stopped: Says whether to stop.
        photos: Folder of photos to learn with; None takes the shipped examples.
        device: Where it computes.

    Returns:
        What was learned; None where it was stopped.

    Raises:
        InputError: A painting that cannot be read or shows nothing to learn.
        TrainingError: The loss is no longer finite.
    """
    read_upload(painting, limits)
    config = adapting_config(painting, collection, folder, effort, photos, device)
    sample: Path | None = None

    def on_step(progress: Any) -> None:
        nonlocal sample
        sample = progress.sample or sample
        style = progress.losses["style"]
        report(Progress(progress.step, progress.steps, progress.seconds_left, style, sample))
        if stopped():
            raise KeyboardInterrupt

    try:
        result = train(config, on_step, overwrite=True)
    except TrainingInterrupted:
        return None
    return Adapted(result.path, result.nearest, result.validation.evaluation_mode.style, result.seconds)
