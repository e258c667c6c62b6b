"""Numbers as text, CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.comparison.tables import MINUS, MISSING, number_text, power_of_ten, write_csv, write_json
from stylize.errors import InputError, OutputError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.041712, "0.0417"),
        (0.1505, "0.150"),  # round half to even on the nearest float, which lies below
        (0.9996, "1.00"),
        (9.996, "10.0"),
        (12.345, "12.3"),
        (1234.5, "1,230"),
        (417795, "417,795"),
        (-3, f"{MINUS}3"),
        (-0.25, f"{MINUS}0.250"),
        (3.1e-7, "3.1×10⁻⁷"),
        (-3.1e-7, f"{MINUS}3.1×10⁻⁷"),
        (2e9, "2.0×10⁹"),
        (0.0, "0"),
        (0, "0"),
        (True, "yes"),
        (False, "no"),
        (None, MISSING),
        (math.nan, MISSING),
        (math.inf, MISSING),
        ("fast", "fast"),
        (np.float32(0.25), "0.250"),
        (np.int64(1200), "1,200"),
    ],
)
def test_numbers_as_a_person_reads_them(value, text):
    assert number_text(value) == text


def test_digits_of_a_number():
    assert number_text(math.pi, digits=1) == "3"
    assert number_text(math.pi, digits=5) == "3.1416"
    assert power_of_ten(-12) == "10⁻¹²"


@given(st.floats(-1e300, 1e300))
def test_the_text_of_a_number_is_within_its_digits(value):
    text = number_text(value, digits=4).replace(MINUS, "-").replace(",", "")
    mantissa, _, exponent = text.partition("×10")
    power = int(exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)
    assert float(f"{mantissa}e{power}") == pytest.approx(value, rel=6e-3, abs=1e-320)


def read_csv(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_every_digit(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("digits")
    write_csv(folder / "t.csv", ["x"], [[value]])
    write_json(folder / "t.json", [value])
    assert float(read_csv(folder / "t.csv")[1][0]) == value
    assert json.loads((folder / "t.json").read_text()) == [value]


def test_what_is_no_number_is_empty_in_csv(tmp_path):
    path = tmp_path / "deep" / "t.csv"
    rows = [["a,b", math.nan, None], ['say "x"', -math.inf, np.float64(0.1)], ["é", 3, True]]
    write_csv(path, ["name", "one", "two"], iter(rows))
    assert path.read_bytes().count(b"\n") == 4 and b"\r" not in path.read_bytes()
    assert read_csv(path) == [
        ["name", "one", "two"],
        ["a,b", "", ""],
        ['say "x"', "", "0.1"],
        ["é", "3", "True"],
    ]


@dataclass
class Point:
    step: int
    loss: float


def test_what_is_no_number_is_null_in_json(tmp_path):
    document = {
        "loss": [1.0, math.nan, math.inf],
        "array": np.array([[0.5, np.nan]], dtype=np.float32),
        "scalar": np.float32(0.5),
        "whole": np.int64(3),
        "points": (Point(1, math.nan),),
        "path": Path("a") / "b",
        7: None,
        "names": {"b", "a"},
        "text": "größe",
    }
    write_json(tmp_path / "t.json", document)
    text = (tmp_path / "t.json").read_text(encoding="utf-8")
    assert "größe" in text and text.endswith("}\n")
    assert json.loads(text) == {
        "loss": [1.0, None, None],
        "array": [[0.5, None]],
        "scalar": 0.5,
        "whole": 3,
        "points": [{"step": 1, "loss": None}],
        "path": str(Path("a") / "b"),
        "7": None,
        "names": ["a", "b"],
        "text": "größe",
    }


def test_a_file_name_that_is_no_utf8_can_be_written(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "t.json", [name])
    write_csv(tmp_path / "t.csv", ["photo"], [[name]])
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == [name]
    assert read_csv(tmp_path / "t.csv")[1] == [r"caf\udce9.jpg"]


@pytest.mark.parametrize("row", [["a"], ["a", 1, 2], ["a", [1]], ["a", {"b": 1}], ["a", object()]])
def test_a_row_that_does_not_fit_leaves_the_file_as_it_was(tmp_path, row):
    path = tmp_path / "t.csv"
    write_csv(path, ["name", "value"], [["old", 1]])
    before = path.read_bytes()
    with pytest.raises(InputError):
        write_csv(path, ["name", "value"], [["new", 1], row])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("document", [object(), {"x": 1j}, [b"bytes"], {(1, 2): 3}])
def test_what_json_cannot_express_is_refused(tmp_path, document):
    with pytest.raises(InputError):
        write_json(tmp_path / "t.json", document)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "t.json").mkdir()
    with pytest.raises(OutputError, match=r"t\.json"):
        write_json(tmp_path / "t.json", [])
