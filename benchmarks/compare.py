"""How long `stylize compare PHOTO` takes, and how much memory, as a process of its own.

    python benchmarks/compare.py --threads 2

Writes ``benchmarks/results/compare.json`` and ``compare.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.errors import InputError, StylizeError
from stylize.resources import examples_directory

PHOTO = "astronaut.jpg"


@dataclass(frozen=True)
class Measured:
    """One run of the command.

    Attributes:
        seconds: Wall clock, from start to end of the process.
        probes: Seconds of each probe, as the report says.
        report_bytes: Size of the page.
    """

    seconds: float
    probes: dict[str, float]
    report_bytes: int


def measure(photo: Path, size: int, threads: int) -> Measured:
    """Run the command once.

    Raises:
        StylizeError: It failed.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(record.ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report"
        command = [sys.executable, "-m", "stylize", "compare", str(photo), "--size", str(size), "-o", str(output)]
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise StylizeError(f"stylize compare failed: {done.stderr.strip()}")
        numbers = json.loads((output / "results.json").read_text(encoding="utf-8"))
        return Measured(seconds, numbers["inference"]["seconds"], (output / "index.html").stat().st_size)


def markdown(results: dict[str, object], runs: Sequence[Measured], peak: float) -> str:
    """Return the result as Markdown."""
    probes = [[name, f"{statistics.median(run.probes[name] for run in runs):.1f}"] for name in runs[0].probes]
    times = [run.seconds for run in runs]
    return "\n\n".join(
        [
            "# What `stylize compare PHOTO` costs",
            f"Made by {record.facts_line(results)}",  # type: ignore[arg-type]
            f"One photo, two norms, pictures of {results['size']} px: {statistics.median(times):.0f} s (median of "
            f"{len(runs)} runs, {min(times):.0f} to {max(times):.0f}) from start to end of the process, of which the "
            f"probes below; the largest process took {peak:.0f} MiB. The page has {runs[0].report_bytes / 1e6:.1f} MB.",
            record.table(["probe", "seconds"], probes, [1]),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure time and memory of stylize compare.")
    parser.add_argument("--photo", type=Path, default=examples_directory() / "photos" / PHOTO)
    parser.add_argument("--size", type=record.whole, default=512, help="long edge of the pictures")
    parser.add_argument("--runs", type=record.whole, default=3)
    parser.add_argument("--threads", type=record.whole, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=record.RESULTS)
    options = parser.parse_args(arguments)
    if not options.photo.is_file():
        raise InputError(f"photo {options.photo} not found")
    runs = [measure(options.photo, options.size, options.threads) for _ in range(options.runs)]
    # Of all finished children the largest, in KiB on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    results = record.facts() | {"threads": options.threads, "size": options.size, "peak_mib": round(peak, 1)}
    results["runs"] = [asdict(run) for run in runs]
    record.save(options.output, "compare", results, markdown(results, runs, peak))


if __name__ == "__main__":
    record.run(main)
