"""The page: a heading and three tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stylize.web.adapt_tab import build_adapt_tab
from stylize.web.context import KINDS, Context
from stylize.web.handlers import handler
from stylize.web.jobs import Running
from stylize.web.listeners import Listeners
from stylize.web.look import HEADER
from stylize.web.norm_lesson import NormLesson
from stylize.web.norm_tab import build_norm_tab
from stylize.web.offers import Offers
from stylize.web.painting_tab import build_painting_tab
from stylize.web.private_folder import PrivateFolder
from stylize.web.settings import Settings

if TYPE_CHECKING:
    import gradio

TITLE = "stylize"

SPARE_REQUESTS = 40
"""Requests that Gradio takes on beyond those that can stand in the lines, so that it can refuse them."""

MOST_UNSEEN = 400
"""Most requests that Gradio holds beyond those that it has taken on."""

MOST_SESSIONS = 200
"""Most sessions whose photo is remembered; of more, those that did nothing for longest are forgotten. Gradio forgets
none but an hour after it has left, and a photo takes some megabytes."""


def build_page(
    settings: Settings, folder: PrivateFolder, running: Running, listeners: Listeners | None = None
) -> gradio.Blocks:
    """Return the page.

    Args:
        settings: How it paints.
        folder: Where files go.
        running: Knows what runs, so that it can be stopped from outside.
        listeners: Knows who listens to the answers; None: that does not matter.

    Raises:
        StylizeError: There is nothing to paint with.
    """
    import gradio as gr

    offers = Offers(settings)
    lesson = NormLesson(offers.with_both_norms(), offers.alone, settings.device)
    context = Context(settings, folder, offers, lesson, running, listeners=listeners)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        # Gradio takes on 40 requests at once unless told otherwise: forty who wait for one kind of work would keep
        # everybody from every other, and nobody would be told that a line is full.
        page.max_threads = len(KINDS) * settings.waiting + SPARE_REQUESTS
        page.state_session_capacity = MOST_SESSIONS
        gr.HTML(HEADER)
        with gr.Tabs(selected="paint") as tabs:
            with gr.Tab("Paint", id="paint"):
                first = build_painting_tab(context, page)
            with gr.Tab("Why instance norm", id="norms") as norms:
                build_norm_tab(context, norms, first)
            with gr.Tab("New style", id="adapt"):
                build_adapt_tab(context, first, tabs)

        def left(request: Any) -> None:
            context.left(request.session_hash)

        page.unload(handler(left, request=gr.Request))
    # What is queued can be asked for through the queue alone. Who waits for whom is decided by the context's lines.
    page.queue(max_size=MOST_UNSEEN, default_concurrency_limit=None, api_open=False)
    return page
