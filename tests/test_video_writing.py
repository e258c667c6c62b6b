"""Clips out: encoders, order of packets, the working folder, and segments that can be resumed."""

from __future__ import annotations

import json
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stylize.errors import InputError, OutputError, RunInUse
from stylize.stylizer import load
from stylize.video.choice import make_painter, usable_stability
from stylize.video.encoders import choose_encoder, estimated_bytes
from stylize.video.frames import Frame
from stylize.video.joining import decode_ticks, durations_of
from stylize.video.other_streams import StreamReport
from stylize.video.pipeline import WriteBehind, read_ahead
from stylize.video.segments import Progress, paint_segments, segment_frames
from stylize.video.sources import look_at, open_source
from stylize.video.targets import open_target
from stylize.video.work_folder import Segment, WorkFolder
from tests.helpers import tiny_weights
from tests.video_helpers import look, make_clip


def test_encoders_and_what_is_taken_when_one_is_missing():
    everything = {"libx264", "libopenh264", "mpeg4", "libvpx-vp9"}
    encoder, note = choose_encoder(".mp4", everything)
    assert (encoder.name, note, encoder.settings(18)["crf"]) == ("libx264", None, "18")
    encoder, note = choose_encoder(".MOV", {"mpeg4"})
    assert encoder.name == "mpeg4" and "libx264 is missing" in note
    assert choose_encoder(".webm", everything)[0].settings(23)["crf"] == "31"
    with pytest.raises(InputError, match="no encoder for .webm"):
        choose_encoder(".webm", {"libx264"})
    for name in ("libopenh264", "mpeg4"):
        encoder = choose_encoder(".mp4", {name})[0]
        for quality in (0, 20, 51):
            settings = encoder.settings(quality)
            assert 1 <= int(settings["qmin"]) <= int(settings["qmax"]) <= 51
    assert estimated_bytes(100, 100, 80, 14) == 2 * estimated_bytes(100, 100, 80, 20)


def test_a_missing_encoder_is_replaced_in_earnest(tmp_path, monkeypatch):
    class Fewer(set):
        pass

    import av

    monkeypatch.setattr(av, "codecs_available", Fewer(av.codecs_available) - {"libx264", "libopenh264"})
    clip = make_clip(tmp_path / "clip.mp4", 3, codec="mpeg4")
    source = open_source(look_at(clip))
    target = open_target(str(tmp_path / "out.mp4"), source)
    assert any("mpeg4 is taken" in note for note in target.notes)
    _paint(source, target, _stand_in())
    assert look(tmp_path / "out.mp4").context["codec"] == "mpeg4"


@st.composite
def stored_orders(draw: st.DrawFn) -> list[int]:
    """Times of frames in an order in which an encoder may store them: each moved by at most three places."""
    gaps = draw(st.lists(st.integers(1, 1000), min_size=1, max_size=30))
    ticks = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    moves = draw(st.lists(st.integers(0, 3), min_size=len(ticks), max_size=len(ticks)))
    return [tick for _, tick in sorted(zip((n + 1.1 * m for n, m in enumerate(moves)), ticks, strict=True))]


@given(stored_orders())
def test_decoding_never_runs_backwards_nor_late(shown):
    ordered = sorted(shown)
    lasting = dict(zip(ordered, durations_of(ordered, [7] * len(ordered), 1), strict=True))
    decoded = decode_ticks(shown, lasting)
    assert all(a < b for a, b in zip(decoded, decoded[1:], strict=False))
    assert all(before <= tick for before, tick in zip(decoded, shown, strict=True))


def test_decoding_of_a_usual_clip():
    # I P B B P B B: shown 0 3 1 2 6 4 5.
    shown = [0, 30, 10, 20, 60, 40, 50]
    assert decode_ticks(shown, dict.fromkeys(range(0, 70, 10), 10)) == [-10, 0, 10, 20, 30, 40, 50]
    assert decode_ticks([0, 5, 9], {0: 5, 5: 4, 9: 1}) == [0, 5, 9]
    assert durations_of([0, 5, 9], [1, 1, 0], 3) == [5, 4, 3]
    assert durations_of([0, 5, 9], [1, 1, 8], 3) == [5, 4, 8]


def test_what_became_of_a_stream_in_words():
    assert StreamReport("audio", "aac", "copied").line() is None
    line = StreamReport("subtitle", "hdmv_pgs_subtitle", "left out", "a mp4 file cannot hold it", "fra").line()
    assert line == "subtitles hdmv_pgs_subtitle (fra): left out, a mp4 file cannot hold it"


def test_segment_lengths():
    assert [segment_frames(rate) for rate in (1, 25, 1000)] == [24, 200, 480]


def test_reading_ahead_keeps_order_and_errors():
    def numbers():
        yield from range(5)
        raise InputError("the end is missing")

    found = []
    with pytest.raises(InputError, match="the end is missing"), read_ahead(numbers()) as items:
        for item in items:
            found.append(item)
    assert found == [0, 1, 2, 3, 4]


def test_reading_ahead_can_be_left_early():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with read_ahead(endless()) as items:
        assert next(items) == 1
    assert closed.is_set()


