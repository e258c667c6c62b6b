"""A file, a stream or an image that Pillow has opened becomes a :class:`Picture`: upright, sRGB, of mode RGB.

The format is found in the first bytes, not in the suffix, and only its decoder is tried. So a HEIC photo that calls
itself ``.jpg`` gets the right message, and formats that start another program (EPS) are never decoded.
"""

from __future__ import annotations

import importlib
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from stylize.errors import ImageError, InputError
from stylize.image_colour import colour_and_alpha
from stylize.image_errors import DECODER_ERRORS, damaged, quiet_pillow, reason_of, shown
from stylize.image_exif import UPRIGHT, kept_metadata
from stylize.image_limits import MAXIMUM_SIDE, check_file_size, check_structure

MAXIMUM_PIXELS = 178_956_970
"""Largest picture that is decoded, in pixels: the size from which Pillow itself refuses (twice its warning limit)."""

_ACCEPTED = "JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC or AVIF"
RAW_SUFFIXES = frozenset((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"))
HEAD_BYTES = 32


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


def read_picture(
    source: Path | str | BinaryIO, most_pixels: int = MAXIMUM_PIXELS, name: str = "standard input"
) -> Picture:
    """Read a picture from a file, or from an open binary stream such as standard input (to its end, not closed).

    Animated files give their first frame.

    Args:
        source: The file or the stream.
        most_pixels: What has more is refused by its header, before it is decoded.
        name: What messages call a stream; the suffix of a camera's raw file in it is seen, too.

    Raises:
        ImageError: The source is missing, empty, damaged, truncated, too large, or no picture of a known format.
    """
    if hasattr(source, "read"):
        name = shown(name)
        _refuse_raw(name)
        try:
            return _decode(_buffered(source, name), name, most_pixels)
        except MemoryError:
            raise ImageError(f"{name}: not enough memory for this picture; make it smaller first") from None
    name = shown(source)
    if os.path.isdir(source):
        raise ImageError(f"{name} is a folder, not a picture")
    _refuse_raw(name)
    try:
        with open(source, "rb") as file:
            if file.seekable():
                check_file_size(os.fstat(file.fileno()).st_size, name)
                return _decode(file, name, most_pixels)
            return _decode(_buffered(file, name), name, most_pixels)
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file") from None
    except PermissionError:
        raise ImageError(f"{name} cannot be read: permission denied") from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory for this picture; make it smaller first") from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{name} cannot be read: {reason_of(error)}") from None


def _refuse_raw(name: str) -> None:
    """Refuse a camera's raw file by its name: Pillow would open many as TIFF and show their thumbnail of 160 pixels."""
    if Path(name).suffix.lower() in RAW_SUFFIXES:
        raise ImageError(f"{name} is a camera raw file; export it as JPEG, PNG or TIFF first")


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
        check_size(image.size, name)
        with quiet_pillow():
            return _normalised(image)
    except Image.DecompressionBombError as error:
        raise _too_large(name, error) from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory for this picture; make it smaller first") from None
    except ImageError:
        raise
    except DECODER_ERRORS as error:
        raise damaged(name, error) from None


def _decode(stream: BinaryIO, name: str, most_pixels: int) -> Picture:
    """Decode the picture in a seekable stream."""
    head = stream.read(HEAD_BYTES)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes)")
    kind = format_of_head(head)
    if kind is None:
        raise _unknown_content(name, head)
    stream.seek(0)
    try:
        check_structure(stream, kind, name)
        with quiet_pillow(), _opened(stream, kind, name) as image:
            check_size(image.size, name, most_pixels)
            if kind == "TIFF" and 50706 in image.tag_v2:  # DNGVersion: the first picture in there is a thumbnail
                raise ImageError(f"{name} is a camera raw file; export it as JPEG, PNG or TIFF first")
            if kind == "JPEG" and ends_in_zeros(stream):
                raise ImageError(f"{name} is damaged (its last part is missing); copy or export it again")
            return _normalised(image)
    except Image.DecompressionBombError as error:
        raise _too_large(name, error) from None
    except Image.UnidentifiedImageError:
        problem = f"{name} looks like {kind} but cannot be decoded: it is truncated, damaged or of a rare kind"
        raise ImageError(f"{problem}; export it as JPEG or PNG") from None
    except ImageError:
        raise
    except DECODER_ERRORS as error:
        raise damaged(name, error) from None


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


