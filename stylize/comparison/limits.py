"""Where normalising each photo by itself hurts: flat pictures, lost brightness, and effects at a distance.

Three costs of instance norm that follow from its formula (the first two are old complaints of its users):

- It divides by the standard deviation of the photo, so noise that nobody sees in a flat picture is blown up, until it
  is so small that the epsilon in the denominator stops it.
- What it removes it cannot give back: how bright a photo was, and how strong its contrast.
- Its statistics are those of the whole picture, so a change in one corner changes every other one. Batch norm in
  evaluation mode is a fixed filter, and sees as far as its receptive field.

None of it is taken for granted here: the sentences are made from what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.comparison.photo_changes import CHANGES, VISIBLE, brighten, brightness, darken, variation
from stylize.comparison.subject import Subject, mean_change
from stylize.comparison.wording import capital, in_words, levels_of, listed
from stylize.errors import InputError

NOISES = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Standard deviations of the noise in flat pictures, as a share of the range [0, 1]."""

UNSEEN_NOISE = 1e-3
"""A quarter of a grey level: rounding to 8 bits makes more."""

AMPLIFIED = 10.0
"""From this factor on, noise counts as blown up."""

LOST = 0.1
"""Below this share of a change, the result is said not to follow it."""


@dataclass(frozen=True)
class FlatRow:
    """What a network makes of noise in a flat grey picture.

    Attributes:
        label: Of the network.
        noise: Standard deviation of the noise in grey levels of 0..255.
        variation: Standard deviation of the result over its positions, in grey levels.
        half_flat_variation: The same in the top quarter of the result of photos whose top half is flat, as a sky may
            be, with the same noise; mean over the photos.
    """

    label: str
    noise: float
    variation: float
    half_flat_variation: float


@dataclass(frozen=True)
class Flat:
    """Noise in flat pictures.

    Attributes:
        rows: One for each network and noise.
        photo_variation: By network, how much the results of the photos vary, in grey levels; for comparison.
    """

    rows: tuple[FlatRow, ...]
    photo_variation: dict[str, float]


@dataclass(frozen=True)
class BrightnessRow:
    """How much of the brightness and the contrast of a photo is left in a network's result.

    Attributes:
        label: Of the network.
        brightness_slope: By how much the result gets brighter when a photo gets brighter by 1; 1 = it follows, 0 = it
            does not. Least squares over the brightness factors of the sweep, within each photo.
        contrast_slope: The same for the standard deviation over the positions, over the contrast factors.
        correlation: Pearson correlation, over the photos as they are, of the mean luminance of photo and result; None
            for fewer than three photos, or where one of the two does not vary.
        rank_correlation: The same of the ranks (Spearman): 1 = the order from dark to bright is kept.
    """

    label: str
    brightness_slope: float
    contrast_slope: float
    correlation: float | None
    rank_correlation: float | None


@dataclass(frozen=True)
class Brightness:
    """What is left of brightness and contrast.

    Attributes:
        photos: How many photos.
        rows: One for each network.
    """

    photos: int
    rows: tuple[BrightnessRow, ...]


@dataclass(frozen=True)
class MixedRow:
    """What a photo beside another one, in one picture, does to a network's result.

    Attributes:
        label: Of the network.
        far: Mean absolute change in the far quarter of the picture when the other half is replaced, in grey levels.
        near: The same in the quarter next to the other half.
    """

    label: str
    far: float
    near: float


@dataclass(frozen=True)
class Mixed:
    """Two photos side by side in one picture, of which the right one is replaced.

    Attributes:
        neighbours: ``"chosen"``: the darkest and the brightest of the other photos; ``"made"``: one photo made darker
            and brighter, because fewer than three were given.
        distance: Pixels between the far quarter and the replaced half.
        rows: One for each network.
    """

    neighbours: str
    distance: int
    rows: tuple[MixedRow, ...]


@dataclass(frozen=True)
class Limits:
    """All three limits."""

    flat: Flat
    brightness: Brightness
    mixed: Mixed


def limits(subjects: Sequence[Subject], photos: Tensor) -> Limits:
    """Measure where normalising each photo by itself hurts.

    Args:
        subjects: The networks, in evaluation mode.
        photos: (B, 3, H, W) in [0, 1], all of one size; H and W at least 4.

    Raises:
        InputError: No photo, or too small ones.
    """
    if photos.dim() != 4 or len(photos) == 0 or min(photos.shape[-2:]) < 4:
        raise InputError(f"photos of shape {tuple(photos.shape)} given; (B, 3, H, W) with H, W >= 4 is accepted")
    return Limits(flat(subjects, photos), lost_brightness(subjects, photos), mixed(subjects, photos))


