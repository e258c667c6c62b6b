"""Waiting in a line: the place is seen, the turn comes, and nobody waits for somebody who has left."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.errors import InputError, StylizeError
from stylize.web.handlers import in_turn
from stylize.web.jobs import Running
from stylize.web.line import MOST_OF_ONE, PROMISED_SECONDS, Line, Place, Stopped, Wait

NEEDS_GRADIO = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="gradio is not installed")


def test_places_move_up():
    line = Line()
    first, second, third = (line.enter() for _ in range(3))
    assert [line.before(one) for one in (first, second, third)] == [0, 1, 2]
    assert list(first.waiting()) == [] and next(third.waiting()) == 2
    second.__exit__()
    assert line.before(third) == 1
    line.seconds_left = 5.0
    first.__exit__()
    assert line.before(third) == 0 and line.seconds_left is None


def test_too_many_are_told_to_come_back():
    line = Line(2)
    with line.enter(), line.enter():
        with pytest.raises(StylizeError, match="2 others are before you"):
            line.enter()
    line.enter()


def test_somebody_who_waits_can_give_up():
    line, running = Line(), Running()
    with line.enter():
        place = line.enter()
        with pytest.raises(Stopped), place, running.knowing("me", "learning", place):
            waiting = place.waiting()
            assert next(waiting) == 1
            running.stop("me", "learning")
            next(waiting)
        assert line.before(line.enter()) == 1


def served(line: Line, places: list[Place]) -> list[str]:
    """Let everybody have their turn and return whose turn it was, in order."""
    order = []
    while places:
        turn = next(place for place in places if line.before(place) == 0)
        order.append(turn.user)
        places.remove(turn)
        turn.__exit__()
    return order


def test_whoever_asks_for_much_does_not_keep_others_waiting():
    line = Line()
    places = [line.enter("greedy") for _ in range(4)]
    assert line.before(places[0]) == 0
    places += [line.enter("a"), line.enter("b")]
    assert [line.before(place) for place in places] == [0, 3, 4, 5, 1, 2]
    assert served(line, places) == ["greedy", "a", "b", "greedy", "greedy", "greedy"]


def test_whoever_had_a_turn_comes_after_those_who_had_none():
    """Also where it comes again before them."""
    line = Line()
    places = {name: line.enter(name) for name in "abc"}
    turns = []
    for number in range(12):
        turn = next(name for name, place in places.items() if line.before(place) == 0)
        places[turn].__exit__()
        turns.append(turn)
        places[turn] = line.enter(turn)
        if number == 5:
            places["late"] = line.enter("late")
    # In turn; the one who came late has its first turn after those who came before it, and not before.
    assert turns[:6] == ["a", "b", "c"] * 2
    assert turns.index("late") <= 9 and turns.count("late") in (1, 2)
    assert max(turns.count(name) for name in "abc") - min(turns.count(name) for name in "abc") <= 1


def test_newcomers_without_end_do_not_keep_somebody_waiting_for_ever():
    line = Line()
    with line.enter("a") as first:
        assert line.before(first) == 0
    again, waiting = line.enter("a"), [line.enter(f"first {number}") for number in range(5)]
    for number in range(100):
        if line.before(again) == 0:
            break
        turn = next(place for place in waiting if line.before(place) == 0)
        waiting.remove(turn)
        turn.__exit__()
        waiting.append(line.enter(f"newcomer {number}"))
    assert number < 20


def test_one_user_does_not_fill_a_line():
    line = Line()
    for _ in range(MOST_OF_ONE):
        line.enter("greedy")
    with pytest.raises(StylizeError, match=f"{MOST_OF_ONE} of your own requests are waiting already"):
        line.enter("greedy")
    line.enter("other")


def test_whoever_found_the_line_full_gets_the_next_free_place(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("stylize.web.line.time.monotonic", lambda: now[0])
    line = Line(4)
    places = [line.enter(name) for name in "abcd"]
    for name, before in (("e", 4), ("f", 5), ("e", 4)):
        with pytest.raises(StylizeError, match=f"{before} others are before you, and no more can wait"):
            line.enter(name)
    places.pop(0).__exit__()
    for name in ("a", "f"):  # the one place that is free is that of e
        with pytest.raises(StylizeError, match="others are before you"):
            line.enter(name)
    line.enter("e")
    places.pop(0).__exit__()
    now[0] += PROMISED_SECONDS + 1  # f did not come back in time
    line.enter("b")


def test_no_place_is_kept_for_whoever_has_left():
    line = Line(2)
    places = [line.enter("a"), line.enter("b")]
    with pytest.raises(StylizeError, match="others are before you"):
        line.enter("c")
    line.forget("c")
    line.forget("never there")
    places.pop().__exit__()
    line.enter("d")


def test_those_who_never_come_back_do_not_close_a_line():
    line = Line(4)
    places = [line.enter(f"a{number}") for number in range(4)]
    for number in range(50):
        with pytest.raises(StylizeError, match="others are before you"):
            line.enter(f"gone {number}")
    for place in places:
        place.__exit__()
    line.enter("b"), line.enter("c")


@given(
    st.lists(st.tuples(st.sampled_from(("enter", "leave")), st.sampled_from("abcde")), max_size=60),
    st.integers(1, 6),
)
def test_there_is_one_turn_and_every_place_has_its_number(steps, most):
    line, places = Line(most), []
    for step, user in steps:
        if step == "enter":
            try:
                places.append(line.enter(user))
            except StylizeError:
                assert len(places) >= most - most // 2  # the rest are kept for those who found it full
        elif places:
            places.pop(len(places) // 2).__exit__()
        before = [line.before(place) for place in places]
        assert sorted(before) == list(range(len(places))) and len(places) <= most
        turn = [place for place in places if line.before(place) == 0]
        assert len(turn) == bool(places)


def work(line: Line, log: list[str], name: str):
    with line.enter() as place:
        for before in place.waiting():
            yield Wait(f"{name} waits for {before}")
        for step in range(3):
            log.append(name)
            time.sleep(0.01)
            yield f"{name} {step}"


@NEEDS_GRADIO
def test_several_users_are_served_in_order_and_see_their_own(monkeypatch):
    monkeypatch.setattr("stylize.web.handlers.LOOK_SECONDS", 0.01)
    line, log = Line(), []
    threads = set()

    async def user(name: str) -> list[str]:
        shown = []
        async for one in in_turn(work)(line, log, name):
            shown.append(one)
            threads.add(threading.active_count())
        return shown

    async def everybody() -> list[list[str]]:
        return await asyncio.gather(*(user(name) for name in "abcdef"))

    results = asyncio.run(everybody())
    assert log == [name for name in "abcdef" for _ in range(3)]
    for name, shown in zip("abcdef", results, strict=True):
        assert shown[-3:] == [f"{name} {step}" for step in range(3)]
        assert all(one.startswith(f"{name} ") for one in shown)
    waits = [one for one in results[5] if "waits" in one]
    assert waits == sorted(set(waits), reverse=True) and waits[0].endswith("5")  # each place is told once


@NEEDS_GRADIO
def test_a_user_who_goes_frees_the_line():
    line, log = Line(), []

    async def leave() -> None:
        steps = in_turn(work)(line, log, "a")
        assert await steps.__anext__() == "a 0"
        await steps.aclose()

    asyncio.run(leave())
    assert line.before(line.enter()) == 0


@NEEDS_GRADIO
def test_a_user_who_goes_while_a_step_runs_frees_the_line_after_it():
    line, began, let_go = Line(), threading.Event(), threading.Event()

    def slow():
        with line.enter():
            began.set()
            let_go.wait(5)
            yield "late"

    async def cancel() -> None:
        steps = in_turn(slow)()
        task = asyncio.ensure_future(steps.__anext__())
        await asyncio.to_thread(began.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert line.before(line.enter()) == 1
        let_go.set()
        for _ in range(200):
            if len(line._places) == 1:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the place was kept")

    asyncio.run(cancel())


@NEEDS_GRADIO
def test_a_loop_that_ends_while_a_step_runs_waits_for_it(caplog):
    """At the end of a loop its tasks are cancelled, and a thread goes on nevertheless."""
    line, began = Line(), threading.Event()

    def slow():
        with line.enter():
            began.set()
            time.sleep(0.3)
            yield "late"

    async def end() -> None:
        steps = in_turn(slow)()
        asyncio.ensure_future(steps.__anext__())
        await asyncio.to_thread(began.wait, 5)

    asyncio.run(end())
    assert line.before(line.enter()) == 0
    assert caplog.records == []


def test_an_error_is_one_line_without_markup():
    gradio = pytest.importorskip("gradio")

    def fail():
        yield "begun"
        raise InputError("<b>no</b>\nsecond line")

    async def listen() -> list[str]:
        return [one async for one in in_turn(fail)()]

    with pytest.raises(gradio.Error, match="&lt;b&gt;no&lt;/b&gt; second line"):
        asyncio.run(listen())
