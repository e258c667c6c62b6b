"""The coverage-guided fuzzers run, for some seconds, where atheris is installed; longer runs are in tests/slow."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.helpers import run_python

SECONDS = 2


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris, an optional tool, is not installed")
@pytest.mark.parametrize("target", ["pictures", "weights"])
def test_some_seconds_of_guided_fuzzing_find_nothing(tmp_path, target):
    output = tmp_path / "fuzzing.json"
    arguments = ("-m", f"tests.slow.fuzz_{target}", "--seconds", str(SECONDS), "--corpus", str(tmp_path))
    result = run_python(*arguments, "--output", str(output))
    assert result.returncode == 0, result.stderr[-2000:]
    (row,) = json.loads(output.read_text())
    assert row["target"] == target
    assert row["findings"] == []
    assert row["executions"] == row["let_in"] + row["refused"] > 20
    assert row["corpus"] > 0
