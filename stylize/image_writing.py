"""A picture becomes a file or the bytes of one, whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from pathlib import Path

from PIL import Image

from stylize.errors import InputError, OutputError
from stylize.image_colour import as_rgb
from stylize.image_errors import DECODER_ERRORS, reason_of, shown

WRITE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"))
"""Suffixes that :func:`write_image` accepts, in lower case."""

JPEG_QUALITY = 95
"""Quality of written JPEG and WebP files, 0 to 100."""

WRITE_FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # pixels; libjpeg stops 35 short of what 16 bits could hold
_JPEG_EXIF_BYTES = 65533  # what one APP1 segment holds


def write_image(
    image: Image.Image,
    path: Path | str,
    *,
    alpha: Image.Image | None = None,
    exif: bytes | None = None,
    overwrite: bool = False,
) -> None:
    """Write a picture under a name whose suffix says the format, whole or not at all.

    Missing folders are made. JPEG has quality 95 and full colour resolution; PNG and TIFF are lossless (a TIFF
    with EXIF data is not compressed). JPEG cannot hold alpha: there the picture is laid over white.

    Args:
        image: The picture; modes other than RGB are converted.
        path: Where to; the suffix must be one of :data:`WRITE_SUFFIXES`.
        alpha: Straight alpha of mode L and the same size.
        exif: EXIF data, such as :attr:`Picture.exif`.
        overwrite: Replace an existing file.

    Raises:
        InputError: The suffix is unknown, or the format cannot hold a picture of this size.
        OutputError: The file exists already, or it cannot be written.
    """
    path, name = Path(path), shown(path)
    picture_format = WRITE_FORMATS.get(path.suffix.lower())
    if picture_format is None:
        given = f"the suffix '{path.suffix}'" if path.suffix else "no suffix"
        raise InputError(f"{name} has {given}; pictures are written as {', '.join(sorted(WRITE_SUFFIXES))}")
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))  # replace what the link points to, not the link
        refuse_existing(path, name, overwrite)
        data = _encoded(image, picture_format, alpha, exif, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".stylize-{secrets.token_hex(8)}.tmp"
        # os.open honours the umask, which the tempfile module does not.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            refuse_existing(path, name, overwrite)
            with contextlib.suppress(OSError):
                os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
            os.replace(temporary, path)
        except BaseException:  # also when the user presses Ctrl-C
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(f"{name} cannot be written: {reason_of(error)}") from None


def encode_image(
    image: Image.Image, format: str = "PNG", *, alpha: Image.Image | None = None, exif: bytes | None = None
) -> bytes:
    """Return a picture as the bytes of a file, as :func:`write_image` writes it.

    Args:
        image: The picture; modes other than RGB are converted.
        format: ``"PNG"``, ``"JPEG"``, ``"WEBP"`` or ``"TIFF"``, in any case.
        alpha: Straight alpha of mode L and the same size.
        exif: EXIF data, such as :attr:`Picture.exif`.

    Raises:
        InputError: The format is unknown or cannot hold a picture of this size, or the alpha does not fit.
        OutputError: The encoder failed.
    """
    formats = sorted(set(WRITE_FORMATS.values()))
    wanted = format.upper()
    if wanted not in formats:
        raise InputError(f"unknown picture format '{format}' (known: {', '.join(formats)})")
    return _encoded(image, wanted, alpha, exif, "the picture")


def _encoded(image: Image.Image, wanted: str, alpha: Image.Image | None, exif: bytes | None, name: str) -> bytes:
    """Encode a picture in one of the known formats; ``name`` is what error messages call it."""
    image = as_rgb(image)
    width, height = image.size
    longest = LONGEST_SIDE.get(wanted, max(width, height))
    if max(width, height) > longest:
        problem = f"{name}: {width} x {height} pixels are too many, {wanted} holds up to {longest} on a side"
        raise InputError(f"{problem}; write a .png or .tif file")
    if image.info:
        image = image.copy()
        image.info = {}  # encoders would copy a profile or a transparent colour from here into the file
    if alpha is not None:
        if alpha.mode != "L" or alpha.size != image.size:
            problem = f"{name}: the alpha channel has mode {alpha.mode} and size {alpha.width} x {alpha.height}"
            raise InputError(f"{problem}; it must have mode L and the picture's size, {width} x {height}")
        if wanted == "JPEG":
            image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
        else:
            image = image.copy()
            image.putalpha(alpha)
    options: dict[str, object] = {
        "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0},
        "WEBP": {"quality": JPEG_QUALITY, "lossless": False, "exact": True},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }.get(wanted, {})
    if exif and not (wanted == "JPEG" and len(exif) > _JPEG_EXIF_BYTES):
        options["exif"] = exif
        options.pop("compression", None)  # libtiff, which compresses, cannot write the directories inside EXIF
    encoded = io.BytesIO()
    try:
        image.save(encoded, wanted, **options)
    except MemoryError:
        raise OutputError(f"{name} cannot be written: not enough memory to encode it as {wanted}") from None
    except DECODER_ERRORS as error:
        raise OutputError(f"{name} cannot be written as {wanted}: {reason_of(error)}") from None
    return encoded.getvalue()


def refuse_existing(path: Path, name: str, overwrite: bool) -> None:
    """Raise OutputError when something stands at the path that must not be replaced (OSError: it is out of reach)."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise OutputError(f"{name} is a folder; give the name of a picture in it")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{name} is no regular file; give another name")
    if not overwrite:
        raise OutputError(f"{name} exists already; pass --overwrite to replace it, or give another name")
