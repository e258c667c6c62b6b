"""Where the files that are shipped with the package lie: ``weights/`` and ``examples/``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from stylize.errors import StylizeError


def _data_directory(package: str, beside: str) -> Path:
    """Return the folder of a data package, or the one beside ``stylize`` in a checkout that is not installed."""
    specification = importlib.util.find_spec(package)
    home = Path(__file__).resolve().parent.parent
    places = [Path(place) for place in (specification.submodule_search_locations or ())] if specification else []
    # Those of another stylize that is installed for editing are found by that name too, and are not ours.
    places = [place for place in places if place.resolve().is_relative_to(home)]
    places.append(home / beside)
    for place in places:
        if place.is_dir():
            return place
    raise StylizeError(f"the folder '{beside}' that is shipped with stylize is missing; install stylize again")


def weights_directory() -> Path:
    """Return the folder of the shipped networks and of the loss network.

    Raises:
        StylizeError: The installation is incomplete.
    """
    return _data_directory("stylize.weights", "weights")


def examples_directory() -> Path:
    """Return the folder of the example photos and paintings.

    Raises:
        StylizeError: The installation is incomplete.
    """
    return _data_directory("stylize.examples", "examples")
