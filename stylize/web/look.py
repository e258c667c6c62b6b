"""What the page looks like: quiet, so that pictures are what is seen, and with the fonts of the system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio

SYSTEM_FONTS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONOSPACE_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

HEADER = (
    '<header class="masthead"><h1>stylize</h1>'
    "<p>Photos, repainted. They stay on the computer that serves this page.</p></header>"
)

FAVICON = '<link rel="icon" href="data:,">'


def head() -> str:
    """Return what goes into the head of the page.

    The style sheet is here because Gradio rewrites the selectors of the one that it is given.
    """
    style, script = ((Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        f'<meta name="color-scheme" content="light dark">{FAVICON}<style>\n{style}</style><script>\n{script}</script>'
    )


def make_theme() -> gradio.Theme:
    """Return Gradio's plain theme with the fonts of the system."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="stone",
        spacing_size="sm",
        font=list(SYSTEM_FONTS),
        font_mono=list(MONOSPACE_FONTS),
    )
    # White on the usual 500 is too faint to read well.
    return theme.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        slider_color="*primary_600",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    )
