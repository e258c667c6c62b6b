"""Any mode and colour space to sRGB of mode RGB, with the alpha channel beside it.

Decisions:
    - Colour under fully transparent pixels stays what the file has; alpha is straight, not premultiplied.
    - Sixteen-bit and float greyscale is scaled to 8 bits, never clipped. Colour of 16 bits is cut to 8 by Pillow.
    - A profile that moves no colour by more than two levels counts as sRGB and is not applied.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from stylize.errors import InputError
from stylize.image_errors import DECODER_ERRORS, damaged, quiet_pillow
from stylize.image_limits import MAXIMUM_PROFILE_BYTES

_BLACK_POINT_COMPENSATION = 0x2000  # by number, because Pillow has renamed it


def colour_and_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return a loaded image as sRGB of mode RGB and its alpha of mode L or None; both are new images."""
    mode, transparency = image.mode, image.info.get("transparency")
    alpha = None
    if mode in ("F", "I") or mode.startswith("I;16"):
        base, alpha = _deep_grey(image)
    else:
        if mode in ("1", "L", "P", "RGB") and isinstance(transparency, tuple) and max(transparency) > 255:
            # The transparent colour of a 16-bit PNG, whose pixels Pillow has cut to their high bytes.
            image = image.copy()
            image.info["transparency"] = tuple(level >> 8 for level in transparency)
        if mode == "La":
            image = image.convert("LA")
        if mode in ("LA", "La", "PA", "RGBA", "RGBa") or (transparency is not None and mode in ("1", "L", "P", "RGB")):
            image = image.convert("RGBA")
            alpha = image.getchannel("A")
        if mode in ("1", "L", "LA", "La"):
            base = image.getchannel("R") if image.mode == "RGBA" else image.convert("L")
        elif mode in ("CMYK", "LAB"):
            base = image
        else:
            base = image.convert("RGB")
    return _to_srgb(base, image.info.get("icc_profile")), alpha


def as_rgb(image: Image.Image) -> Image.Image:
    """Return an image of mode RGB: the same one where it is that already; never turned."""
    if not isinstance(image, Image.Image):
        raise InputError(f"a {type(image).__name__} was given where a PIL image is needed")
    if not image.width or not image.height:
        raise InputError(f"the picture is {image.width} x {image.height} pixels: it holds nothing")
    if image.mode == "RGB":
        return image
    try:
        with quiet_pillow():
            image.load()
            return colour_and_alpha(image)[0]
    except DECODER_ERRORS as error:
        raise damaged("the picture", error) from None


def _deep_grey(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Scale greyscale of 16 or 32 bits or of floats to 8 bits; returns mode L and the alpha or None."""
    values = np.asarray(image)
    transparent = image.info.get("transparency")
    alpha = None
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    tags = getattr(image, "tag_v2", {})
    values = values.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    values = np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    if image.mode == "F":
        full = next((full for full in (1.0, 255.0, 65535.0) if low >= 0 and high <= full), None)
    else:
        bits = tags.get(258, (16,))[0]  # TIFF BitsPerSample: a scan of 12 bits is white at 4095
        full = 4095.0 if bits == 12 else 65535.0
        full = full if low >= 0 and high <= full else None
    if full is None:
        values, full = values - low, max(high - low, 1e-30)
    values *= 255 / full
    if image.mode != "F" and tags.get(262) == 0 and tags.get(258) == (16,):
        values = 255 - values  # TIFF "white is zero", which Pillow inverts up to 8 bits only
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)), alpha


def _to_srgb(base: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image of mode L, RGB, CMYK or LAB to sRGB through its ICC profile, where it has one that works."""
    try:
        if base.mode == "LAB":
            source = ImageCms.createProfile("LAB")
        elif profile and len(profile) <= MAXIMUM_PROFILE_BYTES:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
            space = source.xcolor_space.strip()
            if space == "RGB" and base.mode == "L":
                base = base.convert("RGB")
            if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != base.mode:
                return base.convert("RGB")
        else:
            return base.convert("RGB")
        # Relative colorimetric with black point compensation: what photo editors use unless told otherwise.
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(source),
            ImageCms.createProfile("sRGB"),
            base.mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=_BLACK_POINT_COMPENSATION,
        )
        if base.mode in ("L", "RGB"):
            probe = _probe(base.mode)
            moved = np.asarray(ImageCms.applyTransform(probe, transform), dtype=np.int16)
            if np.abs(moved - np.asarray(probe.convert("RGB"), dtype=np.int16)).max() <= 2:
                return base.convert("RGB")
        return ImageCms.applyTransform(base, transform)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        if base.mode == "LAB":
            raise
        return base.convert("RGB")  # a broken profile: the plain numbers are the best guess left


def _probe(mode: str) -> Image.Image:
    """Return an image with colours from everywhere in the cube (RGB) or with every grey (L)."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return Image.fromarray(cube.reshape(27, 27, 3))
