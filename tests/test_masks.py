"""Masks: what every kind of picture means as one, sizes, notes, and blending."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stylize.errors import ImageError, InputError
from stylize.masks import blend, mask_note, open_mask, read_mask


def save(path: Path, values: object, mode: str | None = None, **options: object) -> Path:
    """Write pixels (H, W) or (H, W, C) as a picture."""
    image = Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def levels(mask: torch.Tensor) -> list[list[int]]:
    """Return a mask (1, 1, H, W) in levels of 255."""
    assert mask.dtype == torch.float32 and mask.shape[:2] == (1, 1)
    return (mask[0, 0] * 255).round().int().tolist()


GREYS = np.array([[0, 1, 128], [200, 254, 255]], np.uint8)


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.bmp", "m.webp", "m.gif"])
def test_grey_counts_as_it_stands(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    mask = read_mask(save(tmp_path / name, GREYS, **options), (3, 2))
    assert levels(mask) == GREYS.tolist()
    assert float(mask[0, 0, 0, 2]) == pytest.approx(128 / 255)


def test_other_modes(tmp_path):
    deep = save(tmp_path / "deep.png", GREYS.astype(np.uint16) * 257)
    assert levels(read_mask(deep, (3, 2))) == GREYS.tolist()
    bits = tmp_path / "bits.png"
    Image.fromarray(GREYS).point(lambda level: 255 * (level > 127)).convert("1").save(bits)
    assert levels(read_mask(bits, (3, 2))) == [[0, 0, 255], [255, 255, 255]]
    colour = save(tmp_path / "colour.png", np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]]))
    assert levels(read_mask(colour, (4, 1))) == [[76, 150, 29, 255]]  # 0.299, 0.587 and 0.114 of 255
    palette = save(tmp_path / "palette.png", np.stack([GREYS] * 3, axis=-1), "P")
    assert (np.abs(np.array(levels(read_mask(palette, (3, 2)))) - GREYS.astype(int)) < 30).all()


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 30, 30)])
def test_a_drawing_of_one_colour_holds_its_shape_in_its_alpha(tmp_path, colour):
    alpha = [0, 60, 180, 255]
    # Under transparent pixels lies what a program left there; in a lossy file a colour varies a little.
    pixels = [[(9, 99, 199, 0), (*colour, 60), (*(abs(level - 3) for level in colour), 180), (*colour, 255)]]
    assert levels(read_mask(save(tmp_path / "a.png", np.uint8(pixels)), (4, 1))) == [alpha]


def test_any_other_picture_with_alpha_is_laid_over_black(tmp_path):
    pixels = [[(255, 255, 255, 255), (0, 0, 0, 255), (255, 255, 255, 0), (255, 255, 255, 128), (100, 100, 100, 255)]]
    assert levels(read_mask(save(tmp_path / "a.png", np.uint8(pixels)), (5, 1))) == [[255, 0, 0, 128, 100]]


def test_alpha_of_one_value_holds_no_shape(tmp_path):
    half_white, half_black, nothing = [[(255, 255, 255, 128)]], [[(0, 0, 0, 128)]], [[(255, 255, 255, 0)]]
    for pixels, level in ((half_white, 128), (half_black, 0), (nothing, 0)):
        assert levels(read_mask(save(tmp_path / "a.png", np.uint8(pixels)), (1, 1))) == [[level]]


def test_orientation_is_that_of_the_upright_photo(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path = save(tmp_path / "turned.png", GREYS, exif=exif)
    assert levels(read_mask(path, (2, 3))) == np.rot90(GREYS, -1).tolist()
    with pytest.raises(InputError, match="turn it by 90 degrees"):
        read_mask(path, (30, 20))


def edge(width: int, height: int) -> np.ndarray:
    """A mask that is white to the right of its middle."""
    values = np.zeros((height, width), np.uint8)
    values[:, width // 2 :] = 255
    return values


@pytest.mark.parametrize("mask, photo", [((40, 30), (400, 300)), ((400, 300), (40, 30)), ((40, 30), (41, 31))])
def test_another_size_is_resized_smoothly(tmp_path, mask, photo):
    found = read_mask(save(tmp_path / "m.png", edge(*mask)), photo)
    assert found.shape == (1, 1, photo[1], photo[0])
    row = found[0, 0, photo[1] // 2]
    assert float(row[0]) == 0 and float(row[-1]) == 1
    assert bool((row.diff() >= -1e-6).all()), "an echo beside the edge"
    assert float(found.mean()) == pytest.approx(0.5, abs=0.02)
    if photo[0] > mask[0] * 2:
        assert ((row > 0.02) & (row < 0.98)).sum() >= 5, "steps instead of a soft edge"
    assert float((found - found[:, :, :1]).abs().max()) < 1e-6


@pytest.mark.parametrize("mask", [(37, 53), (200, 280), (61, 83), (7, 10)])
def test_strips_are_the_whole(tmp_path, mask):
    generator = np.random.default_rng(0)
    path = save(tmp_path / "m.png", generator.integers(0, 256, mask[::-1], dtype=np.uint8))
    size = (61, 86) if mask != (61, 83) else (61, 83)
    opened, whole = open_mask(path, size), read_mask(path, size)
    for step in (1, 7, 50):
        strips = [opened.rows(top, min(top + step, size[1])) for top in range(0, size[1], step)]
        torch.testing.assert_close(torch.cat(strips, dim=2), whole, atol=1e-5, rtol=0)
    for rows in ((-1, 3), (3, 3), (0, size[1] + 1)):
        with pytest.raises(InputError, match="rows"):
            opened.rows(*rows)


@pytest.mark.parametrize(
    "mask, photo",
    [
        ((1000, 667), (6000, 4000)),
        ((100, 67), (6000, 4000)),
        ((10, 7), (6000, 4000)),  # rounded
        ((1000, 1000), (1000, 1009)),  # 1 %
        ((40, 40), (40, 42)),  # 2 pixels
        ((1, 1), (1, 1)),
    ],
)
def test_proportions_that_are_close_enough(tmp_path, mask, photo):
    opened = open_mask(save(tmp_path / "m.png", np.zeros(mask[::-1], np.uint8)), photo)
    assert opened.rows(0, 1).shape == (1, 1, 1, photo[0])


@pytest.mark.parametrize(
    "mask, photo",
    [((1000, 700), (6000, 4000)), ((1000, 1000), (1000, 1020)), ((40, 40), (40, 44)), ((300, 30), (30, 30))],
)
def test_other_proportions_are_refused_with_both_sizes(tmp_path, mask, photo):
    path = save(tmp_path / "m.png", np.zeros(mask[::-1], np.uint8))
    with pytest.raises(InputError) as caught:
        read_mask(path, photo)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    assert f"{mask[0]} x {mask[1]}" in message and f"{photo[0]} x {photo[1]}" in message
    assert "from the photo itself" in message


def test_files_that_are_no_masks(tmp_path):
    (tmp_path / "text.png").write_text("no picture at all, only words")
    (tmp_path / "empty.png").write_bytes(b"")
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8))
    (tmp_path / "part.png").write_bytes(whole.read_bytes()[:900])
    for name, message in (
        ("missing.png", "there is no such file"),
        ("text.png", "no picture of a known format"),
        ("empty.png", "is empty"),
        ("part.png", "truncated"),
        ("", "is a folder"),
    ):
        with pytest.raises(ImageError, match=f"^mask: .*{message}") as caught:
            read_mask(tmp_path / name, (50, 50))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="0 x 5"):
        read_mask(whole, (0, 5))


def test_notes_on_masks_of_one_colour():
    plain = torch.ones(1, 1, 4, 5)
    assert mask_note(plain) == "the mask is all white: the whole result is the style, and nothing of the photo"
    assert mask_note(plain * 0) == "the mask is all black: the whole result is the photo, and nothing of the style"
    assert mask_note(plain * 0.4, "a", "b") == "the mask is one grey: the whole result is 40 % a and 60 % b"
    plain[0, 0, 1, 1] = 0.9
    assert mask_note(plain) is None


def test_blend_by_hand_and_exact_at_both_ends():
    first, second = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    mask = torch.zeros(1, 1, 4, 5)
    assert torch.equal(blend(first, second, mask), second)
    assert torch.equal(blend(first, second, mask + 1), first)
    mask[..., 2] = 0.25
    expected = 0.25 * first[..., 2] + 0.75 * second[..., 2]
    torch.testing.assert_close(blend(first, second, mask)[..., 2], expected)
    one_each = torch.stack([torch.zeros(1, 4, 5), torch.ones(1, 4, 5)])
    assert torch.equal(blend(first, second, one_each), torch.stack([second[0], first[1]]))


@settings(max_examples=50, deadline=None)
@given(*[st.floats(0, 1, width=32)] * 3)
def test_a_blend_lies_between(first, second, share):
    pictures = [torch.full((1, 3, 1, 1), level) for level in (first, second)]
    result = blend(*pictures, torch.full((1, 1, 1, 1), share))
    assert min(first, second) - 1e-6 <= float(result[0, 0, 0, 0]) <= max(first, second) + 1e-6


def test_blend_refuses_what_does_not_fit():
    picture, mask = torch.zeros(2, 3, 4, 5), torch.zeros(1, 1, 4, 5)
    for arguments in (
        (picture, picture[:1], mask),
        (picture[0], picture[0], mask),
        (picture, picture, mask[..., :4]),
        (picture, picture, mask[0, 0]),
        (picture, picture, mask.expand(3, 1, 4, 5)),
    ):
        with pytest.raises(InputError, match="shape"):
            blend(*arguments)
