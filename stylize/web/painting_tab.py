"""The first tab, laid out: a photo, a painting, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from stylize.controls import MAXIMUM_STRENGTH
from stylize.errors import InputError
from stylize.web import painting
from stylize.web.context import FULL_SIZE, Context, PaintingTab
from stylize.web.handlers import handler, in_turn
from stylize.web.line import Wait
from stylize.web.offers import EXAMPLE_PHOTO, NORMS, example_thumbnails
from stylize.web.painting_actions import DEFAULT_PREVIEW, MOST_MIXED, Look, PaintingActions
from stylize.web.parts import note
from stylize.web.thumbnails import ON_LOAD, TEMPLATE, shown, thumbnail
from stylize.web.uploads import Photo

EDGES = (("full size", 0), ("4096 px", 4096), ("2048 px", 2048), ("1024 px", 1024))
"""Sizes of the picture to keep: words, and the long edge in pixels."""

HIDDEN = {"show_progress": "hidden"}


def upload_box(elem_id: str, label: str) -> Any:
    """Return a place where a file is dropped or chosen.

    Any kind is let in: what reads the file says what is wrong with it. Gradio's own check, by the suffix, would write a
    traceback to the terminal of the server.
    """
    import gradio as gr

    return gr.File(
        label=label,
        show_label=False,
        height=84,
        elem_id=elem_id,
        elem_classes="upload",
    )


def clicked_name(event: Any) -> str:
    """Return the name that a click on a thumbnail brings.

    Raises:
        InputError: It brings none, as a click on the page never does.
    """
    name = getattr(event, "name", None)
    if not isinstance(name, str):
        raise InputError("a click without a name given; load the page again")
    return name


def build_painting_tab(context: Context, page: Any) -> PaintingTab:
    """Lay the first tab out, within the page, and say what its controls do."""
    import gradio as gr

    actions, offers, limits = PaintingActions(context), context.offers, context.settings.limits
    examples = [
        thumbnail(path.stem, path.stem.replace("-", " ").capitalize(), image, titled=False)
        for path, image in example_thumbnails()
    ]
    first = next((one["name"] for one in examples if one["name"] == EXAMPLE_PHOTO), None) or next(
        (one["name"] for one in examples), None
    )
    norms = [norm for norm in NORMS if offers.with_norm(norm)]
    norm_first = next(norm for norm in norms if norm in offers.named(offers.first).norms)
    photo, chosen = gr.State(None), gr.State([offers.first])
    with gr.Row(elem_classes="studio"):
        with gr.Column(scale=3, min_width=320, elem_classes=["stage", "first"]):
            result = gr.HTML(note("Painting ..."), elem_id="result")
            place = gr.HTML(elem_id="place")
            with gr.Column(elem_classes="keep-it"):
                gr.HTML('<h2 class="heading">Keep it</h2>')
                with gr.Row():
                    edge = gr.Dropdown(
                        list(EDGES), value=0, label="Size", min_width=170, filterable=False, elem_id="edge"
                    )
                    strokes = gr.Dropdown(
                        list(painting.STROKES),
                        value=painting.SAME_STROKES,
                        label="Strokes",
                        min_width=170,
                        filterable=False,
                        elem_id="strokes",
                    )
                with gr.Row():
                    start = gr.Button("Paint at full size", variant="primary", elem_id="full-size")
                    stop = gr.Button("Stop", visible=False, elem_id="stop-full-size")
                state = gr.HTML(elem_id="full-size-state")
        with gr.Column(scale=2, min_width=320, elem_classes="controls"):
            gr.HTML('<h2 class="heading">Photo</h2>')
            upload = upload_box("upload", "Photo")
            gr.HTML(note(f"Up to {limits.megabytes:g} MB and {limits.megapixels:g} megapixels. Or take an example:"))
            shown_examples = gr.HTML(
                shown([]),
                label="Example photos",
                html_template=TEMPLATE,
                js_on_load=ON_LOAD,
                apply_default_css=False,
                shipped=[{**one, "norms": [""]} for one in examples],
                visible=bool(examples),
                elem_id="examples",
            )
            gr.HTML('<h2 class="heading">Painting</h2>')
            styles = gr.HTML(
                shown([offers.first], norm_first),
                label="Paintings",
                html_template=TEMPLATE,
                js_on_load=ON_LOAD,
                apply_default_css=False,
                shipped=actions.thumbnails(),
                elem_id="styles",
            )
            mixing = gr.Checkbox(
                False,
                label=f"Mix up to {MOST_MIXED} paintings",
                visible=offers.collection is not None,
                interactive=norm_first == offers.mixed_norm,
                elem_id="mixing",
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
            with gr.Accordion("More", open=False, elem_id="more"):
                size = gr.Slider(
                    *painting.PREVIEW_SIZES,
                    DEFAULT_PREVIEW,
                    step=64,
                    label="Size at which to paint (px)",
                    info="Smaller is faster, with bolder strokes",
                    elem_id="size",
                )
                norm = gr.Radio(norms, value=norm_first, label="Normalisation of the network", elem_id="norm")

    def look_of(values: Sequence[Any]) -> Look:
        names, mixed, kind, strong, kept, edge_px, *shares = values
        return Look(names, mixed, kind, float(strong), kept, float(edge_px), [float(share) for share in shares])

    def repaint(request: Any, seen: Photo | None, *values: Any) -> Iterator[Any]:
        for step in actions.repaint(request.session_hash, seen, look_of(values)):
            yield replace(step, shown=[gr.skip(), step.shown]) if isinstance(step, Wait) else [step, ""]

    def open_upload(request: Any, path: str | None) -> Iterator[Any]:
        for step in actions.open(request.session_hash, path):
            yield step if isinstance(step, Wait) else [step, None]

    def sliders(request: Any, names: Sequence[str], mixed: bool) -> list[Any]:
        own, several = context.own.of(request.session_hash), mixed and len(names) > 1
        titles = [offers.named(name, own).title for name in names[:MOST_MIXED]]
        titles += [""] * (MOST_MIXED - len(titles))
        return [gr.update(visible=several and bool(title), label=title) for title in titles]

    def clicked(request: Any, event: Any, names: list[str], mixed: bool, kind: str) -> list[Any]:
        names = actions.clicked(request.session_hash, clicked_name(event), names, mixed, kind)
        return [names, actions.shown(request.session_hash, names, kind), *sliders(request, names, mixed)]

    def norm_changed(request: Any, kind: str, names: list[str], mixed: bool) -> list[Any]:
        names, mixed = actions.with_norm(request.session_hash, names, mixed, kind)
        box = gr.update(value=mixed, interactive=kind == offers.mixed_norm)
        return [names, actions.shown(request.session_hash, names, kind), box, *sliders(request, names, mixed)]

    def mix_changed(request: Any, names: list[str], mixed: bool, kind: str) -> list[Any]:
        names = actions.with_mixing(request.session_hash, names, mixed)
        return [names, actions.shown(request.session_hash, names, kind), *sliders(request, names, mixed)]

    def full(request: Any, seen: Photo | None, size_px: int, bold: str, *values: Any) -> Iterator[Any]:
        for step in actions.full_size(request.session_hash, seen, look_of(values), size_px, bold):
            text, going = step.shown if isinstance(step, Wait) else step
            update = [text, gr.update(visible=going), gr.update(interactive=not going)]
            yield replace(step, shown=update) if isinstance(step, Wait) else update

    def stop_full(request: Any) -> None:
        context.running.stop(request.session_hash, FULL_SIZE)

    asked = gr.Request
    look = [chosen, mixing, norm, strength, keep, size, *weights]
    live = {
        "fn": in_turn(repaint, request=asked),
        "inputs": [photo, *look],
        "outputs": [result, place],
        "trigger_mode": "always_last",
        "concurrency_limit": None,
        **HIDDEN,
    }
    opened = upload.upload(
        in_turn(open_upload, request=asked), upload, [photo, upload], concurrency_limit=None, **HIDDEN
    )
    opened.success(**live)
    opened.failure(lambda: None, None, upload, queue=False, **HIDDEN)
    shown_examples.select(
        handler(lambda event: actions.example(clicked_name(event)), event=gr.EventData),
        None,
        photo,
        queue=False,
        **HIDDEN,
    ).success(**live)
    styles.select(
        handler(clicked, request=asked, event=gr.EventData),
        [chosen, mixing, norm],
        [chosen, styles, *weights],
        queue=False,
        **HIDDEN,
    ).success(**live)
    mixing.input(
        handler(mix_changed, request=asked), [chosen, mixing, norm], [chosen, styles, *weights], queue=False, **HIDDEN
    ).success(**live)
    norm.input(
        handler(norm_changed, request=asked),
        [norm, chosen, mixing],
        [chosen, styles, mixing, *weights],
        queue=False,
        **HIDDEN,
    ).success(**live)
    for control in (strength, keep, size, *weights):
        control.input(**live)
    begun = page.load(
        handler(lambda: None if first is None else actions.example(first)), None, photo, queue=False, **HIDDEN
    ).success(**live)
    start.click(
        in_turn(full, request=asked),
        [photo, edge, strokes, *look],
        [state, stop, start],
        trigger_mode="once",
        concurrency_limit=None,
        **HIDDEN,
    ).failure(
        lambda: [gr.update(visible=False), gr.update(interactive=True), ""], None, [stop, start, state], queue=False
    )
    stop.click(handler(stop_full, request=asked), None, None, queue=False, **HIDDEN)
    return PaintingTab(photo, chosen, mixing, norm, styles, weights, live, begun)
