"""Golden pictures of the shipped networks: what each makes of one small example photo.

    python -m tests.golden        write tests/golden/*.png anew, after looking at the pictures

The pictures were made in float32 on a CPU. Another CPU, another number of threads or another torch changes them by
less than a grey level here and there; weights that were damaged, swapped or trained anew change them a lot.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from stylize.images import read_image, resize_long_edge, write_image
from stylize.resources import examples_directory
from stylize.stylizer import load
from stylize.zoo import list_weights

FOLDER = Path(__file__).parent / "golden"
SIZE = 96


def photo() -> Image.Image:
    """Return the photo: portrait of an astronaut, small."""
    return resize_long_edge(read_image(examples_directory() / "photos" / "astronaut.jpg"), SIZE)


def main() -> None:
    for shipped in list_weights():
        path = FOLDER / f"{shipped.path.stem}.png"
        write_image(load(str(shipped.path), device="cpu")(photo()), path, overwrite=True)
        print(path)


if __name__ == "__main__":
    main()
