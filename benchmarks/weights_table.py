"""Make ``weights/README.md`` from the headers of the shipped networks.

python benchmarks/weights_table.py            write it
python benchmarks/weights_table.py --check    exit with 1 if the file differs from what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.config import TrainConfig
from stylize.errors import StylizeError
from stylize.resources import examples_directory
from stylize.style_collections import Collection
from stylize.weights_header import read_header
from stylize.zoo import ShippedWeights, collection_name, list_collections, list_weights, sha256

LOSS_NETWORK = "vgg19.safetensors"
UNKNOWN = "-"
LICENCE = "MIT"
"""Of the networks: they are our own, as the code."""


def painting_facts(shipped: ShippedWeights, sources: dict[str, Any]) -> dict[str, Any]:
    """Return title, artist, year and licence of the painting a network was trained on, as far as they are known.

    Args:
        shipped: The network; what its header says counts first.
        sources: ``examples/paintings/SOURCES.json``. Used where it is about the same file, by its sha256.
    """
    recorded = shipped.metadata.get("painting") or {}
    same = next((entry for entry in sources.values() if entry.get("sha256") == recorded.get("sha256")), {})
    return {**same, **recorded}


def read_sources() -> dict[str, Any]:
    """Return ``examples/paintings/SOURCES.json``, or nothing where it is not there."""
    try:
        text = (examples_directory() / "paintings" / "SOURCES.json").read_text(encoding="utf-8")
    except (OSError, StylizeError):
        return {}
    return json.loads(text)


def duration(seconds: float | None) -> str:
    """Return seconds as a person says them: ``45 s``, ``12 min``, ``1 h 05 min``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float | None, form: str = ".4f") -> str:
    """Return a number in a form, or a dash for one that is not recorded."""
    return UNKNOWN if value is None else format(value, form)


def text(value: object) -> str:
    """Return a value as text, or a dash for one that is not recorded."""
    return UNKNOWN if value in (None, "") else str(value)


def command(shipped: ShippedWeights) -> str:
    """Return the command that trains such a network: the recorded settings, without those that are the defaults."""
    defaults = TrainConfig(style="")
    parts = ["stylize train", f"examples/paintings/{shipped.style}.jpg", "PHOTOS", "--validation HELD_OUT"]
    parts += [f"--norm {shipped.norm}", f"--preset {shipped.preset}"]
    names = ("steps", "batch_size", "image_size", "style_size", "learning_rate", "seed")
    recorded = {name: shipped.metadata[name] for name in names if name in shipped.metadata}
    recorded |= shipped.metadata.get("loss") or {}
    for name, value in recorded.items():
        default = getattr(defaults if name in names else defaults.loss, name)
        if (tuple(value) if isinstance(value, list) else value) == default:
            continue
        # A setting with several values is an option in the singular, given several times.
        option, values = (name[:-1], value) if isinstance(value, list) else (name, [value])
        for one in values:
            parts.append(f"--{option.replace('_', '-')} {format(one, 'g') if isinstance(one, float) else one}")
    return " ".join(parts)


def tables(networks: Sequence[ShippedWeights], sources: dict[str, Any]) -> list[str]:
    """Return the sections about the networks."""
    made, measured, files = [], [], []
    for shipped in networks:
        metadata = shipped.metadata
        painting = painting_facts(shipped, sources)
        metrics = metadata.get("metrics") or {}
        applied, trained, photo = (metrics.get(key) or {} for key in ("evaluation_mode", "training_mode", "photo"))
        name = f"`{shipped.path.stem}`"
        steps, batch, crop = (text(metadata.get(key)) for key in ("steps", "batch_size", "image_size"))
        where = " ".join(str(metadata[key]) for key in ("device", "precision") if metadata.get(key)) or UNKNOWN
        made.append(
            [name, *(text(painting.get(key)) for key in ("title", "artist", "year")), shipped.norm, shipped.preset]
            + [number(metadata.get("parameters"), ","), f"{steps} x {batch} x {crop}"]
            + [text(metadata.get("training_photos")), duration(metadata.get("seconds")), where]
        )
        contrast = metrics.get("contrast_change")
        measured.append(
            [name, *(number(row.get(key)) for row in (applied, trained) for key in ("content", "style"))]
            + [number(photo.get("style")), number(None if contrast is None else 255 * contrast, ".2f")]
            + [text(metrics.get("photos"))]
        )
        size = f"{shipped.file_size / 1e6:.2f} MB"
        licence = metadata.get("licence") or LICENCE
        files.append([f"`{shipped.path.name}`", size, f"`{sha256(shipped.path)}`", licence])
    made_header = ["network", "painting", "artist", "year", "norm", "preset", "parameters", "steps x batch x crop"]
    made_header += ["training photos", "time", "on"]
    measured_header = ["network", "content", "style", "content, training mode", "style, training mode"]
    measured_header += ["style of the photos", "contrast change", "photos"]
    return [
        "## How they were made",
        record.table(made_header, made, (6, 7, 8, 9)),
        "Crop: side of the square training crops in pixels. Everything else that decides a run (seed, learning rate, "
        "size of the painting, weights of the loss, sha256 of the painting, version of torch) is in the header of the "
        "file as well.",
        "The commands; PHOTOS and HELD_OUT are folders of photos:",
        "```sh\n" + "\n".join(command(shipped) for shipped in networks) + "\n```",
        "## What they are worth",
        record.table(measured_header, measured, range(1, len(measured_header))),
        "Means over photos that were held out of the training, in float32. Losses are relative to photo and "
        "painting (`stylize/losses.py`); 0 is a perfect match. Content and style: the network as it is "
        "applied. Training mode: batch norm with the statistics of the batch; instance norm is the same in both. Style "
        "of the photos: of the untouched photos, the distance to improve on. Contrast change: mean change of the "
        "result in grey levels of 0 to 255 when the contrast of the photo is halved.",
        "## Files",
        record.table(["file", "size", "sha256", "licence"], files, (1,)),
        "The networks are our own and under the licence of the package; the paintings are in the public domain "
        "(`examples/SOURCES.md`).",
    ]


