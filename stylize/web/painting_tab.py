"""The first tab: a photo, a painting, and what comes of them."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stylize.controls import MAXIMUM_STRENGTH
from stylize.web import painting
from stylize.web.context import FULL_SIZE, PAINTING, Context, PaintingTab
from stylize.web.handlers import handler
from stylize.web.jobs import Job
from stylize.web.offers import NORMS, Offer, example_thumbnails
from stylize.web.painting import FullSize, Stopped
from stylize.web.parts import note, progress_bar, split
from stylize.web.uploads import Photo, open_photo

MOST_MIXED = 4
"""Styles that can be mixed at once."""

DEFAULT_PREVIEW = 640

FIRST_PHOTO = "neuschwanstein"
"""Name of the example photo that the page begins with."""

EDGES = (("full size", 0), ("4096 px", 4096), ("2048 px", 2048), ("1024 px", 1024))
"""Sizes of the picture to keep: words, and the long edge in pixels."""


def shares_of(chosen: Sequence[str], mixing: bool, weights: Sequence[float]) -> dict[str, float]:
    """Return how much of each chosen style is wanted.

    Args:
        chosen: Names of styles, the last one chosen at the end.
        mixing: Whether they are mixed; else the last one alone is wanted.
        weights: The weight of each.
    """
    if not mixing or len(chosen) < 2:
        return {chosen[-1]: 1.0} if chosen else {}
    return dict(zip(chosen, map(float, weights), strict=False))


def choose(chosen: Sequence[str], name: str, mixing: bool) -> list[str]:
    """Return the chosen styles after one was clicked: mixing, a click adds it or takes it out again."""
    if not mixing:
        return [name]
    if name in chosen:
        return [one for one in chosen if one != name] or [name]
    return [*chosen, name][-MOST_MIXED:]


def caption(photo: Photo, title: str, norm: str, size: tuple[int, int], seconds: float) -> str:
    """Return the line under the painting."""
    parts = (photo.name.replace("-", " ").capitalize(), title, f"{norm} norm", f"{size[0]} × {size[1]} px")
    words = " · ".join(map(html.escape, parts))
    return f'<p class="caption">{words} · <span>painted in {seconds:.1f} s</span></p>'


class PaintingActions:
    """What happens when something is clicked; without Gradio, so that it can be tested alone."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.offers = context.offers

    def title(self, shares: dict[str, float]) -> str:
        """Return the name of a style or a mixture as people write it."""
        total = sum(shares.values()) or 1.0
        names = [(self.offers.named(name).title, share / total) for name, share in shares.items() if share]
        return names[0][0] if len(names) == 1 else " + ".join(f"{share:.0%} {name}" for name, share in names)

    def open(self, path: str | None) -> Photo | None:
        """Return the photo of an upload."""
        self.context.folder.tidy()
        return None if path is None else open_photo(Path(path), self.context.settings.limits)

    def repaint(
        self,
        photo: Photo | None,
        chosen: Sequence[str],
        mixing: bool,
        norm: str,
        strength: float,
        keep_colours: bool,
        size: float,
        *weights: float,
    ) -> str:
        """Return the photo and its painting as HTML."""
        if photo is None:
            return note("Drop a photo, or take one of the examples.")
        begun = time.perf_counter()
        shares = shares_of(chosen, mixing, weights)
        stylizer = self.offers.stylizer(shares, norm, float(strength))
        before, after = painting.paint_preview(stylizer, photo, int(size), keep_colours)
        seconds = time.perf_counter() - begun
        title = self.title(shares)
        below = caption(photo, title, norm, after.size, seconds)
        return split(before, after, below, f"{photo.name}, painted as {title}")

    def full_size(
        self,
        session: str,
        photo: Photo | None,
        chosen: Sequence[str],
        mixing: bool,
        norm: str,
        strength: float,
        keep_colours: bool,
        size: float,
        edge: int,
        strokes: str,
        *weights: float,
    ) -> Iterator[tuple[str, Path | None]]:
        """Yield how far the picture to keep is, and at the end its file."""
        if photo is None:
            yield note("Drop a photo first, or take one of the examples."), None
            return
        stylizer = self.offers.stylizer(shares_of(chosen, mixing, weights), norm, float(strength))
        wanted = FullSize(int(edge) or None, strokes, int(size), keep_colours)
        folder, limits = self.context.folder.new_folder(), self.context.settings.limits

        def work(report: Any, stopped: Any) -> Path:
            def on_part(done: int, total: int) -> None:
                report((done, total))
                if stopped():
                    raise Stopped("stopped")

            return painting.paint_full_size(stylizer, photo, folder, wanted, limits, on_part=on_part)

        begun = time.perf_counter()
        yield progress_bar(0, 1, f"Painting {photo.width} × {photo.height} px ..."), None
        job: Job[tuple[int, int], Path] = Job(work)
        try:
            for done, total in self.context.running.follow(session, FULL_SIZE, job):
                yield progress_bar(done, total, f"Painting: {done / total:.0%}"), None
        except Stopped:
            yield note("Stopped."), None
            return
        megabytes = job.result.stat().st_size / 1e6
        seconds = time.perf_counter() - begun
        yield note(f"Ready: {job.result.name}, {megabytes:.1f} MB, painted in {seconds:.0f} s."), job.result


