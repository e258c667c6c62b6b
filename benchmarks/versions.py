"""Run the tests with the oldest versions that are accepted, and with the newest there are.

    python benchmarks/versions.py oldest --python python3.10    the lowest versions of setup.cfg, without the extras
    python benchmarks/versions.py plain --python python3.11     the newest of everything, without the extras
    python benchmarks/versions.py newest --python python3.11    the newest that go together with all extras
    python benchmarks/versions.py newest --keep ~/environments  keep the environment, and use it if it is there already

Each makes a new environment (several GB), installs into it, runs all tests, and writes what came of it to
``benchmarks/results/versions.json`` and ``versions.md``, beside what is known of the other. The tests are those of this
checkout, with as many threads as ``OMP_NUM_THREADS`` says, or two.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record

NAME = "versions"

KINDS = ("oldest", "plain", "newest")
"""Which versions, in the order of the table. An extra may hold back what is newest without it."""

TOOLS = ("hypothesis", "pytest", "setuptools>=77", "wheel", "pyparsing<3.2")
"""What the tests need beside what a user needs; of these the newest is taken. But for the one that an old matplotlib
calls by names of its time: a later one complains, and for the tests that is an error."""

SHOWN = ("torch", "torchvision", "numpy", "pillow", "matplotlib", "click", "safetensors", "filelock", "tqdm")
"""Packages whose versions stand in the table."""


def required(path: Path = record.ROOT / "setup.cfg", extra: str | None = None) -> list[str]:
    """Return what setup.cfg requires always, or with an extra alone, each as it is written there."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(path, encoding="utf-8")
    text = setup["options"]["install_requires"] if extra is None else setup["options.extras_require"][extra]
    return [line.strip() for line in text.splitlines() if line.strip()]


def lowest(requirements: Sequence[str]) -> list[str]:
    """Return the lowest version that each requirement accepts, as a requirement.

    Raises:
        ValueError: One has no lowest version.
    """
    found = []
    for requirement in requirements:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)>=([0-9][0-9.]*)", requirement)
        if match is None:
            raise ValueError(f"setup.cfg accepts any version of {requirement}; state the lowest")
        found.append(f"{match[1]}=={match[2]}")
    return found


def wanted(kind: str) -> list[str]:
    """Return what pip is given to install."""
    if kind == "newest":
        return [*required(), *required(extra="dev")]
    return [*(lowest(required()) if kind == "oldest" else required()), *TOOLS]


def make_environment(folder: Path, python: str, kind: str) -> Path:
    """Make an environment, or take the one that is there, and return its Python."""
    own = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not own.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(own), "-m", "pip", "install", "--quiet", "--upgrade", "pip"], check=True)
        # Not stylize itself: the tests are to see this checkout and not a copy of it.
        subprocess.run([str(own), "-m", "pip", "install", "--quiet", *wanted(kind)], check=True)
    return own


def versions_in(python: Path) -> dict[str, str]:
    """Return the versions of all packages of an environment, by name."""
    listed = subprocess.run([str(python), "-m", "pip", "list", "--format", "json"], capture_output=True, check=True)
    return {one["name"].lower(): one["version"].partition("+")[0] for one in json.loads(listed.stdout)}


def run_tests(python: Path, more: Sequence[str]) -> dict[str, Any]:
    """Run the tests and return how many passed, were skipped and failed, and which failed."""
    threads = os.environ.get("OMP_NUM_THREADS", "2")
    environment = os.environ | {"PYTHONPATH": str(record.ROOT), "OMP_NUM_THREADS": threads}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        command = [str(python), "-m", "pytest", "-q", f"--junitxml={report}", "-p", "no:cacheprovider", *more]
        begun = time.monotonic()
        # A process that was started in the background ignores Ctrl-C, and so do its children unless told not to.
        own = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            subprocess.run(command, cwd=record.ROOT, env=environment, check=False)
        finally:
            signal.signal(signal.SIGINT, own)
        found = counted(report.read_text(encoding="utf-8"))
    return {**found, "seconds": round(time.monotonic() - begun), "threads": int(threads)}


def counted(report: str) -> dict[str, Any]:
    """Return what a report of pytest, in the form of JUnit, says."""
    cases = list(ElementTree.fromstring(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None and case not in bad]
    return {
        "passed": len(cases) - len(bad) - len(skipped),
        "skipped": len(skipped),
        "failed": len(bad),
        "failures": sorted(f"{case.get('classname')}::{case.get('name')}" for case in bad),
        "reasons": sorted({case.find("skipped").get("message", "") for case in skipped}),
    }


def page(rows: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown page."""
    kinds = [kind for kind in KINDS if kind in rows]
    lines: list[tuple[str, ...]] = [("Python", *(rows[kind]["python"] for kind in kinds))]
    lines += [(name, *(rows[kind]["versions"].get(name, "-") for kind in kinds)) for name in SHOWN]
    lines += [("extras", *("all" if kind == "newest" else "none" for kind in kinds))]
    for what in ("passed", "skipped", "failed", "seconds", "threads"):
        lines.append((what, *(f"{rows[kind][what]:,}" for kind in kinds)))
    parts = ["# Oldest and newest versions", ""]
    parts += [
        "All tests with the lowest version of each package that `setup.cfg` accepts, and with the newest there was on "
        "that day: without the extras (plain), and the newest that go together with all of them. Tests of extras that "
        "are not installed are skipped. A test suite that fails is written down here as well.",
        "",
        record.table(("", *kinds), lines, numeric=tuple(range(1, len(kinds) + 1))),
        "",
    ]
    for kind in kinds:
        parts.append(f"{kind.capitalize()}: {record.facts_line(rows[kind]['facts'])}")
        parts.append("")
        if rows[kind]["failures"]:
            parts += ["Failed:", "", *(f"- `{name}`" for name in rows[kind]["failures"]), ""]
        parts += ["Skipped because:", "", *(f"- {reason}" for reason in rows[kind]["reasons"]), ""]
    return "\n".join(parts)


def facts_of(python: Path) -> dict[str, Any]:
    """Return when and on what the tests run, with the versions of their environment."""
    code = "import json; from benchmarks import record; print(json.dumps(record.facts()))"
    environment = os.environ | {"PYTHONPATH": str(record.ROOT)}
    said = subprocess.run([str(python), "-c", code], env=environment, cwd=record.ROOT, capture_output=True, check=True)
    arguments = " ".join(record.shown_argument(argument) for argument in sys.argv)
    return {**json.loads(said.stdout), "command": f"python {arguments}"}


def main() -> None:
    """Make an environment, run the tests and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS, help="which versions")
    parser.add_argument("--python", default=sys.executable, help="the Python that the environment is made with")
    parser.add_argument("--keep", type=Path, help="folder in which the environment is kept")
    parser.add_argument("tests", nargs="*", default=[], help="tests to run instead of all; then nothing is written")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        python = make_environment(folder.resolve() / given.kind, given.python, given.kind)
        facts, versions = facts_of(python), versions_in(python)
        row = {"python": facts["python"], "versions": versions, **run_tests(python, given.tests), "facts": facts}
    print(f"{given.kind}: {row['passed']} passed, {row['skipped']} skipped, {row['failed']} failed")
    if not given.tests:
        path = record.RESULTS / f"{NAME}.json"
        rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        rows[given.kind] = row
        record.save(record.RESULTS, NAME, rows, page(rows))
    sys.exit(1 if row["failed"] else 0)


if __name__ == "__main__":
    main()
