"""Counting who listens: a session that asks and never fetches an answer is refused, and nobody else."""

from __future__ import annotations

import asyncio

import pytest

from stylize.errors import StylizeError
from stylize.web.guard import ANSWERS, Guard
from stylize.web.listeners import MOST_SESSIONS, MOST_UNHEARD, Listeners
from stylize.web.private_folder import PrivateFolder


def test_asking_without_listening_comes_to_an_end():
    listeners = Listeners()
    for _ in range(MOST_UNHEARD):
        listeners.asked("deaf")
    for _ in range(2):
        with pytest.raises(StylizeError, match="nobody fetches the answers"):
            listeners.asked("deaf")
    listeners.asked("other")
    with listeners.listening("deaf"), listeners.listening("deaf"):
        pass
    listeners.asked("deaf")


def test_whoever_listens_may_ask_as_often_as_it_likes():
    listeners = Listeners()
    with listeners.listening("me"):
        with listeners.listening("me"):
            listeners.asked("me")
        for _ in range(10 * MOST_UNHEARD):
            listeners.asked("me")
    assert listeners._open == {} and listeners._unheard == {}


def test_what_is_remembered_is_bounded():
    listeners = Listeners()
    for number in range(MOST_SESSIONS + 5):
        listeners.asked(f"session {number}")
    assert len(listeners._unheard) == MOST_SESSIONS


@pytest.mark.parametrize(("query", "session"), [(b"session_hash=abc", "abc"), (b"", ""), (b"session_hash=%ff", None)])
def test_the_guard_tells_who_listens(query, session):
    listeners, seen = Listeners(), []

    async def page(scope, receive, send):
        seen.extend(listeners._open)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        pass

    scope = {"type": "http", "path": ANSWERS, "method": "GET", "headers": [], "query_string": query}
    with PrivateFolder() as folder:
        asyncio.run(Guard(page, folder, 1000, None, listeners)(scope, None, send))
    assert len(seen) == 1 and (session is None or seen == [session])
    assert listeners._open == {}
