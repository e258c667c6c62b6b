"""Results of the fault scripts, as ``benchmarks/reliability.py`` reads them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record


def save_rows(name: str, rows: Sequence[Mapping[str, Any]], output: Path | None = None, **more: Any) -> Path:
    """Write ``faults-NAME.json`` and return its path.

    Args:
        name: Of the script, a module of this package.
        rows: Each with ``fault``, ``tried``, ``lost`` and ``means``.
        output: Another file to write.
        more: What else was measured.
    """
    facts = record.facts()
    # Run as a module: its path says nothing to a reader.
    given = [record.shown_argument(argument) for argument in sys.argv[1:]]
    facts["command"] = " ".join(["python", "-m", f"tests.slow.{name}", *given])
    path = output or record.RESULTS / f"faults-{name.replace('_', '-')}.json"
    document = {**facts, "rows": [dict(row) for row in rows], **more}
    record.write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path
