"""What the third tab does: a painting of one's own becomes a style of the session; without Gradio."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from stylize.errors import ImageError, InputError, StylizeError, WeightsError
from stylize.images import read_image, resize_long_edge
from stylize.style_collections import Collection, StyleFile, check_fitting, is_style_file, read_style_file
from stylize.web.adapting import Adapted, Effort, Progress, adapt
from stylize.web.context import LEARNING, PAINTING, Context
from stylize.web.jobs import Job
from stylize.web.line import Stopped, Wait
from stylize.web.offers import style_title
from stylize.web.own_styles import OwnStyle, free_name
from stylize.web.painting import paint_preview
from stylize.web.parts import download_link, duration, figure, note, progress_bar, split, waiting
from stylize.web.thumbnails import square
from stylize.web.uploads import Photo, read_upload

SAMPLE_CAPTION = "Photos that it does not learn from, painted so far"

SHOWN_EDGE = 512
"""Long edge of the uploaded painting, and of the photo painted with it, in pixels."""

STYLE_FILE_BYTES = 5 * 10**6
"""Most bytes of a style file that is brought; those that are made here have some tens of thousands."""


@dataclass(frozen=True)
class Stage:
    """What the tab shows.

    Attributes:
        text: HTML: how far it is.
        picture: HTML: the last sample, or at the end a photo painted in the new style; None leaves what is there.
        running: Whether it goes on.
        learned: Name of the new style, at the end.
    """

    text: str
    picture: str | None = None
    running: bool = False
    learned: str | None = None


class AdaptActions:
    """What happens when a button is clicked.

    Args:
        context: What the tabs share.
        photos: Folder of the photos to learn with; None takes the shipped examples.
    """

    def __init__(self, context: Context, photos: Path | None = None) -> None:
        self.context, self.photos = context, photos

    @property
    def collection(self) -> Collection:
        """The collection to which paintings are added.

        Raises:
            InputError: There is none.
        """
        if self.context.offers.collection is None:
            raise InputError("there is no collection to which a painting could be added; start with --collection FILE")
        return self.context.offers.collection

    def painting(self, session: str, path: str | None) -> Iterator[Wait | tuple[str, str | None]]:
        """Yield the painting that was sent, as HTML, and its file; of one that cannot be used nothing is kept."""
        if path is None:
            yield "", None
            return
        folder = self.context.folder
        with self.context.place(session, PAINTING) as place:
            for before in place.waiting():
                yield Wait(None, before)
            try:
                image = read_upload(Path(path), self.context.settings.limits).image
            except ImageError:
                folder.drop(Path(path))
                raise
        folder.claim(Path(path), session)
        small = image if max(image.size) <= SHOWN_EDGE else resize_long_edge(image, SHOWN_EDGE)
        yield figure(small, "seen", "the painting to learn"), path

    def learn(self, session: str, path: str | None, effort: Effort, photo: Photo | None) -> Iterator[Wait | Stage]:
        """Yield what the tab shows while a painting is learned; in the end it is a style of the session.

        Raises:
            InputError: No collection, or a painting that shows nothing to learn.
            ImageError: A painting that cannot be read any more.
            TrainingError: The loss is no longer finite.
        """
        collection = self.collection
        if path is None:
            yield Stage(note("Choose a painting first."))
            return
        folder = self.context.folder.new_folder(session)
        kept = False
        try:
            for step in self._learn(session, Path(path), folder, collection, effort, photo):
                kept = kept or (isinstance(step, Stage) and step.learned is not None)
                yield step
        except Stopped:
            yield Stage(note("Stopped. Nothing was kept."))
        finally:
            if not kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _learn(
        self, session: str, upload: Path, folder: Path, collection: Collection, effort: Effort, photo: Photo | None
    ) -> Iterator[Wait | Stage]:
        context, settings = self.context, self.context.settings
        with context.place(session, LEARNING) as place:
            for before in place.waiting():
                yield Wait(Stage(waiting(before, place.line.seconds_left), running=True), before)
            taken = {*context.offers.taken_names, *(style.name for style in context.own.of(session))}
            painting = folder / f"{free_name(upload.stem, taken)}{upload.suffix.lower()}"
            image = read_upload(upload, settings.limits).image
            shutil.copyfile(upload, painting)

            def work(report: Any, stopped: Any) -> Adapted | None:
                limits, device = settings.limits, settings.device
                return adapt(
                    painting,
                    collection,
                    folder,
                    effort,
                    limits,
                    report=report,
                    stopped=stopped,
                    photos=self.photos,
                    device=device,
                )

            text = "Looking for the nearest painting that the network knows ..."
            yield Stage(progress_bar(None, text), running=True)
            job: Job[Progress, Adapted | None] = Job(work)
            seen: Path | None = None
            sample: str | None = None
            for progress in context.running.follow(session, LEARNING, job):
                if progress.sample not in (None, seen):
                    seen = progress.sample
                    sample = figure(read_image(seen), "sample", "photos painted so far", SAMPLE_CAPTION)
                context.folder.touch(session)
                place.line.seconds_left = progress.seconds_left
                left = duration(progress.seconds_left)
                text = (
                    f"Step {progress.step} of {progress.steps}, about {left} left. Style loss {progress.style_loss:.3f}"
                )
                yield Stage(progress_bar(progress.step / progress.steps, text), sample, running=True)
        if job.result is None:
            raise Stopped("stopped")
        _keep_alone(job.result.path)
        style = OwnStyle(read_style_file(job.result.path), square(image))
        context.own.add(session, style)
        yield self._ready(session, style, job.result, photo, sample)

    def _ready(self, session: str, style: OwnStyle, learned: Adapted, photo: Photo | None, sample: str | None) -> Stage:
        """Return what is shown when a painting was learned."""
        nearest = f", beginning from {style_title(learned.nearest)}" if learned.nearest else ""
        text = (
            f"Learned in {duration(learned.seconds)}{nearest}. Style distance {learned.distance:.3f}; 0 is the "
            f"painting. It is now among the paintings of the first tab, as {self.context.offers.of_own(style).title}."
        )
        return Stage(note(text) + self._kept(style), self._try(session, style, photo) or sample, learned=style.name)

    def _kept(self, style: OwnStyle) -> str:
        """Return the link to the file of a style as HTML."""
        path = style.file.path
        size = f"{path.stat().st_size / 1000:.0f} kB"
        address = f"kept/{self.context.folder.publish(path)}"
        return download_link(address, path.name, f"Download {path.name} ({size})")

    def _try(self, session: str, style: OwnStyle, photo: Photo | None) -> str | None:
        """Return the photo of the first tab, painted with a style of the session's own, as HTML."""
        if photo is None:
            return None
        offers = self.context.offers
        stylizer = offers.stylizer({style.name: 1.0}, offers.mixed_norm, 1.0, self.context.own.of(session))
        before, after = paint_preview(stylizer, photo, SHOWN_EDGE)
        title = offers.of_own(style).title
        return split(before, after, note("The photo of the first tab in your new style.", "caption"), title)

    def bring(self, session: str, path: str | None, photo: Photo | None) -> Stage:
        """Make a style file that was kept a style of the session again; of another file nothing is kept.

        Raises:
            InputError: It was made for another network, or is no style file.
        """
        if path is None:
            return Stage("")
        try:
            style = self._brought(session, Path(path))
        finally:
            self.context.folder.drop(Path(path))
        self.context.own.add(session, style)
        title = self.context.offers.of_own(style).title
        text = note(f"{title} is now among the paintings of the first tab.")
        return Stage(text, self._try(session, style, photo), learned=style.name)

    def _brought(self, session: str, upload: Path) -> OwnStyle:
        context, offers = self.context, self.context.offers
        refusal = f"{upload.name} is no style file that was made on this page or by `stylize train --adapt`"
        if not upload.is_file() or upload.stat().st_size > STYLE_FILE_BYTES:
            raise InputError(refusal)
        folder = context.folder.new_folder(session)
        path = folder / upload.name
        try:
            shutil.copyfile(upload, path)
            file = self._checked(path, refusal)
            own = [style for style in context.own.of(session) if style.name != file.name]
            if file.name in offers.taken_names:
                raise InputError(f"{upload.name} holds a style called '{file.name}', and there is one here already")
            trial = OwnStyle(file, Image.new("RGB", (1, 1)), painted=True)
            stylizer = offers.stylizer({file.name: 1.0}, offers.mixed_norm, 1.0, (*own, trial))
            return OwnStyle(file, offers.painted_example(stylizer), painted=True)
        except StylizeError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _checked(self, path: Path, refusal: str) -> StyleFile:
        try:
            if not is_style_file(path):
                raise InputError(refusal)
            file = read_style_file(path)
        except WeightsError:
            raise InputError(refusal) from None
        try:
            check_fitting(self.collection, [file])
        except InputError:
            raise InputError(
                f"{path.name} was made for another network than the one of this page; it needs that network"
            ) from None
        return file


def _keep_alone(path: Path) -> None:
    """Remove what else is in the folder of a file: what it took to make it."""
    for other in path.parent.iterdir():
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
        elif other != path:
            other.unlink(missing_ok=True)
