"""A small disk in memory (tmpfs), which can be full, read-only, or without room for another file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

DISK_MB = 96
PAGE = 4096
"""Bytes that a file takes at least."""


class Disk:
    """A small disk of its own.

    Args:
        path: Where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = path / "place"
        self.ballast = path / "ballast"
        self.mounted = False

    def mount(self, files: int) -> None:
        """Mount it anew, empty, with room for so many files.

        Raises:
            PermissionError: This user may not mount.
        """
        self.unmount()
        self.path.mkdir(parents=True, exist_ok=True)
        options = f"size={DISK_MB}m,nr_inodes={files}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)], capture_output=True, check=False
        )
        if done.returncode:
            raise PermissionError(done.stderr.decode(errors="replace").strip())
        self.mounted = True

    def unmount(self) -> None:
        """Unmount it."""
        if self.mounted:
            subprocess.run(["umount", str(self.path)], check=True)
            self.mounted = False

    def remount(self, how: str) -> None:
        """Let it be read only (``ro``) or written again (``rw``)."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True)

    def used(self) -> int:
        """Return the bytes that are taken."""
        facts = os.statvfs(self.path)
        return (facts.f_blocks - facts.f_bfree) * facts.f_frsize

    def leave(self, free: int) -> None:
        """Leave so many bytes free."""
        facts = os.statvfs(self.path)
        with open(self.ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(PAGE, facts.f_bfree * facts.f_frsize - free))

    def leave_names(self, free: int) -> None:
        """Let so many files be made."""
        self.ballast.mkdir()
        for number in range(max(0, os.statvfs(self.path).f_ffree - free)):
            (self.ballast / str(number)).touch()

    def free(self) -> None:
        """Make room again."""
        if self.ballast.is_dir():
            shutil.rmtree(self.ballast)
        else:
            self.ballast.unlink(missing_ok=True)
