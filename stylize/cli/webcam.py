"""``stylize webcam``: what the camera sees, painted while you look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stylize.cli.allocator import keep_freed_memory
from stylize.cli.options import (
    NORM,
    collection_option,
    device_option,
    engine_option,
    precision_option,
    strength_option,
)
from stylize.config import PRESETS
from stylize.video.choice import STABILITIES, STATISTICS
from stylize.zoo import DEFAULT_STYLE, is_path, list_styles

if TYPE_CHECKING:
    from stylize.stylizer import Stylizer
    from stylize.video.segments import Painter
    from stylize.video.watching import Eye, Look, Screen

RATE = 20.0
"""Frames per second that a camera is taken to have before the first ones came."""

KEYS = ("n/b: next style or the one before", "+/-: strength", "i: instance or batch norm", "s: save", "q: end")


@click.command("webcam")
@click.option(
    "--source", default="0", show_default=True, metavar="N|FILE", help="Number of the camera, or a video file."
)
@click.option(
    "--style",
    "styles",
    multiple=True,
    metavar="NAME|FILE|MIX",
    help="Style to begin with; give it several times for those that the keys go through.  "
    f"[default: {DEFAULT_STYLE}, and the keys go through all]",
)
@collection_option
@strength_option("camera")
@click.option("--norm", type=NORM, help="Normalisation of the network.  [default: instance]")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Architecture of shipped styles.")
@click.option(
    "--stability",
    type=click.Choice(STABILITIES),
    show_default=STATISTICS,
    help="Against flicker, as in 'stylize video'.",
)
@click.option(
    "--size", type=click.IntRange(min=1), default=480, show_default=True, metavar="PX", help="Long edge in pixels."
)
@click.option("--mirror/--no-mirror", default=True, show_default=True, help="Show a camera as a mirror does.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="FOLDER",
    help="Where the key s saves pictures.  [default: this folder]",
)
@device_option
@engine_option
@precision_option
def command(
    source: str,
    styles: tuple[str, ...],
    collection: str | None,
    strength: float,
    norm: str | None,
    preset: str | None,
    stability: str | None,
    size: int,
    mirror: bool,
    output: Path,
    device: str,
    engine: str | None,
    precision: str,
) -> None:
    """Paint what a camera sees, while you look. Needs: pip install 'stylize[video]' and an OpenCV with windows

    \b
    n, b       next style, style before
    + , -      stronger, weaker
    i          instance norm or batch norm
    s          save a picture
    q, Escape  end

    \b
    stylize webcam
    stylize webcam --style great-wave --style starry-night --size 640
    stylize webcam --source clip.mp4
    """
    from stylize.video.camera import open_camera, open_window

    keep_freed_memory()
    camera = open_camera(source, mirror)
    try:
        window = open_window("stylize")
        try:
            rack = StyleRack(collection, preset, stability, device, engine, precision)
            watch(camera, window, rack, styles, norm, strength, size, output)
        finally:
            window.close()
    finally:
        camera.close()


class StyleRack:
    """Loads what paints, and keeps the networks that were loaded.

    Args:
        collection: Where names of styles are looked up.
        preset: Architecture of shipped styles.
        stability: See :func:`stylize.video.choice.usable_stability`.
        device: Name of the device.
        engine: Name of the engine.
        precision: Name of the precision.
    """

    def __init__(
        self,
        collection: str | None,
        preset: str | None,
        stability: str | None,
        device: str,
        engine: str | None,
        precision: str,
    ) -> None:
        self.collection, self._preset, self._stability = collection, preset, stability
        self._how = {"device": device, "engine": engine, "precision": precision}
        self._loaded: dict[tuple[str, str | None], Stylizer] = {}

    def __call__(self, look: Look) -> Painter:
        """Return what paints a look.

        Raises:
            StylizeError: There is no such style, or not with that norm.
        """
        from stylize.stylizer import load
        from stylize.video.choice import make_painter, usable_stability

        key = (look.style, look.norm)
        if key not in self._loaded:
            preset = None if is_path(look.style) else self._preset
            settings = {"collection": self.collection, "preset": preset, **self._how}
            self._loaded[key] = load(look.style, look.norm, **settings)
        stylizer = self._loaded[key]
        if look.strength != stylizer.strength:
            stylizer = stylizer.with_strength(look.strength)
        return make_painter(stylizer, usable_stability(self._stability, stylizer, STATISTICS)[0], RATE)


def watch(
    camera: Eye,
    window: Screen,
    rack: StyleRack,
    styles: Sequence[str],
    norm: str | None,
    strength: float,
    size: int,
    folder: Path,
) -> None:
    """Paint what the camera sees until the key ``q``, and say how fast it was."""
    from stylize.default_styles import default_style
    from stylize.style_choice import choose_collection
    from stylize.video.watching import Look, Watcher, begin_with

    shipped = list_styles() if rack.collection is None else list(choose_collection(rack.collection).painted_names)
    first, through = begin_with(styles, shipped, default_style(rack.collection))
    watcher = Watcher(camera, window, rack, Look(first, norm, strength), through, size=size, folder=folder)
    click.echo(f"{', '.join(KEYS)}", err=True)
    watched = watcher.run()
    for path in watched.saved:
        click.echo(f"saved {click.format_filename(path)}")
    rate = watched.frames / max(watched.seconds, 1e-9)
    click.echo(f"{watched.frames} frames in {watched.seconds:.1f} s, {rate:.1f} frames per second")
