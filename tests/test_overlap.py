"""Reading ahead and writing behind."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.errors import ImageError, OutputError, StylizeError
from stylize.overlap import overlapped


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["fine", "read", "work", "write"]), max_size=8))
def test_every_item_comes_out_once_and_in_order(kinds):
    items = list(enumerate(kinds))

    def stage(name):
        def run(item, *given):
            if item[1] == name:
                raise StylizeError(f"{name} {item[0]}")
            return (*(given[0] if given else ()), name)

        return run

    result = list(overlapped(items, stage("read"), stage("work"), stage("write")))
    assert [item for item, _ in result] == items
    for (number, kind), outcome in result:
        if kind == "fine":
            assert outcome == ("read", "work", "write")
        else:
            assert isinstance(outcome, StylizeError) and str(outcome) == f"{kind} {number}"


def test_the_next_is_read_and_the_last_is_written_during_work():
    reading, writing = threading.Event(), threading.Event()

    def read(item):
        if item == 2:
            reading.set()
        return item

    def work(item, value):
        if item == 1:
            # Item 2 is read although item 1 is not done; item 0 is written at the same time.
            assert reading.wait(5) and writing.wait(5)
        return value

    def write(item, value):
        if item == 0:
            writing.set()
        return value

    assert [outcome for _, outcome in overlapped([0, 1, 2], read, work, write)] == [0, 1, 2]


def test_no_more_than_one_waits_at_each_end():
    read_items: list[int] = []
    written: list[int] = []
    behind = []

    def read(item):
        read_items.append(item)
        return item

    def work(item, value):
        time.sleep(0.01)
        behind.append((len(read_items) - item, item - len(written)))
        return value

    def write(item, value):
        time.sleep(0.03)
        written.append(item)

    list(overlapped(range(6), read, work, write))
    assert max(ahead for ahead, _ in behind) <= 2  # This one and the next.
    assert max(late for _, late in behind) <= 1


def test_stopping_early_finishes_what_is_being_written():
    read_items: list[int] = []
    written: list[int] = []

    def work(item, value):
        if item == 2:
            raise KeyboardInterrupt
        return value

    def write(item, value):
        time.sleep(0.05)
        written.append(item)

    with pytest.raises(KeyboardInterrupt):
        list(overlapped(range(9), lambda item: read_items.append(item), work, write))
    assert written == [0, 1]
    assert max(read_items) <= 3


def test_errors_of_each_kind_are_kept():
    outcomes = dict(
        overlapped(
            ["a", "b"],
            lambda item: item,
            lambda item, value: value,
            lambda item, value: (_ for _ in ()).throw(OutputError(item) if item == "a" else ImageError(item)),
        )
    )
    assert isinstance(outcomes["a"], OutputError) and isinstance(outcomes["b"], ImageError)


def test_nothing_to_do():
    assert list(overlapped([], None, None, None)) == []
