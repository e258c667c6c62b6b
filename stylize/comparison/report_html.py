"""A report as one HTML page that needs nothing beside it: no network, no file, no font.

Every text is escaped, names of photos and styles included. The page forbids itself to load anything (its content
security policy allows data within the page only), so that a report opened in ten years shows what it shows today.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from stylize.checkpoints import replacing
from stylize.comparison.page import SCRIPT, STYLE
from stylize.comparison.report import Block, Figure, Picture, PictureRow, Reference, Report, Section, Slider, Table
from stylize.comparison.tables import number_text
from stylize.errors import InputError

JPEG_QUALITY = 90

PNG_TRIED_BELOW = 1024**2
"""Pixels. A picture up to this size is stored as PNG where that is smaller than JPEG; above, trying it takes long."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

RESERVED_ANCHORS = ("verdict", "contents", "made", "references")


def write_report(path: Path | str, report: Report) -> None:
    """Write a report as an HTML file, whole or not at all.

    Raises:
        InputError: As :func:`render`.
        OutputError: The file cannot be written; one that was there is unchanged.
    """
    content = render(report).encode("utf-8")
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(content)


def render(report: Report) -> str:
    """Return a report as one HTML document that loads nothing.

    Raises:
        InputError: No verdict; an anchor that is malformed or there twice; a table whose rows do not fit its header; a
            picture without pixels; a figure that is no SVG; a reference that is no web address.
    """
    if not report.verdict:
        raise InputError("a report needs a verdict of at least one sentence")
    seen = set(RESERVED_ANCHORS)
    for section in report.sections:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", section.anchor) or section.anchor in seen:
            raise InputError(
                f"anchor '{section.anchor}' of a section given; small letters, digits and dashes are accepted, "
                f"and each once (taken: {', '.join(sorted(seen))})"
            )
        seen.add(section.anchor)
    title = _text(report.title)
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="referrer" content="no-referrer">\n',
            f'<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n',
            f"<main>\n<header>\n<h1>{title}</h1>\n{_verdict(report)}</header>\n{_contents(report.sections)}",
            *map(_section, report.sections),
            f"</main>\n<footer>\n{_made(report)}{_references(report.references)}</footer>\n",
            '<dialog aria-label="Picture"><img alt=""></dialog>\n' if _has_pictures(report) else "",
            f"<script>{SCRIPT}</script>\n</body>\n</html>\n",
        )
    )


def _text(text: object) -> str:
    """Return text for HTML: escaped, without control characters, and without halves of characters.

    A file name that is not UTF-8 arrives with lone surrogates, which no HTML file can hold.
    """
    whole = str(text).encode("utf-8", "replace").decode("utf-8")
    return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", whole))


def _verdict(report: Report) -> str:
    first, *others = report.verdict
    text = '<section class="verdict" aria-labelledby="verdict">\n<h2 id="verdict">Verdict</h2>\n'
    text += f'<p class="lead">{_text(first)}</p>\n' + "".join(f"<p>{_text(line)}</p>\n" for line in others)
    return f"{text}</section>\n{_notes('Not reproduced here', report.not_reproduced)}"


def _notes(title: str, lines: Sequence[str]) -> str:
    """Return a list of reservations in a box of its own, or nothing where there are none."""
    if not lines:
        return ""
    items = "".join(f"<li>{_text(line)}</li>\n" for line in lines)
    return f'<div class="notes">\n<h3>{_text(title)}</h3>\n<ul>\n{items}</ul>\n</div>\n'


def _contents(sections: Sequence[Section]) -> str:
    items = "".join(
        f'<li><a href="#{one.anchor}">{_text(one.title)}</a> <span>{_text(one.question)}</span></li>\n'
        for one in sections
    )
    made = '<li><a href="#made">How this was made</a></li>\n'
    heading = '<nav aria-labelledby="contents">\n<h2 id="contents">Contents</h2>\n'
    return f"{heading}<ol>\n{items}{made}</ol>\n</nav>\n"


