"""``stylize video``: paint a clip."""

from __future__ import annotations

import time
from pathlib import Path

import click

from stylize.cli.allocator import keep_freed_memory
from stylize.cli.options import (
    NORM,
    ScaleParameter,
    collection_option,
    device_option,
    engine_option,
    json_option,
    overwrite_option,
    precision_option,
    preserve_colour_option,
    strength_option,
)
from stylize.config import PRESETS
from stylize.errors import InputError
from stylize.video.choice import FLOW, STABILITIES
from stylize.video.encoders import DEFAULT_QUALITY, QUALITY_RANGE
from stylize.video.times import parse_time
from stylize.zoo import DEFAULT_STYLE


class TimeParameter(click.ParamType):
    """Seconds, or ``h:mm:ss``."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_time(str(value))
        except InputError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "TIME"


@click.command("video")
@click.argument("clip", metavar="CLIP")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="File to write (.mp4, .m4v, .mov, .mkv, .webm, .gif, .webp), or a folder or name%04d.png for pictures.  "
    "[default: CLIP-STYLE beside the clip]",
)
@click.option(
    "--style",
    metavar="NAME|FILE|MIX",
    help="Style, style file, weights file or ONNX file, or a mixture of the styles of a collection: "
    f"great-wave:0.6,starry-night:0.4.  [default: {DEFAULT_STYLE}]",
)
@collection_option
@strength_option("clip")
@preserve_colour_option("clip")
@click.option(
    "--scale",
    type=ScaleParameter(),
    default=1.0,
    show_default=True,
    help="Paint at this part of the size and enlarge along the strokes: 0.5 makes them twice as bold.",
)
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    metavar="PICTURE",
    help="Where to paint, the same in all frames: white is painted, black keeps the clip, grey is in between.",
)
@click.option("--norm", type=NORM, help="Normalisation of the network.  [default: instance]")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Architecture of a shipped style.")
@click.option(
    "--stability",
    type=click.Choice(STABILITIES),
    show_default=FLOW,
    help="Against flicker: statistics smooths what the network normalises by over time, and moves its grid along with "
    "the camera; flow also carries the strokes along with what moves, which is slower; off paints every frame for "
    "itself.",
)
@click.option("--start", type=TimeParameter(), default=0.0, help="Where to begin: seconds or h:mm:ss.")
@click.option("--end", type=TimeParameter(), help="Where to end: seconds or h:mm:ss.")
@click.option("--size", type=click.IntRange(min=1), metavar="PX", help="Long edge of the painted clip in pixels.")
@click.option(
    "--quality",
    type=click.IntRange(*QUALITY_RANGE),
    default=DEFAULT_QUALITY,
    show_default=True,
    help="Of a video file: 0 is without loss, 51 the smallest (the CRF of x264).",
)
@click.option(
    "--fps",
    type=click.FloatRange(min=0, max=1000, min_open=True),
    help="Frames per second of a folder of pictures, which says nothing about it.  [default: 25]",
)
@click.option("--yes", is_flag=True, help="Begin work that will take more than an hour.")
@device_option
@engine_option
@precision_option
@json_option
@overwrite_option
def command(
    clip: str,
    output: str | None,
    style: str | None,
    collection: str | None,
    strength: float,
    preserve_colour: bool,
    scale: str | float,
    mask: Path | None,
    norm: str | None,
    preset: str | None,
    stability: str | None,
    start: float,
    end: float | None,
    size: int | None,
    quality: int,
    fps: float | None,
    yes: bool,
    device: str,
    engine: str | None,
    precision: str,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Paint a clip in a style, with its sound.

    CLIP is a video file, an animated GIF or WebP, a folder of frames, or a name such as frame%04d.png. Sound and
    subtitles are copied; rotation, frame times and colours are kept. Work that was stopped goes on where it was when
    the same command is given again. Needs: pip install 'stylize[video]'

    \b
    stylize video clip.mp4
    stylize video clip.mp4 -o painted.mp4 --style great-wave --start 0:30 --end 0:45
    stylize video clip.mp4 --size 720 --quality 23 --stability statistics
    stylize video clip.mp4 --mask sky.png --scale 0.5
    stylize video cat.gif -o painted.gif
    stylize video frames/ -o painted.mp4 --fps 24
    stylize video clip.mp4 -o frames/name%04d.png
    """
    started = time.perf_counter()
    from stylize.cli.video_job import Job, Request

    # Everything that can be checked without torch comes before its import, which takes seconds.
    job = Job(
        Request(
            clip=clip,
            output=output,
            style=style,
            collection=collection,
            strength=strength,
            preserve_colour=preserve_colour,
            scale=scale,
            mask=mask,
            norm=norm,
            preset=preset,
            stability=stability,
            start=start,
            end=end,
            size=size,
            quality=quality,
            fps=fps,
            yes=yes,
            device=device,
            engine=engine,
            precision=precision,
            as_json=as_json,
            overwrite=overwrite,
        ),
        started,
    )
    keep_freed_memory()
    job.run()
