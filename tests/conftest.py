"""What every test gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests.web_helpers import chromium, web_server

__all__ = ["chromium", "web_server"]

# How long an example takes says something about the machine, and nothing about the code. The same examples each time:
# whoever runs the tests learns of their own change, and not of an example that nobody met before. To look for such
# examples: pytest --hypothesis-profile=explore, and tests/slow.
settings.register_profile("stylize", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, derandomize=False, max_examples=1000)
settings.load_profile("stylize")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the engines compile out of the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("LOCALAPPDATA", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def same_number_of_threads() -> Iterator[None]:
    """Undo what a test does to torch's threads: sums are split among them, so results depend on their number."""
    threads = torch.get_num_threads()
    yield
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
