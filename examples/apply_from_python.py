"""Repaint one photo from Python.

    python examples/apply_from_python.py PHOTO RESULT

Example: python examples/apply_from_python.py examples/photos/red-panda.jpg red-panda-starry-night.jpg
"""

from __future__ import annotations

import sys

from PIL import Image

import stylize


def main(photo: str, result: str) -> None:
    """Repaint the file ``photo`` in the style of The Starry Night and write the file ``result``."""
    stylizer = stylize.load("starry-night", norm="instance")  # loaded once, good for any number of photos
    with Image.open(photo) as image:
        painting = stylizer(image)
    painting.save(result, quality=95)
    print(f"{result}: {painting.width}x{painting.height} pixels")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
