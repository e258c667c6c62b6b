"""Pictures beside each other with labels above them, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from stylize.errors import InputError
from stylize.images import resize_long_edge

PANEL_SIZE = 1024
"""Long edge of one picture in a comparison, in pixels; larger ones are reduced."""

BACKGROUND = (255, 255, 255)
INK = (32, 32, 32)


def label_font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return Pillow's own font at about ``size`` pixels, or its bitmap font where Pillow is built without FreeType."""
    try:
        return ImageFont.load_default(size=size)
    except ImportError:
        return ImageFont.load_default()


def side_by_side(panels: Sequence[tuple[str, Image.Image]], size: int = PANEL_SIZE) -> Image.Image:
    """Draw pictures in one row, each under its label.

    Args:
        panels: Pairs of label and RGB picture, from left to right.
        size: Largest long edge of one picture in pixels; smaller pictures are not enlarged.

    Returns:
        An RGB picture. Every column is at least as wide as its label.

    Raises:
        InputError: There is no picture.
    """
    if not panels:
        raise InputError("no pictures given for a comparison; at least one is needed")
    pictures = [image if max(image.size) <= size else resize_long_edge(image, size) for _, image in panels]
    text_size = min(32, max(12, max(max(picture.size) for picture in pictures) // 28))
    font = label_font(text_size)
    gap = max(4, text_size // 2)
    boxes = [font.getbbox(label) for label, _ in panels]
    columns = [max(picture.width, round(box[2])) for picture, box in zip(pictures, boxes, strict=True)]
    top = round(max(box[3] for box in boxes)) + 2 * gap
    width = sum(columns) + gap * (len(columns) + 1)
    height = top + max(picture.height for picture in pictures) + gap
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    left = gap
    for (label, _), picture, column in zip(panels, pictures, columns, strict=True):
        draw.text((left, gap), label, fill=INK, font=font)
        canvas.paste(picture, (left, top))
        left += column + gap
    return canvas