def test_writing_behind():
    done = []
    behind = WriteBehind(done.append)
    for number in range(10):
        behind(number)
    behind.finish()
    behind.stop()
    assert done == list(range(10))

    def fail(number: int) -> None:
        raise OutputError(f"no room for {number}")

    behind = WriteBehind(fail)
    with pytest.raises(OutputError, match="no room for 0"):
        for number in range(10):
            behind(number)
    behind.stop()


def test_a_working_folder(tmp_path):
    work = WorkFolder(tmp_path / "out.mp4")
    assert work.path == tmp_path / "out.mp4.run"
    with work.owned():
        work.begin({"quality": 20}, overwrite=False)
        with pytest.raises(RunInUse, match="another process"), WorkFolder(tmp_path / "out.mp4").owned():
            pass
        assert work.segments() == []
    assert not work.path.exists()  # nothing came of it
    with work.owned():
        work.begin({"quality": 20}, overwrite=False)
        work.unfinished.write_text("frames")
        work.keep(Segment(0, [0, 1], [1, 1], problems=("dust",)), ".nut", {"known": torch.arange(3)})
        work.part(1, ".nut").write_text("frames without a record do not count")
        work.unfinished.write_text("half")
    assert not work.unfinished.exists()
    assert work.segments() == [Segment(0, [0, 1], [1, 1], problems=("dust",))]
    assert not work.complete
    assert torch.equal(work.state(0)["known"], torch.arange(3))
    with work.owned():
        work.begin({"quality": 20}, overwrite=False)
        work.unfinished.write_text("more frames")
        work.keep(Segment(1, [2], [1]), ".nut", {})
        assert work.state(1) == {}
        with pytest.raises(OutputError, match="segment-00000.safetensors is missing or damaged"):
            work.state(0)  # only the last one is gone on from
        with pytest.raises(InputError, match="quality 20, not 30"):
            work.begin({"quality": 30}, overwrite=False)
        work.part(0, ".json").write_text("{ damaged")
        assert work.segments() == []
        work.begin({"quality": 30}, overwrite=False)  # nothing finished is lost
        assert sorted(path.name for path in work.path.iterdir()) == [".lock", "work.json"]


