"""What is done to a painting pixel by pixel after the network: fading, the colours of the photo, a mask.

No pixel depends on another, so it is done in blocks of rows: to a picture in memory, and to the strips of one that is
too large for it (:mod:`stylize.large_pictures`), with the same result.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from stylize.colour_preservation import LightnessMatch, preserve_colour
from stylize.errors import InputError
from stylize.masks import Mask, blend, open_mask

AnyMask = str | os.PathLike[str] | Image.Image | Mask | Tensor
"""What :meth:`stylize.Stylizer.__call__` takes as a mask."""

ROWS_AT_ONCE = 256
"""Rows of a picture in memory that are finished at a time; it bounds the working memory."""


@dataclass(frozen=True)
class Finishing:
    """The last steps of a painting, in this order.

    Attributes:
        fade: Strength as a fade: the photo plus this many times what the network changed; 1 leaves the painting.
        preserve_colour: Whether the painting takes the colours of the photo.
        match: What is done to the lightness of each painting of a batch where it takes the colours of the photo
            (:mod:`stylize.lightness_matching`); None leaves it.
        second: Another painting, (B, 3, H, W), for the black parts of the mask, whose colours stay as they are; None
            takes the photo there.
        mask: White takes the painting: a :class:`stylize.masks.Mask`, or (1, 1, H, W) or (B, 1, H, W), float32 in
            [0, 1]. None paints everywhere.
    """

    fade: float = 1.0
    preserve_colour: bool = False
    match: tuple[LightnessMatch, ...] | None = None
    second: Tensor | None = None
    mask: Mask | Tensor | None = None

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return self.fade != 1 or self.preserve_colour or self.mask is not None

    @property
    def bytes_held(self) -> int:
        """Bytes of memory that the mask and the second painting take."""
        held = 0 if self.second is None else self.second.nbytes
        if isinstance(self.mask, Mask):
            wide, tall = self.mask.image.size
            return held + wide * tall
        return held + (0 if self.mask is None else self.mask.nbytes)

    def rows(self, painted: Tensor, photo: Tensor, top: int) -> Tensor:
        """Finish some rows.

        Args:
            painted: (B, 3, h, W), RGB in [0, 1].
            photo: The same rows of the photo, (B, 3, h, W), RGB in [0, 1].
            top: The first of these rows in the picture.

        Returns:
            (B, 3, h, W), RGB in [0, 1], on the device of ``painted``.
        """
        bottom = top + painted.shape[2]
        photo = photo.to(painted.device)
        if self.fade != 1:
            painted = (photo + self.fade * (painted - photo)).clamp(0, 1)
        if self.preserve_colour:
            painted = preserve_colour(painted, photo, self.match)
        if self.mask is not None:
            mask = _rows_of(self.mask, top, bottom).to(painted.device)
            black = photo if self.second is None else self.second[:, :, top:bottom].to(painted.device)
            painted = blend(painted, black, mask)
        return painted

    def picture(self, painted: Tensor, photo: Tensor) -> Tensor:
        """Finish whole pictures (B, 3, H, W), in their own memory where there is something to do."""
        if not self.needed:
            return painted
        for top in range(0, painted.shape[2], ROWS_AT_ONCE):
            rows = slice(top, top + ROWS_AT_ONCE)
            painted[:, :, rows] = self.rows(painted[:, :, rows], photo[:, :, rows], top)
        return painted


def add_lost_detail(painted: Tensor, photo: Tensor, of_photo_style: Tensor, strength: float) -> None:
    """Add to paintings, in place, what the photo style loses of the photos, the more the lower the strength.

    Args:
        painted: (B, 3, H, W), RGB in [0, 1].
        photo: The photos, of the same shape.
        of_photo_style: What the photo style makes of them, of the same shape.
        strength: From 0 to 1.
    """
    for top in range(0, painted.shape[2], ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        lost = photo[:, :, rows].to(painted.device) - of_photo_style[:, :, rows]
        painted[:, :, rows] = (painted[:, :, rows] + (1 - strength) * lost).clamp(0, 1)


def checked_mask(mask: AnyMask, shape: torch.Size) -> Mask | Tensor:
    """Return a mask for pictures of a given shape.

    Args:
        mask: As users give it.
        shape: (B, 3, H, W).

    Raises:
        ImageError: A file that is missing or damaged, or is no picture.
        InputError: It is of another size or kind.
    """
    batch, _, height, width = shape
    if isinstance(mask, Tensor):
        if tuple(mask.shape) not in ((1, 1, height, width), (batch, 1, height, width)) or mask.dtype != torch.float32:
            raise InputError(
                f"a mask of {mask.dtype} and shape {tuple(mask.shape)} given; torch.float32 of shape "
                f"(1, 1, {height}, {width}) is accepted"
            )
        if not (float(mask.min()) >= 0 and float(mask.max()) <= 1):  # Written so that NaN is refused too.
            raise InputError(f"a mask in [{float(mask.min()):g}, {float(mask.max()):g}] given; [0, 1] is accepted")
        return mask
    if isinstance(mask, Mask):
        if (mask.width, mask.height) != (width, height):
            given = f"a mask for a photo of {mask.width} x {mask.height} pixels"
            raise InputError(f"{given} given with one of {width} x {height}")
        return mask
    return open_mask(mask, (width, height))


def _rows_of(mask: Mask | Tensor, top: int, bottom: int) -> Tensor:
    return mask.rows(top, bottom) if isinstance(mask, Mask) else mask[:, :, top:bottom]
