"""A bulk run on a Ray of this machine."""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch
from click.testing import CliRunner

from benchmarks.sessions import SessionRun
from stylize.bulk.manifest import NAME
from stylize.bulk.storage import Storage
from stylize.cli import main
from tests.helpers import save_photo, tiny_weights

pytest.importorskip("ray")
pytest.importorskip("pyarrow")


def stylize(*arguments):
    """Run the command in processes of its own, of which none is left; return its status and what it said."""
    with SessionRun([sys.executable, "-m", "stylize", "apply", *map(str, arguments)]) as run:
        output, errors = run.process.communicate(timeout=200)
        return run.process.returncode, output, errors


def test_two_workers_paint_what_plain_apply_paints(tmp_path):
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    for number in range(10):
        save_photo(tmp_path / "in" / f"{number}.jpg", 64, 48, seed=number)
    (tmp_path / "in" / "empty.jpg").write_bytes(b"")
    (tmp_path / "in" / "half.jpg").write_bytes((tmp_path / "in" / "0.jpg").read_bytes()[:400])
    options = [tmp_path / "in", "--style", weights, "--device", "cpu"]
    torch.set_num_threads(1)  # as each worker has; undone after every test
    arguments = [str(one) for one in ("apply", *options, "-o", tmp_path / "plain")]
    plain = CliRunner().invoke(main, arguments, prog_name="stylize")
    status, output, errors = stylize(*options, "-o", tmp_path / "out", "--engine-cluster", "ray", "--workers", "2")
    assert status == 1, output + errors
    *progress, last = output.splitlines()
    assert last.startswith("painted 10 photos: test-style, instance norm, in ")
    # Nothing of Ray's own stands between our lines, and failures are those of plain apply.
    assert all(re.fullmatch(r"painted \d+ of 12 photos(, \d failed)?", line) for line in progress)
    said = errors.splitlines()
    assert said[0] == "2 of 12 failed:" and plain.exit_code == 2
    assert sorted(said) == sorted(plain.stderr.splitlines())
    out, reference = Storage.at(str(tmp_path / "out")), Storage.at(str(tmp_path / "plain"))
    names = list(reference.files())
    assert len(names) == 10 and all(out.read(name) == reference.read(name) for name in names)
    rows = [json.loads(line) for line in out.read(NAME).decode().splitlines()][1:]
    # On a busy machine the first worker may be through before the second has started.
    workers = {row["worker"] for row in rows if row["status"] == "done"}
    assert len(rows) == len({row["photo"] for row in rows}) == 12 and 1 <= len(workers) <= 2
