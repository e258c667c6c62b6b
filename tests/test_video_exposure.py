"""Changes of exposure: found where they are, and not where something else changed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.video.cuts import thumbnail
from stylize.video.exposure import FARTHEST, SAME, Exposure, ExposureFollower, change_of_exposure
from tests.test_video_flow import texture


def small(shift: int = 0, seed: int = 0) -> torch.Tensor:
    """Return a small picture of a window into a texture, in [0.2, 0.8]."""
    large = texture(96, 160, seed)
    return 0.2 + 0.6 * thumbnail(large[..., shift : shift + 128])


levels = st.floats(-0.1, 0.1)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.floats(0.5, 1.2)] * 3), st.tuples(levels, levels, levels))
def test_a_gain_and_an_offset_are_found(gains, offsets):
    before = small()
    gain, offset = torch.tensor(gains), torch.tensor(offsets)
    now = (gain[:, None, None] * before + offset[:, None, None]).clamp(0, 1)
    change = change_of_exposure(before, now)
    if change is None:  # Only what nobody sees, or what left too little to judge by.
        assert float((now - before).abs().mean(0).median()) < 0.006 or float((now >= 0.98).float().mean()) > 0.2
        return
    torch.testing.assert_close(change.gain, gain, atol=0.01, rtol=0)
    torch.testing.assert_close(change.offset, offset, atol=0.01, rtol=0)


def test_what_comes_into_view_is_no_exposure_and_does_not_disturb():
    before = small()
    now = before.clone()
    now[:, 4:18, 3:14] = 0.95
    assert change_of_exposure(before, now) is None
    change = change_of_exposure(before, 0.7 * now + 0.1)
    torch.testing.assert_close(change.gain, torch.full((3,), 0.7), atol=0.02, rtol=0)
    torch.testing.assert_close(change.offset, torch.full((3,), 0.1), atol=0.01, rtol=0)


@pytest.mark.parametrize("shift", [1, 3, 8, 20])
def test_motion_is_no_exposure(shift):
    assert change_of_exposure(small(), small(shift)) is None


def test_pictures_that_say_nothing():
    flat = torch.full((3, 24, 32), 0.5)
    assert change_of_exposure(flat, flat * 0.8) is None
    black = torch.zeros(3, 24, 32)
    assert change_of_exposure(black, small()) is None
    assert change_of_exposure(small(), small()) is None


def test_frames_are_brought_to_the_exposure_of_the_first():
    first = small()
    follower = ExposureFollower()
    assert follower.follow(first, 0.04) is SAME
    for gain, offset in ((0.8, 0.1), (0.6, 0.2), (1.1, -0.05), (1.0, 0.0)):
        exposure = follower.follow(gain * first + offset, 0.0)
        torch.testing.assert_close(exposure.applied((gain * first + offset)[None])[0], first, atol=0.01, rtol=0)


def test_the_exposure_of_the_first_frame_is_forgotten_slowly():
    first, now = small(), 0.7 * small() + 0.1
    follower = ExposureFollower()
    follower.follow(first, 0.04)
    far = follower.follow(now, 0.04)
    for _ in range(100):
        near = follower.follow(now, 0.4)
    assert abs(float(far.gain.mean()) - 1 / 0.7) < 0.02
    assert near.applied(now[None]) is not None and float((near.gain - 1).abs().max()) < 0.02
    follower.forget()
    assert follower.follow(now, 0.04) is SAME


def test_there_is_a_limit():
    follower, now = ExposureFollower(), small()
    for _ in range(12):
        follower.follow(now, 0.0)
        now = 0.5 + 0.6 * (now - 0.5)
    assert float(follower.follow(now, 0.0).gain.max()) <= FARTHEST


def test_nothing_to_do_costs_nothing():
    frame = torch.rand(1, 3, 8, 8)
    assert SAME.applied(frame) is frame
    darker = Exposure(torch.full((3,), 0.5), torch.tensor([0.1, 0.0, 0.2])).applied(frame)
    torch.testing.assert_close(darker, 0.5 * frame + torch.tensor([0.1, 0.0, 0.2])[:, None, None])


def test_what_is_known_can_be_kept():
    follower, other = ExposureFollower(), ExposureFollower()
    other.restore(follower.state())
    follower.follow(small(), 0.04)
    follower.follow(0.8 * small(), 0.04)
    other.restore(follower.state())
    one, two = (each.follow(0.9 * small() + 0.02, 0.04) for each in (follower, other))
    assert torch.equal(one.gain, two.gain) and torch.equal(one.offset, two.offset)
