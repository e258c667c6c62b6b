"""Frozen statistics: an instance-norm network that may not look at the photo's own mean and variance any more.

The weights stay; in some layers the statistics of the photo are replaced by fixed ones of a population of photos, which
is what batch norm does in evaluation mode. What this changes is what the photo's own statistics do for that network,
and where. It needs no training, and it says nothing about what a network reaches that was trained without them.

The fixed statistics of a layer are the mean and the variance of every channel, pooled over all positions of all
photos of the population, of the features that reach the layer in the untouched network. They are not gathered again
behind a layer that has been frozen: every variant replaces statistics by the same numbers.

Reference: Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 2 (population statistics in inference).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from stylize.comparison.pooled_features import BEFORE, PooledFeatures, pooled_features
from stylize.comparison.subject import Ruler, Subject, spread
from stylize.errors import InputError
from stylize.evaluation import change_contrast
from stylize.norms import BatchNorm, InstanceNorm
from stylize.transformer import NormPlace, TransformerNet

LOW_CONTRAST = 0.25
"""The contrast, as a factor, that every variant is measured at a second time."""

TEST_PHOTOS = 3
"""Photos to measure on where nothing else is said: each takes the loss network a dozen passes."""

SAME = 0.05
"""Style distances that differ by less than this share are called the same."""

EVERYWHERE, NOWHERE = "everywhere", "nowhere"
FIRST, ALL_BUT_FIRST = "first layer only", "all but the first layer"
PARTS = {"encoder": "encoder only", "residual": "residual part only", "decoder": "decoder only"}


@dataclass(frozen=True)
class Outcome:
    """What came out of one variant at one contrast.

    Attributes:
        style: Mean style distance of the pictures.
        spread: Standard deviation of the style distance over photos.
        pixel_deviation: Standard deviation of all values of a picture, in grey levels of 0..255, mean over pictures:
            how strong the picture is.
        styles: The style distance of each picture.
    """

    style: float
    spread: float
    pixel_deviation: float
    styles: tuple[float, ...]


@dataclass(frozen=True)
class Variant:
    """The network with the photo's own statistics in some of its layers.

    Attributes:
        name: Where they are kept, such as ``first layer only``.
        kept: The instance-norm layers that keep them, in order of depth.
        frozen: Those that do not.
        plain: What came out for the photos as they are.
        low_contrast: What came out for the photos at the low contrast.
    """

    name: str
    kept: tuple[str, ...]
    frozen: tuple[str, ...]
    plain: Outcome
    low_contrast: Outcome


@dataclass(frozen=True)
class FrozenStatistics:
    """The variants of one network.

    Attributes:
        label: Label of the network.
        contrast: The low contrast, a factor.
        population: Photos that the fixed statistics are of.
        photos: Photos that were measured on.
        variants: The variants; ``everywhere`` first. No two keep the same layers.
    """

    label: str
    contrast: float
    population: int
    photos: int
    variants: tuple[Variant, ...]

    def variant(self, name: str) -> Variant | None:
        """Return the variant called ``name``; None where the network has no such part, or another keeps the same."""
        return next((variant for variant in self.variants if variant.name == name), None)


def instance_places(network: TransformerNet) -> list[NormPlace]:
    """Return where a network has instance norm, in order of depth.

    Raises:
        InputError: Nowhere.
    """
    places = [place for place in network.norm_places() if isinstance(place.norm, InstanceNorm)]
    if not places:
        raise InputError(
            f"a network with {network.config.norm} norm given; only one with instance norm in some layer takes "
            "statistics from the photo that can be frozen in this way"
        )
    return places


def population_statistics(network: TransformerNet, population: Tensor) -> dict[str, PooledFeatures]:
    """Return the statistics, by name of the layer, of what reaches the instance norms of the untouched network.

    Args:
        network: The network, in evaluation mode.
        population: (N, 3, H, W) in [0, 1].

    Returns:
        Per photo; the mean and the variance to freeze are ``pooled_mean`` and ``total`` of each.

    Raises:
        InputError: The network has no instance norm.
    """
    names = {place.name for place in instance_places(network)}
    features = pooled_features(network, population)
    return {name: stages[BEFORE] for name, stages in features.items() if name in names}


def variant_layers(network: TransformerNet) -> dict[str, tuple[str, ...]]:
    """Return the variants of a network: the name of each, and the instance-norm layers that keep their statistics.

    A variant that would keep the same layers as one before it is left out: where the encoder is one layer, "encoder
    only" is "first layer only".

    Raises:
        InputError: The network has no instance norm.
    """
    places = instance_places(network)
    names = [place.name for place in places]
    wanted = {EVERYWHERE: names, NOWHERE: [], FIRST: names[:1]}
    wanted |= {name: [place.name for place in places if place.part == part] for part, name in PARTS.items()}
    wanted[ALL_BUT_FIRST] = names[1:]
    result: dict[str, tuple[str, ...]] = {}
    for name, kept in wanted.items():
        if tuple(kept) not in result.values():
            result[name] = tuple(kept)
    return result


def frozen_subject(subject: Subject, statistics: Mapping[str, PooledFeatures], kept: Collection[str]) -> Subject:
    """Return a copy of a network that takes statistics from the photo in some layers only; the given one is unchanged.

    Args:
        subject: A network with instance norm.
        statistics: From :func:`population_statistics` of the same network.
        kept: The layers that keep the photo's own statistics; every other instance norm is frozen.

    Raises:
        InputError: ``kept`` names a layer that has no instance norm.
    """
    network = copy.deepcopy(subject.network)
    places = instance_places(network)
    unknown = sorted(set(kept) - {place.name for place in places})
    if unknown:
        known = ", ".join(place.name for place in places)
        raise InputError(f"no instance norm in layer '{unknown[0]}'; the network has it in {known}")
    for place in places:
        if place.name not in kept:
            place.put(_frozen(place.norm, statistics[place.name]))
    return Subject(f"{subject.label}, statistics kept: {', '.join(kept) or NOWHERE}", network.eval())


def _frozen(norm: InstanceNorm, statistics: PooledFeatures) -> BatchNorm:
    """Return the batch norm that does in evaluation mode what ``norm`` would with fixed statistics."""
    fixed = BatchNorm(norm.channels, norm.epsilon).requires_grad_(False)
    fixed.weight.copy_(norm.weight.detach())
    fixed.bias.copy_(norm.bias.detach())
    fixed.running_mean.copy_(statistics.pooled_mean)
    fixed.running_var.copy_(statistics.total)
    return fixed.to(norm.weight.device).eval()


def measure_frozen_statistics(
    subject: Subject, ruler: Ruler, population: Tensor, photos: Tensor, test_photos: int = TEST_PHOTOS
) -> FrozenStatistics:
    """Measure an instance-norm network with its statistics frozen, part by part.

    Args:
        subject: A network with instance norm, in evaluation mode; unchanged afterwards.
        ruler: Measures the distance to the painting that the network was trained for.
        population: (N, 3, H, W) in [0, 1]: photos that the fixed statistics are of. Better not those measured on: the
            population of batch norm is its training photos.
        photos: (B, 3, H, W) in [0, 1]: photos to measure on.
        test_photos: The first so many of them are used.

    Raises:
        InputError: The network has no instance norm.
    """
    statistics = population_statistics(subject.network, population)
    photos = photos[:test_photos]
    faded = change_contrast(photos, LOW_CONTRAST)
    variants = []
    for name, kept in variant_layers(subject.network).items():
        frozen = frozen_subject(subject, statistics, kept)
        outcomes = [_outcome(frozen, ruler, given) for given in (photos, faded)]
        variants.append(Variant(name, kept, tuple(layer for layer in statistics if layer not in kept), *outcomes))
    return FrozenStatistics(subject.label, LOW_CONTRAST, len(population), len(photos), tuple(variants))


def _outcome(subject: Subject, ruler: Ruler, photos: Tensor) -> Outcome:
    pictures = subject.paint(photos)
    styles = ruler.style(pictures).tolist()
    deviations = 255 * pictures.flatten(1).std(1, correction=0)
    return Outcome(fmean(styles), spread(torch.tensor(styles)), float(deviations.mean()), tuple(styles))


def finding(result: FrozenStatistics) -> str:
    """Return in words what freezing the statistics does, and what those of the first layer do."""
    whole, none = result.variant(EVERYWHERE), result.variant(NOWHERE)
    if whole is None or none is None:
        raise InputError("frozen statistics without the variants 'everywhere' and 'nowhere' given; measure them again")
    low = f"at contrast {result.contrast:g}"
    worse = sum(frozen > own for own, frozen in zip(whole.plain.styles, none.plain.styles, strict=True))
    sentences = [
        f"These weights were trained with the statistics of each photo; with these replaced by the statistics of "
        f"{_counted(result.population, 'photo')} in {_counted(len(none.frozen), 'layer')}, the style distance "
        f"{_change(whole.plain, none.plain)} (it is larger for {worse} of {_counted(result.photos, 'photo')}), "
        f"and {low} it {_change(whole.low_contrast, none.low_contrast)}."
    ]

    def kept(variant: Variant) -> str:
        plain = _recovered(whole.plain, none.plain, variant.plain)
        return f"{plain} ({low} {_recovered(whole.low_contrast, none.low_contrast, variant.low_contrast)})"

    first = result.variant(FIRST)
    if first is not None:
        sentence = f"With them kept in the {first.name} it is {kept(first)}"
        parts = [part for part in result.variants if part.name in PARTS.values()]
        best = min(parts, key=lambda part: part.plain.style, default=None)
        if best is not None and best.plain.style < first.plain.style:
            sentence += f"; in the {best.name} it is lower, {kept(best)}"
        elif best is not None:
            sentence += f"; in the {best.name} it is no lower, {kept(best)}"
        sentences.append(f"{sentence}.")
    rest = result.variant(ALL_BUT_FIRST)
    if rest is not None:
        rise, own = none.plain.style - whole.plain.style, rest.plain.style - whole.plain.style
        sentence = (
            f"With only the first layer's replaced it is {rest.plain.style:.3f} ({low} {rest.low_contrast.style:.3f})"
        )
        if rise > SAME * whole.plain.style:
            share = "most" if own > 0.5 * rise else "some" if own > 0.1 * rise else "little"
            sentence += f": {share} of the rise is owed to that layer alone"
        sentences.append(f"{sentence}.")
    return " ".join(sentences)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _change(own: Outcome, frozen: Outcome) -> str:
    """Return what happens to the style distance: a verb, the two numbers, and their ratio where there is a rise."""
    numbers = f"from {own.style:.3f} to {frozen.style:.3f}"
    if abs(frozen.style - own.style) <= SAME * own.style:
        return f"hardly changes, {numbers}"
    if frozen.style < own.style:
        return f"falls {numbers}"
    return f"rises {numbers}" + (f", to {frozen.style / own.style:.1f} times as much" if own.style > 0 else "")


def _recovered(own: Outcome, frozen: Outcome, part: Outcome) -> str:
    """Return the style distance of ``part`` and how much of the rise from ``own`` to ``frozen`` it undoes."""
    rise = frozen.style - own.style
    if rise <= SAME * own.style:
        return f"{part.style:.3f}"
    undone = 100 * (frozen.style - part.style) / rise
    if undone < 0:
        return f"{part.style:.3f}, even more than kept nowhere"
    return f"{part.style:.3f}, {undone:.0f} % of the rise undone"
