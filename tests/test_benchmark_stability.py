"""The benchmark of stability: its clip of known motion, its sentences, and that it runs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip("cv2")

from benchmarks import stability
from benchmarks.stability import FLOW, PIXELS, PLAIN, SMOOTHED, findings, markdown, pan
from stylize.errors import InputError
from stylize.video.flow import to_pixels, warp
from stylize.video.stability import measure_stability
from tests.helpers import run_python


def test_the_motion_of_the_pan_is_its_motion():
    clip = pan(96, 4)
    assert measure_stability(clip.frames, clip.steps).warping_error < 0.1 * float(clip.frames[0].var())
    step = clip.steps[1]
    before, painted = to_pixels(clip.frames[1]), to_pixels(clip.frames[2])
    inside = step.back.trust > 0.5
    along = np.square(painted - warp(before, step.back.flow))[inside].mean()
    assert along < 0.7 * np.square(painted - before)[inside].mean()
    # There and back again.
    assert np.abs(step.back.flow + warp(step.onward.flow, step.back.flow))[2:-2, 2:-2].max() < 0.01


def numbers(error: float, style: float, speed: float) -> dict[str, float]:
    return {
        "warping_error": error,
        "moving_error": math.nan,
        "flicker": 0.01,
        "style": style,
        "seconds": 0.1 / speed,
        "speed": speed,
    }


def clips(speed: float) -> dict[str, object]:
    ways = {
        PLAIN: numbers(0.01, 0.1, 1),
        SMOOTHED: numbers(0.01, 0.1, speed),
        FLOW: numbers(0.004, 0.104, 0.5),
        PIXELS: numbers(0.006, 0.12, 1),
    }
    return {"clip": {"size": "8 x 8", "frame_rate": 25.0, "ways": ways}}


def test_the_sentences_say_what_the_numbers_say():
    lines = findings(clips(0.9))
    assert lines[1].startswith(f"- **{FLOW}**: 0.40 times the warping error") and "half in 1 of 1" in lines[1]
    assert "1.04 times the style distance, within 5 % in 1 of 1" in lines[1]
    assert "half in 0 of 1" in lines[2] and "within 5 % in 0 of 1" in lines[2]
    assert lines[-1].endswith("is reached.")
    assert findings(clips(0.7))[-1].endswith("is not reached.")


def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["stability.py"])
    # The loss network would take most of the time.
    monkeypatch.setattr("stylize.vgg.load_loss_network", lambda last: None)
    monkeypatch.setattr(
        "stylize.evaluation.style_distance", lambda images, painting, loss_network: images.mean((1, 2, 3))
    )
    stability.main(["--frames", "3", "--edge", "48", "--output", str(tmp_path), "--sheets", str(tmp_path / "sheets")])
    results = json.loads((tmp_path / "stability.json").read_text(encoding="utf-8"))
    (clip,) = results["clips"].values()
    assert list(clip["ways"]) == [PLAIN, SMOOTHED, FLOW, PIXELS]
    assert clip["ways"][FLOW]["warping_error"] < clip["ways"][PLAIN]["warping_error"]
    page = (tmp_path / "stability.md").read_text(encoding="utf-8")
    assert page == markdown(results).rstrip("\n") + "\n" and "OpenCV" in page
    assert list((tmp_path / "sheets").glob("*.png"))


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="3 or more"):
        stability.main(["--frames", "2"])
    pytest.importorskip("av")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip")
    with pytest.raises(InputError, match="cannot be read"):
        stability.read_clip(broken, 48, 0, 3)


def test_help_answers_without_torch():
    code = """
import runpy, sys
sys.argv = ["stability.py", "--help"]
try:
    runpy.run_path("benchmarks/stability.py", run_name="__main__")
finally:
    print("TORCH" if "torch" in sys.modules else "LIGHT")
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage:") and result.stdout.rstrip().endswith("LIGHT")