def collection_section(collection: Collection) -> list[str]:
    """Return the section about a collection, from its header."""
    metadata = collection.weights.metadata
    rows = []
    for name in collection.names:
        facts = collection.facts(name)
        painting = facts.get("painting") or {}
        metrics = facts.get("metrics") or {}
        applied, photo = (metrics.get(key) or {} for key in ("evaluation_mode", "photo"))
        rows.append(
            [f"`{name}`", *(text(painting.get(key)) for key in ("title", "artist", "year"))]
            + [number(applied.get(key)) for key in ("content", "style", "total")]
            + [number(photo.get("total"))]
        )
    size = collection.weights.path.stat().st_size
    steps, batch, crop = (text(metadata.get(key)) for key in ("steps", "batch_size", "image_size"))
    where = " ".join(str(metadata[key]) for key in ("device", "precision") if metadata.get(key)) or UNKNOWN
    begun = f", begun from `{metadata['start_from']}`" if metadata.get("start_from") else ""
    header = ["style", "painting", "artist", "year", "content", "style distance", "total", "total of the photos"]
    path = collection.weights.path
    return [
        f"## The collection `{collection_name(collection)}`",
        f"`{path.name}`: one network with {collection.weights.architecture.norm} norm for {len(collection.names)} "
        f"styles, {size / 1e6:.2f} MB, sha256 `{sha256(path)}`, licence {metadata.get('licence') or LICENCE}. "
        f"{steps} steps x {batch} x {crop} px on {text(metadata.get('training_photos'))} photos, "
        f"{duration(metadata.get('seconds'))} ({where}){begun}.",
        record.table(header, rows, (4, 5, 6, 7)),
        "Means over held-out photos of that size, in float32, as above. The style `photo` is to leave a photo as it "
        "is, but for its mean and contrast, which instance norm takes away; its losses are against the photo itself.",
    ]


def loss_network_section(path: Path) -> list[str]:
    """Return the section about the loss network, from its header."""
    header = read_header(path)
    facts = [("file", f"`{path.name}`"), ("size", f"{path.stat().st_size / 1e6:.2f} MB")]
    facts += [("sha256", f"`{sha256(path)}`")]
    keys = ("architecture", "layers", "encoding", "input", "source", "authors", "licence")
    facts += [(key, header[key]) for key in keys if header.get(key)]
    return [
        "## The loss network",
        "`stylize train` and the style distance of `stylize apply` measure pictures with it; painting does not need "
        "it. `weights/convert_vgg19.py` makes it.",
        record.table(["", ""], facts),
    ]


def page(
    networks: Sequence[ShippedWeights],
    loss_network: Path | None,
    sources: dict[str, Any],
    collections: Sequence[Collection] = (),
) -> str:
    """Return the whole of ``weights/README.md``."""
    parts = [
        "# Networks in the box",
        "Made by `python benchmarks/weights_table.py` from the headers of the files; do not edit it by hand.",
    ]
    parts += tables(networks, sources) if networks else ["No stylization network is shipped yet."]
    for collection in collections:
        parts += collection_section(collection)
    if loss_network is not None and loss_network.is_file():
        parts += loss_network_section(loss_network)
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make weights/README.md from the headers of the shipped networks.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the file is not up to date")
    options = parser.parse_args(arguments)

    # The README of the checkout is about the files of the checkout, and a checkout stands before an installation.
    folder = record.ROOT / "weights"
    networks = list_weights()
    strangers = [shipped.path for shipped in networks if shipped.path.resolve().parent != folder.resolve()]
    if strangers:
        raise StylizeError(f"{strangers[0]} is not in {folder}; run this with the stylize of the checkout")
    wanted = page(networks, folder / LOSS_NETWORK, read_sources(), list_collections())
    path = folder / "README.md"
    if not options.check:
        record.write_text(path, wanted)
        print(f"written: weights/README.md ({len(networks)} networks)")
        return
    found = path.read_text(encoding="utf-8") if path.is_file() else None
    if found != wanted:
        print("weights/README.md is not up to date; run: python benchmarks/weights_table.py", file=sys.stderr)
        raise SystemExit(1)
    print(f"weights/README.md is up to date ({len(networks)} networks)")


if __name__ == "__main__":
    record.run(main)
