"""``stylize compare``: show what normalisations do, with measurements."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from stylize.cli.determinism import deterministic_option, deterministically
from stylize.cli.options import NORM, device_option, json_option, overwrite_option
from stylize.cli.stopping import stop_between_steps
from stylize.config import IMAGE_SIZE_MINIMUM, PRESETS, STYLE_SIZE_MINIMUM
from stylize.errors import InputError, TrainingInterrupted
from stylize.zoo import DEFAULT_STYLE, resolve_weights

if TYPE_CHECKING:
    from stylize.comparison.experiments import StudyProgress
    from stylize.comparison.plan import Study

SECONDS_BETWEEN_LINES = 30

ONLY_TRAINING = (
    "seeds",
    "steps",
    "batch_size",
    "image_size",
    "style_size",
    "validation",
    "quick",
    "tune_lr",
    "processes",
    "runs",
)
ONLY_PHOTOS = ("style", "size", "painting")


@click.command("compare")
@click.argument("paths", nargs=-1, metavar="PHOTO...", type=click.Path(path_type=Path))
@click.option(
    "--style",
    multiple=True,
    default=(DEFAULT_STYLE,),
    show_default=True,
    metavar="NAME|FILE",
    help="Shipped style; or weights files of networks trained on one painting.",
)
@click.option("--norm", "norms", multiple=True, type=NORM, help="Normalisation to compare; give it several times.")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Architecture.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the report.  [default: compare-STYLE]")
@click.option(
    "--size",
    type=click.IntRange(min=IMAGE_SIZE_MINIMUM),
    default=512,
    show_default=True,
    metavar="PX",
    help="Long edge of the pictures in the report.",
)
@click.option("--painting", type=click.Path(path_type=Path), help="Picture of the painting, where it is not shipped.")
@click.option("--train", is_flag=True, help="Train the networks: PAINTING... PHOTOS instead of PHOTO...")
@click.option("--seeds", type=click.IntRange(min=1), help="Seeds of instance and batch norm; others get one.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps of every run.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Photos per step.")
@click.option("--image-size", type=click.IntRange(min=IMAGE_SIZE_MINIMUM), help="Side of the training crops in pixels.")
@click.option(
    "--style-size", type=click.IntRange(min=STYLE_SIZE_MINIMUM), help="Short side of the paintings in pixels."
)
@click.option("--validation", type=click.Path(path_type=Path), help="Folder of held-out photos.")
@click.option("--quick", is_flag=True, help="Fewer norms and steps: about a quarter of an hour on two cores.")
@click.option("--tune-lr", is_flag=True, help="Give each norm its own best learning rate from a small grid.")
@click.option(
    "--processes",
    type=click.IntRange(min=2),
    multiple=True,
    metavar="N",
    help="Train every norm also with its batches shared out over N processes (GPUs, or CPU); may be given several "
    "times.",
)
@click.option("--runs", type=click.Path(path_type=Path), help="Folder of the training runs.  [default: OUTPUT.runs]")
@device_option
@deterministic_option
@json_option
@overwrite_option
@click.pass_context
def command(ctx: click.Context, paths: tuple[Path, ...], train: bool, deterministic: bool, **given: Any) -> None:
    """Show what normalisations do to stylization, with measurements and pictures, as one web page.

    With the shipped networks and your photos, in about a minute (without PHOTO: example photos). Or, with --train, by
    training networks that differ in nothing but the norm; that can be stopped, and the same command continues it.

    \b
    stylize compare photo.jpg
    stylize compare photo.jpg --style great-wave -o report/
    stylize compare photo.jpg --style mine-instance.safetensors --style mine-group.safetensors --painting mine.jpg
    stylize compare --train painting.jpg photos/ --quick
    stylize compare --train painting.jpg photos/ --norm instance --norm batch --norm layer --seeds 3
    """
    explicit = {name for name in given if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    misplaced = explicit & set(ONLY_PHOTOS if train else ONLY_TRAINING)
    if misplaced:
        option = f"--{sorted(misplaced)[0].replace('_', '-')}"
        where = "cannot be used with --train" if train else "needs --train"
        raise click.UsageError(f"{option} {where}", ctx)
    with deterministically(deterministic):
        if train:
            _train(ctx, paths, given)
        else:
            _compare(paths, given)


def _compare(photos: tuple[Path, ...], given: dict[str, Any]) -> None:
    """Compare trained networks."""
    # What can be checked without torch comes before its import.
    from stylize.comparison.networks import choose_networks
    from stylize.zoo import style_name

    weights = choose_networks(given["style"], given["norms"], given["preset"])
    missing = [photo for photo in photos if not photo.is_file()]
    if missing:
        kind = "is a folder; give photos one by one" if missing[0].is_dir() else "not found"
        raise InputError(f"photo {missing[0]} {kind}")
    output = given["output"] or _folder_for(style_name(weights[0]))

    from stylize.comparison.report_folder import check_output

    check_output(output, given["overwrite"])
    if not photos:
        click.echo("no PHOTO given: comparing on example photos that come with stylize", err=True)

    from tqdm import tqdm

    from stylize.comparison.inference import PROBES, compare
    from stylize.comparison.inference_sections import inference_verdict
    from stylize.comparison.report_folder import write_comparison
    from stylize.devices import choose_device
    from stylize.provenance import machine_facts, shown_command

    began = time.perf_counter()
    shown = sys.stderr.isatty()
    bar = tqdm(total=len(PROBES), file=sys.stderr, disable=not shown, unit="probe", bar_format=BAR)
    steps = iter(range(len(PROBES)))

    def on_probe(name: str) -> None:
        bar.update(min(1, next(steps, 0)))
        bar.set_description_str(name)

    try:
        found = compare(
            photos,
            style=given["style"],
            norms=given["norms"],
            preset=given["preset"],
            painting=given["painting"],
            size=given["size"],
            device=given["device"],
            on_probe=on_probe,
        )
        bar.update(len(PROBES) - bar.n)
    finally:
        bar.close()
    facts = {"command": shown_command(), **machine_facts(str(choose_device(given["device"])))}
    facts["seed"] = "0 (samples of the linear fit and noise)"
    page = write_comparison(output, found, facts, overwrite=given["overwrite"])
    if given["as_json"]:
        _print_numbers(output)
        return
    for sentence in inference_verdict(found):
        _say(sentence)
    seconds = time.perf_counter() - began
    click.echo(f"wrote {click.format_filename(page)} in {seconds:.0f} s; open it in a browser")


BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {desc} [{elapsed}]"


def _folder_for(name: str) -> Path:
    """Return the folder of a report on a style or a painting, whose name may come from a file that somebody made."""
    plain = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "-", name).strip(" .-")
    return Path(f"compare-{plain[:50].strip(' .-')}" if plain else "compare")


def _say(sentence: str) -> None:
    """Print a sentence of the report, which may hold signs that this terminal does not have."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(sentence.encode(encoding, "replace").decode(encoding))


