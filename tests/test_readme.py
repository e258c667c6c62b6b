"""README shows the numbers of the result files, and its pictures exist."""

from __future__ import annotations

import re

from benchmarks import readme


def test_the_tables_are_those_of_the_results():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run python benchmarks/readme.py"


def test_every_picture_and_link_leads_somewhere():
    text = readme.README.read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    for target in targets:
        if target and "://" not in target:
            assert (readme.README.parent / target).exists(), target
