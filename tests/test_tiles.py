"""A picture painted strip by strip is the picture painted whole."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.config import PRESETS, preset
from stylize.errors import InputError
from stylize.images import read_image, resize_long_edge, to_tensor
from stylize.norms import NORMS
from stylize.program import Program, lower
from stylize.style_choice import choose_style, load_style
from stylize.tiles import TensorSink, paint_tiled, plan_tiles, tensor_source
from stylize.zoo import example_photos
from tests.helpers import tiny_config
from tests.test_program import CONFIGS, trained

GREY_LEVEL = 1 / 255


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Return a picture with structure at all sizes, so that no two strips of it are alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 3, 3, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return (0.6 * smooth + 0.4 * torch.rand(1, 3, height, width, generator=generator)).clamp_(0, 1)


def tiled(program: Program, image: torch.Tensor, plan=None, sink=None, **options) -> torch.Tensor:
    height, width = image.shape[-2:]
    plan = plan_tiles(program, height, width, strip=8) if plan is None else plan
    sink = TensorSink(height, width) if sink is None else sink
    paint_tiled(program, tensor_source(image), sink, plan, **options)
    return sink.image


def network_and_program(norm: str, changes: dict, blocks: int, seed: int):
    network = trained(tiny_config(norm, **({"residual_blocks": blocks} | changes)), seed=seed)
    return network, lower(network)


WELL_CONDITIONED = {"norm_epsilon": 0.1}
"""For pictures of a few pixels. Continued by reflection they are of one colour for a network that takes blocks of
pixels at once. With the usual epsilon it makes the rounding errors of such a picture, which are all that differs, 300
times as large in every layer, painted whole or not."""


@settings(max_examples=60, deadline=None)
@given(
    norm=st.sampled_from([*NORMS, "instance@first", "instance@deep", "instance@shallow", "instance@decoder+none"]),
    changes=st.sampled_from(list(CONFIGS.values())),
    blocks=st.integers(0, 2),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    strip=st.integers(1, 80),
    seed=st.integers(0, 100),
)
def test_tiled_is_whole(norm, changes, blocks, height, width, strip, seed):
    small = WELL_CONDITIONED if max(height, width) < 16 else {}
    network, program = network_and_program(norm, changes | small, blocks, seed)
    image = picture(height, width, seed)
    with torch.no_grad():
        whole = network(image).clamp(0, 1)
    exact = plan_tiles(program, height, width, strip=strip)
    torch.testing.assert_close(tiled(program, image, exact), whole, atol=1e-4, rtol=0)
    short = plan_tiles(program, height, width, strip=strip, storage=("scratch", "memory"), stored="int16")
    torch.testing.assert_close(tiled(program, image, short), whole, atol=GREY_LEVEL / 2, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("norm", ["instance", "batch-instance", "instance@deep"])
def test_presets_with_features_stored_in_two_bytes(name, norm, tmp_path):
    network = trained(preset(name, norm))
    program, image = lower(network), picture(75, 302)  # more than one block of positions in a row
    with torch.no_grad():
        whole = network(image).clamp(0, 1)
    plan = plan_tiles(program, 75, 302, strip=20, storage=("scratch", "scratch"), stored="int16")
    torch.testing.assert_close(tiled(program, image, plan, scratch=tmp_path), whole, atol=GREY_LEVEL / 4, rtol=0)


def test_two_bytes_follow_what_a_flat_part_of_the_picture_has():
    # Beside noise a faint wave, which a step of the whole range would lose: its detail must not come from rounding.
    network = trained(tiny_config("instance"), seed=2)
    program, image = lower(network), torch.rand(1, 3, 64, 768, generator=torch.Generator().manual_seed(0))
    image[..., 512:] = 0.5 + 1e-3 * torch.sin(torch.arange(256) / 5)  # whole blocks of it
    with torch.no_grad():
        whole = network(image).clamp(0, 1)
    plan = plan_tiles(program, 64, 768, strip=16, stored="int16")
    error = (tiled(program, image, plan) - whole).abs()
    assert float(error[..., 640:].max()) < float(error[..., :384].max()) / 3


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_the_smallest_pictures(size, changes):
    network, program = network_and_program("instance", changes | WELL_CONDITIONED, 1, 0)
    image = picture(*size)
    with torch.no_grad():
        whole = network(image).clamp(0, 1)
    torch.testing.assert_close(tiled(program, image, plan_tiles(program, *size, strip=1)), whole, atol=1e-4, rtol=0)


def test_statistics_are_of_the_whole_picture():
    # What tells exact tiles from naive ones: a change at the bottom changes the top.
    _, program = network_and_program("instance", {}, 1, 0)
    image = picture(120, 16)
    changed = image.clone()
    changed[:, :, 110:] = 1
    assert float((tiled(program, image) - tiled(program, changed))[:, :, :20].abs().max()) > 0.01


@pytest.mark.parametrize("stored", ["float32", "int16"])
def test_scratch_is_memory_bit_for_bit(stored, tmp_path):
    _, program = network_and_program("instance", CONFIGS["even"], 2, 0)
    image = picture(45, 38)
    results = []
    for storage in (("memory", "memory"), ("scratch", "memory"), ("scratch", "scratch")):
        plan = plan_tiles(program, 45, 38, strip=12, storage=storage, stored=stored)
        results.append(tiled(program, image, plan, scratch=tmp_path))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["sink", "on_strip"])
def test_scratch_files_are_gone_after_an_error(problem, where, tmp_path):
    _, program = network_and_program("instance", {}, 1, 0)

    class Sink(TensorSink):
        def write(self, top: int, rows: torch.Tensor) -> None:
            raise problem

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            raise problem

    plan = plan_tiles(program, 40, 30, strip=8, storage=("scratch", "scratch"))
    with pytest.raises(problem):
        if where == "sink":
            tiled(program, picture(40, 30), plan, Sink(40, 30), scratch=tmp_path)
        else:
            tiled(program, picture(40, 30), plan, scratch=tmp_path, on_strip=stop)
    assert not list(tmp_path.iterdir())


class Recorder(TensorSink):
    """A picture in memory, as source and as sink, that notes which rows are asked for and given."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__(*image.shape[-2:])
        self.source = image
        self.height, self.width = image.shape[-2:]
        self.asked: list[int] = []
        self.given: list[int] = []

    def rows(self, top: int, bottom: int) -> torch.Tensor:
        self.asked += range(top, bottom)
        return self.source[:, :, top:bottom]

    def write(self, top: int, rows: torch.Tensor) -> None:
        assert rows.is_contiguous()
        assert rows.dtype == torch.float32
        self.given += range(top, top + rows.shape[2])
        super().write(top, rows)


