"""The third tab: a painting of one's own becomes a style."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylize.errors import InputError
from stylize.images import read_image, resize_long_edge
from stylize.stylizer import load
from stylize.web.adapting import EFFORTS, Adapted, Progress, adapt
from stylize.web.context import LEARNING, Context, PaintingTab
from stylize.web.handlers import handler
from stylize.web.jobs import Job
from stylize.web.painting import paint_preview
from stylize.web.parts import duration, figure, note, progress_bar, split
from stylize.web.uploads import Photo, read_upload

SAMPLE_CAPTION = "Photos that it does not learn from, painted so far"

SHOWN_EDGE = 512
"""Long edge of the uploaded painting, and of the photo painted with it, in pixels."""

WORDS = {"quick look": "quick look", "good": "good (some minutes)", "thorough": "thorough (longer)"}

INTRODUCTION = (
    "<p>Give a picture with strokes, lines or shapes: a painting, a drawing, a piece of cloth. The network keeps what "
    "it knows and learns only how to normalise for the new style, which takes minutes. The file it makes "
    "has a few kilobytes and is yours.</p>"
)


@dataclass(frozen=True)
class Stage:
    """What the tab shows.

    Attributes:
        text: HTML: how far it is.
        picture: HTML: the last sample, or at the end a photo painted in the new style; None leaves what is there.
        file: The style file, at the end.
        running: Whether it goes on.
    """

    text: str
    picture: str | None = None
    file: str | None = None
    running: bool = False


class AdaptActions:
    """What happens when a button is clicked; without Gradio."""

    def __init__(self, context: Context, photos: Path | None = None) -> None:
        self.context, self.photos = context, photos

    def painting(self, path: str | None) -> str:
        """Return the painting that was sent, as HTML."""
        if path is None:
            return ""
        image = read_upload(Path(path), self.context.settings.limits).image
        small = image if max(image.size) <= SHOWN_EDGE else resize_long_edge(image, SHOWN_EDGE)
        return figure(small, "seen", "the painting to learn")

    def learn(self, session: str, path: str | None, effort: str, photo: Photo | None) -> Iterator[Stage]:
        """Yield what the tab shows while a painting is learned."""
        collection = self.context.offers.collection
        if collection is None:
            raise InputError("there is no collection to which a painting could be added; start with --collection FILE")
        if path is None:
            yield Stage(note("Choose a painting first."))
            return
        painting, settings = Path(path), self.context.settings
        folder = self.context.folder.new_folder()

        def work(report: Any, stopped: Any) -> Adapted | None:
            return adapt(
                painting,
                collection,
                folder,
                effort,
                settings.limits,
                report=report,
                stopped=stopped,
                photos=self.photos,
                device=settings.device,
            )

        yield Stage(progress_bar(0, 1, "Looking for the nearest painting that the network knows ..."), running=True)
        job: Job[Progress, Adapted | None] = Job(work)
        shown: Path | None = None
        sample: str | None = None
        for progress in self.context.running.follow(session, LEARNING, job):
            if progress.sample not in (None, shown):
                shown = progress.sample
                sample = figure(read_image(shown), "sample", "photos painted so far", SAMPLE_CAPTION)
            left = duration(progress.seconds_left)
            text = f"Step {progress.step} of {progress.steps}, about {left} left. Style loss {progress.style_loss:.3f}"
            yield Stage(progress_bar(progress.step, progress.steps, text), sample, running=True)
        learned = job.result
        if learned is None:
            yield Stage(note("Stopped. Nothing was kept."), sample)
            return
        nearest = f", beginning from {learned.nearest}" if learned.nearest else ""
        distance = f"Style distance {learned.distance:.3f}; 0 is the painting."
        text = f"Learned in {duration(learned.seconds)}{nearest}. {distance}"
        yield Stage(note(text), self._try(learned.path, photo) or sample, str(learned.path))

    def _try(self, style: Path, photo: Photo | None) -> str | None:
        """Return the photo of the first tab, painted with the new style, as HTML."""
        if photo is None:
            return None
        settings = self.context.settings
        stylizer = load(style, collection=self.context.offers.collection, device=settings.device)
        before, after = paint_preview(stylizer, photo, SHOWN_EDGE)
        return split(before, after, note("The photo of the first tab in your new style.", "caption"), stylizer.style)


def build_adapt_tab(context: Context, first: PaintingTab) -> None:
    """Lay the third tab out, and say what its controls do."""
    import gradio as gr

    if context.offers.collection is None:
        gr.HTML(
            note(
                "This tab adds a painting to a network of several styles, and none is here. "
                "Start the page with --collection FILE."
            ),
            elem_id="no-collection",
        )
        return
    actions = AdaptActions(context)
    gr.HTML(INTRODUCTION, elem_classes="words")
    with gr.Row():
        with gr.Column(min_width=300):
            upload = gr.File(
                label="Painting",
                show_label=False,
                file_types=["image"],
                height=84,
                elem_id="painting",
                elem_classes="upload",
            )
            seen = gr.HTML(elem_id="painting-seen")
            effort = gr.Radio(
                [(WORDS[name], name) for name in EFFORTS], value="good", label="How long to learn", elem_id="effort"
            )
            with gr.Row():
                start = gr.Button("Learn this painting", variant="primary", elem_id="learn")
                stop = gr.Button("Stop", visible=False, elem_id="stop-learning")
            state = gr.HTML(elem_id="learning-state")
            download = gr.DownloadButton(
                "Download the style file", visible=False, variant="primary", elem_id="download-style"
            )
            how = gr.HTML(
                "<p class='note'>Paint with it anywhere: <code>stylize apply photo.jpg --style FILE.safetensors"
                "</code></p>",
                visible=False,
            )
        with gr.Column(min_width=300):
            picture = gr.HTML(note("What it has learned so far will be seen here."), elem_id="learned")

    def learn(request: Any, path: str | None, kind: str, photo: Photo | None) -> Iterator[list[Any]]:
        for stage in actions.learn(request.session_hash, path, kind, photo):
            yield [
                stage.text,
                gr.update() if stage.picture is None else stage.picture,
                gr.update(value=stage.file, visible=stage.file is not None),
                gr.update(visible=stage.file is not None),
                gr.update(visible=stage.running),
                gr.update(interactive=not stage.running),
            ]

    def stop_learning(request: Any) -> None:
        context.running.stop(request.session_hash, LEARNING)

    upload.change(handler(actions.painting), upload, seen, queue=False, show_progress="hidden")
    start.click(
        handler(learn, request=gr.Request),
        [upload, effort, first.photo],
        [state, picture, download, how, stop, start],
        concurrency_id=LEARNING,
        concurrency_limit=1,
        show_progress="hidden",
    ).failure(
        lambda: [gr.update(visible=False), gr.update(interactive=True), ""], None, [stop, start, state], queue=False
    )
    stop.click(handler(stop_learning, request=gr.Request), None, None, queue=False, show_progress="hidden")
