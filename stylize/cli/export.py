"""``stylize export``: a network as an ONNX file, or as a folder to share."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from stylize.cli.options import NORM, collection_option, json_option, overwrite_option
from stylize.config import PRESETS
from stylize.errors import InputError
from stylize.style_choice import choose_style, is_onnx
from stylize.zoo import DEFAULT_STYLE


@click.command("export")
@click.argument("style", default=DEFAULT_STYLE, metavar="[STYLE|FILE|MIXTURE]")
@collection_option
@click.option("--norm", type=NORM, help="Normalisation of the network.  [default: instance]")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Architecture of a shipped style.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["onnx", "huggingface"]),
    default="onnx",
    show_default=True,
    help="An ONNX file, or a folder with weights, config and model card as on the Hugging Face hub.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.onnx|FOLDER", help="Where to write.")
@overwrite_option
@json_option
def command(
    style: str,
    collection: str | None,
    norm: str | None,
    preset: str | None,
    kind: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a network as an ONNX file for other programs, or as a folder to share.

    STYLE is a shipped style, FILE a weights or style file, MIXTURE several styles of a collection, such as
    great-wave:0.6,starry-night:0.4. The result is STYLE-NORM.onnx in the current folder unless -o says where. It takes
    float32 RGB pictures (batch, 3, height, width) in [0, 1] of any size, and gives the same back. It is checked against
    PyTorch in ONNX Runtime before it is written. Needs: pip install 'stylize[onnx]'

    With --format huggingface the result is the folder STYLE-NORM, of STYLE or of a whole collection. Nothing is sent
    anywhere, and nothing more has to be installed.

    \b
    stylize export starry-night
    stylize export great-wave --norm batch -o models/wave.onnx
    stylize export my-painting.safetensors
    stylize apply photo.jpg --style starry-night-instance.onnx
    stylize export starry-night --format huggingface -o starry-night/
    stylize apply photo.jpg --style starry-night/
    """
    if kind == "huggingface":
        _export_folder(style, collection, norm, preset, output, overwrite, as_json)
        return
    from stylize.exporting import default_output, export_onnx

    chosen = choose_style(style, norm, preset, collection)
    if is_onnx(chosen.weights.path):
        raise InputError(f"'{style}' is an ONNX file already; give the name of a style or its weights file")
    report = export_onnx(chosen, default_output(chosen.described) if output is None else output, overwrite=overwrite)
    if as_json:
        values = asdict(report) | {"output": str(report.output), "seconds": round(report.seconds, 3)}
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    click.echo(
        f"{report.style} ({report.norm} norm, {report.preset}) -> {click.format_filename(report.output)} "
        f"({report.file_size / 1e6:.1f} MB, opset {report.opset}) in {report.seconds:.1f} s"
    )
    if report.largest_difference is None:
        click.echo("not checked, because ONNX Runtime is not installed: pip install 'stylize[onnx]'")
        return
    click.echo(
        f"checked in ONNX Runtime at {', '.join(report.checked)} (batch x height x width): differs from PyTorch by at "
        f"most {report.largest_difference:.2g} grey levels of 255"
    )


def _export_folder(
    style: str,
    collection: str | None,
    norm: str | None,
    preset: str | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a style or a whole collection as a folder."""
    from stylize.default_styles import as_collection, first_style
    from stylize.model_folders import FILES, default_folder, write_model_folder

    whole = as_collection(style) if collection is None else None
    if whole is not None:
        first_style(whole, norm, preset)  # Refuses a norm or a preset that the collection does not have.
    network = whole or choose_style(style, norm, preset, collection)
    folder = default_folder(network) if output is None else output
    report = write_model_folder(network, folder, overwrite=overwrite)
    if as_json:
        values = asdict(report) | {"output": str(folder), "files": FILES, "seconds": round(report.seconds, 3)}
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    shown = f"{click.format_filename(folder)}/"
    many = f"{len(report.styles)} styles, " if whole is not None else ""
    click.echo(
        f"{report.style} ({many}{report.norm} norm, {report.preset}) -> {shown} ({', '.join(FILES)}; "
        f"{report.file_size / 1e6:.1f} MB) in {report.seconds:.1f} s"
    )
    use = f"--collection {shown} --style {report.styles[0]}" if whole is not None else f"--style {shown}"
    click.echo(f"to use it: stylize apply photo.jpg {use}")
