"""The lightness of a painting with the colour of the photo.

The work is done in Oklab, reached from sRGB by way of linear light. Every result depends on one pixel of the painting
and one of the photo, and on a :class:`LightnessMatch` of two numbers, so a picture may come in strips of any size.

Decisions, made by looking at eight photos in six styles:
    - Oklab, not CIELAB. In CIELAB a clear blue sky turns to cyan where the painting is darker and to violet where it
      is lighter, and a dark red to brown. In Oklab they keep their colour. Other colours look much the same in both.
    - Chroma is kept, not saturation (chroma divided by lightness). The latter gives the shadows of a photo bright
      colours where the painting is light, and greys out a sunlit wall where it is dark.
    - A colour outside of sRGB loses chroma at constant lightness and hue. To clip the channels would turn it to
      another hue. In those pictures between 0.2 % and 61 % of the colours were outside.
    - The lightness of the whole painting is moved towards that of the photo first (:class:`LightnessMatch`): instance
      norm takes away whether a photo is dark, and a light painting washes a night out. Half of the way to the photo's
      mean and deviation looked best. All the way, strokes become harsh and get halos. Strips do not have the statistics
      of their whole picture; :mod:`stylize.lightness_matching` takes them from a small copy, for strips or not.

Reference:
    Ottosson 2020, "A perceptual color space for image processing", https://bottosson.github.io/posts/oklab/
    (the space and its matrices); IEC 61966-2-1 (the curve of sRGB); Gatys et al. 2016, "Preserving Color in Neural
    Artistic Style Transfer", arXiv 1606.05897, section 3 (transfer of luminance alone, and its mean and deviation).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.errors import InputError

CHUNK_PIXELS = 2**16
"""Pixels that are converted at once: few enough for the caches of a processor, and what bounds the memory."""

GAMUT_STEPS = 10
"""Halvings of the interval in which the largest chroma is sought: what is lost is below 0.1 % of the chroma."""

GAMUT_TOLERANCE = 0.008
"""How far below 0 a linear channel may come before it counts as outside, as a part of the light of the grey.