@pytest.mark.parametrize("size", [(37, 22), (3, 50), (64, 64)])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_rows_come_and_go_once_from_top_to_bottom(size, norm):
    _, program = network_and_program(norm, CONFIGS["even"], 1, 0)
    recorder = Recorder(picture(*size))
    plan = plan_tiles(program, *size, strip=8)
    done = []
    paint_tiled(program, recorder, recorder, plan, on_strip=lambda *counts: done.append(counts))
    height = size[0]
    from_picture = 3 if norm == "instance" else 1  # Three layers before the residual blocks.
    assert recorder.asked == from_picture * list(range(height))
    assert recorder.given == list(range(height))
    assert done == [(count, plan.strips) for count in range(1, plan.strips + 1)]


def test_a_network_without_statistics_paints_in_one_pass():
    network, program = network_and_program("batch", CONFIGS["blocks of 4"], 2, 0)
    image = picture(61, 47)
    plan = plan_tiles(program, 61, 47, strip=4)
    assert plan.passes == 1
    with torch.no_grad():
        torch.testing.assert_close(tiled(program, image, plan), network(image).clamp(0, 1), atol=1e-4, rtol=0)


def test_thumbnail_statistics_are_close_but_not_exact():
    _, program = network_and_program("instance", {}, 1, 0)
    # Detail of a few pixels, most of which the thumbnail keeps.
    image = F.interpolate(picture(30, 20), (120, 80), mode="bicubic").clamp(0, 1)
    exact = tiled(program, image)
    plan = plan_tiles(program, 120, 80, strip=8, statistics="thumbnail")
    done = []
    small = tiled(
        program,
        image,
        plan,
        statistics="thumbnail",
        thumbnail=60,
        on_strip=lambda *counts: done.append(counts),
    )
    error = (small - exact).abs()
    assert GREY_LEVEL / 10 < float(error.mean()) < 0.05
    assert plan.passes == 2
    assert done == [(count, plan.strips) for count in range(1, plan.strips + 1)]
    # A thumbnail as large as the picture is the picture.
    whole = tiled(program, image, plan, statistics="thumbnail", thumbnail=120)
    torch.testing.assert_close(whole, exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(37, 50), (64, 8), (1, 9)])
