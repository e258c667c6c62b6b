"""Pictures in and out: the only door to Pillow in the library.

Whatever a file holds, the inside of the library sees an upright sRGB picture of mode RGB, and beside it, where the
file has them, the alpha channel and the EXIF data. Every way in which a file can be bad ends in one
:class:`~stylize.errors.ImageError` that names the file; a picture is read whole or not at all.

Decisions:
    - The format is found in the first bytes, not in the suffix, and only its decoder is tried. So a HEIC photo that
      calls itself ``.jpg`` gets the right message, and formats that start another program (EPS) are never decoded.
    - Colour under fully transparent pixels stays what the file has; alpha is straight, not premultiplied.
    - Sixteen-bit and float greyscale is scaled to 8 bits, never clipped. Colour of 16 bits is cut to 8 by Pillow.
    - A profile that moves no colour by more than two levels counts as sRGB and is not applied.
    - EXIF keeps what a photographer wants (date, camera, lens, place, author, copyright) and loses what is no longer
      true of the new picture: orientation, pixel size, colour space, thumbnail and the maker's private notes.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import re
import secrets
import stat
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageCms

from stylize.errors import ImageError, InputError, OutputError

if TYPE_CHECKING:
    import torch

READ_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif")
)
"""Suffixes that :func:`find_images` collects, in lower case."""

WRITE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"))
"""Suffixes that :func:`write_image` accepts, in lower case."""

MAXIMUM_PIXELS = 178_956_970
"""Largest picture that is decoded, in pixels: the size from which Pillow itself refuses (twice its warning limit)."""

JPEG_QUALITY = 95
"""Quality of written JPEG and WebP files, 0 to 100."""

_ACCEPTED = "JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC or AVIF"
_RAW_SUFFIXES = frozenset((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"))
_HEAD_BYTES = 32
_WRITE_FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # pixels; libjpeg stops 35 short of what 16 bits could hold
_JPEG_EXIF_BYTES = 65533  # what one APP1 segment holds

_BLACK_POINT_COMPENSATION = 0x2000  # by number, because Pillow has renamed it

# What Pillow's decoders are known to raise on damaged or hostile files, besides its own classes.
_DECODER_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip

# EXIF tags of the main directory that stay true of a repainted photo.
_KEPT_EXIF = (
    270, 271, 272, 305, 306, 315, 316, 33432,  # description, make, model, software, date, artist, host, copyright
    282, 283, 296,  # resolution and its unit
    18246, 18249, 40091, 40092, 40093, 40094, 40095,  # rating and the title, comment, author, keywords of Windows
)  # fmt: skip
_EXIF_ORIENTATION, _EXIF_DETAILS, _EXIF_PLACE, _EXIF_COLOUR_SPACE = 274, 34665, 34853, 40961
_DROPPED_DETAILS = (37500, 40962, 40963, 40965)  # maker note, pixel width and height, interoperability

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """A picture as the library wants it.

    Attributes:
        image: Mode RGB, sRGB, upright.
        alpha: Mode L, same size; None when every pixel is opaque.
        exif: EXIF data for :func:`write_image`, with orientation 1; None when the file has none that can be read.
        format: Pillow's name of the source's format, such as ``"JPEG"``; empty for an image made in memory.
    """

    image: Image.Image
    alpha: Image.Image | None
    exif: bytes | None
    format: str


# ------------------------------------------------------------------------------------------------------------ reading


def read_picture(source: Path | str | BinaryIO) -> Picture:
    """Read a picture from a file, or from an open binary stream such as standard input (to its end, not closed).

    Animated files give their first frame.

    Raises:
        ImageError: The source is missing, empty, damaged, truncated, too large, or no picture of a known format.
    """
    if hasattr(source, "read"):
        name = "standard input"
        try:
            return _decode(_buffered(source, name), name)
        except MemoryError:
            raise ImageError(f"{name}: not enough memory for this picture; make it smaller first") from None
    name = _shown(source)
    if os.path.isdir(source):
        raise ImageError(f"{name} is a folder, not a picture")
    if Path(source).suffix.lower() in _RAW_SUFFIXES:
        # Pillow would open many raw files as TIFF and show their thumbnail of 160 pixels.
        raise ImageError(f"{name} is a camera raw file; export it as JPEG, PNG or TIFF first")
    try:
        with open(source, "rb") as file:
            return _decode(file if file.seekable() else _buffered(file, name), name)
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file") from None
    except PermissionError:
        raise ImageError(f"{name} cannot be read: permission denied") from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory for this picture; make it smaller first") from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{name} cannot be read: {_reason(error)}") from None


def read_image(source: Path | str | BinaryIO) -> Image.Image:
    """Read a picture as :func:`read_picture` does and return its upright sRGB image of mode RGB alone."""
    return read_picture(source).image


def normalise_image(image: Image.Image, name: str = "the picture") -> Picture:
    """Make an image that Pillow has opened or made upright, sRGB and RGB, as :func:`read_picture` does.

    Args:
        image: Any mode; not changed, but loaded.
        name: What error messages call it.

    Raises:
        ImageError: Its data are damaged, or it is too large.
    """
    if not isinstance(image, Image.Image):
        raise InputError(f"{name} is a {type(image).__name__}; a PIL image is needed")
    try:
        _check_size(image.size, name)
        with _quiet_pillow():
            return _normalised(image)
    except Image.DecompressionBombError as error:
        raise _too_large(name, error) from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory for this picture; make it smaller first") from None
    except ImageError:
        raise
    except _DECODER_ERRORS as error:
        raise _damaged(name, error) from None


def _decode(stream: BinaryIO, name: str) -> Picture:
    """Decode the picture in a seekable stream."""
    head = stream.read(_HEAD_BYTES)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes)")
    kind = _kind(head)
    if kind is None:
        raise _unknown_content(name, head)
    stream.seek(0)
    try:
        with _quiet_pillow(), _opened(stream, kind, name) as image:
            _check_size(image.size, name)
            if kind == "TIFF" and 50706 in image.tag_v2:  # DNGVersion: the first picture in there is a thumbnail
                raise ImageError(f"{name} is a camera raw file; export it as JPEG, PNG or TIFF first")
            if kind == "JPEG" and _ends_in_zeros(stream):
                raise ImageError(f"{name} is damaged (its last part is missing); copy or export it again")
            return _normalised(image)
    except Image.DecompressionBombError as error:
        raise _too_large(name, error) from None
    except Image.UnidentifiedImageError:
        problem = f"{name} looks like {kind} but cannot be decoded: it is truncated, damaged or of a rare kind"
        raise ImageError(f"{problem}; export it as JPEG or PNG") from None
    except ImageError:
        raise
    except _DECODER_ERRORS as error:
        raise _damaged(name, error) from None


def _opened(stream: BinaryIO, kind: str, name: str) -> Image.Image:
    """Open a picture of a known format; only its header is read."""
    if kind == "HEIF":
        try:
            heif = importlib.import_module("pillow_heif")
        except ImportError:
            advice = "install pillow-heif (pip install pillow-heif) or convert it to JPEG"
            raise ImageError(f"{name} is a HEIC picture, which needs one more package: {advice}") from None
        # The class itself, because registering it would change Pillow for the whole process.
        return heif.HeifImageFile(stream)
    if kind == "AVIF":
        Image.init()
        if kind not in Image.OPEN:
            raise ImageError(f"{name} is an AVIF picture: install Pillow 11.3 or newer, or convert it to JPEG")
    return Image.open(stream, formats=[kind])


def _kind(head: bytes) -> str | None:
    """Return Pillow's name of the format that a file with these first bytes has, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and head[8:10] != b"CR":
        return "TIFF"
    if head[:2] == b"BM":
        return "BMP"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis"):
            return "AVIF"
        if head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
            # mif1 says only "a picture"; the brands after it say which.
            return "AVIF" if b"avif" in head[12:] and b"heic" not in head[12:] else "HEIF"
    return None


