"""Pages of a catalogue: pictures in fixed columns on paper, with captions in the serif type that comes with matplotlib.

Only drawing. What is painted, and with which network, is decided by ``benchmarks/gallery.py`` and
``benchmarks/adapting_time.py``.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from stylize.checkpoints import replacing
from stylize.errors import StylizeError
from stylize.panels import label_font

PAPER = (252, 251, 248)
INK = (40, 38, 35)
FAINT = (122, 117, 109)
RULE = (222, 218, 210)
TILE = (239, 236, 229)

FACES = {
    "roman": "STIXGeneral.ttf",
    "italic": "STIXGeneralItalic.ttf",
    "mono": "DejaVuSansMono.ttf",
}
"""Files of matplotlib's own fonts."""

WIDTH = 1200
"""Of a page, in pixels."""

MARGIN = 24
GAP = 16
PLATE = 300
"""Side of a square picture in a row."""

LEADING = 1.22
BASELINE = 0.96
"""Distance of lines, and of their baseline from the top of each, for a size of type of one pixel."""

QUALITY = 88
LOWEST_QUALITY = 60
"""Of a JPEG that must keep to a limit."""

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Caption:
    """What a wall label says of a painting.

    Attributes:
        name: Of the style, as the command line takes it.
        title: Of the painting; the name of the style where it is not known.
        artist: Who painted it, or nothing.
        year: When, or nothing.
    """

    name: str
    title: str
    artist: str = ""
    year: str = ""

    @classmethod
    def of(cls, name: str, painting: Mapping[str, Any] | None) -> Caption:
        """Return the caption of a style from what its collection says of the painting."""
        known = painting or {}
        title, artist, year = (str(known.get(key) or "") for key in ("title", "artist", "year"))
        return cls(name, title or name, artist, year)

    @property
    def byline(self) -> str:
        """Artist and year in one line."""
        return ", ".join(part for part in (self.artist, self.year.replace("c. ", "c.\u00a0")) if part)

    def __str__(self) -> str:
        return ", ".join(part for part in (self.title, self.artist, self.year) if part)


@functools.cache
def font(face: str, size: int) -> Font:
    """Return a font in pixels: a face of :data:`FACES`, or Pillow's own where matplotlib came without fonts."""
    import matplotlib

    try:
        return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FACES[face]), size)
    except OSError:
        return label_font(size)


def wrap(text: str, face: Font, width: float, lines: int) -> list[str] | None:
    """Break a text at its spaces and hyphens into lines of at most ``width`` pixels; None where it does not fit."""
    broken: list[str] = []
    line = ""
    for word in text.replace("-", "-\u200b").replace(" ", " \u200b").split("\u200b"):
        if line and face.getlength((line + word).rstrip()) > width:
            broken.append(line.rstrip())
            line = ""
        line += word
    broken.append(line.rstrip())
    fits = len(broken) <= lines and all(face.getlength(one) <= width for one in broken)
    return broken if fits else None


def fitted_text(text: str, face: str, size: int, width: float, lines: int) -> tuple[Font, list[str]]:
    """Return a font and lines of a text that fit a width: smaller type where it is long, dots where it is too long."""
    smallest = max(8, round(0.7 * size))
    for points in range(size, smallest - 1, -1):
        if (broken := wrap(text, font(face, points), width, lines)) is not None:
            return font(face, points), broken
    small = font(face, smallest)
    kept = text
    while kept:
        kept = kept[:-1]
        if (broken := wrap(kept.rstrip() + "...", small, width, lines)) is not None:
            return small, broken
    return small, []


@dataclass(frozen=True)
class Line:
    """A piece of text that is to be set: it may take several lines."""

    text: str
    face: str
    size: int
    ink: tuple[int, int, int] = INK
    lines: int = 1
    space: int = 4


