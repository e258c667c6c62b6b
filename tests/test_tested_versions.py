"""The versions that are accepted, those that the tests ran with, and the scripts that write them down."""

from __future__ import annotations

import importlib.metadata
import json
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks import installed, lock, versions


def locked() -> dict[str, str]:
    """Return the versions of requirements-tested.txt, by name."""
    found = {}
    for line in lock.OUTPUT.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            # A name and a version, and nothing that leads elsewhere: no address, no option, no build of somebody's own.
            match = re.fullmatch(r"([a-z0-9]+(?:-[a-z0-9]+)*)==([0-9][0-9a-z.]*)", line)
            assert match, line
            found[match[1]] = match[2]
    return found


def test_the_lock_has_everything_that_is_asked_for_in_a_version_that_is_accepted():
    known = locked()
    assert list(known) == sorted(known) and len(known) > 60
    asked = [*versions.required(), *versions.required(extra="dev"), *versions.required(extra="test")]
    for requirement in map(Requirement, asked):
        version = known[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_every_requirement_of_a_user_states_its_lowest_version():
    lowest = versions.lowest(versions.required())
    assert {"torch==2.4", "torchvision==0.19"} <= set(lowest)
    with pytest.raises(ValueError, match="any version of numpy"):
        versions.lowest(["torch>=2.4", "numpy"])
    extras = {extra: versions.required(extra=extra) for extra in ("onnx", "openvino", "video", "web")}
    assert all(">=" in requirement for several in extras.values() for requirement in several)


def test_what_is_needed_is_followed_through_extras(monkeypatch):
    needs = {
        "a": ["b[fast]>=1", "c; extra == 'other'", "d; python_version < '2'"],
        "b": ["e", "f; extra == 'fast'", "g; extra == 'slow'"],
        "e": ["a"],
        "f": ["missing"],
    }

    def requires(name: str) -> list[str] | None:
        if name not in needs:
            raise importlib.metadata.PackageNotFoundError(name)
        return needs[name]

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert installed.all_needed(["a"]) == (["a", "b", "e", "f"], ["missing"])
    assert installed.all_needed(["a[other]"])[1] == ["c", "missing"]


def test_versions_without_what_a_build_calls_itself(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.15.0+cpu")
    assert installed.version_of("torch") == "2.15.0"
    assert lock.text(["torch"]).splitlines()[-1] == "torch==2.15.0"


REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="one"/>
<testcase classname="tests.test_a" name="two"><failure message="x"/></testcase>
<testcase classname="tests.test_a" name="three"><error message="y"/></testcase>
<testcase classname="tests.test_b" name="four"><skipped message="no av"/></testcase>
<testcase classname="tests.test_b" name="five"><skipped message="no av"/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_counted_and_a_failure_is_shown():
    found = versions.counted(REPORT)
    assert (found["passed"], found["skipped"], found["failed"]) == (1, 2, 2)
    assert found["failures"] == ["tests.test_a::three", "tests.test_a::two"] and found["reasons"] == ["no av"]
    facts = {
        "command": "python benchmarks/versions.py oldest", "date": "2026-01-02 03:04 UTC", "cpu": "a processor",
        "cores": 2, "threads": 1, "device": "cpu", "system": "Linux", "python": "3.10.1", "torch": "2.4.0",
        "stylize": "0.1.0", "commit": None,
    }  # fmt: skip
    row = {**found, "python": "3.10.1", "versions": {"torch": "2.4.0"}, "seconds": 9, "threads": 1, "facts": facts}
    text = versions.page({"oldest": row})
    assert "| failed | 2 |" in text and "- `tests.test_a::two`" in text and "| torch | 2.4.0 |" in text


@pytest.mark.skipif(not (versions.record.RESULTS / "versions.json").exists(), reason="not run yet")
def test_the_results_are_those_of_the_accepted_versions():
    rows = json.loads((versions.record.RESULTS / "versions.json").read_text(encoding="utf-8"))
    page = (versions.record.RESULTS / "versions.md").read_text(encoding="utf-8")
    assert page == versions.page(rows).rstrip("\n") + "\n"
    for requirement in map(Requirement, versions.lowest(versions.required())):
        (specifier,) = requirement.specifier
        used = rows["oldest"]["versions"][canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(used), f"{requirement.name} {used}: run benchmarks/versions.py oldest"
    assert {"oldest", "plain"} <= rows.keys()
    assert all(row["failed"] == 0 for row in rows.values())
