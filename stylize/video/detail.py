"""The strength of the strokes in a picture that was blended from two.

A blend has less contrast than either of its parts wherever their strokes do not lie on one another, and a painting of
faint strokes is further from its style. Where they do not lie on one another at all, with k of one part kept, the
variance of the blend is k^2 + (1 - k)^2 of theirs. So the details of the blend, the upper bands of its Laplacian
pyramid, get back the energy that they have in the new painting, one factor for each band: strokes stay where the blend
has them, and no place flickers because of a factor of its own.

Reference: Burt, Adelson 1983, "The Laplacian Pyramid as a Compact Image Code".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stylize.video.flow import opencv

Floats = NDArray[np.float32]

BANDS = 2
"""Bands that get their energy back, from the finest on: coarser ones lose next to nothing by blending."""

STRONGEST = 1.5
"""Factor by which a band is changed at most, to both sides."""


def with_detail_of(blended: Floats, painted: Floats) -> Floats:
    """Return a picture whose details have the energy that they have in another one.

    Args:
        blended: (H, W, 3) in [0, 1].
        painted: (H, W, 3) in [0, 1], of the same scene and style.

    Returns:
        (H, W, 3); values may be a little outside of [0, 1].
    """
    wanted = [_energy(band) for band in _bands(painted)[0]]
    bands, rest = _bands(blended)
    for band, energy in zip(reversed(bands), reversed(wanted), strict=True):
        rest = opencv().pyrUp(rest, dstsize=band.shape[1::-1])
        rest += _factor(energy, _energy(band)) * band
    return rest


def _bands(picture: Floats) -> tuple[list[Floats], Floats]:
    """Return the upper bands of the Laplacian pyramid of a picture, the finest first, and what lies below them."""
    cv2, bands = opencv(), []
    for _ in range(BANDS):
        smaller = cv2.pyrDown(picture)
        bands.append(picture - cv2.pyrUp(smaller, dstsize=picture.shape[1::-1]))
        picture = smaller
    return bands, picture


def _energy(band: Floats) -> float:
    return float(np.vdot(band, band)) / band.size


def _factor(wanted: float, energy: float) -> float:
    """Return by what a band is multiplied, so that a band of ``energy`` has the ``wanted`` one."""
    if not energy > 0:
        return 1.0
    return float(np.clip(np.sqrt(wanted / energy), 1 / STRONGEST, STRONGEST))
