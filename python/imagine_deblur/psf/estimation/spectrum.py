"""The log power spectrum of a frame's informative blocks, reduced to curves over frequency.

Blocks are windowed (Hann), transformed one by one and averaged, so memory does not grow with the
frame. Averages are taken over blocks (Welch 1967) and then over directions; the logarithm is
averaged where each block and direction should count alike: ``log S(f) + log |H(f)|^2`` then
separates into the scene's law and the blur's whatever the direction of the scene's structures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import InputImageError
from imagine_deblur.psf.estimation.blocks import BlockClasses, Image, IntArray, classify, luma

FloatArray = npt.NDArray[np.float32]

BLOCK = 128
"""Side of the blocks in px: resolves the ripples of disks up to 9 px in radius."""
LARGE_BLOCK = 256
"""Side of the large blocks, for sharper spectral zeros where the frame has room."""

BINS = 128
FIRST_FREQUENCY = 0.02
LAST_FREQUENCY = 0.66
FREQUENCY = np.linspace(FIRST_FREQUENCY, LAST_FREQUENCY, BINS)
"""Centres of the frequency bins in cycles/px; beyond 0.5 only the diagonals contribute."""

CURVES = ("mean", "typical", "quiet", "fine")
SECTORS, SECTOR_BINS = 8, 64
"""Directions that are told apart, 22.5 degrees each, and bins of frequency in each."""

_SCENE_BLOCKS, _QUIET_BLOCKS, _LARGE_BLOCKS = 160, 40, 48
_FLOOR = np.float32(1e-9)

_fft = cast(Any, np.fft)


@dataclass(frozen=True)
class Summary:
    """What estimation keeps of one frame, or of several of the same instrument.

    Attributes
    ----------
    curves : (4, 128) float32 ndarray
        Natural logarithm of the power density (full scale 1) at `FREQUENCY`: of the mean over
        informative blocks ("mean"), the mean logarithm over them ("typical"), the mean logarithm
        over the quietest blocks ("quiet"), and "typical" with blocks twice as large ("fine").
    blocks : float
        Number of informative blocks behind the curves.
    sectors : (8, 64) float32 ndarray
        "typical" by direction of the frequency: sector k is centred on ``22.5 k - 78.75`` degrees
        from the column axis, rows counted downwards.
    kinds : dict of str to float
        Shares of the candidate blocks by kind, see `BlockClasses`.
    """

    curves: FloatArray
    blocks: float
    sectors: FloatArray
    kinds: dict[str, float]


@lru_cache(maxsize=4)
def _window(size: int) -> FloatArray:
    """Separable Hann window of unit mean square, (size, size) float32."""
    line = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)
    line /= np.sqrt(np.mean(line**2))
    return cast(FloatArray, np.outer(line, line).astype(np.float32))


@dataclass(frozen=True)
class _Rings:
    """How a half plane of coefficients spreads over the frequency bins, linearly."""

    lower: IntArray
    share: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    total: npt.NDArray[np.float64]
    sector: IntArray
    sector_total: npt.NDArray[np.float64]


@lru_cache(maxsize=4)
def _rings(size: int) -> _Rings:
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    radius = np.hypot(fy, fx)
    # Coefficients beside the axes carry the frame's borders, row noise and JPEG's block edges.
    weight = ((np.abs(fy) * size > 1.5) & (fx * size > 1.5)).astype(np.float64)
    weight[(radius < FIRST_FREQUENCY) | (radius >= LAST_FREQUENCY)] = 0.0
    position = (radius - FIRST_FREQUENCY) / (FREQUENCY[1] - FREQUENCY[0])
    position = np.clip(position, 0.0, BINS - 1.001)
    lower = position.astype(np.intp)
    share = position - lower
    total = np.zeros(BINS)
    total += np.bincount(lower.ravel(), (weight * (1 - share)).ravel(), BINS)
    total += np.bincount(lower.ravel() + 1, (weight * share).ravel(), BINS)
    angle = np.arctan2(fy, fx)  # -pi/2 to pi/2
    sector = np.minimum(((angle / np.pi + 0.5) * SECTORS).astype(np.intp), SECTORS - 1)
    sector = sector * SECTOR_BINS + lower // (BINS // SECTOR_BINS)
    sector_total = np.zeros(SECTORS * SECTOR_BINS)
    sector_total += np.bincount(sector.ravel(), weight.ravel(), sector_total.size)
    return _Rings(lower.ravel(), share.ravel(), weight.ravel(), total, sector.ravel(), sector_total)


def radial(plane: npt.NDArray[Any]) -> FloatArray:
    """Average a half plane over directions.

    Parameters
    ----------
    plane : (n, n // 2 + 1) ndarray
        Values at the frequencies of ``rfft2`` of an (n, n) block.

    Returns
    -------
    (128,) float32 ndarray
        Means around each of `FREQUENCY` with triangular weights one bin wide; bins that no
        coefficient reaches are interpolated.
    """
    rings = _rings(plane.shape[0])
    values = rings.weight * plane.ravel()
    result = np.zeros(BINS)
    result += np.bincount(rings.lower, values * (1 - rings.share), BINS)
    result += np.bincount(rings.lower + 1, values * rings.share, BINS)
    known = rings.total > 0.5
    result[known] /= rings.total[known]
    result[~known] = np.interp(FREQUENCY[~known], FREQUENCY[known], result[known])
    return result.astype(np.float32)


def by_direction(plane: npt.NDArray[Any]) -> FloatArray:
    """Average a half plane over the sectors and bins of `Summary.sectors`, (8, 64) float32.

    Where no coefficient lies in a sector's bin, the mean over directions stands.
    """
    rings = _rings(plane.shape[0])
    total = np.zeros(SECTORS * SECTOR_BINS)
    total += np.bincount(rings.sector, rings.weight * plane.ravel(), total.size)
    mean = radial(plane).reshape(SECTOR_BINS, -1).mean(axis=1)
    known = rings.sector_total > 0.5
    result = np.where(known, total / np.where(known, rings.sector_total, 1.0), 0.0)
    result = result.reshape(SECTORS, SECTOR_BINS)
    return np.where(known.reshape(result.shape), result, mean).astype(np.float32)


def power(image: Image, origin: IntArray, size: int) -> FloatArray:
    """Power density of one windowed block with its mean removed.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8 or float32 ndarray
    origin : (2,) intp ndarray
        First row and column.
    size : int

    Returns
    -------
    (size, size // 2 + 1) float32 ndarray
        ``|DFT|^2 / size^2``: the variance per sample of white noise, at every frequency.
    """
    row, column = int(origin[0]), int(origin[1])
    block = luma(image[row : row + size, column : column + size])
    window = _window(size)
    block -= np.float32(np.vdot(block, window) / window.sum())
    block *= window
    spectrum = _fft.rfft(block, axis=1, norm="ortho")
    spectrum = _fft.fft(spectrum, axis=0, norm="ortho")
    return cast(FloatArray, np.square(spectrum.real) + np.square(spectrum.imag))


def _spread(index: IntArray, count: int) -> IntArray:
    """At most `count` of the indices, evenly spread over their order."""
    if index.size <= count:
        return index
    return index[np.linspace(0, index.size - 1, count).round().astype(np.intp)]


def _upper_half(index: IntArray) -> IntArray:
    return index[: max(-(-index.size // 2), min(index.size, 4))]


def _average(
    image: Image, classes: BlockClasses, index: Iterable[int]
) -> tuple[FloatArray, FloatArray]:
    """Mean power and mean logarithm of the power over some blocks."""
    size = classes.size
    mean = np.zeros((size, size // 2 + 1), dtype=np.float32)
    logarithm = np.zeros_like(mean)
    count = 0
    for i in index:
        density = power(image, classes.origin[i], size)
        mean += density
        density += _FLOOR
        logarithm += np.log(density, out=density)
        count += 1
    if not np.isfinite(mean).all():
        raise InputImageError("image holds values that are not finite")
    return mean / np.float32(count), logarithm / np.float32(count)


def summarise(image: Image) -> Summary | BlockClasses:
    """Reduce a frame to its curves.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8 or float32 ndarray
        Both sides at least 128 px.

    Returns
    -------
    Summary or BlockClasses
        The classes alone where no block is informative, for the caller's refusal.
    """
    classes = classify(image, BLOCK)
    scene = classes.scene()
    if scene.size == 0:
        return classes
    chosen = _spread(_upper_half(scene), _SCENE_BLOCKS)
    mean, typical = _average(image, classes, chosen)
    quiet_index = classes.quiet()
    quiet_index = _spread(quiet_index[: max(-(-quiet_index.size // 4), 1)], _QUIET_BLOCKS)
    _, quiet = _average(image, classes, quiet_index)
    curves = np.empty((len(CURVES), BINS), dtype=np.float32)
    curves[0] = radial(np.log(mean + _FLOOR))
    curves[1] = radial(typical)
    curves[2] = radial(quiet)
    curves[3] = curves[1]
    if min(image.shape[:2]) >= LARGE_BLOCK:
        large = classify(image, LARGE_BLOCK)
        large_index = _spread(_upper_half(large.scene()), _LARGE_BLOCKS)
        if large_index.size:
            curves[3] = radial(_average(image, large, large_index)[1])
    names = ("scene", "flat", "dark", "saturated", "cloud")
    shares = {name: classes.share(name) for name in names}
    return Summary(curves, float(chosen.size), by_direction(typical), shares)
