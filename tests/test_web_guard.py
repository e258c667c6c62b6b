"""The guard before the page: routes, sizes, files, names."""

from __future__ import annotations

import asyncio
import json

import pytest

from stylize.web.guard import REQUEST_BYTES, UPLOAD_SPARE, Guard
from stylize.web.private_folder import PrivateFolder

HOSTS = frozenset(("127.0.0.1", "localhost", "::1"))


async def page(scope, receive, send):
    """Read the whole body and answer with its length, as an application does that stores it."""
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("gone")
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


async def careless_page(scope, receive, send):
    """Go on after the sender has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"stored"})


def ask(folder, path, method="GET", headers=(), bodies=(b"",), application=page, hosts=None, limit=1000):
    """Return the status, headers and body of the answer."""
    sent = []
    waiting = [
        {"type": "http.request", "body": body, "more_body": n + 1 < len(bodies)} for n, body in enumerate(bodies)
    ]

    async def receive():
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [(b"host", b"127.0.0.1:7860"), *headers]}
    guard = Guard(application, folder, limit, hosts)
    try:
        asyncio.run(guard(scope, receive, send))
    except ConnectionError:
        return None, {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def folder():
    with PrivateFolder() as made:
        yield made


def test_what_the_page_needs_is_let_through_with_a_policy(folder):
    for path in ("/", "/config", "/assets/index.js", "/gradio_api/queue/join", "/gradio_api/heartbeat/abc"):
        status, headers, _ = ask(folder, path)
        assert status == 200, path
        assert b"default-src 'self'" in headers[b"content-security-policy"]
        assert b"http" not in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://localhost/",
        "/gradio_api/call/repaint",
        "/gradio_api/component_server",
        "/gradio_api/custom_component/1/client/component/x.js",
        "/gradio_api/vibe-code",
        "/gradio_api/dev/reload",
        "/gradio_api/file/etc/passwd",
        "/monitoring",
        "/docs",
        "/openapi.json",
        "/assets/../../routes.py",
        "/assets/%2e%2e/routes.py",
        "/static/..\\x",
    ],
)
def test_nothing_else_is(folder, path):
    assert ask(folder, path)[0] == 404


def test_files_of_the_folder_alone_are_served(folder):
    inside = folder.new_folder() / "a.jpg"
    inside.write_bytes(b"x")
    (folder.path / "link").symlink_to("/etc/passwd")
    assert ask(folder, f"/gradio_api/file={inside}")[0] == 200
    for path in ("/etc/passwd", __file__, "setup.cfg", folder.path / "link", f"{inside}/../../../../etc/passwd"):
        assert ask(folder, f"/gradio_api/file={path}")[0] == 404, path
    assert ask(folder, "/gradio_api/file=http://example.org/a.jpg")[0] == 404
    assert ask(folder, f"/gradio_api/file={inside}", method="POST")[0] == 404


def test_a_large_upload_is_refused_by_its_length(folder):
    headers = [(b"content-length", str(1001 + UPLOAD_SPARE).encode())]
    status, _, body = ask(folder, "/gradio_api/upload", "POST", headers, limit=1000)
    assert status == 413 and "larger than" in json.loads(body)["detail"]
    assert ask(folder, "/gradio_api/upload", "POST", bodies=[bytes(500)] * 3, limit=10_000)[2] == b"1500"


@pytest.mark.parametrize("application", [page, careless_page])
def test_an_upload_that_does_not_say_its_length_is_cut_off(folder, application):
    block = bytes(UPLOAD_SPARE // 2)
    status, _, body = ask(folder, "/gradio_api/upload", "POST", bodies=[block] * 4, application=application)
    assert status in (None, 413) and b"stored" not in body


@pytest.mark.parametrize(("kind", "status"), [(b"application/json", 200), (b"application/json; charset=utf-8", 200),
    (b"text/plain", 415), (b"multipart/form-data; boundary=x", 415), (b"", 415)])  # fmt: skip
def test_what_is_no_upload_is_json(folder, kind, status):
    headers = [(b"content-type", kind)]
    assert ask(folder, "/gradio_api/queue/join", "POST", headers, bodies=[b"\xff\xfe"])[0] == status
    assert ask(folder, "/gradio_api/upload", "POST", headers)[0] == 200  # Gradio looks at these itself


def test_other_requests_are_small(folder):
    headers = [(b"content-length", str(REQUEST_BYTES + 1).encode())]
    assert ask(folder, "/gradio_api/queue/join", "POST", headers)[0] == 413


@pytest.mark.parametrize(
    ("host", "status"),
    [(b"127.0.0.1:7860", 200), (b"localhost", 200), (b"[::1]:7860", 200), (b"evil.example:7860", 403), (b"", 403)],
)
def test_a_page_for_this_computer_answers_to_its_own_names_alone(folder, host, status):
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/", "method": "GET", "headers": [(b"host", host)]}
    asyncio.run(Guard(page, folder, 1000, HOSTS)(scope, receive, send))
    assert sent[0]["status"] == status


def test_a_published_file_is_sent_under_a_secret_word_alone(folder):
    pytest.importorskip("starlette")
    path = folder.new_folder("me") / "my photo.jpg"
    path.write_bytes(b"picture")
    word = folder.publish(path)
    assert ask_kept(folder, f"/kept/{word}") == (200, b"picture")
    for wrong in (f"/kept/{word}x", "/kept/", f"/kept/{path}", f"/kept/../{path.name}", f"/kept/{word}/../{path.name}"):
        assert ask_kept(folder, wrong)[0] == 404, wrong
    assert ask_kept(folder, f"/kept/{word}", "POST")[0] == 404
    assert ask_kept(folder, f"/kept/{word}", hosts=frozenset(("elsewhere",)))[0] == 403
    path.unlink()
    assert ask_kept(folder, f"/kept/{word}")[0] == 404


def ask_kept(folder, path, method="GET", hosts=HOSTS):
    sent = []

    async def receive():
        await asyncio.sleep(1)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [(b"host", b"127.0.0.1:7860")]}
    asyncio.run(Guard(page, folder, 1000, hosts)(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
