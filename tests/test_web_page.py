"""The page as it is served: what can be reached, and what a browser makes of it.

The browser needs the package ``playwright`` and a Chromium, as in ``test_comparison_report_browser``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, save_photo, tiny_collection
from tests.test_web_uploads import png_header

pytest.importorskip("gradio", reason="gradio is not installed (pip install 'stylize[web]')")

SECONDS = 180


class Server:
    """``stylize web`` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        collection = tiny_collection(folder / "tiny.safetensors")
        temporary = folder / "temporary"
        temporary.mkdir()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
        arguments = ["-m", "stylize", "web", "--no-browser", "--port", "0", "--collection", str(collection)]
        arguments += ["--device", "cpu", "--max-megabytes", "2"]
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

    def end(self) -> int:
        """End it as a service manager does, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("web"))
    yield made
    status = made.end()
    # Nothing is left: no upload, no folder of Gradio's, neither in the temporary nor in the working folder.
    assert status == 0, made.log.read_text(encoding="utf-8")
    assert list(made.temporary.iterdir()) == []
    assert list(made.folder.iterdir()) == []


def test_no_file_of_the_machine_is_served(server):
    assert server.ask("")[0] == 200
    paths = ["/etc/passwd", str(ROOT / "setup.cfg"), str(ROOT / "examples" / "photos" / "coffee.jpg"), "setup.cfg"]
    for path in paths:
        for asked in (f"gradio_api/file={path}", f"file={path}", f"gradio_api/file/{path}", f"static/..{path}"):
            status, body = server.ask(urllib.parse.quote(asked, safe="/=."))
            assert status in (403, 404), asked
            assert b"root:" not in body and b"[metadata]" not in body


def test_the_page_holds_no_address_but_those_that_are_never_asked_for(server):
    page = server.ask("")[1].decode("utf-8")
    loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["'](https?:)?//([^"'/]+)""", page)
    assert [host for _, host in loaded if not host.startswith("127.0.0.1")] == []
    config = json.loads(server.ask("config")[1])
    assert config["analytics_enabled"] is False


def test_uploads_are_bounded_and_stay_in_the_private_folder(server, tmp_path):
    status, body = server.upload("fine.jpg", save_photo(tmp_path / "fine.png").read_bytes())
    stored = Path(json.loads(body)[0])
    assert status == 200 and stored.is_file() and server.temporary in stored.parents
    private = server.temporary / stored.relative_to(server.temporary).parts[0]
    assert private.stat().st_mode & 0o077 == 0
    before = sum(path.is_file() for path in server.temporary.rglob("*"))
    status, body = server.upload("large.jpg", bytes(3_000_000))
    assert status == 413 and b"2 MB" in body
    assert sum(path.is_file() for path in server.temporary.rglob("*")) == before
    name = json.loads(server.upload("../../../escape.jpg", b"x")[1])[0]
    assert private in Path(name).resolve().parents


def test_a_request_cannot_name_a_file_of_the_machine(server):
    config = json.loads(server.ask("config")[1])
    files = {one["id"] for one in config["components"] if one["props"].get("elem_id") == "upload"}
    function = next(one for one in config["dependencies"] if files & set(one["inputs"]) and one["queue"] is not False)
    upload = {"path": "/etc/passwd", "orig_name": "a.jpg", "meta": {"_type": "gradio.FileData"}}
    data = {"data": [upload], "fn_index": function["id"], "session_hash": "test"}
    joined = server.ask("gradio_api/queue/join", json.dumps(data).encode(), **{"Content-Type": "application/json"})
    assert joined[0] == 200
    with urllib.request.urlopen(f"{server.address}gradio_api/queue/data?session_hash=test", timeout=SECONDS) as stream:
        for line in stream:
            if b"process_completed" in line:
                break
    assert json.loads(line.removeprefix(b"data: "))["success"] is False
    assert b"root:" not in line
    direct = server.ask("gradio_api/run/predict", json.dumps(data).encode(), **{"Content-Type": "application/json"})
    assert direct[0] in (401, 404)


# The browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from tests.test_comparison_report_browser import find_chromium

    # Chromium refuses its sandbox to root, as whom containers run.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=find_chromium(player.chromium.executable_path), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """Open the page; afterwards nothing may have been asked of anybody else, and the console has no errors."""
    errors: list[str] = []
    asked: list[str] = []
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(SECONDS * 1000)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.address)
    page.wait_for_selector("#result .caption")
    yield page
    page.close()
    assert errors == []
    assert [one for one in asked if not one.startswith((server.address, "data:", "blob:"))] == []


def wait_for(page: Any, place: str, words: str) -> None:
    page.wait_for_function(
        "([place, words]) => document.querySelector(place)?.innerText.includes(words)", arg=[place, words]
    )


def test_a_photo_is_uploaded_painted_and_kept(page, tmp_path):
    photo = save_photo(tmp_path / "my-photo.png", 90, 60)
    page.set_input_files("#upload input[type=file]", str(photo))
    wait_for(page, "#result", "My photo · Starry night")
    page.locator("#styles button.thumbnail-item").nth(1).click()
    wait_for(page, "#result", "My photo · Second")
    page.locator("#mixing input").check()
    page.locator("#styles button.thumbnail-item").nth(0).click()
    wait_for(page, "#result", "50% Second + 50% First")
    page.locator("#full-size").click()
    wait_for(page, "#full-size-state", "Ready")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename.startswith("my-photo-")


def test_the_split_moves_by_keyboard_and_keeps_its_place(page):
    split = page.locator("#result .split input")
    split.focus()
    page.keyboard.press("ArrowRight")
    place = "document.querySelector('#result .split').style.getPropertyValue('--at')"
    assert split.input_value() == "51" and page.evaluate(place) == "51%"
    page.locator("#styles button.thumbnail-item").nth(1).focus()
    assert page.locator("#styles button.thumbnail-item").nth(1).get_attribute("aria-label") == "Second"
    page.keyboard.press("Enter")
    wait_for(page, "#result", "Second")
    page.wait_for_function(f"{place} == '51%'")


def test_the_contrast_slider_repaints_with_both_norms(page):
    page.get_by_role("tab", name="Why instance norm").click()
    wait_for(page, "#finding", "Move a slider")
    slider = page.locator("#contrast input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    wait_for(page, "#finding", "batch norm by")
    page.wait_for_function("!document.querySelector('#lesson-batch').innerText.includes('…')")
    numbers = {norm: page.inner_text(f"#lesson-{norm}") for norm in ("instance", "batch")}
    moved = {norm: float(re.search(r"changed by ([\d.]+)", text)[1]) for norm, text in numbers.items()}
    assert moved["batch"] > 4 * moved["instance"]
    assert all(re.search(r"style distance \d\.\d{3}", text) for text in numbers.values())


def test_a_bad_upload_says_why_and_leaves_the_photo(page, tmp_path):
    page.set_input_files("#upload input[type=file]", str(png_header(tmp_path / "huge.png", 20_000, 10_000)))
    message = page.locator(".toast-body").first
    message.wait_for()
    assert "200 megapixels" in message.inner_text() and str(tmp_path) not in message.inner_text()
    assert page.locator("#result .split").is_visible()


@pytest.mark.parametrize("width", [360, 768])
def test_a_phone_does_not_scroll_sideways(page, width):
    page.set_viewport_size({"width": width, "height": 740})
    for tab in ("Paint", "Why instance norm", "New style"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
