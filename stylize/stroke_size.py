"""Bold strokes in large pictures: paint a reduced photo, then enlarge the painting.

A network paints strokes of a fixed size in pixels, so the larger a photo, the smaller its strokes look. Here a photo
is reduced (:mod:`stylize.reduction`) and painted, and the painting is brought to the size of the photo without going
soft::

    scale = painting_scale(width, height, "auto")
    small_width, small_height = painting_size(width, height, scale)
    reduction = Reduction(height, width, small_height, small_width)
    ...                                        # reduction.add(rows, top) for all rows of the photo
    small = reduction.result()
    enlargement = Enlargement(paint(small), small, height, width)
    ...                                        # enlargement.rows(rows, top) for any rows of the photo, in any order

How a painting is enlarged (:data:`ENLARGEMENTS`):

``bicubic``
    Cubic interpolation alone: soft, and the stairs of the small pixels show. The one to compare with.
``guided``
    The fast guided filter (He and Sun 2015, arXiv 1505.00996; He, Sun and Tang 2013, IEEE TPAMI 35): a linear model
    of the painting on the colours of the photo in every small window, enlarged and applied to the large photo. What
    the model leaves over, which is most of the brushwork, is enlarged bicubically and added. Without it the result
    is the photo in other colours.
``detail``
    Bicubic, and the fine light and dark of the photo that the reduction took away.
``strokes``
    Sharp strokes. The painting is averaged along its strokes, as their direction is in its structure tensor
    (Kyprianidis and Doellner 2008 smooth along it likewise), which takes away the stairs of the pixels, and sampled a
    little away from the edges of the strokes, which makes the edges steep without overshoot. Then the ``detail`` at
    half its strength.

A :func:`second_pass` paints the enlarged painting once more: fine strokes over bold ones. Gatys et al. 2017
(arXiv 1611.07865, section 6) go from coarse to fine likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.errors import InputError, unknown_name
from stylize.guided_filter import apply_model, guided_model
from stylize.reduction import ROWS_AT_ONCE, check_pictures, check_rows

ENLARGEMENTS = ("bicubic", "guided", "detail", "strokes")
"""Names of the ways to enlarge a painting."""

DEFAULT_ENLARGEMENT = "strokes"

UNREDUCED_EDGE = 1024
"""Long edge in pixels up to which ``auto`` paints a photo at its own size."""

AUTO_POWER = 2 / 3
"""Beyond that, ``auto`` is (:data:`UNREDUCED_EDGE` / long edge) to this power: at 1 the painting would stay small,
at 0 the strokes. Chosen by looking at enlargements of one and a half to three times, which keep their sharpness."""

PHOTO_SHARE = 0.25
"""Share of the photo in what the second pass paints: more brings back finer edges, and less bold strokes."""

DETAIL_GAIN = {"detail": 1.0, "strokes": 0.5}
"""How much of the photo's fine light and dark is added."""

STROKE_LENGTH = 1.5
"""The average along a stroke reaches so many pixels of the small painting each way, where its direction is clear."""

STROKE_SAMPLES = (-1.0, -0.5, 0.5, 1.0)
"""Places of the samples that are averaged along a stroke, beside the one in the middle, as parts of that reach."""

STROKE_SHIFT = 0.8
"""Greatest distance, in pixels of the small painting, by which samples move away from the edge of a stroke."""

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (Rec. 601)."""


def painting_scale(width: int, height: int, scale: float | str) -> float:
    """Return by how much a photo is reduced before it is painted.

    ``auto`` is 1 up to a long edge of :data:`UNREDUCED_EDGE`, and falls beyond it: 0.63 at 2048 pixels, 0.4 at 4096,
    0.31 at 6000, 0.14 at 20000. Strokes grow with the picture, but more slowly: someone who looks at a larger picture
    also looks from nearer, and the painting need not be enlarged as far.

    Args:
        width: Of the photo, in pixels.
        height: Of the photo, in pixels.
        scale: ``auto``, or a number above 0 and up to 1 (also as text).

    Returns:
        A number above 0 and up to 1.

    Raises:
        InputError: The scale is something else, or the photo has no pixels.
    """
    if min(width, height) < 1:
        raise InputError(f"the picture is {width} x {height} pixels: it holds nothing")
    if scale == "auto":
        return min(1.0, UNREDUCED_EDGE / max(width, height)) ** AUTO_POWER
    try:
        number = float(scale)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(scale, bool) or not 0 < number <= 1:
        raise InputError(f"a scale of {scale!r} given; a number above 0 and up to 1, or 'auto', is accepted")
    return number


def painting_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Return the width and height at which a photo is painted; each is at least 1 pixel."""
    return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))


