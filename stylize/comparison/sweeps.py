"""How the results of networks follow changes of the photo: contrast, brightness, gamma, colour cast.

Instance norm after the first convolution removes one gain and one shift from the whole photo, exactly so with
reflection padding, trained or not (Ulyanov et al. 2016, arXiv 1607.08022, section 2). The sweep shows that, and asks
the next question: is this all there is to it? It is not if the style distances differ on photos that nobody changed,
and still differ when the network that does see contrast and brightness is given every photo at the factor that suits
it best. That choice looks at the style alone, and so it favours the network that is given it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from stylize.comparison.photo_changes import CHANGES, VISIBLE, Change, variation
from stylize.comparison.subject import Ruler, Subject, mean_change, spread
from stylize.comparison.wording import capital, in_words, levels_of, listed
from stylize.norms import InstanceNorm

SAME = 1.1
"""Two style distances whose ratio is below this count as equal in a sentence."""

ALL_OF_IT = 0.9
"""From this share of a gap on, a sentence says that all of it is gone."""


@dataclass(frozen=True)
class SweepRow:
    """One network, one change, one factor.

    Attributes:
        label: Of the network.
        instance_first: The network's first normalisation is an instance norm.
        change: Name of the change.
        factor: How much.
        unchanged: The factor changes nothing.
        removable: Of the change, see :class:`stylize.comparison.photo_changes.Change`.
        style: Style distance, mean over the photos.
        style_spread: Its standard deviation over the photos.
        style_of_photos: Style distance of every photo.
        output_change: Mean absolute change against the result of the unchanged photo, in grey levels of 0..255.
        output_variation: Standard deviation of the result over its positions, in grey levels: small = washed out.
    """

    label: str
    instance_first: bool
    change: str
    factor: float
    unchanged: bool
    removable: bool
    style: float
    style_spread: float
    style_of_photos: tuple[float, ...]
    output_change: float
    output_variation: float


def sweep(
    subjects: Sequence[Subject], photos: Tensor, ruler: Ruler, changes: Mapping[str, Change] = CHANGES
) -> list[SweepRow]:
    """Measure every network on photos (B, 3, H, W) in [0, 1] at every factor of every change.

    Args:
        subjects: The networks.
        photos: The photos, all of one size.
        ruler: Measures the style distance.
        changes: The changes by name.

    Returns:
        A row for each network, change and factor, in this order; the unchanged photo is a row of every change.
    """
    rows = []
    for subject in subjects:
        places = subject.network.norm_places()
        instance_first = bool(places) and isinstance(places[0].norm, InstanceNorm)
        original = subject.paint(photos)
        # The unchanged photo is part of every change, and painted and measured once.
        neutral = _numbers(original, original, ruler)
        for name, change in changes.items():
            for factor in change.factors:
                unchanged = factor == change.neutral
                numbers = neutral
                if not unchanged:
                    numbers = _numbers(subject.paint(change.function(photos, factor)), original, ruler)
                rows.append(
                    SweepRow(subject.label, instance_first, name, factor, unchanged, change.removable, *numbers)
                )
    return rows


def _numbers(pictures: Tensor, original: Tensor, ruler: Ruler) -> tuple[float, float, tuple[float, ...], float, float]:
    style = ruler.style(pictures)
    return (
        float(style.mean()),
        spread(style),
        tuple(style.tolist()),
        float(mean_change(pictures, original).mean()),
        float(variation(pictures).mean()),
    )


def finding(rows: Sequence[SweepRow]) -> str:
    """Say in plain sentences what a sweep found."""
    if not rows:
        return "Nothing was measured."
    return " ".join(part for part in (_invariance(rows), _gap(rows), _other_changes(rows)) if part)


def _labels(rows: Sequence[SweepRow]) -> list[str]:
    return list(dict.fromkeys(row.label for row in rows))


def _largest_change(rows: Sequence[SweepRow], change: str | None = None) -> dict[str, float]:
    """Return by label the largest change of the result, by one change or by all removable ones."""
    chosen = [row for row in rows if (row.removable if change is None else row.change == change)]
    return {label: max(row.output_change for row in chosen if row.label == label) for label in _labels(chosen)}


def _removable(rows: Sequence[SweepRow]) -> list[str]:
    return list(dict.fromkeys(row.change for row in rows if row.removable))


def _invariance(rows: Sequence[SweepRow]) -> str:
    moved = _largest_change(rows)
    if not moved:
        return ""
    names = capital(listed(_removable(rows)))
    still = {label: value for label, value in moved.items() if value <= VISIBLE}
    moving = {label: value for label, value in moved.items() if value > VISIBLE}
    instance_first = {row.label for row in rows if row.instance_first}
    sentences = []
    if still:
        sentences.append(f"{names} of the photo do not reach the result: it moves by at most {levels_of(still)}.")
        by_design = [label for label in still if label in instance_first]
        if by_design:
            sentences.append(
                f"For {listed(by_design)} this is a property of instance norm after the first convolution with"
                " reflection padding, not something learned; what is left is float error and the epsilon of the norm."
            )
    if moving:
        start = "The same changes" if still else f"{names} of the photo"
        sentences.append(f"{start} move the result by up to {levels_of(moving)}.")
        broken = [label for label in moving if label in instance_first]
        if broken:
            sentences.append(
                f"With instance norm after its first convolution {listed(broken)} was not expected to move."
            )
    return " ".join(sentences)


def _gap(rows: Sequence[SweepRow]) -> str:
    moved = _largest_change(rows)
    style = {row.label: row.style for row in rows if row.unchanged and row.removable}
    still = [label for label in style if moved[label] <= VISIBLE]
    moving = [label for label in style if moved[label] > VISIBLE]
    if not still or not moving:
        return ""
    # The two that the question is about; without them, the best of either kind.
    blind = "instance" if "instance" in still else min(still, key=style.__getitem__)
    seeing = "batch" if "batch" in moving else min(moving, key=style.__getitem__)
    distances = f"{in_words(style[seeing])} ({seeing}) against {in_words(style[blind])} ({blind})"
    factor = style[seeing] / max(style[blind], 1e-12)
    if factor < 1 / SAME:
        return f"On unchanged photos {seeing}, which does see them, is closer to the style: {distances}."
    if factor <= SAME:
        worst = max(row.style for row in rows if row.label == seeing and row.removable) / max(style[blind], 1e-12)
        return (
            f"On unchanged photos the style distances hardly differ, {distances}; at the worst of these changes they"
            f" differ by a factor of {in_words(worst)}."
        )
    best = _best_style(rows, seeing)
    share = (style[seeing] - best) / (style[seeing] - style[blind])
    text = (
        f"But on unchanged photos, too, the style distances differ by a factor of {in_words(factor)}: {distances}. With"
        f" every photo at the {listed(_removable(rows)).replace(' and ', ' or ')} that suits {seeing} best"
    )
    if share < ALL_OF_IT:
        return f"{text}, {100 * share:.0f} % of that gap goes away, so this invariance alone does not explain it."
    return f"{text}, the gap goes away ({in_words(best)}), so on these photos this invariance may explain all of it."


def _best_style(rows: Sequence[SweepRow], label: str) -> float:
    """Return the mean over the photos of the smallest style distance that any removable change gives each."""
    candidates = [row.style_of_photos for row in rows if row.label == label and row.removable]
    best = [min(of_photo) for of_photo in zip(*candidates, strict=True)]
    return sum(best) / len(best)


def _other_changes(rows: Sequence[SweepRow]) -> str:
    sentences = []
    for change in dict.fromkeys(row.change for row in rows if not row.removable):
        moved = _largest_change(rows, change)
        seen = {label: value for label, value in moved.items() if value > VISIBLE}
        unseen = {label: value for label, value in moved.items() if value <= VISIBLE}
        if seen:
            sentences.append(f"{capital(change)} moves the result by up to {levels_of(seen)}.")
        if unseen:
            sentences.append(f"{capital(change)} does not reach the result of {listed(unseen)}: {levels_of(unseen)}.")
    return " ".join(sentences)
