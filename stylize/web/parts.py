"""Small pieces of HTML that the tabs show. Pictures are in the page itself, so that they change without a flicker."""

from __future__ import annotations

import base64
import html
import io
import math

from PIL import Image

QUALITY = 92
"""JPEG quality of what is shown; what is kept is written by :func:`stylize.images.write_image`."""


def picture_data(image: Image.Image) -> str:
    """Return a picture as a data address."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def split(before: Image.Image, after: Image.Image, caption: str, name: str) -> str:
    """Return a photo and its painting, of one size, in one frame, parted by a line that mouse, finger and keys move.

    Args:
        before: The photo.
        after: The painting.
        caption: HTML below them.
        name: What the painting is, for those who cannot see it.
    """
    width, height = after.size
    shown = html.escape(name, quote=True)
    return (
        f'<figure class="painting"><div class="split" style="--ratio:{width / height:.4f}">'
        f'<img class="after" src="{picture_data(after)}" width="{width}" height="{height}" alt="{shown}" '
        'decoding="sync" onload="stylizeSplitBegin(this)">'
        f'<img class="before" src="{picture_data(before)}" width="{width}" height="{height}" alt="the photo" '
        'decoding="sync">'
        '<span class="knob" aria-hidden="true">↔</span><span class="tag left" aria-hidden="true">photo</span>'
        '<span class="tag right" aria-hidden="true">painting</span>'
        '<input type="range" min="0" max="100" value="50" aria-label="Photo on the left, painting on the right" '
        'oninput="stylizeSplit(this)"></div>'
        f'<figcaption>{caption}<button type="button" onclick="stylizeFull(this)">fill the screen</button></figcaption>'
        "</figure>"
    )


def figure(image: Image.Image, kind: str, alt: str, caption: str = "") -> str:
    """Return a picture with HTML below it."""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure class="{kind}"><img src="{picture_data(image)}" width="{image.width}" height="{image.height}" '
        f'alt="{html.escape(alt, quote=True)}" decoding="sync">{below}</figure>'
    )


def progress_bar(done: float, total: float, text: str) -> str:
    """Return a bar with a line of text, read aloud by screen readers."""
    share = 100 * done / total if total else 0
    return (
        f'<div class="job" role="status"><progress max="100" value="{share:.1f}" aria-label="progress"></progress>'
        f"<span>{html.escape(text)}</span></div>"
    )


def note(text: str, kind: str = "note") -> str:
    """Return a line of text."""
    return f'<p class="{kind}" role="status">{html.escape(text)}</p>'


def duration(seconds: float) -> str:
    """Return a time as people say it: ``40 s``, ``3 min``."""
    if not math.isfinite(seconds):
        return "some time"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def measure(title: str, value: float | None, moved: float | None) -> str:
    """Return what stands under a painting: its style distance, and how far it moved.

    Args:
        title: Name of the norm.
        value: Style distance; None while it is measured.
        moved: Mean change of the painting, of 1; None where there is none to tell.
    """
    number = "…" if value is None else f"{value:.3f}"
    change = "as it is" if moved is None else f"changed by <b>{255 * moved:.1f}</b> of 255"
    return f"<strong>{html.escape(title)}</strong><span>style distance <b>{number}</b></span><span>{change}</span>"
