"""Make ``docs/reliability.md``: what was done to stylize, how often, and what was lost.

python benchmarks/reliability.py            write it
python benchmarks/reliability.py --check    exit with 1 if the file differs from what would be written

The rows come from files in ``benchmarks/results``:

    fuzzing.json      written by ``python -m tests.slow.fuzz_pictures`` and ``tests.slow.fuzz_weights``
    faults-*.json     any other script: {"command", "date", "rows": [{"fault", "tried", "lost", "means"}, ...]}

``fault`` is what was done, ``tried`` how often, ``lost`` how often something was lost, and ``means`` what counts as
lost.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record

OUTPUT = record.ROOT / "docs" / "reliability.md"

FUZZED = {
    "pictures": "A changed picture of any kind, by three doors",
    "weights": "A changed weights, collection, style or state file, by five doors",
}
"""What each fuzzer does, by its name."""

FUZZED_MEANS = "anything but a result within the limits or one clear error; a crash, a hang or 3 GB of memory too"

KEYS = ("fault", "tried", "lost", "means")


def fuzzing_rows(results: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the fuzzers found, as rows."""
    return [
        {
            "fault": FUZZED[one["target"]],
            "tried": one["executions"],
            "lost": len(one["findings"]),
            "means": FUZZED_MEANS,
            "made": f"`python -m tests.slow.fuzz_{one['target']} --seconds {one['asked_seconds']}`, {one['date']}, "
            f"commit `{one['commit']}`; {one['let_in']:,} were let in and {one['refused']:,} refused, "
            f"{one['corpus']:,} files reached new code",
        }
        for one in results
    ]


def collect_rows(folder: Path = record.RESULTS) -> list[dict[str, Any]]:
    """Return every row there is.

    Raises:
        ValueError: A file has rows without what they need.
    """
    rows = []
    if (folder / "fuzzing.json").exists():
        rows += fuzzing_rows(json.loads((folder / "fuzzing.json").read_text(encoding="utf-8")))
    for path in sorted(folder.glob("faults-*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for row in document["rows"]:
            if missing := set(KEYS) - set(row):
                raise ValueError(f"{path.name}: a row without {', '.join(sorted(missing))}")
            rows.append({**row, "made": f"`{document['command']}`, {document['date']}"})
    return rows


def page(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown page."""
    lines = [(row["fault"], f"{row['tried']:,}", f"{row['lost']:,}", number) for number, row in enumerate(rows, 1)]
    table = record.table(("fault", "times tried", "lost", "note"), lines, numeric=(1, 2, 3))
    notes = "\n".join(f"{number}. Lost would be: {row['means']}. {row['made']}." for number, row in enumerate(rows, 1))
    return f"""# Reliability

What was done to stylize on purpose, how often, and what was lost. Made by `python benchmarks/reliability.py` from the
results of the scripts that did it; each can be run again.

{table}

{notes}

How files from strangers are treated, and what is not promised, stands in [SECURITY.md](../SECURITY.md).
"""


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the file would be written differently")
    wanted = page(collect_rows())
    if parser.parse_args().check:
        if not OUTPUT.exists() or OUTPUT.read_text(encoding="utf-8") != wanted:
            sys.exit("docs/reliability.md is out of date: run python benchmarks/reliability.py")
        return
    record.write_text(OUTPUT, wanted)
    print(f"wrote {OUTPUT.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
