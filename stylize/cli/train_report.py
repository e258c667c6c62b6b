"""What ``stylize train`` shows: its progress, and what came of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylize.cli.tables import aligned
from stylize.config import TrainConfig
from stylize.zoo import is_path

if TYPE_CHECKING:
    from stylize.evaluation import Validation
    from stylize.training import TrainProgress, TrainResult

SECONDS_BETWEEN_LINES = 30
"""How often a plain line is printed when the output is no terminal."""

LISTED_PHOTOS = 20


class Reporter:
    """Shows the progress: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, config: TrainConfig, folder: Path, tensorboard: bool) -> None:
        self.config = config
        self.folder = folder
        self.tensorboard = tensorboard
        self.writer: Any = None
        self.bar: Any = None
        self.last_line = time.monotonic()

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.writer is not None:
            self.writer.close()

    def __call__(self, progress: TrainProgress) -> None:
        losses = progress.losses
        text = f"content {losses['content']:.3f}, style {losses['style']:.4f}, total {losses['total']:.3f}"
        speed = f"{progress.photos_per_second:.1f} photos/s"
        if sys.stderr.isatty():
            if self.bar is None:
                from tqdm import tqdm

                self.bar = tqdm(total=progress.steps, initial=progress.step - 1, unit="step", dynamic_ncols=True)
            self.bar.set_postfix_str(f"{text}, {speed}", refresh=False)
            self.bar.update()
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES or progress.step == progress.steps:
            self.last_line = time.monotonic()
            left = f"{progress.seconds_left / 60:.1f} minutes left"
            click.echo(f"step {progress.step}/{progress.steps}: {text}, {speed}, {left}", err=True)
        if progress.validation is not None:
            self._say(_validation_line(progress.step, progress.validation, progress.sample))
        if self.tensorboard:
            self._write_events(progress)

    def _say(self, line: str) -> None:
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        else:
            click.echo(line, err=True)

    def _write_events(self, progress: TrainProgress) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder / "tensorboard"))
        for name, value in progress.losses.items():
            self.writer.add_scalar(f"training/{name}", value, progress.step)
        if progress.validation is not None:
            for mode in ("evaluation_mode", "training_mode"):
                losses = getattr(progress.validation, mode)
                self.writer.add_scalar(f"held out, {mode}/content", losses.content, progress.step)
                self.writer.add_scalar(f"held out, {mode}/style", losses.style, progress.step)
            self.writer.add_scalar("held out/contrast change", progress.validation.contrast_change, progress.step)


def _validation_line(step: int, validation: Validation, sample: Path | None) -> str:
    evaluated, trained = validation.evaluation_mode, validation.training_mode
    line = (
        f"step {step}, {validation.photos} held-out photos: content {evaluated.content:.3f}, style "
        f"{evaluated.style:.4f} (training mode {trained.content:.3f}, {trained.style:.4f}); halved contrast changes "
        f"the result by {255 * validation.contrast_change:.1f} of 255"
    )
    return line + (f"; {sample}" if sample else "")


def report(config: TrainConfig, result: TrainResult) -> None:
    """Print the summary table and what to do next."""
    if config.collection:
        click.echo(_style_table(result))
    else:
        click.echo(_mode_table(result.validation))
        _say_contrast(config, result.validation)
    _say_unreadable(result)
    path = click.format_filename(result.path)
    size = f" ({result.path.stat().st_size / 1e3:.1f} kB)" if config.adapt is not None else ""
    click.echo(f"wrote {path}{size} after {result.seconds / 60:.1f} minutes of training")
    if result.nearest is not None:
        click.echo(f"its numbers began as those of '{result.nearest}'")
    shown = f"{'./' if Path(path).name == path else ''}{path}"
    if config.collection:
        click.echo(
            f"try it: stylize apply PHOTO --collection {shown} --style {config.style_names[0]}, or --sheet for all"
        )
        return
    elsewhere = f" --collection {config.adapt}" if config.adapt is not None and is_path(config.adapt) else ""
    click.echo(f"try it: stylize apply PHOTO --style {shown}{elsewhere}")


def _style_table(result: TrainResult) -> str:
    """Return the losses of each style of a collection."""
    rows = []
    for name, validation in result.validations.items():
        painted = validation.evaluation_mode
        numbers = (painted.content, painted.style, painted.total, validation.photo.total)
        rows.append((name, *(f"{number:.4g}" for number in numbers)))
    header = (
        f"{result.validation.photos} held-out photos",
        "content",
        "style",
        "total loss",
        "of the untouched photos",
    )
    return aligned(header, rows, numeric=frozenset({1, 2, 3, 4}))


def _mode_table(validation: Validation) -> str:
    """Return the losses in both modes."""
    rows = [
        (label, f"{losses.content:.4f}", f"{losses.style:.4f}", f"{losses.total:.3f}")
        for label, losses in (
            ("the photos, untouched", validation.photo),
            ("painted, evaluation mode", validation.evaluation_mode),
            ("painted, training mode", validation.training_mode),
        )
    ]
    header = (f"{validation.photos} held-out photos", "content", "style", "total loss")
    return aligned(header, rows, numeric=frozenset({1, 2, 3}))


def _say_contrast(config: TrainConfig, validation: Validation) -> None:
    note = {
        "instance": "instance norm: the modes are one, and contrast does not reach the result",
        "batch": "batch norm: the modes differ, and contrast reaches the result",
    }
    expected = f" ({note[config.norm]})" if _as_expected(config.norm, validation) else ""
    click.echo(f"halved contrast changes the result by {255 * validation.contrast_change:.2f} grey levels{expected}")


def _say_unreadable(result: TrainResult) -> None:
    if result.unreadable:
        click.echo(f"{len(result.unreadable)} photos could not be read and were left out:", err=True)
        for reason in list(result.unreadable.values())[:LISTED_PHOTOS]:
            click.echo(f"  {reason}", err=True)
        if len(result.unreadable) > LISTED_PHOTOS:
            click.echo(f"  and {len(result.unreadable) - LISTED_PHOTOS} more", err=True)


def _as_expected(norm: str, validation: Validation) -> bool:
    """Say whether the measurements show what the sentence for this norm says, before it is printed."""
    evaluated, trained = validation.evaluation_mode, validation.training_mode
    equal = abs(evaluated.style - trained.style) <= 0.01 * max(evaluated.style, trained.style)
    unmoved = 255 * validation.contrast_change < 1
    return (equal and unmoved) if norm == "instance" else (norm == "batch" and not equal and not unmoved)
