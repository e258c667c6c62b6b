"""How many frames a second a GPU paints: this package beside the same network run plainly by PyTorch.

    python benchmarks/gpu.py [--presets johnson fast] [--sizes 512x512 1280x720 1920x1080] [--runs 9]
    python benchmarks/gpu.py --device cpu --sizes 32x32 --runs 2    only to see that it works, without CUDA graphs

The contestants take turns (``stylize.speed_turns``), after one round of warming up, so that whatever else the machine
does meets all of them; ratios are taken within each round, and their median is reported. Before that, each of them
paints alone for its peak memory.
"""

from __future__ import annotations

import argparse
import copy
import gc
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.config import PRESETS
from stylize.errors import StylizeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from stylize.speed_turns import Turn
    from stylize.transformer import TransformerNet

NORM = "instance"
FRAMES = {"cuda": 20}
"""Frames of one timed run, one after the other, by kind of device; elsewhere 1."""


@dataclass(frozen=True)
class Variant:
    """A way to run a network.

    Attributes:
        precision: What it computes in.
        plain: Whether PyTorch runs the network as it stands there, or stylize's engine does.
        tf32: Whether convolutions in float32 may round to TF32; None leaves it as PyTorch sets it.
        channels_last: Whether the plain network has its weights and features in that format; the engine always has.
        compiled: Whether torch.compile has it first, with mode "reduce-overhead".
        graphs: Whether the engine records CUDA graphs.
    """

    precision: str
    plain: bool = False
    tf32: bool | None = None
    channels_last: bool = False
    compiled: bool = False
    graphs: bool = False

    def __str__(self) -> str:
        parts = [f"{'plain' if self.plain else 'stylize'} {self.precision}"]
        parts += ["no TF32"] if self.tf32 is False else []
        flags = {"channels-last": self.channels_last, "compiled": self.compiled, "graphs": self.graphs}
        return ", ".join([*parts, *(name for name, there in flags.items() if there)])


PLAIN = Variant("float32", plain=True)
"""What the others are compared with: float32, contiguous, the module's own forward, nothing switched."""

EXACT = Variant("float32", plain=True, tf32=False)
"""What the pictures of the others are compared with."""

VARIANTS = (
    PLAIN,
    EXACT,
    Variant("float16", plain=True),
    Variant("float16", plain=True, channels_last=True),
    Variant("float16", plain=True, channels_last=True, compiled=True),
    *(Variant(name, graphs=graphs) for name in ("float32", "float16", "bfloat16") for graphs in (False, True)),
)


def chosen_variants(device: torch.device, compiled: bool) -> list[Variant]:
    """Return what can be run on a device."""
    graphs = device.type == "cuda"
    return [one for one in VARIANTS if (graphs or not one.graphs) and (compiled or not one.compiled)]


@contextmanager
def tf32(allowed: bool | None) -> Iterator[None]:
    """Let convolutions in float32 round to TF32, or not; None changes nothing."""
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before if allowed is None else allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Contestant:
    """A variant of one network, ready to paint one picture.

    Args:
        variant: How.
        network: The network, on the CPU.
        picture: (1, 3, H, W), float32 in [0, 1], on the device that computes.
        frames: How often a run paints it.

    Raises:
        StylizeError: It cannot be made.
    """

    def __init__(self, variant: Variant, network: TransformerNet, picture: Tensor, frames: int) -> None:
        self.variant, self.frames, self._picture = variant, frames, picture
        self._engine: Any = None
        self._paint = self._plain(network) if variant.plain else self._own(network)

    def _own(self, network: TransformerNet) -> Callable[[], Tensor]:
        from stylize.engines.torch_engine import TorchEngine
        from stylize.program import lower

        one, picture = self.variant, self._picture
        self._engine = TorchEngine(lower(network), one.precision, picture.device, graphs=one.graphs)
        self._picture_of = lambda painted: painted
        return lambda: self._engine.paint(picture)

    def _plain(self, network: TransformerNet) -> Callable[[], Tensor]:
        import torch

        from benchmarks.plain_johnson import plain_twin
        from stylize.transformer import OUTPUT_SCALE

        johnson = network.config == PRESETS["johnson"]
        module: Any = plain_twin(network) if johnson else copy.deepcopy(network)
        layout = torch.channels_last if self.variant.channels_last else torch.contiguous_format
        dtype = getattr(torch, self.variant.precision)
        module = module.to(self._picture.device, dtype, memory_format=layout).eval()
        picture = (self._picture * (255 if johnson else 1)).to(dtype, memory_format=layout)
        if self.variant.compiled:
            module = torch.compile(module, mode="reduce-overhead", dynamic=False)
        if johnson:  # It ends before the last nonlinearity.
            self._picture_of = lambda painted: torch.tanh(painted.float()) * OUTPUT_SCALE + 0.5
        else:
            self._picture_of = lambda painted: painted.float()

        def paint() -> Tensor:
            with torch.no_grad():
                return module(picture)

        return paint

    def run(self) -> Tensor:
        """Paint the picture several times, and wait until that is done."""
        from stylize.speed_turns import finish

        with tf32(self.variant.tf32):
            for _ in range(self.frames):
                painted = self._paint()
            finish(self._picture.device)
        return painted

    def picture(self, painted: Tensor) -> Tensor:
        """Return what :meth:`run` gave as a picture in [0, 1], float32 on the CPU, in memory of its own.

        Raises:
            StylizeError: It was to be painted with a CUDA graph, and was not.
        """
        if self.variant.graphs:
            graphs = self._engine.graphs
            if graphs is None:
                raise StylizeError(f"{self._picture.device.type} has no CUDA graphs")
            if not graphs.sizes:
                raise StylizeError(f"no CUDA graph was recorded: {graphs.failure or 'too few frames'}")
        return self._picture_of(painted).clamp(0, 1).cpu().clone()


