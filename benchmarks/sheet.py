"""Pictures in a table with labels above its columns and beside its rows."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from stylize.images import resize_long_edge
from stylize.panels import BACKGROUND, INK, label_font

GAP = 6


def sheet(rows: Sequence[tuple[str, Sequence[Image.Image | None]]], columns: Sequence[str], cell: int) -> Image.Image:
    """Draw pictures in rows and columns.

    Args:
        rows: Pairs of label and pictures, one per column; None leaves a place empty.
        columns: Labels of the columns.
        cell: Side of the places in pixels; larger pictures are reduced, smaller ones are not enlarged.

    Returns:
        An RGB picture. Labels that are wider than a place are broken at spaces and hyphens.
    """
    font = label_font(max(12, cell // 14))

    def wrapped(label: str, width: int) -> str:
        lines, line = [], ""
        for word in label.replace("-", "-\u200b").replace(" ", " \u200b").split("\u200b"):
            if line and font.getlength((line + word).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += word
        return "\n".join([*lines, line])

    canvas = Image.new("RGB", (1, 1))
    draw = ImageDraw.Draw(canvas)
    heads = [wrapped(label, cell) for label in columns]
    sides = [wrapped(label, cell) for label, _ in rows]
    top = max((round(draw.multiline_textbbox((0, 0), head, font=font)[3]) for head in heads if head), default=0) + GAP
    left = max((round(draw.multiline_textbbox((0, 0), side, font=font)[2]) for side in sides if side), default=-GAP)
    left += 2 * GAP
    size = (left + len(columns) * (cell + GAP), top + GAP + len(rows) * (cell + GAP))
    canvas = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for column, head in enumerate(heads):
        draw.multiline_text((left + column * (cell + GAP), GAP), head, fill=INK, font=font)
    for row, (side, (_, pictures)) in enumerate(zip(sides, rows, strict=True)):
        y = top + GAP + row * (cell + GAP)
        draw.multiline_text((GAP, y), side, fill=INK, font=font)
        for column, picture in enumerate(pictures):
            if picture is not None:
                shown = picture if max(picture.size) <= cell else resize_long_edge(picture, cell)
                canvas.paste(shown, (left + column * (cell + GAP), y))
    return canvas
