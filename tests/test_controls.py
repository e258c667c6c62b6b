"""What a user decides about a painting beside its style."""

from __future__ import annotations

import pytest

from stylize.controls import MAXIMUM_STRENGTH, PLAIN, Controls, checked_strength
from stylize.errors import InputError


@pytest.mark.parametrize("strength", [0, 0.5, 1, MAXIMUM_STRENGTH])
def test_strengths_that_there_are(strength):
    assert checked_strength(strength) == strength
    assert type(checked_strength(strength)) is float


@pytest.mark.parametrize("strength", [-0.1, 1.51, float("nan"), float("inf"), "0.5", None, True])
def test_strengths_that_there_are_not(strength):
    with pytest.raises(InputError, match=r"a number from 0 to 1\.5 is accepted"):
        checked_strength(strength)


def test_passes():
    assert (PLAIN.scale, PLAIN.passes, PLAIN.preserve_colour) == (1, 1, False)
    with pytest.raises(InputError, match="3 passes asked for; 1 or 2"):
        Controls(passes=3)
