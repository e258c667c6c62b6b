"""The gap to the optimum: how much work on the picture itself a network's one pass saves.

A picture is optimised under the very loss the networks were trained with, once from the photo and once from each
network's output. The better the output, the fewer steps it takes to any given loss.

Reference: Gatys et al. 2016, section 2.3 (optimisation of the picture); Ulyanov et al. 2017, arXiv 1701.02096 (the loss
of a network beside that of the optimisation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.comparison.subject import Ruler, Subject
from stylize.errors import InputError

PHOTO = "photo"
"""Label of the optimisation that starts from the photo itself."""

PIXEL_RATE = 0.02
"""Adam's learning rate, in units of [0, 1] per step."""


@dataclass(frozen=True)
class Descent:
    """The optimisation from one start.

    Attributes:
        start: Label of the network whose output it starts from, or :data:`PHOTO`.
        losses: Mean total loss over the photos before step 1, 2, ... and after the last; each the lowest so far.
    """

    start: str
    losses: tuple[float, ...]

    def steps_to(self, loss: float) -> int | None:
        """Return after how many steps the loss is at most ``loss``; None where it is never reached."""
        return next((step for step, value in enumerate(self.losses) if value <= loss), None)


@dataclass(frozen=True)
class Optimum:
    """Optimisations of the same photos from several starts.

    Attributes:
        descents: One for each start, the photo first.
        photos: How many photos.
        steps: How many steps each.
        target: The loss that the optimisation from the photo ends with.
        steps_to_target: For each start, the steps to that loss; None where it is not reached.
    """

    descents: tuple[Descent, ...]
    photos: int
    steps: int
    target: float
    steps_to_target: dict[str, int | None]


def measure_optimum(
    subjects: Sequence[Subject],
    photos: Tensor,
    ruler: Ruler,
    steps: int = 100,
    on_step: Callable[[int], None] | None = None,
) -> Optimum:
    """Optimise pictures from each network's output and from the photos themselves.

    Args:
        subjects: The networks.
        photos: (B, 3, H, W) in [0, 1]; all starts of one photo are optimised side by side.
        ruler: Holds the loss and the painting.
        steps: Steps of Adam.
        on_step: Called with the number of steps done, of ``steps`` times B.

    Raises:
        InputError: No network, no photo or no step.
    """
    if not subjects or not len(photos):
        raise InputError(f"{len(subjects)} networks and {len(photos)} photos given; at least one of each is needed")
    if steps < 1:
        raise InputError(f"steps is {steps}; it must be a whole number, 1 or more")
    labels = [PHOTO, *(subject.label for subject in subjects)]
    totals = torch.zeros(len(labels), steps + 1, dtype=torch.float64)
    for index, photo in enumerate(photos.split(1)):
        starts = torch.cat([photo, *(subject.paint(photo) for subject in subjects)])
        totals += _descend(starts, photo, ruler, steps, index * steps, on_step)
    totals = (totals / len(photos)).cummin(1).values
    descents = tuple(Descent(label, tuple(row)) for label, row in zip(labels, totals.tolist(), strict=True))
    target = descents[0].losses[-1]
    reached = {descent.start: descent.steps_to(target) for descent in descents}
    return Optimum(descents, len(photos), steps, target, reached)


def _descend(
    starts: Tensor, photo: Tensor, ruler: Ruler, steps: int, before: int, on_step: Callable[[int], None] | None
) -> Tensor:
    """Return the total loss (starts, steps + 1) of pictures (starts, 3, H, W) made from one photo, as they improve."""
    images = starts.clone().requires_grad_()
    content = ruler.loss.content_targets(photo).expand(len(starts), -1, -1, -1)
    # Each picture has its own moments, so the starts do not touch each other; Adam is blind to the scale of the loss.
    optimiser = torch.optim.Adam([images], lr=PIXEL_RATE)
    rows = []
    for step in range(steps + 1):
        terms = ruler.loss(images, content, ruler.targets)
        rows.append(terms.total.detach().double().cpu())
        if step == steps:
            break
        optimiser.zero_grad(set_to_none=True)
        (terms.total.sum() * photo[0].numel()).backward()
        optimiser.step()
        with torch.no_grad():
            images.clamp_(0, 1)
        if on_step is not None:
            on_step(before + step + 1)
    return torch.stack(rows, dim=1)


def finding(result: Optimum) -> str:
    """Say in a sentence what the optimisations came to."""
    reached = result.steps_to_target
    parts = []
    for descent in result.descents[1:]:
        steps = reached[descent.start]
        parts.append(f"{descent.start} {'not within ' + str(result.steps) if steps is None else steps}")
    sentence = (
        f"Optimising the picture itself from the photo takes {result.steps} steps of Adam to a loss of "
        f"{result.target:.3f}; from the networks' outputs the same loss takes fewer or more steps: {', '.join(parts)}."
    )
    begins = {descent.start: descent.losses[0] for descent in result.descents}
    if "instance" in begins and "batch" in begins:
        lead, behind = sorted(("instance", "batch"), key=lambda label: begins[label])
        path = next(descent for descent in result.descents if descent.start == behind)
        steps = path.steps_to(begins[lead])
        needed = f"{steps} steps" if steps is not None else f"more than {result.steps} steps"
        sentence += f" The {behind}-norm output needs {needed} to become as good as the {lead}-norm output is at once."
    return sentence