def finding(result: Limits) -> str:
    """Say in plain sentences what the limits are."""
    parts = (flat_finding(result.flat), brightness_finding(result.brightness), mixed_finding(result.mixed))
    return " ".join(part for part in parts if part) or "Nothing was measured."


def flat(subjects: Sequence[Subject], photos: Tensor, noises: Sequence[float] = NOISES) -> Flat:
    """Measure what networks make of noise in flat pictures of the size of photos (B, 3, H, W) in [0, 1].

    The noise is normal, drawn once from a fixed seed, and not clipped.
    """
    source = torch.Generator().manual_seed(0)
    noise = torch.randn((1, *photos.shape[1:]), generator=source).to(photos)
    half, quarter = photos.shape[2] // 2, photos.shape[2] // 4
    rows = []
    for subject in subjects:
        for deviation in noises:
            grey = 0.5 + deviation * noise
            skies = photos.clone()
            skies[:, :, :half] = photos[:, :, :half].mean((2, 3), keepdim=True) + deviation * noise[:, :, :half]
            rows.append(
                FlatRow(
                    subject.label,
                    255 * deviation,
                    float(variation(subject.paint(grey))),
                    float(variation(subject.paint(skies)[:, :, :quarter]).mean()),
                )
            )
    return Flat(tuple(rows), {subject.label: float(variation(subject.paint(photos)).mean()) for subject in subjects})


def flat_finding(result: Flat) -> str:
    """Say in plain sentences what becomes of noise in flat pictures."""
    levels = sorted({row.noise for row in result.rows if row.noise > 0})
    if not levels:
        return ""
    # The strongest noise that nobody sees, or the weakest there is.
    level = max((value for value in levels if value <= VISIBLE), default=levels[0])
    rows = [row for row in result.rows if row.noise == level]
    text = (
        f"Noise of {in_words(level)} grey levels in a flat grey picture becomes a variation of"
        f" {levels_of({row.label: row.variation for row in rows})}"
    )
    loud = {row.label: row for row in rows if _is_loud(row)}
    if not loud:
        return f"{text}: no network here blows it up."
    photos = {label: result.photo_variation.get(label, 0.0) for label in loud}
    shares = [f"{100 * row.variation / photos[label]:.0f} % ({label})" for label, row in loud.items() if photos[label]]
    text += f", which is {listed(shares)} of what a photo becomes." if shares else "."
    weakest = {row.label: row.variation for row in result.rows if row.noise == levels[0] and _is_loud(row)}
    if weakest and levels[0] < level:
        text += f" Even {levels[0]:.1g} grey levels of it become {levels_of(weakest)}."
    confined = {
        label: row.half_flat_variation for label, row in loud.items() if row.half_flat_variation < row.variation / 2
    }
    if confined:
        text += (
            f" Where only the top half of a photo is flat, that half varies by {levels_of(confined)}: the other half"
            " sets the scale."
        )
    spread_out = {label: row.half_flat_variation for label, row in loud.items() if label not in confined}
    if spread_out:
        text += f" A flat top half of a photo is no safer: it varies by {levels_of(spread_out)}."
    return text


def _is_loud(row: FlatRow) -> bool:
    return row.variation > VISIBLE and row.variation > AMPLIFIED * row.noise


def lost_brightness(subjects: Sequence[Subject], photos: Tensor) -> Brightness:
    """Measure what is left of the brightness and the contrast of photos (B, 3, H, W) in [0, 1]."""
    rows = []
    for subject in subjects:
        original = subject.paint(photos)
        slopes = {}
        for name, measure in (("brightness", brightness), ("contrast", variation)):
            change = CHANGES[name]
            pairs = []
            for factor in change.factors:
                changed = change.function(photos, factor)
                result = original if factor == change.neutral else subject.paint(changed)
                pairs.append((measure(changed), measure(result)))
            before, after = (torch.stack(values).double() for values in zip(*pairs, strict=True))
            slopes[name] = _slope(before, after)
        before, after = brightness(photos), brightness(original)
        pearson = correlation(before, after)
        # Where there is no correlation there is no order either, but for that of the float errors.
        spearman = None if pearson is None else correlation(_ranks(before), _ranks(after))
        rows.append(BrightnessRow(subject.label, slopes["brightness"], slopes["contrast"], pearson, spearman))
    return Brightness(len(photos), tuple(rows))


def _slope(before: Tensor, after: Tensor) -> float:
    """Return the least-squares slope within the columns (a photo each) of values (factors, photos)."""
    before, after = before - before.mean(0), after - after.mean(0)
    return float((before * after).sum() / before.square().sum().clamp_min(1e-12))


