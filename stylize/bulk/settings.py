"""What the pictures of a bulk run are painted with: for the workers, who may be on other machines, and the manifest."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stylize.controls import PLAIN, Controls
from stylize.errors import WeightsError
from stylize.images import shown
from stylize.style_choice import ChosenStyle


@dataclass(frozen=True)
class Settings:
    """How every picture is painted.

    Attributes:
        style: The style.
        size: Long edge of the results in pixels; None keeps that of the photos.
        controls: Size of the strokes, and whether the colours of the photo stay.
        strength: From 0, the photo, over 1, the style, to 1.5.
        device: Name of the device.
        engine: Name of the engine; None leaves the choice to the style.
        precision: Name of the precision.
        tile: ``auto``, ``off``, or the rows of a strip.
        memory: Most bytes for a picture; None is this worker's part of half of what is free.
        statistics: ``exact`` or ``thumbnail``.
        workers: How many workers share the memory of a machine.
    """

    style: ChosenStyle
    size: int | None = None
    controls: Controls = PLAIN
    strength: float = 1.0
    device: str = "auto"
    engine: str | None = None
    precision: str = "auto"
    tile: str | int = "auto"
    memory: int | None = None
    statistics: str = "exact"
    workers: int = 1

    def facts(self) -> dict[str, Any]:
        """Return what decides how the results look, as plain values: what a manifest is compared by.

        Raises:
            WeightsError: A file of the style cannot be read.
        """
        return {
            "style": self.style.name,
            "norm": self.style.norm,
            "shares": dict(self.style.shares),
            "files": sorted(hashlib.sha256(content).hexdigest() for content in style_files(self.style).values()),
            "size": self.size,
            "scale": self.controls.scale,
            "scale_passes": self.controls.passes,
            "preserve_color": self.controls.preserve_colour,
            "strength": self.strength,
            "engine": self.engine,
            "precision": self.precision,
            "tile": self.tile,
            "tile_statistics": self.statistics,
        }


def style_files(style: ChosenStyle) -> dict[Path, bytes]:
    """Return the files of a style, which a worker on another machine may not have.

    Raises:
        WeightsError: One cannot be read.
    """
    contents = {}
    for path in (style.weights.path, *(one.path for one in style.additions)):
        try:
            contents[path] = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{shown(path)} cannot be read ({error.strerror})") from error
    return contents


@contextmanager
def unpacked(style: ChosenStyle, files: dict[Path, bytes]) -> Iterator[ChosenStyle]:
    """Yield the style with its files in a temporary folder of this machine, for loading it."""
    with tempfile.TemporaryDirectory(prefix="stylize-") as folder:
        places = {}
        for number, (path, content) in enumerate(files.items()):
            places[path] = Path(folder, str(number), path.name)
            places[path].parent.mkdir()
            places[path].write_bytes(content)
        weights = replace(style.weights, path=places[style.weights.path])
        collection = None if style.collection is None else replace(style.collection, weights=weights)
        additions = tuple(replace(one, path=places[one.path]) for one in style.additions)
        yield replace(style, weights=weights, collection=collection, additions=additions)
