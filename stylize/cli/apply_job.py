"""The work of ``stylize apply``: a plan carried out, photo by photo."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stylize.cli.apply_comparison import Comparison
from stylize.cli.apply_reading import Reader
from stylize.cli.apply_report import Report
from stylize.cli.apply_request import Painted, Painting, Photo, Request
from stylize.cli.apply_strips import paint_strips, wants_strips
from stylize.cli.outputs import Plan, Task
from stylize.errors import StylizeError
from stylize.overlap import overlapped

if TYPE_CHECKING:
    from PIL import Image
    from tqdm import tqdm

    from stylize.stylizer import Stylizer


class Job:
    """One run of the command: loads the networks, paints the photos of a plan and reports.

    Args:
        request: What was asked for.
        plan: The photos and where their results go.
        started: When the command began, in seconds of :func:`time.perf_counter`.
    """

    def __init__(self, request: Request, plan: Plan, started: float) -> None:
        self.request = request
        self.plan = plan
        self.tasks = plan.tasks
        self.said = Report(request, plan, started)
        self.reader = Reader(request, self.said.note)
        self.written = 0
        self.stylizers: list[Stylizer] = []
        self.comparison: Comparison | None = None

    def load(self) -> None:
        """Import torch and load the networks."""
        from stylize.stylizer import load_styles

        request = self.request
        self.stylizers = list(load_styles(request.styles, **request.loading, on_fallback=self.said.note))
        if any(task.comparison is not None for task in self.tasks):
            self.comparison = Comparison(self.stylizers, request.styles[0].weights)
        self.said.loaded()

    def run(self) -> None:
        """Paint every photo; one that fails does not stop the rest."""
        bar = self.progress_bar()
        try:
            for done, (task, painted) in enumerate(overlapped(self.tasks, self.read, self.paint, self.write), 1):
                if isinstance(painted, StylizeError):
                    self.said.failed(task, painted)
                else:
                    self.said.painted(done, task, painted, quiet=not bar.disable)
                bar.update()
        except KeyboardInterrupt:
            from stylize.cli import INTERRUPTED, Failure

            kept = f" after {self.written} of {len(self.tasks)} photos; those are kept" if len(self.tasks) > 1 else ""
            raise Failure(f"stopped by Ctrl-C{kept}", INTERRUPTED) from None
        finally:
            bar.close()

    def progress_bar(self) -> tqdm:
        """Return the bar over the photos; it shows on a terminal, where there are several."""
        from tqdm import tqdm

        return tqdm(
            total=len(self.tasks),
            file=sys.stderr,
            disable=len(self.tasks) == 1 or not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} photos [{elapsed}<{remaining}, {rate_inv_fmt}]",
            unit="photo",
        )

    def read(self, task: Task) -> Photo | None:
        """Read a photo, and scale it if that was asked for; return None for one that is to be painted in strips."""
        strips = self.request.strips
        if task.source.path is not None and self.request.size is None and strips.tile != "off":
            from stylize.strips import picture_size

            if wants_strips(self.request, self.stylizers, task, picture_size(task.source.path, strips.memory)):
                return None
        return self.reader.read(task)

    def paint(self, task: Task, photo: Photo | None) -> Painting | list[Painted]:
        """Paint a photo with every network; one that is painted in strips is written at once."""
        alone = len(self.tasks) == 1
        if photo is None:
            source, mask = task.source.path, self.reader.mask
            return [paint_strips(self.request, self.stylizers[0], task, source, mask, alone)]
        if wants_strips(self.request, self.stylizers, task, photo.image.size):
            picture = replace(photo.picture, image=photo.image, alpha=photo.alpha)
            return [paint_strips(self.request, self.stylizers[0], task, picture, lambda size: photo.mask, alone)]
        images, seconds = [], []
        for first, second in self.pairs():
            begun = time.perf_counter()
            images.append(first.paint(photo.image, self.request.controls, photo.mask, second))
            seconds.append(time.perf_counter() - begun)
        return Painting(photo, images, seconds)

    def pairs(self) -> list[tuple[Stylizer, Stylizer | None]]:
        """Return for each result what paints it, and what paints the black parts of the mask."""
        if self.request.mask is not None and len(self.stylizers) == 2:
            return [(self.stylizers[0], self.stylizers[1])]
        return [(stylizer, None) for stylizer in self.stylizers]

    def write(self, task: Task, painting: Painting | list[Painted]) -> list[Painted]:
        """Write the results of a photo and say what they are."""
        if isinstance(painting, list):
            self.written += 1
            return painting
        photo, results = painting.photo, []
        parts = zip(self.pairs(), task.outputs, painting.images, painting.seconds, strict=True)
        for (first, second), output, image, seconds in parts:
            begun = time.perf_counter()
            written = self.write_image(image, task, output, photo)
            taken = round(photo.seconds + seconds + time.perf_counter() - begun, 3)
            style = first.style if second is None else f"{first.style}-{second.style}"
            norm = " and ".join(dict.fromkeys(one.norm for one in (first, second) if one is not None))
            results.append(Painted(task.source.label, written, style, norm, image.width, image.height, taken))
        if self.comparison is not None and task.comparison is not None:
            overwrite = self.request.overwrite
            results = self.comparison.compare(task.comparison, photo.image, painting.images, results, overwrite)
        self.written += 1
        return results

    def write_image(self, image: Image.Image, task: Task, output: Path | None, photo: Photo) -> str:
        """Write a result to its file, or to standard output in the format of the photo; return where it went."""
        from stylize.images import WRITE_SUFFIXES, encode_image, write_image

        picture, alpha = photo.picture, photo.alpha
        if output is not None:
            if alpha is not None:
                output = self.plan.with_alpha(task, output)
            write_image(image, output, alpha=alpha, exif=picture.exif, overwrite=self.request.overwrite)
            return str(output)
        known = f".{picture.format.lower()}" in WRITE_SUFFIXES
        stream = sys.stdout.buffer
        stream.write(encode_image(image, picture.format if known else "PNG", alpha=alpha, exif=picture.exif))
        stream.flush()
        return "-"

    def report(self, ctx: click.Context) -> None:
        """Print the summary or the JSON document, then the failures, and exit with their status."""
        self.said.finish(ctx, self.stylizers)