def _ranks(values: Tensor) -> Tensor:
    """Return the ranks of values (N,) from 0, of equal values the mean of theirs."""
    below = (values[:, None] > values).sum(1)
    equal = (values[:, None] == values).sum(1)
    return below + (equal - 1) / 2


def correlation(first: Tensor, second: Tensor) -> float | None:
    """Return Pearson's correlation of values (N,), or None where fewer than three, or equal ones, have none."""
    first, second = first.double() - first.double().mean(), second.double() - second.double().mean()
    norm = first.norm() * second.norm()
    # Brightness is known to float32; what varies less than that does not vary.
    if len(first) < 3 or min(float(first.norm()), float(second.norm())) < 1e-6:
        return None
    return float((first @ second / norm).clamp(-1, 1))


def brightness_finding(result: Brightness) -> str:
    """Say in plain sentences what is left of brightness and contrast."""
    if not result.rows:
        return ""
    lost = [row for row in result.rows if abs(row.brightness_slope) < LOST]
    kept = [row for row in result.rows if row not in lost]
    sentences = []
    if lost:
        sentences.append(
            f"How bright a photo was taken is lost with {listed(row.label for row in lost)}: the result follows it by"
            f" {_shares({row.label: row.brightness_slope for row in lost})}."
        )
    if kept:
        start = capital(listed(row.label for row in kept))
        sentences.append(
            f"{start} {'follows' if len(kept) == 1 else 'follow'} how bright a photo was taken by"
            f" {_shares({row.label: row.brightness_slope for row in kept})}."
        )
    sentences.append(
        f"Of a change of contrast the result keeps {_shares({row.label: row.contrast_slope for row in result.rows})}."
    )
    ranked = {row.label: row.rank_correlation for row in result.rows if row.rank_correlation is not None}
    if ranked:
        numbers = listed([f"{value:.2f} ({label})" for label, value in ranked.items()])
        sentences.append(
            f"The order from dark to bright of the {result.photos} photos as they are is kept with a rank correlation"
            f" of {numbers}, each uncertain by about {(result.photos - 1) ** -0.5:.1f} with so many photos."
        )
    return " ".join(sentences)


def _shares(slopes: Mapping[str, float]) -> str:
    return listed(f"{round(100 * slope)} % ({label})" for label, slope in slopes.items())


def mixed(subjects: Sequence[Subject], photos: Tensor) -> Mixed:
    """Measure what replacing one half of a picture does to the other half.

    Every photo of (B, 3, H, W) in [0, 1] is once the left half of a picture (1, 3, H, 2W); its right half is a dark
    photo, then a bright one. Of two photos that is the other one, of a single one itself, made darker and brighter.
    """
    chosen = len(photos) >= 3
    width = photos.shape[3]
    light = brightness(photos)
    far: dict[str, list[float]] = {subject.label: [] for subject in subjects}
    near: dict[str, list[float]] = {subject.label: [] for subject in subjects}
    for index in range(len(photos)):
        left = photos[index : index + 1]
        others = torch.cat([photos[index + 1 :], photos[:index]]) if len(photos) > 1 else left
        if chosen:
            order = torch.argsort(torch.cat([light[index + 1 :], light[:index]]))
            dark, bright = others[order[:1]], others[order[-1:]]
        else:
            dark, bright = darken(others), brighten(others)
        pair = torch.cat([torch.cat([left, right], dim=3) for right in (dark, bright)])
        for subject in subjects:
            first, second = subject.paint(pair)[..., :width].split(1)
            far[subject.label].append(float(mean_change(first[..., : width // 2], second[..., : width // 2])))
            near[subject.label].append(float(mean_change(first[..., width // 2 :], second[..., width // 2 :])))
    count = max(len(photos), 1)
    rows = tuple(MixedRow(label, sum(far[label]) / count, sum(near[label]) / count) for label in far)
    return Mixed("chosen" if chosen else "made", width - width // 2, rows)


def mixed_finding(result: Mixed) -> str:
    """Say in plain sentences what one half of a picture does to the other."""
    reached = {row.label: row.far for row in result.rows if row.far > VISIBLE}
    spared = {row.label: row.far for row in result.rows if row.far <= VISIBLE}
    there = f"the far left quarter of a picture, {result.distance} pixels away"
    sentences = []
    if reached:
        # Networks with the same filters that are spared show that it is not the filters that reach so far.
        reason = ": statistics of the whole picture carry it there" if spared else ""
        sentences.append(f"Replacing the right half changes {there}, by {levels_of(reached)}{reason}.")
    if spared:
        what = f"It does not with {listed(spared)}" if reached else f"Replacing the right half does not change {there}"
        sentences.append(f"{what}: {levels_of(spared)}.")
    return " ".join(sentences)
