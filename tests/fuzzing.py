"""Changes to files, as a fuzzer makes them, and what must be true of every file however it was changed.

Used by the property tests (``test_fuzz_*.py``, always the same changes) and by the fuzzers in ``tests/slow``, which
look for changes that reach new parts of the code.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from stylize.checkpoints import load_network, read_training_state, read_weights_file
from stylize.errors import ImageError, InputError, StylizeError
from stylize.images import encode_image, read_picture
from stylize.strips import open_rows, picture_size
from stylize.style_collections import load_collection, read_collection, read_style_file
from tests.hostile_files import raw_weights, split_weights

MOST_PIXELS = 2**20
"""Pixels above which a changed picture is refused in these tests, so that one takes no longer than another."""

STRIPS_MEMORY = 2**26

NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40)

KINDS = ("byte", "number", "remove", "repeat", "insert", "cut", "move")

Change = tuple[str, int, int, int]
"""Kind, place, number, length; every value makes sense for every file."""


def changes(most: int = 6) -> st.SearchStrategy[list[Change]]:
    """Return a strategy for a few changes; places near the beginning, where headers are, come more often."""
    place = st.integers(0, 63) | st.integers(0, 511) | st.integers(0, 2**20)
    number = st.sampled_from(NUMBERS) | st.integers(0, 2**32)
    any_one = st.tuples(st.sampled_from(KINDS), place, number, st.integers(1, 64))
    in_place = st.tuples(st.sampled_from(KINDS[:2]), st.integers(0, 2**20), number, st.integers(1, 64))
    return st.lists(any_one, min_size=1, max_size=most) | st.lists(in_place, min_size=1, max_size=2)


def changed(data: bytes, wanted: list[Change]) -> bytes:
    """Return a file with changes."""
    content = bytearray(data)
    for kind, place, number, length in wanted:
        place %= len(content) + 1
        if kind == "byte" and place < len(content):
            content[place] = number & 255
        elif kind == "number":
            size = (2, 4, 8)[length % 3]
            order = "little" if length % 2 else "big"
            content[place : place + size] = (number % 256**size).to_bytes(size, order)
        elif kind == "remove":
            del content[place : place + length]
        elif kind == "repeat":
            content[place:place] = content[place : place + length] * (1 + number % 50)
        elif kind == "insert":
            content[place:place] = bytes([number & 255]) * length
        elif kind == "cut":
            del content[place:]
        elif kind == "move":
            target = number % (len(content) + 1)
            content[target:target] = content[place : place + length]
    return bytes(content)


def with_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks have the right checksums, so that what was changed in them is looked at."""
    content, place = bytearray(data), 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(content):
            break
        content[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(content)


@contextlib.contextmanager
def little_memory(more: int = 600 * 2**20) -> Iterator[None]:
    """Let this process take no more than so many bytes while the block runs; without effect outside of Linux."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + more
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def sound_message(error: StylizeError) -> None:
    """Check that an error is one line that a terminal shows, and that it was not memory that ran out."""
    text = str(error)
    assert text.isprintable(), repr(text)
    assert len(text) < 2000, len(text)
    assert "not enough memory for this picture" not in text


def try_picture(data: bytes, path: Path) -> bool:
    """Read a picture by every door; return whether the first let it in.

    It is a picture within the limits, or it is refused with an ImageError; nothing else.
    """
    try:
        picture = read_picture(io.BytesIO(data), MOST_PIXELS)
    except ImageError as error:
        sound_message(error)
        picture = None
    if picture is not None:
        width, height = picture.image.size
        assert picture.image.mode == "RGB" and 0 < width * height <= MOST_PIXELS and picture.image.info == {}
        assert picture.alpha is None or (picture.alpha.mode, picture.alpha.size) == ("L", picture.image.size)
        assert picture.exif is None or len(picture.exif) < 2**23
        if width * height <= 10_000:
            assert encode_image(picture.image, "PNG", alpha=picture.alpha, exif=picture.exif)
    path.write_bytes(data)
    try:
        size = picture_size(path)
        if size is None or size[0] * size[1] <= MOST_PIXELS:
            with open_rows(path, STRIPS_MEMORY, scratch=path.parent) as rows:
                top = rows.rows(0, min(4, rows.height))
                assert top.shape[-1] == rows.width and bool(((top >= 0) & (top <= 1)).all())
    except ImageError as error:
        if "MB are allowed" not in str(error):
            sound_message(error)
    return picture is not None


def try_weights(content: bytes, path: Path) -> bool:
    """Read a weights file of any kind by every door; return whether one let it in."""
    path.write_bytes(content)
    let_in = False
    for read in (read_weights_file, load_network, read_style_file, read_training_state, _collection):
        try:
            read(path)
            let_in = True
        except InputError as error:
            sound_message(error)
    return let_in


def _collection(path: Path) -> None:
    collection = read_collection(path)
    for name in collection.names:
        assert name.isprintable() and "/" not in name
        collection.facts(name)
    load_collection(collection)


# ----------------------------------------------------------------------------------------------------- changes to JSON


def strange_values() -> st.SearchStrategy[Any]:
    """Return a strategy for JSON values that programs do not expect."""
    numbers = st.sampled_from((0, -1, 1, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")))
    texts = st.sampled_from(
        ("", "x", "\x1b[2J", "../../x", "\ud800", "\u202e", "\x00", "x" * 20_000, "{}", "instance@")
    )
    simple = st.none() | st.booleans() | numbers | texts | st.text(max_size=8)
    nested = st.recursive(simple, lambda one: st.lists(one, max_size=3) | st.dictionaries(texts, one, max_size=3))
    return nested | st.sampled_from((10, 200, 5000)).map(_deep)


def _deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in a JSON value."""
    found = [path]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        found += places(one, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a JSON value with another one in a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def dumped(value: Any) -> str:
    """Return JSON, however deep: the encoder of Python gives up before its decoder does."""
    try:
        return json.dumps(value)
    except RecursionError:
        return "[" * 5000 + "]" * 5000


def with_strange_header(content: bytes, where: int, new: Any, inside: str | None) -> bytes:
    """Return a safetensors file with one value of its header replaced.

    Args:
        content: The file.
        where: Which value; counted around.
        new: The value.
        inside: Name of a text that is JSON itself, in which the value is; None is the header.
    """
    header, data = split_weights(content)
    texts = header.get("__metadata__", {})
    if inside is not None and inside in texts:
        table = json.loads(texts[inside])
        ways = places(table)
        header["__metadata__"] = texts | {inside: dumped(replaced(table, ways[where % len(ways)], new))}
    else:
        ways = places(header)
        header = replaced(header, ways[where % len(ways)], new)
    return raw_weights(dumped(header).encode(), data)
