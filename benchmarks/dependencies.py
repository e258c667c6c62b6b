"""Make ``docs/dependencies.md``: what stylize needs, under which licences, and why.

python benchmarks/dependencies.py            write it, from setup.cfg and from the packages that are installed here
"""

from __future__ import annotations

import argparse
import configparser
import importlib.metadata
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from packaging.utils import canonicalize_name

from benchmarks import record
from benchmarks.installed import all_needed

OUTPUT = record.ROOT / "docs" / "dependencies.md"

ALWAYS = "always"
"""What stands in the place of an extra for a package that is always installed."""

TOOLS = ("test", "dev")
"""Extras that a user does not install."""

WHY = {
    "av": "reads and writes video files; FFmpeg is inside its wheels",
    "build": "makes the wheel",
    "click": "the command line",
    "filelock": "one process for each training run or clip",
    "fsspec": "buckets and other places behind URLs",
    "gradio": "the web page",
    "hypothesis": "property-based tests and fuzzing",
    "matplotlib": "figures of comparisons and benchmarks",
    "nncf": "quantises networks to 8-bit whole numbers",
    "numpy": "arrays between pictures and tensors",
    "onnx": "writes and checks ONNX files",
    "onnxruntime": "runs ONNX files",
    "opencv-python-headless": "optical flow for videos, and cameras",
    "openvino": "a faster engine for processors of Intel and AMD",
    "pillow": "reads and writes pictures",
    "playwright": "opens a report in a browser, in a test",
    "pre-commit": "checks before a commit",
    "pyarrow": "hands the names of photos to Ray",
    "pytest": "the tests",
    "ray": "gives many photos to the workers of a machine or a cluster",
    "ruff": "style of the code",
    "safetensors": "reads and writes weights, without running code",
    "setuptools": "builds the package",
    "torch": "networks and training",
    "torchvision": "the official VGG19, where it is asked for",
    "tqdm": "progress bars",
    "wheel": "builds the package",
}
"""What each package is for, by name."""

STATED = {"build": "MIT", "playwright": "Apache-2.0", "pre-commit": "MIT", "wheel": "MIT"}
"""Licences that projects state on their pages, for packages that need not be installed where this is made."""

NOT_INSTALLED = "not installed where this was made"

LONGEST_LICENCE = 90


@dataclass
class Dependency:
    """A package that setup.cfg names.

    Attributes:
        name: Of the package.
        accepted: Versions that setup.cfg accepts, such as ``>=10.1``; empty for any.
        extras: Extras that it is in, or :data:`ALWAYS`.
    """

    name: str
    accepted: str
    extras: list[str] = field(default_factory=list)


def read_setup(path: Path = record.ROOT / "setup.cfg") -> list[Dependency]:
    """Return what setup.cfg names, by name."""
    setup = configparser.ConfigParser()
    setup.read(path, encoding="utf-8")
    lists = {ALWAYS: setup["options"]["install_requires"], **setup["options.extras_require"]}
    found: dict[str, Dependency] = {}
    for extra, text in lists.items():
        for line in filter(None, map(str.strip, text.splitlines())):
            name, accepted = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[\w,]+\])?\s*(.*)", line).groups()
            found.setdefault(name, Dependency(name, accepted)).extras.append(extra)
    return [found[name] for name in sorted(found)]


def version_of(name: str) -> str:
    """Return the version that is installed here."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def licence_of(name: str) -> str:
    """Return the licence that an installed package states."""
    try:
        facts = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{STATED[name]} (as its project states)" if name in STATED else "-"
    classes = [one.rpartition(" :: ")[2] for one in facts.get_all("Classifier") or [] if one.startswith("License ::")]
    lines = (facts.get("License") or "").strip().splitlines()
    text = facts.get("License-Expression") or "; ".join(classes) or (lines[0] if lines else "") or "not stated"
    return text if len(text) <= LONGEST_LICENCE else f"{text[:LONGEST_LICENCE].rstrip()}..."


def brought_along(names: Iterable[str]) -> list[str]:
    """Return what packages need that is installed here, and what those need, without themselves, by name."""
    asked = list(names)
    found, _ = all_needed(asked)
    return sorted(set(found) - {canonicalize_name(name) for name in asked})


def ffmpeg_licence() -> str:
    """Return the licence of the FFmpeg inside PyAV, as it states it itself."""
    try:
        from av import _core
    except ImportError:
        return NOT_INSTALLED
    return str(_core.library_meta["libavcodec"]["license"])


def page(dependencies: list[Dependency]) -> str:
    """Return the Markdown page."""
    rows = [
        (
            one.name,
            one.accepted or "any",
            version_of(one.name),
            licence_of(one.name),
            ", ".join(one.extras),
            WHY[one.name],
        )
        for one in dependencies
    ]
    for_users = [row for row, one in zip(rows, dependencies, strict=True) if set(one.extras) - set(TOOLS)]
    for_tools = [row for row, one in zip(rows, dependencies, strict=True) if not set(one.extras) - set(TOOLS)]
    names = [one.name for one in dependencies if set(one.extras) - set(TOOLS)]
    along = [(name, version_of(name), licence_of(name)) for name in brought_along(names)]
    header = ("package", "accepted", "tried", "licence", "installed with", "what for")
    return f"""# What stylize needs

Made by `python benchmarks/dependencies.py`, from `setup.cfg` and from what the packages say of themselves, on Python
{sys.version.split()[0]}. *Tried* is the version that the tests ran with; *installed with* is the extra that installs it
(`pip install 'stylize[video]'`), or *{ALWAYS}*.

{record.table(header, for_users)}

The FFmpeg inside the wheels of `av` is under the {ffmpeg_licence()}. stylize itself is under the MIT licence.

Two packages are used where they are found and installed by nothing: `pillow-heif` (BSD-3-Clause) reads HEIC
photos, `tensorboard` (Apache-2.0) shows a training run.

## To work on stylize

{record.table(header, for_tools)}

`atheris` (Apache-2.0) guides the fuzzers in `tests/slow` and is installed by hand.

## What these bring along

With the packages of the first table, in the environment where this was made; other systems get others, and a build of
PyTorch for processors alone brings none of NVIDIA's.

{record.table(("package", "tried", "licence"), along)}
"""


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    record.write_text(OUTPUT, page(read_setup()))
    print(f"wrote {OUTPUT.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
