"""The page as it is served: what can be reached, what is kept, and how it ends."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, save_photo
from tests.web_helpers import SECONDS, Server

pytest.importorskip("gradio", reason="gradio is not installed (pip install 'stylize[web]')")


@pytest.fixture
def server(web_server: Server) -> Server:
    return web_server


def test_no_file_of_the_machine_is_served(server):
    assert server.ask("")[0] == 200
    weights = ROOT / "weights" / "README.md"
    paths = ["/etc/passwd", str(ROOT / "setup.cfg"), str(weights), str(server.collection), "setup.cfg", "weights"]
    ups = ["../../../../../../etc/passwd", "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd"]
    ups += ["%252fetc%252fpasswd", "..%252f..%252fetc%252fpasswd", "..\\..\\etc\\passwd", "//etc/passwd"]
    for path in [urllib.parse.quote(one) for one in paths] + ups:
        for before in ("gradio_api/file=", "file=", "gradio_api/file/", "static/", "static/..", "assets/", "kept/", ""):
            status, body = server.ask(before + path.replace("\\", "%5c"))
            assert status in (400, 403, 404, 405), before + path
            assert b"root:" not in body and b"[metadata]" not in body and b"Networks" not in body


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


def test_it_ends_in_the_middle_of_work(tmp_path):
    """A signal while a painting is learned, and a second user waits, ends the process and leaves nothing."""
    server = Server(tmp_path)
    with ExitStack() as open_streams:
        try:
            painting = save_photo(tmp_path / "cloth.png", 64, 64)
            path = json.loads(server.upload("cloth.png", painting.read_bytes())[1])[0]
            config = json.loads(server.ask("config")[1])
            ids = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
            sent = {"path": path, "orig_name": "cloth.png", "meta": {"_type": "gradio.FileData"}}
            for session, words in (("first", b"Step "), ("second", b"is before you")):
                ask_for(server, session, function(config, [ids["painting"], "upload"]), [sent])
                with closing(listen(server, session)) as stream:
                    assert b'"success":true' in stream.read().replace(b" ", b"")
                ask_for(server, session, function(config, [ids["learn"], "click"]), [None, 1000, 64, None])
                stream = open_streams.enter_context(closing(listen(server, session)))
                assert any(words in line for line in stream), session
            begun = time.monotonic()
        finally:
            status = server.end()
    assert status == 0, server.log.read_text(encoding="utf-8")
    assert time.monotonic() - begun < 30
    assert server.left_behind() == []


def function(config: dict, target: list) -> int:
    """Return the number of the first function that an event calls."""
    return next(one["id"] for one in config["dependencies"] if target in [list(two) for two in one["targets"]])


def ask_for(server: Server, session: str, number: int, data: list) -> None:
    """Ask for a function as the page does."""
    body = json.dumps({"data": data, "fn_index": number, "session_hash": session}).encode()
    status, said = server.ask("gradio_api/queue/join", body, **{"Content-Type": "application/json"})
    assert status == 200, said


def listen(server: Server, session: str) -> Any:
    """Return the stream of what a session is told."""
    return urllib.request.urlopen(f"{server.address}gradio_api/queue/data?session_hash={session}", timeout=SECONDS)
