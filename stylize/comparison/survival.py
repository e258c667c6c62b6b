"""What survives a normalisation: how much of a photo's own contrast and colour the next layer can still see.

Two questions are asked of every normalised layer, before the norm, after it, and where the next layer reads (after the
ReLU, or after the sum that ends a residual block):

- which share of the variance of the features lies between photos rather than within them;
- how well a linear fit reads the contrast and the mean colour of a photo back from the mean and the standard deviation
  of every channel over the positions of that photo.

Instance norm makes both of these statistics the same for every photo by construction, so the stage behind the norm only
confirms that it works. The stage after the ReLU is the one that can surprise: the ReLU turns the shape of a
distribution, which instance norm leaves alone, into a mean again.

References:
    Pan, Luo, Shi, Tang 2018, arXiv 1807.09441: how much the features of pictures of different appearance differ, layer
    by layer, decides there where instance norm belongs. The measures here are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.comparison.linear_probe import cross_validated_fits, folds
from stylize.comparison.pooled_features import (
    STAGES,
    PooledFeatures,
    ends_block,
    pooled_features,
)
from stylize.comparison.subject import CHUNK, Subject
from stylize.comparison.wording import listed
from stylize.preparation import luminance

SAMPLES = 64
"""Versions of the photos that the linear fit is made and tested on."""

SAMPLE_SIZE = 128
"""Side in pixels of these versions, at most."""


@dataclass(frozen=True)
class Samples:
    """Pictures for the linear fit.

    Attributes:
        photos: (N, 3, H, W) in [0, 1].
        sources: For each of them, which photo it was made from; the versions of one photo are never both learned from
            and tested on.
    """

    photos: Tensor
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """What is found at one place of a layer.

    Attributes:
        name: One of :data:`STAGES`.
        between_share: Variance between photos as a share of the total variance, 0 to 1: the mean over the channels
            that are not constant, each counted the same; 0 where all are.
        channels: So many channels are not constant.
        contrast_fit: R^2 of the photo's contrast, read back by the linear fit from photos it has not seen: 1 = exact,
            0 = no better than the mean of the others; below 0 = worse.
        colour_fit: The same of its mean colour (three numbers together).
    """

    name: str
    between_share: float
    channels: int
    contrast_fit: float
    colour_fit: float


@dataclass(frozen=True)
class Layer:
    """A normalised layer.

    Attributes:
        name: Its place in the network, such as ``residual 3.2``.
        norm: Class of the norm that stands there.
        passed_on: Where the next layer reads: ``after the ReLU`` or ``after the sum``.
        before: Before the norm.
        after: After it.
        next: Where the next layer reads.
    """

    name: str
    norm: str
    passed_on: str
    before: Stage
    after: Stage
    next: Stage


@dataclass(frozen=True)
class NetworkSurvival:
    """The layers of one network, in order of depth."""

    label: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Survival:
    """What survives the norms of several networks.

    Attributes:
        photos: Photos that the shares are over.
        samples: Pictures that the fits are made and tested on.
        sources: Photos that these pictures come from.
        networks: What was found, in the order given.
    """

    photos: int
    samples: int
    sources: int
    networks: tuple[NetworkSurvival, ...]


def between_photo_share(features: PooledFeatures) -> tuple[float, int]:
    """Return the share of the variance that lies between photos, and how many channels it is the mean of.

    By the law of total variance the variance of a channel over photos and positions is the mean of the variances within
    the photos plus the variance of their means; the share is the second over the sum. Every channel that is not
    constant counts the same: with weights by variance a few loud channels would decide, and a norm makes others loud.
    """
    varies = features.varies
    count = int(varies.sum())
    if not count:
        return 0.0, 0
    return float((features.between[varies] / features.total[varies]).mean()), count


def make_samples(photos: Tensor, count: int = SAMPLES, seed: int = 0) -> Samples:
    """Make versions of photos that differ in crop, contrast and colour, so that a few photos give enough to fit.

    Every version is a random square crop of half to all of the short side, scaled to :data:`SAMPLE_SIZE` or less; its
    contrast is changed by a factor of 0.3 to 1.2 about its mean, each colour channel by a factor of 0.75 to 1.25, and
    the result is clamped to [0, 1]. Versions of all photos come in equal numbers, to within one.

    Args:
        photos: (B, 3, H, W) in [0, 1].
        count: How many to make.
        seed: Decides every random choice.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, many: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(many, generator=generator)

    short = min(photos.shape[-2:])
    size = min(short, SAMPLE_SIZE)
    versions, sources = [], []
    for number in range(count):
        source = number % len(photos)
        side = max(1, round(float(uniform(0.5, 1)) * short))
        top, left = (int(torch.randint(full - side + 1, (), generator=generator)) for full in photos.shape[-2:])
        crop = photos[source : source + 1, :, top : top + side, left : left + side]
        scaled = F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        mean = scaled.mean((1, 2, 3), keepdim=True)
        changed = mean + float(uniform(0.3, 1.2)) * (scaled - mean)
        gains = uniform(0.75, 1.25, 3).to(photos.device)[:, None, None]
        versions.append((changed * gains).clamp(0, 1))
        sources.append(source)
    return Samples(torch.cat(versions), tuple(sources))


def photo_facts(photos: Tensor) -> tuple[Tensor, Tensor]:
    """Return the contrast (N, 1), the standard deviation of the luminance, and the mean colour (N, 3) of photos."""
    contrasts, colours = [], []
    for part in photos.split(CHUNK):
        wide = part.cpu().double()
        contrasts.append(luminance(wide).flatten(1).std(1, correction=0)[:, None])
        colours.append(wide.mean((2, 3)))
    return torch.cat(contrasts), torch.cat(colours)


