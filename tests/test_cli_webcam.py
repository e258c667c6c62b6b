"""``stylize webcam``: a video file in the place of the camera, and a window that only takes note."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from stylize.cli import main
from stylize.cli.webcam import StyleRack
from stylize.errors import InputError, StylizeError
from stylize.video import camera as cameras
from stylize.video.camera import open_camera, open_window
from stylize.video.watching import Look, Watcher, begin_with, captioned
from tests.helpers import tiny_collection, tiny_weights
from tests.video_helpers import make_clip, picture


class NotedWindow:
    """A window that keeps what it is shown, and presses keys."""

    def __init__(self, keys: Sequence[str | None] = ()) -> None:
        self.keys = iter(keys)
        self.shown: list[np.ndarray] = []
        self.closed = False

    def show(self, pixels: np.ndarray) -> None:
        self.shown.append(pixels)

    def key(self) -> str | None:
        return next(self.keys, None)

    def close(self) -> None:
        self.closed = True


class Frames:
    """A camera of so many frames."""

    def __init__(self, count: int, size: tuple[int, int] = (64, 48)) -> None:
        self.left = [picture(number, *size) for number in range(count)]

    def read(self) -> np.ndarray | None:
        return self.left.pop(0) if self.left else None


class Grey:
    """Paints everything in one grey, for which it was loaded."""

    def __init__(self, level: float) -> None:
        self.level = level

    def paint(self, frame: torch.Tensor, elapsed: float | None = None) -> torch.Tensor:
        return torch.full_like(frame, self.level)

    def reset(self) -> None: ...

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def restore(self, state: object) -> None: ...


@pytest.fixture
def looks() -> list[Look]:
    return []


def watch(tmp_path: Path, looks: list[Look], keys: Sequence[str | None], frames: int = 20, **options) -> tuple:
    def load(look: Look) -> Grey:
        if look.style == "broken":
            raise InputError("there is no such style")
        looks.append(look)
        return Grey(0.2 + 0.1 * len(looks))

    window, seconds = NotedWindow(keys), itertools.count()
    options = {"styles": ["first", "second", "broken"], "folder": tmp_path} | options
    watcher = Watcher(Frames(frames), window, load, Look("first"), clock=lambda: next(seconds) / 20, **options)
    return watcher, window, watcher.run()


def test_keys_change_what_is_painted(tmp_path, looks):
    watcher, window, watched = watch(tmp_path, looks, ["n", "+", "+", "-", "i", "i", "x", None, "n", "b", "q"])
    assert looks == [
        Look("first"), Look("second"), Look("second", None, 1.1), Look("second", None, 1.2), Look("second", None, 1.1),
        Look("second", "batch", 1.1), Look("second", "instance", 1.1), Look("first", "instance", 1.1),
    ]  # fmt: skip
    assert watched.frames == len(window.shown) == 11
    greys = [round(float(np.median(shown)) / 25.5) for shown in window.shown]
    assert greys == [3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 10]


def test_a_style_that_cannot_be_loaded_is_said_and_changes_nothing(tmp_path, looks):
    watcher, window, _ = watch(tmp_path, looks, ["b", "q"])
    assert watcher.look == Look("first")
    assert watcher.caption() == "there is no such style"


def test_strength_stays_in_its_range(tmp_path, looks):
    watcher, _, _ = watch(tmp_path, looks, ["-"] * 15 + ["q"])
    assert watcher.look.strength == 0
    watcher, _, _ = watch(tmp_path, looks, ["="] * 15 + ["q"])
    assert watcher.look.strength == 1.5


def test_pictures_are_saved_without_the_caption_and_never_replaced(tmp_path, looks):
    (tmp_path / "webcam-first-001.png").write_text("mine")
    _, window, watched = watch(tmp_path, looks, ["s", "s"], 3)
    assert [path.name for path in watched.saved] == ["webcam-first-002.png", "webcam-first-003.png"]
    assert (tmp_path / "webcam-first-001.png").read_text() == "mine"
    assert np.ptp(np.asarray(Image.open(watched.saved[0]))) == 0  # all of one grey
    assert np.ptp(window.shown[0]) > 100  # with the caption
    (tmp_path / "blocked").write_text("")
    watcher, _, watched = watch(tmp_path / "blocked", looks, ["s"], 1)
    assert watched.saved == () and "cannot be written" in watcher.caption()


def test_frames_per_second_are_those_of_the_clock(tmp_path, looks):
    watcher, _, watched = watch(tmp_path, looks, [], 10)
    # The clock goes on by a twentieth at each look at it: a few looks for each frame.
    looks_per_frame = 20 * watched.seconds / watched.frames
    assert watcher.rate == pytest.approx(20 / looks_per_frame, rel=0.2)
    assert watcher.caption().startswith(f"{watcher.rate:.1f} fps  first")


def test_large_frames_are_reduced_and_small_ones_are_not(tmp_path, looks):
    _, window, _ = watch(tmp_path, looks, [], 1, size=32)
    assert window.shown[0].shape == (24, 32, 3)
    _, window, _ = watch(tmp_path, looks, [], 1, size=480)
    assert window.shown[0].shape == (48, 64, 3)


def test_a_caption_fits_the_picture():
    pixels = np.full((48, 64, 3), 200, np.uint8)
    drawn = captioned(pixels, "a very long caption that nobody can read to its end, whatever it says")
    assert drawn.shape == pixels.shape
    assert np.array_equal(drawn[:20], pixels[:20]) and not np.array_equal(drawn, pixels)
    assert captioned(pixels, "☃").shape == pixels.shape


def test_which_styles_the_keys_go_through():
    assert begin_with([], ["a", "b"], "b") == ("b", ["b", "a"])
    assert begin_with(["x.safetensors"], ["a"], "a") == ("x.safetensors", ["x.safetensors", "a"])
    assert begin_with(["b", "c", "b"], ["a"], "a") == ("b", ["b", "c"])
    assert begin_with([], ["a", "c"], "b") == ("a", ["a", "c"])
    with pytest.raises(InputError, match="--style"):
        begin_with([], [], "b")


def test_the_rack_keeps_what_it_loaded(tmp_path):
    collection = tiny_collection(tmp_path / "paintings.safetensors")
    rack = StyleRack(str(collection), None, "off", "cpu", None, "float32")
    frame = torch.rand(1, 3, 24, 32)
    once, again = (rack(Look("first")).paint(frame) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, rack(Look("second")).paint(frame))
    assert torch.equal(rack(Look("first", None, 0.0)).paint(frame), frame)
    assert len(rack._loaded) == 2
    with pytest.raises(StylizeError):
        rack(Look("first", "batch"))


def webcam(*arguments: object) -> Result:
    settings = ["--device", "cpu", "--precision", "float32", "--stability", "off"]
    return CliRunner().invoke(main, ["webcam", *map(str, arguments), *settings])


def refusal(result: Result, status: int) -> str:
    assert result.exit_code == status, result.output
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("Error"), result.stderr
    return lines[0]


def test_a_file_stands_in_for_the_camera(tmp_path, monkeypatch):
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    clip = make_clip(tmp_path / "clip.mp4", 6, sound=None)
    window = NotedWindow([None, "s", "n"])
    monkeypatch.setattr(cameras, "open_window", lambda title: window)
    result = webcam("--source", clip, "--style", weights, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert len(window.shown) == 6 and window.closed
    assert "6 frames in" in result.stdout and "frames per second" in result.stdout
    saved = np.asarray(Image.open(tmp_path / "webcam-tiny-001.png")).astype(int)
    assert saved.shape == (48, 64, 3)
    from stylize.stylizer import load

    painted = load(weights, device="cpu", precision="float32")(Image.fromarray(open_frames(clip)[1]))
    assert np.abs(saved - np.asarray(painted)).mean() < 1


def test_all_keys_with_shipped_styles(tmp_path, monkeypatch):
    """From the command line to the picture: what each key is for is what is painted next."""
    clip = make_clip(tmp_path / "clip.mp4", 10, sound=None)
    window = NotedWindow(["n", "b", "+", "-", "i", "i", "s", "x", "q"])
    monkeypatch.setattr(cameras, "open_window", lambda title: window)
    result = webcam("--source", clip, "--style", "starry-night", "--style", "great-wave", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert all(key in result.stderr for key in ("n/b", "+/-", "i:", "s:", "q:"))
    from stylize.stylizer import load

    night, wave, batch = (
        load(*names, device="cpu", precision="float32")
        for names in (("starry-night",), ("great-wave",), ("starry-night", "batch"))
    )
    expected = [night, wave, night, night.with_strength(1.1), night, batch, night, night, night]
    assert len(window.shown) == len(expected)  # the clip has one more
    frames = open_frames(clip)
    for shown, stylizer, frame in zip(window.shown, expected, frames, strict=False):
        painted = np.asarray(stylizer(Image.fromarray(frame))).astype(int)
        assert np.abs(shown[:30] - painted[:30]).max() <= 1  # above the caption
    saved = np.asarray(Image.open(tmp_path / "webcam-starry-night-001.png"))
    assert np.array_equal(saved[:30], window.shown[6][:30])


def test_a_norm_that_a_style_does_not_have_is_said_in_the_picture(tmp_path, monkeypatch):
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    clip = make_clip(tmp_path / "clip.mp4", 3, sound=None)
    window = NotedWindow(["i"])
    monkeypatch.setattr(cameras, "open_window", lambda title: window)
    result = webcam("--source", clip, "--style", weights)
    assert result.exit_code == 0, result.output
    assert len(window.shown) == 3 and window.closed


class FakeCv2:
    """As much of OpenCV as a window needs."""

    WINDOW_AUTOSIZE, WND_PROP_VISIBLE, error = 1, 4, RuntimeError

    def __init__(self, *codes: int, visible: float = 1.0) -> None:
        self.codes, self.visible, self.shown = list(codes), visible, []

    def namedWindow(self, title: str, kind: int) -> None: ...

    def imshow(self, title: str, pixels: np.ndarray) -> None:
        self.shown.append(pixels)

    def waitKey(self, milliseconds: int) -> int:
        return self.codes.pop(0)

    def getWindowProperty(self, title: str, name: int) -> float:
        return self.visible

    def destroyWindow(self, title: str) -> None: ...


def test_the_keys_of_a_window(monkeypatch):
    fake = FakeCv2(-1, ord("n"), 27, ord("s") | 0x100000)
    monkeypatch.setitem(sys.modules, "cv2", fake)
    window = open_window("x")
    assert [window.key() for _ in range(4)] == [None, "n", "q", "s"]  # Escape ends, and lock keys do not matter
    window.show(np.full((2, 2, 3), (1, 2, 3), np.uint8))
    assert fake.shown[0][0, 0].tolist() == [3, 2, 1]  # OpenCV takes blue first
    monkeypatch.setitem(sys.modules, "cv2", FakeCv2(-1, visible=0.0))
    assert open_window("x").key() == "q"  # a closed window ends


def open_frames(clip: Path) -> list[np.ndarray]:
    camera = open_camera(str(clip))
    frames = []
    while (frame := camera.read()) is not None:
        frames.append(frame)
    camera.close()
    return frames


def test_a_file_is_read_in_rgb_and_not_mirrored(tmp_path):
    frames = open_frames(make_clip(tmp_path / "clip.mp4", 3, sound=None))
    assert len(frames) == 3
    corner = frames[0][:8, :8].reshape(-1, 3).mean(axis=0)
    assert corner[0] > 180 and corner[2] < 80


def test_bad_sources_are_refused_in_one_line(tmp_path):
    (tmp_path / "text.mp4").write_text("no clip")
    assert "neither the number" in refusal(webcam("--source", tmp_path / "missing.mp4"), 2)
    assert "OpenCV can read" in refusal(webcam("--source", tmp_path / "text.mp4"), 2)
    line = refusal(webcam("--source", 87), 2)
    assert "no camera 87" in line and "--source" in line


def test_an_opencv_without_windows_is_said(tmp_path, monkeypatch):
    import cv2

    def no_window(*arguments: object) -> None:
        raise cv2.error("The function is not implemented.")

    monkeypatch.setattr(cv2, "namedWindow", no_window)
    with pytest.raises(StylizeError, match="pip install opencv-python"):
        open_window("x")
    clip = make_clip(tmp_path / "clip.mp4", 1, sound=None)
    assert "opencv-python-headless" in refusal(webcam("--source", clip), 1)


def test_a_missing_opencv_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert "pip install opencv-python" in refusal(webcam(), 2)
