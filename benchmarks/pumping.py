"""How far a painting pumps: how much of it changes where nothing changed, because something else in the frame did.

A norm that takes its statistics from each frame paints all of it anew when something comes into view. To see that
alone, each clip is painted twice, once as it is and once changed, and the two are compared where they show the same:

- an object comes into the left of the picture and goes again; what counts is the right half, which does not show it;
- the exposure jumps, as that of a camera which sets it by itself; what counts is the whole picture, which should look
  as if it did not.

The difference of the two paintings does not hold what the motion of the clip does to the strokes. Its root mean square
is the shift; that of its change from frame to frame is the pumping. Both are of means of patches, as flicker is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.stylizer import Stylizer

OBJECT, EXPOSURE = "an object comes into view", "the exposure jumps"

HELD, RAMP = 10, 3
"""Frames for which an exposure holds, and in which the next one is reached."""

GAINS = (1.0, 0.7, 0.9, 0.55, 0.8)
"""Exposures, one after the other."""

LIFT = 0.2
"""What a gain takes away of the contrast goes to the dark in this part: from black at gain 1, black rises."""

OBJECT_SIZE = (0.25, 0.8)
"""Width and height of the object, as parts of those of the frame."""

OBJECT_COLOUR = (0.95, 0.85, 0.55)
COMING = 8
"""Frames in which the object comes or goes; it stays and is away for twice as many."""

PATCH = 8
"""Side in pixels of the patches whose means are compared."""


class Way(Protocol):
    """One way to paint a video."""

    def paint(self, frame: Tensor) -> Tensor: ...


class Frozen:
    """Paints every frame with the statistics of its whole scene, for which the scene is painted before.

    No average over time can be steadier in its statistics, so this is a limit to what averages can gain.

    Args:
        stylizer: What paints, with the engine ``torch``.
        frames: All frames, in order.
        cuts: Numbers of those that begin a new scene.
    """

    def __init__(self, stylizer: Stylizer, frames: Sequence[Tensor], cuts: Sequence[int] = ()) -> None:
        from stylize.video.statistics import StatisticsAverage

        self._engine = stylizer.engine
        self._known: list[dict[int, Any]] = []
        self._scenes: list[int] = []
        average = StatisticsAverage(1e9)  # All frames count the same.
        for number, frame in enumerate(frames):
            if number == 0 or number in cuts:
                average.forget()
                self._known.append({})
            self._scenes.append(len(self._known) - 1)
            average.advance(0.0)

            def learn(layer: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
                self._known[-1][layer] = average.add(str(layer), mean, variance)
                return self._known[-1][layer]

            self._engine.paint(frame, learn)
        self._next = 0

    def paint(self, frame: Tensor) -> Tensor:
        known = self._known[self._scenes[self._next]]
        self._next += 1
        return self._engine.paint(frame, lambda layer, mean, variance: known[layer])


def exposed(frames: Sequence[Tensor]) -> list[Tensor]:
    """Return frames (1, 3, H, W) with an exposure that jumps."""
    changed = []
    for number, frame in enumerate(frames):
        place, within = divmod(number, HELD)
        before, now = GAINS[max(0, place - 1) % len(GAINS)], GAINS[place % len(GAINS)]
        gain = before + (now - before) * min(1.0, (within + 1) / RAMP)
        changed.append(gain * frame + LIFT * (1 - gain))
    return changed


def with_object(frames: Sequence[Tensor]) -> list[Tensor]:
    """Return frames (1, 3, H, W) into whose left an object comes, and goes again."""
    import torch

    height, width = frames[0].shape[-2:]
    wide, high = max(1, round(OBJECT_SIZE[0] * width)), max(1, round(OBJECT_SIZE[1] * height))
    top = (height - high) // 2
    # Stripes, so that it is not flat.
    stripes = 0.85 + 0.15 * torch.sign(torch.sin(torch.arange(high) * (40.0 / high)))
    colour = torch.tensor(OBJECT_COLOUR)[:, None, None] * stripes[:, None]
    changed = []
    for number, frame in enumerate(frames):
        phase = (number % (6 * COMING)) / COMING  # away for 2, comes in 1, stays for 2, goes in 1
        share = min(1.0, max(0.0, phase - 2)) if phase < 5 else 6 - phase
        seen = round(share * wide)
        frame = frame.clone()
        if seen:
            frame[0, :, top : top + high, :seen] = colour.expand(-1, -1, seen)
        changed.append(frame)
    return changed


CHANGES: Mapping[str, tuple[Callable[[Sequence[Tensor]], list[Tensor]], float]] = {
    OBJECT: (with_object, 0.5),
    EXPOSURE: (exposed, 0.0),
}
"""What is done to a clip, and from which part of the width on the paintings are compared."""


def compare(plain: Sequence[Tensor], changed: Sequence[Tensor], left: float) -> dict[str, float]:
    """Return how far two paintings of a clip differ, as root mean squares of values in [0, 1].

    Args:
        plain: Paintings of the clip as it is, (1, 3, H, W) each.
        changed: Of the changed one.
        left: Part of the width from which on they are compared.
    """
    import torch
    import torch.nn.functional as F

    column = round(left * plain[0].shape[-1])
    side = min(PATCH, *plain[0].shape[-2:])
    differences = torch.cat([F.avg_pool2d((b - a)[..., column:], side) for a, b in zip(plain, changed, strict=True)])
    steps = differences[1:] - differences[:-1]
    return {"shift": math.sqrt(float(differences.square().mean())), "pumping": math.sqrt(float(steps.square().mean()))}


def measure_pumping(
    frames: Sequence[Tensor], make_ways: Callable[[Sequence[Tensor]], Mapping[str, Way]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return how far each way of painting pumps, by what is done to the clip.

    Args:
        frames: The clip.
        make_ways: Returns ways that have painted nothing yet, for a clip.
    """
    ways = make_ways(frames)
    plain = {name: [way.paint(frame) for frame in frames] for name, way in ways.items()}
    results: dict[str, dict[str, dict[str, float]]] = {}
    for change, (apply, left) in CHANGES.items():
        changed = apply(frames)
        results[change] = {
            name: compare(plain[name], [way.paint(frame) for frame in changed], left)
            for name, way in make_ways(changed).items()
        }
    return results
