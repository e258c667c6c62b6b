"""The work of ``stylize apply``: a plan carried out, photo by photo, and a report on it."""

from __future__ import annotations

import io
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylize.cli.outputs import Plan, Problem, Task
from stylize.cli.overlap import overlapped
from stylize.cli.strip_progress import StripProgress
from stylize.cli.tables import aligned
from stylize.config import IMAGE_SIZE_MINIMUM
from stylize.errors import InputError, StylizeError
from stylize.zoo import painting_of

if TYPE_CHECKING:
    from PIL import Image

    from stylize.checkpoints import WeightsFile
    from stylize.images import Picture
    from stylize.stylizer import Stylizer
    from stylize.vgg import VGG19

MEASURED_SIZE = 512
"""Long edge in pixels at which the results of several norms are measured."""

LISTED_PROBLEMS = 20
"""Failures that are listed one by one at the end; ``--json`` has them all."""


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
        size: Long edge of the results in pixels; None keeps that of the photos.
        overwrite: Whether results may replace files.
        as_json: Whether the report is a JSON document.
        device: Name of the device.
        engine: Name of the engine; None leaves the choice to the style.
        precision: Name of the precision.
        strips: How pictures are painted that are too large for memory.
        scale: Size at which to paint, as a part of that of the photo, or ``auto``.
        scale_passes: 2 paints an enlarged painting once more.
    """

    size: int | None = None
    overwrite: bool = False
    as_json: bool = False
    device: str = "auto"
    engine: str | None = None
    precision: str = "auto"
    strips: Strips = Strips()
    scale: str | float = 1.0
    scale_passes: int = 1


@dataclass(frozen=True)
class Photo:
    """A photo that was read, at the size at which it is painted.

    Attributes:
        picture: The photo as it is in its file.
        image: What is painted.
        alpha: Its alpha at the same size, or None.
        seconds: Time it took to read.
    """

    picture: Picture
    image: Image.Image
    alpha: Image.Image | None
    seconds: float


@dataclass(frozen=True)
class Painting:
    """The results of one photo, not yet written.

    Attributes:
        photo: The photo.
        images: One for each network.
        seconds: Time that each took to paint.
    """

    photo: Photo
    images: list[Image.Image]
    seconds: list[float]


class Job:
    """One run of the command: loads the networks, paints the photos of a plan and reports."""

    def __init__(self, request: Request, plan: Plan, started: float) -> None:
        self.request = request
        self.plan = plan
        self.tasks = plan.tasks
        self.problems: list[Problem] = list(plan.problems)
        self.total = len(plan.tasks) + len(plan.problems)
        self.started = started
        self.loading = 0.0
        self.written = 0
        self.results: list[Painted] = []
        self.comparisons: list[str] = []
        self.stylizers: list[Stylizer] = []
        self.painting: Image.Image | None = None
        self.loss_network: VGG19 | None = None
        # Standard output belongs to the picture or to the JSON document, if there is one.
        self.to_stderr = request.as_json or any(None in task.outputs for task in plan.tasks)

    def load(self, chosen: list[WeightsFile]) -> None:
        """Import torch and load the networks."""
        from stylize.stylizer import load

        request = self.request
        self.stylizers = [
            load(
                weights.path,
                device=request.device,
                engine=request.engine,
                precision=request.precision,
                on_fallback=lambda reason: click.echo(f"note: {reason}", err=True),
            )
            for weights in chosen
        ]
        if len(chosen) > 1 and (path := painting_of(chosen[0])) is not None:
            from stylize.evaluation import painting_size
            from stylize.images import read_image, resize_short_side

            self.painting = resize_short_side(read_image(path), painting_size(chosen[0].metadata))
        self.loading = time.perf_counter() - self.started

    def run(self) -> None:
        """Paint every photo; one that fails does not stop the rest."""
        from tqdm import tqdm

        bar = tqdm(
            total=len(self.tasks),
            file=sys.stderr,
            disable=len(self.tasks) == 1 or not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} photos [{elapsed}<{remaining}, {rate_inv_fmt}]",
            unit="photo",
        )
        try:
            for done, (task, painted) in enumerate(overlapped(self.tasks, self.read, self.paint, self.write), 1):
                if isinstance(painted, StylizeError):
                    self.problems.append(Problem(task.source.label, painted))
                else:
                    self.results += painted
                    self.say_painted(done, task, painted, quiet=not bar.disable)
                bar.update()
        except KeyboardInterrupt:
            from stylize.cli import INTERRUPTED, Failure

            kept = f" after {self.written} of {len(self.tasks)} photos; those are kept" if len(self.tasks) > 1 else ""
            raise Failure(f"stopped by Ctrl-C{kept}", INTERRUPTED) from None
        finally:
            bar.close()

    def read(self, task: Task) -> Photo | None:
        """Read a photo, and scale it if that was asked for; return None for one that is to be painted in strips."""
        from stylize.images import resize_long_edge

        begun = time.perf_counter()
        if task.source.path is not None and self.request.size is None:
            from stylize.strips import picture_size

            strips = self.request.strips
            if strips.tile != "off" and self.wants_strips(task, picture_size(task.source.path, strips.memory)):
                return None
        picture = _read(task)
        image, alpha = picture.image, picture.alpha
        if self.request.size is not None:
            image = resize_long_edge(image, self.request.size)
            alpha = resize_long_edge(alpha, self.request.size) if alpha is not None else None
        return Photo(picture, image, alpha, time.perf_counter() - begun)

    def wants_strips(self, task: Task, size: tuple[int, int] | None) -> bool:
        """Say whether a picture (width, height) is to be painted in strips."""
        strips = self.request.strips
        # Painted small, a picture needs strips no more than its file does.
        if size is None or strips.tile == "off" or None in task.outputs or self.request.scale != 1:
            return False
        if isinstance(strips.tile, int):
            return True
        if any(stylizer.network is None for stylizer in self.stylizers):
            return False
        from stylize.large_pictures import default_memory, needed_bytes

        limit = default_memory() if strips.memory is None else strips.memory
        return max(needed_bytes(stylizer, *size) for stylizer in self.stylizers) > limit

    def paint(self, task: Task, photo: Photo | None) -> Painting | list[Painted]:
        """Paint a photo with every network; one that is painted in strips is written at once."""
        if photo is None:
            return self.paint_strips(task, task.source.path)
        if self.wants_strips(task, photo.image.size):
            return self.paint_strips(task, replace(photo.picture, image=photo.image, alpha=photo.alpha))
        images, seconds = [], []
        for stylizer in self.stylizers:
            begun = time.perf_counter()
            images.append(stylizer(photo.image, scale=self.request.scale, passes=self.request.scale_passes))
            seconds.append(time.perf_counter() - begun)
        return Painting(photo, images, seconds)

    def paint_strips(self, task: Task, source: Path | Picture) -> list[Painted]:
        """Paint a picture strip by strip into its file."""
        from stylize.large_pictures import paint_large

        if task.comparison is not None:
            raise InputError("a picture in strips is painted with one norm at a time; give one --norm, or --tile off")
        begun = time.perf_counter()
        stylizer, output, strips = self.stylizers[0], task.outputs[0], self.request.strips
        with StripProgress(task.source.label, alone=len(self.tasks) == 1, quiet=self.request.as_json) as progress:
            painted = paint_large(
                stylizer,
                source,
                output,
                memory=strips.memory,
                strip=strips.tile if isinstance(strips.tile, int) else None,
                statistics=strips.statistics,
                dtype="float32" if self.request.precision == "auto" else self.request.precision,
                overwrite=self.request.overwrite,
                on_strip=progress.advance,
            )
        plan = painted.plan
        tiles = {
            "strip": plan.strip,
            "passes": plan.passes,
            "statistics": strips.statistics,
            "stored": str(plan.stored).removeprefix("torch."),
            "storage": list(plan.storage),
            "memory": painted.memory,
        }
        seconds = round(time.perf_counter() - begun, 3)
        size = (painted.width, painted.height)
        return [Painted(task.source.label, str(output), stylizer.style, stylizer.norm, *size, seconds, tiles=tiles)]

    def write(self, task: Task, painting: Painting | list[Painted]) -> list[Painted]:
        """Write the results of a photo and say what they are."""
        if isinstance(painting, list):
            self.written += 1
            return painting
        photo, results = painting.photo, []
        parts = zip(self.stylizers, task.outputs, painting.images, painting.seconds, strict=True)
        for stylizer, output, image, seconds in parts:
            begun = time.perf_counter()
            if photo.alpha is not None and output is not None:
                output = self.plan.with_alpha(task, output)
            self.write_image(image, output, photo)
            name = "-" if output is None else str(output)
            taken = round(photo.seconds + seconds + time.perf_counter() - begun, 3)
            results.append(
                Painted(task.source.label, name, stylizer.style, stylizer.norm, image.width, image.height, taken)
            )
        if task.comparison is not None:
            results = self.compare(task.comparison, photo.image, painting.images, results)
        self.written += 1
        return results

    def write_image(self, image: Image.Image, output: Path | None, photo: Photo) -> None:
        """Write a result to its file, or to standard output in the format of the photo."""
        from stylize.images import WRITE_SUFFIXES, encode_image, write_image

        picture, alpha = photo.picture, photo.alpha
        if output is not None:
            write_image(image, output, alpha=alpha, exif=picture.exif, overwrite=self.request.overwrite)
            return
        known = f".{picture.format.lower()}" in WRITE_SUFFIXES
        stream = sys.stdout.buffer
        stream.write(encode_image(image, picture.format if known else "PNG", alpha=alpha, exif=picture.exif))
        stream.flush()

    def compare(
        self, path: Path, photo: Image.Image, images: list[Image.Image], results: list[Painted]
    ) -> list[Painted]:
        """Write the labelled side-by-side picture and return the results with their measurements."""
        from stylize.evaluation import contrast_change
        from stylize.images import to_tensor, write_image
        from stylize.panels import side_by_side

        labels = [f"{stylizer.norm} norm" for stylizer in self.stylizers]
        panel = side_by_side([("photo", photo), *zip(labels, images, strict=True)])
        write_image(panel, path, overwrite=self.request.overwrite)
        small = to_tensor(_reduced(photo)).to(self.stylizers[0].device)
        changes = [255 * float(contrast_change(stylizer.network, small)) for stylizer in self.stylizers]
        distances = self.style_distances(images)
        return [
            replace(result, style_distance=distance, contrast_change=round(change, 3))
            for result, distance, change in zip(results, distances, changes, strict=True)
        ]

    def style_distances(self, images: list[Image.Image]) -> list[float | None]:
        """Return the distance of each picture to the painting; None where that is unknown or a picture is tiny."""
        if self.painting is None or min(_reduced(images[0]).size) < IMAGE_SIZE_MINIMUM:
            return [None] * len(images)
        import torch

        from stylize.config import LossConfig
        from stylize.evaluation import style_distance
        from stylize.images import to_tensor
        from stylize.vgg import load_loss_network

        if self.loss_network is None:
            self.loss_network = load_loss_network(last=LossConfig().style_layers[-1])
        batch = torch.cat([to_tensor(_reduced(image)) for image in images])
        return style_distance(batch, to_tensor(self.painting), loss_network=self.loss_network).tolist()

    def say(self, text: str) -> None:
        """Print status where it does not mix with the output."""
        click.echo(text, err=self.to_stderr)

    def say_painted(self, number: int, task: Task, painted: list[Painted], quiet: bool) -> None:
        """Say that a photo is done: a line, or a table when it was painted with several norms."""
        if task.comparison is not None:
            document = {"photo": task.source.label, "output": str(task.comparison)}
            self.comparisons.append(document)
        if self.request.as_json:
            return
        if task.comparison is not None:
            from tqdm import tqdm

            tqdm.write(_table(task, painted), file=sys.stdout)
        elif self.total > 1 and not quiet:
            one = painted[0]
            counter = f"[{number}/{len(self.tasks)}] " if len(self.tasks) > 1 else ""
            self.say(f"{counter}{one.photo} -> {_shown(one.output)} ({one.width}x{one.height} px, {one.seconds:.1f} s)")

    def report(self, ctx: click.Context) -> None:
        """Print the summary or the JSON document, then the failures, and exit with their status."""
        seconds = time.perf_counter() - self.started
        timing = f"{seconds:.1f} s, {self.loading:.1f} s of it loading"
        if self.request.as_json:
            self.print_json(seconds)
        elif self.results:
            one = self.results[0]
            norms = " and ".join(stylizer.norm for stylizer in self.stylizers)
            how = f"{one.style}, {norms} norm"
            if self.total == 1 and len(self.results) == 1:
                where = "standard output" if one.output == "-" else _shown(one.output)
                self.say(f"{one.photo} -> {where} ({how}, {one.width}x{one.height} px) in {timing}")
            else:
                done = len(self.results) // len(self.stylizers)
                self.say(f"painted {done} of {self.total} photo{'s' * (self.total > 1)}: {how}, in {timing}")
        if not self.problems:
            return
        if self.total == 1:
            raise self.problems[0].error
        click.echo(f"{len(self.problems)} of {self.total} failed:", err=True)
        for problem in self.problems[:LISTED_PROBLEMS]:
            named = problem.photo in str(problem.error)
            click.echo(f"  {problem.error}" if named else f"  {problem.photo}: {problem.error}", err=True)
        if len(self.problems) > LISTED_PROBLEMS:
            click.echo(f"  and {len(self.problems) - LISTED_PROBLEMS} more (--json lists all)", err=True)
        ctx.exit(2 if all(isinstance(problem.error, InputError) for problem in self.problems) else 1)

    def print_json(self, seconds: float) -> None:
        """Print the one document of ``--json``."""
        measures = ("style_distance", "contrast_change")
        several = len(self.stylizers) > 1
        results = [
            {k: v for k, v in asdict(one).items() if (several or k not in measures) and (k != "tiles" or v)}
            for one in self.results
        ]
        document: dict[str, Any] = {
            "results": results,
            "failures": [{"photo": problem.photo, "error": str(problem.error)} for problem in self.problems],
            "seconds": round(seconds, 3),
            "loading_seconds": round(self.loading, 3),
        }
        if self.comparisons:
            document["comparisons"] = self.comparisons
        if self.stylizers:
            one = self.stylizers[0]
            document |= {"device": str(one.device), "engine": one.engine.name, "precision": one.engine.precision}
        click.echo(json.dumps(document, indent=2))


def _reduced(image: Image.Image) -> Image.Image:
    """Return a picture at the size at which results are measured, or smaller if it is."""
    from stylize.images import resize_long_edge

    return image if max(image.size) <= MEASURED_SIZE else resize_long_edge(image, MEASURED_SIZE)


def _read(task: Task) -> Picture:
    from stylize.images import read_picture

    if task.source.path is None:
        return read_picture(io.BytesIO(sys.stdin.buffer.read()))
    return read_picture(task.source.path)


def _shown(path: str) -> str:
    """Return a path in a form that every terminal can print."""
    return click.format_filename(path)


def _table(task: Task, painted: list[Painted]) -> str:
    header = ("norm", "style distance", "contrast change", "seconds", "file")
    rows = [
        (
            one.norm,
            "-" if one.style_distance is None else f"{one.style_distance:.4g}",
            "-" if one.contrast_change is None else f"{one.contrast_change:.1f}",
            f"{one.seconds:.1f}",
            _shown(one.output),
        )
        for one in painted
    ]
    title = f"{task.source.label} ({painted[0].width}x{painted[0].height} px)"
    note = (
        f"side by side: {_shown(str(task.comparison))}\n"
        "style distance: to the painting, lower is closer; contrast change: of the result when the contrast of the\n"
        f"photo is halved, in grey levels of 255; both at {MEASURED_SIZE} px or less"
    )
    return f"{title}\n{aligned(header, rows, numeric=frozenset({1, 2, 3}))}\n{note}"
