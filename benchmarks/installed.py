"""What is installed here, and what it needs: read from what the packages say of themselves."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def version_of(name: str) -> str | None:
    """Return the version that is installed, without what a build calls itself (``+cpu``); None for none."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def all_needed(asked: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the names of all packages that some requirements lead to here, and of those that are missing, in order.

    Args:
        asked: Requirements as setup.cfg writes them, such as ``torch>=2.4`` or ``name[extra]``.
    """
    waiting = [(Requirement(text), "") for text in asked]
    seen: set[tuple[str, str]] = set()
    found, missing = set(), set()
    while waiting:
        requirement, wanted_for = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": wanted_for}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            needs = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        except importlib.metadata.PackageNotFoundError:
            missing.add(name)
            continue
        found.add(name)
        for extra in ("", *requirement.extras):  # with an extra come the needs of the plain package, too
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(need, extra) for need in needs]
    return sorted(found), sorted(missing)
