"""JSON from strangers' files: bounded, finite, printable."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.errors import LONGEST_SHOWN, MOST_LISTED, printable, unknown_name
from stylize.plain_json import MAXIMUM_DEPTH, MAXIMUM_DIGITS, MAXIMUM_TEXT, read_table


def test_what_we_write_comes_back_as_it_was():
    values = {
        "title": "Die große Welle 神奈川",
        "n": [1, -2.5, None, True, 2**64 - 1],
        "t": {"": {"deep": []}},
        "e": 1e-300,
    }
    assert read_table(json.dumps(values)) == values


@pytest.mark.parametrize(
    "text", ["", "[]", "1", "null", "{", '{"a": 1, "a": 1}', '{"t": {"b": 1, "b": 2}}', "{'a': 1}", "{} {}"]
)
def test_what_is_no_table_or_names_something_twice(text):
    with pytest.raises(ValueError):
        read_table(text)


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * MAXIMUM_DIGITS, "-" + "9" * 5000, "1" * 10**6],
)
def test_numbers_that_are_none_become_nothing(number):
    assert read_table(f'{{"a": {number}, "b": [{number}]}}') == {"a": None, "b": [None]}


def test_the_largest_number_of_64_bits_is_kept():
    assert read_table(f'{{"a": {2**64 - 1}, "b": {-(2**63)}}}') == {"a": 2**64 - 1, "b": -(2**63)}


def test_depth():
    nested = "{}"
    for _ in range(MAXIMUM_DEPTH - 1):
        nested = f'{{"a": {nested}}}'
    assert read_table(nested)
    for text in (f'{{"a": {nested}}}', '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"a":' * 100_000):
        with pytest.raises(ValueError):
            read_table(text)


def test_length_of_a_text():
    assert read_table(json.dumps({"a": "x" * MAXIMUM_TEXT}))
    for values in ({"a": "x" * (MAXIMUM_TEXT + 1)}, {"x" * (MAXIMUM_TEXT + 1): 1}):
        with pytest.raises(ValueError, match="10001 characters; 10000 are the most"):
            read_table(json.dumps(values))


@pytest.mark.parametrize(
    ("letters", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\ud800", r"\ud800"),
        ("\x00", r"\x00"),
    ],
)
def test_letters_that_do_not_print_become_escapes(letters, shown):
    assert printable(letters) == shown
    assert read_table(json.dumps({letters: [letters]})) == {shown: [shown]}


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(plain(name) and plain(one) for name, one in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    if isinstance(value, str):
        return value.isprintable()
    return value is None or isinstance(value, bool) or (math.isfinite(value) and abs(value) < 10**309)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(st.characters(), max_size=5), values, max_size=4))
def test_whatever_comes_out_is_plain(table):
    try:
        found = read_table(json.dumps(table))
    except ValueError:
        return
    assert plain(found)
    json.dumps(found, allow_nan=False).encode()
    f"{found}".encode()


def test_a_long_name_and_a_long_list_make_no_long_message():
    said = unknown_name("style", "x" * 10**6, [f"style-{number}" for number in range(10**4)])
    assert len(said) < 2 * LONGEST_SHOWN + 20 * MOST_LISTED
    assert f"and {10**4 - MOST_LISTED} more" in said
