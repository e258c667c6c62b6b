"""Photos reduced in strips."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylize.errors import InputError
from stylize.reduction import Reduction, reduce


def random_picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_reduction_in_strips_is_the_antialiased_reduction(data):
    height, width = data.draw(st.integers(2, 40)), data.draw(st.integers(2, 40))
    small = data.draw(st.integers(2, height)), data.draw(st.integers(2, width))
    picture = random_picture(height, width)
    expected = F.interpolate(picture, size=small, mode="bicubic", antialias=True).clamp(0, 1)
    reduction = Reduction(height, width, *small)
    step = data.draw(st.integers(1, height))
    for top in reversed(range(0, height, step)):
        reduction.add(picture[:, :, top : top + step], top)
    torch.testing.assert_close(reduction.result(), expected, atol=1e-5, rtol=0)


@given(st.integers(1, 40), st.data())
@settings(max_examples=15, deadline=None)
def test_reductions_of_one_row_or_column_are_those_of_repeated_ones(length, data):
    # torch 2.15 itself gets the rows of a picture wrong that is one pixel wide.
    small, line = data.draw(st.integers(1, length)), random_picture(length, 1)
    expected = reduce(line.expand(1, 3, length, 4).contiguous(), small, 4)[..., :1]
    torch.testing.assert_close(reduce(line, small, 1), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(reduce(line.mT.contiguous(), 1, small), expected.mT, atol=1e-5, rtol=0)


def test_reduce_takes_tall_pictures_in_parts():
    picture = random_picture(700, 3)
    expected = F.interpolate(picture, size=(200, 2), mode="bicubic", antialias=True).clamp(0, 1)
    torch.testing.assert_close(reduce(picture, 200, 2), expected, atol=1e-5, rtol=0)


def test_a_reduction_by_one_is_the_picture():
    assert torch.equal(reduce(random_picture(9, 7), 9, 7), random_picture(9, 7))


def test_a_reduction_needs_all_rows():
    reduction = Reduction(10, 4, 5, 2)
    reduction.add(random_picture(4, 4), 0)
    with pytest.raises(InputError, match="4 rows were added of a picture of 10"):
        reduction.result()


def test_a_reduction_does_not_enlarge():
    with pytest.raises(InputError, match="4 x 4 pixels cannot be reduced to 4 x 5"):
        Reduction(4, 4, 5, 4)
