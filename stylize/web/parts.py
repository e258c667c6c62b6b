"""Small pieces of HTML that the tabs show. Pictures are in the page itself, so that they change without a flicker."""

from __future__ import annotations

import base64
import html
import io
import math

from PIL import Image

QUALITY = 92
"""JPEG quality of what is shown; what is kept is written by :func:`stylize.images.write_image`."""


def picture_data(image: Image.Image, quality: int = QUALITY, *, full_colour: bool = True) -> str:
    """Return a picture as a data address.

    Args:
        image: The picture.
        quality: JPEG quality.
        full_colour: Whether colours are kept as fine as light and dark.
    """
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality, subsampling=0 if full_colour else 2)
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
        'decoding="sync">'
        f'<img class="before" src="{picture_data(before)}" width="{width}" height="{height}" alt="the photo" '
        'decoding="sync">'
        '<span class="knob" aria-hidden="true">↔</span><span class="tag left" aria-hidden="true">photo</span>'
        '<span class="tag right" aria-hidden="true">painting</span>'
        '<input type="range" min="0" max="100" value="50" aria-label="Photo on the left, painting on the right" '
        'oninput="stylizeSplit(this)" onfocus="stylizeSplitBegin(this)" onpointerenter="stylizeSplitBegin(this)"></div>'
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


def progress_bar(share: float | None, text: str) -> str:
    """Return a bar with a line of text, read aloud by screen readers.

    Args:
        share: How much is done, of 1; None where that is not known.
        text: The line.
    """
    value = "" if share is None else f' value="{100 * share:.1f}"'
    return (
        f'<div class="job" role="status"><progress max="100"{value} aria-label="progress"></progress>'
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


def waiting(before: int, seconds: float | None = None) -> str:
    """Return the place in a line as HTML.

    Args:
        before: How many are before.
        seconds: What the first of them still needs, where it is known.
    """
    text = "One user is before you" if before == 1 else f"{before} users are before you"
    if seconds is not None:
        text += f"; the first is done in about {duration(seconds)}"
    return note(f"{text}. Yours begins by itself.", "note place")


def download_link(address: str, name: str, words: str) -> str:
    """Return a link that downloads a file, and looks like a button."""
    return (
        f'<a class="download" href="{html.escape(address, quote=True)}" download="{html.escape(name, quote=True)}">'
        f"{html.escape(words)}</a>"
    )


def distance_bar(value: float | None, plain: float, photo: float) -> str:
    """Return a bar for a style distance, from 0, the painting, to that of the untouched photo.

    Args:
        value: The distance; None while it is measured.
        plain: That of the painting of the photo as it is, which gets a mark.
        photo: That of the untouched photo.
    """
    if value is None or photo <= 0:
        return '<span class="bar" aria-hidden="true"></span>'
    filled, marked = (100 * min(1.0, one / photo) for one in (value, plain))
    fill, mark = f'<i style="width:{filled:.1f}%"></i>', f'<u style="left:{marked:.1f}%"></u>'
    return f'<span class="bar" aria-hidden="true">{fill}{mark}</span>'


def measure(title: str, distances: tuple[float, float, float] | None, moved: float | None) -> str:
    """Return what stands under a painting: its style distance, and how far it moved.

    Args:
        title: Name of the norm.
        distances: Style distances of this painting, of the painting of the photo as it is, and of the untouched photo;
            None while they are measured.
        moved: Mean change of the painting, of 1; None where there is none to tell.
    """
    now, plain, photo = distances or (None, 0.0, 0.0)
    number = "…" if now is None else f"{now:.3f}"
    before = "" if now is None or moved is None else f" <small>before: {plain:.3f}</small>"
    change = "the photo as it is" if moved is None else f"changed by <b>{255 * moved:.1f}</b> of 255 grey levels"
    return (
        f"<strong>{html.escape(title)}</strong><span>style distance <b>{number}</b>{before}</span>"
        f"{distance_bar(now, plain, photo)}<span>{change}</span>"
    )
