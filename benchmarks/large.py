"""Large pictures: what strips cost beside the whole picture, how far they are from it, and the memory of a huge one.

    python benchmarks/large.py [--sizes 2048 4096] [--runs 3] [--huge 10000] [--memory 2GB]

The photo is an example photo, enlarged. Whole and in strips take turns in one process that keeps freed memory, as
``stylize apply`` does. The huge picture is painted by ``stylize apply`` in a process of its own, from JPEG to PNG.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.errors import StylizeError
from stylize.resources import examples_directory

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

PHOTO = "hawa-mahal"
STYLE = "starry-night"
WAYS = {
    "strips": ("exact", "float32"),
    "strips, int16 in a scratch file": ("exact", "int16"),
    "strips, statistics of a thumbnail": ("thumbnail", "float32"),
}
"""Statistics and what features are stored as of each way to paint in strips."""


def picture(size: int) -> Image.Image:
    """Return the example photo as a square of ``size`` pixels."""
    from stylize.images import read_image

    return read_image(examples_directory() / "photos" / f"{PHOTO}.jpg").resize((size, size), resample=3)


def measure(size: int, norm: str, runs: int, say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """Return seconds per pass, ratio to the whole picture, and error in grey levels, of each way."""
    from stylize.images import to_tensor
    from stylize.program import lower
    from stylize.stylizer import load
    from stylize.tiles import TensorSink, paint_tiled, plan_tiles, tensor_source

    stylizer = load(STYLE, norm, device="cpu", precision="float32")
    program, photo = lower(stylizer.network), to_tensor(picture(size))

    def strips(statistics_of: str, stored: str) -> Tensor:
        storage = ("scratch", "scratch") if stored == "int16" else None
        plan = plan_tiles(program, size, size, statistics=statistics_of, storage=storage, stored=stored)
        sink = TensorSink(size, size)
        paint_tiled(program, tensor_source(photo), sink, plan, statistics=statistics_of)
        return sink.image

    passes: dict[str, Callable[[], Tensor]] = {"whole": lambda: stylizer(photo)}
    passes |= {name: lambda way=way: strips(*way) for name, way in WAYS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    whole = passes["whole"]()
    errors = {}
    for name, run in passes.items():
        error = 255 * (run() - whole).abs()
        errors[name] = {"largest": float(error.max()), "mean": float(error.mean())}
    for number in range(runs):
        for name, run in passes.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
        say(f"{size} px, {norm}, round {number + 1}/{runs}: " + ", ".join(f"{v[-1]:.2f} s" for v in seconds.values()))
    return {
        name: {
            "seconds": statistics.median(values),
            "ratio": statistics.median(v / w for v, w in zip(values, seconds["whole"], strict=True)),
            **errors[name],
        }
        for name, values in seconds.items()
    }


CHILD = """
import atexit, json, runpy, sys
from benchmarks.peer_worker import peak_bytes
answer, module, *sys.argv[1:] = sys.argv[1:]
atexit.register(lambda: open(answer, "w").write(json.dumps(peak_bytes())))
if module == "nothing":
    import numpy, torch, PIL.Image, stylize.stylizer
else:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def child_peak(folder: Path, module: str, *arguments: str) -> tuple[float, int]:
    """Run a module in a process of its own; return the seconds it took and its peak resident memory in bytes.

    The process reads its peak itself: what its parent is told begins at the peak of the parent.

    Raises:
        StylizeError: It failed.
    """
    answer = folder / "peak.json"
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(answer), module, *arguments],
        cwd=record.ROOT,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise StylizeError(f"a process of its own failed with status {done.returncode}")
    return time.perf_counter() - began, int(json.loads(answer.read_text(encoding="ascii")))


def measure_huge(size: int, memory: str) -> dict[str, Any]:
    """Paint a huge picture with ``stylize apply`` and return its time and memory."""
    with tempfile.TemporaryDirectory(dir=record.ROOT) as name:
        folder = Path(name)
        _, bare = child_peak(folder, "nothing")
        source, output = folder / "huge.jpg", folder / "huge.png"
        picture(size).save(source, quality=90)
        arguments = ["apply", str(source), "-o", str(output), "--memory", memory, "--style", STYLE]
        seconds, peak = child_peak(folder, "stylize", *arguments)
    return {"size": size, "memory": memory, "seconds": seconds, "peak_bytes": peak, "bare_bytes": bare}


def markdown(results: dict[str, Any]) -> str:
    """Return the results as a Markdown page."""
    parts = [
        "# Large pictures",
        f"Made by {record.facts_line(results['facts'])}",
        f"The photo {PHOTO}, enlarged, painted by the shipped {STYLE} networks (preset fast) in float32, from memory "
        f"to memory; medians of {results['runs']} rounds, ratios to the whole picture within each round. The error is "
        "in grey levels of 255, against the whole picture. Batch norm needs no statistics of the photo, so all its "
        "ways are one.",
    ]
    rows = [
        [f"{size} x {size}", norm, name, f"{one['seconds']:.2f}", f"{one['ratio']:.2f}"]
        + [f"{one[key]:.3f}" for key in ("largest", "mean")]
        for size, norms in results["sizes"].items()
        for norm, ways in norms.items()
        for name, one in ways.items()
    ]
    header = ["px", "norm", "painted", "s", "times the whole", "largest error", "mean error"]
    parts.append(record.table(header, rows, range(3, 7)))
    huge = results.get("huge")
    if huge:
        above = (huge["peak_bytes"] - huge["bare_bytes"]) / 1e9
        parts.append(
            f"{huge['size']:,} x {huge['size']:,} px with `stylize apply --memory {huge['memory']}`, JPEG to PNG: "
            f"{huge['seconds']:.0f} s, peak {huge['peak_bytes'] / 1e9:.2f} GB, {above:.2f} GB above the bare imports."
        )
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Large pictures in strips: time, error and memory.")
    parser.add_argument("--sizes", type=record.whole, nargs="+", default=[2048, 4096], help="sides in pixels")
    parser.add_argument("--runs", type=record.whole, default=3, help="timed rounds (default 3)")
    parser.add_argument("--huge", type=int, default=10000, help="side of the huge picture; 0 leaves it out")
    parser.add_argument("--memory", default="2GB", help="limit for the huge picture (default 2GB)")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)

    from stylize.cli.allocator import keep_freed_memory

    keep_freed_memory()
    results: dict[str, Any] = {"facts": record.facts(), "runs": options.runs, "sizes": {}}
    for size in options.sizes:
        results["sizes"][str(size)] = {norm: measure(size, norm, options.runs, print) for norm in ("instance", "batch")}
    if options.huge:
        results["huge"] = measure_huge(options.huge, options.memory)
        print(json.dumps(results["huge"]))
    record.save(options.output, "large", results, markdown(results))
    print(f"written: {options.output / 'large.md'}")


if __name__ == "__main__":
    record.run(main)
