"""The second tab: the same photo, changed, painted with instance and with batch norm."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stylize.web.context import PAINTING, Context, PaintingTab
from stylize.web.handlers import handler, in_turn
from stylize.web.line import Wait
from stylize.web.norm_lesson import (
    ALONE,
    LESSON_EDGE,
    MATES_CHOICES,
    SCENES,
    Change,
    Distances,
    finding,
    large_enough,
    measured_finding,
)
from stylize.web.offers import style_title
from stylize.web.parts import figure, measure, note, waiting
from stylize.web.uploads import Photo

TITLES = {"instance": "Instance norm", "batch": "Batch norm"}

SEEN = "<strong>What the networks see</strong><span>{}</span>"

INTRODUCTION = (
    "<p>Move a slider, as fog or a camera would. A network with <b>instance norm</b> measures the contrast and the "
    "brightness of each photo and takes them out. One with <b>batch norm</b> takes out what was usual in the photos it "
    "was trained on; in training, what the photos of a batch have in common. The bar is the style distance: empty is "
    "the painting of the artist, full is the photo, unpainted. The mark is where it stood before the change.</p>"
)


class NormActions:
    """What happens when a slider moves; without Gradio."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def compare(
        self, session: str, photo: Photo | None, style: str, change: Change
    ) -> Iterator[Wait | tuple[str, str, str, str]]:
        """Yield as HTML the changed photo, both paintings with what stands under each, and a sentence.

        The numbers take longer than the paintings, and come with the second answer.
        """
        if photo is None:
            yield "", "", "", note("Choose a photo in the first tab.")
            return
        lesson = self.context.lesson
        with self.context.place(session, PAINTING) as place:
            for before in place.waiting():
                yield Wait(waiting(before), before)
            small = large_enough(photo.preview(LESSON_EDGE))
            painted = lesson.paint(small, style, change)
            pictures = painted.pictures()
            moved = painted.moved if change != Change() else dict.fromkeys(lesson.norms)
            seen = figure(
                pictures["photo"], "lesson", "the changed photo", SEEN.format(change.words or "the photo as it is")
            )
            said = finding(change, painted)

            def shown(distances: Distances | None) -> Iterator[str]:
                for norm in lesson.norms:
                    known = distances and (distances.now[norm], distances.before[norm], distances.photo)
                    below = measure(TITLES[norm], known, moved[norm])
                    yield figure(pictures[norm], f"lesson {norm}", f"painted with {norm} norm", below)

            yield (seen, *shown(None), note(said, "finding"))
            distances = lesson.measure(small, style, painted)
            yield (seen, *shown(distances), note(f"{said} {measured_finding(change, distances)}".strip(), "finding"))


def build_norm_tab(context: Context, tab: Any, first: PaintingTab) -> None:
    """Lay the second tab out, and say what its controls do."""
    import gradio as gr

    lesson, actions = context.lesson, NormActions(context)
    if not lesson.styles:
        gr.HTML(note("This tab needs a style that is shipped with instance and with batch norm, and there is none."))
        return
    gr.HTML(INTRODUCTION, elem_classes="words")
    with gr.Row(elem_classes="lesson-row"):
        places = {}
        for name in ("photo", *lesson.norms):
            with gr.Column(min_width=120, elem_classes=f"of-{name}"):
                places[name] = gr.HTML(elem_id=f"lesson-{name}")
    said = gr.HTML(elem_id="finding")
    with gr.Row(elem_classes="scenes"):
        reset = gr.Button("The photo as it is", elem_id="reset", size="sm")
        scenes = {name: gr.Button(name, size="sm") for name in SCENES}
    with gr.Row():
        with gr.Column(min_width=280):
            contrast = gr.Slider(0.1, 2, 1, step=0.05, label="Contrast", info="1 is the photo", elem_id="contrast")
            brightness = gr.Slider(
                -0.5, 0.5, 0, step=0.02, label="Brightness", info="0 is the photo", elem_id="brightness"
            )
            gamma = gr.Slider(0.3, 3, 1, step=0.05, label="Gamma", info="1 is the photo; not linear", elem_id="gamma")
        with gr.Column(min_width=280):
            mates = gr.Radio(list(MATES_CHOICES), value=ALONE, label="The photo in its batch", elem_id="mates")
            style = gr.Radio(
                [(style_title(name), name) for name in lesson.styles],
                value=lesson.styles[-1] if context.offers.first not in lesson.styles else context.offers.first,
                label="Painting",
                elem_id="lesson-style",
            )
    controls = [contrast, brightness, gamma, mates]

    def compare(request: Any, photo: Photo | None, name: str, *values: Any) -> Iterator[Any]:
        *numbers, beside = values
        for step in actions.compare(request.session_hash, photo, name, Change(*map(float, numbers), beside)):
            if isinstance(step, Wait):
                yield replace(step, shown=[gr.skip()] * len(places) + [step.shown])
            else:
                yield list(step)

    def values_of(change: Change) -> tuple[float, float, float, str]:
        return change.contrast, change.brightness, change.gamma, change.mates

    live = {
        "fn": in_turn(compare, request=gr.Request),
        "inputs": [first.photo, style, *controls],
        "outputs": [*places.values(), said],
        "trigger_mode": "always_last",
        "concurrency_limit": None,
        "show_progress": "hidden",
    }
    for control in (*controls, style):
        control.input(**live)
    tab.select(**live)
    for button, change in ((reset, Change()), *((button, SCENES[name]) for name, button in scenes.items())):
        button.click(
            handler(functools.partial(values_of, change)), None, controls, queue=False, show_progress="hidden"
        ).success(**live)
