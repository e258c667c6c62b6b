"""How long a pass takes: this package beside the same network run the way pytorch/examples runs it.

    python benchmarks/speed.py [--sizes 512 1024] [--runs 7] [--threads 2] [--keep-memory]

The variants take turns, A B C A B C ..., after one round of warming up, so that whatever else the machine does meets
all of them; ratios are taken within each round, and their median is reported. Peak memory comes from a process of its
own for each variant. The weights are random: they change nothing about the time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from benchmarks.peer_worker import peak_bytes
from stylize.checkpoints import WeightsFile
from stylize.config import preset
from stylize.errors import StylizeError

if TYPE_CHECKING:
    from torch import Tensor, nn

REFERENCE = "plain johnson"
VARIANTS = {
    REFERENCE: ("johnson", "instance", "float32"),
    **{
        f"{preset} {norm}{'' if precision == 'float32' else f', {precision}'}": (preset, norm, precision)
        for preset in ("johnson", "fast")
        for norm in ("instance", "batch")
        for precision in ("float32", "bfloat16")
    },
}
"""Preset, norm and precision of each variant; the plain one is ``benchmarks/plain_johnson.py``."""

AGREEMENT = 1e-3
"""Largest difference, relative to the largest value, of the plain network and ours before the last nonlinearity."""


def photo(size: int, seed: int = 0) -> Tensor:
    """Return a made-up picture (1, 3, size, size) in [0, 1]: smooth shapes and a little grain."""
    import torch
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(seed)
    shapes = F.interpolate(torch.rand(1, 3, 8, 8, generator=generator), size=(size, size), mode="bicubic")
    return (shapes + 0.05 * torch.randn(1, 3, size, size, generator=generator)).clamp(0, 1)


def build(variant: str) -> tuple[nn.Module, Callable[[Tensor], Callable[[], object]]]:
    """Return the network of a variant, and what makes the pass to be timed from a picture (1, 3, H, W) in [0, 1]."""
    import torch

    from benchmarks.plain_johnson import plain_twin
    from stylize.engines.choice import make_engine
    from stylize.stylizer import Stylizer
    from stylize.transformer import TransformerNet

    config = preset(*VARIANTS[variant][:2])
    network = TransformerNet(config).eval()
    if variant == REFERENCE:
        plain = plain_twin(network)

        def make(picture: Tensor) -> Callable[[], object]:
            scaled = picture * 255

            def plain_pass() -> object:
                with torch.no_grad():
                    return plain(scaled)

            return plain_pass

        return plain, make
    engine = make_engine(network, precision=VARIANTS[variant][2])
    stylizer = Stylizer(network, WeightsFile(Path(f"{variant}.safetensors"), config, {}), "cpu", engine)
    return stylizer.network, lambda picture: lambda: stylizer(picture)


def agreement(size: int) -> float:
    """Return how far the plain network and ours are apart before the last nonlinearity, relative to the largest value.

    Raises:
        StylizeError: They are not the same network.
    """
    import torch

    from benchmarks.plain_johnson import features_before_tanh, plain_twin
    from stylize.transformer import TransformerNet

    ours = TransformerNet(preset("johnson")).eval()
    picture = photo(size)
    with torch.no_grad():
        expected = plain_twin(ours)(picture * 255)
        found = features_before_tanh(ours, picture)
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference < AGREEMENT:
        raise StylizeError(f"the plain network and ours differ by {difference:g} of the largest value: not comparable")
    return difference


def measure(size: int, runs: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Return the milliseconds of every run of every variant, in interleaved rounds after one of warming up."""
    picture = photo(size)
    passes = {variant: build(variant)[1](picture) for variant in VARIANTS}
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for round_number in range(runs + 1):
        for variant, run_pass in passes.items():
            began = time.perf_counter()
            run_pass()
            elapsed = (time.perf_counter() - began) * 1000
            if round_number:
                times[variant].append(elapsed)
        if round_number:
            latest = ", ".join(f"{variant} {values[-1]:.0f}" for variant, values in times.items())
            say(f"{size} px, round {round_number}/{runs}, ms: {latest}")
        else:
            say(f"{size} px, warmed up")
    return times


def child(variant: str, size: int) -> None:
    """Paint twice and print the peak memory of this process before and after, as JSON."""
    run_pass = build(variant)[1](photo(size))
    before = peak_bytes()
    run_pass()
    run_pass()
    print(json.dumps({"before": before, "peak": peak_bytes()}))


