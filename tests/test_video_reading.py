"""Clips in: facts, frames from any place on, folders and animations."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stylize.errors import ImageError, InputError
from stylize.video.animations import in_hundredths
from stylize.video.digests import PART, file_digest, spread
from stylize.video.frame_folders import FolderSource, list_frames, natural, read_folder_facts, read_pattern
from stylize.video.frames import scaled_size
from stylize.video.reading import SEEK_MARGIN, ClipSource, next_tick, read_facts
from stylize.video.sources import look_at, open_source
from stylize.video.times import Span
from tests.helpers import save_photo
from tests.video_helpers import make_clip, picture

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 4 s with a key frame every 0.4 s and frames that refer to later ones."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_clip(path, 100, (32, 24), options={"g": "10"}, sound=None)


def test_facts(clip):
    facts = read_facts(clip)
    assert (facts.width, facts.height, facts.frames, facts.rate) == (32, 24, 100, 25)
    assert facts.duration == pytest.approx(4.0)
    assert facts.time_base == Fraction(1, 12800)
    assert facts.digest == file_digest(clip)
    assert facts.frames_in(Span(1, 2)) == 25


def test_reading_goes_on_at_any_frame(clip):
    source = ClipSource(read_facts(clip))
    frames = list(source.frames())
    assert [frame.tick for frame in frames] == [512 * number for number in range(100)]
    assert source.problems == []
    for number in (1, 49, 53, 60, 99):
        again = list(source.frames(frames[number].tick))
        assert [frame.tick for frame in again] == [frame.tick for frame in frames[number:]]
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(again, frames[number:], strict=True))


def test_a_jump_is_used_and_one_that_misses_is_not_trusted(clip, monkeypatch):
    source = ClipSource(read_facts(clip))
    ticks = [frame.tick for frame in source._read(90 * 512, jump=True, exact=True)]
    assert ticks[0] == 90 * 512
    # No frame has this tick: the jump yields nothing, and the clip is read from its beginning.
    assert list(source._read(90 * 512 + 1, jump=True, exact=True)) == []
    assert next(source.frames(90 * 512 + 1)).tick == 91 * 512
    # With a margin below 0 a jump would land behind its aim.
    monkeypatch.setattr("stylize.video.reading.SEEK_MARGIN", -1.0)
    assert next(source.frames(50 * 512)).tick == 50 * 512
    assert SEEK_MARGIN > 0


def test_a_part_begins_with_its_first_frame(clip):
    source = ClipSource(read_facts(clip), Span(3.01, 3.2))
    assert [frame.tick // 512 for frame in source.frames()] == [76, 77, 78, 79]


def test_a_clip_that_begins_late_keeps_its_clock(tmp_path):
    path = make_clip(tmp_path / "late.mkv", ticks=range(50, 56), sound=None)
    facts = read_facts(path)
    assert facts.zero == 2000
    assert [frame.tick for frame in ClipSource(facts).frames()][:2] == [2000, 2040]
    assert [frame.tick for frame in ClipSource(facts, Span(0.08)).frames()][:2] == [2080, 2120]


@given(st.lists(st.one_of(st.none(), st.integers(0, 50)), min_size=1, max_size=20))
def test_ticks_always_rise(given_ticks):
    before, ticks = None, []
    for tick in given_ticks:
        before = next_tick(tick, before, 5)
        ticks.append(before)
    assert all(a < b for a, b in zip(ticks, ticks[1:], strict=False))


def test_sizes():
    assert scaled_size(176, 144, None) == (176, 144)
    assert scaled_size(1920, 1080, 854) == (854, 480)
    assert scaled_size(65, 47, 33) == (33, 24)
    assert scaled_size(1000, 3, 100) == (100, 2)
    with pytest.raises(InputError, match="--size"):
        scaled_size(100, 100, 20000)


def test_digests(tmp_path):
    assert spread(16 * PART + 100)[0] == 0 and spread(16 * PART + 100)[-1] == 15 * PART + 100
    path = tmp_path / "file"
    path.write_bytes(b"a" * 1000)
    first = file_digest(path)
    path.write_bytes(b"a" * 999 + b"b")
    assert file_digest(path) != first


def test_patterns(tmp_path):
    pattern = read_pattern(Path("frames/name%04d.png"))
    assert (pattern.name(7), pattern.name(12345)) == ("name0007.png", "name12345.png")
    assert [pattern.number(name) for name in ("name0007.png", "name7.png", "name00007.png", "other.png")] == [
        7, None, None, None,
    ]  # fmt: skip
    assert read_pattern(Path("plain.png")) is None
    with pytest.raises(InputError, match="2 numbers"):
        read_pattern(Path("a%dB%d.png"))


def test_frames_are_sorted_as_people_do(tmp_path):
    for name in ("f10.png", "f9.png", "F1.png", "f010b.png"):
        save_photo(tmp_path / name)
    (tmp_path / ".hidden.png").touch()
    assert [path.name for path in list_frames(tmp_path)] == ["F1.png", "f9.png", "f10.png", "f010b.png"]
    assert natural("a2") < natural("a10") and natural("1a") != natural("01a")
    assert [path.name for path in list_frames(tmp_path / "f%d.png")] == ["f9.png", "f10.png"]
    with pytest.raises(InputError, match="no picture is called like"):
        list_frames(tmp_path / "g%d.png")
    with pytest.raises(InputError, match="is no folder"):
        list_frames(tmp_path / "none")


def test_a_folder_is_a_clip(tmp_path):
    for number in range(5):
        save_photo(tmp_path / f"{number}.png", 40, 30, seed=number)
    facts = read_folder_facts(tmp_path, Fraction(10))
    assert (facts.frames, facts.duration) == (5, 0.5)
    source = FolderSource(facts, Span(0.15, 0.4), 20)
    frames = list(source.frames())
    assert [frame.tick for frame in frames] == [2, 3]
    assert frames[0].pixels.shape == (16, 20, 3)  # 15 rows, made even
    save_photo(tmp_path / "3.png", 41, 30)
    with pytest.raises(ImageError, match="one size"):
        list(FolderSource(facts).frames())


def test_an_animation_is_a_clip(tmp_path):
    shots = [Image.fromarray(picture(number, 40, 30)) for number in range(3)]
    shots[0].save(tmp_path / "a.webp", save_all=True, append_images=shots[1:], duration=[50, 60, 70], lossless=True)
    facts = look_at(tmp_path / "a.webp")
    assert (facts.frames, facts.duration) == (3, 0.18)
    frames = list(open_source(facts).frames())
    assert [(frame.tick, frame.duration) for frame in frames] == [(0, 50), (50, 60), (110, 70)]
    assert all(np.array_equal(frame.pixels, np.asarray(shot)) for frame, shot in zip(frames, shots, strict=True))
    assert [frame.tick for frame in open_source(facts, Span(0.05, 0.11)).frames()] == [50]
    assert [frame.tick for frame in open_source(facts).frames(110)] == [110]
    data = (tmp_path / "a.webp").read_bytes()
    shots[0].convert("P").save(tmp_path / "b.gif", save_all=True, append_images=shots[1:], duration=0)
    assert look_at(tmp_path / "b.gif").duration == pytest.approx(0.3)
    (tmp_path / "cut.webp").write_bytes(data[:100])
    with pytest.raises(InputError, match="cut.webp"):
        look_at(tmp_path / "cut.webp")


def test_transparent_pixels_are_white(tmp_path):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.save(tmp_path / "clear.webp", save_all=True, append_images=[image.rotate(90)], lossless=True)
    facts = look_at(tmp_path / "clear.webp")
    assert "white" in facts.notes[0]
    assert next(open_source(facts).frames()).pixels.min() == 255


@given(st.lists(st.integers(20, 300), min_size=1, max_size=40))
def test_rounding_of_animations_does_not_add_up(durations):
    rounded = in_hundredths(durations)
    assert all(one % 10 == 0 and one >= 20 for one in rounded)
    assert abs(sum(rounded) - sum(durations)) <= 10


@pytest.mark.parametrize("name", ["raw.h264", "live.mkv"])
def test_a_clip_that_does_not_say_how_long_it_is_is_counted(tmp_path, name):
    live = {"live": "1"} if name == "live.mkv" else {}
    with av.open(str(tmp_path / name), "w", format="h264" if name == "raw.h264" else None, options=live) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(picture(number))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    facts = read_facts(tmp_path / name)
    assert (facts.duration, facts.frames) == (None, 30)
    assert len(list(ClipSource(facts).frames())) == 30
