"""Paintings enlarged: scales, the enlargements in strips, the second pass."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylize.errors import InputError
from stylize.images import to_tensor
from stylize.reduction import Reduction, reduce
from stylize.stroke_size import (
    ENLARGEMENTS,
    UNREDUCED_EDGE,
    Enlargement,
    mix,
    painting_scale,
    painting_size,
    second_pass,
)
from tests.helpers import synthetic_image

EACH = pytest.mark.parametrize("method", ENLARGEMENTS)
GREY_LEVEL = 1 / 255


def random_picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def photo(width: int = 96, height: int = 72) -> Tensor:
    return to_tensor(synthetic_image(width, height))


def waves() -> Tensor:
    """Return a smooth picture (1, 3, 64, 64) whose colours change in different directions."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return torch.stack([torch.sin(x / 4), torch.sin(y / 5 + 1), torch.sin((x + y) / 6)]).mul(0.4).add(0.5).unsqueeze(0)


def striped(enlargement: Enlargement, picture: Tensor, step: int) -> Tensor:
    tops = range(0, picture.shape[2], step)
    return torch.cat([enlargement.rows(picture[:, :, top : top + step], top) for top in tops], dim=2)


# Scales


def test_auto_leaves_small_pictures_alone():
    assert painting_scale(UNREDUCED_EDGE, 700, "auto") == 1
    assert painting_scale(1, 1, "auto") == 1
    assert painting_scale(300, UNREDUCED_EDGE + 100, "auto") < 1


def test_auto_is_what_the_docstring_says():
    scales = [round(painting_scale(edge, 10, "auto"), 2) for edge in (2048, 4096, 6000, 20000)]
    assert scales == [0.63, 0.4, 0.31, 0.14]


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_auto_falls_with_the_size_while_the_painting_grows(one, other):
    small, large = sorted((one, other))
    scale_small, scale_large = (painting_scale(1, edge, "auto") for edge in (small, large))
    assert 0 < scale_large <= scale_small <= 1
    assert small * scale_small <= large * scale_large + 1e-9
    assert painting_scale(large, 1, "auto") == scale_large


@pytest.mark.parametrize(("given_scale", "number"), [(1, 1.0), (0.25, 0.25), ("0.5", 0.5), (1e-9, 1e-9)])
def test_numbers_are_taken_as_they_are(given_scale, number):
    assert painting_scale(5000, 4000, given_scale) == number


@pytest.mark.parametrize("bad", [0, -0.5, 1.01, math.nan, math.inf, "half", "", None, True, "nan"])
def test_other_scales_are_refused(bad):
    with pytest.raises(InputError, match="above 0 and up to 1, or 'auto'"):
        painting_scale(100, 100, bad)


def test_a_picture_without_pixels_has_no_scale():
    with pytest.raises(InputError, match="holds nothing"):
        painting_scale(0, 100, "auto")


def test_painting_sizes():
    assert painting_size(6000, 4000, 0.25) == (1500, 1000)
    assert painting_size(7, 5, 0.5) == (4, 3)
    assert painting_size(1000, 1, 0.001) == (1, 1)
    assert painting_size(33, 77, 1.0) == (33, 77)


# Enlargement: what holds for every method


@EACH
@given(st.data())
@settings(max_examples=12, deadline=None)
def test_strips_equal_the_whole_exactly(method, data):
    height, width = data.draw(st.integers(1, 48)), data.draw(st.integers(1, 48))
    small = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    picture = random_picture(height, width)
    enlargement = Enlargement(random_picture(*small, seed=1), random_picture(*small, seed=2), height, width, method)
    whole = enlargement.rows(picture, 0)
    assert whole.shape == picture.shape
    assert whole.dtype == torch.float32
    assert whole.min() >= 0
    assert whole.max() <= 1
    assert torch.equal(striped(enlargement, picture, data.draw(st.integers(1, height))), whole)


@EACH
def test_at_its_own_size_the_painting_stays_as_it_is(method):
    painting, picture = random_picture(12, 9), random_picture(12, 9, seed=1)
    enlargement = Enlargement(painting, picture, 12, 9, method)
    assert torch.equal(enlargement.rows(picture[:, :, 3:8], 3), painting[:, :, 3:8])


@EACH
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_painting_in_one_colour_stays_so(method, value):
    painting = torch.full((1, 3, 6, 5), value)
    picture = random_picture(24, 17)
    found = Enlargement(painting, reduce(picture, 6, 5), 24, 17, method).rows(picture, 0)
    torch.testing.assert_close(found, torch.full_like(picture, value), atol=1e-5, rtol=0)