def _unknown_content(name: str, head: bytes) -> ImageError:
    """Return the error for a file that starts like no known format."""
    if head[:4] in (b"II*\0", b"IIU\0", b"IIRO", b"IIRS") or head[4:12] == b"ftypcrx " or head[:8] == b"FUJIFILM":
        return ImageError(f"{name} is a camera raw file; export it as JPEG, PNG or TIFF first")
    if len(head) < 12:
        return ImageError(f"{name} is no picture: it has only {len(head)} bytes; {_ACCEPTED} are accepted")
    return ImageError(f"{name} is no picture of a known format; its content must be {_ACCEPTED}")


def _buffered(stream: BinaryIO, name: str) -> io.BytesIO:
    """Read a stream to its end, unless its first bytes already show that it holds no picture."""
    try:
        data = stream.read(_HEAD_BYTES)
        if not isinstance(data, bytes):
            raise ImageError(f"{name} is a text stream; open it in binary mode")
        if len(data) < _HEAD_BYTES or _kind(data):
            data += stream.read()
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {_reason(error)}") from None
    return io.BytesIO(data)


def _check_size(size: tuple[int, int], name: str) -> None:
    """Refuse a picture that is too large, before memory is taken for it."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width} x {height} pixels: it holds nothing")
    if width * height > MAXIMUM_PIXELS:
        limit = f"more than the {MAXIMUM_PIXELS:,} pixels that can be read"
        raise ImageError(f"{name} is {width} x {height} pixels, {limit}; make it smaller first")


def _too_large(name: str, error: Image.DecompressionBombError) -> ImageError:
    """Return our form of Pillow's refusal of a huge picture."""
    pixels = re.search(r"\d+", str(error))
    count = f"{int(pixels.group()):,}" if pixels else "too many"
    limit = f"more than the {MAXIMUM_PIXELS:,} that can be read"
    return ImageError(f"{name} holds {count} pixels, {limit}; make it smaller first")


