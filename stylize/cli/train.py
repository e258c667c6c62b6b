"""``stylize train``: learn a style."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from stylize.cli.determinism import deterministic_option, deterministically
from stylize.cli.one_voice import OneVoiceCommand
from stylize.cli.options import NORM, device_option, overwrite_option
from stylize.cli.stopping import stop_between_steps
from stylize.config import (
    ADAPTING,
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
from stylize.launch import launched

if TYPE_CHECKING:
    from stylize.training import TrainProgress

DEFAULTS = TrainConfig(style="")

SIGNAL_ECHO = 5.0
"""Seconds for which a second signal is the first one once more, when torchrun passes on what the terminal sends too."""


def setting(name: str, help: str, **options: Any) -> Callable[[Any], Any]:
    """An option that is a field of TrainConfig or LossConfig, with the field's default."""
    default = getattr(DEFAULTS, name, None) if hasattr(DEFAULTS, name) else getattr(DEFAULTS.loss, name)
    options.setdefault("show_default", default is not None)
    return click.option(f"--{name.replace('_', '-')}", name, default=default, help=help, **options)


@click.command("train", cls=OneVoiceCommand)
@click.argument("paths", nargs=-1, metavar="STYLE... [PHOTOS]", type=click.Path(path_type=Path))
@click.option("--multi", is_flag=True, help="Learn several paintings in one network: a collection of styles.")
@click.option(
    "--photo-style/--no-photo-style",
    default=DEFAULTS.photo_style,
    show_default=True,
    help="Let a collection learn to leave photos as they are too, from where 'apply --strength' moves.",
)
@click.option(
    "--own-output/--shared-output",
    default=DEFAULTS.own_output,
    show_default=True,
    help="Give each style of a collection a last convolution of its own.",
)
@setting(
    "adapt",
    "Add the painting to a collection, a shipped one or a file: minutes instead of an hour, and a file of a few "
    "kilobytes.",
    metavar="NAME|FILE",
)
@setting(
    "start_from",
    "Weights file of the same architecture to begin with instead of random numbers.",
    type=click.Path(path_type=Path),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Weights file to write, *.safetensors.  [default: STYLE-NORM.safetensors, with --adapt STYLE.safetensors, "
    "with --multi collection-NORM.safetensors, here]",
)
@setting(
    "norm",
    f"Normalisation of the network: {', '.join(NORM_NAMES)}; or NORM@PLACE with batch norm elsewhere, PLACE being "
    f"{', '.join(PLACEMENTS[1:])}; or NORM@PLACE+OTHER.",
    type=NORM,
)
@setting("preset", "Architecture.", type=click.Choice(list(PRESETS)))
@setting("steps", "Optimiser steps.", type=click.IntRange(min=1))
@setting("batch_size", "Photos per step, of all processes together.", type=click.IntRange(min=1))
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
@click.option(
    "--sync-batch-norm",
    is_flag=True,
    help="With several processes: take the mean and variance of batch norm over the whole batch, not over each "
    "process's share of it.",
)
@click.option("--compile", is_flag=True, help="Let torch.compile fuse the network (long runs on a GPU).")
@device_option
@deterministic_option
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events too (needs the package tensorboard).")
@click.option("--resume", is_flag=True, help="Continue the unfinished run of the same output.")
@overwrite_option
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[Path, ...],
    multi: bool,
    deterministic: bool,
    tensorboard: bool,
    resume: bool,
    **given: Any,
) -> None:
    """Learn the style of a painting, or with --multi of several.

    STYLE is a picture of the painting, PHOTOS a folder of photos of any kind to learn on (the shipped networks saw
    1,400); without PHOTOS the example photos that come with stylize serve, to try it out.

    \b
    stylize train painting.jpg photos/
    stylize train painting.jpg photos/ --norm batch -o painting-batch.safetensors
    stylize train painting.jpg photos/ --resume
    stylize train painting.jpg --adapt paintings
    stylize train wave.jpg scream.jpg night.jpg photos/ --multi -o mine.safetensors
    stylize apply photo.jpg --style painting-instance.safetensors
    torchrun --nproc-per-node 2 -m stylize train painting.jpg photos/
    """
    launch = launched()
    overwrite = given.pop("overwrite")
    with launch.alike():
        config = _settings(ctx, paths, multi, tensorboard, resume, given)
        from stylize.run_folder import output_path, run_folder

        output = output_path(config)
    from stylize.training import train

    if not launch.first:  # it computes, and shows nothing
        with deterministically(deterministic), stop_between_steps(SIGNAL_ECHO) as check:
            train(config, lambda progress: check(), resume=resume, overwrite=overwrite)
        return
    if config.photos is None:
        click.echo("no PHOTOS given: training on the example photos that come with stylize; your own are better")
    if config.sync_batch_norm and not launch.several:
        click.echo("--sync-batch-norm changes nothing with one process, which has the whole batch", err=True)
    together = f", {launch.size} processes" if launch.several else ""
    click.echo(
        f"learning {_named(config)}, {config.steps} steps of {config.batch_size} photos{together}) -> "
        f"{click.format_filename(output)}"
    )
    from stylize.cli.train_report import Reporter, report

    echo = SIGNAL_ECHO if launch.several else 0.0
    with (
        deterministically(deterministic),
        Reporter(config, run_folder(output), tensorboard) as reporter,
        stop_between_steps(echo) as check,
    ):

        def on_step(progress: TrainProgress) -> None:
            reporter(progress)
            check()

        result = train(config, on_step, resume=resume, overwrite=overwrite)
    report(config, result)