@EACH
@pytest.mark.parametrize(("small", "large"), [((1, 1), (1, 1)), ((1, 1), (5, 4)), ((1, 4), (1, 9)), ((3, 1), (10, 1))])
def test_tiny_pictures(method, small, large):
    painting, picture = random_picture(*small), random_picture(*large)
    found = Enlargement(painting, reduce(picture, *small), *large, method).rows(picture, 0)
    assert found.shape == picture.shape
    assert bool(found.isfinite().all())


@EACH
def test_enlarged_paintings_reduce_to_the_painting(method):
    """No method moves or recolours the painting, apart from what is finer than its pixels."""
    picture = photo()
    painting = 1 - reduce(picture, 36, 48)
    found = Enlargement(painting, 1 - painting, 72, 96, method).rows(picture, 0)
    assert (reduce(found, 36, 48) - painting).abs().mean() < 0.03


@EACH
def test_mirrored_pictures_give_mirrored_results(method):
    """A half-pixel shift anywhere would show here."""
    picture, painting = photo(), random_picture(18, 24)
    small = reduce(picture, 18, 24)
    found = Enlargement(painting, small, 72, 96, method).rows(picture, 0)
    mirrored = Enlargement(painting.flip(2, 3), small.flip(2, 3), 72, 96, method).rows(picture.flip(2, 3), 0)
    torch.testing.assert_close(mirrored.flip(2, 3), found, atol=1e-3, rtol=0)


# Enlargement: the methods


