"""Pictures from strangers: how large they are is known before they are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stylize.errors import ImageError
from stylize.images import Picture, read_picture, resize_long_edge, shown
from stylize.strips.plans import picture_size
from stylize.web.settings import Limits

PREVIEW_EDGE = 1024
"""Long edge, in pixels, of the copy of a photo that is kept in memory for painting previews."""


@dataclass(frozen=True)
class Photo:
    """A photo that a user works with.

    Attributes:
        path: Its file: an upload in the private folder, or a shipped example.
        name: What it is called on the page, without a suffix.
        width: Pixels, upright.
        height: Pixels, upright.
        small: A copy, RGB, with a long edge of at most :data:`PREVIEW_EDGE`.
    """

    path: Path
    name: str
    width: int
    height: int
    small: Image.Image

    def preview(self, edge: int) -> Image.Image:
        """Return a copy with a long edge of at most ``edge`` pixels."""
        return self.small if max(self.small.size) <= edge else resize_long_edge(self.small, edge)


def read_upload(path: Path, limits: Limits) -> Picture:
    """Read a picture that somebody sent, if its file and its pixels are within the limits.

    Raises:
        ImageError: It is gone, too large, damaged, or no picture. The message has its name, but no path.
    """
    try:
        check_upload(path, limits)
        return read_picture(path, limits.pixels)
    except ImageError as error:
        raise ImageError(str(error).replace(shown(path), shown(path.name)).replace(str(path), path.name)) from None


def check_upload(path: Path, limits: Limits) -> None:
    """Refuse a file that is too large, by its size on disk and by its header alone.

    Raises:
        ImageError: It is gone, or larger than the limits.
    """
    try:
        size = path.stat().st_size
    except OSError:
        raise ImageError(f"{path.name} is no longer here; choose the photo once more") from None
    if size > limits.file_bytes:
        raise ImageError(
            f"{path.name} has {size / 1e6:,.1f} MB; at most {limits.megabytes:,g} MB are accepted: save it smaller"
        )
    found = picture_size(path)
    if found is not None:
        _check_pixels(path.name, *found, limits)


def open_photo(path: Path, limits: Limits) -> Photo:
    """Read a photo and keep a small copy.

    Raises:
        ImageError: See :func:`read_upload`.
    """
    image = read_upload(path, limits).image
    small = image if max(image.size) <= PREVIEW_EDGE else resize_long_edge(image, PREVIEW_EDGE)
    return Photo(path, path.stem, *image.size, small)


def _check_pixels(name: str, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise ImageError(
            f"{name} is {width} x {height} pixels, {width * height / 1e6:,.0f} megapixels; at most "
            f"{limits.megapixels:,g} are accepted: make it smaller first"
        )
