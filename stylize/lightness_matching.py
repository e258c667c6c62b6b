"""How light a painting is beside its photo, taken from a small copy of both.

A painting that takes the colours of its photo has its lightness moved towards that of the photo
(:func:`stylize.colour_preservation.match_lightness`). Its mean and deviation over a whole picture are needed before the
first pixel is finished, which a picture in strips does not have. So they are those of a small copy of the photo and of
what the network makes of that, whether the picture is painted whole or in strips: both get the same result. A picture
that is as small is its own copy.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stylize.colour_preservation import LightnessMatch, lightness_statistics, match_lightness
from stylize.reduction import ROWS_AT_ONCE, Reduction, reduce
from stylize.stroke_size import painting_size

COPY_EDGE = 512
"""Long edge in pixels of the copy of a larger photo."""


def copy_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and the height of the copy of a photo, in pixels; each is at least 1."""
    return painting_size(width, height, min(1.0, COPY_EDGE / max(width, height)))


def copy_from_rows(rows: Callable[[int, int], Tensor], width: int, height: int) -> Tensor:
    """Return the copy of a photo that gives its rows, each once and from top to bottom.

    Args:
        rows: Returns the rows from the first number up to the second, (1, 3, n, width), float32 in [0, 1].
        width: Of the photo, in pixels.
        height: Of the photo, in pixels.

    Returns:
        (1, 3, h, w) in [0, 1].
    """
    wide, tall = copy_size(width, height)
    reduction = Reduction(height, width, tall, wide)
    # As many pixels at a time as of a picture whose rows are as short as the copy's: these rows may be long.
    step = max(1, ROWS_AT_ONCE * COPY_EDGE // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        reduction.add(rows(top, bottom), top)
    return reduction.result()


def lightness_match(photo: Tensor, painted: Tensor) -> LightnessMatch:
    """Return what is done to the lightness of a painting, by the copy (1, 3, h, w) of its photo and its painting."""
    return match_lightness(lightness_statistics([painted]), lightness_statistics([photo]))


def lightness_matches(photos: Tensor, painted: Tensor, paint: Callable[[Tensor], Tensor]) -> tuple[LightnessMatch, ...]:
    """Return what is done to the lightness of each painting of a batch.

    Args:
        photos: (B, 3, H, W), RGB in [0, 1].
        painted: The paintings, of the same shape.
        paint: Paints a copy (1, 3, h, w), as the pictures were painted; not called for pictures that are their own
            copies.

    Returns:
        One for each picture, which depends on that picture alone.
    """
    height, width = photos.shape[-2:]
    wide, tall = copy_size(width, height)
    if (wide, tall) == (width, height):
        return tuple(lightness_match(photo, its) for photo, its in zip(photos.split(1), painted.split(1), strict=True))
    with torch.no_grad():
        copies = [reduce(photo.cpu(), tall, wide) for photo in photos.split(1)]
        return tuple(lightness_match(copy, paint(copy)) for copy in copies)