def set_lines(pieces: Sequence[Line], width: int, align: str = "left") -> Image.Image:
    """Set pieces of text under each other.

    Args:
        pieces: From top to bottom; empty ones are left out.
        width: Of the column in pixels.
        align: ``left`` or ``right``.

    Returns:
        An RGBA picture of that width, transparent where there is no ink.
    """
    placed: list[tuple[int, Font, str, tuple[int, int, int]]] = []
    y = 0
    for piece in pieces:
        if not piece.text:
            continue
        y += piece.space if placed else 0
        chosen, broken = fitted_text(piece.text, piece.face, piece.size, width, piece.lines)
        # One height and one baseline for a size of type, whatever the letters are, so that pages are aligned.
        points = getattr(chosen, "size", piece.size)
        for line in broken:
            placed.append((y + round(BASELINE * points), chosen, line, piece.ink))
            y += round(LEADING * points)
    block = Image.new("RGBA", (width, max(1, y)), (*PAPER, 0))
    draw = ImageDraw.Draw(block)
    for baseline, chosen, line, ink in placed:
        # A slanted letter may begin left of where it stands.
        left = width - chosen.getlength(line) if align == "right" else max(0.0, -chosen.getbbox(line)[0])
        # Pillow's bitmap font knows no baseline.
        anchored = isinstance(chosen, ImageFont.FreeTypeFont)
        at = (left, baseline) if anchored else (left, max(0, baseline - 11))
        draw.text(at, line, fill=(*ink, 255), font=chosen, anchor="ls" if anchored else None)
    return block


def paste(page: Image.Image, block: Image.Image, at: tuple[int, int]) -> None:
    """Lay a block over a page, through its transparency where it has some."""
    page.paste(block, at, block if block.mode == "RGBA" else None)


def label(caption: Caption, height: int, lines: int) -> list[Line]:
    """Return the pieces of a wall label, but for the name of the style.

    Args:
        caption: What is said.
        height: Of the row in pixels: smaller type for a lower one.
        lines: That the title may take.
    """
    title, artist, year = (25, 18, 17) if height >= PLATE else (20, 16, 15)
    return [
        Line(caption.title, "italic", title, lines=lines),
        Line(caption.artist, "roman", artist, lines=2, space=6),
        Line(caption.year, "roman", year, FAINT, lines=2, space=2),
    ]


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return a picture as large as fits into a place; never larger than it is."""
    scale = min(width / image.width, height / image.height, 1.0)
    size = (max(1, round(scale * image.width)), max(1, round(scale * image.height)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def filled(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the middle of a picture that has the proportions of a place, at its size."""
    scale = min(image.width / width, image.height / height)
    wide, high = scale * width, scale * height
    left, upper = (image.width - wide) / 2, (image.height - high) / 2
    box = (left, upper, left + wide, upper + high)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS, box=box)


