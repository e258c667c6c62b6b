"""Painting a photo for the page: a preview to look at, and the picture at full size to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from stylize.controls import Controls
from stylize.errors import InputError
from stylize.images import Picture, resize_long_edge, write_image
from stylize.large_pictures import default_memory, needed_bytes, paint_large
from stylize.style_collections import tidy_name
from stylize.stylizer import Stylizer
from stylize.web.settings import Limits
from stylize.web.uploads import Photo, read_upload

PREVIEW_SIZES = (256, 1024)
"""Smallest and largest long edge of a preview in pixels."""

STRIPS_FROM = 4_000_000
"""Pixels from which a picture is painted in strips: it takes seconds, and strips tell how far it is."""

WHOLE_BYTES = 40
"""Bytes of memory for each pixel of a picture that is painted small and enlarged: in float32 the photo, the painting
and what the photo style makes of it; and pixels of four bytes."""

LONGEST_NAME = 200
"""Bytes of the name of a result, without its suffix; file systems take 255, and uploads are named by strangers."""

SAME_STROKES = "as in the preview"
FINE_STROKES = "fine"
STROKES = (SAME_STROKES, FINE_STROKES)


@dataclass(frozen=True)
class FullSize:
    """What the picture to keep is to be.

    Attributes:
        edge: Long edge in pixels; None keeps the size of the photo. A smaller photo is not enlarged.
        strokes: ``as in the preview``: as large beside the picture as there; ``fine``: as many pixels as there, so that
            on a large picture they are small.
        preview: Long edge of the preview in pixels.
        preserve_colour: Whether it keeps the colours of the photo.
    """

    edge: int | None = None
    strokes: str = SAME_STROKES
    preview: int = 512
    preserve_colour: bool = False


def paint_preview(
    stylizer: Stylizer, photo: Photo, edge: int, preserve_colour: bool = False
) -> tuple[Image.Image, Image.Image]:
    """Return a photo with a long edge of at most ``edge`` pixels, and its painting."""
    small = photo.preview(max(1, int(edge)))
    return small, stylizer.paint(small, Controls(preserve_colour=preserve_colour))


def paint_full_size(
    stylizer: Stylizer,
    photo: Photo,
    folder: Path,
    wanted: FullSize,
    limits: Limits,
    *,
    on_part: Callable[[int, int], None] | None = None,
    memory: int | None = None,
) -> Path:
    """Paint a photo at the size to keep, into a file of the folder, and return the file.

    It is a JPEG, or a PNG where the photo has transparent parts. Large ones are painted in strips, whatever memory
    there is.

    Args:
        stylizer: The network.
        photo: The photo.
        folder: Where the file goes.
        wanted: What is wanted.
        limits: How large an upload may be.
        on_part: Called with the parts done and how many there are; what it raises ends the work.
        memory: Most bytes to take; None is half of what is free.

    Raises:
        ImageError: The photo cannot be read any more.
        InputError: It does not fit into the memory.
        OutputError: The file cannot be written.
    """
    picture = read_upload(photo.path, limits)
    if wanted.edge is not None and max(picture.image.size) > wanted.edge:
        alpha = None if picture.alpha is None else resize_long_edge(picture.alpha, wanted.edge)
        picture = replace(picture, image=resize_long_edge(picture.image, wanted.edge), alpha=alpha)
    suffix = ".jpg" if picture.alpha is None else ".png"
    stem = f"{photo.name}-{tidy_name(stylizer.style)}".encode("utf-8", "replace")[:LONGEST_NAME]
    output = folder / (stem.decode("utf-8", "ignore") + suffix)
    width, height = picture.image.size
    scale = min(1.0, wanted.preview / max(width, height)) if wanted.strokes == SAME_STROKES else 1.0
    if scale == 1 and _wants_strips(stylizer, width, height, memory):
        controls = Controls(preserve_colour=wanted.preserve_colour)
        paint_large(
            stylizer,
            picture,
            output,
            memory=memory,
            finishing=lambda wide, tall: stylizer.finishing(controls),
            on_strip=on_part,
        )
        return output
    _check_memory(stylizer, width, height, scale, memory)
    painted = _paint_whole(stylizer, picture, Controls(scale=scale, preserve_colour=wanted.preserve_colour))
    write_image(painted, output, alpha=picture.alpha, exif=picture.exif)
    if on_part is not None:
        on_part(1, 1)
    return output


def _wants_strips(stylizer: Stylizer, width: int, height: int, memory: int | None) -> bool:
    if stylizer.network is None or not stylizer.can_paint_in_strips or stylizer.strength == 0:
        return False
    limit = default_memory() if memory is None else memory
    return width * height >= STRIPS_FROM or needed_bytes(stylizer, width, height) > limit


def _check_memory(stylizer: Stylizer, width: int, height: int, scale: float, memory: int | None) -> None:
    """Raise InputError where a picture is too large to be painted in one piece, before the memory is taken."""
    needed = WHOLE_BYTES * width * height
    if scale == 1 and stylizer.network is not None:
        needed = max(needed, needed_bytes(stylizer, width, height))
    limit = default_memory() if memory is None else memory
    if needed > limit:
        raise InputError(
            f"{width} x {height} pixels need about {needed / 1e9:.1f} GB of memory like this, and {limit / 1e9:.1f} GB "
            f"may be taken; choose a smaller size to keep, or strength 1 with strokes '{FINE_STROKES}', which is "
            "painted in parts"
        )


def _paint_whole(stylizer: Stylizer, picture: Picture, controls: Controls) -> Image.Image:
    return stylizer.paint(picture.image, controls).convert("RGB")
