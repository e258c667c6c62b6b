"""Stored features come back within the bound that their encoding promises, whatever they are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylize.tiles.encoding import BLOCK, STEPS, STORED_AS, chunk_rows, make_encoding

EPSILON = torch.finfo(torch.float32).eps


def round_trip(rows: Tensor, stored: str) -> Tensor:
    """Return rows (h, W, C) as they come back."""
    height, width, channels = rows.shape
    encoding = make_encoding(stored, channels, width)
    # Memory that held something else before.
    room = torch.full((height, encoding.row_bytes), 255, dtype=torch.uint8)
    encoding.encode(rows, room)
    back = torch.empty(rows.shape)
    encoding.decode(room, back)
    return back


def bound(rows: Tensor) -> Tensor:
    """Return the largest error of ``int16`` for every value (h, W, C), in float64, worked out block by block."""
    rows, allowed = rows.double(), torch.empty(rows.shape, dtype=torch.float64)
    for left in range(0, rows.shape[1], BLOCK):
        block = rows[:, left : left + BLOCK]
        lowest, highest = block.amin(1, keepdim=True), block.amax(1, keepdim=True)
        step = (highest - lowest) / STEPS
        # The digits of float32: of the values, and of where in the range they are.
        lost = 2 * EPSILON * block.abs().amax(1, keepdim=True) + 0.01 * step
        allowed[:, left : left + BLOCK] = step / 2 + lost
    # Of a range that is too small to be divided by STEPS only the middle is kept.
    return allowed + STEPS * torch.finfo(torch.float32).tiny


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 3),
    width=st.integers(1, 2 * BLOCK + 3),
    channels=st.integers(1, 5),
    middle=st.floats(-1e6, 1e6, width=32),
    scale=st.sampled_from([0.0, 1e-44, 1e-38, 1e-30, 1e-6, 1.0, 300.0, 1e20, 1e36]),
    heavy=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_error_is_within_half_a_step(height, width, channels, middle, scale, heavy, seed):
    rows = torch.randn(height, width, channels, generator=torch.Generator().manual_seed(seed))
    if heavy:
        rows = (rows**5).clamp(-99, 99)  # a few values far beyond all others
    rows = rows * scale + middle
    error = (round_trip(rows, "int16").double() - rows.double()).abs()
    assert bool((error <= bound(rows)).all())
    assert torch.equal(round_trip(rows, "float32"), rows)


@pytest.mark.parametrize("value", [0.0, -0.3, 1e-44, 123456.789, -3e38])
def test_a_block_of_one_value_comes_back_exactly(value):
    rows = torch.full((2, BLOCK + 7, 3), value)
    assert torch.equal(round_trip(rows, "int16"), rows)


def test_extremes_are_not_clipped():
    # The lowest and the highest value of each block are the ends of its range; one is far out.
    rows = torch.linspace(-1, 1, 2 * BLOCK)[None, :, None].repeat(1, 1, 2)
    rows[0, 5, 0], rows[0, 6, 0] = 1000, -3000
    back = round_trip(rows, "int16")
    assert float(back[0, 5, 0]) == pytest.approx(1000, abs=0.05)
    assert float(back[0, 6, 0]) == pytest.approx(-3000, abs=0.05)
    # A step in that block is 4000 / 65534; in the other block of that channel, and in the other channel, 1 / 65534.
    error = (back - rows).abs()
    assert 0.01 < float(error[0, :BLOCK, 0].max()) < 0.031
    assert float(error[0, BLOCK:].max()) < 9e-6
    assert float(error[0, :, 1].max()) < 9e-6


@pytest.mark.parametrize("problem", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_never_made_finite(problem):
    rows = torch.randn(2, BLOCK + 9, 2, generator=torch.Generator().manual_seed(0))
    rows[0, 3, 1] = problem
    back = round_trip(rows, "int16")
    assert not back[0, 3, 1].isfinite()
    # It spoils its own block and nothing else.
    spoilt = torch.zeros(rows.shape, dtype=torch.bool)
    spoilt[0, :BLOCK, 1] = True
    torch.testing.assert_close(back[~spoilt], rows[~spoilt], atol=6e-5, rtol=0)


def test_bytes_of_a_row():
    # By hand: 130 positions are 3 blocks, each with two scales of four bytes for every channel.
    assert make_encoding("float32", 5, 130).row_bytes == 130 * 5 * 4
    assert make_encoding("int16", 5, 130).row_bytes == 130 * 5 * 2 + 3 * 5 * 8
    # Rows of an odd number of values: the next one begins where float32 may begin.
    assert make_encoding("int16", 5, 7).row_bytes == 72 + 40
    for stored in STORED_AS:
        for width in (1, 7, 64, 65, 1000):
            assert make_encoding(stored, 3, width).row_bytes % 4 == 0


def test_int16_takes_little_more_than_two_bytes_per_value():
    assert make_encoding("int16", 64, 2500).row_bytes <= 2.13 * 64 * 2500


def test_rows_are_converted_a_few_at_a_time():
    # A mebibyte of float32: 4 rows of 64 channels and 1024 positions; never less than one row.
    assert chunk_rows(64, 1024) == 4
    assert chunk_rows(128, 100_000) == 1
