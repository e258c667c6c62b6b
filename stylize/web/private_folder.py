"""The folder that holds what users send and get: for this user of the machine alone, and gone at the end."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

KEPT_SECONDS = 3600.0
"""How long a file is kept after its last change."""

KEPT_BYTES = 4 * 10**9
"""Most bytes of all files together; beyond that the oldest go first."""

TIDY_SECONDS = 60.0
"""Time between two looks at the folder."""


class PrivateFolder:
    """A temporary folder that only its owner can read, emptied while it is used and removed at the end.

    Args:
        kept_seconds: Age from which files are removed.
        kept_bytes: Size of all files from which the oldest are removed.

    Attributes:
        path: The folder, an absolute path without links.
    """

    def __init__(self, kept_seconds: float = KEPT_SECONDS, kept_bytes: int = KEPT_BYTES) -> None:
        self.kept_seconds, self.kept_bytes = kept_seconds, kept_bytes
        self.path = Path(tempfile.mkdtemp(prefix="stylize-web-")).resolve()  # mkdtemp makes it for its owner alone
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

    def new_folder(self) -> Path:
        """Make a folder in it whose name cannot be guessed, and return its path."""
        path = self.path / secrets.token_hex(16)
        path.mkdir(mode=0o700)
        return path

    def holds(self, path: str | Path) -> bool:
        """Say whether a path leads into this folder, links followed."""
        try:
            return self.path in Path(path).resolve().parents
        except (OSError, ValueError, RuntimeError):
            return False

    def tidy(self) -> None:
        """Remove files that are too old, and the oldest ones while all together are too large."""
        found = []
        for path in self.path.rglob("*"):
            try:
                if path.is_file():
                    facts = path.stat()
                    found.append((facts.st_mtime, facts.st_size, path))
            except OSError:
                continue  # somebody else removed it
        found.sort(key=lambda one: one[0])
        total, now = sum(size for _, size, _ in found), time.time()
        for changed, size, path in found:
            if now - changed <= self.kept_seconds and total <= self.kept_bytes:
                continue
            path.unlink(missing_ok=True)
            total -= size
        for folder in sorted((path for path in self.path.rglob("*") if path.is_dir()), reverse=True):
            try:
                if now - folder.stat().st_mtime > self.kept_seconds:
                    folder.rmdir()
            except OSError:
                continue  # it holds something, or is gone

    def _keep_tidy(self) -> None:
        while not self._ended.wait(TIDY_SECONDS):
            self.tidy()
