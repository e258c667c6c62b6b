"""The second tab: the same photo, changed, painted with instance and with batch norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stylize.web.context import PAINTING, Context, PaintingTab
from stylize.web.handlers import handler
from stylize.web.norm_lesson import ALONE, LESSON_EDGE, MATES_CHOICES, Change, finding
from stylize.web.parts import figure, measure, note
from stylize.web.uploads import Photo

TITLES = {"instance": "Instance norm", "batch": "Batch norm"}

SEEN = "<strong>What the networks see</strong><span>the photo, changed</span>"

INTRODUCTION = (
    "<p>Move a slider, as a cloud or a camera would. A network with <b>instance norm</b> measures contrast and "
    "brightness in each photo and takes them out. One with <b>batch norm</b> takes out what was usual in its training "
    "photos instead, or, in training, what the photos of its batch have in common. The style distance says how far a "
    "painting is from the style of the artist: 0 is the same.</p>"
)


class NormActions:
    """What happens when a slider moves; without Gradio."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def compare(
        self, photo: Photo | None, style: str, contrast: float, brightness: float, gamma: float, mates: str
    ) -> Iterator[tuple[str, str, str, str]]:
        """Yield as HTML the changed photo, both paintings with what stands under each, and a sentence.

        The numbers take longer than the paintings, and come with the second answer.
        """
        if photo is None:
            yield "", "", "", note("Choose a photo in the first tab.")
            return
        lesson = self.context.lesson
        change = Change(float(contrast), float(brightness), float(gamma), mates)
        painted = lesson.paint(photo.preview(LESSON_EDGE), style, change)
        pictures = painted.pictures()
        moved = painted.moved if change != Change() else dict.fromkeys(lesson.norms)
        seen = figure(pictures["photo"], "lesson", "the changed photo", SEEN)
        said = note(finding(change, painted), "finding")

        def paintings(distances: dict[str, float | None]) -> list[str]:
            return [
                figure(
                    pictures[norm],
                    "lesson",
                    f"painted with {norm} norm",
                    measure(TITLES[norm], distances[norm], moved[norm]),
                )
                for norm in lesson.norms
            ]

        yield (seen, *paintings(dict.fromkeys(lesson.norms)), said)
        yield (seen, *paintings(lesson.distances(style, painted.paintings)), said)


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
            with gr.Column(min_width=120):
                places[name] = gr.HTML(elem_id=f"lesson-{name}")
    said = gr.HTML(elem_id="finding")
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
                [(name.replace("-", " ").capitalize(), name) for name in lesson.styles],
                value=lesson.styles[-1] if context.offers.first not in lesson.styles else context.offers.first,
                label="Painting",
            )
            reset = gr.Button("Back to the photo as it is", elem_id="reset")
    live = {
        "fn": handler(actions.compare),
        "inputs": [first.photo, style, contrast, brightness, gamma, mates],
        "outputs": [*places.values(), said],
        "trigger_mode": "always_last",
        "concurrency_id": PAINTING,
        "concurrency_limit": 1,
        "show_progress": "hidden",
    }
    for control in (contrast, brightness, gamma):
        control.change(**live)
    for control in (mates, style):
        control.input(**live)
    tab.select(**live)
    reset.click(
        lambda: (1, 0, 1, ALONE), None, [contrast, brightness, gamma, mates], queue=False, show_progress="hidden"
    ).success(**live)