def linear_fits(features: PooledFeatures, targets: Sequence[Tensor], sources: Sequence[int]) -> list[float]:
    """Return how well linear fits to the pooled features read targets back, as R^2 on photos they have not seen.

    The features are the mean and the standard deviation of every channel that is not constant, in units of that
    channel's standard deviation over all photos and positions.

    Args:
        features: Of N pictures.
        targets: (N, K) each, its K numbers in one unit.
        sources: The photo that each picture comes from, of at least three.

    Returns:
        One number for every target; see :func:`stylize.comparison.linear_probe.cross_validated_fits`.

    Raises:
        InputError: The pictures come from too few photos.
    """
    varies = features.varies
    unit = features.total[varies].sqrt()
    columns = torch.cat([features.mean[:, varies] / unit, features.variance[:, varies].sqrt() / unit], 1)
    return cross_validated_fits(columns, targets, sources)


def measure_survival(subjects: Sequence[Subject], photos: Tensor, samples: Samples | None = None) -> Survival:
    """Measure what survives the norms of some networks.

    Args:
        subjects: The networks, in evaluation mode.
        photos: (B, 3, H, W) in [0, 1]: what the shares of the variance are over.
        samples: What the linear fits are made and tested on; None = :func:`make_samples` of the photos. With enough
            photos (a hundred or so) the photos themselves will do: ``Samples(photos, tuple(range(len(photos))))``.

    Raises:
        InputError: The samples come from fewer than three photos.
    """
    samples = samples if samples is not None else make_samples(photos)
    folds(samples.sources)  # Says at once when there are too few.
    facts = photo_facts(samples.photos)
    networks = []
    for subject in subjects:
        plain = pooled_features(subject.network, photos)
        varied = pooled_features(subject.network, samples.photos)
        layers = []
        for place in subject.network.norm_places():
            stages = [
                _stage(name, plain[place.name][name], varied[place.name][name], facts, samples.sources)
                for name in STAGES
            ]
            passed_on = "after the sum" if ends_block(place) else "after the ReLU"
            layers.append(Layer(place.name, type(place.norm).__name__, passed_on, *stages))
        networks.append(NetworkSurvival(subject.label, tuple(layers)))
    return Survival(len(photos), len(samples.sources), len(set(samples.sources)), tuple(networks))


def _stage(
    name: str, plain: PooledFeatures, varied: PooledFeatures, facts: tuple[Tensor, Tensor], sources: Sequence[int]
) -> Stage:
    share, channels = between_photo_share(plain)
    contrast, colour = linear_fits(varied, facts, sources)
    return Stage(name, share, channels, contrast, colour)


def finding(result: Survival) -> str:
    """Return in words what survives, in the networks where the least and the most of the photo's contrast does."""
    ordered = sorted(result.networks, key=lambda network: _mean(network, "next", "contrast_fit"))
    shown = ordered if len(ordered) < 3 else [ordered[0], ordered[-1]]
    sentences = [f"{_shares(result, shown)}.", f"{_fits(result, shown)}."]
    fixed = [network.label for network in shown if max(layer.after.between_share for layer in network.layers) < 1e-6]
    if fixed:
        sentences.append(
            "All this is read from the mean and the deviation of every channel over a photo; right behind "
            f"{listed(fixed)} the mean is the same for every photo by construction, so what counts there is "
            "what the next layers read."
        )
    return " ".join(sentences)


def _shares(result: Survival, shown: Sequence[NetworkSurvival]) -> str:
    """Return the sentence about the shares of the variance between photos."""
    clauses = []
    for network in shown:
        before, after, onward = (_mean(network, stage, "between_share") for stage in ("before", "after", "next"))
        if abs(after - before) <= 0.1 * before:
            verb = "stays at"
        else:
            verb = "falls to" if after < before else "rises to"
        clauses.append(
            f"with {network.label} it is {_percent(before)} before the norms, {verb} {_percent(after)} behind "
            f"them, and is {_percent(onward)} where the next layers read"
        )
    return (
        f"The share of the features' variance that lies between the {result.photos} photos, mean over layers: "
        + "; ".join(clauses)
    )


def _fits(result: Survival, shown: Sequence[NetworkSurvival]) -> str:
    """Return the sentence about what the linear fits read."""
    clauses = []
    for network in shown:
        contrast, colour = (_mean(network, "next", fit) for fit in ("contrast_fit", "colour_fit"))
        clauses.append(f"contrast {contrast:.2f} and mean colour {colour:.2f} with {network.label}")
    text = (
        f"From what the next layers read, a linear fit tells for photos it has not seen ({result.samples} versions of "
        f"{result.sources} photos), as R² (1 = exactly, 0 or less = not at all), mean over layers: {'; '.join(clauses)}"
    )
    if len(shown) < 2:
        return text
    low, high = (max(0.0, _mean(network, "next", "contrast_fit")) for network in (shown[0], shown[-1]))
    if high - low < 0.1:
        return f"{text}: the norms hardly differ in how much of the contrast they let through"
    return f"{text}: {shown[-1].label} lets more of the contrast through than {shown[0].label}"


def _mean(network: NetworkSurvival, stage: str, value: str) -> float:
    """Return the mean over the layers of a value at a stage."""
    return fmean(getattr(getattr(layer, stage), value) for layer in network.layers)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