def _print_numbers(output: Path) -> None:
    """Print the numbers of a report, in ASCII, which every terminal has."""
    click.echo(json.dumps(json.loads((output / "results.json").read_text(encoding="utf-8")), indent=2))


def _train(ctx: click.Context, paths: tuple[Path, ...], given: dict[str, Any]) -> None:
    """Carry out a training study."""
    if not paths:
        raise click.UsageError("no painting given; try 'stylize compare --train painting.jpg photos/'", ctx)
    *paintings, last = paths
    photos: Path | None = last
    if not last.is_dir():
        if paintings and not last.is_file():
            raise InputError(f"folder of photos {last} not found; the last argument is a folder, or there is none")
        paintings, photos = [*paintings, last], None
    missing = [painting for painting in paintings if not painting.is_file()]
    if missing and missing[0].is_dir():
        raise InputError(f"painting {missing[0]} is a folder; the folder of photos comes last, after the paintings")
    if missing or not paintings:
        raise InputError(f"painting {missing[0]} not found" if missing else f"no painting given, only photos {last}")
    output = given["output"] or _folder_for(paintings[0].stem)

    from stylize.comparison.report_folder import check_output, write_study

    check_output(output, given["overwrite"])
    study = _study(paintings, photos, output, given)

    from stylize.comparison.experiments import carry_out, check_material, estimate
    from stylize.comparison.plan import planned_runs
    from stylize.comparison.study import conclude
    from stylize.comparison.study_sections import study_verdict
    from stylize.devices import choose_device
    from stylize.provenance import machine_facts, shown_command
    from stylize.zoo import example_photos

    check_material(study)
    runs = planned_runs(study)
    norms = ", ".join(study.norms)
    click.echo(
        f"{len(runs)} runs of {study.steps} steps on {', '.join(Path(p).stem for p in study.paintings)}: {norms}; kept "
        f"in {click.format_filename(study.runs)}",
        err=True,
    )
    seconds = estimate(study)
    if seconds:
        click.echo(f"about {_duration(seconds)} of training are left on this machine; Ctrl-C saves", err=True)
    with _Bar() as bar, stop_between_steps() as check:

        def on_step(progress: StudyProgress) -> None:
            bar(progress)
            check()

        try:
            results = carry_out(study, on_step, check)
            check()
        except TrainingInterrupted as error:
            raise TrainingInterrupted(f"stopped and saved in {study.runs}; the same command continues") from error
    click.echo("measuring the finished networks", err=True)
    from tqdm import tqdm

    with tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), unit="step", desc="gap to the optimum") as bar:

        def on_optimum(done: int, steps: int) -> None:
            bar.total = steps
            bar.update(done - bar.n)

        outcome = conclude(study, results, example_photos()[:3], on_step=on_optimum)
    facts = {"command": shown_command(), **machine_facts(str(choose_device(study.device)))}
    facts["seeds"] = ", ".join(str(seed) for seed in sorted({result.seed for result in results}))
    page = write_study(output, outcome, facts, overwrite=given["overwrite"])
    if given["as_json"]:
        _print_numbers(output)
        return
    for sentence in study_verdict(outcome):
        _say(sentence)
    click.echo(f"wrote {click.format_filename(page)}; open it in a browser")


