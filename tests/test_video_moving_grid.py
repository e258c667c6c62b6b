"""The grid of the network, moved along with the camera."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

from stylize.video.moving_grid import MovingGrid
from stylize.video.painter import FramePainter
from tests.test_video_flow import texture
from tests.test_video_painter import of_norm


def back(x: float, y: float) -> np.ndarray:
    return np.tile(np.float32([x, y]), (12, 16, 1))


def test_the_grid_goes_where_things_go():
    grid = MovingGrid(4)
    assert grid.padding(40, 60) == (0, 0)
    # What is at x was at x - 1 and y + 2: it moved by one to the right and two up.
    grid.follow(back(-1, 2), (1.0, 1.0))
    assert grid.padding(40, 60) == (3, 2)
    # A thing at 10 lay at 10 in the blocks; now it is at 11, and in the padded frame at 14: 2 in its block, as before.
    assert (10 % 4) == (11 + 3) % 4
    grid.follow(back(-0.5, 0), (2.0, 1.0))
    assert grid.padding(40, 60) == (2, 2)
    grid.follow(back(2, 2), (1.0, 1.0))
    assert grid.padding(40, 60) == (0, 0)
    grid.forget()
    assert grid.padding(40, 60) == (0, 0)


def test_slow_motion_is_left_to_itself():
    """To follow it in whole pixels would change more at once than it does."""
    grid = MovingGrid(4)
    for _ in range(8):
        grid.follow(back(0.3, -0.4), (1.0, 1.0))
        assert grid.padding(40, 60) == (0, 0)


def test_what_stands_still_is_not_given_up_for_what_moves():
    grid = MovingGrid(4)
    flow = np.random.default_rng(0).uniform(-9, 9, (40, 60, 2)).astype(np.float32)
    grid.follow(flow, (1.0, 1.0))
    assert grid.padding(40, 60) == (0, 0)
    flow[:] = 0
    flow[:18] = (-2, 0)
    grid.follow(flow, (1.0, 1.0))
    assert grid.padding(40, 60) == (0, 0)
    flow[:32] = (-1, 0)
    grid.follow(flow, (1.0, 1.0))
    assert grid.padding(40, 60) == (3, 0)


@pytest.mark.parametrize(("height", "width"), [(5, 9), (8, 8), (33, 47)])
def test_what_is_padded_is_cropped_again(height, width):
    grid, frame = MovingGrid(4), torch.rand(1, 3, height, width)
    grid.follow(back(-1, 2), (1.0, 1.0))
    padded = grid.padded(frame)
    assert padded.shape == (1, 3, height + 2, width + 3)
    assert torch.equal(grid.cropped(padded, height, width), frame)
    small = torch.rand(1, 3, 4, 30)
    assert grid.padded(small) is small


@pytest.mark.parametrize("step", [1, 3])
def test_a_pan_changes_no_stroke(tmp_path, step):
    """With norms that look at no frame, what is painted moves pixel by pixel with what it is painted of."""
    stylizer = of_norm(tmp_path, "batch")
    large = texture(96, 160)
    frames = [large[..., step * k : step * k + 128].contiguous() for k in range(5)]
    changes = {}
    for grid in (False, True):
        painter = FramePainter(stylizer, grid=grid)
        painted = [painter.paint(frame) for frame in frames]
        pairs = zip(painted, painted[1:], strict=False)
        inside = slice(24, -24)
        changes[grid] = max(
            float((b[..., inside, 24 : 104 - step] - a[..., inside, 24 + step : 104]).abs().max()) for a, b in pairs
        )
    assert changes[True] < 1e-4 < 1e-3 < changes[False]


def test_a_grid_is_gone_on_from(tmp_path):
    stylizer = of_norm(tmp_path, "instance")
    large = texture(64, 120)
    frames = [large[..., k : k + 80].contiguous() for k in range(6)]
    painter, other = FramePainter(stylizer, grid=True), FramePainter(stylizer, grid=True)
    for frame in frames[:3]:
        painter.paint(frame)
    other.restore(painter.state())
    for frame in frames[3:]:
        assert torch.equal(painter.paint(frame), other.paint(frame))