def test_the_thumbnail_is_the_mean_over_areas(size):
    from stylize.tiles.painting import _shrink

    image = picture(*size)
    small = (max(1, size[0] // 3), max(1, size[1] // 3))
    shrunk = _shrink(tensor_source(image), small, 8, lambda: None)
    if size[0] % small[0] == 0:
        torch.testing.assert_close(shrunk, F.adaptive_avg_pool2d(image, small))
    # Rows are weighted by what they cover, so the mean over each column's area stays.
    torch.testing.assert_close(shrunk.mean(2), F.adaptive_avg_pool2d(image, (size[0], small[1])).mean(2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_short_dtypes_stay_near(dtype):
    network, program = network_and_program("instance", {}, 2, 0)
    image = picture(50, 41)
    with torch.no_grad():
        whole = network(image).clamp(0, 1)
    error = (tiled(program, image, dtype=dtype) - whole).abs().mean()
    assert 0 < float(error) < 2 * GREY_LEVEL


def test_features_far_from_zero():
    # Statistics of values that are large beside their spread, which sums of squares in float32 would lose.
    network = trained(tiny_config("instance"), seed=1)
    with torch.no_grad():
        network.encoder[0].conv.bias += 300
    program, image = lower(network), picture(64, 48)
    with torch.no_grad():
        whole = network.double()(image.double()).clamp(0, 1).float()
    assert float((tiled(program, image) - whole).abs().max()) < GREY_LEVEL / 2


@pytest.mark.parametrize("style", ["starry-night", "great-wave", "the-scream", "great-wave:0.5,udnie:0.5"])
def test_shipped_networks_within_a_grey_level(style, tmp_path):
    network, _ = load_style(choose_style(style))
    program = lower(network)
    image = to_tensor(resize_long_edge(read_image(example_photos()[0]), 200))
    with torch.no_grad():
        whole = network(image).clamp(0, 1)
    height, width = image.shape[-2:]
    for storage, stored, limit in (("memory", "float32", 1e-4), ("scratch", "int16", GREY_LEVEL / 4)):
        plan = plan_tiles(program, height, width, strip=32, storage=(storage, storage), stored=stored)
        assert float((tiled(program, image, plan, scratch=tmp_path) - whole).abs().max()) < limit


def test_a_plan_for_another_picture():
    _, program = network_and_program("instance", {}, 1, 0)
    with pytest.raises(InputError, match="a picture of 20x10 px given with a plan for 20x12 px"):
        tiled(program, picture(10, 20), plan_tiles(program, 12, 20))


def test_statistics_that_do_not_exist():
    _, program = network_and_program("instance", {}, 1, 0)
    with pytest.raises(InputError, match="statistics 'guessed' asked for; 'exact' and 'thumbnail'"):
        tiled(program, picture(10, 20), statistics="guessed")


def test_a_source_that_gives_something_else():
    _, program = network_and_program("instance", {}, 1, 0)

    class Source(Recorder):
        def rows(self, top: int, bottom: int) -> torch.Tensor:
            return super().rows(top, bottom).double()

    source = Source(picture(16, 16))
    with pytest.raises(InputError, match="gave torch.float64 of shape .* for its rows 0 to 8; float32"):
        paint_tiled(program, source, source, plan_tiles(program, 16, 16, strip=8))


@pytest.mark.parametrize(
    "image", [torch.rand(3, 8, 8), torch.rand(2, 3, 8, 8), torch.rand(1, 3, 8, 8).double()], ids=["3", "batch", "64"]
)
def test_a_tensor_that_is_no_picture(image):
    with pytest.raises(InputError, match=r"float32 \(1, 3, H, W\) is accepted"):
        tensor_source(image)
