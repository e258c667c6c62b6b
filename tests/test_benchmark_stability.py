"""The benchmark of stability: its clip of known motion, its sentences, and that it runs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

from benchmarks import stability
from benchmarks.pumping import CHANGES, EXPOSURE, OBJECT, Frozen, compare, exposed, with_object
from benchmarks.stability import pan, sharpness
from benchmarks.stability_report import FLOW, FROZEN, GRID, PIXELS, PLAIN, SMOOTHED, UNFOLLOWED, findings
from stylize.errors import InputError
from stylize.stylizer import load
from stylize.video.flow import to_pixels, warp
from stylize.video.stability import measure_stability
from tests.helpers import run_python, tiny_weights


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
        "sharpness": 0.01,
    }


def clips(speed: float) -> dict[str, object]:
    ways = {
        PLAIN: numbers(0.01, 0.1, 1),
        SMOOTHED: numbers(0.01, 0.1, speed),
        GRID: numbers(0.008, 0.1, speed),
        FLOW: numbers(0.004, 0.104, 0.5),
        PIXELS: numbers(0.006, 0.12, 1),
        FROZEN: numbers(0.009, 0.1, math.nan),
    }
    return {"clip": {"size": "8 x 8", "frame_rate": 25.0, "ways": ways}}


def test_the_sentences_say_what_the_numbers_say():
    lines = findings(clips(0.9))
    assert lines[2].startswith(f"- **{FLOW}**: 0.40 times the warping error") and "half in 1 of 1" in lines[2]
    assert "1.04 times the style distance, within 5 % in 1 of 1" in lines[2]
    assert "0.90 times the warping error and 1.00 times the flicker" in lines[4]
    assert "half in 0 of 1" in lines[3] and "within 5 % in 0 of 1" in lines[3]
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
    assert list(clip["ways"]) == [PLAIN, SMOOTHED, GRID, FLOW, PIXELS, FROZEN]
    assert list(results["pumping"]) == list(CHANGES)
    assert set(results["pumping"][EXPOSURE]) == {PLAIN, SMOOTHED, GRID, FLOW, PIXELS, FROZEN, UNFOLLOWED}
    assert clip["ways"][FLOW]["warping_error"] < clip["ways"][PLAIN]["warping_error"]
    page = (tmp_path / "stability.md").read_text(encoding="utf-8")
    assert "OpenCV" in page and "## Clips" in page and "## Pumping" in page and "nan" not in page
    assert list((tmp_path / "sheets").glob("*.png"))


def test_what_is_done_to_a_clip():
    frames = [torch.full((1, 3, 20, 40), 0.5)] * 48
    changed = with_object(frames)
    differs = [float((one[..., :10] - 0.5).abs().mean()) for one in changed]
    assert differs[:17] == [0] * 17 and 0 < differs[18] < differs[24] == differs[39] > differs[42] > 0
    assert all(torch.equal(one[..., 10:], frames[0][..., 10:]) for one in changed)
    bright = [float(one.mean()) for one in exposed(frames)]
    assert bright[0] == 0.5 and len(set(bright)) > 8
    # A gain of 0.7, and 0.2 of the rest as light.
    assert bright[19] == pytest.approx(0.7 * 0.5 + 0.2 * 0.3)


def test_pumping_by_hand():
    plain = [torch.zeros(1, 3, 16, 16)] * 3
    changed = [plain[0], plain[0] + 0.1, plain[0] + 0.1]
    found = compare(plain, changed, 0.0)
    assert found["shift"] == pytest.approx(0.1 * math.sqrt(2 / 3))
    assert found["pumping"] == pytest.approx(0.1 * math.sqrt(1 / 2))
    left = [one.clone() for one in plain]
    left[1][..., :8] = 1
    assert compare(plain, left, 0.5) == {"shift": 0, "pumping": 0}


def test_frozen_statistics_do_not_pump_and_end_at_cuts(tmp_path):
    stylizer = load(tiny_weights(tmp_path / "tiny.safetensors"), device="cpu", precision="float32")
    still = [pan(128, 1).frames[0]] * 20
    changed = with_object(still)
    frozen = Frozen(stylizer, changed)
    painted = [frozen.paint(frame)[..., 100:] for frame in changed]
    assert max(float((one - painted[0]).abs().max()) for one in painted) < 1e-5
    plain = [stylizer(frame)[..., 100:] for frame in changed]
    assert float((plain[-1] - plain[0]).abs().mean()) > 1e-3
    two = Frozen(stylizer, [still[0], 0.5 * still[0]], cuts=[1])
    for frame in (still[0], 0.5 * still[0]):
        torch.testing.assert_close(two.paint(frame), stylizer(frame), atol=1e-5, rtol=0)


def test_sharpness_by_hand():
    stripes = torch.zeros(1, 3, 4, 4)
    stripes[..., ::2] = 1
    assert sharpness(stripes) == 1  # every neighbour to the right differs by 1, none below
    assert OBJECT in CHANGES


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
