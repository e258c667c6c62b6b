"""What README shows of the published study: its tables and its headline figure."""

from __future__ import annotations

from typing import Any

from benchmarks import norm_study
from tests.comparison_helpers import planted_study

FACTS = {"command": "stylize compare --train wave.jpg", "date": "today", "processor": "a", "versions": "b"}


def numbers_of(**changes: Any) -> dict[str, Any]:
    return {"facts": FACTS, "training": planted_study(**changes).to_json()}


def rows_of(table: str, first: str) -> list[list[str]]:
    """Return the cells of the rows that begin with a word."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return [row for row in rows if row[0] == first]


def test_the_table_of_norms_has_runs_of_one_process_alone():
    table = norm_study.table(numbers_of())
    first = rows_of(table, "instance")[0]
    assert first[:4] == ["instance", "2", "0.002", "1.005 (1.000 to 1.010)"]
    assert rows_of(table, "batch")[0][3] == "1.508 (1.500 to 1.515)"
    assert "Made by `stylize compare --train wave.jpg`, today, a, b." in table


def test_the_table_of_shared_out_batches():
    [several] = rows_of(norm_study.table(numbers_of()), "norm")[1:]
    assert several == [
        "norm", "1 process", "2 processes", "4 processes", "2 processes, synchronised", "4 processes, synchronised"
    ]  # fmt: skip
    table = norm_study.table(numbers_of())
    assert rows_of(table, "instance")[1] == ["instance", "1.005", "1.010", "1.010", "", ""]
    assert rows_of(table, "batch")[1] == ["batch", "1.508", "1.800", "2.100", "1.545", "1.545"]
    assert len(rows_of(table, "weight")) == 1  # was not shared out


def test_a_study_without_shared_out_batches_has_no_such_table():
    table = norm_study.table(numbers_of(processes=()))
    assert len(rows_of(table, "norm")) == 1 and "shared out over" not in table.partition("what is said")[0]


def test_the_headline_is_of_one_process():
    numbers = numbers_of()
    alone = numbers_of()
    alone["training"]["runs"] = [run for run in alone["training"]["runs"] if run["processes"] == 1]
    assert norm_study.headline(numbers) == norm_study.headline(alone)
