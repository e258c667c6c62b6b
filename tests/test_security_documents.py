"""SECURITY.md, docs/dependencies.md and docs/reliability.md say what the code and the results say."""

from __future__ import annotations

import configparser
import importlib
import json
import re

import pytest

from benchmarks import dependencies, record, reliability
from stylize.web.settings import Limits
from tests.helpers import ROOT, run_python

SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
LIMITS = re.findall(r"^\| .+ \| ([\d,]+) \| `([\w.]+)` \|$", SECURITY, re.MULTILINE)


def test_there_are_limits():
    assert len(LIMITS) == SECURITY.count("| `") >= 25
    assert len({constant for _, constant in LIMITS}) == len(LIMITS)


@pytest.mark.parametrize(("value", "constant"), LIMITS, ids=[constant for _, constant in LIMITS])
def test_the_limits_are_those_of_the_code(value, constant):
    module, _, name = constant.rpartition(".")
    assert getattr(importlib.import_module(f"stylize.{module}"), name) == int(value.replace(",", ""))


def test_other_numbers_of_the_page():
    from stylize.image_limits import CHUNK_BYTES
    from stylize.network_size import BYTES_PER_PARAMETER, MAXIMUM_PARAMETERS
    from stylize.strips.plans import _WHOLE_BYTES, MAXIMUM_PIXELS_IN_PIECES

    limits = Limits()
    assert f"at most {limits.megabytes:g} MB and {limits.megapixels:g} megapixels" in " ".join(SECURITY.split())
    assert f"beside one for each {CHUNK_BYTES:,} bytes" in SECURITY
    assert f"({MAXIMUM_PARAMETERS * BYTES_PER_PARAMETER / 1e9:g} GB in float32)" in SECURITY
    assert f"up to {MAXIMUM_PIXELS_IN_PIECES:,} pixels" in SECURITY
    assert f"up to {_WHOLE_BYTES} bytes for each while it is read" in SECURITY


def test_what_the_page_names_is_there():
    for name in re.findall(r"`(tests/[\w/.]+)`|\]\((docs/[\w.]+)\)", SECURITY):
        assert (ROOT / (name[0] or name[1])).is_file(), name
    for module in re.findall(r"python -m ([\w.]+)", SECURITY):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module
    for command, option in (
        ("web", "--max-megabytes"),
        ("web", "--max-megapixels"),
        ("web", "--host"),
        ("apply", "--memory"),
    ):
        assert option in SECURITY
        assert option in run_python("-m", "stylize", command, "--help").stdout, option


def test_the_accepted_formats_are_those_that_are_told_by_their_first_bytes():
    from stylize.image_reading import _ACCEPTED, format_of_head

    listed = re.search(r"Only (.+?)\s+are opened", SECURITY, re.DOTALL)[1]
    assert set(re.split(r",\s+|\s+and\s+", listed)) == set(re.split(r", | or ", _ACCEPTED))
    for head in (
        b"%!PS-Adobe-3.0",
        b"\xc5\xd0\xd3\xc6",
        b"<svg xmlns=",
        b"%PDF-1.7",
        b"\0\0\1\0\1\0",
        b"FLIC",
        b"P6 1 1",
    ):
        assert format_of_head(head.ljust(32, b"\0")) is None, head


# ------------------------------------------------------------------------------------------------------- dependencies


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of every table of a Markdown page, by their first cell."""
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| ")
    return {row[0]: row for row in cells if len(row) == 6}


def test_every_requirement_stands_in_the_list_with_its_extras():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = rows((ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"))
    lists = {"always": setup["options"]["install_requires"], **setup["options.extras_require"]}
    assert len(lists) >= 6
    for extra, text in lists.items():
        for line in filter(None, text.splitlines()):
            name, accepted = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(.*)", line.strip()).groups()
            assert name in listed, f"{name} is not in docs/dependencies.md: run python benchmarks/dependencies.py"
            row = listed[name]
            assert extra in row[4].split(", "), (name, extra)
            assert row[1] == (accepted or "any"), name
            assert row[3] and row[5], name


def test_nothing_is_listed_that_nobody_requires():
    named = {one.name for one in dependencies.read_setup()}
    assert named == set(dependencies.WHY)


def test_the_page_is_made_from_what_is_installed(tmp_path):
    lists = "install_requires =\n    numpy>=1.0\n", "x =\n    no-such-package\n    numpy>=1.0\n"
    (tmp_path / "setup.cfg").write_text("[options]\n{}[options.extras_require]\n{}".format(*lists))
    found = dependencies.read_setup(tmp_path / "setup.cfg")
    assert [(one.name, one.accepted, one.extras) for one in found] == [
        ("no-such-package", "", ["x"]),
        ("numpy", ">=1.0", ["always", "x"]),
    ]
    assert dependencies.version_of("no-such-package") == dependencies.NOT_INSTALLED
    assert re.match(r"\d+\.", dependencies.version_of("numpy"))
    assert "BSD" in dependencies.licence_of("numpy")
    assert "numpy" in dependencies.brought_along(["matplotlib"])
    assert "matplotlib" not in dependencies.brought_along(["matplotlib"])


# -------------------------------------------------------------------------------------------------------- reliability


def test_the_page_of_reliability_is_up_to_date():
    result = run_python(str(ROOT / "benchmarks" / "reliability.py"), "--check")
    assert result.returncode == 0, result.stderr


def test_every_result_becomes_a_row(tmp_path):
    fuzzed = {
        "target": "weights", "asked_seconds": 60, "executions": 12345, "let_in": 5, "refused": 12340, "corpus": 7,
        "findings": [{"what": "x", "file": "y"}], "date": "2026-01-02", "commit": "abc",
    }  # fmt: skip
    (tmp_path / "fuzzing.json").write_text(json.dumps([fuzzed]))
    other = {"fault": "kill -9 in training", "tried": 50, "lost": 0, "means": "another result than without"}
    document = {"command": "python -m tests.slow.kill", "date": "2026-01-03", "rows": [other]}
    (tmp_path / "faults-kill.json").write_text(json.dumps(document))
    found = reliability.collect_rows(tmp_path)
    assert [(row["tried"], row["lost"]) for row in found] == [(12345, 1), (50, 0)]
    text = reliability.page(found)
    assert "| 12,345 | 1 | 1 |" in text and "| kill -9 in training | 50 | 0 | 2 |" in text
    assert "2. Lost would be: another result than without. `python -m tests.slow.kill`, 2026-01-03." in text
    (tmp_path / "faults-bad.json").write_text(json.dumps(document | {"rows": [{"fault": "x"}]}))
    with pytest.raises(ValueError, match="faults-bad.json: a row without lost, means, tried"):
        reliability.collect_rows(tmp_path)


def test_the_results_are_of_this_project():
    for row in json.loads((record.RESULTS / "fuzzing.json").read_text(encoding="utf-8")):
        assert row["target"] in reliability.FUZZED
        assert row["executions"] == row["let_in"] + row["refused"] + len(row["findings"]) or row["findings"]