def _study(paintings: list[Path], photos: Path | None, output: Path, given: dict[str, Any]) -> Study:
    from stylize.comparison.plan import QUICK, RATES, Study

    if photos is None:
        click.echo("no folder of photos given: training on the example photos that come with stylize", err=True)
    names = [painting.stem for painting in paintings]
    # The control makes all photos alike in a style that is not the one to be learned.
    other = next(style for style in (DEFAULT_STYLE, "great-wave") if style not in names[:1])
    study = Study(
        paintings=tuple(map(str, paintings)),
        photos=None if photos is None else str(photos),
        runs=str(given["runs"] or output.with_name(f"{output.name}.runs")),
        control_weights=str(resolve_weights(other, "instance").path),
        device=given["device"],
    )
    if given["quick"]:
        study = replace(study, **QUICK)
    names_of = ("seeds", "steps", "batch_size", "image_size", "style_size", "preset")
    changes = {name: given[name] for name in names_of if given[name] is not None}
    if given["validation"] is not None:
        changes["validation"] = str(given["validation"])
    if given["norms"]:
        changes["norms"] = given["norms"]
        if given["seeds"] is not None:
            changes["other_seeds"] = given["seeds"]
    if given["processes"]:
        changes["processes"] = tuple(sorted(set(given["processes"])))
    if given["tune_lr"]:
        changes["rates"] = RATES
    counts, study = study.photo_counts, replace(study, **changes, photo_counts=())
    _check_runs(Path(study.runs), output)
    return replace(study, photo_counts=_possible(counts, study))


def _check_runs(runs: Path, output: Path) -> None:
    """Check that the networks of a study can be kept in ``runs``."""
    if runs.exists() and not runs.is_dir():
        raise InputError(f"{runs}, which is to hold the training runs, is a file; give a folder with --runs")
    if output.resolve() in (runs.resolve(), *runs.resolve().parents):
        raise InputError(
            f"the folder of the training runs, {runs}, lies in that of the report, {output}, which is replaced as a "
            "whole; give another --runs"
        )


def _possible(counts: tuple[int, ...], study: Study) -> tuple[int, ...]:
    """Return those of some numbers of training photos that are a batch or more, and fewer than there are."""
    from stylize.comparison.plan import planned_runs
    from stylize.training_photos import choose_photos

    if not counts:
        return ()
    _, training, _ = choose_photos(planned_runs(study)[0].config)
    possible = tuple(count for count in counts if study.batch_size <= count < len(training))
    if possible != counts:
        left_out = " and ".join(str(count) for count in counts if count not in possible)
        found = f"{len(training)} photos to train on, {study.batch_size} a step"
        click.echo(f"{found}: no networks for {left_out} photos", err=True)
    return possible


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


class _Bar:
    """One bar over the whole study on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.last_line = time.monotonic()
        self.began = time.monotonic()
        self.first_step: int | None = None
        self.run = ""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, progress: StudyProgress) -> None:
        if self.first_step is None:
            self.first_step = progress.step - 1
        losses = progress.training.losses
        text = f"{progress.run}, style {losses['style']:.4f}, {progress.training.photos_per_second:.1f} photos/s"
        if sys.stderr.isatty():
            if self.bar is None:
                from tqdm import tqdm

                self.bar = tqdm(total=progress.steps, initial=self.first_step, unit="step", dynamic_ncols=True)
            self.bar.set_postfix_str(f"run {progress.done + 1}/{progress.runs}: {text}", refresh=False)
            self.bar.update(progress.step - self.bar.n)
            return
        now = time.monotonic()
        if now - self.last_line > SECONDS_BETWEEN_LINES or progress.run != self.run:
            self.last_line, self.run = now, progress.run
            speed = (progress.step - self.first_step) / max(now - self.began, 1e-9)
            left = _duration((progress.steps - progress.step) / speed)
            click.echo(f"run {progress.done + 1}/{progress.runs}: {text}, {left} left", err=True)
