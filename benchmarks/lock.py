"""Make ``requirements-tested.txt``: the version of everything that is in an environment in which the tests were run.

    ENVIRONMENT/bin/python benchmarks/lock.py            write it from the environment of that Python
    ENVIRONMENT/bin/python benchmarks/lock.py --check    exit with 1 where that environment has other versions

The environment has stylize's extra ``dev``, or what it brings: ``pip install ".[dev]"``. To install with these
versions::

    pip install -c requirements-tested.txt ".[test]"
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from benchmarks.installed import all_needed, version_of
from benchmarks.versions import required

OUTPUT = record.ROOT / "requirements-tested.txt"


def lines(needed: list[str]) -> list[str]:
    """Return a line for each package."""
    return [f"{name}=={version_of(name)}" for name in needed]


def text(needed: list[str]) -> str:
    """Return the file."""
    python = ".".join(platform.python_version_tuple()[:2])
    system = f"{platform.system()} ({platform.machine()})"
    return "\n".join(
        [
            "# The version of everything that the tests were run with; made by: python benchmarks/lock.py",
            f"# On Python {python} and {system}; another one may need others, or have no build of these.",
            '# To install with these versions: pip install -c requirements-tested.txt ".[test]"',
            *lines(needed),
            "",
        ]
    )


def main() -> None:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 where this environment has other versions")
    given = parser.parse_args()
    needed, missing = all_needed([*required(), *required(extra="dev")])
    if missing:
        sys.exit(f"not installed here: {', '.join(missing)}; pip install '.[dev]' brings them")
    if given.check:
        known = set(OUTPUT.read_text(encoding="utf-8").splitlines()) if OUTPUT.exists() else set()
        others = [line for line in lines(needed) if line not in known]
        if others:
            sys.exit(f"not in {OUTPUT.name}: {', '.join(others)}")
        return
    record.write_text(OUTPUT, text(needed))
    print(f"wrote {OUTPUT.name}: {len(needed)} packages")


if __name__ == "__main__":
    main()
