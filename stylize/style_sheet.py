"""A contact sheet: one photo in many styles, each with its name, in one picture to choose from."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from stylize.errors import InputError
from stylize.images import MAXIMUM_PIXELS, normalise_image
from stylize.panels import BACKGROUND, INK, label_font

TILE_SIZE = 320
"""Long edge of one picture on the sheet, in pixels, for the usual proportions."""

TILE_RANGE = (32, 4096)
"""Accepted sizes of a tile, in pixels."""

SHEET_ASPECT = 1.7
"""Width of a sheet for each pixel of its height, about: between a screen and a page on its side."""

LONGEST_TILE = 3.0
"""Proportions from which a picture is no longer reduced to its long edge: a panorama would become a line."""

WORD_LETTERS = 14
"""Letters of a word that a column is made wide enough for."""

LABEL_LINES = 2
"""Lines of a label; a longer one is cut."""

THUMBNAIL_SHARE = 0.32
"""Edge of a square of the area of a painting in the corner, as a part of the short edge of its tile."""

FAINT = (104, 104, 104)
"""Of the label of the photo, which is no style."""

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def style_sheet(
    photo: Image.Image,
    painted: Sequence[tuple[str, Image.Image]],
    *,
    columns: int | None = None,
    tile: int = TILE_SIZE,
    title: str | None = None,
    paintings: Mapping[str, Image.Image] | None = None,
    photo_label: str = "photo",
) -> Image.Image:
    """Draw a photo and what every style makes of it in a grid, each over its name.

    Args:
        photo: Any mode; it comes first.
        painted: Pairs of name and picture, in the order of the sheet. The pictures have the proportions of the photo.
        columns: Pictures in a row; None takes what gives the sheet good proportions and few empty places.
        tile: Long edge of a picture in pixels, 32 to 4096. One that is longer than three times its height (or the
            reverse) gets the short edge of such a picture, so that something can be seen of it.
        title: A line over everything.
        paintings: The painting of a style by its name, drawn small in a corner of its picture; not every style needs
            one.
        photo_label: What is written under the photo.

    Returns:
        An RGB picture.

    Raises:
        InputError: There is no style, a number is out of range, or the sheet would be too large.
    """
    if not painted:
        raise InputError("no styles given for a sheet; at least one is needed")
    if type(tile) is not int or not TILE_RANGE[0] <= tile <= TILE_RANGE[1]:
        raise InputError(f"a tile of {tile!r} pixels given; {TILE_RANGE[0]} to {TILE_RANGE[1]} is accepted")
    if columns is not None and (type(columns) is not int or columns < 1):
        raise InputError(f"{columns!r} columns given; a whole number from 1 up is accepted")
    photo = _opaque(photo)
    size = tile_size(photo.size, tile)
    font = label_font(_text_size(tile))
    gap = max(4, round(tile / 16))
    line = _line_height(font)
    entries = [(photo_label, photo), *painted]
    names = [_plain(name, font) for name, _ in entries]
    # Under narrow pictures the columns are as wide as the words of the names, unless those are endless.
    words = max(font.getlength(piece) for name in names for piece in _pieces(name))
    cell_width = max(size[0], math.ceil(min(words, WORD_LETTERS * font.getlength("n"))))
    labels = [_wrapped(name, font, cell_width) for name in names]
    space = max(2, gap // 3)
    tallest = size[1] + space + max(map(len, labels)) * line
    across = min(columns or grid_columns(len(entries), (cell_width, tallest), gap), len(entries))
    width = across * (cell_width + gap) + gap
    heading, heading_font = [], label_font(round(1.5 * _text_size(tile)))
    if title:
        heading = _wrapped(_plain(title, heading_font), heading_font, width - 2 * gap)
    tops = [gap + (len(heading) * _line_height(heading_font) + gap if heading else 0)]
    for first in range(0, len(entries), across):
        lines = max(map(len, labels[first : first + across]))
        tops.append(tops[-1] + size[1] + space + lines * line + gap)
    height = tops[-1]
    if width * height > MAXIMUM_PIXELS:
        raise InputError(
            f"a sheet of {len(entries)} pictures would have {width} x {height} pixels, more than the "
            f"{MAXIMUM_PIXELS:,} allowed; give smaller tiles"
        )
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(heading):
        draw.text((gap, gap + number * _line_height(heading_font)), text, fill=INK, font=heading_font)
    for place, ((name, image), label) in enumerate(zip(entries, labels, strict=True)):
        left, upper = gap + place % across * (cell_width + gap), tops[place // across]
        picture = _fitted(_opaque(image), size)
        at = (left + (size[0] - picture.width) // 2, upper + (size[1] - picture.height) // 2)
        sheet.paste(picture, at)
        if place and paintings and name in paintings:
            _draw_painting(sheet, paintings[name], (*at, at[0] + picture.width, at[1] + picture.height))
        for number, text in enumerate(label):
            ink = INK if place else FAINT
            draw.text((left, upper + size[1] + space + number * line), text, fill=ink, font=font)
    return sheet


def tile_size(photo: tuple[int, int], tile: int) -> tuple[int, int]:
    """Return the width and the height at which a photo of a given width and height is drawn on a sheet."""
    width, height = photo
    if width < 1 or height < 1:
        raise InputError(f"the photo is {width} x {height} pixels: it holds nothing")
    aspect = max(width, height) / min(width, height)
    # Beyond three to one the short edge stays, up to a length at which a sheet can still be looked at.
    long = round(tile * min(max(1.0, aspect / LONGEST_TILE), 2 * LONGEST_TILE))
    short = max(1, round(long / aspect))
    return (long, short) if width >= height else (short, long)


def grid_columns(count: int, cell: tuple[int, int], gap: int) -> int:
    """Return how many columns give a sheet of ``count`` cells good proportions and few empty places.

    Args:
        count: Cells, 1 or more.
        cell: Width and height of one, in pixels.
        gap: Space between two, in pixels.
    """

    def fault(columns: int) -> float:
        rows = -(-count // columns)
        width, height = columns * (cell[0] + gap) + gap, rows * (cell[1] + gap) + gap
        # A sheet twice as wide as wanted is as bad as one with seven tenths of a row empty.
        return abs(math.log2(width / height / SHEET_ASPECT)) + 1.4 * (columns * rows - count) / columns

    return min(range(1, count + 1), key=fault)


def _text_size(tile: int) -> int:
    return min(48, max(12, round(tile / 18)))


def _line_height(font: Font) -> int:
    """Return the pixels from one line to the next: the same for every text, with or without descenders."""
    left, top, right, bottom = font.getbbox("Ägjp")
    return round(bottom * 1.15) + 1


def _plain(text: str, font: Font) -> str:
    """Return a name on one line, with a question mark for what cannot be drawn."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    if isinstance(font, ImageFont.FreeTypeFont):
        return text
    return text.encode("latin-1", "replace").decode("latin-1")  # Pillow's bitmap font knows no other


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Return a label as lines that are no wider than its picture: broken after hyphens and spaces, cut at the end."""
    pieces, lines = _pieces(text), [""]
    for number, piece in enumerate(pieces):
        if lines[-1] and font.getlength((lines[-1] + piece).rstrip()) > width:
            if len(lines) == LABEL_LINES:
                lines[-1] = _cut(lines[-1] + "".join(pieces[number:]), font, width)
                return lines
            lines.append("")
        lines[-1] += piece
    return [_cut(line.rstrip(), font, width) for line in lines]


def _pieces(text: str) -> list[str]:
    """Split a name after its hyphens, underscores and spaces."""
    pieces = [""]
    for letter in text:
        pieces[-1] += letter
        if letter in "-_ ":
            pieces.append("")
    return [piece for piece in pieces if piece] or [""]


def _cut(text: str, font: Font, width: int) -> str:
    """Return the beginning of a text that is not wider than ``width``, with dots where something is missing."""
    if font.getlength(text) <= width:
        return text
    dots = "\u2026" if isinstance(font, ImageFont.FreeTypeFont) else "..."
    kept = bisect.bisect_right(range(1, len(text)), width, key=lambda count: font.getlength(text[:count] + dots))
    return text[:kept].rstrip("-_ ") + dots


def _opaque(image: Image.Image) -> Image.Image:
    """Return a picture upright, in RGB, over the colour of the sheet where it is transparent."""
    picture = normalise_image(image)
    if picture.alpha is None:
        return picture.image
    return Image.composite(picture.image, Image.new("RGB", picture.image.size, BACKGROUND), picture.alpha)


def _fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture as large as fits into ``size``."""
    scale = min(size[0] / image.width, size[1] / image.height)
    fitted = tuple(max(1, min(most, round(edge * scale))) for edge, most in zip(image.size, size, strict=True))
    return image if fitted == image.size else image.resize(fitted, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _draw_painting(sheet: Image.Image, painting: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Draw a painting with a white rim into the lower right corner of a picture that fills ``box``."""
    left, upper, right, lower = box
    edge = THUMBNAIL_SHARE * min(right - left, lower - upper)
    if edge < 16:  # nothing could be recognised
        return
    painting = _opaque(painting)
    stretch = math.sqrt(painting.width / painting.height)
    most = (round(min(edge * stretch, (right - left) / 2)), round(min(edge / stretch, (lower - upper) / 2)))
    small = _fitted(painting, (max(1, most[0]), max(1, most[1])))
    rim = max(1, round(edge / 32))
    inner = (right - small.width - rim, lower - small.height - rim)
    sheet.paste(BACKGROUND, (inner[0] - rim, inner[1] - rim, right, lower))
    sheet.paste(small, inner)
