"""The folder beside an unfinished clip in which its finished segments wait, and which one process owns.

Work on ``painted.mp4`` keeps in ``painted.mp4.run/``:

- ``work.json``: the settings and what clip it is, written first;
- ``segment-00000.nut`` (or a folder of pictures), the painted frames; of the last one, ``segment-00000.safetensors``,
  what the painter knew at its end; and ``segment-00000.json``, which is written last and makes the segment count;
- ``unfinished``: the segment that is being painted;
- ``result`` and ``joined.json``: the whole, ready to be moved to its place, and ``moving.json`` when that has begun;
- ``.lock``: held by the process that paints.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylize.checkpoints import replacing
from stylize.errors import InputError, OutputError
from stylize.image_errors import reason_of, shown
from stylize.owned_folder import LOCK, OwnedFolder

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 2
"""Of what is in the folder; work of another version is begun anew."""


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


class WorkFolder(OwnedFolder):
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
        path = output.absolute()
        super().__init__(path.with_name(f"{path.name}.run"), f"painting {shown(output)}")
        self.unfinished = self.path / "unfinished"
        self.result = self.path / "result"
        self._settings = self.path / "work.json"
        self._joined = self.path / "joined.json"
        self._moving = self.path / "moving.json"

    def tidy(self, fresh: bool) -> None:
        """Remove the unfinished segment, and the folder where nothing in it is finished."""
        self.discard(self.unfinished)
        if not self.segments() and not self.joined:
            self.remove()

    def remove(self) -> None:
        """Remove the folder with everything in it, so that it can be gone on with when that is broken off."""
        # What says that something is finished goes before the thing itself.
        with self.writing():
            self.discard(self._joined)
            self.discard(self._moving)
            for number in range(len(self.segments())):
                self.discard(self._record(number))
        super().remove()

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
            try:
                found.append(Segment(**{**record, "problems": tuple(record["problems"])}))
            except (KeyError, TypeError):  # not one of ours, as if it were not there
                return found

    def part(self, number: int, suffix: str) -> Path:
        """Return the file or the folder of a segment's frames."""
        return self.path / f"segment-{number:05d}{suffix}"

    def keep(self, segment: Segment, suffix: str, state: Mapping[str, Tensor]) -> None:
        """Let the unfinished segment count as a finished one.

        Args:
            segment: What it holds.
            suffix: Of its file or folder.
            state: What the painter knows at its end.

        Raises:
            OutputError: It cannot be written.
        """
        from safetensors.torch import save

        with self.writing():
            part = self.part(segment.number, suffix)
            self.discard(part)
            self.unfinished.rename(part)
        with replacing(self._state(segment.number)) as temporary:
            temporary.write_bytes(save(dict(state)))  # its own writer has errors of its own for a full disk
        self._write(self._record(segment.number), asdict(segment))
        if segment.number:
            self.discard(self._state(segment.number - 1))  # Only the last one is gone on from.

    def state(self, number: int) -> dict[str, Tensor]:
        """Return what the painter knew at the end of a segment, the last one that is finished.

        Raises:
            OutputError: It cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._state(number)
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise OutputError(
                f"{shown(path)} is missing or damaged ({reason_of(error)}); start anew with --overwrite, or remove the "
                "folder"
            ) from None

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
        self.discard(self._moving)

    @property
    def moving(self) -> bool:
        """Whether the result is being moved to its place, which it then has partly taken already."""
        return self.joined and self._moving.exists()

    def set_moving(self) -> None:
        """Write down that the result is being moved to its place.

        Raises:
            OutputError: It cannot be written.
        """
        self._write(self._moving, {})

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

    def _record(self, number: int) -> Path:
        return self.part(number, ".json")

    def _state(self, number: int) -> Path:
        return self.part(number, ".safetensors")

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return values if isinstance(values, dict) else None

    def _write(self, path: Path, values: Mapping[str, Any]) -> None:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(values), encoding="utf-8")


def _difference(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    if name == "clip":
        return "the clip itself"
    return f"{name.replace('_', ' ')} {found.get(name)!r}, not {wanted.get(name)!r}"
