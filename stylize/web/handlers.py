"""Between the functions of the page and Gradio, which calls them."""

from __future__ import annotations

import asyncio
import functools
import html
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stylize.errors import StylizeError
from stylize.web.line import Wait

ERROR_SECONDS = 12

LOOK_SECONDS = 0.02
"""Time between two looks of the next in a line at whether its turn has come."""

LONGEST_LOOK = 0.3
"""The same for those further back, who look less often."""

_END = object()


def handler(function: Callable[..., Any], **special: type) -> Callable[..., Any]:
    """Return a function for Gradio whose errors reach the user as one line, and not as a fault of the page.

    Args:
        function: A function that is quick.
        special: What Gradio is to give for a parameter: ``gradio.Request`` or ``gradio.EventData``. Gradio reads it
            from the annotations, which cannot name its types where Gradio is not imported.
    """

    @functools.wraps(function)
    def wrapped(*values: Any) -> Any:
        with _clear_errors():
            return function(*values)

    wrapped.__annotations__ = dict(special)
    return wrapped


def in_turn(function: Callable[..., Iterator[Any]], **special: type) -> Callable[..., AsyncIterator[Any]]:
    """Return a function for Gradio from a generator function that works in steps, and may wait before it begins.

    A step runs in a thread. Between two looks at whether its turn has come, nobody who waits holds one.

    Args:
        function: It yields what is shown, or :class:`stylize.web.line.Wait` while it waits.
        special: See :func:`handler`.
    """

    @functools.wraps(function)
    async def wrapped(*values: Any) -> AsyncIterator[Any]:
        steps, step, shown = _Steps(function(*values)), None, None
        try:
            with _clear_errors():
                while True:
                    step = asyncio.ensure_future(asyncio.to_thread(steps.next))
                    found = await asyncio.shield(step)  # a thread cannot be cancelled, so it is let come to its end
                    if found is _END:
                        return
                    if not isinstance(found, Wait):
                        yield found
                        continue
                    if found.shown != shown:
                        shown = found.shown
                        yield shown
                    await asyncio.sleep(min(LONGEST_LOOK, LOOK_SECONDS * max(1, found.before)))
        finally:
            if step is None or step.done():
                await asyncio.to_thread(steps.close)
            else:
                step.add_done_callback(functools.partial(_close_later, asyncio.get_running_loop(), steps))

    wrapped.__annotations__ = dict(special)
    return wrapped


class _Steps:
    """A generator that threads work in, one at a time: where a step still runs, closing waits for its end."""

    def __init__(self, generator: Any) -> None:
        self._generator, self._lock = generator, threading.Lock()

    def next(self) -> Any:
        with self._lock:
            return next(self._generator, _END)

    def close(self) -> None:
        with self._lock:
            self._generator.close()


def _close_later(loop: asyncio.AbstractEventLoop, steps: _Steps, step: asyncio.Future[Any]) -> None:
    if not step.cancelled():
        step.exception()  # looked at, so that nobody complains that it was not
    if not loop.is_closed():
        loop.run_in_executor(None, steps.close)


@contextmanager
def _clear_errors() -> Iterator[None]:
    import gradio

    try:
        yield
    except StylizeError as error:
        # Gradio shows the text as HTML, and the names of files in it come from strangers.
        text = html.escape(" ".join(str(error).split()))
        raise gradio.Error(text, duration=ERROR_SECONDS, title="That did not work", print_exception=False) from None
    except MemoryError:
        raise gradio.Error(
            "not enough memory; choose a smaller size", title="That did not work", print_exception=False
        ) from None
