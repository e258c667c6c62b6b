"""What is done to a painting pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from stylize.colour_preservation import LightnessMatch, to_oklab
from stylize.errors import InputError
from stylize.finishing import Finishing, add_lost_detail, checked_mask
from stylize.masks import Mask, open_mask


def pictures(count=2, height=7, width=5):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 3, height, width, generator=generator) for _ in range(count)]


def test_nothing_to_do_gives_the_painting_itself():
    painted, photo = pictures()
    assert not Finishing().needed
    assert Finishing().picture(painted, photo) is painted


@pytest.mark.parametrize(
    ("fade", "expected"), [(0.0, [0.2, 0.5, 0.9]), (0.5, [0.4, 0.45, 0.5]), (1.5, [0.8, 0.35, 0.0])]
)
def test_fade(fade, expected):
    photo = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)
    painted = torch.tensor([0.6, 0.4, 0.1]).view(1, 3, 1, 1)
    result = Finishing(fade).picture(painted.clone(), photo)
    # 0.9 + 1.5 (0.1 - 0.9) = -0.3, which ends at 0.
    torch.testing.assert_close(result.flatten(), torch.tensor(expected))


def test_the_mask_takes_the_photo_or_the_second_painting():
    painted, photo, second = pictures(3)
    mask = torch.zeros(1, 1, 7, 5)
    mask[..., 2:] = 1
    mask[..., 1] = 0.25
    for other, there in ((None, photo), (second, second)):
        result = Finishing(second=other, mask=mask).picture(painted.clone(), photo)
        assert torch.equal(result[..., 2:], painted[..., 2:])
        assert torch.equal(result[..., :1], there[..., :1])
        torch.testing.assert_close(result[..., 1], 0.25 * painted[..., 1] + 0.75 * there[..., 1])


def test_the_colours_are_those_of_the_photo_where_it_is_painted_and_the_photo_is_untouched_elsewhere():
    photo = torch.tensor([0.6, 0.5, 0.45]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    painted = torch.tensor([0.45, 0.5, 0.6]).view(1, 3, 1, 1).repeat(1, 1, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[:, :, 2:] = 1
    result = Finishing(preserve_colour=True, mask=mask).picture(painted.clone(), photo)
    assert torch.equal(result[:, :, :2], photo[:, :, :2])
    there, light = to_oklab(result)[:, :, 2:], to_oklab(painted)[:, :1, 2:]
    torch.testing.assert_close(there[:, 1:], to_oklab(photo.contiguous())[:, 1:, 2:], atol=1e-3, rtol=0)
    torch.testing.assert_close(there[:, :1], light, atol=1e-3, rtol=0)


def test_each_painting_has_its_own_match_and_a_second_one_keeps_its_colours():
    painted = torch.full((2, 3, 3, 4), 0.5)
    photo = torch.full((2, 3, 3, 4), 0.25)
    mask = torch.zeros(1, 1, 3, 4)
    mask[..., 1:] = 1
    second = torch.rand(2, 3, 3, 4)
    match = (LightnessMatch(), LightnessMatch(0.5, 0.1))
    finishing = Finishing(preserve_colour=True, match=match, second=second, mask=mask)
    result = finishing.picture(painted.clone(), photo)
    assert torch.equal(result[..., 0], second[..., 0])
    lightness, before = to_oklab(result)[:, 0, :, 1:], float(to_oklab(painted)[0, 0, 0, 0])
    torch.testing.assert_close(lightness[0], torch.full((3, 3), before), atol=1e-3, rtol=0)
    torch.testing.assert_close(lightness[1], torch.full((3, 3), 0.5 * before + 0.1), atol=1e-3, rtol=0)


def test_rows_are_those_of_the_whole(monkeypatch):
    painted, photo, second = pictures(3, 23, 9)
    mask = Mask(Image.linear_gradient("L"), 9, 23)
    finishing = Finishing(0.7, True, (LightnessMatch(1.2, -0.1),), second, mask)
    whole = finishing.rows(painted, photo, 0)
    monkeypatch.setattr("stylize.finishing.ROWS_AT_ONCE", 6)
    torch.testing.assert_close(finishing.picture(painted.clone(), photo), whole, atol=1e-6, rtol=0)
    assert finishing.bytes_held == second.nbytes + 256 * 256


def test_what_the_photo_style_loses_is_added_by_what_the_strength_lacks():
    photo, painted, of_photo_style = (torch.full((1, 3, 2, 2), value) for value in (0.5, 0.3, 0.4))
    add_lost_detail(painted, photo, of_photo_style, 0.25)
    torch.testing.assert_close(painted, torch.full((1, 3, 2, 2), 0.375))


def test_a_mask_in_any_form(tmp_path):
    Image.new("L", (5, 7), 255).save(tmp_path / "mask.png")
    shape = torch.Size((2, 3, 7, 5))
    for given in (str(tmp_path / "mask.png"), tmp_path / "mask.png", Image.new("L", (10, 14), 255)):
        assert torch.equal(checked_mask(given, shape).rows(0, 7), torch.ones(1, 1, 7, 5))
    opened = open_mask(tmp_path / "mask.png", (5, 7))
    assert checked_mask(opened, shape) is opened
    each = torch.rand(2, 1, 7, 5)
    assert checked_mask(each, shape) is each


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (torch.zeros(7, 5), r"shape \(7, 5\) given; torch.float32 of shape \(1, 1, 7, 5\)"),
        (torch.zeros(1, 1, 5, 7), r"\(1, 1, 7, 5\) is accepted"),
        (torch.zeros(3, 1, 7, 5), r"\(1, 1, 7, 5\) is accepted"),
        (torch.zeros(1, 1, 7, 5, dtype=torch.uint8), "torch.uint8"),
        (torch.full((1, 1, 7, 5), 255.0), r"a mask in \[255, 255\] given; \[0, 1\]"),
        (torch.full((1, 1, 7, 5), float("nan")), r"\[0, 1\] is accepted"),
        (Image.new("L", (70, 5)), "proportions differ"),
        (Image.new("L", (14, 10)), "lies on its side"),
        (Mask(Image.new("L", (5, 7)), 50, 70), "a mask for a photo of 50 x 70 pixels given with one of 5 x 7"),
        ("absent.png", "mask: .*no such file"),
    ],
)
def test_masks_that_do_not_fit(mask, said):
    with pytest.raises(InputError, match=said):
        checked_mask(mask, torch.Size((2, 3, 7, 5)))
