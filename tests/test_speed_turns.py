"""Taking turns: planted times give exact numbers, everyone has the same turns, no failure stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.errors import StylizeError
from stylize.speed_turns import Turn, reason_of, take_turns


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def planted(clock: Clock, seconds: Sequence[float]) -> Callable[[], None]:
    """Return what takes so long when it is called for the first, second, ... time."""
    waiting = iter(seconds)

    def run() -> None:
        clock.now += next(waiting)

    return run


def turns_of(clock: Clock, *times: Sequence[float]) -> list[Turn]:
    return [Turn(planted(clock, each)) for each in times]


def test_the_first_round_does_not_count_and_each_round_begins_with_another():
    clock, order = Clock(), []
    turns = [Turn(lambda name=name: order.append(name)) for name in "abc"]
    take_turns(turns, repeats=3, clock=clock)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"
    assert [len(turn.seconds) for turn in turns] == [3, 3, 3]
    turns = turns_of(clock, (100, 1, 2), (200, 3, 4))
    take_turns(turns, repeats=2, clock=clock)
    assert [turn.seconds for turn in turns] == [[1, 2], [3, 4]]


def test_what_used_its_time_leaves_and_the_rest_goes_on():
    clock, rounds = Clock(), []
    slow, quick = turns_of(clock, (5, 2, 2, 2, 2), (5, 1, 1, 1, 1))
    take_turns([slow, quick], 4, seconds=3, clock=clock, on_round=rounds.append)
    assert (slow.seconds, slow.capped) == ([2, 2], True)
    assert (quick.seconds, quick.capped) == ([1, 1, 1], True)
    assert rounds == [0, 1, 2, 3]


def test_even_the_slowest_has_one_round_that_counts():
    clock = Clock()
    (turn,) = turns_of(clock, (100, 100))
    take_turns([turn], 7, seconds=0.5, clock=clock)
    assert (turn.seconds, turn.capped) == ([100], True)


def test_who_was_not_cut_short_is_not_called_so():
    clock = Clock()
    (turn,) = turns_of(clock, (0, 1, 1, 1))
    take_turns([turn], 3, seconds=3, clock=clock)
    assert (turn.seconds, turn.capped) == ([1, 1, 1], False)


@pytest.mark.parametrize("error", [StylizeError("no"), RuntimeError("no"), MemoryError("no"), ImportError("no")])
def test_what_fails_leaves_with_its_reason(error):
    clock = Clock()
    times = iter((0, 1))

    def fail() -> None:
        for seconds in times:
            clock.now += seconds
            return
        raise error

    failing, sound = Turn(fail), *turns_of(clock, (1,) * 5)
    take_turns([failing, sound], 4, clock=clock)
    assert (failing.seconds, failing.error) == ([1], "no")
    assert (len(sound.seconds), sound.error) == (4, None)


def test_a_defect_of_the_program_is_not_hidden():
    def fail() -> None:
        raise AttributeError("a defect")

    with pytest.raises(AttributeError):
        take_turns([Turn(fail)], 1)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=6, max_size=6), min_size=1, max_size=4),
    st.integers(1, 5),
    st.none() | st.integers(1, 20),
)
def test_everyone_has_the_rounds_that_the_time_allows(times, repeats, limit):
    clock = Clock()
    turns = turns_of(clock, *times)
    take_turns(turns, repeats, limit, clock)
    for turn, planted_times in zip(turns, times, strict=True):
        counted = planted_times[1 : repeats + 1]
        assert turn.seconds == counted[: len(turn.seconds)]
        if len(turn.seconds) < len(counted):
            assert limit is not None and turn.capped and sum(turn.seconds) >= limit
        assert limit is None or sum(turn.seconds[:-1]) < limit
        assert turn.capped == (len(turn.seconds) < len(counted))


def test_reasons_are_one_line():
    assert reason_of(RuntimeError("one\n  two ")) == "one two"
    assert reason_of(MemoryError()) == "MemoryError"
    assert len(reason_of(RuntimeError("long " * 100))) == 300
