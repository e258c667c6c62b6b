"""What stands before the page: only the routes that it uses, requests of a bounded size, files of one folder.

Gradio has more routes than this page needs (proxies, an interface for programs, developer tools); they do not exist
here. Every answer carries a content security policy, so that the browser itself refuses to ask anybody else.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, unquote

from stylize.web.listeners import Listeners
from stylize.web.private_folder import PrivateFolder

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"

PAGES = frozenset(("/", "/config", "/config/", "/favicon.ico", "/theme.css", "/robots.txt", "/manifest.json"))
PAGE_FOLDERS = ("/assets/", "/static/")
CALLS = frozenset(
    f"{API}{path}"
    for path in (
        "/app_id",
        "/cancel",
        "/info",
        "/queue/data",
        "/queue/join",
        "/reset",
        "/run/predict",
        "/startup-events",
        "/theme.css",
        "/upload",
        "/upload_progress",
        "/user",
    )
)
FILES = f"{API}/file="
HEARTBEAT = f"{API}/heartbeat/"
KEPT = "/kept/"
"""Pictures and style files to download: after it comes a secret word, and never a path."""

UPLOAD = f"{API}/upload"
ANSWERS = f"{API}/queue/data"
"""Where a session listens to the answers."""

REQUEST_BYTES = 2 * 10**6
"""Most bytes of a request that is no upload: the settings of the page."""

DRAINED_BYTES = 2 * 10**9
"""Most bytes of a request that are read and thrown away, so that its sender gets the answer and no broken line."""

JSON = b"application/json"
"""The kind of every request with a body that is no upload."""

UPLOAD_SPARE = 10**5
"""Bytes around a file in an upload: its name, its borders."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

HEADERS = (
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """An ASGI application that lets through what the page needs.

    Args:
        application: The page.
        folder: The one folder whose files are served.
        upload_bytes: Most bytes of an uploaded file.
        hosts: Names under which the page may be asked for, so that no page from elsewhere can ask through a name of
            its own (DNS rebinding); None allows every name.
        listeners: Is told who listens to the answers.
    """

    def __init__(
        self,
        application: Application,
        folder: PrivateFolder,
        upload_bytes: int,
        hosts: frozenset[str] | None = None,
        listeners: Listeners | None = None,
    ) -> None:
        self.application, self.folder, self.upload_bytes, self.hosts = application, folder, upload_bytes, hosts
        self.listeners = listeners or Listeners()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the page uses no web sockets
        if scope["path"].startswith(KEPT) and self._is_known(scope):
            await self._send_kept(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        upload = scope["path"] == UPLOAD
        limit = self.upload_bytes + UPLOAD_SPARE if upload else REQUEST_BYTES
        too_large = (
            f"The file is larger than {self.upload_bytes / 1e6:,g} MB; save it smaller." if upload else "Too large."
        )
        if _content_length(scope) > limit:
            await _drain(receive)
            await _answer(send, 413, too_large)
            return
        if not upload and scope["method"] == "POST" and not _header(scope, b"content-type").startswith(JSON):
            # Other bodies end in a fault of the server, which cannot show them in its answer.
            await _drain(receive)
            await _answer(send, 415, "The page sends JSON.")
            return
        counted = _Counted(receive, limit)
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if counted.exceeded and not begun:
                begun = True
                await _drain(receive)
                await _answer(send, 413, too_large)
                return
            if counted.exceeded and begun:
                return
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        if scope["path"] == ANSWERS:
            with self.listeners.listening(_session(scope)):
                await self.application(scope, counted, sending)
        else:
            await self.application(scope, counted, sending)

    def _is_known(self, scope: Scope) -> bool:
        """Say whether the page is asked for under a name of its own."""
        return self.hosts is None or _host(scope) in self.hosts

    async def _send_kept(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a file that was published."""
        path = self.folder.published(scope["path"].removeprefix(KEPT))
        if path is None or scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 404, "This file is no longer here; make it once more.")
            return
        from starlette.responses import FileResponse

        headers = {name.decode("ascii"): value.decode("ascii") for name, value in HEADERS}
        await FileResponse(path, headers=headers, filename=path.name)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and the text of a request that is not let through, or None."""
        if not self._is_known(scope):
            return 403, "This page is for this computer alone."
        path = scope["path"]
        # Twice decoded, because what comes after the guard may decode once more.
        if any(part == ".." for part in unquote(path).replace("\\", "/").split("/")):
            return 404, "Not found."
        if path.startswith(FILES):
            if scope["method"] not in ("GET", "HEAD") or not self.folder.holds(path.removeprefix(FILES)):
                return 404, "Not found."
            return None
        if scope["method"] in ("GET", "HEAD") and (path in PAGES or path.startswith(PAGE_FOLDERS)):
            return None
        if path in CALLS or path.startswith(HEARTBEAT):
            return None
        return 404, "Not found."


class _Counted:
    """Receives the body of a request up to a limit; beyond it the sender seems to have gone."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit
        self.exceeded = False

    async def __call__(self) -> Message:
        if self.exceeded:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.exceeded = True
                return {"type": "http.disconnect"}
        return message


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key.lower() == name), b"")


def _content_length(scope: Scope) -> int:
    given = _header(scope, b"content-length")
    return int(given) if given.isdigit() else 0


def _session(scope: Scope) -> str:
    """Return the session that a query names; empty where it names none."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return query.get("session_hash", [""])[0]


def _host(scope: Scope) -> str:
    """Return the name in the Host header without its port."""
    given = _header(scope, b"host").decode("latin-1").lower()
    if given.startswith("["):
        return given[1:].split("]", 1)[0]
    return given.rsplit(":", 1)[0]


async def _drain(receive: Receive) -> None:
    """Read what is left of a request, and keep nothing of it."""
    left = DRAINED_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


async def _answer(send: Send, status: int, text: str) -> None:
    """Send a short answer, in the form in which the page shows errors."""
    body = json.dumps({"detail": text, "error": text}).encode("utf-8")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode("ascii")), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