The edge of sRGB bends inwards beside pure blue, by 0.0076: a little less chroma than that of blue lies outside, still
less lies inside again. Without the tolerance, a blue ramp shows a dark line where the search jumps over that bend. What
is cut off is well under what can be seen."""

MATCH_AMOUNT = 0.5
"""How far a painting's lightness is moved to the photo's where it is matched, from 0 to 1."""

GAIN_LIMIT = 2.0
"""Largest gain of a :class:`LightnessMatch`, and its inverse the smallest: a flat painting must not become noise."""

# Linear sRGB to the responses of the three cones, and their cube roots to lightness and the two axes of colour.
_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
# Their inverses: the roots are the lightness plus these parts of the axes.
_ROOTS = (
    (0.3963377774, 0.2158037573),
    (-0.1055613458, -0.0638541728),
    (-0.0894841775, -1.2914855480),
)
_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)

_DARK = 0.04045
"""The sRGB value below which its curve is a straight line."""


@dataclass(frozen=True)
class LightnessStatistics:
    """How light a picture is.

    Attributes:
        mean: Mean of the Oklab lightness, in [0, 1].
        deviation: Its standard deviation.
    """

    mean: float
    deviation: float


@dataclass(frozen=True)
class LightnessMatch:
    """What is done to the lightness of a painting: ``gain * lightness + offset``, kept within [0, 1].

    Attributes:
        gain: Factor.
        offset: What is added.
    """

    gain: float = 1.0
    offset: float = 0.0


def preserve_colour(
    painted: Tensor, photo: Tensor, match: LightnessMatch | Sequence[LightnessMatch] | None = None
) -> Tensor:
    """Return the lightness of a painting with the hue and the chroma of a photo.

    Args:
        painted: (B, 3, H, W), RGB in [0, 1]; values outside are clamped.
        photo: The same shape, on the same device.
        match: What is done to the lightness first (:func:`match_lightness`), to all pictures or one for each; None
            leaves it.

    Returns:
        A new tensor of the shape and dtype of ``painted``, RGB in [0, 1].

    Raises:
        InputError: The shapes differ or are of another kind, the values are no floats, or there are not as many matches
            as pictures.
    """
    _check(painted, "painting")
    _check(photo, "photo")
    if painted.shape != photo.shape:
        raise InputError(
            f"a painting of shape {tuple(painted.shape)} and a photo of shape {tuple(photo.shape)} given; "
            "they must have the same shape"
        )
    matches = [match] * len(painted) if match is None or isinstance(match, LightnessMatch) else list(match)
    if len(matches) != len(painted):
        raise InputError(f"{len(matches)} matches given for {len(painted)} paintings; one for each is needed")
    result = torch.empty_like(painted)
    with torch.no_grad():
        for one, rows in _chunks(painted):
            lightness = _lightness(painted[one, :, rows])
            if matches[one] is not None:
                lightness = lightness.mul_(matches[one].gain).add_(matches[one].offset)
            colour = _oklab(photo[one, :, rows])[1:]
            result[one, :, rows] = _rgb(lightness, colour)
    return result


def lightness_statistics(strips: Iterable[Tensor]) -> LightnessStatistics:
    """Return the mean and the standard deviation of the lightness of a picture.

    Args:
        strips: The picture in one or more pieces, each (B, 3, H, W), RGB in [0, 1].

    Raises:
        InputError: There is nothing, or a piece has another shape or type.
    """
    count, mean, squares = 0, 0.0, 0.0
    for strip in strips:
        _check(strip, "picture")
        with torch.no_grad():
            for one, rows in _chunks(strip):
                values = _lightness(strip[one, :, rows]).double()
                # Sums are joined by Chan's formula: the difference of two large sums would lose what is small.
                more, here = values.numel(), float(values.mean())
                apart, total = here - mean, count + more
                squares += float((values - here).square().sum()) + apart**2 * count * more / total
                mean += apart * more / total
                count = total
    if not count:
        raise InputError("no picture given to measure the lightness of; at least one strip is needed")
    return LightnessStatistics(mean, math.sqrt(squares / count))


def match_lightness(
    painted: LightnessStatistics, photo: LightnessStatistics, amount: float = MATCH_AMOUNT
) -> LightnessMatch:
    """Return what brings a painting to the mean and the deviation of the lightness of its photo.

    Args:
        painted: Of the painting.
        photo: Of the photo.
        amount: 1 goes all the way, 0 leaves the painting as it is.

    Raises:
        InputError: The amount is not in [0, 1].
    """
    if not 0 <= amount <= 1:
        raise InputError(f"an amount of {amount:g} given for matching the lightness; 0 to 1 is accepted")
    full = GAIN_LIMIT
    if painted.deviation * GAIN_LIMIT > photo.deviation:
        full = max(photo.deviation / painted.deviation, 1 / GAIN_LIMIT)
    gain = full**amount
    return LightnessMatch(gain, painted.mean + amount * (photo.mean - painted.mean) - gain * painted.mean)


def to_oklab(picture: Tensor) -> Tensor:
    """Return a picture in Oklab.

    Args:
        picture: (B, 3, H, W), RGB in [0, 1].

    Returns:
        The same shape, float32: the lightness in [0, 1], then the axes from green to red and from blue to yellow.
    """
    _check(picture, "picture")
    result = torch.empty_like(picture, dtype=torch.float32)
    with torch.no_grad():
        for one, rows in _chunks(picture):
            result[one, :, rows] = _oklab(picture[one, :, rows])
    return result


def from_oklab(picture: Tensor) -> Tensor:
    """Return an Oklab picture (B, 3, H, W) in sRGB, in [0, 1]; colours that sRGB has not lose chroma until it has."""
    _check(picture, "picture")
    result = torch.empty_like(picture)
    with torch.no_grad():
        for one, rows in _chunks(picture):
            piece = picture[one, :, rows].float()
            result[one, :, rows] = _rgb(piece[0], piece[1:])
    return result


def _check(picture: Tensor, what: str) -> None:
    if not isinstance(picture, Tensor):
        raise InputError(f"a {type(picture).__name__} given as the {what}; a tensor (B, 3, H, W) is needed")
    if picture.dim() != 4 or picture.shape[1] != 3 or 0 in picture.shape:
        raise InputError(f"a {what} of shape {tuple(picture.shape)} given; (B, 3, H, W) is accepted")
    if not picture.is_floating_point():
        given = str(picture.dtype).removeprefix("torch.")
        raise InputError(f"a {what} of {given} given; floats in [0, 1] are accepted")


def _chunks(picture: Tensor) -> Iterable[tuple[int, slice]]:
    """Yield the number of each picture of a batch with rows of it, few at a time."""
    batch, _, height, width = picture.shape
    step = max(1, CHUNK_PIXELS // width)
    for one in range(batch):
        for top in range(0, height, step):
            yield one, slice(top, min(top + step, height))


def _matrix(values: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)


def _times(values: tuple[tuple[float, ...], ...], planes: Tensor) -> Tensor:
    """Multiply every pixel of (C, H, W) by a matrix."""
    return (_matrix(values, planes) @ planes.flatten(1)).unflatten(1, planes.shape[1:])


def _cone_roots(pixels: Tensor) -> Tensor:
    """Return the cube roots of the responses of the cones to sRGB pixels, both (3, H, W)."""
    pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format).clamp(0, 1)
    return _times(_CONES, _linear(pixels)).clamp_(min=0).pow_(1 / 3)


def _linear(pixels: Tensor) -> Tensor:
    """Return the linear light of sRGB values in [0, 1].

    The straight piece and the curved one are added up, each held where it ends: torch.where would take three times as
    long. A millionth is taken off the curve so that rounding leaves exactly nothing of it in the dark.
    """
    curve = pixels.clamp(min=_DARK).add_(0.055).mul_(1 / 1.055).pow_(2.4).sub_(_DARK / 12.92 * (1 + 1e-6)).clamp_(min=0)
    return curve.add_(pixels.clamp(max=_DARK), alpha=1 / 12.92)


def _encoded(light: Tensor) -> Tensor:
    """Return the sRGB values of linear light in [0, 1]; in two pieces, as in :func:`_linear`."""
    curve = light.clamp(min=_DARK / 12.92).pow_(1 / 2.4).mul_(1.055).sub_(0.055 + _DARK * (1 + 1e-6)).clamp_(min=0)
    return curve.add_(light.clamp(max=_DARK / 12.92), alpha=12.92).clamp_(0, 1)


def _oklab(pixels: Tensor) -> Tensor:
    return _times(_LAB, _cone_roots(pixels))


def _lightness(pixels: Tensor) -> Tensor:
    """Return the lightness (H, W) of sRGB pixels (3, H, W)."""
    return _times(_LAB[:1], _cone_roots(pixels))[0]


def _rgb(lightness: Tensor, colour: Tensor) -> Tensor:
    """Return sRGB (3, H, W) in [0, 1] of a lightness (H, W) and the two axes of colour (2, H, W).

    With the chroma times t, each linear channel is a polynomial of third degree in t, whose value at 0 is the light of
    the grey. The coefficients are computed once; the search for the largest t needs nothing but them.
    """
    lightness = lightness.clamp(0, 1)
    parts = _times(_ROOTS, colour)
    first = _times(_RGB, parts).mul_(3 * lightness * lightness)
    squares = parts * parts
    second = _times(_RGB, squares).mul_(3 * lightness)
    third = _times(_RGB, squares.mul_(parts))
    grey = lightness.pow(3)
    light = first + second
    light += third
    light += grey
    outside = _excess(light, grey) > 0
    if outside.any():
        where = outside.flatten().nonzero().squeeze(1)
        few = [planes.flatten(1).index_select(1, where) for planes in (first, second, third)]
        light.flatten(1).index_copy_(1, where, _with_less_chroma(grey.flatten().index_select(0, where), *few))
    return _encoded(light.clamp_(0, 1))


def _excess(light: Tensor, grey: Tensor) -> Tensor:
    """Return by how much linear colours (3, ...) are outside of sRGB beyond the tolerance; 0 or less is inside."""
    red, green, blue = light
    above = torch.maximum(torch.maximum(red, green), blue).sub_(1 + 1e-6)
    below = torch.minimum(torch.minimum(red, green), blue).add_(grey, alpha=GAMUT_TOLERANCE)
    return torch.maximum(above, below.neg_())


def _with_less_chroma(grey: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Return the linear colours (3, N) of the largest chroma within sRGB, for colours that are outside.

    Args:
        grey: (N,), the value of the polynomials at no chroma.
        first: (3, N), their coefficients.
        second: The same.
        third: The same.
    """
    middle, half = torch.full_like(grey, 0.5), 0.5
    for _ in range(GAMUT_STEPS):
        half /= 2
        middle.sub_(_excess(_polynomial(middle, grey, first, second, third), grey).sign_(), alpha=half)
    return _polynomial(middle.sub_(half), grey, first, second, third)


def _polynomial(chroma: Tensor, grey: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    light = torch.addcmul(second, third, chroma)
    light = torch.addcmul(first, light, chroma)
    return torch.addcmul(grey, light, chroma)
