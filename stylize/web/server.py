"""Serving the page: a port, a private folder, and an end at which nothing is left."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stylize.errors import InputError, OutputError, StylizeError
from stylize.web.settings import EXTRA, Settings

if TYPE_CHECKING:
    from stylize.web.guard import Guard
    from stylize.web.jobs import Running
    from stylize.web.private_folder import PrivateFolder

LOCAL_HOSTS = frozenset(("127.0.0.1", "localhost", "::1"))
"""Names by which a page for this computer alone is asked for."""

GRACE_SECONDS = 2
"""Time that open connections get when the server is stopped."""


def check_gradio() -> None:
    """Raise InputError with the way to install it where Gradio is missing."""
    try:
        if importlib.util.find_spec("gradio") is None:
            raise InputError(EXTRA)
    except (ImportError, ValueError):
        raise InputError(EXTRA) from None


@contextmanager
def gradio_environment(folder: PrivateFolder) -> Iterator[None]:
    """Tell Gradio, which reads the environment, to send nothing anywhere and to write into one folder only.

    Gradio has no other door for these settings. The environment is as before afterwards.
    """
    wanted = {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(folder.path),
        "GRADIO_EXAMPLES_CACHE": str(folder.path / "examples"),
        "GRADIO_ALLOWED_PATHS": None,
        "GRADIO_ROOT_PATH": None,
        "GRADIO_SHARE": None,
        "GRADIO_SSR_MODE": "False",
        "GRADIO_MCP_SERVER": "False",
        "GRADIO_RUN_HISTORY": "False",
        # After each request Gradio makes a table of the last 10,000 of them, for a page that is switched off here.
        "GRADIO_ANALYTICS_MAX_EVENTS": "1",
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**31),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    before = {name: os.environ[name] for name in wanted if name in os.environ}
    try:
        _set_environment(wanted)
        yield
    finally:
        _set_environment(dict.fromkeys(wanted) | before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    os.environ.update({name: value for name, value in values.items() if value is not None})
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)


def open_port(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to a port; 0 takes any that is free.

    Raises:
        InputError: There is no such host, or it is not this machine.
        OutputError: The port is taken, or it is not allowed to take it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError, OverflowError):
        raise InputError(
            f"host '{host}' given, which is no address of this machine; 127.0.0.1 is the usual one"
        ) from None
    made = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError(
                f"host '{host}' given, which is no address of this machine; 127.0.0.1 is the usual one"
            ) from None
        if error.errno == errno.EADDRINUSE:
            raise OutputError(
                f"port {port} is in use by another program; choose another, such as --port {_other(port)}, or any "
                "free one with --port 0"
            ) from None
        raise OutputError(f"port {port} cannot be opened: {error.strerror or error}") from None
    return made


def _other(port: int) -> int:
    return port + 1 if port < 65535 else port - 1


def build_application(settings: Settings, folder: PrivateFolder, host: str, running: Running) -> Guard:
    """Return the page as an ASGI application behind its guard.

    ``running`` knows what runs, so that it can be stopped.

    Call it, and use what it returns, within :func:`gradio_environment`.

    Raises:
        StylizeError: There is nothing to paint with.
    """
    import fastapi
    import gradio

    from stylize.web.guard import Guard
    from stylize.web.listeners import Listeners
    from stylize.web.look import head, make_theme
    from stylize.web.page import build_page

    listeners = Listeners()
    page = build_page(settings, folder, running, listeners)
    whole = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gradio.mount_gradio_app(
        whole,
        page,
        path="/",
        allowed_paths=[],
        max_file_size=int(settings.limits.megabytes * 2**20),  # the page's own check says its limit in these units
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        pwa=False,
        footer_links=[],
        theme=make_theme(),
        head=head(),
    )
    hosts = LOCAL_HOSTS if host in LOCAL_HOSTS else None
    return Guard(whole, folder, settings.limits.file_bytes, hosts, listeners)


def serve(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    on_ready: Callable[[str], None] | None = None,
    browser: bool = False,
    until: threading.Event | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        settings: How it paints.
        host: Address to listen on.
        port: Port; 0 takes any that is free.
        on_ready: Called with the address of the page once it answers.
        browser: Whether to open it in a browser.
        until: Ends the server when it is set; for a server in a thread.

    Raises:
        InputError: Gradio is missing, a wrong host, or nothing to paint with.
        OutputError: The port is taken.
    """
    check_gradio()
    from stylize.web.jobs import Running
    from stylize.web.private_folder import PrivateFolder

    running = Running()

    with open_port(host, port) as listening, PrivateFolder() as folder, gradio_environment(folder):
        address = _address(host, listening.getsockname()[1])
        try:
            import uvicorn

            application = build_application(settings, folder, host, running)
        except ImportError as error:
            raise StylizeError(
                f"gradio cannot be imported ({error}); install it again: pip install 'stylize[web]'"
            ) from error
        config = uvicorn.Config(
            application, log_level="critical", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS, lifespan="on"
        )
        server = _make_server(config, lambda: _ready(address, on_ready, browser), running.stop_all, until)
        server.run(sockets=[listening])


def _ready(address: str, on_ready: Callable[[str], None] | None, browser: bool) -> None:
    if on_ready is not None:
        on_ready(address)
    if browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def _make_server(
    config: Any, ready: Callable[[], None], ending: Callable[[], None], until: threading.Event | None
) -> Any:
    """Return a uvicorn server that says when it answers and when it ends.

    Its class cannot be made before uvicorn is imported.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            ending()
            await super().shutdown(sockets=sockets)

        async def on_tick(self, counter: int) -> bool:
            ended = until is not None and until.is_set()
            return await super().on_tick(counter) or ended

    return Server(config)
