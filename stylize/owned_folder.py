"""A folder of unfinished work beside its result, which one process owns while it works in it.

The file ``.lock`` in it is held by that process, and let go by the system however the process ends.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from stylize.errors import OutputError, RunInUse, printable
from stylize.images import reason_of, shown

LOCK = ".lock"


class OwnedFolder:
    """A folder that one process at a time works in.

    Args:
        path: The folder.
        work: What is done in it, for the one line to whoever comes second: ``painting clip.mp4``.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path, work: str) -> None:
        self.path = path
        self._work = work

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the folder while the block runs; it is made, and removed again if it is of no use afterwards.

        Raises:
            RunInUse: Another process owns it.
            OutputError: The folder cannot be made, or something in it is a link.
            StylizeError: What :meth:`check` raises.
        """
        fresh = not self.path.exists()
        with self.writing():
            self.path.mkdir(parents=True, exist_ok=True)
            refuse_links(self.path)
            lock = FileLock(self.path / LOCK)
            try:
                lock.acquire(blocking=False)
            except Timeout:  # an OSError itself, which must not be taken for one of the file system
                raise RunInUse(f"another process is {self._work}; wait for it, stop it, or give another -o") from None
            except OSError:
                if fresh:
                    with suppress(OSError):
                        self.path.rmdir()
                raise
        try:
            for path in self.abandoned():
                with suppress(OSError):
                    path.unlink()
            self.check()
            yield
        finally:
            # While the lock is held: once it is free, another process may begin.
            self.tidy(fresh)
            lock.release()

    def check(self) -> None:
        """Refuse to begin, by raising; called when the folder is owned, as it may have changed until then."""

    def abandoned(self) -> list[Path]:
        """Return the files that a process that was killed in this folder left half-written, under temporary names."""
        return [path for pattern in (".*.tmp", "*/.*.tmp") for path in self.path.glob(pattern) if path.is_file()]

    def tidy(self, fresh: bool) -> None:
        """Remove what is of no use, before the folder is let go.

        Args:
            fresh: Whether the folder was made for this work.
        """
        if fresh and {path.name for path in self.path.glob("*")} <= {LOCK}:
            self.remove()

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn an error of the file system into an :class:`OutputError` that names the folder."""
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write to {shown(self.path)}: {reason_of(error)}") from error


def refuse_links(folder: Path) -> None:
    """Refuse a folder of unfinished work in which something is a link: no run makes one, and what is appended to it, or
    locked, would be a file elsewhere.

    Raises:
        OutputError: There is a link.
    """
    for place in (folder, folder / "samples"):
        links = [one for one in place.iterdir() if one.is_symlink()] if place.is_dir() else []
        if links:
            raise OutputError(f"{printable(str(links[0]))} is a link, which no run of stylize makes; remove {folder}")
