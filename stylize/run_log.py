"""The log of a training run: one JSON object per line, readable while the run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stylize.checkpoints import replacing


class RunLog:
    """A file of JSON lines.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return the rows, up to the first that is damaged: the last line of a run that was killed while writing."""
        rows: list[dict[str, Any]] = []
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    break
                if not isinstance(row, dict):
                    break
                rows.append(row)
        return rows

    def replace(self, rows: list[dict[str, Any]]) -> None:
        """Write the file anew, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def append(self, row: dict[str, Any]) -> None:
        """Add a row.

        Raises:
            OSError: It cannot be written.
        """
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
