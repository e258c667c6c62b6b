"""``stylize styles``: what is shipped."""

from __future__ import annotations

import json
from typing import Any

import click

from stylize.cli.options import json_option
from stylize.cli.tables import aligned
from stylize.zoo import DEFAULT_STYLE, ShippedWeights, list_weights


def describe(shipped: ShippedWeights) -> dict[str, Any]:
    """Return what is known about a shipped network, as plain values for JSON; None where nothing is recorded."""
    metadata = shipped.metadata
    painting = metadata.get("painting") if isinstance(metadata.get("painting"), dict) else {}
    metrics = metadata.get("metrics") if isinstance(metadata.get("metrics"), dict) else {}
    held_out = metrics.get("evaluation_mode") if isinstance(metrics.get("evaluation_mode"), dict) else {}
    return {
        "style": shipped.style,
        "title": painting.get("title"),
        "artist": painting.get("artist"),
        "year": painting.get("year"),
        "norm": shipped.norm,
        "preset": shipped.preset,
        "file": shipped.path.name,
        "file_size": shipped.file_size,
        "style_loss": held_out.get("style"),
        "content_loss": held_out.get("content"),
        "steps": metadata.get("steps"),
        "licence": metadata.get("licence"),
    }


def print_styles(as_json: bool) -> None:
    """Print the shipped networks as a table, or as a JSON document."""
    found = [describe(shipped) for shipped in list_weights()]
    if as_json:
        click.echo(json.dumps({"default": DEFAULT_STYLE, "styles": found}, indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo("no style is shipped with this installation; make one with 'stylize train PAINTING.jpg PHOTOS'")
        return
    header = ("style", "painting", "artist", "year", "norm", "preset", "size")
    header += ("style loss", "content loss", "steps", "licence")
    rows = []
    for one in found:
        size = f"{one['file_size'] / 1e6:.1f} MB"
        losses = (_number(one["style_loss"]), _number(one["content_loss"]))
        names = (_text(one[key]) for key in ("style", "title", "artist", "year", "norm", "preset"))
        rows.append((*names, size, *losses, _text(one["steps"]), _text(one["licence"])))
    click.echo(aligned(header, rows, numeric=frozenset({6, 7, 8, 9})))
    click.echo(f"\nlosses: on held-out photos; to use one: stylize apply photo.jpg --style {found[0]['style']}")


def _text(value: Any) -> str:
    return "-" if value in (None, "") else str(value)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-"


@click.command("styles")
@json_option
def command(as_json: bool) -> None:
    """Show the shipped styles: painting, normalisation, losses, licence."""
    print_styles(as_json)
