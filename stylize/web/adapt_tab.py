"""The third tab, laid out: a painting of one's own becomes a style."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stylize.web.adapt_actions import AdaptActions, Stage
from stylize.web.adapting import CROPS, DEFAULT_CROP, DEFAULT_STEPS, STEPS, Effort
from stylize.web.context import LEARNING, Context, PaintingTab
from stylize.web.handlers import handler, in_turn
from stylize.web.line import Wait
from stylize.web.painting_actions import PaintingActions
from stylize.web.painting_tab import HIDDEN, upload_box
from stylize.web.parts import note
from stylize.web.uploads import Photo

INTRODUCTION = (
    "<p>Give a picture with strokes, lines or shapes: a painting, a drawing, a piece of cloth. The network keeps what "
    "it knows and learns only how to normalise for the new style, which takes minutes. The new style can be chosen "
    "and mixed in the first tab, and its file has some kilobytes and is yours.</p>"
)

NOTHING_YET = '<div class="empty"><p>What it has learned so far will be seen here.</p></div>'


def build_adapt_tab(context: Context, first: PaintingTab, tabs: Any) -> None:
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
    actions, painting_actions, offers = AdaptActions(context), PaintingActions(context), context.offers
    gr.HTML(INTRODUCTION, elem_classes="words")
    path, learned = gr.State(None), gr.State(None)
    with gr.Row(elem_classes="studio"):
        with gr.Column(scale=2, min_width=300, elem_classes="controls"):
            gr.HTML('<h2 class="heading">Painting</h2>')
            upload = upload_box("painting", "Painting")
            seen = gr.HTML(elem_id="painting-seen")
            steps = gr.Slider(
                *STEPS,
                DEFAULT_STEPS,
                step=5,
                label="Steps",
                info="More steps, closer to the painting; the time left is shown after the first ones",
                elem_id="steps",
            )
            with gr.Accordion("More", open=False, elem_id="more-learning"):
                crop = gr.Slider(
                    *CROPS,
                    DEFAULT_CROP,
                    step=32,
                    label="Side of the squares it learns from (px)",
                    info="Smaller is faster and coarser",
                    elem_id="crop",
                )
                gr.HTML(note("A style file that you kept:"))
                brought = upload_box("style-file", "Style file")
            with gr.Row():
                start = gr.Button("Learn this painting", variant="primary", elem_id="learn")
                stop = gr.Button("Stop", visible=False, elem_id="stop-learning")
            state = gr.HTML(elem_id="learning-state")
            use = gr.Button("Paint with it", visible=False, elem_id="use-style")
            how = gr.HTML(
                "<p class='note'>Or anywhere else: <code>stylize apply photo.jpg --style FILE.safetensors</code></p>",
                visible=False,
            )
        with gr.Column(scale=3, min_width=300, elem_classes="stage"):
            picture = gr.HTML(NOTHING_YET, elem_id="learned")

    shown = [state, picture, stop, start, use, how, learned]

    def updates(stage: Stage) -> list[Any]:
        new = stage.learned is not None
        return [
            stage.text,
            gr.skip() if stage.picture is None else stage.picture,
            gr.update(visible=stage.running),
            gr.update(interactive=not stage.running),
            gr.update(visible=new),
            gr.update(visible=new),
            stage.learned,
        ]

    def show_painting(request: Any, file: str | None) -> Iterator[Any]:
        for step in actions.painting(request.session_hash, file):
            yield step if isinstance(step, Wait) else [*step, None]

    def learn(request: Any, file: str | None, many: float, side: float, photo: Photo | None) -> Iterator[Any]:
        for stage in actions.learn(request.session_hash, file, Effort(int(many), int(side)), photo):
            yield replace(stage, shown=updates(stage.shown)) if isinstance(stage, Wait) else updates(stage)

    def bring(request: Any, file: str | None, photo: Photo | None) -> list[Any]:
        return [*updates(actions.bring(request.session_hash, file, photo)), None]

    def stop_learning(request: Any) -> None:
        context.running.stop(request.session_hash, LEARNING)

    def show_thumbnails(request: Any, chosen: list[str], norm: str) -> dict[str, Any]:
        return painting_actions.shown(request.session_hash, chosen, norm)

    def paint_with_it(request: Any, name: str | None, chosen: list[str]) -> list[Any]:
        names = [name] if name else chosen
        values = painting_actions.shown(request.session_hash, names, offers.mixed_norm)
        hidden = [gr.update(visible=False) for _ in first.shares]
        box = gr.update(value=False, interactive=True)
        return [gr.update(selected="paint"), names, values, box, offers.mixed_norm, *hidden]

    asked = gr.Request
    opened = upload.upload(
        in_turn(show_painting, request=asked), upload, [seen, path, upload], concurrency_limit=None, **HIDDEN
    )
    opened.failure(lambda: None, None, upload, queue=False, **HIDDEN)
    began = start.click(
        in_turn(learn, request=asked),
        [path, steps, crop, first.photo],
        shown,
        concurrency_limit=None,
        **HIDDEN,
    )
    began.failure(
        lambda: [gr.update(visible=False), gr.update(interactive=True), ""], None, [stop, start, state], queue=False
    )
    added = brought.upload(
        handler(bring, request=asked), [brought, first.photo], [*shown, brought], queue=False, **HIDDEN
    )
    added.failure(lambda: None, None, brought, queue=False, **HIDDEN)
    for done in (began, added):
        done.success(
            handler(show_thumbnails, request=asked), [first.chosen, first.norm], first.styles, queue=False, **HIDDEN
        )
    stop.click(handler(stop_learning, request=asked), None, None, queue=False, **HIDDEN)
    use.click(
        handler(paint_with_it, request=asked),
        [learned, first.chosen],
        [tabs, first.chosen, first.styles, first.mixing, first.norm, *first.shares],
        queue=False,
        **HIDDEN,
    ).success(**first.live)
