"""Which architecture is worth its time: candidates trained under equal conditions, then measured.

    python benchmarks/presets.py --style examples/paintings/starry-night.jpg --photos PHOTOS --validation HELD_OUT

Painting, photos and their order and crops, seed, steps, batch and learning rate are the same for all. Runs are kept in
``--runs``; the same command continues an interrupted run and skips finished ones. Only example photos are shown in the
picture, because the photos of the training may not be free to publish.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.config import NORM_NAMES, PRESETS, TrainConfig, TransformerConfig
from stylize.zoo import example_photos

if TYPE_CHECKING:
    from PIL import Image

    from stylize.checkpoints import WeightsFile
    from stylize.stylizer import Stylizer

FAST = PRESETS["fast"]
HALF = TransformerConfig(space_to_depth=2, channels=(32, 64), first_kernel=5, last_kernel=3)
CANDIDATES: dict[str, TransformerConfig] = {
    "s2d2-32-64": HALF,
    "s2d2-24-48": replace(HALF, channels=(24, 48)),
    "s2d2-16-32": replace(HALF, channels=(16, 32)),
    "s2d2-32-64-shuffle": replace(HALF, output="shuffle"),
    "s2d4-64": FAST,
    "s2d4-48": replace(FAST, channels=(48,), residual_blocks=4),
    "johnson-half": TransformerConfig(channels=(16, 32, 64)),
    "johnson": PRESETS["johnson"],
}
"""Architectures by name: side of the pixel blocks (s2d), then channels; ``s2d4-64`` is the preset ``fast``."""

DEFAULT_CANDIDATES = [name for name in CANDIDATES if name != "johnson"]
TIMED_SIZE = 512
TIMED_RUNS = 5
ENLARGED = 3
"""How much larger the piece is shown in which a checkerboard would be seen."""


def milliseconds(stylizers: dict[str, Stylizer], size: int, runs: int) -> dict[str, float]:
    """Return the median time of a pass in float32, in interleaved rounds after one of warming up."""
    from benchmarks.speed import photo

    picture = photo(size)
    times: dict[str, list[float]] = {name: [] for name in stylizers}
    for round_number in range(runs + 1):
        for name, stylizer in stylizers.items():
            began = time.perf_counter()
            stylizer(picture)
            if round_number:
                times[name].append((time.perf_counter() - began) * 1000)
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def draw(stylizers: dict[str, Stylizer], pictures: Sequence[Path], size: int) -> Image.Image:
    """Draw example photos and what every candidate makes of them, and an enlarged piece of the first."""
    from benchmarks.sheet import sheet
    from stylize.data import load_square
    from stylize.images import to_image

    def piece(image: Image.Image) -> Image.Image:
        side = size // ENLARGED
        corner = (size - side) // 2
        cut = image.crop((corner, corner, corner + side, corner + side))
        return cut.resize((side * ENLARGED, side * ENLARGED), resample=0)  # 0: nearest, so that pixels stay pixels

    rows: list[tuple[str, list[Image.Image]]] = []
    for path in pictures:
        photo = load_square(path, size)
        rows.append((path.stem, [to_image(photo), *(to_image(stylizer(photo)) for stylizer in stylizers.values())]))
    rows.append((f"{rows[0][0]}, {ENLARGED}x", [piece(image) for image in rows[0][1]]))
    return sheet(rows, ["photo", *stylizers], size)


def measure(finished: dict[str, WeightsFile], config: TrainConfig, timed_size: int) -> dict[str, Any]:
    """Return the numbers of every finished candidate, and of the untouched held-out photos."""
    import torch

    from benchmarks.checkerboard import WINDOW, checkerboard
    from benchmarks.cost import macs_per_pixel
    from benchmarks.runs import training_photos
    from stylize.data import load_square
    from stylize.stylizer import load

    stylizers = {name: load(weights.path, device="cpu") for name, weights in finished.items()}
    print(f"timing {len(stylizers)} networks at {timed_size} px", flush=True)
    times = milliseconds(stylizers, timed_size, TIMED_RUNS)
    photos = [load_square(path, max(config.image_size, WINDOW)) for path in training_photos(config)[1]]
    seen = checkerboard(torch.cat(photos))
    rows: dict[str, Any] = {}
    for name, weights in finished.items():
        pictures = torch.cat([stylizers[name](photo) for photo in photos])
        painted = checkerboard(pictures)
        metrics = weights.metadata["metrics"]
        rows[name] = {
            "parameters": weights.metadata["parameters"],
            "macs_per_pixel": macs_per_pixel(stylizers[name].network),
            **{key: metrics["evaluation_mode"][key] for key in ("content", "style", "total_variation", "total")},
            "ms": times[name],
            "checkerboard_ratio": painted.ratio,
            "checkerboard_levels": painted.levels,
            "period_4_ratio": checkerboard(pictures, 4).ratio,
            "training_seconds": weights.metadata["seconds"],
        }
        print(f"{name}: total {rows[name]['total']:.4f}, {times[name]:.0f} ms, checkerboard {painted.ratio:.2f}")
    untouched = next(iter(finished.values())).metadata["metrics"]["photo"]
    photo_row = {**untouched, "checkerboard_ratio": seen.ratio, "checkerboard_levels": seen.levels}
    photo_row["period_4_ratio"] = checkerboard(torch.cat(photos), 4).ratio
    return {"candidates": rows, "photo": photo_row, "held_out_photos": len(photos)}


def markdown(results: dict[str, Any]) -> str:
    """Return the results as a Markdown page."""
    settings = results["settings"]
    header = ["candidate", "parameters", "MAC/px", "content", "style", "total", f"ms at {results['timed_size']}"]
    header += ["period-2 ratio", "period-2 grey levels", "period-4 ratio", "training s"]

    def losses(row: dict[str, Any]) -> list[str]:
        return [f"{row[key]:.4f}" for key in ("content", "style", "total")]

    def patterns(row: dict[str, Any]) -> list[str]:
        return [*(f"{row[key]:.2f}" for key in ("checkerboard_ratio", "checkerboard_levels", "period_4_ratio"))]

    photo = results["photo"]
    lines = [["*the photos, untouched*", "-", "-", *losses(photo), "-", *patterns(photo), "-"]]
    for name, row in results["candidates"].items():
        shown = f"{name} (preset fast)" if CANDIDATES[name] == FAST else name
        cost = [f"{row['parameters']:,}", f"{row['macs_per_pixel']:,.0f}"]
        lines.append([shown, *cost, *losses(row), f"{row['ms']:.0f}", *patterns(row), f"{row['training_seconds']:.0f}"])
    return "\n\n".join(
        [
            "# Architectures under equal conditions",
            f"Made by {record.facts_line(results['facts'])}",
            f"Painting `{settings['painting']}`, {settings['norm']} norm, {settings['steps']} steps of "
            f"{settings['batch_size']} crops of {settings['image_size']} px from {settings['training_photos']} photos, "
            f"learning rate {settings['learning_rate']:g}, style weight {settings['loss']['style_weight']:g}, seed "
            f"{settings['seed']}, {settings['precision']}: the same "
            "photos in the same order for all. Losses: means over held-out photos (here "
            f"{results['held_out_photos']}), as `stylize train` writes them down. Time: median of {TIMED_RUNS} "
            "interleaved passes, float32, after all training. Period 2: power of checkerboards and stripes that repeat "
            "every two pixels against the power at neighbouring frequencies (`benchmarks/checkerboard.py`), in the "
            "same held-out photos: near the ratio of the untouched photos is none. Period 4: the same for "
            "patterns that repeat every four pixels.",
            record.table(header, lines, range(1, len(header))),
            "![Example photos by every candidate](presets.png)",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    defaults = TrainConfig(style="")
    parser = argparse.ArgumentParser(description="Train candidate architectures under equal conditions and compare.")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=DEFAULT_CANDIDATES)
    parser.add_argument("--style", type=Path, required=True, help="the painting")
    parser.add_argument("--photos", type=Path, help="folder of training photos (default: the example photos)")
    parser.add_argument("--validation", type=Path, help="folder of held-out photos (default: some of the photos)")
    parser.add_argument("--runs", type=Path, default=Path("preset-runs"), help="folder of the runs")
    parser.add_argument("--steps", type=record.whole, default=500)
    parser.add_argument("--batch-size", type=record.whole, default=defaults.batch_size)
    parser.add_argument("--image-size", type=record.whole, default=defaults.image_size)
    parser.add_argument("--style-size", type=record.whole, default=defaults.style_size)
    parser.add_argument("--norm", choices=NORM_NAMES, default=defaults.norm)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--timed-size", type=record.whole, default=TIMED_SIZE)
    parser.add_argument("--pictures", type=Path, nargs="+", help="photos to show (default: three examples)")
    parser.add_argument("--picture-size", type=record.whole, default=256)
    parser.add_argument("--style-weight", type=float, default=defaults.loss.style_weight)
    parser.add_argument("--threads", type=record.whole, help="threads of torch")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)

    import torch

    from benchmarks.runs import train_once, training_photos
    from stylize.images import write_image
    from stylize.stylizer import load

    if options.threads:
        torch.set_num_threads(options.threads)
    base = TrainConfig(
        style=options.style,
        photos=options.photos,
        validation=options.validation,
        norm=options.norm,
        steps=options.steps,
        batch_size=options.batch_size,
        image_size=options.image_size,
        style_size=options.style_size,
        seed=options.seed,
        loss=replace(defaults.loss, style_weight=options.style_weight),
    )
    finished = {}
    for name in options.candidates:
        output = options.runs / f"{name}.safetensors"
        finished[name] = train_once(replace(base, architecture=CANDIDATES[name], output=output))
    results: dict[str, Any] = {
        "facts": record.facts(),
        "settings": {
            "painting": options.style.name,
            "training_photos": len(training_photos(base)[0]),
            **{name: getattr(base, name) for name in ("norm", "steps", "batch_size", "image_size", "style_size")},
            **{name: getattr(base, name) for name in ("learning_rate", "seed")},
            **{name: next(iter(finished.values())).metadata[name] for name in ("device", "precision")},
            "loss": base.to_json()["loss"],
        },
        "timed_size": options.timed_size,
        **measure(finished, base, options.timed_size),
    }
    stylizers = {name: load(weights.path, device="cpu") for name, weights in finished.items()}
    picture = draw(stylizers, options.pictures or example_photos()[:3], options.picture_size)
    write_image(picture, options.output / "presets.png", overwrite=True)
    record.save(options.output, "presets", results, markdown(results))
    print(f"written: {options.output / 'presets.md'} and presets.png")


if __name__ == "__main__":
    record.run(main)
