"""What every benchmark keeps beside its numbers: when, on what, with which versions; and the writing of both files.

Torch is imported late, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stylize import __version__
from stylize.checkpoints import replacing
from stylize.errors import InputError, StylizeError
from stylize.provenance import cpu_model

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


def git_commit() -> str | None:
    """Return the commit of this checkout, with ``+changes`` where files differ from it; None without one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return None
        commit = git("rev-parse", "--verify", "HEAD")
        return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def shown_argument(argument: str) -> str:
    """Return an argument of the command line as it is published: quoted as a shell wants it, and an absolute path, also
    one after ``NAME=``, relative to the checkout, or without its folders where it lies outside."""
    name, equals, value = argument.partition("=")
    if not equals or "/" in name:
        name, equals, value = "", "", argument
    path = Path(value)
    if path.is_absolute():
        value = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return shlex.quote(f"{name}{equals}{value}")


def facts(device: str = "cpu") -> dict[str, Any]:
    """Return when and on what a benchmark runs.

    Args:
        device: Where the networks compute, as torch names it.
    """
    import torch

    gpu = torch.cuda.get_device_name(torch.device(device)) if device.startswith("cuda") else None
    return {
        "command": " ".join(["python", *(shown_argument(argument) for argument in sys.argv)]),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": gpu or device,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stylize": __version__,
        "commit": git_commit(),
    }


def facts_line(known: Mapping[str, Any]) -> str:
    """Return the facts as one sentence for a Markdown file."""
    device = "" if known["device"] == "cpu" else f", computed on {known['device']}"
    commit = f", commit `{known['commit'][:12]}`" if known["commit"] else ""
    if known["commit"] and known["commit"].endswith("+changes"):
        commit += " with changes"
    return (
        f"`{known['command']}`, {known['date']}. {known['cpu']}, {known['cores']} cores, {known['threads']} threads"
        f"{device}, {known['system']}, Python {known['python']}, torch {known['torch']}, stylize {known['stylize']}"
        f"{commit}."
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]], numeric: Sequence[int] = ()) -> str:
    """Return a Markdown table; the columns whose positions are in ``numeric`` are aligned to the right."""

    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if position in numeric else "---" for position in range(len(header))]
    return "\n".join([line(header), "|" + "|".join(rule) + "|", *map(line, rows)])


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def save(folder: Path, name: str, results: Mapping[str, Any], markdown: str) -> None:
    """Write ``name.json`` and ``name.md`` into ``folder``."""
    write_text(folder / f"{name}.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / f"{name}.md", markdown.rstrip("\n") + "\n")


def whole(text: str) -> int:
    """Read a whole number of at least 1 for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} given; 1 or more is accepted")
    return value


def run(main: Callable[[], None]) -> None:
    """Call ``main``; an error of stylize becomes one line and the exit status 2 (bad input) or 1."""
    try:
        main()
    except StylizeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    except KeyboardInterrupt:
        raise SystemExit("stopped") from None