def test_bicubic_is_that_of_torch():
    painting, picture = random_picture(13, 17), random_picture(40, 31)
    expected = F.interpolate(painting, size=(40, 31), mode="bicubic").clamp(0, 1)
    found = Enlargement(painting, painting, 40, 31, "bicubic").rows(picture, 0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_guided_filter_gives_back_the_photo_it_was_made_of():
    picture = waves()
    small = reduce(picture, 32, 32)
    found = Enlargement(small, small, 64, 64, "guided").rows(picture, 0)
    bicubic = Enlargement(small, small, 64, 64, "bicubic").rows(picture, 0)
    # Without the border: the picture goes on flat there, and its windows have less contrast.
    inside = (..., slice(4, -4), slice(4, -4))
    assert (found - picture)[inside].abs().max() < GREY_LEVEL
    assert (found - picture).abs().mean() < GREY_LEVEL / 4
    assert (bicubic - picture)[inside].abs().max() > GREY_LEVEL


def test_the_guided_filter_follows_a_change_of_colours():
    """A painting that is the photo recoloured is so at the large size, too: the model is linear in colours."""
    matrix = torch.tensor([[0.1, 0.7, 0.0], [0.0, 0.1, 0.6], [0.5, 0.2, 0.1]])

    def recoloured(picture: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", matrix, picture) + 0.1

    picture = waves()
    small = reduce(picture, 32, 32)

    def error(method: str) -> Tensor:
        found = Enlargement(recoloured(small), small, 64, 64, method).rows(picture, 0)
        return (found - recoloured(picture)).abs().mean()

    assert error("guided") < GREY_LEVEL / 4
    assert error("bicubic") > GREY_LEVEL / 2


@pytest.mark.parametrize("method", ["detail", "strokes"])
def test_the_photo_shows_in_the_detail_but_leaves_no_halo(method):
    """A thin line of the photo shows, and no pixel leaves the range of the painting near it."""
    picture = torch.full((1, 3, 32, 32), 0.5)
    picture[:, :, :, 17] = 1.0
    small = reduce(picture, 8, 8)
    painting = torch.linspace(0.2, 0.8, 8).view(1, 1, 1, 8).expand(1, 3, 8, 8).contiguous()
    with_line = Enlargement(painting, small, 32, 32, method).rows(picture, 0)
    without = Enlargement(painting, torch.full_like(small, 0.5), 32, 32, method).rows(torch.full_like(picture, 0.5), 0)
    assert (with_line - without)[:, :, :, 17].min() > 0.03
    assert with_line.min() >= 0.2 - 1e-6
    assert with_line.max() <= 0.8 + 1e-6


def test_strokes_are_steeper_than_bicubic_ones_and_do_not_overshoot():
    painting = torch.full((1, 3, 16, 16), 0.2)
    painting[:, :, :, 8:] = 0.8
    grey, small = torch.full((1, 3, 64, 64), 0.5), torch.full((1, 3, 16, 16), 0.5)
    strokes = Enlargement(painting, small, 64, 64, "strokes").rows(grey, 0)
    bicubic = Enlargement(painting, small, 64, 64, "bicubic").rows(grey, 0)
    steepest = [picture.diff(dim=3).max().item() for picture in (strokes, bicubic)]
    assert steepest[0] > 1.25 * steepest[1]
    assert strokes.min() >= 0.2 - 1e-6
    assert strokes.max() <= 0.8 + 1e-6
    assert bicubic.max() > 0.81
    # The edge stays where it was.
    torch.testing.assert_close(strokes[..., 31:33].mean(), torch.tensor(0.5), atol=0.02, rtol=0)


@pytest.mark.parametrize("falling", [False, True])
def test_strokes_smooth_along_diagonals_of_either_direction(falling):
    """The stairs of a slanted edge get smaller: the direction has the right sign."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    stairs = ((x + y if falling else x - y + 32) > 32).float().mul(0.6).add(0.2).expand(1, 3, 32, 32).contiguous()
    grey, small = torch.full((1, 3, 128, 128), 0.5), torch.full((1, 3, 32, 32), 0.5)

    def stairs_and_steepness(method: str) -> tuple[float, float]:
        found = Enlargement(stairs, small, 128, 128, method).rows(grey, 0)[0, 0]
        found = found if falling else found.flip(1)
        # The edge is where the coordinates add up to this: half a small pixel after the last dark one.
        edge = 133 if falling else 125
        along = [torch.stack([found[edge + side - column, column] for column in range(40, 90)]) for side in (-3, 3)]
        return float(along[0].std() + along[1].std()), float(along[1].mean() - along[0].mean())

    strokes, bicubic = stairs_and_steepness("strokes"), stairs_and_steepness("bicubic")
    assert strokes[0] < 0.6 * bicubic[0]
    assert abs(strokes[1]) > 0.55  # Of 0.6: nothing is averaged across.


# Second pass


def test_the_second_pass_paints_a_mixture():
    enlarged, picture = random_picture(8, 8), random_picture(8, 8, seed=1)
    seen = []

    def paint(image: Tensor) -> Tensor:
        seen.append(image)
        return image * 3 - 1

    found = second_pass(enlarged, picture, paint, 0.25)
    torch.testing.assert_close(seen[0], 0.75 * enlarged + 0.25 * picture)
    torch.testing.assert_close(found, (seen[0] * 3 - 1).clamp(0, 1))


def test_shares_of_all_and_nothing():
    enlarged, picture = random_picture(3, 4), random_picture(3, 4, seed=1)
    assert torch.equal(mix(enlarged, picture, 0), enlarged)
    torch.testing.assert_close(mix(enlarged, picture, 1), picture)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_other_shares_are_refused(share):
    with pytest.raises(InputError, match="a number from 0 to 1"):
        mix(random_picture(2, 2), random_picture(2, 2), share)


def test_mixtures_need_equal_shapes():
    with pytest.raises(InputError, match="of shape"):
        mix(random_picture(2, 2), random_picture(2, 3))


# Bad input


def test_an_unknown_method_is_named():
    with pytest.raises(InputError, match="unknown enlargement 'stroke'; did you mean 'strokes'"):
        Enlargement(random_picture(2, 2), random_picture(2, 2), 4, 4, "stroke")


@pytest.mark.parametrize(
    ("painting", "small", "size", "words"),
    [
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5), (8, 8), "different shapes"),
        (torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 4), (8, 8), r"\(1, 3, H, W\)"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), (8, 8), r"\(1, 3, H, W\)"),
        (torch.zeros(1, 3, 0, 4), torch.zeros(1, 3, 0, 4), (8, 8), r"\(1, 3, H, W\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.float64), torch.zeros(1, 3, 4, 4), (8, 8), "painting of dtype"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), (8, 8), "photo of dtype"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), (3, 8), "cannot be enlarged to 8 x 3"),
    ],
)
def test_bad_small_pictures_are_refused(painting, small, size, words):
    with pytest.raises(InputError, match=words):
        Enlargement(painting, small, *size)


@pytest.mark.parametrize(
    ("rows", "top", "words"),
    [
        (torch.zeros(1, 3, 2, 7), 0, "rows 0 to 2 of 7 pixels"),
        (torch.zeros(1, 3, 2, 8), 7, "rows 7 to 9 of 8 pixels"),
        (torch.zeros(1, 3, 2, 8), -1, "rows -1 to 1"),
        (torch.zeros(1, 3, 2, 8, dtype=torch.float16), 0, "dtype"),
        (torch.zeros(3, 2, 8), 0, "shape"),
    ],
)
def test_bad_rows_are_refused(rows, top, words):
    enlargement = Enlargement(random_picture(4, 4), random_picture(4, 4), 8, 8)
    with pytest.raises(InputError, match=words):
        enlargement.rows(rows, top)
    with pytest.raises(InputError, match=words):
        Reduction(8, 8, 4, 4).add(rows, top)
