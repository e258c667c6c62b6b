"""``stylize train``: learn a style."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from stylize.cli.options import NORM, device_option, overwrite_option
from stylize.cli.stopping import stop_between_steps
from stylize.cli.tables import aligned
from stylize.config import (
    IMAGE_SIZE_MINIMUM,
    NORM_NAMES,
    PLACEMENTS,
    PRECISIONS,
    PREPARATIONS,
    PRESETS,
    STYLE_SIZE_MINIMUM,
    LossConfig,
    TrainConfig,
)
from stylize.errors import InputError

if TYPE_CHECKING:
    from stylize.evaluation import Validation
    from stylize.training import TrainProgress, TrainResult

SECONDS_BETWEEN_LINES = 30
"""How often a plain line is printed when the output is no terminal."""

LISTED_PHOTOS = 20

DEFAULTS = TrainConfig(style="")


def setting(name: str, help: str, **options: Any) -> Callable[[Any], Any]:
    """An option that is a field of TrainConfig or LossConfig, with the field's default."""
    default = getattr(DEFAULTS, name, None) if hasattr(DEFAULTS, name) else getattr(DEFAULTS.loss, name)
    options.setdefault("show_default", default is not None)
    return click.option(f"--{name.replace('_', '-')}", name, default=default, help=help, **options)


@click.command("train")
@click.argument("style", required=False, type=click.Path(path_type=Path))
@click.argument("photos", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Weights file to write, *.safetensors.  [default: STYLE-NORM.safetensors here]",
)
@setting(
    "norm",
    f"Normalisation of the network: {', '.join(NORM_NAMES)}; or NORM@PLACE with batch norm elsewhere, PLACE being "
    f"{', '.join(PLACEMENTS[1:])}; or NORM@PLACE+OTHER.",
    type=NORM,
)
@setting("preset", "Architecture.", type=click.Choice(list(PRESETS)))
@setting("steps", "Optimiser steps.", type=click.IntRange(min=1))
@setting("batch_size", "Photos per step.", type=click.IntRange(min=1))
@setting("image_size", "Side of the training crops in pixels.", type=click.IntRange(min=IMAGE_SIZE_MINIMUM))
@setting(
    "style_size",
    "Short side of the painting in pixels; larger gives finer strokes.",
    type=click.IntRange(min=STYLE_SIZE_MINIMUM),
)
@setting("style_strength", "0.5 = closer to the photo, 2 = closer to the painting.", type=click.FloatRange(min=0))
@setting("seed", "Seed of weights, photo order and crops.", type=click.IntRange(min=0))
@setting("learning_rate", "Peak learning rate of Adam.", type=click.FloatRange(0, 1, min_open=True, max_open=True))
@setting(
    "validation",
    "Folder of held-out photos.  [default: an eighth of PHOTOS, at most 16]",
    type=click.Path(path_type=Path),
)
@setting("photo_limit", "Train on so many of the photos only.", type=click.IntRange(min=1))
@setting(
    "preparation",
    "Done to every photo before the network sees it, for experiments: equalise its luminance, standardise its mean and "
    "variance, or stylize it with another network.",
    type=click.Choice(PREPARATIONS),
)
@setting(
    "preparation_weights",
    "Weights file of the network that --preparation stylize uses.",
    type=click.Path(path_type=Path),
)
@setting("validation_interval", "Steps between validations and sample pictures.", type=click.IntRange(min=1))
@setting("checkpoint_interval", "Steps between checkpoints.", type=click.IntRange(min=1))
@setting("loss_network", "vgg19 (in the box), torchvision (downloaded once), or a file.", metavar="NAME|FILE")
@setting("pooling", "Pooling of the loss network.", type=click.Choice(["max", "average"]))
@setting("content_layer", "Layer at which content is compared.", metavar="LAYER")
@click.option(
    "--style-layer",
    "style_layers",
    multiple=True,
    default=DEFAULTS.loss.style_layers,
    show_default=True,
    metavar="LAYER",
    help="Layer at which Gram matrices are compared; give it several times.",
)
@click.option(
    "--style-layer-weight",
    "style_layer_weights",
    multiple=True,
    type=click.FloatRange(min=0),
    default=DEFAULTS.loss.style_layer_weights,
    show_default=True,
    help="Share of each style layer in the style term, in the same order; layers of your own count alike without it.",
)
@setting("content_weight", "Raw weight of the content term.", type=click.FloatRange(min=0))
@setting("style_weight", "Raw weight of the style term.", type=click.FloatRange(min=0))
@setting("tv_weight", "Raw weight of the total variation term.", type=click.FloatRange(min=0))
@setting("precision", "Precision of the training.", type=click.Choice(PRECISIONS))
@setting("weights_dtype", "Number format of the weights file.", type=click.Choice(["float16", "float32"]))
@setting("licence", "Licence of the weights, to be written into the file.", metavar="TEXT")
@click.option("--compile", is_flag=True, help="Let torch.compile fuse the network (long runs on a GPU).")
@device_option
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events too (needs the package tensorboard).")
@click.option("--resume", is_flag=True, help="Continue the unfinished run of the same output.")
@overwrite_option
@click.pass_context
def command(
    ctx: click.Context, style: Path | None, photos: Path | None, tensorboard: bool, resume: bool, **given: Any
) -> None:
    """Learn the style of a painting.

    STYLE is a picture of the painting, PHOTOS a folder of photos of any kind to learn on (the shipped networks saw
    1,400); without PHOTOS the example photos that come with stylize serve, to try it out.

    \b
    stylize train painting.jpg photos/
    stylize train painting.jpg photos/ --norm batch -o painting-batch.safetensors
    stylize train painting.jpg photos/ --resume
    stylize apply photo.jpg --style painting-instance.safetensors
    """
    overwrite = given.pop("overwrite")
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs the package tensorboard; install it, or leave the option away")
    config = _config(ctx, style, photos, given, resume)
    if config.photos is None:
        click.echo("no PHOTOS given: training on the example photos that come with stylize; your own are better")

    from stylize.run_folder import output_path, run_folder
    from stylize.training import train

    output = output_path(config)
    click.echo(
        f"learning {click.format_filename(config.style, shorten=True)} with {config.norm} norm ({config.preset}, "
        f"{config.steps} steps of {config.batch_size} photos) -> {click.format_filename(output)}"
    )
    with _Reporter(config, run_folder(output), tensorboard) as reporter, stop_between_steps() as check:

        def on_step(progress: TrainProgress) -> None:
            reporter(progress)
            check()

        result = train(config, on_step, resume=resume, overwrite=overwrite)
    _report(config, result)