def _section(section: Section) -> str:
    # A finding that is the section's own stands there already.
    body = "".join(
        _figure(block, captioned=block.finding != section.finding) if isinstance(block, Figure) else _block(block)
        for block in section.body
    )
    return (
        f'<section class="part" id="{section.anchor}">\n<h2>{_text(section.title)}</h2>\n'
        f'<p class="question">{_text(section.question)}</p>\n<p class="finding">{_text(section.finding)}</p>\n'
        f"{body}{_notes('Caveats', section.caveats)}</section>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{_text(block)}</p>\n"
    if isinstance(block, Figure):
        return _figure(block)
    if isinstance(block, Picture):
        return _row(PictureRow([block]))
    if isinstance(block, PictureRow):
        return _row(block)
    if isinstance(block, Slider):
        return _slider(block)
    if isinstance(block, Table):
        return _table(block)
    raise InputError(
        f"{type(block).__name__} given as a part of a section; text, figures, pictures and tables are accepted"
    )


def _figure(figure: Figure, captioned: bool = True) -> str:
    """Return a chart as an image of its own, whose ids and styles cannot meet those of the page."""
    size = re.match(r'<svg\b[^>]*?\bwidth="([\d.]+)pt"', figure.svg)
    if not figure.svg.startswith("<svg"):
        raise InputError("a figure that is no SVG document was given to a report; it must begin with <svg")
    # A narrow chart is not blown up: 1.6 pixels per point is a little over its natural size.
    width = f' style="max-width: {float(size[1]) * 1.6:.0f}px"' if size else ""
    data = base64.b64encode(figure.svg.encode("utf-8")).decode("ascii")
    caption = f"<figcaption>{_text(figure.finding)}</figcaption>\n" if captioned else ""
    return (
        f"<figure>\n{caption}"
        f'<div class="chart"><img alt="{_text(figure.alt)}"{width} decoding="async" '
        f'src="data:image/svg+xml;base64,{data}"></div>\n</figure>\n'
    )


def _row(row: PictureRow) -> str:
    if not row.pictures:
        raise InputError("a row of pictures without a picture was given to a report; at least one is needed")
    figures = "".join(
        f'<figure><button type="button" class="enlarge" aria-label="Enlarge: {_text(one.caption)}">'
        f"{_image(one)}</button><figcaption>{_text(one.caption)}</figcaption></figure>\n"
        for one in row.pictures
    )
    return f'<div class="pictures">\n{figures}</div>\n'


def _slider(slider: Slider) -> str:
    caption, before, after = _text(slider.caption), _text(slider.before.caption), _text(slider.after.caption)
    return (
        f'<figure class="slider">\n<figcaption>{caption}</figcaption>\n<div class="pair">\n'
        f'<div class="before">{_image(slider.before)}<span class="label" aria-hidden="true">{before}</span></div>\n'
        f'<div class="after">{_image(slider.after)}<span class="label" aria-hidden="true">{after}</span></div>\n'
        '<span class="handle"></span>\n</div>\n'
        f'<input type="range" min="0" max="100" value="50" step="1" aria-label="{caption}: share of {before} shown, '
        f'the rest is {after}">\n</figure>\n'
    )


def _table(table: Table) -> str:
    for number, row in enumerate(table.rows, 1):
        if len(row) != len(table.header):
            raise InputError(f"row {number} of a table has {len(row)} cells for {len(table.header)} columns")
    numeric = set(table.numeric)

    def cell(column: int, value: object, tag: str, scope: str = "") -> str:
        right = ' class="number"' if column in numeric else ""
        return f"<{tag}{scope}{right}>{_text(number_text(value))}</{tag}>"

    head = "".join(cell(column, name, "th", ' scope="col"') for column, name in enumerate(table.header))
    rows = []
    for row in table.rows:
        # The first column names the row, unless it is a number.
        cells = [
            cell(column, value, *(("th", ' scope="row"') if column == 0 and 0 not in numeric else ("td",)))
            for column, value in enumerate(row)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>\n")
    caption = f"<figcaption>{_text(table.caption)}</figcaption>\n" if table.caption else ""
    label = _text(table.caption or "Table")
    # Focusable, so that a wide table can be scrolled without a mouse.
    return (
        f'<figure class="table">\n{caption}<div class="scroll" role="region" aria-label="{label}" tabindex="0">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table></div>\n</figure>\n"
    )


def _made(report: Report) -> str:
    facts = []
    for name, value in report.facts.items():
        shown = f"<pre><code>{_text(value)}</code></pre>" if name.lower() == "command" else _text(value)
        facts.append(f"<dt>{_text(name)}</dt><dd>{shown}</dd>\n")
    listed = f"<dl>\n{''.join(facts)}</dl>\n" if facts else ""
    # "./" and the quoting of ":" keep a name from being read as another scheme or host.
    files = "".join(
        f'<li><a href="./{quote(name, errors="replace")}"><code>{_text(name)}</code></a></li>\n'
        for name in report.files
    )
    files = f"<h3>Numbers of this report</h3>\n<ul>\n{files}</ul>\n" if files else ""
    return f'<section id="made">\n<h2>How this was made</h2>\n{listed}{files}</section>\n'


def _references(references: Sequence[Reference]) -> str:
    if not references:
        return ""
    for one in references:
        if not re.match(r"https?://", one.url):
            raise InputError(
                f"reference '{one.text}' has the address {one.url!r}; one that begins with https:// is accepted"
            )
    items = "".join(f'<li><a href="{_text(one.url)}">{_text(one.text)}</a></li>\n' for one in references)
    return f'<section id="references">\n<h2>References</h2>\n<ul>\n{items}</ul>\n</section>\n'


def _has_pictures(report: Report) -> bool:
    return any(isinstance(block, Picture | PictureRow) for section in report.sections for block in section.body)


def _image(picture: Picture) -> str:
    """Return a picture as an ``img`` that holds its own data."""
    kind, data = encode_picture(picture.image, picture.lossless)
    width, height = picture.image.size
    return (
        f'<img alt="{_text(picture.caption)}" width="{width}" height="{height}" decoding="async" '
        f'src="data:image/{kind};base64,{base64.b64encode(data).decode("ascii")}">'
    )


def encode_picture(image: Image.Image, lossless: bool = False) -> tuple[str, bytes]:
    """Return ``("jpeg" or "png", file)`` of a picture: JPEG of quality 90, or PNG where that is smaller or asked for.

    Nothing of the photo but its pixels and its colour profile is written: no EXIF, which may tell where it was taken.

    Raises:
        InputError: The picture has no pixels.
    """
    if not all(image.size):
        raise InputError(
            f"a picture of {image.width}x{image.height} pixels was given to a report; it has nothing to show"
        )
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        plain = Image.new("RGB", image.size, "white")
        plain.paste(layered, mask=layered.getchannel("A"))
    else:
        plain = image.convert("RGB")
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    plain.info = {}
    png = jpeg = b""
    if not lossless:
        # Full resolution of colour: the edges of brush strokes are where its halving shows.
        jpeg = _saved(plain, "JPEG", quality=JPEG_QUALITY, subsampling=0, icc_profile=profile)
    if lossless or image.width * image.height <= PNG_TRIED_BELOW:
        png = _saved(plain, "PNG", icc_profile=profile)
    return ("png", png) if png and (lossless or len(png) <= len(jpeg)) else ("jpeg", jpeg)


def _saved(image: Image.Image, file_format: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **settings)
    return buffer.getvalue()