def wall_label(caption: Caption, painting: Image.Image | None, width: int, height: int) -> Image.Image:
    """Draw the label of a row: the painting over its caption, or a tile with the caption alone.

    Args:
        caption: What is said.
        painting: The painting; None where it may not be shown.
        width: In pixels.
        height: In pixels.
    """
    name = Line(caption.name, "mono", 12, FAINT)
    if painting is None:
        block = Image.new("RGB", (width, height), TILE)
        inner = width - 2 * GAP
        paste(block, set_lines(label(caption, height, 5), inner), (GAP, GAP - 4))
        foot = set_lines([name], inner)
        paste(block, foot, (GAP, height - GAP - foot.height + 3))
        return block
    block = Image.new("RGB", (width, height), PAPER)
    text, foot = set_lines(label(caption, height, 3), width), set_lines([name], width)
    small = fitted(painting, width, max(1, height - text.height - foot.height - GAP))
    block.paste(small, (0, 0))
    paste(block, text, (0, small.height + GAP // 2))
    paste(block, foot, (0, height - foot.height))  # the last line stands where the pictures end
    return block


def row(
    caption: Caption, painting: Image.Image | None, pictures: Sequence[Image.Image], heads: Sequence[str] = ()
) -> Image.Image:
    """Draw a row of the catalogue: label, then square pictures. Rows of as many pictures have the same columns.

    Args:
        caption: Of the painting.
        painting: The painting; None where it may not be shown.
        pictures: Three or more; their middle squares are shown.
        heads: What stands over each picture; nothing for none.
    """
    count = max(3, len(pictures))
    side = PLATE if count == 3 else (WIDTH - 2 * MARGIN - count * GAP) * 4 // (4 * count + 3)
    wide = WIDTH - 2 * MARGIN - count * (side + GAP)
    blocks = [set_lines([Line(head, "roman", 17, FAINT, lines=2)], side) for head in heads]
    top = MARGIN + max((block.height + GAP // 2 for block in blocks), default=0)
    page = Image.new("RGB", (WIDTH, top + side + MARGIN), PAPER)
    page.paste(wall_label(caption, painting, wide, side), (MARGIN, top))
    for number, picture in enumerate(pictures):
        left = MARGIN + wide + GAP + number * (side + GAP)
        page.paste(filled(picture, side, side), (left, top))
        if number < len(blocks):
            paste(page, blocks[number], (left, top - GAP // 2 - blocks[number].height))
    return page


def joined(pages: Sequence[Image.Image]) -> Image.Image:
    """Put pages of one width under each other; the margin between two is that of one."""
    height = sum(page.height - MARGIN for page in pages) + MARGIN
    whole = Image.new("RGB", (pages[0].width, height), PAPER)
    y = 0
    for page in pages:
        whole.paste(page, (0, y))
        y += page.height - MARGIN
    return whole


def columns_for(count: int) -> int:
    """Return how many columns leave the fewest empty places in the last row: four or five, four where both are as
    good; fewer for few pictures."""
    return count if count < 4 else min((4, 5), key=lambda columns: -count % columns)


def grid(heading: Sequence[Line], photo: Image.Image, plates: Sequence[tuple[Caption, Image.Image]]) -> Image.Image:
    """Draw one photo, and what every style makes of it, each over its caption.

    Args:
        heading: Text beside the photo.
        photo: The untouched photo.
        plates: Caption and picture of each style; the pictures have the proportions of the photo.
    """
    across = columns_for(len(plates))
    gap = 20
    wide = (WIDTH - 2 * MARGIN - (across - 1) * gap) // across
    high = round(wide * photo.height / photo.width)
    captions = [
        set_lines(
            [
                Line(caption.title, "italic", 20, lines=2),
                Line(caption.byline, "roman", 15, FAINT, space=1),
                Line(caption.name, "mono", 11, FAINT, space=5),
            ],
            wide,
        )
        for caption, _ in plates
    ]
    rows = [range(first, min(first + across, len(plates))) for first in range(0, len(plates), across)]
    depths = [high + 8 + max(captions[number].height for number in one) + gap for one in rows]
    top = MARGIN + high + gap + 1 + gap
    page = Image.new("RGB", (WIDTH, top + sum(depths) - gap + MARGIN), PAPER)
    page.paste(filled(photo, wide, high), (MARGIN, MARGIN))
    beside = WIDTH - 2 * MARGIN - wide - gap
    text = set_lines(heading, beside)
    paste(page, text, (MARGIN + wide + gap, MARGIN + high - text.height + 4))
    rule(page, MARGIN + high + gap)
    y = top
    for one, depth in zip(rows, depths, strict=True):
        for column, number in enumerate(one):
            x = MARGIN + column * (wide + gap)
            page.paste(filled(plates[number][1], wide, high), (x, y))
            paste(page, captions[number], (x, y + high + 8))
        y += depth
    return page


def rule(page: Image.Image, y: int) -> None:
    """Draw a thin line over the width of the type area."""
    ImageDraw.Draw(page).line([(MARGIN, y), (page.width - MARGIN - 1, y)], fill=RULE)


def strip(title: Line, note: str, pictures: Sequence[tuple[Sequence[Line], Image.Image]]) -> Image.Image:
    """Draw pictures of one proportion in one line over the whole width, under a title and a note, over captions."""
    gap = 10
    wide = (WIDTH - 2 * MARGIN - (len(pictures) - 1) * gap) // len(pictures)
    high = round(wide * pictures[0][1].height / pictures[0][1].width)
    head = set_lines([title, Line(note, "mono", 13, FAINT, lines=2, space=4)], WIDTH - 2 * MARGIN)
    captions = [set_lines(lines, wide) for lines, _ in pictures]
    top = head.height + 12
    page = Image.new("RGB", (WIDTH, top + high + 6 + max(one.height for one in captions)), PAPER)
    paste(page, head, (MARGIN, 0))
    for number, ((_, picture), caption) in enumerate(zip(pictures, captions, strict=True)):
        x = MARGIN + round(number * (WIDTH - 2 * MARGIN - wide) / max(1, len(pictures) - 1))
        page.paste(filled(picture, wide, high), (x, top))
        paste(page, caption, (x, top + high + 6))
    return page


def square(
    title: Line, note: str, corners: Sequence[Caption], pictures: Sequence[Sequence[Image.Image]]
) -> Image.Image:
    """Draw pictures in rows and columns between the captions of four corners.

    Args:
        title: Over everything.
        note: Under the title.
        corners: Upper left, upper right, lower left, lower right.
        pictures: Rows of pictures of one proportion.
    """
    gap, wide = 4, 152
    high = round(wide * pictures[0][0].height / pictures[0][0].width)
    across, down = len(pictures[0]), len(pictures)
    inner = across * wide + (across - 1) * gap
    depth = down * high + (down - 1) * gap
    head = set_lines([title, Line(note, "mono", 13, FAINT, lines=2, space=4)], WIDTH - 2 * MARGIN)
    top = head.height + 12
    page = Image.new("RGB", (WIDTH, top + depth), PAPER)
    paste(page, head, (MARGIN, 0))
    left = (WIDTH - inner) // 2
    for line, pictures_of_line in enumerate(pictures):
        for column, picture in enumerate(pictures_of_line):
            at = (left + column * (wide + gap), top + line * (high + gap))
            page.paste(filled(picture, wide, high), at)
    beside = left - MARGIN - GAP
    for number, caption in enumerate(corners):
        align = "left" if number % 2 else "right"
        lines = [Line(caption.title, "italic", 20, lines=3), Line(caption.byline, "roman", 15, FAINT, lines=2)]
        text = set_lines([*lines, Line(caption.name, "mono", 11, FAINT, space=5)], beside, align)
        x = left + inner + GAP if number % 2 else MARGIN
        paste(page, text, (x, top - 3 if number < 2 else top + depth - text.height))
    return page


def stacked(parts: Sequence[Image.Image], gap: int = 40) -> Image.Image:
    """Put parts of one page under each other, with thin lines between them."""
    height = sum(part.height for part in parts) + gap * (len(parts) - 1) + 2 * MARGIN
    page = Image.new("RGB", (WIDTH, height), PAPER)
    y = MARGIN
    for number, part in enumerate(parts):
        if number:
            rule(page, y - gap // 2)
        page.paste(part, (0, y))
        y += part.height + gap
    return page


def encoded(page: Image.Image, limit: int) -> bytes:
    """Return a page as a JPEG of at most ``limit`` bytes, at the best quality up to :data:`QUALITY` that keeps to it.

    Raises:
        StylizeError: Not even the lowest quality does.
    """
    for quality in range(QUALITY, LOWEST_QUALITY - 1, -2):
        buffer = io.BytesIO()
        page.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= limit:
            return buffer.getvalue()
    raise StylizeError(
        f"a page of {page.width} x {page.height} px does not fit into {limit} bytes; show fewer pictures"
    )


def save(page: Image.Image, path: Path, limit: int) -> None:
    """Write a page as a JPEG of at most ``limit`` bytes, whole or not at all."""
    content = encoded(page, limit)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
