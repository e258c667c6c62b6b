"""``stylize video``: what goes in comes out painted, with its sound and its times; bad input ends in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from stylize import owned_folder
from stylize.cli import main
from stylize.cli.video_progress import progress_text
from stylize.video import segments, targets
from stylize.video.segments import Progress
from tests.helpers import ROOT, save_photo, tiny_collection, tiny_weights
from tests.video_helpers import PERIOD, look, make_clip, picture

av = pytest.importorskip("av")

FRAMES = 12


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 5 frames, so that a tiny clip has several."""
    monkeypatch.setattr(segments, "SHORTEST", 5)
    monkeypatch.setattr(segments, "LONGEST", 5)


def video(*arguments: object) -> Result:
    settings = ["--device", "cpu", "--precision", "float32"]
    if "--stability" not in arguments:
        settings += ["--stability", "off"]
    return CliRunner().invoke(main, ["video", *map(str, arguments), *settings])


def painted(weights: Path, clip: Path, output: Path, *options: object) -> dict:
    """Paint a clip and return the JSON document."""
    result = video(clip, "-o", output, "--style", weights, "--json", *options)
    assert result.exit_code == 0, result.output
    assert not (output.parent / f"{output.name}.run").exists()
    return json.loads(result.stdout)


def refusal(result: Result, status: int) -> str:
    """Return the one line of a refusal."""
    assert result.exit_code == status, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_clip_keeps_its_times_its_sound_and_its_subtitles(weights, tmp_path, short_segments):
    clip = make_clip(tmp_path / "clip.mp4", FRAMES, subtitles="mov_text")
    document = painted(weights, clip, tmp_path / "painted.mp4")
    before, after = look(clip), look(tmp_path / "painted.mp4")
    assert after.times == before.times
    assert after.duration == before.duration
    assert after.sound == before.sound
    assert after.subtitles == before.subtitles
    assert after.kinds == ["h264", "aac", "mov_text"]
    assert after.context["size"] == (64, 48)
    assert after.context["metadata"]["title"] == "a tiny clip"
    assert document["frames"] == document["painted"] == FRAMES
    assert document["segments"] == 3
    assert [one["action"] for one in document["streams"]] == ["copied", "copied"]
    assert document["notes"] == []
    # It was painted: neither the clip nor one picture again and again.
    assert np.abs(after.frames[0].astype(int) - before.frames[0]).mean() > 5
    assert np.abs(after.frames[0].astype(int) - after.frames[6]).mean() > 1


@pytest.mark.parametrize(("suffix", "sound"), [(".mkv", "libopus"), (".mov", "aac"), (".webm", "libopus")])
def test_containers(weights, tmp_path, suffix, sound):
    clip = make_clip(tmp_path / "clip.mkv", 3, sound=sound)
    painted(weights, clip, tmp_path / f"painted{suffix}")
    after = look(tmp_path / f"painted{suffix}")
    assert len(after.frames) == 3
    assert [data for _, data in after.sound] == [data for _, data in look(clip).sound]
    assert after.kinds[0] == ("vp9" if suffix == ".webm" else "h264")


