"""Nothing depends on the time of day: clocks are set, and go wrong.

``python -m tests.slow.clock`` does the same to whole commands, with a wrong clock below them.
"""

from __future__ import annotations

import ast
import os
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from stylize.errors import TrainingInterrupted
from stylize.run_folder import run_folder
from stylize.training import TrainProgress, train
from tests.helpers import ROOT
from tests.training_helpers import logged_steps, make_material, tiny_run

YEAR = 365 * 24 * 3600.0

TOLD = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.strftime", "datetime.now", "datetime.today",
        "datetime.utcnow", "date.today"}  # fmt: skip
"""What tells the time of day."""

FILE_TIMES = {"st_mtime", "st_mtime_ns", "st_ctime", "st_ctime_ns", "st_atime", "st_atime_ns", "getmtime", "getctime"}
"""What tells when, by the clock of then, a file was changed."""

ALLOWED = {
    "stylize/provenance.py": {"datetime.now"},  # the date in a report
    "stylize/speed_test.py": {"datetime.now"},  # the date of a measurement
    "stylize/bulk/worker.py": {"time.time"},  # when a photo was finished, for the manifest
    "stylize/cli/bulk_photos.py": {"st_mtime"},  # whether a photo has changed since it was painted
    "stylize/engines/compiled_models.py": {"st_mtime"},  # which of many compiled models goes; it can be made again
    "stylize/web/private_folder.py": {"st_mtime_ns"},  # whether a file has changed since the last look
}
"""Who may ask, and for what: nobody decides by it what a result is, or whether it is kept."""


def asked(path: Path) -> set[str]:
    """Return what of those a file of code uses."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            if node.attr in FILE_TIMES:
                found.add(node.attr)
            name = f"{ast.unparse(node.value).rpartition('.')[2]}.{node.attr}"
            found |= {name} & TOLD
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found |= {f"time.{one.name}" for one in node.names} & TOLD
    return found


def test_who_asks_for_the_time_of_day():
    paths = sorted((ROOT / "stylize").rglob("*.py"))
    found = {path.relative_to(ROOT).as_posix(): names for path in paths if (names := asked(path))}
    assert len(paths) > 100 and found == ALLOWED


def test_the_search_finds_what_it_looks_for(tmp_path):
    path = tmp_path / "code.py"
    for text, name in {
        "import time\na = time.time()": "time.time",
        "from time import time\na = time()": "time.time",
        "import datetime\na = datetime.datetime.now()": "datetime.now",
        "a = path.stat().st_mtime": "st_mtime",
        "import os\na = os.path.getmtime(path)": "getmtime",
    }.items():
        path.write_text(text)
        assert asked(path) == {name}
    path.write_text("import time\na = time.monotonic() + time.perf_counter()")
    assert asked(path) == set()


@pytest.mark.parametrize("years", [-1, 1])
def test_a_training_goes_on_when_the_clock_was_set(tmp_path, monkeypatch, years):
    """Its files then come from the future, or from long ago."""
    material = make_material(tmp_path / "material")
    train(tiny_run(material, tmp_path / "whole.safetensors"))
    config = tiny_run(material, tmp_path / "set.safetensors")

    def stop(progress: TrainProgress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        train(config, stop)
    true = time.time
    for path in [*run_folder(config.output).rglob("*"), *material.rglob("*")]:
        os.utime(path, (true() - years * YEAR,) * 2)
    for name in ("time", "time_ns"):
        factor = 1 if name == "time" else 10**9
        told = getattr(time, name)
        monkeypatch.setattr(time, name, lambda told=told, factor=factor: told() + type(told())(years * YEAR * factor))
    reported: list[TrainProgress] = []
    result = train(config, reported.append, resume=True)
    assert result.resumed_at == 3 and 0 < result.seconds < 1000
    assert all(0 <= one.seconds_left < 1000 and one.photos_per_second > 0 for one in reported)
    assert logged_steps(config.output) == [1, 2, 3, 4, 5, 6]
    whole, resumed = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "set.safetensors")
    assert whole.keys() == resumed.keys() and all(bool((whole[name] == resumed[name]).all()) for name in whole)