def _config(
    ctx: click.Context, style: Path | None, photos: Path | None, given: dict[str, Any], resume: bool
) -> TrainConfig:
    """Return the settings of the run; when resuming, those of the unfinished run unless they were given anew."""
    loss_names = {field.name for field in fields(LossConfig)}
    explicit = {
        name: value for name, value in given.items() if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if resume:
        from stylize.run_folder import read_resumable

        if style is None and given["output"] is None:
            raise InputError("--resume needs to know which run: give the painting, or the output with -o")
        norm = given["norm"]
        stored = read_resumable(TrainConfig(style=style or "", output=given["output"], norm=norm))
        values = explicit | ({"style": style} if style else {}) | ({"photos": photos} if photos else {})
        base = stored
    else:
        if style is None:
            raise click.UsageError("no painting given; try 'stylize train painting.jpg photos/'", ctx)
        values = {**given, "style": style, "photos": photos}
        base = TrainConfig(style=str(style))
    if "style_layers" in explicit and "style_layer_weights" not in explicit:
        values["style_layer_weights"] = (1.0,) * len(values["style_layers"])
    values = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    loss = replace(base.loss, **{name: value for name, value in values.items() if name in loss_names})
    return replace(base, loss=loss, **{name: value for name, value in values.items() if name not in loss_names})


class _Reporter:
    """Shows the progress: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, config: TrainConfig, folder: Path, tensorboard: bool) -> None:
        self.config = config
        self.folder = folder
        self.tensorboard = tensorboard
        self.writer: Any = None
        self.bar: Any = None
        self.last_line = time.monotonic()

    def __enter__(self) -> _Reporter:
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


def _report(config: TrainConfig, result: TrainResult) -> None:
    """Print the summary table and what to do next."""
    validation = result.validation
    rows = [
        (label, f"{losses.content:.4f}", f"{losses.style:.4f}", f"{losses.total:.3f}")
        for label, losses in (
            ("the photos, untouched", validation.photo),
            ("painted, evaluation mode", validation.evaluation_mode),
            ("painted, training mode", validation.training_mode),
        )
    ]
    header = (f"{validation.photos} held-out photos", "content", "style", "total loss")
    click.echo(aligned(header, rows, numeric=frozenset({1, 2, 3})))
    note = {
        "instance": "instance norm: the modes are one, and contrast does not reach the result",
        "batch": "batch norm: the modes differ, and contrast reaches the result",
    }
    expected = f" ({note[config.norm]})" if _as_expected(config.norm, validation) else ""
    click.echo(f"halved contrast changes the result by {255 * validation.contrast_change:.2f} grey levels{expected}")
    if result.unreadable:
        click.echo(f"{len(result.unreadable)} photos could not be read and were left out:", err=True)
        for reason in list(result.unreadable.values())[:LISTED_PHOTOS]:
            click.echo(f"  {reason}", err=True)
        if len(result.unreadable) > LISTED_PHOTOS:
            click.echo(f"  and {len(result.unreadable) - LISTED_PHOTOS} more", err=True)
    path = click.format_filename(result.path)
    click.echo(f"wrote {path} after {result.seconds / 60:.1f} minutes of training")
    click.echo(f"try it: stylize apply PHOTO --style {'./' if Path(path).name == path else ''}{path}")


def _as_expected(norm: str, validation: Validation) -> bool:
    """Say whether the measurements show what the sentence for this norm says, before it is printed."""
    evaluated, trained = validation.evaluation_mode, validation.training_mode
    equal = abs(evaluated.style - trained.style) <= 0.01 * max(evaluated.style, trained.style)
    unmoved = 255 * validation.contrast_change < 1
    return (equal and unmoved) if norm == "instance" else (norm == "batch" and not equal and not unmoved)
