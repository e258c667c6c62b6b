"""What a run of ``stylize apply`` was asked for, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylize.controls import PLAIN, Controls

if TYPE_CHECKING:
    from PIL import Image

    from stylize.images import Picture
    from stylize.masks import Mask
    from stylize.style_choice import ChosenStyle


@dataclass(frozen=True)
class Strips:
    """How pictures are painted that are too large for memory.

    Attributes:
        tile: ``auto``, ``off``, or the rows of a strip.
        memory: Most bytes for a picture; None is half of what is free.
        statistics: ``exact`` or ``thumbnail``.
    """

    tile: str | int = "auto"
    memory: int | None = None
    statistics: str = "exact"


@dataclass(frozen=True)
class Request:
    """What the user asked for, beyond the photos.

    Attributes:
        styles: The styles: one; one for each normalisation; two for a mask; or those of a sheet.
        size: Long edge of the results in pixels; None keeps that of the photos.
        overwrite: Whether results may replace files.
        as_json: Whether the report is a JSON document.
        device: Name of the device.
        engine: Name of the engine; None leaves the choice to the style.
        precision: Name of the precision.
        deterministic: Whether only algorithms are used that give the same bits each time.
        strips: How pictures are painted that are too large for memory.
        controls: How every picture is painted.
        strength: From 0, the photo, over 1, the style, to 1.5.
        mask: Picture that says where to paint.
    """

    styles: tuple[ChosenStyle, ...]
    size: int | None = None
    overwrite: bool = False
    as_json: bool = False
    device: str = "auto"
    engine: str | None = None
    precision: str = "auto"
    deterministic: bool = False
    strips: Strips = Strips()
    controls: Controls = PLAIN
    strength: float = 1.0
    mask: Path | None = None

    @property
    def loading(self) -> dict[str, Any]:
        """What :func:`stylize.stylizer.load_styles` is given beside the styles."""
        return {
            "strength": self.strength,
            "device": self.device,
            "engine": self.engine,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class Photo:
    """A photo that was read, at the size at which it is painted.

    Attributes:
        picture: The photo as it is in its file.
        image: What is painted.
        alpha: Its alpha at the same size, or None.
        mask: The mask for that size, or None.
        seconds: Time it took to read.
    """

    picture: Picture
    image: Image.Image
    alpha: Image.Image | None
    mask: Mask | None
    seconds: float


@dataclass(frozen=True)
class Painting:
    """The results of one photo, not yet written.

    Attributes:
        photo: The photo.
        images: One for each result.
        seconds: Time that each took to paint.
    """

    photo: Photo
    images: list[Image.Image]
    seconds: list[float]


@dataclass(frozen=True)
class Painted:
    """One written result; the field names are those of ``--json``.

    Attributes:
        photo: The photo.
        output: The file it was written to.
        style: Name of the style.
        norm: Normalisation of the network.
        width: Of the result, in pixels.
        height: Of the result, in pixels.
        seconds: Time to read the photo, paint it and write it, without loading the network.
        style_distance: Distance to the painting; None when not measured.
        contrast_change: Mean change of the result when the contrast of the photo is halved, in grey levels of 0..255;
            None when not measured.
        tiles: How it was painted in strips; None when it was painted whole.
        styles: Names of the styles of a sheet, from left to right and from top to bottom; None for other pictures.
    """

    photo: str
    output: str
    style: str
    norm: str
    width: int
    height: int
    seconds: float
    style_distance: float | None = None
    contrast_change: float | None = None
    tiles: dict[str, Any] | None = None
    styles: list[str] | None = None
