"""``stylize collect``: a collection with more styles."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from stylize.cli.options import json_option, overwrite_option
from stylize.cli.tables import file_text, size_text
from stylize.style_choice import choose_collection
from stylize.style_collections import Collection, collect, read_collection, read_style_file
from stylize.zoo import collection_name


@click.command("collect")
@click.argument("collection", metavar="COLLECTION")
@click.argument("styles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="STYLE.safetensors...")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.safetensors", help="File to write."
)
@overwrite_option
@json_option
def command(collection: str, styles: tuple[Path, ...], output: Path, overwrite: bool, as_json: bool) -> None:
    """Put styles together in one network.

    Writes COLLECTION with the styles of style files added. COLLECTION is a shipped one, such as paintings, or a file.
    A style file comes from `stylize train PAINTING --adapt COLLECTION`; it fits that collection and whatever was
    collected from it. The styles paint as they did before.

    \b
    stylize collect paintings mine.safetensors yours.safetensors -o all.safetensors
    stylize apply photo.jpg --collection all.safetensors --style mine:0.5,yours:0.5
    """
    base = choose_collection(collection)
    additions = [read_style_file(style) for style in styles]
    made = read_collection(collect(base, additions, output, overwrite=overwrite))
    added = [style.name for style in additions]
    if as_json:
        click.echo(json.dumps(_document(made, added), indent=2, ensure_ascii=False))
        return
    name, size = file_text(output), size_text(output.stat().st_size)
    click.echo(f"{name}: {len(made.painted_names)} styles in one network ({size})")
    click.echo(f"added: {', '.join(added)}")
    click.echo(f"as before: {', '.join(base.painted_names) or 'none'}")
    options = f"--collection {shlex.quote(name)} --style {shlex.quote(added[0])}"
    click.echo(f"to use it: stylize apply photo.jpg {options}")


def _document(made: Collection, added: list[str]) -> dict[str, object]:
    """Return the JSON document."""
    return {
        "output": str(made.weights.path),
        "name": collection_name(made),
        "styles": list(made.painted_names),
        "added": added,
        "photo_style": made.has_photo_style,
        "norm": made.weights.architecture.norm,
        "file_size": made.weights.path.stat().st_size,
        "network": made.digest,
    }
