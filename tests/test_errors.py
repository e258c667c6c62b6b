"""The error tree and the suggestions in its messages."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stylize.errors import (
    LONGEST_SHOWN,
    DeviceError,
    ImageError,
    InputError,
    OutputError,
    StylizeError,
    TrainingError,
    TrainingInterrupted,
    WeightsError,
    printable,
    suggest,
    unknown_name,
)


@pytest.mark.parametrize("kind", [InputError, ImageError, WeightsError, DeviceError])
def test_what_the_user_gave_wrong_is_an_input_error_and_a_value_error(kind):
    assert issubclass(kind, InputError)
    assert issubclass(kind, StylizeError)
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize("kind", [OutputError, TrainingError, TrainingInterrupted])
def test_a_failed_job_is_no_input_error(kind):
    assert issubclass(kind, StylizeError)
    assert not issubclass(kind, ValueError)


def test_an_interrupted_training_is_a_training_error():
    assert issubclass(TrainingInterrupted, TrainingError)


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("jonson", "johnson"),
        ("JOHNSON", "johnson"),
        ("Great-Wav", "great-wave"),
        ("xyzzy", None),
        ("", None),
    ],
)
def test_suggestion(given_name, expected):
    hint = suggest(given_name, ["fast", "johnson", "great-wave"])
    assert hint == ("" if expected is None else f"; did you mean '{expected}'?")


def test_suggestion_is_spelled_as_the_known_name_is():
    assert suggest("starry", ["Starry"]) == "; did you mean 'Starry'?"


def test_suggestion_accepts_any_iterable_once():
    assert suggest("relu31", iter(["relu3_1"])) == "; did you mean 'relu3_1'?"
    assert unknown_name("layer", "relu31", iter(["relu3_1"])) == (
        "unknown layer 'relu31'; did you mean 'relu3_1'? (known: relu3_1)"
    )


def test_unknown_name_lists_what_is_known():
    assert unknown_name("norm", "q", ["instance", "batch"]) == "unknown norm 'q' (known: instance, batch)"
    assert unknown_name("style", "q", []) == "unknown style 'q' (known: none)"


def test_unknown_name_is_one_line():
    assert unknown_name("norm", "a\nb\x1b", ["c"]) == "unknown norm 'a\\nb\\x1b' (known: c)"


@given(st.text(), st.lists(st.text(min_size=1), max_size=5))
@example("0" * LONGEST_SHOWN, [])
@example("0" * (LONGEST_SHOWN + 1), [])
def test_unknown_name_takes_any_text(name, known):
    message = unknown_name("style", name, known)
    whole = name.isprintable() and len(name) <= LONGEST_SHOWN
    assert message.startswith(f"unknown style '{name}'" if whole else "unknown style '")
    assert message.partition("' (known")[0].partition("'; did")[0].isprintable()
    assert all(printable(other) in message for other in known)
    assert message.isprintable()
