"""Painting frames one after the other: what is kept over time, and when it is dropped."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylize.checkpoints import WeightsFile
from stylize.controls import Controls
from stylize.engines.torch_engine import TorchEngine
from stylize.errors import InputError
from stylize.images import to_tensor
from stylize.program import lower
from stylize.stylizer import Stylizer, load
from stylize.video.painter import CAUTION, KEPT, FramePainter, part_kept
from tests.helpers import synthetic_image, tiny_collection, tiny_config, tiny_weights
from tests.test_program import trained
from tests.test_video_flow import texture


@pytest.fixture
def stylizer(tmp_path) -> Stylizer:
    return of_norm(tmp_path, "instance")


def of_norm(folder, norm: str) -> Stylizer:
    weights = load(tiny_weights(folder / f"{norm}.safetensors", norm=norm)).weights
    return strong(trained(tiny_config(norm), seed=2), weights)


def strong(network, weights: WeightsFile) -> Stylizer:
    return Stylizer(network, weights, engine=TorchEngine(lower(network)))


def moving(count: int = 5, step: int = 2, side: int = 48) -> list[torch.Tensor]:
    """Return frames of a window that slides over a picture."""
    picture = to_tensor(synthetic_image(side + step * count, side, seed=1))
    return [picture[..., step * k : step * k + side].contiguous() for k in range(count)]


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).abs().mean())


def test_without_anything_to_keep_it_is_the_stylizer(stylizer):
    painter = FramePainter(stylizer, smoothing=None)
    for frame in moving(3):
        assert torch.equal(painter.paint(frame), stylizer(frame))


@pytest.mark.parametrize("flow", [False, True])
def test_a_still_video_stays_what_it_is(stylizer, flow):
    frame = moving(1)[0]
    painter = FramePainter(stylizer, flow=flow)
    for _ in range(6):
        painted = painter.paint(frame)
    assert distance(painted, stylizer(frame)) < 0.002


def test_statistics_follow_a_change_slowly(stylizer):
    before = moving(1)[0]
    after = before.clone()
    after[..., :9, :9] = 0.9  # Something bright comes into view.
    painter = FramePainter(stylizer, smoothing=0.4)
    for _ in range(4):
        painter.paint(before)
    far = (slice(None), slice(None), slice(30, None), slice(30, None))
    plain = distance(stylizer(after)[far], stylizer(before)[far])
    first = distance(painter.paint(after)[far], stylizer(before)[far])
    assert painter.cuts == 0 and first < 0.5 * plain
    for _ in range(60):
        painted = painter.paint(after)
    assert distance(painted[far], stylizer(after)[far]) < 0.05 * plain


def test_the_time_between_frames_counts(stylizer):
    one, two = moving(2, step=9)
    results = []
    for elapsed in (0.01, 10.0):
        painter = FramePainter(stylizer, smoothing=0.2)
        painter.paint(one)
        results.append(distance(painter.paint(two, elapsed), stylizer(two)))
    assert results[0] > 0.01 > results[1]
    slow, fast, told = (FramePainter(stylizer, smoothing=0.2, frame_rate=rate) for rate in (0.1, 100, 100))
    for painter in (slow, fast, told):
        painter.paint(one)
    assert distance(slow.paint(two), stylizer(two)) < 0.01 < distance(fast.paint(two), stylizer(two))
    assert distance(told.paint(two, 10.0), stylizer(two)) < 0.01


@pytest.mark.parametrize("flow", [False, True])
def test_a_cut_drops_what_was_kept(stylizer, flow):
    painter = FramePainter(stylizer, flow=flow)
    for frame in moving(3):
        painter.paint(frame)
    other = torch.zeros(1, 3, 48, 48)
    other[..., 5:20, :] = 0.9
    other[:, 0, :, 30:] = 0.7
    torch.testing.assert_close(painter.paint(other), stylizer(other), atol=1e-5, rtol=0)
    assert painter.cuts == 1


@pytest.mark.parametrize("flow", [False, True])
def test_what_is_known_can_be_kept_in_a_file_and_gone_on_from(stylizer, flow, tmp_path):
    frames = moving(8)
    frames[4:] = [0.8 * frame + 0.1 for frame in frames[4:]]  # The exposure changes, too.
    painter, resumed = FramePainter(stylizer, flow=flow), FramePainter(stylizer, flow=flow)
    for frame in frames[:5]:
        painter.paint(frame)
    save_file(painter.state(), tmp_path / "state.safetensors")
    expected = torch.cat([painter.paint(frame) for frame in frames[5:]])
    resumed.paint(torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)))
    resumed.restore(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(torch.cat([resumed.paint(frame) for frame in frames[5:]]), expected)
    fresh = FramePainter(stylizer, flow=flow)
    assert not torch.equal(torch.cat([fresh.paint(frame) for frame in frames[5:]]), expected)


def test_a_state_before_the_first_frame(stylizer):
    frame = moving(1)[0]
    painter = FramePainter(stylizer, flow=True)
    painter.restore(FramePainter(stylizer, flow=True).state())
    torch.testing.assert_close(painter.paint(frame), stylizer(frame), atol=1e-5, rtol=0)


def test_a_change_of_exposure_is_not_seen(stylizer):
    frame = moving(1)[0]
    other = 0.6 * frame + 0.2
    painter = FramePainter(stylizer)
    for _ in range(3):
        before = painter.paint(frame)
    assert distance(painter.paint(other), before) < 0.002
    # Each frame for itself does not see it either; statistics of two exposures do.
    assert distance(stylizer(other), stylizer(frame)) < 0.002
    painter = FramePainter(stylizer, follow_exposure=False)
    painter.paint(frame)
    assert distance(painter.paint(other), before) > 0.02


def test_the_stylizer_is_not_changed_and_two_videos_do_not_mix(stylizer):
    first, second = moving(1)[0], torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    expected = stylizer(second)
    FramePainter(stylizer).paint(first)
    torch.testing.assert_close(FramePainter(stylizer).paint(second), expected, atol=1e-5, rtol=0)
    assert torch.equal(stylizer(second), expected)


def test_flow_carries_strokes_along(stylizer):
    """Noise that a network adds anew to each frame: along the flow a good part of it goes."""
    large = texture(48, 80)
    frames = [large[..., 2 * k : 2 * k + 48].contiguous() for k in range(10)]
    generator = torch.Generator().manual_seed(3)

    class Noisy(TorchEngine):
        def paint(self, images, statistics_filter=None):
            noise = 0.05 * torch.randn(images.shape, generator=generator)
            return (images + noise).clamp(0, 1)

    noisy = Stylizer(stylizer.network, stylizer.weights, engine=Noisy(stylizer.program))
    painter = FramePainter(noisy, smoothing=None, flow=True)
    errors = [distance(painter.paint(frame), frame) for frame in frames]
    assert errors[-1] < 0.85 * errors[0]
    painted = [painter.paint(frame) for frame in frames]
    assert all(one.min() >= 0 and one.max() <= 1 and one.is_contiguous() for one in painted)


def test_the_part_kept_by_hand():
    detailed = torch.rand(256, 256, 3, generator=torch.Generator().manual_seed(0)).numpy()
    trust = torch.ones(256, 256).numpy()
    assert part_kept(detailed, detailed, trust) == pytest.approx(KEPT)
    # Noise as strong as the detail, 1/12 of variance but for the little that the means of 16 x 16 pixels take away.
    noise = torch.rand(256, 256, 3, generator=torch.Generator().manual_seed(1)).numpy() - 0.5
    assert part_kept(detailed, detailed + noise, trust) == pytest.approx(KEPT / (1 + CAUTION), rel=0.05)
    half = trust.copy()
    half[:, 128:] = 0
    brought = detailed.copy()
    brought[:, 128:] += noise[:, 128:]
    assert part_kept(detailed, brought, half) == pytest.approx(KEPT)
    assert part_kept(detailed, detailed + noise, 0 * trust) == 0
    assert part_kept(0 * detailed, noise, trust) == 0


def test_frames_of_another_size_begin_anew(stylizer):
    painter = FramePainter(stylizer, flow=True, smoothing=None)
    painter.paint(moving(1)[0])
    other = moving(1, side=40)[0]
    assert torch.equal(painter.paint(other), stylizer(other))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 70), (17, 5)])
def test_small_frames(stylizer, height, width):
    painter = FramePainter(stylizer, flow=True)
    for seed in range(3):
        frame = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
        assert painter.paint(frame).shape == frame.shape


def test_batch_norm_passes_through(tmp_path):
    batch = of_norm(tmp_path, "batch")
    painter = FramePainter(batch, smoothing=0.5)
    assert painter.smoothing is None
    for frame in moving(3, step=9):
        assert torch.equal(painter.paint(frame), batch(frame))


def test_controls_and_strength_are_kept(stylizer, tmp_path):
    frame = moving(1)[0]
    controls = Controls(scale=0.5, passes=2)
    painted = FramePainter(stylizer, controls=controls).paint(frame)
    torch.testing.assert_close(painted, stylizer.paint(frame, controls), atol=1e-4, rtol=0)
    assert torch.equal(FramePainter(stylizer.with_strength(0)).paint(frame), frame)
    weak = load(tiny_collection(tmp_path / "three.safetensors"), strength=0.5, precision="float32")
    torch.testing.assert_close(FramePainter(weak).paint(frame), weak(frame), atol=1e-4, rtol=0)


class OtherEngine:
    name, precision, device = "openvino", "float32", torch.device("cpu")

    def paint(self, images):
        return images


def test_other_engines_cannot_smooth_but_carry_along(tmp_path, stylizer):
    other = Stylizer(stylizer.network, stylizer.weights, engine=OtherEngine())
    with pytest.raises(InputError, match="openvino; only the engine torch can smooth"):
        FramePainter(other)
    frames = moving(3)
    painter = FramePainter(other, smoothing=None, flow=True)
    assert all(distance(painter.paint(frame), frame) < 0.02 for frame in frames)
    batch = of_norm(tmp_path, "batch")
    assert FramePainter(Stylizer(batch.network, batch.weights, engine=OtherEngine())).smoothing is None


@pytest.mark.parametrize(
    "settings", [{"smoothing": 0.0}, {"smoothing": -1}, {"frame_rate": 0}, {"frame_rate": math.nan}]
)
def test_bad_settings(stylizer, settings):
    with pytest.raises(InputError, match="above 0"):
        FramePainter(stylizer, **settings)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (3, 8, 8), (1, 1, 8, 8)])
@pytest.mark.parametrize("flow", [False, True])
def test_bad_frames(stylizer, shape, flow):
    with pytest.raises(InputError, match="of shape"):
        FramePainter(stylizer, flow=flow).paint(torch.zeros(shape))


def test_without_opencv_one_line_says_what_to_install(stylizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"pip install 'stylize\[video\]'"):
        FramePainter(stylizer, flow=True)
    FramePainter(stylizer).paint(moving(1)[0])
