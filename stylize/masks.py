"""Masks: greyscale pictures that say where a photo is painted. White takes the painting, black keeps the photo.

Decisions:
    - The grey of a pixel is its share as it stands, without the curve of sRGB: a grey of half the way up in any photo
      editor mixes half and half. A coloured mask counts by its luma (ITU-R BT.601, Pillow's mode L).
    - Alpha counts where it says something. A drawing of one colour on a transparent ground holds its shape there
      alone, so its alpha is the mask, whatever that colour is. Any other picture with alpha is laid over black:
      what is transparent keeps the photo.
    - Eight bits are enough, and a mask of 16 bits is reduced to them: one step of the mask changes the result by
      one level of 255 at most.
    - Pictures are blended as sRGB values, not as linear light. Both were looked at, on six pairs of photo and painting
      or of two paintings, with a wide soft edge and with one grey. In linear light the lighter of the two takes over:
      a soft edge between a night sky and a light painting gets a visible rim where the mask is nearly black, and a
      grey of half the way shows little of the darker picture. As sRGB values the edge is soft from end to end.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylize.errors import ImageError, InputError
from stylize.images import Picture, normalise_image, read_picture, shown

ASPECT_TOLERANCE = 0.01
"""How far the proportions of a mask may be from those of its photo, as a part of them."""

EDGE_TOLERANCE = 2.0
"""How far the proportions may be off in any case, in pixels of the photo."""

ONE_COLOUR = 16
"""Levels of 255 by which the colours of a drawing in one colour may differ: lossy files do not keep them exactly."""

FLAT = 1.5 / 255
"""Range of a mask below which it counts as one grey: about one level."""


@dataclass(frozen=True)
class Mask:
    """A mask that was read, for a photo of a given size.

    Attributes:
        image: Mode L, in the size of its file.
        width: Of the photo, in pixels.
        height: Of the photo, in pixels.
    """

    image: Image.Image
    width: int
    height: int

    def rows(self, top: int, bottom: int) -> Tensor:
        """Return the mask for the rows ``top`` to ``bottom`` of the photo: (1, 1, bottom - top, width), in [0, 1].

        Rows asked for one strip at a time are the same as those of the whole.

        Raises:
            InputError: The photo does not have such rows.
        """
        if not 0 <= top < bottom <= self.height:
            raise InputError(f"rows {top} to {bottom} of a mask asked for; it has rows 0 to {self.height}")
        wide, tall = self.image.size
        if (wide, tall) == (self.width, self.height):
            piece = self.image.crop((0, top, wide, bottom))
        else:
            # A triangle as wide as a pixel of the coarser picture: edges stay soft without the echoes of Lanczos. Only
            # what lies near the strip is turned into floats; the filter reaches a pixel of the coarser one.
            scale = tall / self.height
            reach = int(max(1.0, scale)) + 2
            first, last = max(0, int(top * scale) - reach), min(tall, int(bottom * scale) + reach + 1)
            near = self.image.crop((0, first, wide, last)).convert("F")
            # Pillow refuses a box that rounding has moved out of the picture.
            box = (0, max(0.0, top * scale - first), wide, min(float(last - first), bottom * scale - first))
            piece = near.resize((self.width, bottom - top), Image.Resampling.BILINEAR, box=box)
        values = torch.from_numpy(np.array(piece, dtype=np.float32))
        return values.div_(255).clamp_(0, 1).view(1, 1, bottom - top, self.width)


def open_mask(path: Path | str | Image.Image, size: tuple[int, int]) -> Mask:
    """Read a mask for a photo, to be taken from it in strips; otherwise as :func:`read_mask`. A PIL picture will do."""
    in_memory = isinstance(path, Image.Image)
    name = "(a PIL picture)" if in_memory else shown(os.fspath(path))
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"a mask for a photo of {width} x {height} pixels asked for; it holds nothing")
    try:
        picture = normalise_image(path) if in_memory else read_picture(path)
    except ImageError as error:
        raise ImageError(f"mask: {error}") from None
    _check_proportions(name, picture.image.size, (width, height))
    return Mask(_shares(picture), width, height)


def read_mask(path: Path | str, size: tuple[int, int]) -> Tensor:
    """Read a mask for a photo: 1 (white) where it is to be painted, 0 (black) where it is to stay.

    Args:
        path: A picture file of any kind that can be read. It is turned upright, as photos are.
        size: Width and height of the upright photo, in pixels. A mask of another size is resized smoothly, if its
            proportions are the same within 1 % or within 2 pixels of the photo.

    Returns:
        (1, 1, H, W), float32 in [0, 1].

    Raises:
        ImageError: The file is missing or damaged, or is no picture.
        InputError: The proportions are others.
    """
    mask = open_mask(path, size)
    return mask.rows(0, mask.height)


def mask_note(mask: Tensor, white: str = "the style", black: str = "the photo") -> str | None:
    """Return a line that says what a mask of one colour does, for whoever has mixed something up; None for others.

    Args:
        mask: Any shape, in [0, 1].
        white: What white takes.
        black: What black takes.
    """
    lowest, highest = (float(limit) for limit in mask.aminmax())
    if highest - lowest > FLAT:
        return None
    if lowest >= 1 - FLAT:
        return f"the mask is all white: the whole result is {white}, and nothing of {black}"
    if highest <= FLAT:
        return f"the mask is all black: the whole result is {black}, and nothing of {white}"
    share = round(50 * (lowest + highest))
    return f"the mask is one grey: the whole result is {share} % {white} and {100 - share} % {black}"


def blend(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Return the first picture where the mask is 1, the second where it is 0, and between them a mixture.

    Args:
        first: (B, 3, H, W), RGB in [0, 1].
        second: The same shape.
        mask: (1, 1, H, W) or (B, 1, H, W), in [0, 1].

    Raises:
        InputError: The shapes do not fit.
    """
    batch, _, height, width = first.shape if first.dim() == 4 else (0, 0, 0, 0)
    if not batch or second.shape != first.shape:
        raise InputError(
            f"pictures of shapes {tuple(first.shape)} and {tuple(second.shape)} given; "
            "two of the same shape (B, 3, H, W) are needed"
        )
    if tuple(mask.shape) not in ((1, 1, height, width), (batch, 1, height, width)):
        raise InputError(f"a mask of shape {tuple(mask.shape)} given; (1, 1, {height}, {width}) is needed")
    # lerp is exact at both ends: where the mask is black, every bit of the photo is kept.
    return torch.lerp(second, first, mask.to(first))


