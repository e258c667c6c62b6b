"""Train a network on a painting from Python.

    python examples/train_from_python.py PAINTING PHOTOS [STEPS]

PAINTING is a picture and PHOTOS a folder of photos; some hundred of them give a good network.
Example: python examples/train_from_python.py examples/paintings/night-cafe.jpg examples/photos 500
"""

from __future__ import annotations

import sys

import stylize
from stylize.training import TrainProgress


def report(progress: TrainProgress) -> None:
    """Print a line every 50 steps and at the last one."""
    if progress.step % 50 == 0 or progress.step == progress.steps:
        losses = ", ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
        print(f"step {progress.step} of {progress.steps}: {losses}; {progress.seconds_left:.0f} s left", flush=True)


def main(painting: str, photos: str, steps: str = "2000") -> None:
    """Train a network with batch normalisation and print where its weights are."""
    config = stylize.TrainConfig(style=painting, photos=photos, norm="batch", steps=int(steps))
    result = stylize.train(config, on_step=report)
    print(f"to use it: stylize apply PHOTO --style {result.path}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
