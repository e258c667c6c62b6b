"""The model card of a network, and its configuration for other programs; both are made from the header of its file.

A model card (Mitchell et al. 2019, arXiv 1810.03993) says what a network is, what it was made from, under which
licence, and what was measured. The block at its top has the form that the Hugging Face hub reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stylize.checkpoints import FORMAT_VERSION, MODEL_FILE, WeightsFile
from stylize.style_collections import Collection
from stylize.zoo import collection_name, preset_name, style_name

LICENCES = (
    "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "gpl-3.0",
    "lgpl-3.0", "mit", "mpl-2.0", "unlicense",
)  # fmt: skip
"""Licences by the names that the hub has for them; any other is told as ``other`` with its own name."""

FACTS = ("title", "artist", "year", "licence", "source")
"""What is told of a painting."""

READING = (
    "Content and style are relative distances on photos that were held out of the training: 0 would be equal to the "
    "photo (content) or to the painting (style). The photo untouched: the style distance to improve on. Halved "
    "contrast: mean change of the result, in grey levels of 255, when the contrast of the photo is halved."
)
"""How the numbers are to be read."""

NOTHING = "-"
"""What stands where nothing is known."""

LARGEST = 1e12
"""Numbers from here on are not told: a file may hold whatever somebody wrote into it."""


def model_config(weights: WeightsFile, collection: Collection | None = None) -> dict[str, Any]:
    """Return what other programs may want to know of a network, as plain JSON values.

    Args:
        weights: The network, as it is described in its file.
        collection: The collection, where it is one.
    """
    return {
        "model_type": "stylize",
        "architectures": ["TransformerNet"],
        "format_version": FORMAT_VERSION,
        "style": _name(weights, collection),
        "styles": [style_name(weights)] if collection is None else list(collection.painted_names),
        "norm": weights.architecture.norm,
        "preset": preset_name(weights),
        "architecture": asdict(weights.architecture),
        "input": "float32 RGB pictures (batch, 3, height, width) in [0, 1]",
    }


def model_card(weights: WeightsFile, collection: Collection | None = None) -> str:
    """Return the model card of a network, in Markdown.

    Args:
        weights: The network, as it is described in its file.
        collection: The collection, where it is one.
    """
    metadata = weights.metadata
    name = _name(weights, collection)
    several = () if collection is None else collection.painted_names
    one = weights.architecture.of_one_style
    kind = f"A feed-forward network that repaints photos (preset {_plain(preset_name(weights))}, {one.norm} norm"
    count = metadata.get("parameters")
    kind += f", {count:,} parameters)" if isinstance(count, int) else ")"
    opening = f"{kind} in {len(several)} styles" if several else f"{kind} in one style"
    parts = [
        _front_matter(metadata.get("licence"), one.norm),
        f"# {_plain(name)}",
        f"{opening}. It takes and gives float32 RGB pictures of any size, (batch, 3, height, width) in [0, 1].",
        "## Use",
        _usage(several),
        "## Painting" if not several else "## Paintings",
        _paintings(metadata, collection),
        "## Measured",
        _measured(metadata, collection),
        "## Training",
        _training(metadata, collection),
        "## Licence",
        _licence(metadata),
        "## Files",
        f"`{MODEL_FILE}` holds everything: weights, architecture and the facts above. It cannot execute code. "
        "`config.json` repeats some of it for other programs; stylize does not read it.",
    ]
    return "\n\n".join(parts) + "\n"


def _name(weights: WeightsFile, collection: Collection | None) -> str:
    return style_name(weights) if collection is None else collection_name(collection)


def _front_matter(licence: object, norm: str) -> str:
    """Return the block that the hub reads. Texts are written as JSON, which YAML contains."""
    lines = ["---", "library_name: stylize", "pipeline_tag: image-to-image"]
    if licence:
        known = str(licence).strip().lower()
        if known in LICENCES:
            lines.append(f"license: {known}")
        else:
            lines += ["license: other", f"license_name: {_quoted(licence)}"]
    tags = ("style-transfer", "neural-style-transfer", f"{norm.partition('@')[0]}-norm")
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _usage(styles: Sequence[str]) -> str:
    folder = "path/to/this/folder/"
    how = f"--collection {folder} --style NAME" if styles else f"--style {folder}"
    mixed = [
        f"painting = stylizer.mix({json.dumps({styles[0]: 0.6, styles[1]: 0.4}, ensure_ascii=False)})"
        '(Image.open("photo.jpg"))'
        if len(styles) > 1
        else 'painting = stylizer(Image.open("photo.jpg"))'
    ]
    code = ["import stylize", "from PIL import Image", "", f'stylizer = stylize.load("{folder}")', *mixed]
    return f"```sh\nstylize apply photo.jpg {how}\n```\n\n```python\n" + "\n".join(code) + "\n```"


def _paintings(metadata: Mapping[str, Any], collection: Collection | None) -> str:
    """Return what is known of the paintings."""
    if collection is None:
        known = metadata.get("painting")
        mixture = metadata.get("mixture")
        if isinstance(mixture, Mapping):
            shares = ", ".join(f"{_plain(name)} {_number(share, '.0%')}" for name, share in mixture.items())
            return f"A mixture of styles: {shares}."
        if not isinstance(known, Mapping) or not known:
            return "Nothing is recorded of the painting."
        return _table(("", ""), ((fact, _text(known.get(fact))) for fact in FACTS))
    rows = []
    for name in collection.painted_names:
        known = collection.facts(name).get("painting")
        known = known if isinstance(known, Mapping) else {}
        rows.append((_plain(name), *(_text(known.get(fact)) for fact in FACTS)))
    return _table(("style", *FACTS), rows)


def _measured(metadata: Mapping[str, Any], collection: Collection | None) -> str:
    """Return the table of what was measured."""
    if collection is None:
        rows = [("this network", metadata.get("metrics"))]
    else:
        rows = [(_plain(name), collection.facts(name).get("metrics")) for name in collection.painted_names]
    measured = [(name, _numbers(metrics)) for name, metrics in rows]
    if not any(value != NOTHING for _, values in measured for value in values):
        return "Nothing was measured of this network."
    header = ("", "content", "style", "style, the photo untouched", "halved contrast")
    return f"{_table(header, ((name, *values) for name, values in measured))}\n\n{READING}"


def _numbers(metrics: object) -> tuple[str, ...]:
    metrics = metrics if isinstance(metrics, Mapping) else {}
    painted, photo = (metrics.get(key) for key in ("evaluation_mode", "photo"))
    painted, photo = (one if isinstance(one, Mapping) else {} for one in (painted, photo))
    moved = _number(metrics.get("contrast_change"), ".2f", 255)
    return (*(_number(value) for value in (painted.get("content"), painted.get("style"), photo.get("style"))), moved)


def _training(metadata: Mapping[str, Any], collection: Collection | None) -> str:
    """Return how it was trained, as far as that is known."""
    told = {
        "steps": "steps",
        "batch_size": "photos per step",
        "image_size": "side of the crops, px",
        "training_photos": "training photos",
        "learning_rate": "peak learning rate",
        "seed": "seed",
        "start_from": "begun from",
        "collection": "added to the collection",
        "precision": "precision",
        "device": "device",
        "torch": "torch",
    }
    rows = [(words, _text(metadata[key])) for key, words in told.items() if metadata.get(key) is not None]
    if collection is None and "network" in metadata and "collection" not in metadata:
        rows.append(("trained as", "a part of a collection of styles"))
    if (minutes := _number(metadata.get("seconds"), ".1f", 1 / 60)) != NOTHING:
        rows.append(("minutes of training", minutes))
    return _table(("", ""), rows) if rows else "Nothing is recorded of the training."


def _licence(metadata: Mapping[str, Any]) -> str:
    licence = metadata.get("licence")
    own = f"The weights: {_plain(licence)}." if licence else "The licence of the weights is not stated."
    return f"{own} That of a painting stands in its row, where it is known."


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _one_line(value: object) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())


def _quoted(value: object) -> str:
    """Return a text from somebody's file in quotes, for JSON and YAML, without HTML of its own."""
    text = json.dumps(_one_line(value), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: object) -> str:
    """Return a text from somebody's file as one line without Markdown or HTML of its own."""
    text = _one_line(value)
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "\\\\")):
        text = text.replace(sign, instead)
    return "".join(f"\\{letter}" if letter in "|`*[]#" else letter for letter in text)


def _text(value: object) -> str:
    return NOTHING if value in (None, "") else _plain(value)


def _number(value: object, form: str = ".4f", factor: float = 1.0) -> str:
    """Return a number times a factor; what is none, or is too large to be meant, is told as nothing."""
    if isinstance(value, int | float) and abs(value) < LARGEST:
        return format(factor * value, form)
    return NOTHING
