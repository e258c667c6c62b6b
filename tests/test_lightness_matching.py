"""How light a painting is beside its photo, by a small copy of both."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.colour_preservation import GAIN_LIMIT, LightnessMatch, lightness_statistics, preserve_colour
from stylize.lightness_matching import COPY_EDGE, copy_from_rows, copy_size, lightness_match, lightness_matches
from stylize.reduction import reduce


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=50, deadline=None)
@given(width=st.integers(1, 10**6), height=st.integers(1, 10**6))
def test_the_size_of_a_copy(width, height):
    wide, tall = copy_size(width, height)
    assert 1 <= wide <= width and 1 <= tall <= height
    if max(width, height) <= COPY_EDGE:
        assert (wide, tall) == (width, height)
    else:
        assert max(wide, tall) == COPY_EDGE
        assert abs(wide / COPY_EDGE - width / max(width, height)) < 1 / COPY_EDGE


@pytest.mark.parametrize(("width", "height"), [(700, 300), (90, 1100), (1500, 2), (40, 30)])
def test_a_copy_from_rows_is_that_of_the_whole(width, height):
    whole, asked = picture(height, width), []

    def rows(top, bottom):
        asked.append((top, bottom))
        return whole[:, :, top:bottom]

    wide, tall = copy_size(width, height)
    torch.testing.assert_close(copy_from_rows(rows, width, height), reduce(whole, tall, wide), atol=1e-5, rtol=0)
    ends = [0, *(bottom for _, bottom in asked)]
    assert [top for top, _ in asked] == ends[:-1] and ends[-1] == height


def test_a_small_picture_is_its_own_copy():
    photos = torch.cat([picture(8, 9, seed) for seed in (0, 1)])
    painted = torch.cat([0.3 * photos[:1], 0.5 + 0.5 * photos[1:]])

    def paint(_):
        raise AssertionError("painted once more")

    found = lightness_matches(photos, painted, paint)
    assert found == tuple(lightness_match(photos[[one]], painted[[one]]) for one in (0, 1))
    first, second = found
    assert first.offset > 0 > second.offset  # the dark painting gets lighter, the light one darker


def test_each_large_picture_is_painted_as_a_copy_of_its_own():
    photos = torch.cat([picture(20, 600, seed) for seed in (0, 1)])
    given_sizes = []

    def paint(copy):
        given_sizes.append(tuple(copy.shape))
        return 0.4 * copy

    found = lightness_matches(photos, torch.zeros_like(photos), paint)
    assert given_sizes == [(1, 3, 17, 512)] * 2
    assert found == tuple(lightness_matches(photos[[one]], photos[[one]], paint)[0] for one in (0, 1))
    assert found[0] != found[1]


def test_half_of_the_way():
    photo = 0.3 * picture(30, 40)
    painted = 0.5 + 0.3 * picture(30, 40, 1)
    before, wanted = lightness_statistics([painted]), lightness_statistics([photo])
    match = lightness_match(photo, painted)
    greys = painted.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    after = lightness_statistics([preserve_colour(painted, greys, match)])
    assert after.mean == pytest.approx((before.mean + wanted.mean) / 2, abs=0.01)
    assert 1 <= match.gain <= GAIN_LIMIT**0.5


def test_a_painting_that_is_the_photo_stays():
    photo = picture(10, 10)
    match = lightness_match(photo, photo)
    assert (match.gain, match.offset) == (1.0, pytest.approx(0, abs=1e-12))
    assert lightness_match(photo, photo) == match != LightnessMatch(1.1)
