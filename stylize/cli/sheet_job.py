"""The work of ``stylize apply --sheet``: one photo in many styles, on one labelled sheet."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from stylize.cli.apply_job import Job
from stylize.cli.apply_reading import Reader
from stylize.cli.apply_request import Painted, Painting, Photo, Request
from stylize.cli.outputs import Plan, Task
from stylize.errors import ImageError
from stylize.images import Picture, read_image
from stylize.panels import BACKGROUND
from stylize.style_choice import ChosenStyle
from stylize.style_sheet import TILE_SIZE, style_sheet, tile_size
from stylize.zoo import collection_name, painting_of

OVERSIZE = 2
"""A photo is painted at so many times the size of a tile: strokes have a fixed size in pixels, and painted at the size
of a tile they would look much coarser than in the photo itself."""


class SheetJob(Job):
    """One run of the command that makes a sheet of each photo.

    Each photo is reduced before it is painted, so that a sheet takes seconds. The styles of a collection share its
    file, which is read once.
    """

    def __init__(self, request: Request, plan: Plan, started: float) -> None:
        super().__init__(request, plan, started)
        # What --size says here is the size of a tile, which comes after the photo was read.
        self.reader = Reader(replace(request, size=None), self.said.note)
        self.tile = request.size or TILE_SIZE
        self.paintings: dict[str, Image.Image] = {}

    def load(self) -> None:
        """Load the networks, and the paintings of those styles whose painting is shipped."""
        super().load()
        self.paintings = thumbnails(self.request.styles, self.tile)

    def read(self, task: Task) -> Photo:
        """Read a photo and reduce it to :data:`OVERSIZE` times a tile; a smaller one keeps its size."""
        photo = self.reader.read(task)
        size = tile_size(photo.image.size, OVERSIZE * self.tile)
        begun = time.perf_counter()
        opaque = Picture(photo.picture.image, None, None, photo.picture.format)
        image = photo.image
        if photo.alpha is not None:
            # What cannot be seen of the photo is not painted either.
            image = Image.composite(image, Image.new("RGB", image.size, BACKGROUND), photo.alpha)
        if size[0] < image.width:
            image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        return Photo(opaque, image, None, None, photo.seconds + time.perf_counter() - begun)

    def paint(self, task: Task, photo: Photo) -> Painting:
        """Paint a photo in every style and put the results on a sheet."""
        from tqdm import tqdm

        begun = time.perf_counter()
        bar = tqdm(
            self.stylizers,
            file=sys.stderr,
            disable=len(self.tasks) > 1 or not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} styles [{elapsed}<{remaining}]",
            leave=False,
        )
        tiles = [(stylizer.style, stylizer.paint(photo.image, self.request.controls)) for stylizer in bar]
        title = sheet_title(task, self.request.styles)
        sheet = style_sheet(photo.image, tiles, tile=self.tile, title=title, paintings=self.paintings)
        return Painting(photo, [sheet], [time.perf_counter() - begun])

    def write(self, task: Task, painting: Painting) -> list[Painted]:
        """Write the sheet of a photo."""
        begun, photo, (sheet,) = time.perf_counter(), painting.photo, painting.images
        written = self.write_image(sheet, task, task.outputs[0], photo)
        seconds = round(photo.seconds + painting.seconds[0] + time.perf_counter() - begun, 3)
        norms = " and ".join(dict.fromkeys(stylizer.norm for stylizer in self.stylizers))
        names = [stylizer.style for stylizer in self.stylizers]
        self.written += 1
        return [Painted(task.source.label, written, "sheet", norms, *sheet.size, seconds, styles=names)]


def thumbnails(styles: Sequence[ChosenStyle], size: int) -> dict[str, Image.Image]:
    """Return the paintings of styles that are shipped, by the names of the styles, each at most ``size`` pixels long.

    A name that two of the styles have is left out where they are not of the same painting.
    """
    paths = [(style.name, painting_of(style.described)) for style in styles]
    found = {}
    for name, path in paths:
        if path is None or any(other != path for same, other in paths if same == name):
            continue
        try:
            painting = read_image(path)
        except ImageError:
            continue  # A sheet is as useful without it.
        painting.thumbnail((size, size), Image.Resampling.LANCZOS)
        found[name] = painting
    return found


def sheet_title(task: Task, styles: Sequence[ChosenStyle]) -> str:
    """Return the line over a sheet, ``my-photo in 16 styles (paintings)``, with the collection if all are from one.

    Plain letters and signs: the font that comes with Pillow has few others.
    """
    photo = "" if task.source.path is None else f"{task.source.path.stem} in "
    count = f"{len(styles)} style{'s' * (len(styles) != 1)}"
    names = {None if one.collection is None else collection_name(one.collection) for one in styles}
    (only,) = names if len(names) == 1 else (None,)
    return photo + count + (f" ({only})" if only else "")