def picture_of(width: int, height: int) -> Tensor:
    """Return the middle of a shipped photo, (1, 3, height, width) float32, RGB in [0, 1]."""
    from stylize.speed_test import photo

    side = max(width, height)
    top, left = (side - height) // 2, (side - width) // 2
    return photo(side)[:, :, top : top + height, left : left + width].contiguous()


def peak_memory(make: Callable[[], Contestant], device: torch.device) -> int | None:
    """Return the bytes that a contestant takes of a GPU at most, its weights among them; None on other devices."""
    import torch

    if device.type != "cuda":
        return None
    _forget(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    make().run()
    return torch.cuda.max_memory_allocated(device) - before


def _forget(device: torch.device) -> None:
    """Give back what contestants held of a GPU."""
    import torch

    if device.type == "cuda":
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()


def measure(
    network: TransformerNet,
    size: tuple[int, int],
    variants: Sequence[Variant],
    device: torch.device,
    runs: int,
    frames: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return a row for each variant, one network on a picture (width, height); what fails has its reason in its row."""
    from stylize.speed_turns import FAILURES, Turn, reason_of, take_turns

    picture = picture_of(*size).to(device)
    try:
        expected = Contestant(EXACT, network, picture, 1)
        exact = expected.picture(expected.run())
    except FAILURES as error:
        raise StylizeError(f"the plain network cannot paint {size[0]}x{size[1]}: {reason_of(error)}") from error
    peaks: dict[Variant, int | None] = {}
    turns: dict[Variant, Turn] = {}
    differences: dict[Variant, tuple[float, float]] = {}

    def turn_of(variant: Variant, contestant: Contestant) -> Turn:
        def look(painted: Tensor) -> None:
            difference = 255 * (contestant.picture(painted) - exact).abs()
            if not bool(difference.isfinite().all()):
                raise StylizeError("its picture has values that are no finite numbers")
            differences[variant] = float(difference.mean()), float(difference.max())

        return Turn(contestant.run, look)

    for variant in variants:
        say(f"{size[0]}x{size[1]}: {variant}")
        try:
            peaks[variant] = peak_memory(lambda one=variant: Contestant(one, network, picture, frames), device)
        except FAILURES as error:
            turns[variant] = Turn(lambda: None, error=reason_of(error))
    _forget(device)
    for variant in variants:
        if variant in turns:
            continue
        try:
            turns[variant] = turn_of(variant, Contestant(variant, network, picture, frames))
        except FAILURES as error:
            turns[variant] = Turn(lambda: None, error=reason_of(error))
    take_turns(
        [turns[variant] for variant in variants],
        runs,
        on_round=lambda number: say(f"{size[0]}x{size[1]}: round {number} of {runs}"),
    )
    return [
        row(variant, turns[variant].seconds, turns[PLAIN].seconds, frames)
        | {"peak_bytes": peaks.get(variant), "error": turns[variant].error}
        | dict(zip(("mean_difference", "largest_difference"), differences.get(variant, (None, None)), strict=True))
        for variant in variants
    ]


def row(variant: Variant, seconds: Sequence[float], plain: Sequence[float], frames: int) -> dict[str, Any]:
    """Return what the times of runs of so many frames say.

    Args:
        variant: Whose they are.
        seconds: Of each round.
        plain: Of :data:`PLAIN`, in the same rounds.
        frames: Frames of one run.
    """
    if not seconds:
        return {"variant": str(variant), "ms": None, "frames_per_second": None, "times_faster": None, "all_ms": []}
    each = [1000 * value / frames for value in seconds]
    ratios = [other / own for other, own in zip(plain, seconds, strict=False)]
    return {
        "variant": str(variant),
        "ms": round(statistics.median(each), 4),
        "frames_per_second": round(1000 / statistics.median(each), 2),
        "times_faster": round(statistics.median(ratios), 3) if ratios else None,
        "all_ms": [round(value, 4) for value in each],
    }


def markdown(results: dict[str, Any]) -> str:
    """Return the results as a Markdown page."""
    gpu = results["device"] == "cuda"
    parts = [
        "# On a GPU" if gpu else "# The benchmark of GPUs, on a CPU",
        f"Made by {record.facts_line(results['facts'])}",
        "`plain` is the network as PyTorch runs it: for `johnson` that of pytorch/examples, for others the module's "
        "own forward; contiguous unless stated, `torch.no_grad`. `stylize` is its engine, always channels-last; "
        "`graphs`: with CUDA graphs. `compiled`: by torch.compile, mode reduce-overhead. Convolutions in float32 "
        f"{'may' if results['tf32'] else 'may not'} round to TF32, which is what PyTorch sets by itself, but for "
        f"`no TF32`. Batch of one. Frames of a run: {results['frames']}, one after the other, with a wait for the "
        "device at its end; the picture is on the device and the painting stays there. Medians of "
        f'{results["runs"]} interleaved runs; "times faster" is the median of the ratios within each round. Memory is '
        "what a contestant alone takes of the GPU at most, weights included. Differences, in grey levels, are those "
        f"from `{EXACT}`.",
    ]
    header = ["contestant", "frames/s", "ms", "min", "max", "times faster", "peak MiB", "mean difference", "largest"]
    for case in results["cases"]:
        width, height = case["size"]
        lines, missing = [], []
        for one in case["rows"]:
            if one["ms"] is None:
                missing.append(f"`{one['variant']}`: {one['error']}.")
                continue
            shown = [one["ms"], min(one["all_ms"]), max(one["all_ms"])]
            peak = "-" if one["peak_bytes"] is None else f"{one['peak_bytes'] / 2**20:.0f}"
            ratio = "-" if one["times_faster"] is None else f"{one['times_faster']:.2f}"
            times = [f"{value:.2f}" for value in shown]
            far = ["-" if one[key] is None else f"{one[key]:.2f}" for key in ("mean_difference", "largest_difference")]
            lines.append([one["variant"], f"{one['frames_per_second']:.1f}", *times, ratio, peak, *far])
        parts += [
            f"## {case['preset']}, {NORM} norm, {width} x {height}",
            f"Weights: {case['weights']}. `--precision auto` takes {case['auto']} here.",
            record.table(header, lines, range(1, len(header))),
        ]
        parts += [f"Not measured: {' '.join(missing)}"] if missing else []
    return "\n\n".join(parts)


def size_of(text: str) -> tuple[int, int]:
    """Read ``1280x720`` for argparse."""
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower())
    if match is None or any(int(side) % 4 or int(side) < 16 for side in match.groups()):
        raise argparse.ArgumentTypeError(
            f"{text} given; width x height such as 1280x720 is accepted, multiples of 4 from 16 up: the plain network "
            "takes no others"
        )
    return int(match[1]), int(match[2])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Frames per second of a GPU, beside the network as PyTorch runs it.")
    parser.add_argument("--presets", choices=PRESETS, nargs="+", default=["johnson", "fast"])
    parser.add_argument(
        "--sizes",
        type=size_of,
        nargs="+",
        default=[(512, 512), (1280, 720), (1920, 1080)],
        metavar="WIDTHxHEIGHT",
        help="pictures (default 512x512 1280x720 1920x1080)",
    )
    parser.add_argument("--runs", type=record.whole, default=9, help="timed rounds (default 9)")
    parser.add_argument("--frames", type=record.whole, help="frames of a run (default 20 on a GPU, else 1)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:N, or cpu to see that it works")
    parser.add_argument(
        "--output", type=Path, help="folder of the results (default benchmarks/results; on a CPU nothing is written)"
    )
    options = parser.parse_args(arguments)

    import torch

    if options.device != "cpu" and not torch.cuda.is_available():
        raise StylizeError(
            "PyTorch finds no CUDA GPU on this machine; run this where there is one, or see that it works with "
            "--device cpu"
        )
    from stylize.devices import choose_device
    from stylize.engines.choice import make_engine
    from stylize.speed_test import shipped_or_random

    device = choose_device(options.device)
    frames = options.frames or FRAMES.get(device.type, 1)
    output = options.output or (record.RESULTS if device.type == "cuda" else None)
    variants = chosen_variants(device, compiled=device.type == "cuda" and not options.no_compile)
    results: dict[str, Any] = {
        "facts": record.facts(str(device)),
        "device": device.type,
        "tf32": torch.backends.cudnn.allow_tf32,
        "runs": options.runs,
        "frames": frames,
        "cases": [],
    }
    for preset in options.presets:
        network, weights = shipped_or_random(preset, NORM)
        auto = make_engine(network, device=device).precision
        for size in options.sizes:
            rows = measure(network, size, variants, device, options.runs, frames, lambda text, p=preset: print(p, text))
            case = {"preset": preset, "weights": weights, "size": list(size), "auto": auto, "rows": rows}
            results["cases"].append(case)
            if output is not None:
                record.save(output, "gpu", results, markdown(results))
    print(markdown(results) if output is None else f"written: {output / 'gpu.md'}")
    failed = [one["variant"] for case in results["cases"] for one in case["rows"] if one["error"] is not None]
    if failed:
        raise StylizeError(f"not measured, at one size or more: {'; '.join(dict.fromkeys(failed))}")


if __name__ == "__main__":
    record.run(main)
