"""``stylize styles``: what is shipped, and what is in a file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from stylize import zoo
from stylize.checkpoints import WeightsFile
from stylize.cli.options import json_option
from stylize.cli.tables import aligned, size_text
from stylize.config import PHOTO_STYLE
from stylize.errors import printable
from stylize.style_choice import choose_style, fitting_collections, is_onnx
from stylize.style_collections import Collection, is_style_file, read_collection, read_style_file
from stylize.zoo import DEFAULT_PRESET, DEFAULT_STYLE, collection_label, collection_name, preset_name, style_name

TITLE_LENGTH = 32
"""Characters of a title in the table; --json has all of them."""

ARTIST_LENGTH = 23
"""The same of an artist."""


@dataclass
class Group:
    """Styles that stand together in the list.

    Attributes:
        heading: The line above them.
        styles: What is known of each, plain values for JSON.
        collection: The network they share; None for networks of one style and for style files.
    """

    heading: str
    styles: list[dict[str, Any]] = field(default_factory=list)
    collection: Collection | None = None

    @property
    def painted(self) -> list[dict[str, Any]]:
        """The styles that are paintings."""
        return [one for one in self.styles if one["style"] != PHOTO_STYLE or self.collection is None]


def describe(name: str, kind: str, weights: WeightsFile, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a style, as plain values for JSON; None where nothing is recorded.

    Args:
        name: Of the style.
        kind: ``network`` of its own, in a ``collection``, or ``style file``.
        weights: The file it is in.
        facts: What is written there of the style.
    """
    painting = facts.get("painting") if isinstance(facts.get("painting"), dict) else {}
    metrics = facts.get("metrics") if isinstance(facts.get("metrics"), dict) else {}
    held_out = metrics.get("evaluation_mode") if isinstance(metrics.get("evaluation_mode"), dict) else {}
    return {
        "style": name,
        "title": painting.get("title"),
        "artist": painting.get("artist"),
        "year": painting.get("year"),
        "kind": kind,
        "collection": None,
        "norm": weights.architecture.of_one_style.norm,
        "preset": preset_name(weights),
        "file": weights.path.name,
        "path": str(weights.path),
        "file_size": weights.path.stat().st_size,
        "style_loss": held_out.get("style"),
        "content_loss": held_out.get("content"),
        "steps": facts.get("steps", weights.metadata.get("steps")),
        "licence": facts.get("licence", weights.metadata.get("licence")),
    }


def collection_group(collection: Collection) -> Group:
    """Return the styles of a collection."""
    weights, label = collection.weights, collection_label(collection)
    styles = [describe(name, "collection", weights, collection.facts(name)) for name in collection.names]
    for one in styles:
        one["collection"] = collection_name(collection)
    count = len(collection.painted_names)
    architecture = f"{weights.architecture.of_one_style.norm} norm, {preset_name(weights)}"
    file = "" if label == str(weights.path) else f", {weights.path.name}"
    heading = f"{label}: {_count(count, 'style')} in one network ({architecture}, {size_text(_bytes(weights))}{file})"
    return Group(heading, styles, collection)


def networks_group(networks: Sequence[WeightsFile]) -> Group:
    """Return networks of one style each."""
    styles = [describe(style_name(weights), "network", weights, weights.metadata) for weights in networks]
    size = size_text(*(one["file_size"] for one in styles))
    if len(networks) == 1:
        return Group(f"{networks[0].path.name}: a network of one style ({size})", styles)
    return Group(f"{len(networks)} networks of one style ({size} each)", styles)


def style_file_group(path: Path) -> Group:
    """Return the style of a style file."""
    style = read_style_file(path)
    fitting = fitting_collections([style])
    one = describe(style.name, "style file", WeightsFile(path, style.architecture, style.metadata), style.metadata)
    one["collection"] = collection_name(fitting[0]) if fitting else None
    network = f"for {collection_label(fitting[0])}" if fitting else "its network was not found; give --collection FILE"
    return Group(f"{path}: a style file ({size_text(one['file_size'])}), {network}", [one])


def shipped_groups() -> list[Group]:
    """Return everything that is shipped, collections first."""
    groups = [collection_group(collection) for collection in zoo.list_collections()]
    networks = [shipped.weights for shipped in zoo.list_weights()]
    return groups + ([networks_group(networks)] if networks else [])


def file_group(file: str) -> Group:
    """Return what is in a file, or in a shipped collection.

    Raises:
        InputError: No such collection.
        WeightsError: The file is missing, damaged or of another kind.
    """
    if not zoo.is_path(file) and not is_onnx(file):
        return collection_group(zoo.find_collection(file))
    path = Path(file)
    if is_onnx(path):
        return networks_group([choose_style(path).weights])
    if is_style_file(path):
        return style_file_group(path)
    weights = zoo.read_weights_file(path)
    return collection_group(read_collection(path)) if weights.architecture.conditional else networks_group([weights])