class Enlargement:
    """A small painting, ready to be enlarged for any rows of the large picture.

    Rows do not depend on how the picture is cut into strips. What is held beside the small painting and photo is as
    small as they are, in values of 4 bytes for each pixel of the small size: 15 for ``guided``, 21 for ``strokes``. A
    strip takes about 40 values for each of its pixels while it is worked on. Making an enlargement takes 82 for each
    pixel of the small size with ``guided``, and 55 with ``strokes`` (measured; 0.5 GB for a photo of 24 megapixels
    painted at 0.31).

    Args:
        painting_small: (1, 3, h, w), float32 in [0, 1].
        photo_small: The photo that was painted, (1, 3, h, w), float32 in [0, 1]; see
            :class:`stylize.reduction.Reduction`.
        height: Of the large picture, at least h.
        width: Of the large picture, at least w.
        method: One of :data:`ENLARGEMENTS`.

    Raises:
        InputError: Other shapes or dtypes, a picture that would get smaller, or an unknown method.
    """

    def __init__(
        self, painting_small: Tensor, photo_small: Tensor, height: int, width: int, method: str = DEFAULT_ENLARGEMENT
    ) -> None:
        if method not in ENLARGEMENTS:
            raise InputError(unknown_name("enlargement", method, ENLARGEMENTS))
        check_pictures(painting=painting_small, photo=photo_small)
        if painting_small.shape != photo_small.shape:
            given = f"{tuple(painting_small.shape)} and {tuple(photo_small.shape)}"
            raise InputError(f"a small painting and a small photo of different shapes given: {given}")
        small_height, small_width = painting_small.shape[2:]
        if height < small_height or width < small_width:
            raise InputError(
                f"a painting of {small_width} x {small_height} pixels cannot be enlarged to {width} x {height}"
            )
        self.height = height
        self.width = width
        self.method = method
        self._painting = painting_small.detach().contiguous()
        self._same_size = (small_height, small_width) == (height, width)
        if not self._same_size:
            # Little enlargement needs little sharpening; without any, the painting stays as it is.
            strength = min(1.0, max(height / small_height, width / small_width) - 1)
            with torch.no_grad():
                self._prepare(photo_small.detach().contiguous(), strength)

    def _prepare(self, photo: Tensor, strength: float) -> None:
        painting = self._painting
        if self.method == "guided":
            model = guided_model(photo, painting)
            self._guided = torch.cat([model, painting - apply_model(model, photo)], dim=1)
        if self.method in DETAIL_GAIN:
            self._photo_luminance = _luminance(photo)
            self._limits = torch.cat([-_highest_around(-painting), _highest_around(painting)], dim=1)
        if self.method == "strokes":
            self._smooth = _smoothed_along_strokes(painting, STROKE_LENGTH * strength)
            self._shift = _shift_from_edges(painting).mul_(STROKE_SHIFT * strength)

    def rows(self, photo_rows: Tensor, top: int) -> Tensor:
        """Return rows of the large painting.

        Args:
            photo_rows: The same rows of the large photo, (1, 3, n, W), float32 in [0, 1].
            top: Index of the first of them.

        Returns:
            (1, 3, n, W) in [0, 1].

        Raises:
            InputError: Another shape or dtype, or rows that the picture does not have.
        """
        check_rows(photo_rows, top, self.height, self.width)
        count = photo_rows.shape[2]
        if self._same_size:
            return self._painting[:, :, top : top + count].clone()
        with torch.no_grad():
            if self.method == "guided":
                # The coefficients linearly, as in the paper: cubic ones overshoot.
                enlarged = self._enlarged(self._guided[:, :12], top, count, "bilinear")
                painted = apply_model(enlarged, photo_rows)
                painted += self._enlarged(self._guided[:, 12:], top, count)
            elif self.method == "strokes":
                painted = self._strokes(top, count)
            else:
                painted = self._enlarged(self._painting, top, count)
            if self.method in DETAIL_GAIN:
                detail = _luminance(photo_rows) - self._enlarged(self._photo_luminance, top, count)
                painted += DETAIL_GAIN[self.method] * detail
                # No pixel leaves the range of the painting around it: no halo along edges.
                lowest, highest = self._enlarged(self._limits, top, count, "bilinear").chunk(2, dim=1)
                painted = painted.maximum(lowest).minimum(highest)
            return painted.clamp(0, 1)

    def _enlarged(self, maps: Tensor, top: int, count: int, mode: str = "bicubic") -> Tensor:
        """Return rows ``top`` to ``top + count`` of small maps (1, C, h, w) enlarged to the large size."""
        return _enlarged_rows(maps, self.height, self.width, top, count, mode)

    def _strokes(self, top: int, count: int) -> Tensor:
        """Return rows of the painting with sharp strokes: the smoothed one, sampled away from the edges."""
        small_height, small_width = self._painting.shape[2:]
        shift = self._enlarged(self._shift, top, count)[0]
        x = shift[0] + _positions(small_width, self.width, 0, self.width).to(torch.float32)
        y = shift[1] + _positions(small_height, self.height, top, count).to(torch.float32).view(-1, 1)
        return _sample(self._smooth, x, y, (small_height, small_width))