def build_painting_tab(context: Context, page: Any) -> PaintingTab:
    """Lay the first tab out, within the page, and say what its controls do."""
    import gradio as gr

    actions, offers = PaintingActions(context), context.offers
    thumbnails = {name: context.shown(image, name) for name, image in offers.thumbnails().items()}
    examples = [(path, context.shown(image, path.stem)) for path, image in example_thumbnails()]
    limits = context.settings.limits

    def pictures(norm: str) -> list[tuple[str, str]]:
        return [(thumbnails[offer.name], offer.title) for offer in offers.with_norm(norm)]

    photo, chosen = gr.State(None), gr.State([offers.first])
    with gr.Row(elem_classes="studio"):
        with gr.Column(scale=3, min_width=320, elem_classes="stage"):
            result = gr.HTML(elem_id="result")
        with gr.Column(scale=2, min_width=320, elem_classes="controls"):
            gr.HTML('<h2 class="heading">Photo</h2>')
            upload = gr.File(
                label="Photo",
                show_label=False,
                file_types=["image"],
                height=84,
                elem_id="upload",
                elem_classes="upload",
            )
            gr.HTML(note(f"Up to {limits.megabytes:g} MB and {limits.megapixels:g} megapixels. Or take an example:"))
            shown_examples = gr.Gallery(
                [(file, path.stem.replace("-", " ").capitalize()) for path, file in examples],
                label="Example photos",
                show_label=False,
                columns=8,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="examples",
                elem_classes="thumbnails",
                visible=bool(examples),
            )
            gr.HTML('<h2 class="heading">Painting</h2>')
            styles = gr.Gallery(
                pictures("instance"),
                selected_index=[offer.name for offer in offers.with_norm("instance")].index(offers.first),
                label="Paintings",
                show_label=False,
                columns=4,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="styles",
                elem_classes="thumbnails",
            )
            mixing = gr.Checkbox(
                False, label=f"Mix up to {MOST_MIXED} paintings", visible=offers.can_mix, elem_id="mixing"
            )
            weights = [
                gr.Slider(0, 1, 1, step=0.05, label=f"Share {number + 1}", visible=False, elem_classes="share")
                for number in range(MOST_MIXED)
            ]
            strength = gr.Slider(
                0,
                MAXIMUM_STRENGTH,
                1,
                step=0.05,
                label="Strength",
                info="0 is the photo, 1 the style",
                elem_id="strength",
            )
            keep = gr.Checkbox(False, label="Keep the colours of the photo", elem_id="keep")
            with gr.Accordion("More", open=False):
                size = gr.Slider(
                    *painting.PREVIEW_SIZES,
                    DEFAULT_PREVIEW,
                    step=64,
                    label="Size at which to paint (px)",
                    info="Smaller is faster, with bolder strokes",
                    elem_id="size",
                )
                norm = gr.Radio(list(NORMS), value="instance", label="Normalisation of the network", elem_id="norm")
            gr.HTML('<h2 class="heading">Keep it</h2>')
            with gr.Row():
                edge = gr.Dropdown(list(EDGES), value=0, label="Size", min_width=140, filterable=False)
                strokes = gr.Dropdown(
                    list(painting.STROKES),
                    value=painting.SAME_STROKES,
                    label="Strokes",
                    min_width=140,
                    filterable=False,
                )
            with gr.Row():
                start = gr.Button("Paint at full size", variant="primary", elem_id="full-size")
                stop = gr.Button("Stop", visible=False, elem_id="stop-full-size")
                download = gr.DownloadButton("Download", visible=False, variant="primary", elem_id="download")
            state = gr.HTML(elem_id="full-size-state")

    controls = [photo, chosen, mixing, norm, strength, keep, size, *weights]
    hidden = {"show_progress": "hidden"}
    live = {
        "fn": handler(actions.repaint),
        "inputs": controls,
        "outputs": result,
        "trigger_mode": "always_last",
        "concurrency_id": PAINTING,
        "concurrency_limit": 1,
        **hidden,
    }

    def sliders(names: Sequence[str], mixed: bool) -> list[Any]:
        several = mixed and len(names) > 1
        return [
            gr.update(visible=several and n < len(names), label=offers.named(names[n]).title if n < len(names) else "")
            for n in range(MOST_MIXED)
        ]

    def clicked(event: Any, names: list[str], mixed: bool, kind: str) -> list[Any]:
        offer: Offer = offers.with_norm(kind)[event.index]
        names = choose(names, offer.name, mixed and offer.mixable)
        return [names, *sliders(names, mixed)]

    def norm_changed(kind: str, names: list[str], mixed: bool) -> list[Any]:
        known = [offer.name for offer in offers.with_norm(kind)]
        names = [name for name in names if name in known] or known[:1]
        mixed = mixed and kind == "instance"
        box = gr.update(value=mixed, interactive=kind == "instance")
        return [
            gr.update(value=pictures(kind), selected_index=known.index(names[-1])),
            names,
            box,
            *sliders(names, mixed),
        ]

    def mix_changed(names: list[str], mixed: bool) -> list[Any]:
        names = (
            [name for name in names if offers.named(name).mixable]
            or [offer.name for offer in offers.all if offer.mixable][:1]
            if mixed
            else names[-1:]
        )
        return [names, *sliders(names, mixed)]

    def example(event: Any) -> Photo | None:
        return actions.open(str(examples[event.index][0]))

    def begin() -> Photo | None:
        first = next((path for path, _ in examples if path.stem == FIRST_PHOTO), examples[0][0] if examples else None)
        return None if first is None else actions.open(str(first))

    def full(request: Any, *values: Any) -> Iterator[list[Any]]:
        for text, path in actions.full_size(request.session_hash, *values):
            running = path is None and "<progress" in text
            yield [
                text,
                gr.update(visible=path is not None, value=None if path is None else str(path)),
                gr.update(visible=running),
            ]

    def stop_full(request: Any) -> None:
        context.running.stop(request.session_hash, FULL_SIZE)

    quick = {"concurrency_id": PAINTING, "concurrency_limit": 1, **hidden}
    upload.upload(handler(actions.open), upload, photo, **quick).success(**live)
    shown_examples.select(handler(example, event=gr.SelectData), None, photo, **quick).success(**live)
    styles.select(
        handler(clicked, event=gr.SelectData), [chosen, mixing, norm], [chosen, *weights], queue=False, **hidden
    ).success(**live)
    mixing.input(handler(mix_changed), [chosen, mixing], [chosen, *weights], queue=False, **hidden).success(**live)
    norm.input(
        handler(norm_changed), [norm, chosen, mixing], [styles, chosen, mixing, *weights], queue=False, **hidden
    ).success(**live)
    for control in (strength, keep, size, *weights):
        control.change(**live)
    begun = page.load(handler(begin), None, photo, **quick).success(**live)
    start.click(
        handler(full, request=gr.Request),
        [photo, chosen, mixing, norm, strength, keep, size, edge, strokes, *weights],
        [state, download, stop],
        concurrency_id=FULL_SIZE,
        concurrency_limit=1,
        **hidden,
    )
    stop.click(handler(stop_full, request=gr.Request), None, None, queue=False, **hidden)
    return PaintingTab(photo, begun)
