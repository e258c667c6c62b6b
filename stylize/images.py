"""Pictures in, out and in memory: the only door to Pillow in the library.

Whatever a file holds, the inside of the library sees an upright sRGB picture of mode RGB, and beside it, where the
file has them, the alpha channel and the EXIF data. Every way in which a file can be bad ends in one
:class:`~stylize.errors.ImageError` that names the file; a picture is read whole or not at all.

Other modules import from here alone. Tensors and sizes are below; the rest is behind the door, one subject each:
``image_folders``, ``image_reading``, ``image_colour``, ``image_exif``, ``image_writing`` and ``image_errors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stylize.errors import InputError
from stylize.image_colour import as_rgb
from stylize.image_errors import reason_of, shown
from stylize.image_folders import READ_SUFFIXES, find_images
from stylize.image_limits import check_file_size
from stylize.image_reading import MAXIMUM_PIXELS, Picture, normalise_image, read_image, read_picture
from stylize.image_writing import JPEG_QUALITY, WRITE_FORMATS, WRITE_SUFFIXES, encode_image, write_image

if TYPE_CHECKING:
    import torch

__all__ = [
    "JPEG_QUALITY",
    "MAXIMUM_PIXELS",
    "Picture",
    "READ_SUFFIXES",
    "WRITE_FORMATS",
    "WRITE_SUFFIXES",
    "check_file_size",
    "encode_image",
    "find_images",
    "normalise_image",
    "read_image",
    "read_picture",
    "reason_of",
    "resize_long_edge",
    "resize_short_side",
    "shown",
    "to_image",
    "to_tensor",
    "write_image",
]


def to_tensor(image: Image.Image) -> torch.Tensor:
    """Return an image as a tensor of shape (1, 3, H, W), float32 in [0, 1], RGB.

    Modes other than RGB are converted (without alpha); the image is not turned.

    Raises:
        InputError: Not a PIL image, or one without pixels.
    """
    import torch

    pixels = np.array(as_rgb(image))  # a copy, because torch warns about memory that it must not write to
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
    return tensor.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def to_image(tensor: torch.Tensor) -> Image.Image:
    """Return a tensor as an image: clamped to [0, 1] (the one place where that happens) and rounded to 8 bits.

    Args:
        tensor: (1, 3, H, W) or (3, H, W), any float type, any device, RGB in [0, 1].

    Raises:
        InputError: Another shape or type, or values that are not finite.
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"a {type(tensor).__name__} was given where a tensor is needed")
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4) or shape[-3] != 3 or (len(shape) == 4 and shape[0] != 1) or 0 in shape:
        raise InputError(f"a picture needs a tensor of shape (1, 3, H, W) or (3, H, W), not {shape}")
    if not tensor.is_floating_point():
        given = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"a picture needs a tensor of floats in [0, 1], not {given}")
    values = tensor.detach().reshape(shape[-3:]).to("cpu", torch.float32)
    if not torch.isfinite(values).all():
        raise InputError("the picture holds values that are not finite")
    pixels = values.clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def resize_long_edge(image: Image.Image, size: int) -> Image.Image:
    """Return the image with its long edge exactly ``size`` pixels, smaller or larger than before (Lanczos).

    The short edge keeps the proportions, with at least 1 pixel. At that size already, the image itself is returned.

    Raises:
        InputError: The size is below 1, or the result would have more than :data:`MAXIMUM_PIXELS`.
    """
    return _resized(image, size, max(image.size))


def resize_short_side(image: Image.Image, size: int) -> Image.Image:
    """Return the image with its short side exactly ``size`` pixels; otherwise as :func:`resize_long_edge`."""
    return _resized(image, size, min(image.size))


def _resized(image: Image.Image, size: int, side: int) -> Image.Image:
    """Scale an image so that a side of ``side`` pixels gets ``size``."""
    if type(size) is not int or size < 1:
        raise InputError(f"a picture cannot have a side of {size!r} pixels; give a whole number from 1 up")
    if side < 1:
        raise InputError(f"the picture is {image.width} x {image.height} pixels: it holds nothing")
    width, height = (max(1, (2 * edge * size + side) // (2 * side)) for edge in image.size)
    if width * height > MAXIMUM_PIXELS:
        raise InputError(f"{width} x {height} pixels are more than the {MAXIMUM_PIXELS:,} allowed; give a smaller size")
    if (width, height) == image.size:
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