def memory(variant: str, size: int, threads: int) -> dict[str, int | None]:
    """Run :func:`child` in a process of its own and return what it measured.

    Raises:
        StylizeError: The process failed.
    """
    command = [sys.executable, __file__, "--child", variant, "--sizes", str(size), "--threads", str(threads)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise StylizeError(f"the memory run of {variant} at {size} px failed: {finished.stderr.strip()[-300:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def summarise(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return median, fastest and slowest run, and how many times faster than the reference of the same round."""
    reference = times[REFERENCE]
    return {
        variant: {
            "median_ms": round(statistics.median(values), 2),
            "min_ms": round(min(values), 2),
            "max_ms": round(max(values), 2),
            "times_faster": round(statistics.median(r / v for r, v in zip(reference, values, strict=True)), 3),
        }
        for variant, values in times.items()
    }


def markdown(results: dict[str, Any]) -> str:
    """Return the results as a Markdown page."""
    parts = [
        "# Time of a pass",
        f"Made by {record.facts_line(results['facts'])}",
        f"`{REFERENCE}` is the network of pytorch/examples run as its example does: float32, contiguous, "
        "`torch.no_grad`, `nn.InstanceNorm2d`, upsampling before the convolution. The others are "
        "`stylize.Stylizer` on a tensor, in plain torch. `stylize apply` computes in bfloat16 where the CPU multiplies "
        f"it natively, and{'' if results['kept'] else ', unlike this run,'} lets the allocator keep freed memory "
        "(here, for all: `--keep-memory`). With the same weights the plain network "
        f"and `johnson instance` agree before the last nonlinearity to {results['agreement']:.1e} of the "
        f'largest value. Medians of {results["runs"]} interleaved runs; "times faster" is the median of the ratios '
        "within each round. MAC are the multiplications of the convolutions. Memory is the peak of a process of its "
        "own, and by how much it grew while painting.",
    ]
    header = ["variant", "MAC/px", "median ms", "min", "max", "times faster", "peak MiB", "of it painting"]
    for size, rows in results["sizes"].items():
        lines = []
        for variant, row in rows.items():
            peak, before = row.get("peak_bytes"), row.get("before_bytes")
            spent = ("-", "-") if peak is None else (f"{peak / 2**20:.0f}", f"{(peak - before) / 2**20:.0f}")
            times = [f"{row[key]:.0f}" for key in ("median_ms", "min_ms", "max_ms")]
            lines.append([variant, f"{row['macs_per_pixel']:,.0f}", *times, f"{row['times_faster']:.2f}", *spent])
        parts += [f"## {size} x {size}", record.table(header, lines, range(1, len(header)))]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time of a pass beside the network as pytorch/examples runs it.")
    parser.add_argument("--sizes", type=record.whole, nargs="+", default=[512, 1024], help="sides of the pictures")
    parser.add_argument("--runs", type=record.whole, default=7, help="timed rounds (default 7)")
    parser.add_argument("--threads", type=record.whole, default=2, help="threads of torch (default 2)")
    parser.add_argument("--keep-memory", action="store_true", help="keep freed memory, for all, as apply does")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="only see that it works: 64 px, two rounds")
    parser.add_argument("--child", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if any(size % 4 or size < 16 for size in options.sizes):
        parser.error("sizes must be multiples of 4 from 16 up: the plain network takes no others")
    if options.quick:
        options.sizes, options.runs = [64], 2

    if options.keep_memory:
        from stylize.cli.allocator import keep_freed_memory

        options.keep_memory = keep_freed_memory()
    import torch

    from benchmarks.cost import macs_per_pixel

    torch.set_num_threads(options.threads)
    if options.child:
        child(options.child, options.sizes[0])
        return
    results: dict[str, Any] = {"facts": record.facts(), "runs": options.runs, "agreement": agreement(128)}
    results["kept"] = options.keep_memory
    costs = {variant: macs_per_pixel(build(variant)[0]) for variant in VARIANTS}
    results["sizes"] = {}
    for size in options.sizes:
        times = measure(size, options.runs, print)
        rows: dict[str, dict[str, Any]] = {}
        for variant, row in summarise(times).items():
            rows[variant] = {"macs_per_pixel": costs[variant], **row, "all_ms": [round(ms, 2) for ms in times[variant]]}
            if not options.no_memory:
                spent = memory(variant, size, options.threads)
                rows[variant] |= {"peak_bytes": spent["peak"], "before_bytes": spent["before"]}
                print(f"{size} px, {variant}: peak {(spent['peak'] or 0) / 2**20:.0f} MiB")
        results["sizes"][str(size)] = rows
        record.save(options.output, "speed", results, markdown(results))
    print(f"written: {options.output / 'speed.md'}")


if __name__ == "__main__":
    record.run(main)
