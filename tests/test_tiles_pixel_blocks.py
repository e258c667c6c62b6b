"""A last layer in blocks of pixels computes what it computes pixel by pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stylize.config import preset
from stylize.program import lower
from stylize.tiles.pixel_blocks import with_pixel_blocks
from stylize.transformer import TransformerNet
from tests.helpers import tiny_config
from tests.test_program import CONFIGS, trained


def test_blocks_are_the_pixels():
    program = lower(trained(tiny_config(**CONFIGS["even"])))
    blocks = with_pixel_blocks(program)
    before, after = program.decoder[-1], blocks.decoder[-1]
    features = torch.randn(1, before.channels_in, 12, 20, generator=torch.Generator().manual_seed(0))
    assert after.padding == before.padding == 4
    around = F.pad(features, (4,) * 4, mode="reflect")
    expected = F.conv2d(around, before.weight, before.bias)
    found = F.pixel_shuffle(F.conv2d(around, after.weight, after.bias, after.stride), blocks.shuffle)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert blocks.layers[:-1] == program.layers[:-1]
    # What is in blocks already stays so.
    assert with_pixel_blocks(blocks) is blocks


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2),
        (CONFIGS["shuffle"], 1),  # its last layer has twelve channels already: two by two pixels
        (CONFIGS["blocks of 2"], 1),  # an upsampling layer ends it
        ({"channels": (6,)}, 1),  # sizes may be odd
    ],
)
def test_only_where_a_layer_has_few_channels_and_sizes_are_even(changes, expected):
    program = lower(TransformerNet(tiny_config(**changes)))
    found = with_pixel_blocks(program)
    assert found.decoder[-1].stride == expected
    assert (found is program) == (expected == 1)


def test_presets():
    for name, expected in (("fast", 1), ("johnson", 2)):
        assert with_pixel_blocks(lower(TransformerNet(preset(name)))).decoder[-1].stride == expected