def test_sound_that_the_container_cannot_hold_is_converted_and_said(weights, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", FRAMES, sound="aac")
    document = painted(weights, clip, tmp_path / "painted.webm")
    (stream,) = document["streams"]
    assert (stream["codec"], stream["action"], stream["detail"]) == ("aac", "converted", "libopus")
    assert "sound aac: converted to libopus" in document["notes"]
    with av.open(str(tmp_path / "painted.webm")) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 48000 == pytest.approx(0.48, abs=0.06)


def test_subtitles_are_converted_where_they_must_be(weights, tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", FRAMES, subtitles="srt")
    document = painted(weights, clip, tmp_path / "painted.mp4")
    report = document["streams"][-1]
    after = look(tmp_path / "painted.mp4")
    assert report["detail"] == "mov_text"
    shown = [(time, data[2:]) for time, _, data in after.subtitles if len(data) > 2]
    assert shown == [(0, b"first"), (Fraction(1, 5), b"second")]


def test_variable_frame_rate_is_kept(weights, tmp_path, short_segments):
    ticks = [0, 1000, 1500, 4000, 4100, 9000, 9001, 12000, 20000, 20500, 21000, 30000]
    clip = make_clip(tmp_path / "clip.mp4", ticks=ticks, time_base=Fraction(1, 30000))
    painted(weights, clip, tmp_path / "painted.mp4")
    after = look(tmp_path / "painted.mp4")
    assert [round(one * 30000) for one in after.times] == ticks
    assert 1.0 < after.duration < 1.05


def test_a_clip_that_lies_on_its_side_comes_out_upright(weights, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 2, rotation=90)
    document = painted(weights, clip, tmp_path / "painted.mp4", "--strength", 0)
    assert (document["width"], document["height"]) == (48, 64)
    after = look(tmp_path / "painted.mp4")
    # A quarter turn against the clock brings the upper left corner, which is red, to the lower left.
    red = after.frames[0][-6:, :6].reshape(-1, 3).mean(axis=0)
    assert red[0] > 200 and red[1] < 60
    with av.open(str(tmp_path / "painted.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_odd_sizes(weights, tmp_path):
    clip = make_clip(tmp_path / "odd.mkv", 3, (65, 47), codec="ffv1", pixel_format="yuv444p")
    document = painted(weights, clip, tmp_path / "painted.mp4")
    assert (document["width"], document["height"]) == (66, 48)
    assert any("even sizes" in note for note in document["notes"])
    assert look(tmp_path / "painted.mp4").frames[0].shape == (48, 66, 3)
    document = painted(weights, clip, tmp_path / "painted.webm")
    assert (document["width"], document["height"]) == (65, 47)
    document = painted(weights, clip, tmp_path / "half.mp4", "--size", 32)
    assert (document["width"], document["height"]) == (32, 24)
    assert document["notes"] == []


@pytest.mark.parametrize("colour", [(1, 1), (6, 1), (6, 2), (9, 1)])
def test_colours_come_back_as_they_were(weights, tmp_path, colour):
    matrix, span = colour
    settings = {"colorspace": matrix, "color_range": span, "color_primaries": matrix, "color_trc": 1}
    flat = np.full((48, 64, 3), (200, 60, 30), np.uint8)
    clip = make_clip(tmp_path / "clip.mp4", 2, settings=settings, pixels=[flat, flat])
    painted(weights, clip, tmp_path / "painted.mp4", "--strength", 0, "--quality", 1)
    context = look(tmp_path / "painted.mp4").context
    assert (context["colorspace"], context["range"], context["primaries"], context["transfer"]) == (
        matrix,
        span,
        matrix,
        1,
    )
    from stylize.video.reading import ClipSource, read_facts

    facts = read_facts(tmp_path / "painted.mp4")
    pixels = next(ClipSource(facts).frames()).pixels
    assert np.abs(pixels.astype(int) - flat).max() <= 4


def test_pixels_that_are_not_square_stay_so(weights, tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", 2, settings={"sample_aspect_ratio": Fraction(4, 3)})
    painted(weights, clip, tmp_path / "painted.mp4")
    assert look(tmp_path / "painted.mp4").context["aspect"] == Fraction(4, 3)


def test_high_dynamic_range_is_tone_mapped_and_said(weights, tmp_path):
    settings = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    options = {"x265-params": "log-level=none"}
    clip = make_clip(
        tmp_path / "hdr.mp4", 2, codec="libx265", pixel_format="yuv420p10le", settings=settings, options=options
    )
    document = painted(weights, clip, tmp_path / "painted.mp4")
    assert any("high dynamic range (PQ)" in note for note in document["notes"])
    context = look(tmp_path / "painted.mp4").context
    assert (context["colorspace"], context["primaries"], context["transfer"]) == (1, 1, 1)


def test_ten_bits_are_said(weights, tmp_path):
    clip = make_clip(tmp_path / "deep.mkv", 2, codec="ffv1", pixel_format="yuv420p10le")
    document = painted(weights, clip, tmp_path / "painted.mp4", "--strength", 0, "--quality", 1)
    assert document["notes"] == ["its colours have 10 bits; they are painted and written with 8"]
    before, after = (look(path).frames[0].astype(int) for path in (clip, tmp_path / "painted.mp4"))
    assert np.abs(after - before).mean() < 3


def test_what_is_transparent_is_painted_on_white_and_said(weights, tmp_path):
    pixels = np.zeros((48, 64, 4), np.uint8)
    pixels[..., 0], pixels[:24, :, 3] = 200, 255
    with av.open(str(tmp_path / "clear.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva444p"
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")), *stream.encode(None)]:
            container.mux(packet)
    document = painted(weights, tmp_path / "clear.mkv", tmp_path / "painted.mp4", "--strength", 0, "--quality", 1)
    assert document["notes"] == ["what is transparent in it is painted on white"]
    (frame,) = look(tmp_path / "painted.mp4").frames
    assert np.abs(frame[4:20].astype(int) - (200, 0, 0)).max() < 8
    assert frame[28:].min() > 250


def test_a_mask_says_where_a_clip_is_painted(weights, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 3, sound=None)
    half = Image.new("L", (32, 24))
    half.paste(255, (0, 0, 16, 24))
    half.save(tmp_path / "half.png")
    document = painted(weights, clip, tmp_path / "painted.mp4", "--mask", tmp_path / "half.png", "--quality", 1)
    assert document["notes"] == []
    before, after = look(clip).frames, look(tmp_path / "painted.mp4").frames
    for one, other in zip(before, after, strict=True):
        change = np.abs(one.astype(int) - other).mean(2)
        assert change[:, 36:].mean() < 3 and change[:, :28].mean() > 10
    Image.new("L", (64, 48), "white").save(tmp_path / "white.png")
    document = painted(weights, clip, tmp_path / "all.mp4", "--mask", tmp_path / "white.png")
    assert document["notes"] == ["the mask is all white: the whole result is the style, and nothing of the clip"]
    Image.new("L", (48, 64)).save(tmp_path / "high.png")
    for mask, status, words in (
        ("high.png", 2, "it lies on its side"),
        ("none.png", 2, "mask: "),
        ("clip.mp4", 2, "mask: "),
    ):
        options = ("-o", tmp_path / "out.mp4", "--style", weights, "--mask", tmp_path / mask)
        assert words in refusal(video(clip, *options), status)


def test_bold_strokes(weights, tmp_path):
    photo = save_photo(tmp_path / "frames" / "1.png", 64, 48)
    from stylize.stylizer import load

    stylizer = load(weights, device="cpu", precision="float32")
    for name, scale in (("fine", 1), ("bold", 0.5)):
        painted(weights, photo.parent, tmp_path / name, "--scale", scale)
        found = np.asarray(Image.open(tmp_path / name / "1.png")).astype(int)
        assert np.abs(found - np.asarray(stylizer(Image.open(photo), scale=scale))).max() <= 1
    assert "above 0 up to 1" in refusal(video(photo.parent, "--style", weights, "--scale", 2), 2)


def test_a_part_of_a_clip(weights, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 50, options={"g": "10"}, subtitles="mov_text")
    document = painted(weights, clip, tmp_path / "part.mp4", "--start", "0:00:01.0", "--end", "1.4", "--strength", 0)
    whole, part = look(clip), look(tmp_path / "part.mp4")
    assert document["frames"] == 10
    assert part.times == [Fraction(number, 25) for number in range(10)]
    assert part.duration == pytest.approx(0.4)
    expected = [(moment - 1, data) for moment, data in whole.sound if 1 <= moment < Fraction(7, 5)]
    assert [data for _, data in part.sound] == [data for _, data in expected]
    assert float(part.sound[0][0]) == pytest.approx(float(expected[0][0]), abs=1e-3)
    # The very frames of the whole.
    for number, frame in enumerate(part.frames):
        differences = [np.abs(frame.astype(int) - one).mean() for one in whole.frames]
        assert np.argmin(differences) % PERIOD == (25 + number) % PERIOD


def test_gif_in_and_out(weights, tmp_path):
    shots = [Image.fromarray(picture(number, 40, 30)) for number in range(4)]
    durations = [40, 200, 100, 70]
    shots[0].save(tmp_path / "cat.gif", save_all=True, append_images=shots[1:], duration=durations, loop=0)
    document = painted(weights, tmp_path / "cat.gif", tmp_path / "painted.gif")
    assert document["frames"] == 4
    with Image.open(tmp_path / "painted.gif") as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (4, (40, 30), 0)
        assert [image.seek(number) or image.info["duration"] for number in range(4)] == durations
    painted(weights, tmp_path / "cat.gif", tmp_path / "painted.mp4")
    assert [float(one) for one in look(tmp_path / "painted.mp4").times] == pytest.approx([0, 0.04, 0.24, 0.34])
    assert look(tmp_path / "painted.mp4").duration == pytest.approx(0.41)
    painted(weights, tmp_path / "painted.gif", tmp_path / "painted.webp")
    with Image.open(tmp_path / "painted.webp") as image:
        assert (image.n_frames, image.size) == (4, (40, 30))
    clip = make_clip(tmp_path / "clip.mp4", 5, subtitles="mov_text")
    document = painted(weights, clip, tmp_path / "clip.gif")
    assert {one["action"] for one in document["streams"]} == {"left out"}
    with Image.open(tmp_path / "clip.gif") as image:
        assert image.n_frames == 5


def test_folders_of_frames_in_and_out(weights, tmp_path):
    for number in (1, 2, 10):
        save_photo(tmp_path / "frames" / f"shot{number}.png", seed=number)
    (tmp_path / "frames" / "notes.txt").write_text("not a picture")
    document = painted(weights, tmp_path / "frames", tmp_path / "painted")
    assert document["frames"] == 3
    assert sorted(one.name for one in (tmp_path / "painted").iterdir()) == ["shot1.png", "shot10.png", "shot2.png"]
    painted(weights, tmp_path / "frames", tmp_path / "clip.mp4", "--fps", 10, "--strength", 0, "--quality", 5)
    clip = look(tmp_path / "clip.mp4")
    assert [float(one) for one in clip.times] == pytest.approx([0, 0.1, 0.2])
    # In the order of the numbers, not of the letters.
    last = np.asarray(Image.open(tmp_path / "frames" / "shot10.png"))
    assert np.abs(clip.frames[2].astype(int) - last).mean() < 6
    result = video(tmp_path / "clip.mp4", "-o", tmp_path / "out" / "f%03d.jpg", "--style", weights)
    assert result.exit_code == 0, result.output
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["f001.jpg", "f002.jpg", "f003.jpg"]
    document = painted(weights, tmp_path / "out" / "f%03d.jpg", tmp_path / "again.mkv")
    assert document["frames"] == 3


def test_a_folder_name_with_a_slash(weights, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 2)
    result = video(clip, "-o", f"{tmp_path}/new.frames/", "--style", weights)
    assert result.exit_code == 0, result.output
    assert [one.name for one in sorted((tmp_path / "new.frames").iterdir())] == ["000001.png", "000002.png"]


def test_one_frame(weights, tmp_path):
    clip = make_clip(tmp_path / "one.mp4", 1, sound=None)
    assert painted(weights, clip, tmp_path / "painted.mp4")["frames"] == 1
    assert len(look(tmp_path / "painted.mp4").frames) == 1


def test_a_mixture_and_the_name_beside_the_clip(tmp_path):
    collection = tiny_collection(tmp_path / "paintings.safetensors")
    clip = make_clip(tmp_path / "clip.avi", 2, codec="mpeg4", sound=None)
    options = ("--collection", collection, "--style", "first:0.6,second:0.4", "--preserve-color")
    result = video(clip, *options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "clip-first-60-second-40.mp4").is_file()
    assert "clip-first-60-second-40.mp4" in result.stdout


def test_work_that_was_killed_goes_on_and_ends_in_the_same_clip(weights, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(segments, "LONGEST", 24)
    clip = make_clip(tmp_path / "clip.mp4", 80, subtitles="mov_text")
    painted(weights, clip, tmp_path / "straight.mp4", "--quality", 0)
    code = f"""
import time
import torch
from stylize.cli import main
from stylize.video.plain_painter import PlainPainter
torch.set_num_threads(1)
paint = PlainPainter.paint
PlainPainter.paint = lambda self, frame, elapsed=None: (time.sleep(0.02), paint(self, frame))[1]
segments = __import__("stylize.video.segments").video.segments
segments.LONGEST = 24
main(["video", {str(clip)!r}, "-o", {str(tmp_path / "killed.mp4")!r}, "--style", {str(weights)!r},
      "--quality", "0", "--stability", "off", "--device", "cpu", "--precision", "float32"])
"""
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
    run = tmp_path / "killed.mp4.run"
    try:
        limit = time.monotonic() + 100
        while not (run / "segment-00001.json").exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert not (tmp_path / "killed.mp4").exists()
    finished = len(list(run.glob("segment-*.json")))
    assert 2 <= finished < 4
    document = painted(weights, clip, tmp_path / "killed.mp4", "--quality", 0)
    assert document["resumed"] >= 48
    assert document["painted"] == 80 - document["resumed"]
    straight, resumed = look(tmp_path / "straight.mp4"), look(tmp_path / "killed.mp4")
    assert resumed.times == straight.times
    assert resumed.sound == straight.sound
    # Without loss, so that nothing but the painting counts: x264 does not give the same bytes twice.
    assert all(np.array_equal(a, b) for a, b in zip(resumed.frames, straight.frames, strict=True))


def test_ctrl_c_keeps_what_is_finished(weights, tmp_path, short_segments, monkeypatch):
    clip = make_clip(tmp_path / "clip.mp4", FRAMES)
    from stylize.video.plain_painter import PlainPainter

    paint, count = PlainPainter.paint, 0

    def interrupted(self, frame, elapsed=None):
        nonlocal count
        count += 1
        if count == 8:
            signal.raise_signal(signal.SIGINT)
        return paint(self, frame)

    monkeypatch.setattr(PlainPainter, "paint", interrupted)
    result = video(clip, "-o", tmp_path / "painted.mp4", "--style", weights)
    assert result.exit_code == 130
    assert "stopped after 5 of 12 frames, which are kept" in result.stderr
    assert not (tmp_path / "painted.mp4").exists()
    assert not (tmp_path / "painted.mp4.run" / "unfinished").exists()
    result = video(clip, "-o", tmp_path / "painted.mp4", "--style", weights)
    assert result.exit_code == 0, result.output
    assert "going on after 5 frames" in result.stderr
    assert look(tmp_path / "painted.mp4").times == look(clip).times


@pytest.mark.parametrize("stability", ["statistics", "flow"])
def test_steady_work_that_was_stopped_ends_in_the_same_frames(
    weights, tmp_path, short_segments, monkeypatch, stability
):
    torch.set_num_threads(1)
    clip = make_clip(tmp_path / "clip.mp4", FRAMES)
    options = ("--quality", 0, "--stability", stability)
    painted(weights, clip, tmp_path / "straight.mp4", *options)
    with monkeypatch.context() as patch:
        patch.setattr(segments._Painting, "_tell", _stop_after(8))
        assert video(clip, "-o", tmp_path / "twice.mp4", "--style", weights, *options).exit_code == 130
    assert painted(weights, clip, tmp_path / "twice.mp4", *options)["resumed"] == 5
    straight, twice = look(tmp_path / "straight.mp4"), look(tmp_path / "twice.mp4")
    assert straight.times == twice.times and straight.sound == twice.sound
    assert all(np.array_equal(a, b) for a, b in zip(straight.frames, twice.frames, strict=True))


def test_unfinished_work_goes_on_only_with_the_same_settings(weights, tmp_path, short_segments, monkeypatch):
    clip, output = make_clip(tmp_path / "clip.mp4", FRAMES), tmp_path / "painted.mp4"
    with monkeypatch.context() as patch:
        patch.setattr(segments._Painting, "_tell", _stop_after(7))
        assert video(clip, "-o", output, "--style", weights).exit_code == 130
    line = refusal(video(clip, "-o", output, "--style", weights, "--quality", 30), 2)
    assert "quality 20, not 30" in line and "--overwrite" in line
    make_clip(clip, FRAMES, pixels=[picture(3)] * FRAMES)
    assert "the clip itself" in refusal(video(clip, "-o", output, "--style", weights), 2)
    document = painted(weights, clip, output, "--overwrite", "--quality", 30)
    assert document["resumed"] == 0


def _stop_after(frames: int):
    tell = segments._Painting._tell

    def stopping(self, more: int) -> None:
        tell(self, more)
        if self.painted == frames:
            raise KeyboardInterrupt

    return stopping


def test_long_work_is_estimated_and_asks_first(weights, tmp_path):
    # A last frame ten hours later: the clip says 250 frames per second and lasts ten hours.
    clip = make_clip(tmp_path / "long.mkv", rate=250, ticks=[*range(24), 36_000 * 250], sound=None)
    result = video(clip, "-o", tmp_path / "painted.mp4", "--style", weights)
    line = refusal(result, 2)
    assert "add --yes" in line and "9,000,0" in line
    assert "frames per second" in result.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["long.mkv"]
    assert painted(weights, clip, tmp_path / "painted.mp4", "--yes")["frames"] == 25


def test_a_clip_that_is_cut_off_is_painted_as_far_as_it_goes(weights, tmp_path):
    clip = make_clip(
        tmp_path / "clip.mp4", 60, container_options={"movflags": "+faststart"}, options={"g": "5", "qp": "1"}
    )
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 6 // 10])
    document = painted(weights, clip, tmp_path / "painted.mp4")
    assert 10 < document["frames"] < 50
    assert any("cut off or damaged" in note for note in document["notes"])
    assert len(look(tmp_path / "painted.mp4").frames) == document["frames"]


def test_bad_input_is_refused_in_one_line(weights, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 2)
    before = clip.read_bytes()
    (tmp_path / "text.mp4").write_text("this is no clip\n" * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "headless.mp4").write_bytes(before[200:400])
    (tmp_path / "endless.mp4").write_bytes(before[: len(before) // 2])  # its index was at the end
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        from tests.video_helpers import _tone

        stream = container.add_stream("aac", rate=48000, layout="mono")
        for packet in _tone(stream, 0.2):
            container.mux(packet)
    save_photo(tmp_path / "photo.jpg")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("do not lose me")
    (tmp_path / "none").mkdir()
    output = tmp_path / "out.mp4"
    there = sorted(tmp_path.rglob("*"))
    for arguments, status, words in (
        ((tmp_path / "missing.mp4", "-o", output), 2, "no file or folder"),
        ((tmp_path / "text.mp4", "-o", output), 2, "is no clip"),
        ((tmp_path / "empty.mp4", "-o", output), 2, "is empty"),
        ((tmp_path / "headless.mp4", "-o", output), 2, "is no clip"),
        ((tmp_path / "endless.mp4", "-o", output), 2, "its index is missing"),
        ((tmp_path / "sound.mp4", "-o", output), 2, "no video, only audio"),
        ((tmp_path / "photo.jpg", "-o", output), 2, "stylize apply"),
        ((tmp_path / "none", "-o", output), 2, "no pictures in the folder"),
        ((clip, "-o", tmp_path / "out.xyz"), 2, "its name must end in"),
        ((clip, "-o", tmp_path / "out.png"), 2, "out%04d.png"),
        ((clip, "-o", clip, "--overwrite"), 2, "the clip itself"),
        ((clip, "-o", tmp_path / "sound.mp4"), 1, "exists already"),
        ((clip, "-o", tmp_path / "full"), 1, "not empty"),
        ((clip, "-o", output, "--start", 3), 2, "after the end"),
        ((clip, "-o", output, "--start", "2", "--end", "1"), 2, "holds nothing"),
        ((clip, "-o", output, "--start", "1:77"), 2, "below 60"),
        ((clip, "-o", output, "--end", "soon"), 2, "seconds or h:mm:ss"),
        ((clip, "-o", output, "--fps", 5), 2, "--fps is for a folder"),
        ((clip, "-o", output, "--quality", 60), 2, "60"),
    ):
        line = refusal(video(*arguments, "--style", weights), status)
        assert words in line, line
    assert "unknown style" in refusal(video(clip, "-o", output, "--style", "monet-lilies"), 2)
    assert sorted(tmp_path.rglob("*")) == there
    assert clip.read_bytes() == before


def test_pyav_missing_is_said(weights, tmp_path, monkeypatch):
    clip = make_clip(tmp_path / "clip.mp4", 1)
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install 'stylize[video]'" in refusal(video(clip, "--style", weights), 2)


def test_progress_in_words():
    text = progress_text(Progress(frames=150, total=300, segments=1, seconds=10.0, painted=50))
    assert text == "150 of 300 frames (50 %), 5.0 frames per second, 0:30 left"
    assert progress_text(Progress(5, None, 0, 2.0, 5)) == "5 frames, 2.5 frames per second"


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_process_that_is_killed_while_pictures_are_moved_goes_on(weights, tmp_path, short_segments, monkeypatch):
    clip, place = make_clip(tmp_path / "clip.mp4", FRAMES, sound=None), tmp_path / "painted"
    painted(weights, clip, tmp_path / "straight")
    moved, replace = [], os.replace

    def moving(source: Path, target: Path) -> None:
        if Path(target).parent == place:
            if len(moved) == 4:
                raise Killed
            moved.append(target)
        replace(source, target)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(targets.os, "replace", moving)
        video(clip, "-o", place, "--style", weights)
    assert len(list(place.iterdir())) == 4
    document = painted(weights, clip, place)
    assert document["painted"] == 0 and document["frames"] == FRAMES
    straight = {path.name: path.read_bytes() for path in (tmp_path / "straight").iterdir()}
    assert {path.name: path.read_bytes() for path in place.iterdir()} == straight


@pytest.mark.parametrize("name", ["painted.mp4", "painted"])
def test_a_process_that_is_killed_while_it_tidies_up_has_done_its_work(
    weights, tmp_path, short_segments, monkeypatch, name
):
    clip, place = make_clip(tmp_path / "clip.mp4", FRAMES, sound=None), tmp_path / name

    def rmtree(path: Path, ignore_errors: bool) -> None:
        for part in Path(path).glob("segment-0000[01]*"):  # some of what is there
            if part.is_file():
                part.unlink()
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(owned_folder.shutil, "rmtree", rmtree)
        video(clip, "-o", place, "--style", weights)
    files = [place] if place.is_file() else sorted(place.iterdir())
    before = [path.read_bytes() for path in files]
    said = refusal(video(clip, "-o", place, "--style", weights), 1)
    assert "exists already" in said or "is not empty" in said
    assert [path.read_bytes() for path in files] == before
    document = painted(weights, clip, place, "--overwrite")
    assert document["frames"] == FRAMES
