"""Reading the photos of ``stylize apply``, and the mask that goes with them, at the size at which they are painted."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from stylize.cli.apply_request import Photo, Request
from stylize.cli.outputs import Task

if TYPE_CHECKING:
    from stylize.images import Picture
    from stylize.masks import Mask


class Reader:
    """Reads photos, one at a time.

    Args:
        request: What was asked for; its size is that of the photos that come out.
        note: Called with a line of text where the user may have mixed something up.
    """

    def __init__(self, request: Request, note: Callable[[str], None]) -> None:
        self.request, self.note = request, note
        self._mask: Mask | None = None

    def read(self, task: Task) -> Photo:
        """Read a photo, and scale it and its mask if that was asked for.

        Raises:
            ImageError: The photo or the mask cannot be read.
            InputError: The mask is of another size than the photo.
        """
        from stylize.images import resize_long_edge

        begun, size = time.perf_counter(), self.request.size
        picture = _read(task)
        image, alpha = picture.image, picture.alpha
        mask = self.mask(image.size)
        if size is not None:
            image = resize_long_edge(image, size)
            alpha = resize_long_edge(alpha, size) if alpha is not None else None
            mask = replace(mask, width=image.width, height=image.height) if mask is not None else None
        return Photo(picture, image, alpha, mask, time.perf_counter() - begun)

    def mask(self, size: tuple[int, int]) -> Mask | None:
        """Return the mask for a photo (width, height), or None where there is none.

        Raises:
            ImageError: The mask cannot be read.
            InputError: It has other proportions than the photo.
        """
        if self.request.mask is None:
            return None
        import torch

        from stylize.masks import mask_note, open_mask

        if self._mask is None or (self._mask.width, self._mask.height) != size:
            self._mask = open_mask(self.request.mask, size)
            lowest_and_highest = torch.tensor(self._mask.image.getextrema()) / 255
            names = [style.name for style in self.request.styles]
            if (text := mask_note(lowest_and_highest, names[0], [*names, "the photo"][1])) is not None:
                self.note(text)
        return self._mask


def _read(task: Task) -> Picture:
    from stylize.images import read_picture

    if task.source.path is None:
        return read_picture(io.BytesIO(sys.stdin.buffer.read()))
    return read_picture(task.source.path)
