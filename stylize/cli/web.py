"""``stylize web``: a page in the browser that paints."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import click

from stylize.cli.options import collection_option, device_option, engine_option, precision_option
from stylize.web.settings import Limits, Settings


@click.command("web")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets other computers in.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="Port; 0 takes any that is free."
)
@collection_option
@click.option(
    "--max-megapixels",
    type=float,
    default=Limits.megapixels,
    show_default=True,
    help="Largest picture that may be uploaded.",
)
@click.option(
    "--max-megabytes",
    type=float,
    default=Limits.megabytes,
    show_default=True,
    help="Largest file that may be uploaded.",
)
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@device_option
@engine_option
@precision_option
def command(
    host: str,
    port: int,
    collection: str | None,
    max_megapixels: float,
    max_megabytes: float,
    no_browser: bool,
    device: str,
    engine: str | None,
    precision: str,
) -> None:
    """Open a web page that paints photos, shows what the norms do, and learns new paintings.

    The page is for this computer alone unless --host says otherwise, and asks nothing of the internet. Photos go into
    a temporary folder that is removed at the end. Needs: pip install 'stylize[web]'

    \b
    stylize web
    stylize web --port 8000 --no-browser
    stylize web --host 0.0.0.0 --max-megapixels 24
    """
    settings = Settings(
        collection=collection,
        device=device,
        engine=engine,
        precision=precision,
        limits=Limits(max_megabytes, max_megapixels),
    )
    from stylize.web.server import LOCAL_HOSTS, serve

    def ready(address: str) -> None:
        click.echo(f"The page is at {address}")
        if host not in LOCAL_HOSTS:
            click.echo(
                "Warning: everybody who can reach this computer over the network can use the page, its computing "
                "time and its memory; there is no password.",
                err=True,
            )
        click.echo("Ctrl-C ends it.")

    with _ended_by_signals(), suppress(KeyboardInterrupt):
        serve(settings, host, port, on_ready=ready, browser=not no_browser)
    click.echo("Ended; what was uploaded is removed.")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a signal that ends the process end it as Ctrl-C does, so that the folder of the uploads is removed."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    try:
        before = {number: signal.signal(number, end) for number in numbers}
    except ValueError:  # not the main thread, as when the command is called from a program
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