def print_styles(as_json: bool, files: Sequence[str] = ()) -> None:
    """Print what is shipped, or what is in files, as tables or as a JSON document.

    Raises:
        InputError: A file that cannot be used.
    """
    groups = [file_group(file) for file in files] if files else shipped_groups()
    if as_json:
        click.echo(_printed(json.dumps(_document(groups), indent=2, ensure_ascii=False)))
        return
    if not groups:
        click.echo("no style is shipped with this installation; make one with 'stylize train PAINTING.jpg PHOTOS'")
        return
    click.echo("\n\n".join(f"{printable(group.heading)}\n{_table(group)}" for group in groups))
    click.echo("\n" + "\n".join(map(printable, _notes(groups))))


def _printed(text: str) -> str:
    """Return JSON with escapes for what no terminal prints: a path can hold bytes that are no text."""
    letters = (one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
    return text if text.isprintable() else "".join(letters)


def _document(groups: Iterable[Group]) -> dict[str, Any]:
    """Return the JSON document."""
    collections = [
        {
            "name": collection_name(one),
            "file": one.weights.path.name,
            "path": str(one.weights.path),
            "file_size": _bytes(one.weights),
            "norm": one.weights.architecture.norm,
            "preset": preset_name(one.weights),
            "styles": list(one.painted_names),
            "photo_style": one.has_photo_style,
            "network": one.digest,
        }
        for one in (group.collection for group in groups)
        if one is not None
    ]
    styles = [one for group in groups for one in group.painted]
    return {"default": DEFAULT_STYLE, "styles": styles, "collections": collections}


def _table(group: Group) -> str:
    """Return the table of a group, a row for each style."""
    rows_by_name: dict[str, list[dict[str, Any]]] = {}
    for one in group.painted:
        rows_by_name.setdefault(one["style"], []).append(one)
    header = ["style", "painting", "artist", "year", "style loss", "content loss"]
    rows = []
    for name, several in rows_by_name.items():
        one = several[0]
        known = (_short(one["title"], TITLE_LENGTH), _short(one["artist"], ARTIST_LENGTH), _text(one["year"]))
        row = [name, *known, _number(one["style_loss"]), _number(one["content_loss"])]
        rows.append(row if group.collection else [*row, ", ".join(map(_norm, several))])
    if not group.collection:
        header.append("norm")
    return aligned(header, rows, numeric=frozenset({4, 5}))


def _notes(groups: Sequence[Group]) -> list[str]:
    """Return the lines under the tables: what the numbers are and how a style is used."""
    notes = ["losses: on held-out photos, 0 would be equal to the painting (style) or to the photo (content)"]
    if any(len({one["style"] for one in group.painted}) < len(group.painted) for group in groups):
        notes[0] += "; of the first norm named"
    shipped = [group for group in groups if group.styles and _is_shipped(group)]
    in_collections = {one["style"] for group in shipped if group.collection for one in group.painted}
    alone = {one["style"] for group in shipped if not group.collection for one in group.painted}
    if in_collections & alone:
        taken = "the collection" if zoo.COLLECTION_FIRST else "its network of one style"
        notes.append(f"a style that stands in both is taken from {taken}, unless --collection or --norm says otherwise")
    notes.append(f"to use one: stylize apply photo.jpg {_option(groups[0], 1)}")
    mixable = next((group for group in groups if group.collection and len(group.painted) > 1), None)
    if mixable is not None:
        notes.append(f"to mix two: stylize apply photo.jpg {_option(mixable, 2)}")
    return notes


def _option(group: Group, count: int) -> str:
    """Return the options that choose the first style of a group, or a mixture of its first two."""
    one = group.painted[0] if group.painted else group.styles[0]
    if group.collection is None:
        return f"--style {shlex.quote(one['style'] if _is_shipped(group) else one['path'])}"
    names = [style["style"] for style in group.painted[:count]] or [one["style"]]
    text = names[0] if count == 1 else f"{names[0]}:0.6,{names[1]}:0.4"
    text = shlex.quote(text)  # for a shell: the name may come from a stranger
    return f"--style {text}" if _is_shipped(group) else f"--collection {shlex.quote(one['path'])} --style {text}"


def _is_shipped(group: Group) -> bool:
    return Path(group.styles[0]["path"]).resolve().parent == zoo.weights_directory().resolve()


def _norm(one: dict[str, Any]) -> str:
    return one["norm"] if one["preset"] in (DEFAULT_PRESET, "custom") else f"{one['norm']} ({one['preset']})"


def _bytes(weights: WeightsFile) -> int:
    return weights.path.stat().st_size


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _short(value: Any, length: int) -> str:
    text = _text(value)
    return text if len(text) <= length else f"{text[: length - 3].rstrip()}..."


def _text(value: Any) -> str:
    return "-" if value in (None, "") else str(value)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-"


@click.command("styles")
@click.argument("files", nargs=-1, metavar="[COLLECTION|FILE]...")
@json_option
def command(files: tuple[str, ...], as_json: bool) -> None:
    """Show the shipped styles: painting, artist, year, losses.

    Given a collection or files (a collection, a style file, a network), show what is in them.

    \b
    stylize styles
    stylize styles paintings --json
    stylize styles mine.safetensors
    """
    print_styles(as_json, files)
