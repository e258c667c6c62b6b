"""``stylize web`` in a process of its own, and a browser that opens it.

The browser needs the package ``playwright`` and a Chromium, as in ``test_comparison_report_browser``; without either
the tests that use it are skipped.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, tiny_collection

SECONDS = 180


class Server:
    """``stylize web`` in a process of its own, with a tiny collection, or with the shipped networks."""

    def __init__(self, folder: Path, *options: str, shipped: bool = False) -> None:
        self.collection = None if shipped else tiny_collection(folder / "tiny.safetensors")
        temporary = folder / "temporary"
        temporary.mkdir()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
        arguments = ["-m", "stylize", "web", "--no-browser", "--port", "0", "--device", "cpu", "--max-megabytes", "2"]
        if self.collection is not None:
            environment["OMP_NUM_THREADS"] = "1"
            arguments += ["--collection", str(self.collection)]
        arguments += options
        self.temporary = temporary
        self.folder = folder / "working"
        self.folder.mkdir()
        self.log = folder / "log.txt"
        with open(self.log, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line + self.log.read_text(encoding="utf-8")
        self.address = found.group()

    def ask(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        request = urllib.request.Request(self.address + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def upload(self, name: str, content: bytes) -> tuple[int, bytes]:
        """Send a file as the page does."""
        border = "border"
        head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + content + f"\r\n--{border}--\r\n".encode()
        return self.ask("gradio_api/upload", body, **{"Content-Type": f"multipart/form-data; boundary={border}"})

    def stored(self, name: str) -> list[Path]:
        """Return the files of a name that the server keeps."""
        return list(self.temporary.rglob(name))

    def left_behind(self) -> list[Path]:
        """Return what is in the temporary and in the working folder, but for a folder that torch makes by itself."""
        found = [*self.temporary.iterdir(), *self.folder.iterdir()]
        return [path for path in found if not path.name.startswith("torchinductor_")]

    def end(self) -> int:
        """End it as a service manager does, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture(scope="session")
def web_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start the page once for all tests; at the end nothing may be left of it."""
    made = Server(tmp_path_factory.mktemp("web"))
    yield made
    status = made.end()
    # No upload, no folder of Gradio's, neither in the temporary nor in the working folder; and no complaint.
    log = made.log.read_text(encoding="utf-8")
    assert status == 0, log
    assert "Traceback" not in log, log
    assert made.left_behind() == []


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Start a browser, for the tests of a module only: Playwright keeps an event loop running meanwhile, beside which
    the asyncio.run of other tests refuses to work."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from tests.test_comparison_report_browser import find_chromium

    # Chromium refuses its sandbox to root, as whom containers run.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=find_chromium(player.chromium.executable_path), args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, server: Server, allowed: tuple[str, ...] = (), **options: Any) -> Iterator[Any]:
    """Open the page as a user of its own.

    Afterwards nothing may have been asked of anybody else, and the console has no errors but those with a word of
    ``allowed`` in them.
    """
    errors: list[str] = []
    asked: list[str] = []
    context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.address)
    page.wait_for_selector("#result .caption")
    yield page
    context.close()
    assert [one for one in errors if not any(word in one for word in allowed)] == []
    assert [one for one in asked if not one.startswith((server.address, "data:", "blob:"))] == []


def wait_for(page: Any, place: str, words: str) -> None:
    """Wait until a place of the page says something."""
    page.wait_for_function(
        "([place, words]) => document.querySelector(place)?.innerText.includes(words)", arg=[place, words]
    )


def set_slider(page: Any, place: str, value: float) -> None:
    """Type a number into the field of a slider."""
    field = page.locator(f"{place} input[type=number]")
    field.fill(str(value))
    field.press("Enter")
