"""What a result is, without what a clock says: two runs of one job must agree in it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMES = re.compile(r"second|\bdate\b|^facts$|^command$")
"""Names of what differs from run to run: durations, speeds (per second), times of day, and facts of the machine."""


def file_digest(path: Path) -> str:
    """Return the digest of all bytes of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(values: Any) -> Any:
    """Return JSON values without what a clock says."""
    if isinstance(values, Mapping):
        return {name: plain(value) for name, value in values.items() if not TIMES.search(str(name))}
    if isinstance(values, (list, tuple)):
        return [plain(value) for value in values]
    return values


def weights_digest(path: Path) -> str:
    """Return the digest of a safetensors file: all tensors, and the metadata without times."""
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        texts = {name: _read(text) for name, text in (file.metadata() or {}).items()}
        found = hashlib.sha256(json.dumps(plain(texts), sort_keys=True).encode())
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name).contiguous()
            found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def log_digest(path: Path) -> str:
    """Return the digest of the log of a training run, without times."""
    rows = [plain(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def report_digest(folder: Path) -> str:
    """Return the digest of a report: its numbers without times, the names of its files, and that its page is whole."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    if not page.rstrip().endswith("</html>"):
        raise ValueError("the page of the report is not whole")
    numbers = plain(json.loads((folder / "results.json").read_text(encoding="utf-8")))
    found = hashlib.sha256(json.dumps(numbers, sort_keys=True).encode())
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode())
        if path.suffix == ".csv":
            with open(path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    found.update(json.dumps(plain(row), sort_keys=True).encode())
    return found.hexdigest()


def clip_digest(path: Path) -> str:
    """Return the digest of what is seen and heard in a clip: x264 does not give the same bytes twice."""
    from tests.video_helpers import look

    seen = look(path)
    found = hashlib.sha256(repr((seen.times, seen.duration, seen.sound, seen.subtitles, seen.kinds)).encode())
    for frame in seen.frames:
        found.update(frame.tobytes())
    return found.hexdigest()


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
