"""The thumbnails to choose from: real buttons with names, made in the browser from a little list.

The pictures are in the page itself; what is chosen changes without sending them again.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from stylize.images import resize_short_side
from stylize.web.parts import picture_data

THUMBNAIL = 160
"""Side of a square thumbnail in pixels."""

QUALITY = 80

# JavaScript within a template literal, which is what Gradio's HTML components are made of.
_BUTTON = (
    '\'<button type="button" class="thumb" data-name="\' + s.safe + \'" aria-pressed="\' + '
    "value.chosen.includes(s.name) + '\" title=\"' + s.hint + '\">' + s.inner + '</button>'"
)
TEMPLATE = (
    '<div class="thumbs" role="group" aria-label="${label}">'
    "${value.own.concat(shipped).filter(s => s.norms.includes(value.norm)).map(s => " + _BUTTON + ").join('')}</div>"
)
"""The template of a group of thumbnails with the properties ``shipped``, and ``value`` from :func:`shown`."""

ON_LOAD = (
    "element.addEventListener('click', event => {"
    "const button = event.target.closest('button[data-name]');"
    "if (button) trigger('select', {name: button.dataset.name});});"
)
"""Makes a click on a thumbnail the event ``select``, with its name."""


def square(image: Image.Image, side: int = THUMBNAIL) -> Image.Image:
    """Return the middle of a picture as a square."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    # Cut first: of a strip of a million pixels the short side cannot be enlarged.
    return resize_short_side(image.crop((left, top, left + edge, top + edge)), side)


def thumbnail(
    name: str,
    title: str,
    image: Image.Image,
    *,
    hint: str = "",
    badge: str = "",
    norms: Sequence[str] = ("",),
    titled: bool = True,
) -> dict[str, Any]:
    """Return what the template needs of one thumbnail.

    Args:
        name: What :data:`ON_LOAD` sends.
        title: Its name as people write it.
        image: A square picture.
        hint: What it is, in a few words.
        badge: A word in its corner.
        norms: With which norms it is shown.
        titled: Whether its name is written on it; else it is for those who do not see it.
    """
    kind = "name" if titled else "unseen"
    mark = f'<span class="badge">{html.escape(badge)}</span>' if badge else ""
    return {
        "name": name,
        "safe": html.escape(name, quote=True),
        "hint": html.escape(hint or title, quote=True),
        "norms": list(norms),
        "inner": f'<img src="{picture_data(image, QUALITY, full_colour=False)}" alt="" width="{image.width}" '
        f'height="{image.height}">{mark}<span class="{kind}">{html.escape(title)}</span>',
    }


def shown(chosen: Iterable[str], norm: str = "", own: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the value of a group: which are chosen, which norm is wanted, and thumbnails of the session's own."""
    return {"chosen": list(chosen), "norm": norm, "own": list(own)}
