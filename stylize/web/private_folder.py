"""The folder that holds what users send and get: for this user of the machine alone, and gone at the end.

A file has an owner where it belongs to a session of the page: it goes soon after that session has left.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

KEPT_SECONDS = 3600.0
"""How long a file is kept after its last change, or, where it has an owner, after the last sign of that owner."""

LEFT_SECONDS = 120.0
"""How long the files of a session are kept after it has left: a phone that was locked for a moment comes back."""

KEPT_BYTES = 4 * 10**9
"""Most bytes of all files together; beyond that the oldest go first."""

TIDY_SECONDS = 30.0
"""Time between two looks at the folder."""


@dataclass
class _Owner:
    """What a session has in the folder; times are those of the folder's clock."""

    folders: set[Path] = field(default_factory=set)
    uploads: set[Path] = field(default_factory=set)
    seen: float = 0.0
    left: float | None = None

    def has(self, path: Path) -> bool:
        return path in self.uploads or not self.folders.isdisjoint(path.parents)


class PrivateFolder:
    """A temporary folder that only its owner can read, emptied while it is used and removed at the end.

    Args:
        kept_seconds: Age from which files are removed.
        kept_bytes: Size of all files from which the oldest are removed.
        left_seconds: How long the files of a session stay after it has left.
        clock: Seconds since some moment. Not the time of day, which somebody may set.

    Attributes:
        path: The folder, an absolute path without links.
    """

    def __init__(
        self,
        kept_seconds: float = KEPT_SECONDS,
        kept_bytes: int = KEPT_BYTES,
        left_seconds: float = LEFT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kept_seconds, self.kept_bytes, self.left_seconds = kept_seconds, kept_bytes, left_seconds
        self.path = Path(tempfile.mkdtemp(prefix="stylize-web-")).resolve()  # mkdtemp makes it for its owner alone
        self._clock = clock
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}
        self._owners: dict[str, _Owner] = {}
        self._published: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_tidy, daemon=True, name="stylize-web-tidy")
        self._thread.start()

    def __enter__(self) -> PrivateFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        self._ended.set()
        self._thread.join(timeout=5)
        shutil.rmtree(self.path, ignore_errors=True)

    def new_folder(self, owner: str | None = None) -> Path:
        """Make a folder in it whose name cannot be guessed, and return its path."""
        path = self.path / secrets.token_hex(16)
        path.mkdir(mode=0o700)
        if owner is not None:
            with self._lock:
                self._owner(owner).folders.add(path)
        return path

    def claim(self, path: Path, owner: str) -> None:
        """Say that an uploaded file belongs to a session; several may have sent the same one."""
        with self._lock:
            if self.holds(path):
                self._owner(owner).uploads.add(path.resolve())

    def drop(self, path: Path) -> None:
        """Remove an uploaded file that nobody has claimed."""
        with self._lock:
            known = any(path.resolve() in owner.uploads for owner in self._owners.values())
        if not known and self.holds(path):
            _remove(path)

    def touch(self, owner: str) -> None:
        """Say that a session is there."""
        with self._lock:
            if owner in self._owners:
                self._owner(owner)

    def leave(self, owner: str) -> None:
        """Say that a session has left: its files go, unless it comes back soon."""
        with self._lock:
            if owner in self._owners:
                self._owners[owner].left = self._clock()

    def publish(self, path: Path) -> str:
        """Let a file be downloaded, and return the secret word in its address."""
        word = secrets.token_urlsafe(16)
        with self._lock:
            self._published[word] = path
        return word

    def published(self, word: str) -> Path | None:
        """Return the file of a secret word, if there is one and the file is still there."""
        path = self._published.get(word)
        return path if path is not None and path.is_file() else None

    def holds(self, path: str | Path) -> bool:
        """Say whether a path leads into this folder, links followed."""
        try:
            return self.path in Path(path).resolve().parents
        except (OSError, ValueError, RuntimeError):
            return False

    def tidy(self) -> None:
        """Remove what belongs to sessions that left, files that are too old, and the oldest of too many."""
        now = self._clock()
        with self._lock:
            owners = list(self._owners.items())
        for name, owner in owners:
            if owner.left is not None and now - owner.left >= self.left_seconds:
                self._forget(name)
        with self._lock:
            there = [one for one in self._owners.values() if now - one.seen <= self.kept_seconds]
        self._remove_old(there)
        with self._lock:
            self._published = {word: path for word, path in self._published.items() if path.exists()}

    def _owner(self, name: str) -> _Owner:
        """Return an owner who gives a sign now; the lock is held."""
        owner = self._owners.setdefault(name, _Owner())
        owner.seen, owner.left = self._clock(), None
        return owner

    def _forget(self, name: str) -> None:
        with self._lock:
            owner = self._owners.pop(name, None)
            others = set().union(*(one.uploads for one in self._owners.values()))
        if owner is None:
            return
        for folder in owner.folders:
            shutil.rmtree(folder, ignore_errors=True)
        for path in owner.uploads - others:
            _remove(path)

    def _remove_old(self, there: list[_Owner]) -> None:
        found, now = [], self._clock()
        self._look(now)
        for path, ((written, size), changed) in self._seen.items():
            if path.is_file():
                found.append((changed, written, size, path))
        found.sort(key=lambda one: one[:2])
        total = sum(size for _, _, size, _ in found)
        for changed, _, size, path in found:
            young = now - changed <= self.kept_seconds or any(owner.has(path) for owner in there)
            if young and total <= self.kept_bytes:
                continue
            path.unlink(missing_ok=True)
            total -= size
        for folder in sorted((path for path in self._everything() if path.is_dir()), reverse=True):
            try:
                if folder in self._seen and now - self._seen[folder][1] > self.kept_seconds:
                    folder.rmdir()
            except OSError:
                continue  # it holds something, or is gone

    def _everything(self) -> Iterator[Path]:
        """Yield what is in the folder, however deep; uploads come and go meanwhile, which ``os.walk`` does not mind."""
        for place, folders, files in os.walk(self.path):
            for name in (*folders, *files):
                yield Path(place) / name

    def _look(self, now: float) -> None:
        """Take note of what is there, and of when it was first seen as it is now.

        The times that the system gives to files are those of a clock that somebody may set; here they only tell that a
        file has changed, and which of two that were first seen together is the older one.
        """
        seen: dict[Path, tuple[tuple[int, int], float]] = {}
        for path in self._everything():
            try:
                facts = path.stat()
            except OSError:
                continue  # somebody else removed it
            state = (facts.st_mtime_ns, facts.st_size)
            before = self._seen.get(path)
            seen[path] = before if before is not None and before[0] == state else (state, now)
        self._seen = seen

    def _keep_tidy(self) -> None:
        while not self._ended.wait(TIDY_SECONDS):
            self.tidy()


def _remove(path: Path) -> None:
    """Remove a file, and the folder that was made for it alone."""
    try:
        path.unlink(missing_ok=True)
        path.parent.rmdir()
    except OSError:
        return  # the folder holds more
