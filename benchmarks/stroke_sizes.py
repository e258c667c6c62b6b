"""Strokes of several sizes: paints photos at parts of their size and enlarges the paintings in every way there is.

    python benchmarks/stroke_sizes.py --scales auto 0.5 0.25 --folder SHEETS

Writes two sheets, to be judged by looking: ``stroke-sizes.jpg`` has the whole pictures, ``stroke-sizes-crops.png`` a
square of each at 100 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.errors import InputError
from stylize.zoo import DEFAULT_STYLE, example_photos

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image
    from torch import Tensor

SECOND_PASS = "second pass"
PLAIN = "painted at full size"


@dataclass(frozen=True)
class Painted:
    """The results of one photo, style and scale.

    Attributes:
        label: What they are.
        pictures: By name of the method; the photo and the painting at full size among them.
    """

    label: str
    pictures: dict[str, Image.Image]


def paintings(photo: Tensor, paint: Callable[[Tensor], Tensor], scale: float, methods: Sequence[str]) -> dict:
    """Return the large paintings (1, 3, H, W) of a photo by name of the method, and how long each took, in seconds."""
    import time

    from stylize.reduction import reduce
    from stylize.stroke_size import DEFAULT_ENLARGEMENT, Enlargement, painting_size, second_pass

    height, width = photo.shape[2:]
    small_width, small_height = painting_size(width, height, scale)
    small = reduce(photo, small_height, small_width)
    painting = paint(small)
    results = {}
    for method in methods:
        started = time.perf_counter()
        if method == SECOND_PASS:
            enlarged = results.get(DEFAULT_ENLARGEMENT, (None, 0.0))[0]
            if enlarged is None:
                enlarged = Enlargement(painting, small, height, width).rows(photo, 0)
            result = second_pass(enlarged, photo, paint)
        else:
            result = Enlargement(painting, small, height, width, method).rows(photo, 0)
        results[method] = (result, time.perf_counter() - started)
    return results


def painted(options: argparse.Namespace, methods: Sequence[str]) -> Iterator[Painted]:
    """Paint every photo in every style at every scale."""
    from stylize.images import read_image, to_image, to_tensor
    from stylize.stroke_size import painting_scale
    from stylize.stylizer import load

    for style in options.styles:
        stylizer = load(style)
        for path in options.photos:
            photo = to_tensor(read_image(path))
            height, width = photo.shape[2:]
            plain = stylizer(photo)
            for given in options.scales:
                scale = painting_scale(width, height, given)
                results = paintings(photo, stylizer, scale, methods)
                times = ", ".join(f"{name} {seconds:.2f} s" for name, (_, seconds) in results.items())
                print(f"{path.stem} {style} {scale:.2f}: {times}", flush=True)
                pictures = {"photo": photo, PLAIN: plain} | {name: result for name, (result, _) in results.items()}
                label = f"{path.stem} {style} scale {scale:.2f}"
                yield Painted(label, {name: to_image(picture) for name, picture in pictures.items()})


def square(image: Image.Image, side: int, at: tuple[float, float]) -> Image.Image:
    """Return the square of a picture whose centre is at a place given as parts of its width and height."""
    side = min(side, *image.size)
    left = min(max(0, round(at[0] * image.width - side / 2)), image.width - side)
    top = min(max(0, round(at[1] * image.height - side / 2)), image.height - side)
    return image.crop((left, top, left + side, top + side))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Paint photos at parts of their size and compare the enlargements.")
    parser.add_argument("--photos", type=Path, nargs="+", metavar="PHOTO", help="photos (default: one example)")
    parser.add_argument("--styles", nargs="+", default=[DEFAULT_STYLE], metavar="NAME|FILE", help="styles")
    parser.add_argument("--scales", nargs="+", default=["0.5", "0.25"], metavar="SCALE", help="'auto', or up to 1")
    parser.add_argument(
        "--methods", nargs="+", metavar="METHOD", help=f"enlargements, or '{SECOND_PASS}' (default: all)"
    )
    parser.add_argument("--size", type=record.whole, default=360, help="side of the crops, in pixels")
    parser.add_argument("--at", type=float, nargs=2, default=(0.5, 0.5), metavar="PART", help="centre of the crops")
    parser.add_argument("--folder", type=Path, default=Path("stroke-sizes"), help="folder of the sheets")
    parser.add_argument("--threads", type=record.whole, help="threads of torch")
    options = parser.parse_args(arguments)
    options.photos = options.photos or example_photos()[:1]

    import torch

    from benchmarks.sheet import sheet
    from stylize.images import write_image
    from stylize.stroke_size import ENLARGEMENTS

    if options.threads:
        torch.set_num_threads(options.threads)
    methods = list(options.methods or (*ENLARGEMENTS, SECOND_PASS))
    unknown = sorted(set(methods) - {*ENLARGEMENTS, SECOND_PASS})
    if unknown:
        raise InputError(f"unknown method '{unknown[0]}' (known: {', '.join((*ENLARGEMENTS, SECOND_PASS))})")
    if not all(0 <= part <= 1 for part in options.at):
        raise InputError("the centre of the crops is given as two numbers from 0 to 1: parts of width and height")
    results = list(painted(options, methods))
    columns = ["photo", PLAIN, *methods]
    options.folder.mkdir(parents=True, exist_ok=True)
    whole = [(one.label, [one.pictures[name] for name in columns]) for one in results]
    crops = [(label, [square(image, options.size, options.at) for image in images]) for label, images in whole]
    for name, rows in (("stroke-sizes.jpg", whole), ("stroke-sizes-crops.png", crops)):
        write_image(sheet(rows, columns, options.size), options.folder / name, overwrite=True)
        print(f"written: {options.folder / name}")


if __name__ == "__main__":
    record.run(main)
