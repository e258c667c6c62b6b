"""High dynamic range to the ordinary one: what PQ and HLG clips become before they are painted.

The networks saw ordinary photos, whose white is the white of paper. Here that is 203 cd/m2, where BT.2408 puts it;
what is brighter, up to 1000, is bent below it by the curve of BT.2390, all three channels by the same factor, so that
hues stay.

References:
    ITU-R BT.2100-2, tables 4 and 5 (PQ and HLG); BT.2408-7, section 2.1; BT.2390-11, section 5.4.1; BT.1886.
"""

from __future__ import annotations

import functools

import numpy as np

PAPER_WHITE = 203.0
PEAK = 1000.0
"""cd/m2: the white of the result, and the brightest light that still has a place of its own."""

HLG_GAMMA = 1.2
DISPLAY_GAMMA = 2.4

FROM_BT2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
"""Linear RGB of BT.2020 -> linear RGB of BT.709 (ITU-R BT.2087-0)."""

_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def pq_to_light(signal: np.ndarray) -> np.ndarray:
    """Return the light in cd/m2 of PQ signals in [0, 1]."""
    power = np.power(signal, 1 / _M2)
    return 10000 * np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), 1 / _M1)


def light_to_pq(light: np.ndarray) -> np.ndarray:
    """Return the PQ signals of light in cd/m2."""
    power = np.power(np.maximum(light, 0) / 10000, _M1)
    return np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


def hlg_to_scene(signal: np.ndarray) -> np.ndarray:
    """Return the light of the scene, 1 being its peak, of HLG signals in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, np.square(signal) / 3, (np.exp((signal - c) / a) + b) / 12)


def bend(light: np.ndarray) -> np.ndarray:
    """Return light in cd/m2, up to any height, bent below :data:`PAPER_WHITE`; dark and middle tones stay."""
    peak, white = light_to_pq(np.array([PEAK, PAPER_WHITE]))
    signal = np.minimum(light_to_pq(light) / peak, 1)
    highest = white / peak
    knee = 1.5 * highest - 0.5
    t = np.maximum(signal - knee, 0) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * highest
    return pq_to_light(np.where(signal > knee, bent, signal) * peak)


@functools.lru_cache(maxsize=2)
def _light_table(curve: str) -> np.ndarray:
    """Return the light of every signal of 16 bits: cd/m2 for PQ, of the scene for HLG."""
    signal = np.arange(65536) / 65535
    return (pq_to_light(signal) if curve == "PQ" else hlg_to_scene(signal)).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _factor_table() -> np.ndarray:
    """Return the factor that bends light, by the square root of the light as a part of the peak, in 4096 steps."""
    light = np.square(np.linspace(0, 1, 4096)) * PEAK
    light[0] = light[1]
    return (bend(light) / light).astype(np.float32)


def tone_map(pixels: np.ndarray, curve: str, wide: bool) -> np.ndarray:
    """Return RGB of high dynamic range as ordinary RGB of BT.709.

    Args:
        pixels: (H, W, 3), uint16.
        curve: ``PQ`` or ``HLG``.
        wide: Whether the primaries are those of BT.2020; else those of BT.709.

    Returns:
        (H, W, 3), uint8.
    """
    light = _light_table(curve)[pixels]
    if curve == "HLG":
        luminance = light @ np.array([0.2627, 0.678, 0.0593], dtype=np.float32)
        light *= PEAK * np.power(np.maximum(luminance, 1e-6), HLG_GAMMA - 1)[..., None]
    if wide:
        light = np.maximum(light @ FROM_BT2020.T, 0)
    brightest = np.minimum(light.max(axis=-1), PEAK)
    light *= _factor_table()[np.rint(np.sqrt(brightest / PEAK) * 4095).astype(np.int32)][..., None] / PAPER_WHITE
    return np.rint(255 * np.power(np.clip(light, 0, 1), 1 / DISPLAY_GAMMA)).astype(np.uint8)
