"""Coverage-guided fuzzing: files are changed at random, and changes that reach new code are changed further.

It needs atheris (pip install atheris), which is no part of stylize. One process fuzzes for a bounded time; what it
found is written as JSON::

    [{"target", "asked_seconds", "seconds", "executions", "let_in", "refused", "corpus", "findings": [...], "versions",
      "date", "commit"}, ...]

A finding is a file after which something else happened than what :mod:`tests.fuzzing` says must, with the error that
it ended in. It is kept beside the corpus, so that it can become a test.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "fuzzing.json"

MEMORY_MB = 3000
"""Most memory of the process, Python and torch among it; more is a finding."""

WRITING_SECONDS = 0.5
"""Time between two writings of the result."""

SLOWEST_SECONDS = 10
"""Longest time for one file; more is a finding."""

PACKAGES = ("pillow", "safetensors", "torch", "atheris")

Target = Callable[[bytes, Path], bool]


def arguments(description: str) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=int, default=300, help="how long to fuzz")
    parser.add_argument("--corpus", type=Path, help="folder of files that reached new code; kept for the next time")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file that the result is added to")
    return parser.parse_args()


def fuzz(name: str, target: Target, seeds: Mapping[str, bytes], asked: argparse.Namespace, longest: int) -> None:
    """Fuzz for the time that was asked for and write down what was found; does not return.

    Args:
        name: Of the target, in the result.
        target: Takes a file's content and a place to write it to; returns whether it was let in. What it raises is a
            finding.
        seeds: Files to begin with.
        asked: From :func:`arguments`.
        longest: Bytes of the longest file.
    """
    import atheris

    folder = asked.corpus or Path(tempfile.mkdtemp(prefix="stylize-fuzz-"))
    corpus, found = folder / name, folder / f"{name}-findings"
    for place in (corpus, found):
        place.mkdir(parents=True, exist_ok=True)
    for title, content in seeds.items():
        (corpus / f"seed-{title.replace(' ', '-')}").write_bytes(content)
    begun, written, state = time.time(), [0.0], {"executions": 0, "let_in": 0, "refused": 0}
    commit = _commit()
    versions = {package: importlib.metadata.version(package) for package in PACKAGES} | {"python": _python()}
    findings: dict[str, str] = {}
    scratch = Path(tempfile.mkdtemp(prefix="stylize-fuzz-")) / "file.any"

    def one(content: bytes) -> None:
        state["executions"] += 1
        started = time.process_time()  # the machine may be busy with other things
        try:
            state["let_in" if target(content, scratch) else "refused"] += 1
            slow = time.process_time() - started
            if slow > SLOWEST_SECONDS:
                raise TimeoutError(f"one file took {slow:.0f} seconds")
        except Exception as error:  # whatever it is, it is a finding
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {str(error)[:200]}"
            if key not in findings and len(findings) < 50:
                findings[key] = hashlib.sha256(content).hexdigest()[:16]
                (found / findings[key]).write_bytes(content)
        if time.time() - written[0] > WRITING_SECONDS:  # libFuzzer ends the process without a word
            written[0] = time.time()
            write()

    def write() -> None:
        row = {
            "target": name,
            "asked_seconds": asked.seconds,
            "seconds": round(time.time() - begun),
            **state,
            "corpus": sum(1 for _ in corpus.iterdir()),
            "findings": [{"what": what, "file": file} for what, file in findings.items()],
            "versions": versions,
            "date": time.strftime("%Y-%m-%d", time.gmtime(begun)),
            "commit": commit,
        }
        add_result(asked.output, row)

    options = [
        sys.argv[0],
        f"-max_total_time={asked.seconds}",
        f"-max_len={longest}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-timeout=60",
        "-print_final_stats=0",
        "-verbosity=0",
        f"-artifact_prefix={found}{os.sep}",
        str(corpus),
    ]
    atheris.Setup(options, one, enable_python_coverage=True)
    write()
    atheris.Fuzz()


def add_result(path: Path, row: Mapping[str, Any]) -> None:
    """Write a result into a JSON file, in the place of the last one of its target."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows = [one for one in rows if one["target"] != row["target"]] + [dict(row)]
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(sorted(rows, key=lambda one: one["target"]), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def instrumented(names: Iterable[str]) -> None:
    """Import modules so that atheris sees which of their lines are reached."""
    import importlib

    import atheris

    with atheris.instrument_imports(include=["stylize", "safetensors", "PIL"], enable_loader_override=False):
        for name in names:
            importlib.import_module(name)


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    return finished.stdout.strip() or "unknown"