def _settings(
    ctx: click.Context, paths: tuple[Path, ...], multi: bool, tensorboard: bool, resume: bool, given: dict[str, Any]
) -> TrainConfig:
    """Return the settings of the run, after a look at what is needed to show it."""
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs the package tensorboard; install it, or leave the option away")
    style, photos = _subjects(ctx, paths, multi)
    return _config(ctx, style, photos, given, resume)


def _subjects(
    ctx: click.Context, paths: tuple[Path, ...], multi: bool
) -> tuple[Path | tuple[Path, ...] | None, Path | None]:
    """Return the painting, or the paintings, and the folder of photos that the arguments name."""
    if not multi:
        if len(paths) > 2:
            raise click.UsageError(
                f"{len(paths)} paths given; one painting and one folder of photos are accepted, and "
                "several paintings with --multi",
                ctx,
            )
        return (paths[0] if paths else None), (paths[1] if len(paths) > 1 else None)
    from stylize.images import find_images

    *paintings, last = paths or (None,)
    photos = last if last is not None and last.is_dir() and paintings else None
    if photos is None and last is not None:
        paintings.append(last)
    found = [one for path in paintings for one in (find_images(path) if path.is_dir() else [path])]
    return tuple(found) or None, photos


def _named(config: TrainConfig) -> str:
    """Return the beginning of the sentence that says what is learned; its bracket is closed by whoever goes on."""
    named = ", ".join(click.format_filename(path, shorten=True) for path in config.paintings)
    if config.adapt is not None:
        return f"{named} as a new style (of {config.adapt}"
    return f"{named} with {config.norm} norm ({config.preset}"


def _config(
    ctx: click.Context,
    style: Path | tuple[Path, ...] | None,
    photos: Path | None,
    given: dict[str, Any],
    resume: bool,
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
        stored = read_resumable(TrainConfig(style=style or "", output=given["output"], norm=norm, adapt=given["adapt"]))
        values = explicit | ({"style": style} if style else {}) | ({"photos": photos} if photos else {})
        base = stored
    else:
        if style is None:
            raise click.UsageError("no painting given; try 'stylize train painting.jpg photos/'", ctx)
        if given["adapt"] is not None:
            given = given | {name: value for name, value in ADAPTING.items() if name not in explicit}
        values = {**given, "style": style, "photos": photos}
        base = TrainConfig(style="")
    if "style_layers" in explicit and "style_layer_weights" not in explicit:
        values["style_layer_weights"] = (1.0,) * len(values["style_layers"])
    values = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    if isinstance(values.get("style"), tuple):
        values["style"] = tuple(str(path) for path in values["style"])
    loss = replace(base.loss, **{name: value for name, value in values.items() if name in loss_names})
    return replace(base, loss=loss, **{name: value for name, value in values.items() if name not in loss_names})
