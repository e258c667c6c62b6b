"""The list of what a bulk run did: ``manifest.jsonl`` in the folder of the results, one JSON object a line.

The first line holds the settings, and how many of the files below are in it. Every other line is about one photo; of
several lines about one, the last counts::

    {"status": "settings", "settings": {...}, "includes": 12}
    {"status": "begun", "photo": ..., "size": ..., "stamp": ..., "alternative": ..., "replaces": ...}
    {"status": "done", "photo": ..., "output": ..., "input_sha256": ..., "output_sha256": ..., "seconds": ..., ...}
    {"status": "failed", "photo": ..., "reason": ...}

A storage need not be able to add to a file. So new lines are gathered for a moment and written as a file of their own,
``.stylize-bulk/lines/00000001.jsonl`` and so on. Many small ones are joined to a larger one, and the end of a run puts
all together. Whatever moment a run is stopped at, what was written is whole. Lines that were not written yet are found
again: a result that is there, of a photo that is "begun" and did not change, was painted by the run.

A "begun" or "failed" line keeps what an older one says of a result that is there.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from stylize.bulk.storage import HOME, Storage
from stylize.errors import InputError

NAME = "manifest.jsonl"
LINES = f"{HOME}/lines"

FLUSH_SECONDS = 2.0
"""A line waits no longer than this before it is written."""

FLUSH_LINES = 1000

JOINED_PARTS = 200
"""So many small files of lines become one: a run of a day would leave tens of thousands."""

Row = Mapping[str, Any]


class Rows(MutableMapping[str, Row]):
    """The last line about each photo, by its path or URL, kept as text: as objects, a million would take gigabytes."""

    def __init__(self) -> None:
        self._lines: dict[str, bytes] = {}

    def __getitem__(self, photo: str) -> Row:
        return json.loads(self._lines[photo])

    def __setitem__(self, photo: str, row: Row) -> None:
        self._lines[photo] = _line(row)

    def __delitem__(self, photo: str) -> None:
        del self._lines[photo]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def lines(self) -> Iterable[bytes]:
        """Return the lines as they are written."""
        return self._lines.values()


class Manifest:
    """What was done in one folder of results.

    Args:
        storage: The folder.

    Attributes:
        settings: What its pictures were painted with; None where there is no manifest.
        rows: What is known of each photo, by its path or URL.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.settings: dict[str, Any] | None = None
        self.rows = Rows()
        self._waiting: list[Row] = []
        self._since = 0.0
        self._number = 0
        self._parts: list[str] = []
        self._small: dict[str, bytes] = {}

    @classmethod
    def read(cls, storage: Storage, names: Iterable[str]) -> Manifest:
        """Read the manifest of a folder.

        Args:
            storage: The folder.
            names: The files in it.

        Raises:
            InputError: It is damaged, or something else has its name.
        """
        made, there = cls(storage), set(names)
        made._parts = sorted(name for name in there if name.startswith(f"{LINES}/"))
        for row in _parsed(NAME, storage) if NAME in there else ():
            made._take(row)
        for name in made._parts:
            if _number(name) > made._number:
                for row in _parsed(name, storage):
                    made._take(row)
        made._number = max([made._number, *map(_number, made._parts)])
        return made

    def _take(self, row: Row) -> None:
        if row["status"] == "settings":
            self.settings = dict(row["settings"])
            self._number = int(row.get("includes", 0))
        else:
            self.rows[row["photo"]] = row

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Begin a run with these settings; what is known of each photo stays.

        Raises:
            OutputError: It cannot be written.
        """
        if self.settings == dict(settings):
            return
        # What was painted with other settings is no result of this run, though a file of it is there.
        self.rows = Rows()
        self.settings = dict(settings)
        self.put_together()

    def add(self, rows: Iterable[Row]) -> None:
        """Take lines, and write what has waited long enough."""
        for row in rows:
            self._take(row)
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(row)
        if len(self._waiting) >= FLUSH_LINES or time.monotonic() - self._since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait.

        Raises:
            OutputError: They cannot be written; they go on waiting.
        """
        if not self._waiting:
            return
        name = f"{LINES}/{self._number + 1:08d}.jsonl"
        written = b"".join(map(_line, self._waiting))
        self.storage.write(name, written)
        self._number += 1
        self._parts.append(name)
        self._small[name] = written
        self._waiting = []
        if len(self._small) >= JOINED_PARTS:
            self._join(name)

    def _join(self, last: str) -> None:
        """Write the small files as one under the name of the last.

        Killed in between, some of the others are still there: their lines are read first, and count as before.
        """
        self.storage.write(last, b"".join(self._small.values()))
        for name in self._small:
            if name != last:
                self.storage.remove(name)
                self._parts.remove(name)
        self._small = {}

    def put_together(self) -> None:
        """Write everything that is known as one file, and remove the parts.

        Raises:
            OutputError: It cannot be written; the parts are still there.
        """
        head = {"status": "settings", "settings": self.settings or {}, "includes": self._number}
        self.storage.write(NAME, b"".join([_line(head), *self.rows.lines()]))
        self._waiting, self._small = [], {}
        # Killed in between, the parts are still there, and are known to be older.
        for name in self._parts:
            self.storage.remove(name)
        self._parts = []


def check_settings(manifest: Manifest, settings: Mapping[str, Any], there: Iterable[str], overwrite: bool) -> None:
    """Check that a folder may get pictures of these settings.

    Args:
        manifest: What was done in it.
        settings: What is to be painted with.
        there: The files in it.
        overwrite: Whether pictures of other settings are replaced.

    Raises:
        InputError: It holds those of others.
    """
    known = manifest.settings
    if overwrite or known is None or known == dict(settings):
        return
    if all(name == NAME or name.startswith(f"{HOME}/") for name in there):
        return  # nothing was painted
    differing = [name for name in {**known, **settings} if known.get(name) != settings.get(name)]
    told = ", ".join(f"{name} {_told(known.get(name))}, now {_told(settings.get(name))}" for name in differing[:3])
    raise InputError(
        f"'{manifest.storage.url(NAME)}' says that the pictures there were painted with other settings ({told}); give "
        "another -o, or --overwrite to paint them all again"
    )


def _told(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:18]}...{text[-8:]}"


def _line(row: Row) -> bytes:
    return json.dumps(row).encode("ascii") + b"\n"


def _parsed(name: str, storage: Storage) -> Iterator[Row]:
    """Yield the rows of a file of JSON lines."""
    for number, line in enumerate(io.BytesIO(storage.read(name)), 1):
        try:
            row = json.loads(line)
            kind, what = (dict, "settings") if row["status"] == "settings" else (str, "photo")
            fitting = isinstance(row[what], kind) and isinstance(row.get("includes", 0), int)
        except (ValueError, LookupError, TypeError, RecursionError):
            fitting = False
        if not fitting:
            raise InputError(
                f"line {number} of '{storage.url(name)}' is damaged, so what was painted is not known; mend it, or "
                "give another -o"
            )
        yield row


def _number(name: str) -> int:
    digits = name.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 0