def mix(enlarged: Tensor, photo: Tensor, photo_share: float = PHOTO_SHARE) -> Tensor:
    """Return what the second pass paints, for any rows: the enlarged painting with a share of the photo.

    Args:
        enlarged: Rows of the enlarged painting, (B, 3, n, W) in [0, 1].
        photo: The same rows of the photo.
        photo_share: 0 takes the painting alone, 1 the photo alone.

    Raises:
        InputError: Different shapes, or a share outside [0, 1].
    """
    if enlarged.shape != photo.shape:
        raise InputError(f"a painting of shape {tuple(enlarged.shape)} and a photo of {tuple(photo.shape)} given")
    if not 0 <= photo_share <= 1:
        raise InputError(f"a share of the photo of {photo_share!r} given; a number from 0 to 1 is accepted")
    return torch.lerp(enlarged, photo, photo_share).clamp(0, 1)


def second_pass(
    enlarged: Tensor, photo: Tensor, paint: Callable[[Tensor], Tensor], photo_share: float = PHOTO_SHARE
) -> Tensor:
    """Paint an enlarged painting once more at its full size: fine strokes over bold ones.

    The share of the photo brings back its edges, which the small painting could not follow.

    Args:
        enlarged: The enlarged painting, (1, 3, H, W) in [0, 1].
        photo: The photo, of the same shape.
        paint: Paints pictures in [0, 1] of that shape. What it holds in memory is its own matter; this function holds
            one picture more. A painter that works in strips can take its rows from :func:`mix` instead.
        photo_share: See :func:`mix`.

    Returns:
        The painting, of the same shape, in [0, 1].

    Raises:
        InputError: See :func:`mix`.
    """
    return paint(mix(enlarged, photo, photo_share)).clamp(0, 1)


def _positions(small: int, large: int, first: int, count: int) -> Tensor:
    """Return where ``count`` of ``large`` pixels lie in a row of ``small`` ones; whole numbers are centres."""
    return (torch.arange(first, first + count, dtype=torch.float64) + 0.5) * (small / large) - 0.5


def _enlarged_rows(maps: Tensor, height: int, width: int, top: int, count: int, mode: str = "bicubic") -> Tensor:
    """Return rows ``top`` to ``top + count`` of maps (1, C, h, w) enlarged to ``height`` x ``width``.

    A row does not depend on which others it is computed with.
    """
    # First down the columns for these rows alone, then along each row by itself.
    positions = _positions(maps.shape[2], height, top, count)
    base = positions.floor()
    part = (positions - base).to(torch.float32).view(-1, 1)
    weights = (1 - part, part) if mode == "bilinear" else _cubic_weights(part)
    start = base.to(torch.int64) - (len(weights) // 2 - 1)
    found = torch.zeros(1, maps.shape[1], count, maps.shape[3])
    for tap, weight in enumerate(weights):
        found += weight * maps.index_select(2, (start + tap).clamp(0, maps.shape[2] - 1))
    if maps.shape[3] == width:
        return found
    return F.interpolate(found, size=(count, width), mode=mode, align_corners=False)


def _cubic_weights(part: Tensor) -> tuple[Tensor, ...]:
    """Return the weights of the four neighbours of positions ``part`` (in [0, 1)) after the second of them.

    Keys 1981 with a = -0.75, as :func:`torch.nn.functional.interpolate` has it, so that rows and columns agree.
    """
    a = -0.75

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return far(part + 1), near(part), near(1 - part), far(2 - part)


def _luminance(picture: Tensor) -> Tensor:
    red, green, blue = (weight * picture[:, channel] for channel, weight in enumerate(LUMINANCE))
    return (red + green + blue).unsqueeze(1)


def _blurred(maps: Tensor, sigma: float) -> Tensor:
    """Return maps (1, C, h, w) under a Gaussian of ``sigma`` pixels."""
    radius = math.ceil(2.5 * sigma)
    weights = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).tolist()
    padded = F.pad(maps, (radius, radius, radius, radius), mode="replicate")
    # Sums of shifted maps: a convolution of one channel is several times slower.
    for axis in (2, 3):
        length = padded.shape[axis] - 2 * radius
        found = padded.narrow(axis, 0, length) * weights[0]
        for shift, weight in enumerate(weights[1:], start=1):
            found.add_(padded.narrow(axis, shift, length), alpha=weight)
        padded = found
    return padded


