"""README shows the numbers of the result files, and its pictures exist."""

from __future__ import annotations

import re

import pytest

from benchmarks import readme, record
from stylize.errors import InputError


def test_the_tables_are_those_of_the_results():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run python benchmarks/readme.py"


def test_every_picture_and_link_leads_somewhere():
    text = readme.README.read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    for target in targets:
        if target and "://" not in target:
            assert (readme.README.parent / target).exists(), target


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    text = "# How steady\n\nMade by hand.\n\n- One.\n- Two.\n\n## All clips\n\n| a |\n\n## Times\n\n- Not this.\n"
    (tmp_path / "results" / "stability.md").write_text(text, encoding="utf-8")
    return tmp_path / "results"


def test_a_part_of_a_result_file_is_its_findings_or_a_section(results):
    assert readme.findings("stability") == "- One.\n- Two."
    assert readme.section("stability", "All clips") == "| a |"
    assert readme.part("stability").endswith("[How steady](results/stability.md).")
    with pytest.raises(InputError, match="no section 'Goals'"):
        readme.section("stability", "Goals")
    with pytest.raises(InputError, match="is missing"):
        readme.part("adapting")
    (results / "adapting.md").write_text("# New\n\nNothing.\n\n## Losses\n\n- Not this.\n", encoding="utf-8")
    with pytest.raises(InputError, match="what was found"):
        readme.part("adapting")


def test_readme_names_every_result_file():
    listed = readme.numbers()
    for path in record.RESULTS.glob("*.md"):
        assert f"benchmarks/results/{path.name}" in listed