def _damaged(name: str, error: BaseException) -> ImageError:
    """Return our form of what a decoder raised."""
    reason = _reason(error)
    problem = "truncated: a part of it is missing" if "truncat" in reason.lower() else f"damaged ({reason})"
    return ImageError(f"{name} is {problem}; copy or export it again")


def _ends_in_zeros(stream: BinaryIO) -> bool:
    """Tell whether a JPEG ends in zeros instead of its end marker, as a copy that broke off into reserved space does.

    libjpeg takes the zeros for picture data and would paint the rest grey without a word.
    """
    position = stream.tell()
    try:
        stream.seek(-16, os.SEEK_END)
        if any(stream.read()):
            return False
        stream.seek(0)
        data = stream.read()
    except OSError:  # shorter than 16 bytes: Pillow says what is wrong
        return False
    finally:
        stream.seek(position)
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != 0xDA:
        # Walk over the header: a thumbnail in there has an end marker of its own.
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return data.find(b"\xff\xd9", start) < 0


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters: contextlib.AbstractContextManager[object] | None = None


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence the warnings of Pillow (large pictures, odd metadata) while the block runs, in any number of threads.

    ``warnings.catch_warnings`` swaps one list for the whole process, so threads that overlap would leave the wrong
    one behind; here the first to come sets the filter and the last to go restores what was there.
    """
    global _quiet_depth, _quiet_filters
    if getattr(sys.flags, "context_aware_warnings", False):  # Python 3.14: each thread has filters of its own
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\b")
            yield
        return
    with _quiet_lock:
        if not _quiet_depth:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\b")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if not _quiet_depth and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None


# ------------------------------------------------------------------------------------------------------ normalisation


def _normalised(image: Image.Image) -> Picture:
    """Load an image and bring it to upright sRGB; raises what Pillow raises."""
    image.load()
    exif, orientation = _metadata(image)
    colour, alpha = _colour_and_alpha(image)
    if alpha is not None and alpha.getextrema()[0] == 255:
        alpha = None
    if orientation in _UPRIGHT:
        colour = colour.transpose(_UPRIGHT[orientation])
        alpha = alpha.transpose(_UPRIGHT[orientation]) if alpha is not None else None
    for layer in (colour, alpha):
        if layer is not None:
            layer.info = {}  # what the source said about itself (profile, transparency) is no longer true
    return Picture(colour, alpha, exif, getattr(image, "format", None) or "")


def _colour_and_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
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
        elif profile:
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


def _metadata(image: Image.Image) -> tuple[bytes | None, int]:
    """Return the EXIF data to keep and the orientation (1 to 8); damaged data count as none."""
    try:
        source = image.getexif()
        orientation = source.get(_EXIF_ORIENTATION, 1)
        orientation = orientation if isinstance(orientation, int) else 1
    except _DECODER_ERRORS:
        return None, 1
    main = {tag: source[tag] for tag in _KEPT_EXIF if tag in source}
    details: dict[int, object] = {}
    place: dict[int, object] = {}
    with contextlib.suppress(*_DECODER_ERRORS):
        details = {tag: value for tag, value in source.get_ifd(_EXIF_DETAILS).items() if tag not in _DROPPED_DETAILS}
    with contextlib.suppress(*_DECODER_ERRORS):
        place = dict(source.get_ifd(_EXIF_PLACE))
    if not (main or details or place or _EXIF_ORIENTATION in source):
        return None, orientation
    main[_EXIF_ORIENTATION] = 1
    if _EXIF_COLOUR_SPACE in details:
        details[_EXIF_COLOUR_SPACE] = 1  # sRGB
    parts = {0: main, _EXIF_DETAILS: details, _EXIF_PLACE: place}
    data = _exif_bytes(parts)
    if data is None:
        # Cameras write values that their own tag cannot hold; one of them must not cost the date.
        data = _exif_bytes(
            {part: {t: v for t, v in tags.items() if _exif_bytes({part: {t: v}})} for part, tags in parts.items()}
        )
    return data, orientation


def _exif_bytes(parts: dict[int, dict[int, object]]) -> bytes | None:
    """Return EXIF data with the tags of the main directory (0) and of those inside it, or None where they cannot be."""
    exif = Image.Exif()
    for part, tags in parts.items():
        if part == 0:
            exif.update(tags)
        elif tags:
            exif[part] = tags
    try:
        return exif.tobytes()
    except _DECODER_ERRORS:
        return None


# ------------------------------------------------------------------------------------------------------------ writing


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
    path, name = Path(path), _shown(path)
    picture_format = _WRITE_FORMATS.get(path.suffix.lower())
    if picture_format is None:
        given = f"the suffix '{path.suffix}'" if path.suffix else "no suffix"
        raise InputError(f"{name} has {given}; pictures are written as {', '.join(sorted(WRITE_SUFFIXES))}")
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))  # replace what the link points to, not the link
        _refuse_existing(path, name, overwrite)
        data = _encoded(image, picture_format, alpha, exif, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".stylize-{secrets.token_hex(8)}.tmp"
        # os.open honours the umask, which the tempfile module does not.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            _refuse_existing(path, name, overwrite)
            with contextlib.suppress(OSError):
                os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
            os.replace(temporary, path)
        except BaseException:  # also when the user presses Ctrl-C
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(f"{name} cannot be written: {_reason(error)}") from None


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
    formats = sorted(set(_WRITE_FORMATS.values()))
    wanted = format.upper()
    if wanted not in formats:
        raise InputError(f"unknown picture format '{format}' (known: {', '.join(formats)})")
    return _encoded(image, wanted, alpha, exif, "the picture")


def _encoded(image: Image.Image, wanted: str, alpha: Image.Image | None, exif: bytes | None, name: str) -> bytes:
    """Encode a picture in one of the known formats; ``name`` is what error messages call it."""
    image = _as_rgb(image)
    width, height = image.size
    longest = _LONGEST_SIDE.get(wanted, max(width, height))
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
    except _DECODER_ERRORS as error:
        raise OutputError(f"{name} cannot be written as {wanted}: {_reason(error)}") from None
    return encoded.getvalue()


def _refuse_existing(path: Path, name: str, overwrite: bool) -> None:
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


def _as_rgb(image: Image.Image) -> Image.Image:
    """Return an image of mode RGB: the same one where it is that already; never turned."""
    if not isinstance(image, Image.Image):
        raise InputError(f"a {type(image).__name__} was given where a PIL image is needed")
    if not image.width or not image.height:
        raise InputError(f"the picture is {image.width} x {image.height} pixels: it holds nothing")
    if image.mode == "RGB":
        return image
    try:
        with _quiet_pillow():
            image.load()
            return _colour_and_alpha(image)[0]
    except _DECODER_ERRORS as error:
        raise _damaged("the picture", error) from None


# ------------------------------------------------------------------------------------------------------------ tensors


def to_tensor(image: Image.Image) -> torch.Tensor:
    """Return an image as a tensor of shape (1, 3, H, W), float32 in [0, 1], RGB.

    Modes other than RGB are converted (without alpha); the image is not turned.

    Raises:
        InputError: Not a PIL image, or one without pixels.
    """
    import torch

    pixels = np.array(_as_rgb(image))  # a copy, because torch warns about memory that it must not write to
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


# -------------------------------------------------------------------------------------------------- sizes and folders


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


def find_images(folder: Path | str) -> list[Path]:
    """Return the pictures in a folder and its subfolders, sorted, by suffix (:data:`READ_SUFFIXES`, in any case).

    Hidden files and folders are left out. Links are followed; a folder that is reached twice is read once, by its
    own name where that lies inside, so a link that leads back up does no harm.

    Returns:
        Paths that start with ``folder``; an empty list where there are no pictures.

    Raises:
        ImageError: The folder, or one inside it, cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.is_file() else "is no folder: there is nothing of that name"
        raise ImageError(f"{_shown(folder)} {problem}")
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [folder], []
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.startswith("."):
                        continue
                    path = current / entry.name
                    if path.is_dir():
                        (links if entry.is_symlink() else folders).append(path)
                    elif path.suffix.lower() in READ_SUFFIXES and path.is_file():
                        found.append(path)
        except OSError as error:
            raise ImageError(f"the folder {_shown(current)} cannot be read: {_reason(error)}") from None
    return sorted(found)


# ----------------------------------------------------------------------------------------------------------- messages


def _shown(path: Path | str) -> str:
    """Return a path for a message of one line: characters that do not print are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in os.fspath(path))


def _reason(error: BaseException) -> str:
    """Return what an exception says, in one line, without the file name that Python adds."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on the disk"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