class _StandIn:
    """Paints frame by frame, with a memory of the frames before it."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.log: list[str] = []

    def paint(self, frame: torch.Tensor, elapsed: float | None = None) -> torch.Tensor:
        self.before = [*self.before, float(frame.mean())][-3:]
        self.log.append("paint")
        return (frame * 0.5 + 0.5 * sum(self.before) / len(self.before)).clamp(0, 1)

    def reset(self) -> None:
        self.before = []
        self.log.append("reset")

    def state(self) -> dict[str, torch.Tensor]:
        return {"before": torch.tensor(self.before, dtype=torch.float64)}

    def restore(self, state) -> None:
        self.before = state["before"].tolist()
        self.log.append("restore")


def _stand_in() -> _StandIn:
    return _StandIn()


def _paint(source, target, painter, **options):
    work = WorkFolder(target.place)
    with work.owned():
        work.begin({}, overwrite=False)
        return paint_segments(source, target, work, painter, **options)


class _Stop(Exception):
    pass


@pytest.mark.parametrize("stopped_after", [3, 4, 5, 9, 11])
def test_stopped_and_resumed_is_the_same_as_at_once(tmp_path, stopped_after):
    clip = make_clip(tmp_path / "clip.mp4", 11, sound=None)
    source = open_source(look_at(clip))
    painter = _stand_in()
    outcome = _paint(source, open_target(f"{tmp_path}/whole/", source), painter, length=4)
    assert (outcome.frames, outcome.segments, outcome.resumed) == (11, 3, 0)
    assert painter.log == ["reset", *["paint"] * 11]

    def stop(progress: Progress) -> None:
        if progress.painted == stopped_after:
            raise _Stop

    target = open_target(f"{tmp_path}/twice/", source)
    with pytest.raises(_Stop):
        _paint(source, target, _stand_in(), length=4, on_progress=stop)
    assert not target.place.exists()
    painter = _stand_in()
    outcome = _paint(source, target, painter, length=4)
    assert painter.log[0] == ("restore" if outcome.resumed else "reset")
    assert outcome.resumed == 4 * ((stopped_after - 1) // 4)
    assert outcome.painted == 11 - outcome.resumed
    _same_pictures(tmp_path / "whole", tmp_path / "twice", 11)


def _same_pictures(first: Path, second: Path, count: int) -> None:
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir()) and len(names) == count
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


@pytest.mark.parametrize("stability", ["statistics", "flow"])
def test_a_steady_painter_resumes_to_the_same_pictures(tmp_path, stability):
    torch.set_num_threads(1)
    clip = make_clip(tmp_path / "clip.mp4", 30, sound=None)
    source = open_source(look_at(clip), size=48)
    stylizer = load(tiny_weights(tmp_path / "tiny.safetensors"), device="cpu", precision="float32")
    painters = [make_painter(stylizer, stability, 25.0) for _ in range(3)]
    _paint(source, open_target(f"{tmp_path}/whole/", source), painters[0], length=13)

    def stop(progress: Progress) -> None:
        if progress.painted == 20:
            raise _Stop

    target = open_target(f"{tmp_path}/twice/", source)
    with pytest.raises(_Stop):
        _paint(source, target, painters[1], length=13, on_progress=stop)
    assert _paint(source, target, painters[2], length=13).resumed == 13
    _same_pictures(tmp_path / "whole", tmp_path / "twice", 30)


def test_how_steady_a_clip_is_painted(tmp_path, monkeypatch):
    stylizer = load(tiny_weights(tmp_path / "tiny.safetensors"), device="cpu", precision="float32")
    assert usable_stability(None, stylizer) == ("flow", None)
    assert usable_stability(None, stylizer, "statistics") == ("statistics", None)
    assert usable_stability("off", stylizer) == ("off", None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    stability, note = usable_stability(None, stylizer)
    assert stability == "statistics" and note.endswith("without OpenCV; pip install 'stylize[video]'")
    assert usable_stability("flow", stylizer) == ("flow", None)
    monkeypatch.setattr(stylizer.engine, "name", "openvino")
    stability, note = usable_stability(None, stylizer)
    assert stability == "off" and "openvino" in note and "--engine torch" in note


def test_what_was_joined_but_not_moved_is_moved(tmp_path, monkeypatch):
    clip = make_clip(tmp_path / "clip.mp4", 5)
    source = open_source(look_at(clip))
    target = open_target(str(tmp_path / "out.mkv"), source)
    with monkeypatch.context() as patch:
        patch.setattr("stylize.video.targets.Target.move", _fail)
        with pytest.raises(_Stop):
            _paint(source, target, _stand_in())
    work = WorkFolder(target.place)
    assert work.joined and work.complete and not target.place.exists()
    outcome = _paint(source, target, _stand_in())
    assert (outcome.frames, outcome.painted) == (5, 0)
    assert [one.action for one in outcome.streams] == ["copied"]
    assert len(look(target.place).frames) == 5 and not work.path.exists()


def _fail(*paths: object) -> None:
    raise _Stop


def test_a_damaged_segment_is_not_joined(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 8, sound=None)
    source = open_source(look_at(clip))
    target = open_target(str(tmp_path / "out.mp4"), source)

    def stop(progress: Progress) -> None:
        if progress.painted == 6:
            raise _Stop

    with pytest.raises(_Stop):
        _paint(source, target, _stand_in(), length=4, on_progress=stop)
    record = WorkFolder(target.place).path / "segment-00000.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps(values | {"ticks": [0, 512, 1024, 1537]}))
    with pytest.raises((OutputError, InputError), match="damaged|does not read"):
        _paint(source, target, _stand_in(), length=4)
    assert not target.place.exists()


def test_a_writer_whose_disk_is_full_leaves_nothing(tmp_path, monkeypatch):
    clip = make_clip(tmp_path / "clip.mp4", 5)
    source = open_source(look_at(clip))
    target = open_target(str(tmp_path / "out.mp4"), source)

    def full(self: object, frame: Frame) -> None:
        raise OutputError("no space left on the disk")

    monkeypatch.setattr("stylize.video.writing.ClipSegmentWriter.add", full)
    with pytest.raises(OutputError, match="no space"):
        _paint(source, target, _stand_in())
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_pictures_that_are_there_stay_unless_overwritten(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 2, sound=None)
    source = open_source(look_at(clip))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other.txt").write_text("mine")
    target = open_target(str(tmp_path / "out"), source)
    with pytest.raises(OutputError, match="not empty"):
        target.check_free(False)
    target.check_free(True)
    _paint(source, target, _stand_in())
    assert sorted(path.name for path in target.place.iterdir()) == ["000001.png", "000002.png", "other.txt"]


def test_an_animation_too_large_for_memory_is_refused(tmp_path, monkeypatch):
    clip = make_clip(tmp_path / "clip.mp4", 4, sound=None)
    monkeypatch.setattr("stylize.video.animations.LARGEST", {"GIF": 1000, "WEBP": 1000})
    with pytest.raises(InputError, match="write a .mp4"):
        open_target(str(tmp_path / "out.gif"), open_source(look_at(clip)))


def test_frame_times_of_a_joined_clip_hold_across_segments(tmp_path):
    ticks = [0, 100, 1000, 1001, 5000, 5100, 5150, 9000, 9500, 12000]
    clip = make_clip(tmp_path / "clip.mp4", ticks=ticks, time_base=Fraction(1, 10000), sound=None)
    source = open_source(look_at(clip))
    _paint(source, open_target(str(tmp_path / "out.mp4"), source, 5), _stand_in(), length=3)
    seen = look(tmp_path / "out.mp4")
    assert [round(time * 10000) for time in seen.times] == ticks
    whole = tmp_path / "frames"
    _paint(source, open_target(f"{whole}/", source), _stand_in(), length=3)
    from PIL import Image

    for number, frame in enumerate(seen.frames, 1):  # every frame is the right one
        drawn = np.asarray(Image.open(whole / f"{number:06d}.png")).astype(int)
        assert np.abs(drawn - frame).mean() < 4
