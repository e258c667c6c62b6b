"""Waiting in a line: the place is seen, the turn comes, and nobody waits for somebody who has left."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from stylize.errors import InputError, StylizeError
from stylize.web.handlers import in_turn
from stylize.web.jobs import Running
from stylize.web.line import Line, Stopped, Wait


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


def work(line: Line, log: list[str], name: str):
    with line.enter() as place:
        for before in place.waiting():
            yield Wait(f"{name} waits for {before}")
        for step in range(3):
            log.append(name)
            time.sleep(0.01)
            yield f"{name} {step}"


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


def test_a_user_who_goes_frees_the_line():
    line, log = Line(), []

    async def leave() -> None:
        steps = in_turn(work)(line, log, "a")
        assert await steps.__anext__() == "a 0"
        await steps.aclose()

    asyncio.run(leave())
    assert line.before(line.enter()) == 0


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
