"""The benchmark of the command ``stylize video``: its arithmetic and its sentences; the runs are stand-ins."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("av")

from benchmarks import video_speed
from benchmarks.video_speed import FLOW, OFF, STATISTICS, findings
from stylize.errors import InputError
from tests.helpers import run_python
from tests.video_helpers import make_clip

SECONDS = {OFF: 0.1, STATISTICS: 0.11, FLOW: 0.2}
"""For a further frame; the start takes 2 s."""


def test_rates_are_those_of_the_runs(tmp_path, monkeypatch, capsys):
    def paint_clip(clip, output, stability, options, end):
        frames = max(1, min(12, round(25 * end + 0.5)))
        seconds = 2 + SECONDS[stability] * (frames - 1)
        return {"seconds": seconds, "frames": frames, "width": 64, "height": 48}

    monkeypatch.setattr(video_speed, "paint_clip", paint_clip)
    monkeypatch.setattr(video_speed, "paint_frames", lambda facts, options, end: (0.8, 10))
    monkeypatch.setattr("sys.argv", ["video_speed.py", "clip.mp4"])
    clip = make_clip(tmp_path / "clip.mp4", 12, sound=None)
    video_speed.main([str(clip), "--frames", "11", "--runs", "2", "--output", str(tmp_path)])
    measured = json.loads((tmp_path / "video_speed.json").read_text(encoding="utf-8"))["measured"]
    assert measured["painting_rate"] == pytest.approx(12.5)
    assert measured["frames"] == 11
    assert measured["ways"][FLOW]["rate"] == pytest.approx(5)
    assert measured["ways"][FLOW]["whole_rate"] == pytest.approx(11 / 4)
    lines = findings(measured)
    assert lines[0].startswith("- Frame by frame: 80 % of the frames per second")
    assert "91 % of the speed of frame by frame; the goal of 80 % is reached" in lines[1]
    assert lines[2] == "- With flow: 50 % of the speed of frame by frame."
    page = (tmp_path / "video_speed.md").read_text(encoding="utf-8")
    assert "| with flow | 4.0 | 2.0 | 2.8 | 5.0 |" in page and page.strip() in capsys.readouterr().out


def test_the_goal_that_is_missed_is_said():
    measured = {
        "painting_rate": 10,
        "ways": {way: {"rate": rate} for way, rate in zip(SECONDS, (10, 7, 5), strict=True)},
    }
    assert "70 % of the speed of frame by frame; the goal of 80 % is not reached" in findings(measured)[1]


def test_bad_clips(tmp_path):
    (tmp_path / "text.mp4").write_text("no clip")
    with pytest.raises(InputError, match="is no clip"):
        video_speed.main([str(tmp_path / "text.mp4")])


def test_help_answers_without_torch():
    result = run_python("benchmarks/video_speed.py", "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage:")
