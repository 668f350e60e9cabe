"""What the blur's uncertainty may cost, block by block.

A capture is ``y = (H + d) x + n`` with H the most probable OTF and d what is not known of it. The
restoration ``G y`` then holds ``G d x`` too much, and with ``x`` near ``G y`` its power in a block
of the capture with the power spectrum S is::

    e^2 = sum |G|^4 E|d|^2 S                                                              (1)

Flat ground has no error however unsure the blur is; edges and towns have the most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.growth import gain_squared
from imagine_deblur.capture.result import Analysis
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.otf_moments import FREQUENCY
from imagine_deblur.support.colour import LUMA

FloatArray = NDArray[np.float64]

SIDE = 32
"""Of the blocks, px: those of the reblur check."""

_WINDOW, _AROUND = 2 * SIDE, SIDE // 2
"""A block is seen through a Hann window twice as long, whose inner half weighs most: restorations
reach over blocks, and a window of the block alone leaks half again as much."""

_RADIUS = np.hypot(np.fft.fftfreq(_WINDOW)[:, None], np.fft.rfftfreq(_WINDOW)[None, :])
_TWICE = np.where(np.isin(np.arange(_WINDOW // 2 + 1), (0, _WINDOW // 2)), 1.0, 2.0)
_HANN = np.hanning(_WINDOW + 1)[:-1]
_TAPER = np.outer(_HANN, _HANN)


def error_map(strips: Iterable[NDArray[np.generic]], found: Analysis) -> FloatArray | None:
    """Return the error to expect of a restoration's luma for what is not known of the blur.

    Parameters
    ----------
    strips : iterable of (32, C, 3) or (32, C) uint8 or float32 ndarray
        The capture from the top; the last may have fewer rows.
    found : Analysis
        How it was restored.

    Returns
    -------
    (n, m) float64 ndarray or None
        RMS by equation (1) for each block of 32 x 32 px, full scale 1. None where the PSF is taken
        as certain, or depends on direction or place.
    """
    psf, moments = found.psf, found.moments
    if moments is None or not isinstance(psf, PSF) or psf.moves:
        return None
    squared = gain_squared(psf, found, learned=True)
    weight = np.interp(_RADIUS, FREQUENCY, (squared * moments.deviation) ** 2)
    weight *= _TWICE / float(np.sum(_TAPER**2)) / _WINDOW**2
    return np.stack([_row_of_blocks(rows, weight) for rows in _windows(strips)])


def _windows(strips: Iterable[NDArray[np.generic]]) -> Iterator[NDArray[np.float32]]:
    """Luma of each strip with half a block around it, mirrored at the frame's borders."""
    lines = map(_luma, strips)
    above, current = None, next(lines)
    for below in chain(lines, (None,)):
        before = np.empty_like(current[:0]) if above is None else above[-_AROUND:]
        after = np.empty_like(current[:0]) if below is None else below[:_AROUND]
        rows = np.concatenate([before, current, after])
        top = _AROUND - len(before)
        columns = (_AROUND, -current.shape[1] % SIDE + _AROUND)
        yield np.pad(rows, ((top, _WINDOW - len(rows) - top), columns), mode="symmetric")
        if below is not None:
            above, current = current, below


def _luma(strip: NDArray[np.generic]) -> NDArray[np.float32]:
    samples = strip.astype(np.float32) / np.float32(255 if strip.dtype == np.uint8 else 1)
    return samples @ np.array(LUMA, np.float32) if samples.ndim == 3 else samples


def _row_of_blocks(rows: NDArray[np.float32], weight: FloatArray) -> FloatArray:
    windows = np.lib.stride_tricks.sliding_window_view(rows, _WINDOW, axis=1)[:, ::SIDE]
    blocks = windows.swapaxes(0, 1)
    blocks = blocks - blocks.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.rfft2(blocks * _TAPER)) ** 2
    return np.asarray(np.sqrt(np.tensordot(power, weight, 2)), np.float64)