def _check_proportions(name: str, mask: tuple[int, int], photo: tuple[int, int]) -> None:
    """Raise InputError where a mask cannot be meant for a photo; both are width and height."""
    if _fits(mask, photo):
        return
    given = f"mask {name} is {mask[0]} x {mask[1]} pixels and the photo {photo[0]} x {photo[1]}"
    if _fits(mask[::-1], photo):
        raise InputError(f"{given}: it lies on its side; turn it by 90 degrees")
    raise InputError(
        f"{given}: their proportions differ; make the mask from the photo itself, in its size or a part of it"
    )


def _fits(mask: tuple[int, int], photo: tuple[int, int]) -> bool:
    """Tell whether a mask stretched over a photo moves no edge too far; a rounded reduction of the photo fits too."""
    (wide, tall), (width, height) = mask, photo
    off = abs(wide * height - tall * width)  # the same for either direction, in pixels of one times those of the other
    return off <= max(
        ASPECT_TOLERANCE * min(wide * height, tall * width), EDGE_TOLERANCE * min(mask), 0.5 * (width + height)
    )


def _shares(picture: Picture) -> Image.Image:
    """Return how much of the painting each pixel of a mask takes, as a picture of mode L."""
    grey = picture.image.convert("L")
    if picture.alpha is None:
        return grey
    low, high = picture.alpha.getextrema()
    if low < high and _has_one_colour(picture):
        return picture.alpha
    return Image.composite(grey, Image.new("L", grey.size, 0), picture.alpha)


def _has_one_colour(picture: Picture) -> bool:
    """Tell whether all that can be seen of a picture with alpha is of one colour."""
    # Colours under nearly transparent pixels are whatever the program that wrote them left there.
    visible = picture.alpha.point([255 * (level >= 128) for level in range(256)])
    if visible.getbbox() is None:
        visible = picture.alpha
    counts = picture.image.histogram(visible)
    for channel in (counts[0:256], counts[256:512], counts[512:768]):
        levels = [level for level, count in enumerate(channel) if count]
        if levels[-1] - levels[0] > ONE_COLOUR:
            return False
    return True
