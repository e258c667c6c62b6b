"""Contact sheets: where pictures and labels lie, for every kind of photo and number of styles."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stylize import style_sheet as module
from stylize.errors import InputError
from stylize.panels import BACKGROUND, label_font
from stylize.style_sheet import grid_columns, style_sheet, tile_size

RED, GREEN, BLUE, YELLOW = (220, 20, 20), (20, 180, 20), (20, 20, 220), (240, 220, 20)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new("RGB", size, colour)


def box_of(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """Return where a colour is on a sheet: left, top, right, bottom, the last two exclusive."""
    same = (np.asarray(sheet) == colour).all(axis=-1)
    return Image.fromarray(same).getbbox()


def ink_below(sheet: Image.Image, box: tuple[int, int, int, int], pixels: int = 30) -> bool:
    """Tell whether something is written under a picture."""
    return bool((np.asarray(sheet)[box[3] + 1 : box[3] + pixels, box[0] : box[2]].min(axis=-1) < 160).any())


def test_photo_first_then_the_styles_in_order_each_over_its_label():
    sheet = style_sheet(plain(RED), [("a", plain(GREEN)), ("b", plain(BLUE))], columns=2, tile=128)
    photo, first, second = (box_of(sheet, colour) for colour in (RED, GREEN, BLUE))
    for box in (photo, first, second):
        assert (box[2] - box[0], box[3] - box[1]) == (128, 96)
        assert ink_below(sheet, box)
    assert photo[1] == first[1] and photo[2] < first[0], "photo and first style in one row"
    assert second[0] == photo[0] and second[1] > photo[3], "the second style under the photo"
    assert photo[0] == photo[1] == sheet.width - first[2], "the same margin all round"
    assert sheet.mode == "RGB" and sheet.getpixel((0, 0)) == BACKGROUND


@pytest.mark.parametrize(
    "photo, expected",
    [
        ((640, 480), (320, 240)),
        ((480, 640), (240, 320)),
        ((100, 100), (320, 320)),
        ((900, 300), (320, 107)),
        ((1800, 300), (640, 107)),  # the short edge of three to one
        ((300, 1800), (107, 640)),
        ((65000, 10), (1920, 1)),
        ((1, 1), (320, 320)),
    ],
)
def test_tile_size(photo, expected):
    assert tile_size(photo, 320) == expected


@pytest.mark.parametrize("cell", [(320, 270), (213, 350), (320, 350), (960, 140), (110, 700)])
def test_columns_give_sensible_proportions(cell):
    for count in range(2, 62):
        columns = grid_columns(count, cell, 20)
        rows = -(-count // columns)
        assert 1 <= columns <= count and columns * rows - count < columns
        if count >= 8:
            aspect = columns * (cell[0] + 20) / (rows * (cell[1] + 20))
            assert 0.6 < aspect < 3.6, (count, columns, aspect)


def test_a_full_last_row_is_worth_a_change_of_proportions():
    assert grid_columns(12, (320, 270), 20) == 4
    assert grid_columns(21, (320, 270), 20) == 7


@pytest.mark.parametrize("count", [1, 2, 16, 60])
@pytest.mark.parametrize("size", [(64, 48), (30, 64), (300, 20), (20, 300), (1, 1)])
def test_all_numbers_and_shapes(count, size):
    colours = [(10 + 4 * number, 250 - 4 * number, 100) for number in range(count)]
    painted = [(f"style-{number}", plain(colour, size)) for number, colour in enumerate(colours)]
    sheet = style_sheet(plain(RED, size), painted, tile=48)
    codes, first, counts = np.unique(
        np.asarray(sheet).astype(int) @ (65536, 256, 1), return_index=True, return_counts=True
    )
    places = {code: (index, number) for code, index, number in zip(codes, first, counts, strict=True)}
    found = [places[int(np.dot(colour, (65536, 256, 1)))] for colour in (RED, *colours)]
    assert len({number for _, number in found}) == 1, "all of one size"
    assert len({index for index, _ in found}) == count + 1
    assert [index for index, _ in found] == sorted(index for index, _ in found), "row by row"


def test_a_title_moves_everything_down():
    painted = [("a", plain(GREEN))]
    without, with_title = style_sheet(plain(RED), painted), style_sheet(plain(RED), painted, title="My photo")
    assert with_title.height > without.height and with_title.width == without.width
    assert (np.asarray(with_title)[: box_of(with_title, RED)[1]] < 100).any()
    assert style_sheet(plain(RED), painted, title="").size == without.size


def test_paintings_lie_in_the_lower_right_corner_of_their_style():
    painted = [("a", plain(GREEN)), ("b", plain(BLUE))]
    wide, tall = plain(YELLOW, (300, 100)), plain(YELLOW, (100, 300))
    for painting in (wide, tall):
        sheet = style_sheet(plain(RED), painted, tile=160, paintings={"b": painting, "photo": wide, "c": wide})
        small, tile = box_of(sheet, YELLOW), box_of(sheet, BLUE)
        tile = (tile[0], tile[1], tile[0] + 160, tile[1] + 120)
        assert tile[0] < small[0] < small[2] <= tile[2] and tile[1] < small[1] < small[3] <= tile[3]
        assert small[2] >= tile[2] - 4 and small[3] >= tile[3] - 4
        width, height = small[2] - small[0], small[3] - small[1]
        assert width / height == pytest.approx(painting.width / painting.height, rel=0.15)
        assert 0.04 < width * height / (160 * 120) < 0.15
        assert sheet.getpixel((small[0] - 1, small[1] - 1)) == BACKGROUND


def test_no_painting_where_a_tile_is_too_small_for_one():
    sheet = style_sheet(plain(RED), [("a", plain(GREEN))], tile=40, paintings={"a": plain(YELLOW)})
    assert box_of(sheet, YELLOW) is None


NAMES = [
    "great-wave-60-starry-night-40",
    "x" * 200,
    "one two three " * 30,
    "a\nb\tc",
    "",
    "\u2603 snow \u00c4rger",
    "-" * 90,
]


@pytest.mark.parametrize("bitmap", [False, True])
def test_labels_stay_within_their_columns(monkeypatch, bitmap):
    from PIL import ImageFont

    if bitmap:  # Pillow without FreeType
        monkeypatch.setattr(module, "label_font", lambda size: ImageFont.load_default_imagefont())
    for size in ((64, 48), (20, 300)):
        for name in NAMES:
            sheet = style_sheet(plain(RED, size), [(name, plain(GREEN, size))], columns=2, tile=96)
            pixels, photo, tile = np.asarray(sheet).min(axis=-1), box_of(sheet, RED), box_of(sheet, GREEN)
            gap = photo[0]
            assert (pixels[tile[3] :, sheet.width - gap // 2 :] > 200).all(), f"{name!r} runs out of the sheet"
            assert (pixels[sheet.height - gap // 2 :] > 200).all()
            assert (pixels[tile[3] :, tile[0] - gap // 2 : tile[0]] > 200).all()


def test_lines_are_broken_after_hyphens_and_cut_with_dots():
    font = label_font(18)
    width = font.getlength("great-wave-60-") + 5
    assert module._wrapped("great-wave-60-starry-night", font, width) == ["great-wave-60-", "starry-night"]
    assert module._wrapped("mosaic", font, width) == ["mosaic"]
    cut = module._wrapped("great-wave-60-starry-night-40-and-more", font, width)
    assert len(cut) == 2 and cut[1].startswith("starry-ni") and cut[1].endswith("\u2026")
    assert all(font.getlength(line) <= width for line in cut)
    assert font.getlength(cut[1][:-1] + "gh\u2026") > width, "no more is cut than needed"


def test_columns_are_as_wide_as_the_words_under_narrow_pictures():
    narrow = style_sheet(plain(RED, (20, 300)), [("composition-viii", plain(GREEN, (20, 300)))], columns=2, tile=96)
    font = label_font(12)
    assert box_of(narrow, GREEN)[0] - box_of(narrow, RED)[0] >= font.getlength("composition-")


def test_pictures_of_any_mode_and_size_and_the_inputs_stay():
    photo = plain(RED)
    half = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    half.paste((*GREEN, 255), (0, 0, 32, 48))
    before = half.tobytes()
    painted = [("alpha", half), ("palette", plain(BLUE).convert("P")), ("small", plain(YELLOW, (8, 6)))]
    sheet = style_sheet(photo, painted, columns=4, tile=64)
    assert half.tobytes() == before and photo.tobytes() == plain(RED).tobytes()
    left, top, right, bottom = box_of(sheet, GREEN)
    assert (right - left, bottom - top) == (32, 48)
    assert sheet.getpixel((left + 48, top + 20)) == BACKGROUND, "transparent is white"
    small = box_of(sheet, YELLOW)
    assert (small[2] - small[0], small[3] - small[1]) == (64, 48)


def test_a_photo_on_its_side_is_turned():
    exif, stream = Image.Exif(), io.BytesIO()
    exif[274] = 6
    plain(RED).save(stream, "PNG", exif=exif)
    sheet = style_sheet(Image.open(stream), [("a", plain(GREEN, (48, 64)))], tile=64)
    for colour in (RED, GREEN):
        box = box_of(sheet, colour)
        assert (box[2] - box[0], box[3] - box[1]) == (48, 64)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"painted": []}, "no styles"),
        ({"tile": 5}, "5 pixels given; 32 to 4096"),
        ({"tile": 32.5}, "32.5 pixels given"),
        ({"columns": 0}, "0 columns given"),
        ({"columns": 1.5}, "1.5 columns given"),
        ({"painted": [("a", "not a picture")]}, "str"),
        ({"painted": [("a", plain(GREEN))] * 20, "tile": 4096}, "smaller tiles"),
    ],
)
def test_bad_inputs(changes, message):
    arguments = {"painted": [("a", plain(GREEN))]} | changes
    with pytest.raises(InputError, match=message):
        style_sheet(plain(RED), **arguments)
