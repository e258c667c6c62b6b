"""The work of ``stylize video``: looked at, estimated, painted, reported."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylize.cli.stopping import stop_between_steps
from stylize.cli.video_progress import ProgressLine
from stylize.controls import Controls
from stylize.default_styles import default_style
from stylize.errors import InputError
from stylize.style_choice import ChosenStyle, choose_style
from stylize.video.choice import OFF, make_painter, usable_stability
from stylize.video.digests import file_digest
from stylize.video.times import Span, format_time

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.stylizer import Stylizer
    from stylize.video.segments import Outcome, Painter
    from stylize.video.targets import Target
    from stylize.video.work_folder import WorkFolder


@dataclass(frozen=True)
class Request:
    """What the user asked for; the fields are the options of the command."""

    clip: str
    output: str | None
    style: str | None
    collection: str | None
    strength: float
    preserve_colour: bool
    scale: str | float
    mask: Path | None
    norm: str | None
    preset: str | None
    stability: str | None
    start: float
    end: float | None
    size: int | None
    quality: int
    fps: float | None
    yes: bool
    device: str
    engine: str | None
    precision: str
    as_json: bool
    overwrite: bool


class Job:
    """One run of the command.

    Args:
        request: What was asked for.
        started: When the command began, in seconds of :func:`time.perf_counter`.

    Raises:
        InputError: The clip, the style or the output cannot be what was asked for.
    """

    def __init__(self, request: Request, started: float) -> None:
        from stylize.cli.apply_choice import check_mask
        from stylize.video.pyav import import_av
        from stylize.video.sources import look_at, open_source

        import_av()
        self.request, self.started = request, started
        self.notes: list[str] = []
        self.stability = OFF  # until the engine is known
        self.mask: Tensor | None = None
        style = default_style(request.collection) if request.style is None else request.style
        self.chosen = choose_style(style, request.norm, request.preset, request.collection)
        rate = None if request.fps is None else Fraction(request.fps).limit_denominator(1001)
        self.facts = look_at(Path(request.clip), rate)
        self.source = open_source(self.facts, Span(request.start, request.end), request.size)
        if request.mask is not None:
            check_mask(request.mask, [])

    def run(self) -> None:
        """Paint the clip.

        Raises:
            StylizeError: It cannot be done.
        """
        from stylize.video.targets import open_target
        from stylize.video.work_folder import WorkFolder

        request = self.request
        output = request.output or default_output(request.clip, self.facts.kind, self.chosen)
        target = open_target(output, self.source, request.quality)
        if same_place(target.place, Path(request.clip)):
            raise InputError(f"'{output}' is the clip itself; it is not replaced by its painting: choose another -o")
        if request.mask is not None and same_place(target.place, request.mask):
            raise InputError(f"'{output}' is the mask; it is not replaced by the painting: choose another -o")
        for text in (*self.facts.notes, *target.notes):
            self.note(text)
        work = WorkFolder(target.place)
        # A place that is taken is no obstacle where the result is there and only the folder was not yet removed.
        if not work.joined:
            target.check_free(request.overwrite)
        stylizer = self.load()
        self.mask = self.read_mask()
        self.stability, note = usable_stability(request.stability, stylizer)
        if note is not None:
            self.note(note)
        with work.owned():
            work.begin(self.settings(target, stylizer), request.overwrite)
            # Of pictures that were being moved when the process was killed, some are in their place already.
            if work.joined and work.result.exists() and not work.moving:
                target.check_free(request.overwrite)
            outcome = self.paint(work, target, stylizer)
        self.report(output, target, stylizer, outcome)

    def load(self) -> Stylizer:
        """Import torch and load the network."""
        from stylize.stylizer import load

        request = self.request
        return load(
            self.chosen,
            strength=request.strength,
            device=request.device,
            engine=request.engine,
            precision=request.precision,
            on_fallback=self.note,
        )

    def read_mask(self) -> Tensor | None:
        """Read where the clip is painted, (1, 1, H, W) in [0, 1]; None is everywhere.

        Raises:
            InputError: The mask has other proportions than the clip.
        """
        if self.request.mask is None:
            return None
        from stylize.masks import mask_note, read_mask

        mask = read_mask(self.request.mask, (self.source.width, self.source.height))
        note = mask_note(mask, black="the clip")
        if note is not None:
            self.note(note)
        return mask

    def settings(self, target: Target, stylizer: Stylizer) -> dict[str, Any]:
        """Return everything that decides how the result looks: unfinished work goes on only where it is the same."""
        from stylize.video.segments import segment_frames

        request, chosen = self.request, self.chosen
        files = [chosen.weights.path, *(one.path for one in chosen.additions)]
        return {
            "clip": self.facts.digest,
            "style": chosen.name,
            "shares": dict(chosen.shares),
            "weights": [file_digest(path) for path in files],
            "strength": request.strength,
            "preserve_color": request.preserve_colour,
            "scale": request.scale,
            "mask": None if request.mask is None else file_digest(request.mask),
            "stability": self.stability,
            "start": request.start,
            "end": request.end,
            "frame_size": [self.source.width, self.source.height],
            "rate": str(self.facts.rate),
            "segment_frames": segment_frames(float(self.facts.rate)),
            "engine": stylizer.engine.name,
            "precision": stylizer.engine.precision,
            "device": stylizer.device.type,
            **target.settings,
        }

    def painter(self, stylizer: Stylizer) -> Painter:
        """Return what paints the frames."""
        controls = Controls(scale=self.request.scale, preserve_colour=self.request.preserve_colour)
        return make_painter(stylizer, self.stability, float(self.facts.rate), controls, self.mask)

    def paint(self, work: WorkFolder, target: Target, stylizer: Stylizer) -> Outcome:
        """Paint what is not painted yet."""
        from stylize.video.segments import paint_segments

        painter = self.painter(stylizer)
        done = sum(len(one.ticks) for one in work.segments())
        total = self.source.count
        if done and not work.complete:
            self.say(f"going on after {counted(done)} of an earlier run")
        left = None if total is None else max(0, total - done)
        if not work.complete:
            self.estimate(target, painter, left)
        begun = ProgressLine(total, done, quiet=self.request.as_json)
        try:
            with begun as line, stop_between_steps() as check:

                def on_progress(progress: Any) -> None:
                    line(progress)
                    check()

                return paint_segments(self.source, target, work, painter, on_progress=on_progress)
        except KeyboardInterrupt:
            from stylize.cli import INTERRUPTED, Failure

            kept = sum(len(one.ticks) for one in work.segments())
            of = "" if total is None else f" of {total:,}"
            raise Failure(
                f"stopped after {kept:,}{of} frames, which are kept; the same command goes on from there", INTERRUPTED
            ) from None

    def estimate(self, target: Target, painter: Painter, left: int | None) -> None:
        """Say how much work it is, and refuse long work that was not agreed to.

        Raises:
            InputError: It will take long, and --yes is not given.
        """
        from stylize.video.painting_time import ENOUGH_FRAMES, LONG_JOB, seconds_per_frame

        width, height = target.size
        if left is None:
            self.say(f"{self.facts.name}: {width}x{height} px; how many frames it has is not known")
            return
        size = target.estimated_bytes(left)
        amount = "" if size is None else f", about {megabytes(size)}"
        if left <= ENOUGH_FRAMES:
            self.say(f"{self.facts.name}: {counted(left)} of {width}x{height} px{amount}")
            return
        each = seconds_per_frame(self.source, painter)
        if each is None:
            raise InputError(f"no frame of {self.facts.name} lies in the part from --start to --end")
        seconds = each * left
        self.say(
            f"{self.facts.name}: {counted(left)} of {width}x{height} px, about {format_time(seconds)} at "
            f"{1 / each:.1f} frames per second{amount}"
        )
        if seconds > LONG_JOB and not self.request.yes:
            raise InputError(
                f"painting {counted(left)} will take about {format_time(seconds)}; add --yes to begin (it can be "
                "stopped and goes on later), or paint less of it with --start, --end or --size"
            )

    def report(self, output: str, target: Target, stylizer: Stylizer, outcome: Outcome) -> None:
        """Say what was done, or print the JSON document."""
        for text in outcome.problems:
            self.note(text)
        for stream in outcome.streams:
            line = stream.line()
            if line is not None:
                self.note(line)
        seconds = time.perf_counter() - self.started
        width, height = target.size
        if self.request.as_json:
            document = {
                "clip": self.request.clip,
                "output": output,
                "style": self.chosen.name,
                "norm": stylizer.norm,
                "stability": self.stability,
                "frames": outcome.frames,
                "painted": outcome.painted,
                "resumed": outcome.resumed,
                "segments": outcome.segments,
                "duration": round(outcome.duration, 6),
                "width": width,
                "height": height,
                "streams": [asdict(one) for one in outcome.streams],
                "notes": self.notes,
                "seconds": round(seconds, 3),
                "device": str(stylizer.device),
                "engine": stylizer.engine.name,
                "precision": stylizer.engine.precision,
            }
            click.echo(json.dumps(document, indent=2))
            return
        copied = sum(one.action == "copied" for one in outcome.streams)
        extra = f", {copied} other stream{'s' * (copied > 1)} copied" if copied else ""
        click.echo(
            f"{self.request.clip} -> {click.format_filename(output)} ({self.chosen.name}, {stylizer.norm} norm, "
            f"{counted(outcome.frames)}, {width}x{height} px, {outcome.duration:.2f} s{extra}) in {seconds:.1f} s"
        )

    def note(self, text: str) -> None:
        """Say something that the user should know, once, on standard error."""
        if text not in self.notes:
            self.notes.append(text)
            click.echo(f"note: {text}", err=True)

    def say(self, text: str) -> None:
        """Say how things stand, on standard error, unless a program listens."""
        if not self.request.as_json:
            click.echo(text, err=True)


def counted(frames: int) -> str:
    """Return a number of frames in words."""
    return f"{frames:,} frame{'s' * (frames != 1)}"


def megabytes(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(0.1, size / 1e6):.1f} MB"


def default_output(clip: str, kind: str, chosen: ChosenStyle) -> str:
    """Return where the painting goes that was given no place: beside the clip, in its own format where that is written.

    Args:
        clip: The clip.
        kind: What it is.
        chosen: The style.
    """
    from stylize.video.animations import SUFFIXES
    from stylize.video.encoders import CLIP_SUFFIXES
    from stylize.video.frame_folders import read_pattern
    from stylize.video.frames import FOLDER

    tag = "-" + chosen.name.replace("/", "-").replace(os.sep, "-")
    path = Path(clip)
    if kind == FOLDER:
        if read_pattern(path) is not None and not path.is_dir():
            path = path.parent
        folder = path if path.name not in ("", "..") else path.resolve()
        return str(folder.with_name(folder.name + tag)) + os.sep
    suffix = path.suffix if path.suffix.lower() in {**CLIP_SUFFIXES, **SUFFIXES} else ".mp4"
    return str(path.with_name(f"{path.stem}{tag}{suffix}"))


def same_place(first: Path, second: Path) -> bool:
    """Tell whether two paths are the same file or folder."""
    return first.exists() and second.exists() and first.samefile(second)
