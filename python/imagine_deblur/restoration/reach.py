"""How far the linear filters reach: the extension they need, and the margin of a strip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.gains import (
    COLOUR_GAIN,
    LUMA_GAIN,
    PlaneGain,
    TransferArray,
    wiener_gain,
)

_GAP_MIN, _GAP_MAX = 64, 224
_LEARNED_LEAST = 64  # px; a learned filter is as short as its capture is noisy, the next is not

# Share of the inverse's squared weight within a strip's margin. Measured on a real 4056 x 3040
# capture: strips then equal the whole frame within one 8-bit step, but for the frame's own first
# and last rows, where the extension ends elsewhere. 0.9999 leaves steps of 3, 0.999 more.
_MARGIN_WEIGHT = 0.99999

_LEARNED_MARGIN_WEIGHT = 0.99998
"""The same for learned filters. Past 100 px those of the planes beside the base one have a flat
tail that no picture shows: of twelve ISS captures they reach 455 to 489 px with 0.99999 and 389 to
465 px with this, and 100 MP blind then stay within 200 MB. On a 4056 x 3040 frame `fast` in six
strips differs from the whole by over a step on 0.33 instead of 0.31 % of the samples."""


def inverse_support_px(psf: PSF, nsr: float, *, weight: float = 0.999, limit: int = 512) -> int:
    """Return how far the Wiener inverse of a PSF reaches.

    Parameters
    ----------
    psf : PSF
    nsr : float
        Noise-to-signal power ratio at Nyquist.
    weight : float
        Share of the inverse's squared weight that must lie within the reach, in (0, 1).
    limit : int
        Largest reach looked for, px; a power of two keeps the transform fast.

    Returns
    -------
    int
        The smallest d such that the square of half-width d around the origin holds `weight` of
        the squared weights, at most `limit`.
    """
    size = 2 * limit
    frequency = np.fft.fftfreq(size).astype(np.float32)
    half = np.fft.rfftfreq(size).astype(np.float32)
    squared = frequency[:, None] ** 2 + half[None, :] ** 2
    return _reach_px(wiener_gain(psf.otf(size, size), squared, nsr), weight)


@lru_cache(maxsize=8)  # a stage asks for its gap and its margin
def gain_support_px(gain: PlaneGain, psf: PSF, *, weight: float = 0.999, limit: int = 512) -> int:
    """Return how far a learned filter reaches, the longer of its two; see `inverse_support_px`."""
    size = 2 * limit
    down = np.fft.fftfreq(size).astype(np.float32)[:, None]
    radius = np.hypot(down, np.fft.rfftfreq(size).astype(np.float32)[None, :])
    otf = None if gain.scale is None else psf.otf(size, size)
    return max(
        _reach_px(gain.at(radius, component, otf), weight) for component in (LUMA_GAIN, COLOUR_GAIN)
    )


def _reach_px(gain: TransferArray, weight: float) -> int:
    """Half-width of the square around the origin that holds `weight` of a filter's energy."""
    size = gain.shape[0]
    response = np.fft.irfft2(gain, s=(size, size))
    energy = response.astype(np.float64) ** 2
    distance = np.abs(np.fft.fftfreq(size, 1.0 / size)).astype(np.intp)
    reach = np.maximum(distance[:, None], distance[None, :])
    cumulative = np.cumsum(np.bincount(reach.ravel(), energy.ravel()))
    return int(np.searchsorted(cumulative, weight * cumulative[-1]))


def default_gap(psf: PSF, nsr: float) -> int:
    """Return the extension's least length in px: twice the inverse's reach, within 64 to 224."""
    return int(np.clip(2 * inverse_support_px(psf, nsr, limit=128), _GAP_MIN, _GAP_MAX))


def gap_px(psf: PSF, nsr: Sequence[float], gains: Sequence[PlaneGain | None]) -> int:
    """Return the least length of the extension for all filters of a bank, px."""
    gap = default_gap(psf, min(nsr))
    for gain in gains:
        if gain is not None:
            # A reach of half the longest gap is enough to know.
            reach = gain_support_px(gain, psf, weight=_MARGIN_WEIGHT, limit=128)
            gap = max(gap, min(2 * reach, _GAP_MAX))
    return gap


def margin_px(psf: PSF, nsr: Sequence[float], gains: Sequence[PlaneGain | None]) -> int:
    """Return the context a strip needs for all filters of a bank, px."""
    formula = [ratio for ratio, gain in zip(nsr, gains, strict=True) if gain is None]
    margin = inverse_support_px(psf, min(formula), weight=_MARGIN_WEIGHT) if formula else 0
    for gain in gains:
        if gain is not None:
            reach = gain_support_px(gain, psf, weight=_LEARNED_MARGIN_WEIGHT)
            margin = max(margin, reach, _LEARNED_LEAST)
    return margin
