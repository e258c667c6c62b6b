"""The folder beside an unfinished clip in which its finished segments wait, and which one process owns.

Work on ``painted.mp4`` keeps in ``painted.mp4.run/``:

- ``work.json``: the settings and what clip it is, written first;
- ``segment-00000.nut`` (or a folder of pictures), the painted frames, and ``segment-00000.json``, which is written last
  and makes the segment count;
- ``unfinished``: the segment that is being painted;
- ``result`` and ``joined.json``: the whole, ready to be moved to its place;
- ``.lock``: held by the process that paints.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stylize.checkpoints import replacing
from stylize.errors import InputError, OutputError, RunInUse
from stylize.image_errors import reason_of, shown

LOCK = ".lock"
VERSION = 1


@dataclass(frozen=True)
class Segment:
    """A finished segment.

    Attributes:
        number: Which, from 0 up.
        ticks: When each of its frames is shown, in ticks of the clip.
        durations: How long each is shown, in ticks; 0 where the clip does not say.
        last: Whether the clip ends with it.
        problems: What was missing or damaged in the clip, known at its end.
    """

    number: int
    ticks: list[int]
    durations: list[int]
    last: bool = False
    problems: tuple[str, ...] = ()


class WorkFolder:
    """The files of unfinished work.

    Args:
        output: What the work ends in.

    Attributes:
        output: What the work ends in.
        path: The folder.
        unfinished: Where the segment that is being painted goes.
        result: Where the whole goes, before it is moved to its place.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.absolute().with_name(f"{output.absolute().name}.run")
        self.unfinished = self.path / "unfinished"
        self.result = self.path / "result"
        self._settings = self.path / "work.json"
        self._joined = self.path / "joined.json"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the folder while the block runs; it is made, and removed again if nothing finished came into it.

        Raises:
            RunInUse: Another process works on this output.
            OutputError: The folder cannot be made.
        """
        with self.writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / LOCK)
            try:
                lock.acquire(blocking=False)
            except Timeout:  # an OSError itself, which must not be taken for one of the file system
                raise RunInUse(
                    f"another process is painting {shown(self.output)}; wait for it, stop it, or give another -o"
                ) from None
        try:
            yield
        finally:
            # While the lock is held: once it is free, another process may begin.
            self.discard(self.unfinished)
            if not self.segments() and not self.joined:
                shutil.rmtree(self.path, ignore_errors=True)
            lock.release()

    @property
    def settings(self) -> dict[str, Any] | None:
        """What the work was begun with; None where none was."""
        return self._read(self._settings)

    def begin(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Begin the work, or go on with it.

        Args:
            settings: What decides how the result looks; plain JSON values.
            overwrite: Whether work with other settings makes way.

        Raises:
            InputError: There is unfinished work with other settings.
        """
        wanted = json.loads(json.dumps({"version": VERSION, **settings}))
        found = self.settings
        if found == wanted:
            return
        if found is not None and self.segments() and not overwrite:
            differs = ", ".join(
                _difference(name, found, wanted) for name in {**found, **wanted} if found.get(name) != wanted.get(name)
            )
            raise InputError(
                f"{shown(self.path)} holds unfinished work on {shown(self.output)} with other settings ({differs}); "
                "give the same command to go on, --overwrite to start anew, or another -o"
            )
        self.clear()
        self._write(self._settings, wanted)

    def segments(self) -> list[Segment]:
        """Return the finished segments from the first one on, without a gap."""
        found: list[Segment] = []
        while True:
            record = self._read(self._record(len(found)))
            if record is None:
                return found
            found.append(Segment(**{**record, "problems": tuple(record["problems"])}))

    def part(self, number: int, suffix: str) -> Path:
        """Return the file or the folder of a segment's frames."""
        return self.path / f"segment-{number:05d}{suffix}"

    def keep(self, segment: Segment, suffix: str) -> None:
        """Let the unfinished segment count as a finished one.

        Raises:
            OutputError: It cannot be written.
        """
        with self.writing():
            part = self.part(segment.number, suffix)
            self.discard(part)
            self.unfinished.rename(part)
        self._write(self._record(segment.number), asdict(segment))

    @property
    def joined(self) -> bool:
        """Whether the whole is ready, or was moved to its place already."""
        return self._joined.exists()

    @property
    def complete(self) -> bool:
        """Whether every segment is painted."""
        finished = self.segments()
        return self.joined or bool(finished and finished[-1].last)

    def joined_facts(self) -> dict[str, Any]:
        """Return what :meth:`set_joined` wrote down."""
        return self._read(self._joined) or {}

    def set_joined(self, facts: Mapping[str, Any]) -> None:
        """Write down that the whole is ready, with what is to be said about it.

        Raises:
            OutputError: It cannot be written.
        """
        self._write(self._joined, facts)

    def set_unjoined(self) -> None:
        """Forget that the whole was ready."""
        self.discard(self._joined)

    def discard(self, path: Path) -> None:
        """Remove a file or a folder that is of no use, if it is there."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what other work left here.

        Raises:
            OutputError: It cannot be removed.
        """
        with self.writing():
            # The records first: frames without a record do not count, a record without frames would.
            for path in sorted(self.path.iterdir(), key=lambda one: one.suffix != ".json"):
                if path.name != LOCK:
                    self.discard(path)

    def remove(self) -> None:
        """Remove the folder; the work is done."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn an error of the file system into an :class:`OutputError` that names the folder."""
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write to {shown(self.path)}: {reason_of(error)}") from error

    def _record(self, number: int) -> Path:
        return self.part(number, ".json")

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _write(self, path: Path, values: Mapping[str, Any]) -> None:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(values), encoding="utf-8")


def _difference(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    if name == "clip":
        return "the clip itself"
    return f"{name.replace('_', ' ')} {found.get(name)!r}, not {wanted.get(name)!r}"
