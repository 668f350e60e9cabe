"""A capture's mean power in rings of frequency, of luma and of the colour differences.

Blocks of 128 x 128 px, evenly spread, are windowed (Hann), transformed one by one and averaged
(Welch 1967). Nothing is left out and nothing normalised: what a linear filter gains or loses is a
sum over this very power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BLOCK = 128
"""Side of the windowed blocks whose spectra are averaged, px."""

RINGS = 48
HIGHEST = 0.5**0.5
RING_FREQUENCY = np.linspace(1.0 / BLOCK, HIGHEST, RINGS)
"""Centres of the rings up to the corner of the half plane, cycles/px."""

ROUNDING = 1 / 12 / 255**2
"""Power density of rounding to 8 bits, full scale 1."""

_MOST_BLOCKS = 96
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class RingSpectra:
    """A capture's mean spectra.

    Attributes
    ----------
    power : (3, RINGS) float64 ndarray
        Power density of luma and of red and blue less luma, averaged over all blocks; 1 is the
        density of white noise of unit variance, full scale 1.
    typical : (RINGS,) float64 ndarray
        Exponential of the mean logarithm over blocks, of luma.
    quiet : (RINGS,) float64 ndarray
        Mean over the quietest quarter of the blocks, of luma.
    mean : (3,) float64 ndarray
        Mean of luma and the differences of red and blue to it,.
    """

    power: FloatArray
    typical: FloatArray
    quiet: FloatArray
    mean: FloatArray

    @property
    def stacked(self) -> FloatArray:
        """Powers of the three planes, typical and quiet luma: (5, RINGS)."""
        return np.concatenate([self.power, [self.typical, self.quiet]])


@lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    line = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(BLOCK) + 0.5) / BLOCK)
    line /= np.sqrt(np.mean(line**2))
    return np.outer(line, line).astype(np.float32)


@lru_cache(maxsize=1)
def _rings() -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Lower ring of each coefficient of a block's half plane, share of the next, counts."""
    radius = np.hypot(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None, :]).ravel()
    position = np.clip(np.interp(radius, RING_FREQUENCY, np.arange(RINGS)), 0, RINGS - 1.001)
    lower = position.astype(np.intp)
    share = position - lower
    used = (radius >= 0.75 / BLOCK).astype(np.float64)
    total = np.bincount(lower, used * (1 - share), RINGS)
    total += np.bincount(lower + 1, used * share, RINGS)
    return lower, share * used, used


def _by_ring(density: NDArray[np.floating[Any]]) -> FloatArray:
    lower, share, used = _rings()
    flat = density.astype(np.float64).ravel()
    sums = np.bincount(lower, flat * (used - share), RINGS)
    sums += np.bincount(lower + 1, flat * share, RINGS)
    total = np.bincount(lower, used - share, RINGS) + np.bincount(lower + 1, share, RINGS)
    return np.asarray(sums / np.maximum(total, 1e-9), np.float64)


def ring_spectra(images: Sequence[NDArray[np.generic]]) -> RingSpectra | None:
    """Average the spectra of evenly spread blocks.

    Parameters
    ----------
    images : sequence of (R, C, 3) or (R, C) uint8 or float32 ndarray
        The capture, or parts of it; float32 in [0, 1]. A grey capture has no colour differences.

    Returns
    -------
    RingSpectra or None
        None where no block of 128 x 128 px fits.
    """
    window = _window()
    weight = window / window.sum()
    powers: list[NDArray[np.float32]] = []
    total = np.zeros((3, BLOCK, BLOCK // 2 + 1), np.float32)
    mean = np.zeros(3)
    for image in images:
        scale = np.float32(1 / 255 if image.dtype == np.uint8 else 1.0)
        for top, left in _corners(image.shape[0], image.shape[1], _MOST_BLOCKS // len(images)):
            block = image[top : top + BLOCK, left : left + BLOCK].astype(np.float32) * scale
            planes = _planes(block)
            averages = (planes * weight).sum(axis=(1, 2))
            spectrum = np.fft.rfft2((planes - averages[:, None, None]) * window, norm="ortho")
            density = np.square(spectrum.real) + np.square(spectrum.imag)
            total += density
            mean += averages
            powers.append(density[0])
    if not powers:
        return None
    luma = np.stack(powers)
    floor = np.float32(ROUNDING / 100)
    typical = np.exp(np.log(luma + floor).mean(axis=0))
    low = _by_ring_slice(luma)
    quiet = luma[np.argsort(low)[: max(1, len(low) // 4)]].mean(axis=0)
    count = len(powers)
    return RingSpectra(
        np.stack([_by_ring(plane / count) for plane in total]),
        _by_ring(typical),
        _by_ring(quiet),
        mean / count,
    )


def _by_ring_slice(luma: NDArray[np.float32]) -> FloatArray:
    radius = np.hypot(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None, :])
    return np.asarray(luma[:, (radius > 0.02) & (radius < 0.08)].mean(axis=1), np.float64)


def _planes(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luma and the differences of red and blue to it, (3, BLOCK, BLOCK)."""
    if block.ndim == 2:
        return np.stack([block, np.zeros_like(block), np.zeros_like(block)])
    luma = block @ _LUMA.astype(np.float32)
    return np.stack([luma, block[..., 0] - luma, block[..., 2] - luma])


def _corners(rows: int, columns: int, most: int) -> list[tuple[int, int]]:
    if rows < BLOCK or columns < BLOCK:
        return []
    counts = [max(1, -(-(n - BLOCK) // (BLOCK // 2)) + 1) for n in (rows, columns)]
    factor = min(1.0, (max(1, most) / (counts[0] * counts[1])) ** 0.5)
    tops, lefts = (
        np.linspace(0, n - BLOCK, max(1, int(count * factor))).astype(np.intp)
        for n, count in zip((rows, columns), counts, strict=True)
    )
    return [(int(top), int(left)) for top in tops for left in lefts]
