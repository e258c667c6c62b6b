"""How steady painted videos are, what it costs in style and in time, frame by frame and in three other ways.

    python benchmarks/stability.py [CLIP ...] [--frames 60] [--edge 512] [--start 0] [--sheets FOLDER]

Beside the given clips there is one of its own, an example photo under a slow pan and zoom, whose motion is known
exactly. In all others the motion is an estimate: that of OpenCV's DIS at full resolution, which the way (c) uses too,
with coarser settings.

Needs PyAV and OpenCV: pip install 'stylize[video]'. All ways paint each frame in turn, in a changing order.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.errors import InputError
from stylize.resources import examples_directory

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.stylizer import Stylizer
    from stylize.video.stability import Step

PIXEL_SHARE = 0.5
"""Part of the last picture that is kept by the average of pixels."""

PHOTO = "hawa-mahal"
PAN_FRAMES = 100
"""Frames of the pan in one direction: its things move by about 0.3 % of the width per frame."""

PAN = "pan and zoom over a photo (known motion)"
PLAIN, SMOOTHED, FLOW, PIXELS = (
    "(a) frame by frame",
    "(b) smoothed statistics",
    "(c) smoothed, with flow",
    "(d) average of pixels",
)
STYLE_SAMPLES = 8
"""Frames of each clip whose style distance is taken."""

GOAL = {"warping_error": 0.5, "style": 1.05, "speed": 0.8}
"""At most half of the warping error and 5 % more style distance, and for (b) at least 80 % of the speed."""


class Way(Protocol):
    """One way to paint a video."""

    def paint(self, frame: Tensor) -> Tensor: ...


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


def ways(stylizer: Stylizer, frame_rate: float) -> dict[str, Way]:
    """Return the ways to paint, new ones for each clip."""
    from stylize.video.painter import FramePainter

    return {
        PLAIN: FramePainter(stylizer, smoothing=None, frame_rate=frame_rate),
        SMOOTHED: FramePainter(stylizer, frame_rate=frame_rate),
        FLOW: FramePainter(stylizer, flow=True, frame_rate=frame_rate),
        PIXELS: PixelAverage(stylizer),
    }


@dataclass
class Clip:
    """Frames to paint, (1, 3, H, W) each, and what is known of their motion."""

    name: str
    frames: list[Tensor]
    frame_rate: float
    steps: list[Step | None]

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
    return Clip(path.name, frames, frame_rate, motion_of(frames, cuts))


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
    return Clip(PAN, frames, 25.0, steps)


def measure(clip: Clip, stylizer: Stylizer, painting: Tensor, sheets: Path | None) -> dict[str, dict[str, float]]:
    """Return what each way makes of a clip."""
    import torch

    from stylize.config import LossConfig
    from stylize.evaluation import style_distance
    from stylize.vgg import load_loss_network
    from stylize.video.stability import measure_stability

    painters = ways(stylizer, clip.frame_rate)
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
        }
    return results


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


def ratio(clips: Mapping[str, Any], way: str, key: str) -> float:
    """Return the geometric mean over the clips of a number of one way, divided by that of frame by frame."""
    pairs = [(clip["ways"][way][key], clip["ways"][PLAIN][key]) for clip in clips.values()]
    logs = [math.log(value / plain) for value, plain in pairs if value and plain and value > 0 and plain > 0]
    return math.exp(statistics.fmean(logs)) if logs else math.nan


def findings(clips: Mapping[str, Any]) -> list[str]:
    """Return what the numbers say about the goals, one sentence for each way."""
    lines = []
    for way in (SMOOTHED, FLOW, PIXELS):
        error, moving, style = (ratio(clips, way, key) for key in ("warping_error", "moving_error", "style"))
        every = [clip["ways"] for clip in clips.values()]
        halved = sum(one[way]["warping_error"] <= GOAL["warping_error"] * one[PLAIN]["warping_error"] for one in every)
        kept = sum(one[way]["style"] <= GOAL["style"] * one[PLAIN]["style"] for one in every)
        speed = statistics.geometric_mean([one[way]["speed"] for one in every])
        where_moving = "" if math.isnan(moving) else f" ({moving:.2f} where things move)"
        lines.append(
            f"- **{way}**: {error:.2f} times the warping error of frame by frame{where_moving}, at "
            f"most half in {halved} of {len(every)} clips; {style:.2f} times the style distance, within 5 % in {kept} "
            f"of {len(every)}; {100 * speed:.0f} % of the speed."
        )
    speed = statistics.geometric_mean([clip["ways"][SMOOTHED]["speed"] for clip in clips.values()])
    verdict = "is reached" if speed >= GOAL["speed"] else "is not reached"
    lines.append(f"- The goal of {100 * GOAL['speed']:.0f} % of the speed for {SMOOTHED} {verdict}.")
    return lines


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown page."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = [
        "# Steady videos",
        f"Made by {record.facts_line(results['facts'])[:-1]}, {versions}.",
        f"The network is the shipped {results['style']} with {results['norm']} norm, in {results['precision']}. "
        f"{results['frames']} frames of each clip from number {results['start']} on, cuts left out of the measures. "
        f"Statistics are averaged over {results['smoothing']:g} s; along the flow up to {results['kept']:g} of the "
        f"painting is kept; the average of pixels keeps {PIXEL_SHARE:g}. Errors are mean squares of values in "
        "[0, 255], flicker is in grey levels; see `stylize/video/stability.py`. Smaller is better but for the speed. "
        "In brackets: times that of frame by frame.",
    ]
    rows = []
    for name, clip in results["clips"].items():
        plain = clip["ways"][PLAIN]
        for way, one in clip["ways"].items():
            cells = [f"{name}, {clip['size']}", way]
            for key, scale, digits in (
                ("warping_error", 255**2, 1),
                ("moving_error", 255**2, 1),
                ("flicker", 255, 2),
                ("style", 1, 4),
            ):
                value = one[key]
                shown = "-" if value is None or math.isnan(value) else f"{scale * value:.{digits}f}"
                times = f" ({value / plain[key]:.2f})" if shown != "-" and way != PLAIN and plain[key] else ""
                cells.append(shown + times)
            rows.append([*cells, f"{1 / one['seconds']:.1f}", f"{100 * one['speed']:.0f} %"])
    header = ["clip", "painted", "warping error", "moving error", "flicker", "style distance", "frames/s", "speed"]
    parts += [record.table(header, rows, range(2, 8)), "\n".join(findings(results["clips"]))]
    return "\n\n".join(parts)


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
    record.save(options.output, "stability", without_nan(results), markdown(results))
    print(f"written: {options.output / 'stability.md'}")


def without_nan(value: Any) -> Any:
    """Return JSON values with None for what is no number."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    record.run(main)
