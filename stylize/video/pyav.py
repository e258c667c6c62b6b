"""The door to PyAV, which is optional: nothing of it is imported before a clip is opened."""

from __future__ import annotations

import importlib
from types import ModuleType

from stylize.errors import InputError

EXTRA = "pip install 'stylize[video]'"


def import_av() -> ModuleType:
    """Return the package ``av``.

    Raises:
        InputError: It is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise InputError(f"reading and writing clips needs PyAV ({error}): {EXTRA}") from None