def format_of_head(head: bytes) -> str | None:
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
        head = stream.read(HEAD_BYTES)
        if not isinstance(head, bytes):
            raise ImageError(f"{name} is a text stream; open it in binary mode")
        held = io.BytesIO(head)
        held.seek(0, os.SEEK_END)
        if len(head) < HEAD_BYTES or format_of_head(head):
            while piece := stream.read(2**20):
                held.write(piece)
                check_file_size(held.tell(), name)
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {reason_of(error)}") from None
    held.seek(0)
    return held


def check_size(size: tuple[int, int], name: str, most_pixels: int = MAXIMUM_PIXELS) -> None:
    """Refuse a picture that is too large, before memory is taken for it.

    Raises:
        ImageError: It has more than ``most_pixels``, or a side of more than
            :data:`~stylize.image_limits.MAXIMUM_SIDE`.
    """
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width} x {height} pixels: it holds nothing")
    if width * height > most_pixels:
        limit = f"more than the {most_pixels:,} pixels that can be read"
        raise ImageError(f"{name} is {width} x {height} pixels, {limit}; make it smaller first")
    if max(width, height) > MAXIMUM_SIDE:
        limit = f"a side has more than the {MAXIMUM_SIDE:,} pixels that can be read"
        raise ImageError(f"{name} is {width} x {height} pixels, {limit}; cut it into pieces first")


def _too_large(name: str, error: Image.DecompressionBombError) -> ImageError:
    """Return our form of Pillow's refusal of a huge picture."""
    pixels = re.search(r"\d+", str(error))
    count = f"{int(pixels.group()):,}" if pixels else "too many"
    limit = f"more than the {MAXIMUM_PIXELS:,} that can be read"
    return ImageError(f"{name} holds {count} pixels, {limit}; make it smaller first")


def ends_in_zeros(stream: BinaryIO) -> bool:
    """Tell whether a JPEG ends in zeros instead of its end marker, as a copy that broke off into reserved space does.

    libjpeg takes the zeros for picture data and would paint the rest grey without a word.
    """
    position = stream.tell()
    try:
        stream.seek(-16, os.SEEK_END)
        if any(stream.read()):
            return False
        start = 2
        while True:
            # Walk over the header: a thumbnail in there has an end marker of its own.
            stream.seek(start)
            head = stream.read(4)
            if len(head) < 4 or head[0] != 0xFF or head[1] == 0xDA:
                break
            start += 2 + int.from_bytes(head[2:], "big")
        stream.seek(start)
        before = b""
        while piece := stream.read(2**20):  # not the whole file at once: it may be any size
            if b"\xff\xd9" in before + piece:
                return False
            before = piece[-1:]
        return True
    except OSError:  # shorter than 16 bytes: Pillow says what is wrong
        return False
    finally:
        stream.seek(position)


def _normalised(image: Image.Image) -> Picture:
    """Load an image and bring it to upright sRGB; raises what Pillow raises."""
    image.load()
    exif, orientation = kept_metadata(image)
    colour, alpha = colour_and_alpha(image)
    if alpha is not None and alpha.getextrema()[0] == 255:
        alpha = None
    if orientation in UPRIGHT:
        colour = colour.transpose(UPRIGHT[orientation])
        alpha = alpha.transpose(UPRIGHT[orientation]) if alpha is not None else None
    for layer in (colour, alpha):
        if layer is not None:
            layer.info = {}  # what the source said about itself (profile, transparency) is no longer true
    return Picture(colour, alpha, exif, getattr(image, "format", None) or "")
