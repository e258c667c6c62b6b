"""Training photos: which photo, which crop and whether flipped is a function of the seed and the position alone.

Position k is the k-th photo that a run sees. Nothing is remembered between positions, so a run that is resumed at
position k sees exactly what the uninterrupted run would have seen, and so do two networks that are compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylize.errors import ImageError, InputError
from stylize.images import find_images, read_image, to_tensor

PREFETCHED_BATCHES = 2


class PhotoStream:
    """An endless, seeded stream of square training crops.

    Args:
        paths: The photos; their order matters for repeating a run.
        image_size: Side of the crops in pixels.
        crop_scale: Smallest side of a crop as a share of the photo's short side; the largest is 1.
        seed: Seed of order, crops and flips.

    Attributes:
        unreadable: Photos that could not be read so far, with the reason. The next photo of the list stands in.
    """

    def __init__(self, paths: Sequence[Path], image_size: int, crop_scale: float, seed: int) -> None:
        self.paths = list(paths)
        self.image_size = image_size
        self.crop_scale = crop_scale
        self.seed = seed
        self.unreadable: dict[Path, str] = {}
        self._orders: dict[int, np.ndarray] = {}

    def photo(self, position: int) -> Tensor:
        """Return the crop at ``position``, (3, image_size, image_size) in [0, 1].

        Raises:
            InputError: None of the photos can be read.
        """
        epoch, place = divmod(position, len(self.paths))
        image = self._read(int(self._order(epoch)[place]))
        random = np.random.default_rng((self.seed, 1, position))
        shortest = min(image.size)
        side = max(1, round(shortest * random.uniform(self.crop_scale, 1)))
        left = int(random.integers(image.width - side + 1))
        top = int(random.integers(image.height - side + 1))
        size = (self.image_size, self.image_size)
        crop = image.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + side, top + side), reducing_gap=3)
        if random.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return to_tensor(crop)[0]

    def batch(self, step: int, batch_size: int, items: range | None = None) -> Tensor:
        """Return the photos of one step, (B, 3, image_size, image_size) in [0, 1].

        Args:
            step: The step, from 0.
            batch_size: Photos per step.
            items: Which of them; None: all.
        """
        chosen = range(batch_size) if items is None else items
        return torch.stack([self.photo(step * batch_size + item) for item in chosen])

    def batches(self, first_step: int, last_step: int, batch_size: int, items: range | None = None) -> Iterator[Tensor]:
        """Yield the batches of steps ``first_step`` to ``last_step - 1``, read ahead in other threads."""
        workers = max(1, min(4, (os.cpu_count() or 1) // 2))
        with ThreadPoolExecutor(workers, thread_name_prefix="photos") as pool:
            ahead = range(first_step, min(first_step + PREFETCHED_BATCHES, last_step))
            waiting = [pool.submit(self.batch, step, batch_size, items) for step in ahead]
            try:
                for step in range(first_step, last_step):
                    batch = waiting.pop(0).result()
                    if step + PREFETCHED_BATCHES < last_step:
                        waiting.append(pool.submit(self.batch, step + PREFETCHED_BATCHES, batch_size, items))
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def _order(self, epoch: int) -> np.ndarray:
        order = self._orders.get(epoch)
        if order is None:
            order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.paths))
            # Replaced, not changed: another thread may be reading the photos of the epoch before.
            self._orders = {epoch: order}
        return order

    def _read(self, index: int) -> Image.Image:
        for offset in range(len(self.paths)):
            path = self.paths[(index + offset) % len(self.paths)]
            if path in self.unreadable:
                continue
            try:
                return read_image(path)
            except ImageError as error:
                self.unreadable[path] = str(error)
        raise InputError(f"none of the {len(self.paths)} training photos can be read; the first: {self.paths[0]}")


def find_photos(folder: Path, at_least: int, purpose: str) -> list[Path]:
    """Return the pictures below ``folder``, sorted.

    Args:
        folder: Searched recursively.
        at_least: How many are needed.
        purpose: What they are needed for, as the message says it.

    Raises:
        InputError: No such folder, or too few pictures in it.
    """
    if not folder.exists():
        raise InputError(f"folder of photos {folder} not found; give an existing folder of at least {at_least} photos")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; a folder of at least {at_least} photos is needed for {purpose}")
    paths = find_images(folder)
    if len(paths) < at_least:
        found = "no photo" if not paths else f"{len(paths)} photo{'s' if len(paths) > 1 else ''}"
        raise InputError(f"{folder} holds {found}; at least {at_least} are needed for {purpose}")
    return paths


def hold_out(paths: Sequence[Path], seed: int, at_most: int) -> tuple[list[Path], list[Path]]:
    """Split photos into those to train on and those held out: an eighth, at least 1 and at most ``at_most``."""
    count = max(1, min(at_most, len(paths) // 8))
    held_out = set(np.random.default_rng((seed, 2)).permutation(len(paths))[:count].tolist())
    training = [path for index, path in enumerate(paths) if index not in held_out]
    return training, [path for index, path in enumerate(paths) if index in held_out]


def load_square(path: Path, size: int) -> Tensor:
    """Return the central square of a photo, (1, 3, size, size) in [0, 1].

    Raises:
        ImageError: The photo cannot be read.
    """
    image = read_image(path)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return to_tensor(image.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3))
