"""Between the functions of the page and Gradio, which calls them."""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stylize.errors import StylizeError

ERROR_SECONDS = 12


def handler(function: Callable[..., Any], **special: type) -> Callable[..., Any]:
    """Return a function for Gradio whose errors reach the user as one line, and not as a fault of the page.

    Args:
        function: A function or a generator function.
        special: What Gradio is to give for a parameter: ``gradio.Request`` or ``gradio.SelectData``. Gradio reads it
            from the annotations, which cannot name its types where Gradio is not imported.
    """
    if inspect.isgeneratorfunction(inspect.unwrap(function)):

        @functools.wraps(function)
        def wrapped(*values: Any) -> Iterator[Any]:
            with _clear_errors():
                yield from function(*values)

    else:

        @functools.wraps(function)
        def wrapped(*values: Any) -> Any:
            with _clear_errors():
                return function(*values)

    wrapped.__annotations__ = dict(special)
    return wrapped


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
