"""Golden pictures of the shipped networks: what each makes of one small example photo.

    python -m tests.golden        write tests/golden/*.png anew, after looking at the pictures

The pictures were made in float32 on a CPU, and are compared in float32. Another CPU, another number of threads or
another torch moves a few of their pixels by a grey level; weights that were damaged, swapped or trained anew, or
arithmetic that was changed, move most of them (``test_shipped_weights`` tries that out).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from stylize.images import read_image, resize_long_edge, write_image
from stylize.resources import examples_directory
from stylize.style_collections import Collection
from stylize.stylizer import load
from stylize.zoo import list_collections, list_weights

FOLDER = Path(__file__).parent / "golden"
SIZE = 96

TOLERANCE = 0.02
"""Mean difference in grey levels up to which a picture is the golden one; of a sheet for each style alone."""


def photo() -> Image.Image:
    """Return the photo: portrait of an astronaut, small."""
    return resize_long_edge(read_image(examples_directory() / "photos" / "astronaut.jpg"), SIZE)


def picture(path: Path) -> Image.Image:
    """Return what the network of a weights file makes of the photo."""
    return load(str(path), device="cpu", precision="float32")(photo())


def sheet(collection: Collection) -> Image.Image:
    """Return what every style of a collection makes of the photo, side by side."""
    stylizer = load(collection.weights.path, device="cpu", precision="float32")
    painted = [stylizer.mix({name: 1.0})(photo()) for name in collection.names]
    joined = Image.new("RGB", (sum(one.width for one in painted), painted[0].height))
    for number, one in enumerate(painted):
        joined.paste(one, (number * one.width, 0))
    return joined


def main() -> None:
    pictures = {one.path.stem: picture(one.path) for one in list_weights()}
    pictures |= {one.weights.path.stem: sheet(one) for one in list_collections()}
    for name, painted in pictures.items():
        write_image(painted, FOLDER / f"{name}.png", overwrite=True)
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
