"""Reading the next item and writing the last one while the current one is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from stylize.errors import StylizeError

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Done = TypeVar("Done")


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    work: Callable[[Item, Read], Made],
    write: Callable[[Item, Made], Done],
) -> Iterator[tuple[Item, Done | StylizeError]]:
    """Put each item through three stages, of which the first and the last run in threads of their own.

    At any moment at most one item is being read or waits to be worked on, one is worked on and one is being written:
    memory holds three. Decoding and encoding pictures leave Python to other threads, so the stages do overlap.

    When the caller stops early, or a stage fails with anything but a StylizeError, what is being written is finished
    and nothing new is begun.

    Args:
        items: What to put through.
        read: First stage: item -> what the second takes.
        work: Second stage, in the thread of the caller: (item, what was read) -> what the third takes.
        write: Third stage: (item, what was made) -> result.

    Yields:
        Each item with its result, or with the StylizeError of one of its stages, in order.
    """
    if not items:
        return
    with ThreadPoolExecutor(1, "reading") as reader, ThreadPoolExecutor(1, "writing") as writer:
        ahead = reader.submit(read, items[0])
        unfinished: list[tuple[Item, Future[Done] | StylizeError]] = []
        try:
            for item, following in zip(items, [*items[1:], None], strict=True):
                current = ahead
                outcome: Future[Done] | StylizeError
                try:
                    value = current.result()
                    if following is not None:
                        ahead = reader.submit(read, following)
                    made = work(item, value)
                    del value
                except StylizeError as error:
                    outcome = error
                    if following is not None and ahead is current:
                        ahead = reader.submit(read, following)
                else:
                    # Until the last one is written, so that pictures do not pile up.
                    yield from _finished(unfinished)
                    outcome = writer.submit(write, item, made)
                    del made
                unfinished.append((item, outcome))
            yield from _finished(unfinished)
        finally:
            ahead.cancel()


def _finished(unfinished: list[tuple[Item, Future[Done] | StylizeError]]) -> Iterator[tuple[Item, Done | StylizeError]]:
    """Wait for what is not finished, yield it and forget it."""
    while unfinished:
        item, outcome = unfinished.pop(0)
        if isinstance(outcome, StylizeError):
            yield item, outcome
            continue
        try:
            yield item, outcome.result()
        except StylizeError as error:
            yield item, error
