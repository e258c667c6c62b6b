"""One set of defaults for very different paintings: trains each of them alike and shows all of them on one sheet.

    python benchmarks/contact_sheet.py examples/paintings/*.jpg --photos PHOTOS --steps 600

Runs are kept in ``--runs``; the same command continues an interrupted run and skips finished ones. A painting is shown
where it is one of the examples, or with ``--with-paintings``; others may not be free to publish.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.config import NORM_NAMES, PRESETS, TrainConfig
from stylize.errors import InputError
from stylize.resources import examples_directory
from stylize.zoo import example_photos

if TYPE_CHECKING:
    from PIL import Image

    from stylize.checkpoints import WeightsFile


def may_show(painting: Path) -> bool:
    """Return whether a painting is one of the examples."""
    return painting.resolve().parent == (examples_directory() / "paintings").resolve()


def draw(finished: dict[Path, WeightsFile], pictures: Sequence[Path], size: int, with_paintings: bool) -> Image.Image:
    """Draw a row for each painting: the painting where it may be shown, then the photos repainted."""
    from benchmarks.sheet import sheet
    from stylize.data import load_square
    from stylize.images import to_image
    from stylize.stylizer import load

    photos = [load_square(path, size) for path in pictures]
    shown = {painting: with_paintings or may_show(painting) for painting in finished}
    first = any(shown.values())
    columns = ["painting"] * first + [path.stem for path in pictures]
    photo_row: list[Image.Image | None] = [None] * first
    rows: list[tuple[str, list[Image.Image | None]]] = [("photo", photo_row + [to_image(photo) for photo in photos])]
    for painting, weights in finished.items():
        print(f"painting {len(photos)} photos as {painting.stem}", flush=True)
        stylizer = load(weights.path)
        cells: list[Image.Image | None] = []
        if first:
            cells.append(to_image(load_square(painting, size)) if shown[painting] else None)
        rows.append((painting.stem, cells + [to_image(stylizer(photo)) for photo in photos]))
    return sheet(rows, columns, size)


def markdown(results: dict[str, Any]) -> str:
    """Return the results as a Markdown page."""
    settings = results["settings"]
    header = ["painting", "content", "style", "total", "style of the untouched photo", "reduced by", "training s"]
    lines = []
    for name, row in results["paintings"].items():
        numbers = [f"{row[key]:.4f}" for key in ("content", "style", "total", "photo_style")]
        reduced = 1 - row["style"] / row["photo_style"]
        lines.append([name, *numbers, f"{reduced:.0%}", f"{row['seconds']:.0f}"])
    return "\n\n".join(
        [
            "# One set of defaults, many paintings",
            f"Made by {record.facts_line(results['facts'])}",
            f"Preset `{settings['preset']}`, {settings['norm']} norm, {settings['steps']} steps of "
            f"{settings['batch_size']} crops of {settings['image_size']} px from {settings['training_photos']} photos, "
            "the default loss weights for every painting. Losses are those of the header of each network: means over "
            f"held-out photos (here {settings['held_out_photos']}), relative to photo and painting: 0 is a "
            'perfect match. "Reduced by": how much smaller the style loss is than that of the untouched photo.',
            record.table(header, lines, range(1, len(header))),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    defaults = TrainConfig(style="")
    parser = argparse.ArgumentParser(description="Train several paintings with the defaults and show them together.")
    parser.add_argument("paintings", type=Path, nargs="+", metavar="PAINTING", help="painting files")
    parser.add_argument("--photos", type=Path, help="folder of training photos (default: the example photos)")
    parser.add_argument("--validation", type=Path, help="folder of held-out photos (default: some of the photos)")
    parser.add_argument("--pictures", type=Path, nargs="+", help="photos to repaint (default: three examples)")
    parser.add_argument("--with-paintings", action="store_true", help="show paintings that are not examples, too")
    parser.add_argument("--runs", type=Path, default=Path("contact-sheet-runs"), help="folder of the runs")
    parser.add_argument("--steps", type=record.whole, default=defaults.steps)
    parser.add_argument("--batch-size", type=record.whole, default=defaults.batch_size)
    parser.add_argument("--image-size", type=record.whole, default=defaults.image_size)
    parser.add_argument("--norm", choices=NORM_NAMES, default=defaults.norm)
    parser.add_argument("--preset", choices=PRESETS, default=defaults.preset)
    parser.add_argument("--size", type=record.whole, default=256, help="side of each picture in pixels")
    parser.add_argument(
        "--sheet", type=Path, default=record.ROOT / "examples" / "results" / "contact-sheet.jpg", help="the picture"
    )
    parser.add_argument("--threads", type=record.whole, help="threads of torch")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the tables")
    options = parser.parse_args(arguments)

    import torch

    from benchmarks.runs import train_once, training_photos
    from stylize.images import write_image

    if options.threads:
        torch.set_num_threads(options.threads)
    stems = [painting.stem for painting in options.paintings]
    if len(set(stems)) < len(stems):
        raise InputError("two paintings have the same name, and so would their runs; rename one of them")
    finished: dict[Path, WeightsFile] = {}
    for painting in options.paintings:
        config = TrainConfig(
            style=painting,
            photos=options.photos,
            validation=options.validation,
            output=options.runs / f"{painting.stem}-{options.norm}-{options.preset}.safetensors",
            norm=options.norm,
            preset=options.preset,
            steps=options.steps,
            batch_size=options.batch_size,
            image_size=options.image_size,
        )
        finished[painting] = train_once(config)
    rows = {}
    for painting, weights in finished.items():
        metrics = weights.metadata["metrics"]
        losses = {key: metrics["evaluation_mode"][key] for key in ("content", "style", "total_variation", "total")}
        rows[painting.stem] = {
            **losses,
            "photo_style": metrics["photo"]["style"],
            "seconds": weights.metadata["seconds"],
            "device": weights.metadata["device"],
        }
    trained, held_out = training_photos(config)
    settings = {name: getattr(config, name) for name in ("preset", "norm", "steps", "batch_size", "image_size", "seed")}
    settings |= {"training_photos": len(trained), "held_out_photos": len(held_out), "loss": config.to_json()["loss"]}
    results = {"facts": record.facts(), "settings": settings, "paintings": rows}
    pictures = options.pictures or example_photos()[:3]
    write_image(draw(finished, pictures, options.size, options.with_paintings), options.sheet, overwrite=True)
    record.save(options.output, "contact_sheet", results, markdown(results))
    print(f"written: {options.sheet} and {options.output / 'contact_sheet.md'}")


if __name__ == "__main__":
    record.run(main)
