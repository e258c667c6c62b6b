"""The photos of a training run: those it learns from, and those that are held out to measure it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from stylize.config import TrainConfig
from stylize.data import PhotoStream, find_photos, hold_out, load_square
from stylize.errors import ImageError, InputError
from stylize.zoo import example_photos


class TrainingPhotos:
    """The photos of a run.

    Args:
        config: The settings of the run.

    Attributes:
        stream: The photos to learn from, in the order of the seed.
        held_out: Squares (1, 3, S, S) in [0, 1] of the held-out photos.
        digest: Of the names of the training photos: a run is resumed with those it began with.

    Raises:
        InputError: Too few photos, or none that can be read.
    """

    def __init__(self, config: TrainConfig) -> None:
        folder, training, held_out = choose_photos(config)
        self.digest = names_digest(folder, training)
        self.stream = PhotoStream(training, config.image_size, config.crop_scale, config.seed)
        self.held_out: list[Tensor] = []
        for path in held_out:
            try:
                self.held_out.append(load_square(path, config.image_size))
            except ImageError as error:
                self.stream.unreadable[path] = str(error)
        if not self.held_out:
            raise InputError(f"none of the {len(held_out)} held-out photos can be read; the first: {held_out[0]}")


def names_digest(folder: Path, photos: Sequence[Path]) -> str:
    """Return a digest of the names of photos below a folder, by which a run knows its photos again."""
    names = "\n".join(path.relative_to(folder).as_posix() for path in photos)
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()


def choose_photos(config: TrainConfig) -> tuple[Path, list[Path], list[Path]]:
    """Return the folder of the photos, those to train on, and those held out.

    Raises:
        InputError: No such folder, or too few photos in it.
    """
    needed = config.batch_size + (config.validation is None)
    purpose = f"batches of {config.batch_size}"
    if config.photos is None:
        paths = example_photos()
        folder = paths[0].parent if paths else Path("examples/photos")
        if len(paths) < needed:
            raise InputError(f"{needed} photos are needed for {purpose}, and only {len(paths)} come with stylize")
    else:
        folder = Path(config.photos)
        paths = find_photos(folder, needed, purpose)
    # The samples of a run beside the photos are no photos; they would also keep that run from being resumed.
    paths = [path for path in paths if not any(p.endswith(".run") for p in path.relative_to(folder).parts[:-1])]
    if len(paths) < needed:
        raise InputError(f"{folder} holds {len(paths)} photos besides samples of runs; {needed} are needed")
    if config.validation is None:
        training, held_out = hold_out(paths, config.seed, config.validation_photos)
    else:
        training = paths
        held_out = find_photos(Path(config.validation), 1, "validation")[: config.validation_photos]
    limit = config.photo_limit
    if limit is not None:
        if limit > len(training):
            raise InputError(f"photo_limit is {limit}, and there are only {len(training)} photos to train on")
        # One order for all limits, so that fewer photos are always among the more.
        chosen = np.random.default_rng((config.seed, 3)).permutation(len(training))[:limit]
        training = [training[index] for index in sorted(chosen.tolist())]
    return folder, training, held_out