def _highest_around(maps: Tensor) -> Tensor:
    """Return the highest of each value and its eight neighbours."""
    for padding, axis in (((0, 0, 1, 1), 2), ((1, 1, 0, 0), 3)):
        padded, length = F.pad(maps, padding, mode="replicate"), maps.shape[axis]
        maps = maps.maximum(padded.narrow(axis, 0, length)).maximum(padded.narrow(axis, 2, length))
    return maps


def _gradients(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the central differences along x and y, for each pixel."""
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    along_x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    return along_x, (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2


def _shift_from_edges(painting: Tensor) -> Tensor:
    """Return (1, 2, h, w): steps along x and y from every pixel away from the nearest edge, at most 1 long.

    Each side of an edge then takes the colour of its own inside: the edge gets steeper, and no new colour appears.
    """
    along_x, along_y = _gradients(_blurred(painting, 0.6))
    strength = _blurred((along_x**2 + along_y**2).sum(1, keepdim=True).sqrt(), 0.6)
    # Relative to the edge itself, so that faint strokes get sharp as well; 0.02 keeps flat paint still.
    steps = -torch.cat(_gradients(strength), dim=1) / (strength + 0.02)
    length = steps.norm(dim=1, keepdim=True)
    return steps * (torch.tanh(length) / (length + 1e-6))


def _structure_tensor(painting: Tensor) -> Tensor:
    """Return (1, 3, h, w): products of the gradients along xx, yy and xy, summed over colours and around."""
    along_x, along_y = _gradients(_blurred(painting, 0.7))
    pairs = ((along_x, along_x), (along_y, along_y), (along_x, along_y))
    return _blurred(torch.cat([(one * other).sum(1, keepdim=True) for one, other in pairs], dim=1), 1.5)


def _smoothed_along_strokes(painting: Tensor, length: float) -> Tensor:
    """Return the painting at twice its size, averaged along its strokes."""
    tensor = _structure_tensor(painting)
    height, width = 2 * painting.shape[2], 2 * painting.shape[3]
    double = F.interpolate(painting, size=(height, width), mode="bicubic", align_corners=False)
    smooth = torch.empty_like(double)
    columns = torch.arange(float(width))
    for top in range(0, height, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, height - top)
        xx, yy, xy = _enlarged_rows(tensor, height, width, top, count, "bilinear")[0]
        # A stroke runs across the direction in which the colours change most. That direction has half the angle of
        # (xx - yy, 2 xy), which its cosine gives. Forwards or backwards makes no difference here.
        spread = ((xx - yy) ** 2 + 4 * xy**2).sqrt()
        cosine = (xx - yy) / (spread + 1e-9)
        reach = 2 * length * spread / (xx + yy + 1e-4)  # Less without a clear direction; a small pixel is two here.
        step_x = ((1 - cosine) / 2).clamp_min(0).sqrt() * reach
        step_y = ((1 + cosine) / 2).clamp_min(0).sqrt() * -reach.copysign(xy)
        rows = torch.arange(float(top), float(top + count)).view(-1, 1)
        found, total = double[:, :, top : top + count].clone(), 1.0  # The middle sample, of weight 1.
        for place in STROKE_SAMPLES:
            weight = math.exp(-2 * place**2)
            # Linear, as double is smooth already.
            sample = _sample(double, columns + place * step_x, rows + place * step_y, (height, width), "bilinear")
            found.add_(sample, alpha=weight)
            total += weight
        smooth[:, :, top : top + count] = found.div_(total)
    return smooth


def _sample(picture: Tensor, x: Tensor, y: Tensor, size: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """Return a picture (1, C, ., .) at positions x and y (both (n, W)), in pixels of a ``size`` (height, width).

    Whole numbers are centres of pixels. The picture may have more pixels than ``size``. Positions outside take the
    border.
    """
    height, width = size
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1).unsqueeze(0)
    return F.grid_sample(picture, grid, mode=mode, padding_mode="border", align_corners=False)
