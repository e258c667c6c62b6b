"""Times as people write them, and parts of a clip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.errors import InputError
from stylize.video.times import Span, format_time, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90.5", 90.5),
        (".5", 0.5),
        ("1:30", 90),
        ("0:01:30.25", 90.25),
        ("10:00:00", 36000),
        ("99:59", 5999),
    ],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:60:00", "1:2:3:4", "soon", "1e3", "nan", "1:", "٣"])
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="accepted"):
        parse_time(text)


@given(st.integers(0, 10**6))
def test_a_shown_time_can_be_given(seconds):
    assert parse_time(format_time(seconds)) == seconds


def test_spans():
    assert Span(1, 3).seconds_of(10) == 2
    assert Span(1, 30).seconds_of(10) == 9
    assert Span(1).seconds_of(10) == 9
    assert Span(1).seconds_of(None) is None
    assert Span(1, 3).seconds_of(None) == 2
    with pytest.raises(InputError, match="holds nothing"):
        Span(2, 2)
    with pytest.raises(InputError, match="after the end"):
        Span(10).check(10.0, "clip.mp4")
    Span(9.9).check(10.0, "clip.mp4")
    Span(9.9).check(None, "clip.mp4")
