"""Plans keep their promises: memory, passes, multiplications."""

from __future__ import annotations

import pytest
import torch

from stylize.comparison.live_tensors import LiveTensors
from stylize.config import preset
from stylize.errors import InputError
from stylize.program import Program, lower
from stylize.tiles import TensorSink, paint_tiled, plan_tiles, tensor_source
from stylize.transformer import TransformerNet
from tests.helpers import TINY_CHANNELS, tiny_config
from tests.test_program import CONFIGS, trained


@pytest.fixture(scope="module", params=["fast", "johnson"])
def program(request: pytest.FixtureRequest) -> Program:
    return lower(TransformerNet(preset(request.param)))


def tiny(norm: str = "instance", **changes: object) -> Program:
    return lower(trained(tiny_config(norm, **changes)))


def test_all_passes_together_cost_less_than_twice_the_plain_run(program):
    plan = plan_tiles(program, 4000, 4000)
    # By hand, per pixel: fast computes the first decoder layer once more, 16x64x32 / 16 = 2048 of 27,200; johnson its
    # 9x9 layer twice more, the next once more, and in the decoder 8192 twice and 8192 once more; its last layer
    # computes blocks of 2x2 pixels with kernels of 10x10: for each pixel 12x32x100 / 4 instead of 3x32x81.
    again = {27_200: 2048, 133_312: 2 * 7776 + 4608 + 3 * 8192 + 9600 - 7776}[program.multiplications_per_pixel]
    whole = (program.multiplications_per_pixel + again) * 4000**2
    # Upsampling layers compute one row and one column more.
    assert whole <= plan.multiplications < 1.002 * whole
    assert plan.multiplications < 2.2 * program.multiplications_per_pixel * 4000**2
    assert plan.multiplications == plan_tiles(program, 4000, 4000, strip=16).multiplications


def test_a_network_without_statistics_computes_nothing_twice():
    program = lower(TransformerNet(preset("fast", "batch")))
    plan = plan_tiles(program, 4000, 4000)
    assert (plan.passes, plan.scratch_bytes) == (1, 0)
    assert plan.multiplications < 1.001 * program.multiplications_per_pixel * 4000**2
    assert plan.peak_bytes < 250 * 10**6


def test_a_100_megapixel_picture_with_little_memory(program):
    plan = plan_tiles(program, 10_000, 10_000, memory=12 * 10**8)
    assert plan.live_bytes <= plan.peak_bytes <= 12 * 10**8
    channels = program.config.channels[-1]
    # A store of 2500 x 2500 positions of two bytes, and eight for each 64 of them, of which a row has 40; fast has room
    # for one of its two in memory.
    assert plan.stored == "int16"
    assert plan.scratch_bytes == 2500 * (2500 * 2 + 40 * 8) * channels * (1 if channels == 64 else 2)
    assert plan.strip % 4 == 0
    assert plan.strips == plan.passes * -(-10_000 // plan.strip)


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "way", [("memory", "float32"), ("memory", "int16"), ("scratch", "float32"), ("scratch", "int16")], ids=str
)
def test_tensors_take_what_the_plan_says(changes, dtype, way):
    # Wide enough that features count, not the picture.
    channels = tuple(4 * width for width in changes.get("channels", TINY_CHANNELS))
    for norm in ("instance", "batch"):
        program = tiny(norm, **(changes | {"channels": channels}))
        height, width = 83, 190
        plan = plan_tiles(program, height, width, strip=32, storage=(way[0], way[0]), stored=way[1], dtype=dtype)
        source, sink = tensor_source(torch.rand(1, 3, height, width)), TensorSink(height, width)
        weights = [tensor for layer in program.layers for tensor in (layer.weight, layer.bias)]
        counter = LiveTensors([source.image, sink.image, *weights])
        with counter:
            paint_tiled(program, source, sink, plan, dtype=dtype)
        assert 0.95 * counter.most < plan.live_bytes < 1.35 * counter.most
        assert plan.live_bytes < plan.peak_bytes


def test_memory_decides_how_features_wait():
    program = lower(TransformerNet(preset("fast")))
    plenty = plan_tiles(program, 2000, 2000)
    assert (plenty.storage, plenty.stored) == (("memory", "memory"), "float32")
    seen = []
    for memory in (plenty.peak_bytes, 130 * 10**6, 90 * 10**6, 50 * 10**6):
        plan = plan_tiles(program, 2000, 2000, memory=memory)
        assert plan.peak_bytes <= memory
        seen.append((plan.storage, plan.stored))
    assert seen == [
        (("memory", "memory"), "float32"),
        (("memory", "memory"), "int16"),
        (("scratch", "memory"), "int16"),
        (("scratch", "scratch"), "int16"),
    ]
    exact = plan_tiles(program, 2000, 2000, memory=50 * 10**6, stored="float32")
    assert (exact.storage, exact.stored) == (("scratch", "scratch"), "float32")


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("strip", [None, 64])
def test_too_little_memory_says_how_much_is_enough(norm, strip):
    program = lower(TransformerNet(preset("johnson", norm)))
    with pytest.raises(InputError) as caught:
        plan_tiles(program, 900, 2000, strip=strip, memory=3 * 10**6)
    message = str(caught.value)
    assert message.startswith(f"3 MB of memory given for a picture of 2000x900 px in strips of {strip or 4} rows; at")
    assert ("smaller strip" in message) == (strip is not None)
    assert "\n" not in message
    enough = int(message.partition("at least ")[2].partition(" MB")[0].replace(",", ""))
    plan = plan_tiles(program, 900, 2000, strip=strip, memory=enough * 10**6)
    assert plan.peak_bytes <= enough * 10**6
    with pytest.raises(InputError):
        plan_tiles(program, 900, 2000, strip=strip, memory=(enough - 1) * 10**6)


def test_strips_are_rounded_to_what_the_network_accepts():
    program = tiny(channels=(4, 8, 8))
    assert plan_tiles(program, 100, 50, strip=1).strip == 4
    assert plan_tiles(program, 100, 50, strip=10).strip == 12
    assert plan_tiles(program, 101, 50, strip=5000).strip == 104
    assert plan_tiles(program, 100, 50).strip == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "picture of 50x0 px given"),
        ({"strip": 0}, "strips of 0 rows given; at least 1"),
        ({"memory": 0}, "0 bytes of memory given"),
        ({"dtype": torch.int8}, "dtype torch.int8 given; float32, bfloat16 and float16"),
        ({"stored": "float16"}, "stored as float16 asked for; float32 and int16 are accepted"),
    ],
)
def test_arguments_that_are_not_accepted(arguments, message):
    with pytest.raises(InputError, match=message):
        plan_tiles(tiny(), **({"height": 40, "width": 50} | arguments))
