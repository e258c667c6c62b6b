"""In how many walks a picture is painted, and what each of them does."""

from __future__ import annotations

import pytest

from stylize.config import preset
from stylize.program import lower
from stylize.tiles.passes import ENTER, KEEP, LEAVE, Pass, schedule
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config
from tests.test_program import trained


def passes(norm: str, **changes: object) -> list[Pass]:
    return schedule(lower(trained(tiny_config(norm, **changes))))


def test_a_network_without_statistics_needs_one_pass_and_no_store():
    (only,) = passes("batch")
    assert only == Pass("picture", None, None, (0, 1, ENTER, 2, 3, LEAVE, 4, 5))
    assert only.paints
    assert not only.places


def test_instance_norm_gathers_layer_by_layer():
    # Encoder 0, 1 (to the trunk's resolution), one block of 2 and 3, decoder 4 and 5 (no norm).
    assert passes("instance") == [
        Pass("picture", None, None, (0,), gathers=True),
        Pass("picture", None, None, (0, 1), gathers=True, store="trunk"),
        Pass("trunk", 1, None, (KEEP, 2), gathers=True, store="branch"),
        Pass("branch", None, 2, (3,), gathers=True, store="branch"),
        Pass("trunk", None, 3, (KEEP, 4), gathers=True),
        Pass("trunk", None, None, (4, 5)),
    ]


@pytest.mark.parametrize(
    ("norm", "steps"),
    [
        # One walk for the norm, one for all the rest, which is painted from the picture.
        ("instance@first", [(0,), (0, 1, ENTER, 2, 3, LEAVE, 4, 5)]),
        # The features of the blocks are stored before a decoder that needs two walks.
        ("instance@decoder", [(0, 1, ENTER, 2, 3, LEAVE, KEEP, 4), (4, 5)]),
        ("instance@encoder", [(0,), (0, 1), (ENTER, 2, 3, LEAVE, 4, 5)]),
        ("instance@residual+none", [(0, 1, KEEP, 2), (3,), (4, 5)]),
        # Of five norms the deep ones are the last three: the second of the block's, after one that needs no walk.
        ("instance@deep", [(0, 1, KEEP, 2, 3), (KEEP, 4), (4, 5)]),
        # The first of the block's norms, but not its second.
        ("instance@shallow", [(0,), (0, 1), (KEEP, 2), (3,), (4, 5)]),
    ],
)
def test_layers_without_statistics_cost_no_pass(norm, steps):
    assert [one.steps for one in passes(norm)] == steps


def test_statistics_that_are_known_need_no_pass():
    program = lower(trained(tiny_config("instance")))
    (only,) = schedule(program, range(6))
    assert only.paints
    assert [one.layers for one in schedule(program, {0, 1, 2, 3})] == [[0, 1, 2, 3, 4], [4, 5]]


@pytest.mark.parametrize(("name", "expected"), [("fast", 13), ("johnson", 16)])
def test_passes_of_the_presets(name, expected):
    # fast: 1 in the encoder, 10 in five blocks, 1 in the decoder, 1 to paint; johnson: 3, 10, 2 and 1.
    found = schedule(lower(TransformerNet(preset(name))))
    assert len(found) == expected
    assert [one.paints for one in found] == [False] * (expected - 1) + [True]
