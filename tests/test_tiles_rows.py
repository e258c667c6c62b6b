"""Rows that arrive a few at a time give the rows that they give at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.tiles.rows import RowWindow, strip_heights


def test_a_window_by_hand():
    # Height 4, a 3x3 convolution: padding above needs the second row, padding below comes with the last one.
    window = RowWindow(4, window=3, stride=1, padding=1, reflect=True)
    first, second, third = window.push(1), window.push(2), window.push(1)
    assert (first.kept, first.total, first.fill_top, first.ready, first.keep) == (1, 2, False, 0, 2)
    assert (second.kept, second.total, second.fill_top, second.ready, second.keep) == (2, 4, True, 2, 2)
    assert (third.kept, third.total, third.fill_bottom, third.ready, third.keep) == (2, 4, True, 2, 0)
    assert window.result_height == 4


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_row_is_computed_once_from_the_rows_it_needs(data):
    kernel = data.draw(st.sampled_from([1, 2, 3, 5, 9]))
    padding, reflect = (1, False) if kernel == 2 else (kernel // 2, True)
    stride = data.draw(st.sampled_from([1, 2])) if kernel == 3 else 1
    height = 2 * data.draw(st.integers(padding // 2 + 1, 20))
    rows = torch.rand(1, 1, height, 1, generator=torch.Generator().manual_seed(height))
    weight = torch.rand(1, 1, kernel, 1, generator=torch.Generator().manual_seed(kernel))
    padded = F.pad(rows, (0, 0, padding, padding), mode="reflect" if reflect else "replicate")
    expected = F.conv2d(padded, weight, stride=stride)

    window = RowWindow(height, kernel, stride, padding, reflect)
    assert window.result_height == expected.shape[2]
    kept, top, results, buffer = padding, 0, [], torch.full((1, 1, padding, 1), float("nan"))
    while top < height:
        count = data.draw(st.integers(1, height - top))
        slide = window.push(count)
        assert slide.kept == kept
        buffer = torch.cat([buffer, rows[:, :, top : top + count]], dim=2)
        if slide.fill_top:
            buffer[:, :, :padding] = padded[:, :, :padding]
        if slide.fill_bottom:
            buffer = torch.cat([buffer, padded[:, :, padding + height :]], dim=2)
        assert slide.total == buffer.shape[2]
        if slide.ready:
            results.append(F.conv2d(buffer[:, :, : window.span(slide.ready)], weight, stride=stride))
            assert results[-1].shape[2] == slide.ready
        kept, top = slide.keep, top + count
        buffer = buffer[:, :, slide.total - slide.keep :]
    # Rows of padding that were used before they were filled would be NaN.
    torch.testing.assert_close(torch.cat(results, dim=2), expected)


def test_strips_cover_the_picture():
    assert strip_heights(10, 4) == [4, 4, 2]
    assert strip_heights(8, 4) == [4, 4]
    assert strip_heights(3, 4) == [3]
