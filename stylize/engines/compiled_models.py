"""Compiled models kept on disk, so that the next process starts at once. Nothing here is needed: without a folder that
can be written, models are compiled anew.

A file holds one line of JSON (facts about the model, and the SHA-256 of what follows) and then the model as its engine
exported it. One that was cut off or changed is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from stylize.checkpoints import replacing
from stylize.errors import OutputError

SUFFIX = ".compiled"

KEPT = 64
"""Models that are kept; beyond that the ones unused for longest go. A model of the preset ``fast`` has 2 MB."""

LONGEST_LINE = 65536
"""Bytes; a longer first line is not one of ours."""


def user_cache() -> Path:
    """Return the folder for what programs of this user may keep and lose: ``~/.cache/stylize``, or where the system or
    ``XDG_CACHE_HOME`` says. It is not made here.

    References: XDG base directory specification; Known folders of Windows; File system basics of macOS.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin" and not os.environ.get("XDG_CACHE_HOME"):
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        # The specification: relative paths are to be ignored.
        base = base if os.path.isabs(base) else "~/.cache"
    return Path(os.path.expanduser(base)) / "stylize"


def read(folder: Path, key: str) -> tuple[dict[str, Any], bytes] | None:
    """Return the facts and the content of a kept model; None where there is none that is whole.

    Args:
        folder: The folder.
        key: The name under which it was kept.
    """
    path = folder / (key + SUFFIX)
    try:
        with open(path, "rb") as file:
            line = file.readline(LONGEST_LINE)
            content = file.read()
        facts = json.loads(line)
        if facts.pop("sha256") != hashlib.sha256(content).hexdigest():
            return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # It was used; see KEPT.
    return facts, content


def write(folder: Path, key: str, facts: dict[str, Any], content: bytes) -> bool:
    """Keep a model; return whether that was possible.

    Args:
        folder: The folder; made, for this user alone, where it is missing.
        key: Its name.
        facts: Plain JSON values.
        content: What its engine exported.
    """
    line = json.dumps({"sha256": hashlib.sha256(content).hexdigest(), **facts}).encode() + b"\n"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(folder / (key + SUFFIX)) as temporary:
            temporary.write_bytes(line + content)
    except (OSError, OutputError):
        return False
    _drop_old(folder)
    return True


def _drop_old(folder: Path) -> None:
    # Another process may be dropping the same files.
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*" + SUFFIX), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[KEPT:]:
            path.unlink()
