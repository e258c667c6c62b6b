"""Training mode against evaluation mode, and what batch norm is with one photo.

Batch norm paints with the statistics of the batch while it learns and with averages of them afterwards, so it is
another function in each mode; a fair comparison shows both. With a single photo the statistics of the batch are those
of the photo, and batch norm in training mode is instance norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stylize.comparison.photo_changes import VISIBLE
from stylize.comparison.subject import CHUNK, Ruler, Subject, mean_change
from stylize.comparison.wording import capital, in_words, listed
from stylize.network_norms import batch_statistics
from stylize.norms import BatchNorm
from stylize.transformer import TransformerNet

SAME = 1.02
"""Two style distances whose ratio is below this count as equal in a sentence."""


@dataclass(frozen=True)
class Identity:
    """A batch-norm network in training mode with one photo against the same weights with instance norm.

    Attributes:
        largest: Largest difference of a single value over all photos, in grey levels of 0..255.
        largest_before_clamp: The same before the results are clamped to [0, 1].
    """

    largest: float
    largest_before_clamp: float


@dataclass(frozen=True)
class ModesRow:
    """One network in its two modes; means over the photos.

    Attributes:
        label: Of the network.
        style_training: Style distance in training mode.
        style_evaluation: Style distance in evaluation mode.
        content_training: Content distance in training mode.
        content_evaluation: Content distance in evaluation mode.
        change: Mean absolute difference of the results of the two modes, in grey levels of 0..255.
        identity: With one photo against instance norm; None unless every normalisation is batch norm.
    """

    label: str
    style_training: float
    style_evaluation: float
    content_training: float
    content_evaluation: float
    change: float
    identity: Identity | None


@dataclass(frozen=True)
class Modes:
    """What the two modes differ in.

    Attributes:
        photos: How many photos.
        batch_size: How many of them shared their statistics in training mode.
        rows: One for each network.
    """

    photos: int
    batch_size: int
    rows: tuple[ModesRow, ...]


def modes(subjects: Sequence[Subject], photos: Tensor, ruler: Ruler) -> Modes:
    """Measure networks in both modes on photos (B, 3, H, W) in [0, 1].

    Args:
        subjects: The networks; their modes and running averages are as before afterwards.
        photos: The photos, all of one size. In training mode they go in as batches of four, or all together if there
            are fewer.
        ruler: Measures style and content distance.
    """
    size = min(CHUNK, len(photos))
    rows = []
    for subject in subjects:
        evaluated = subject.paint(photos)
        trained = _paint_in_training(subject.network, photos, size)
        measured = ruler.content_and_style([trained, evaluated], photos)
        rows.append(
            ModesRow(
                subject.label,
                *(float(measured[mode][1].mean()) for mode in (0, 1)),
                *(float(measured[mode][0].mean()) for mode in (0, 1)),
                float(mean_change(trained, evaluated).mean()),
                identity_with_instance_norm(subject.network, photos),
            )
        )
    return Modes(len(photos), size, tuple(rows))


def _paint_in_training(network: TransformerNet, photos: Tensor, size: int) -> Tensor:
    """Return the results in training mode, each of a batch of ``size`` different photos."""
    parts = []
    with torch.no_grad(), batch_statistics(network):
        for start in range(0, len(photos), size):
            # The last batch is filled up with the first photos: a smaller one has other statistics, and a single
            # photo would have those of instance norm.
            members = torch.arange(start, start + size, device=photos.device) % len(photos)
            parts.append(network(photos[members]).clamp(0, 1)[: len(photos) - start])
    return torch.cat(parts)


def with_instance_norm(network: TransformerNet) -> TransformerNet | None:
    """Return a network with the convolutions, scales and shifts of ``network`` and instance norm everywhere.

    None if ``network`` has a normalisation that is not batch norm, or none at all.
    """
    places = network.norm_places()
    if not places or not all(isinstance(place.norm, BatchNorm) for place in places):
        return None
    twin = TransformerNet(replace(network.config, norm="instance"))
    parameters = dict(network.named_parameters())
    example = next(iter(parameters.values()))
    twin.to(device=example.device, dtype=example.dtype).eval()
    # What is left out are the running averages, which instance norm does not have.
    twin.load_state_dict(parameters)
    return twin


def identity_with_instance_norm(network: TransformerNet, photos: Tensor) -> Identity | None:
    """Compare a batch-norm network in training mode, photo by photo, with the same weights and instance norm.

    Args:
        network: The network; its mode and running averages are as before afterwards.
        photos: (B, 3, H, W) in [0, 1].

    Returns:
        The largest differences, or None where :func:`with_instance_norm` gives none.
    """
    twin = with_instance_norm(network)
    if twin is None:
        return None
    clamped = free = 0.0
    with torch.no_grad(), batch_statistics(network):
        for photo in photos.split(1):
            first, second = network(photo), twin(photo)
            free = max(free, 255 * float((first - second).abs().max()))
            clamped = max(clamped, 255 * float((first.clamp(0, 1) - second.clamp(0, 1)).abs().max()))
    return Identity(clamped, free)


def finding(result: Modes) -> str:
    """Say in plain sentences what the modes differ in."""
    if not result.rows:
        return "Nothing was measured."
    two_faced = [row for row in result.rows if row.change > VISIBLE]
    same = [row for row in result.rows if row.change <= VISIBLE]
    sentences = []
    for row in two_faced:
        ratio = row.style_training / max(row.style_evaluation, 1e-12)
        if 1 / SAME <= ratio <= SAME:
            direction = "about as far from the style as"
        else:
            direction = "closer to the style than" if ratio < 1 else "further from the style than"
        sentences.append(
            f"{capital(row.label)} paints another picture in each mode ({in_words(row.change)} grey levels apart): in"
            f" training mode it is {direction} in evaluation mode ({in_words(row.style_training)} against"
            f" {in_words(row.style_evaluation)})."
        )
    if same:
        verb = "is" if len(same) == 1 else "are"
        sentences.append(f"{capital(listed(row.label for row in same))} {verb} the same in both modes.")
    if two_faced and same:
        sentences.append(_better_mode(two_faced, same))
    sentences += [_one_photo(row.label, row.identity) for row in result.rows if row.identity]
    if result.batch_size == 1:
        sentences.append("With one photo, training mode had no other to share its statistics with.")
    return " ".join(sentences)


def _better_mode(two_faced: Sequence[ModesRow], same: Sequence[ModesRow]) -> str:
    """Say whether the choice of the mode decides between the best networks of the two kinds."""
    better = {row.label: min(row.style_training, row.style_evaluation) for row in two_faced}
    label = min(better, key=better.__getitem__)
    reference = min(same, key=lambda row: row.style_evaluation)
    numbers = f"{in_words(better[label])} against {in_words(reference.style_evaluation)}"
    if better[label] > SAME * reference.style_evaluation:
        return f"In its better mode, too, {label} is further from the style than {reference.label}: {numbers}."
    word = "about as close to" if SAME * better[label] >= reference.style_evaluation else "closer to"
    than = "as" if word.startswith("about") else "than"
    return f"In its better mode {label} is {word} the style {than} {reference.label}: {numbers}."


def _one_photo(label: str, identity: Identity) -> str:
    largest = in_words(identity.largest_before_clamp)
    if identity.largest_before_clamp <= VISIBLE:
        return (
            f"In training mode with one photo {label} is instance norm with the same weights: the largest"
            f" difference of a value is {largest} grey levels."
        )
    return (
        f"In training mode with one photo {label} is not instance norm: values differ by up to {largest} grey levels."
    )
