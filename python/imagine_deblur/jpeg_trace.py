"""Whether samples once were a JPEG file, told from the samples alone.

A decoder puts every DCT coefficient of an 8x8 block on a multiple of its quantisation step, and
rounding to 8 bits moves it by less than one. That lattice is still there in the decoded samples
(Fan and de Queiroz, "Identification of bitmap compression history", 2003). Here the step of each
frequency is the one whose cosine the coefficients follow best; on a lattice the mean cosine is
near 1, on samples that never were quantised it is near 0 or below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.linear.wiener import LUMA

_SIDE = 8
_MOST_BLOCKS = 1024
_LEAST_BLOCKS = 100
_LEAST_COEFFICIENTS = 60  # of one frequency, beyond half a step
_AGREEMENT = 0.8  # mean cosine on a lattice: 0.86 and more up to quality 97, else below 0.65
_FREQUENCIES = 6  # of the 43 looked at that have to agree
_PER_STEP = 4  # bins of the histogram in a grey level
_BINS = 64 * _PER_STEP
_STEPS = np.arange(4, 33)

_ORDER = np.arange(_SIDE)
_DCT = np.cos(np.pi * (2 * _ORDER[None, :] + 1) * _ORDER[:, None] / 16) / 2
_DCT[0] /= np.sqrt(2.0)
_SUM = _ORDER[:, None] + _ORDER[None, :]
_LOOKED_AT = (_SUM >= 3) & (_SUM <= 9)
_LEVEL = (np.arange(_BINS) + 0.5) / _PER_STEP
_BEYOND = (_LEVEL[:, None] > 0.5 * _STEPS[None, :]).astype(np.float64)
_COSINE = np.cos(2 * np.pi * _LEVEL[:, None] / _STEPS[None, :]) * _BEYOND


def shows_jpeg(images: Sequence[NDArray[np.generic]]) -> bool:
    """Tell whether samples were once coded as JPEG, with quality 97 or less.

    Parameters
    ----------
    images : sequence of (R, C, 3) or (R, C) uint8 or float32 ndarray
        The capture, or parts of it; float32 in [0, 1]. The grid of blocks may begin anywhere.

    Returns
    -------
    bool
        Also True where there is too little to tell: under 100 blocks, or not a sample that varies.

    Notes
    -----
    Blurring or resampling after decoding removes the lattice, and with it what matters here: what
    the coder threw away is then not the last thing that happened to the finest detail.
    """
    if not any(_blocks(image, 0, 0) is not None for image in images):
        return True
    for image in images:
        for row in range(_SIDE):
            for column in range(_SIDE):
                blocks = _blocks(image, row, column)
                if blocks is not None and _on_lattice(blocks):
                    return True
    return False


def _blocks(image: NDArray[np.generic], row: int, column: int) -> NDArray[np.float64] | None:
    """At most 1024 evenly spread (8, 8) blocks of luma, in grey levels; None with under 100."""
    rows, columns = ((n - o) // _SIDE for n, o in zip(image.shape, (row, column), strict=False))
    if rows * columns < _LEAST_BLOCKS:
        return None
    chosen = np.unique(np.linspace(0, rows * columns - 1, _MOST_BLOCKS).astype(np.intp))
    top, left = row + chosen // columns * _SIDE, column + chosen % columns * _SIDE
    samples = image[
        top[:, None, None] + _ORDER[None, :, None], left[:, None, None] + _ORDER[None, None, :]
    ]
    luma = samples.astype(np.float64)
    if luma.ndim == 4:
        luma = luma @ np.array(LUMA)
    luma *= 1.0 if image.dtype == np.uint8 else 255.0
    return luma if np.ptp(luma) > 0 else None


def _on_lattice(blocks: NDArray[np.float64]) -> bool:
    levels = np.abs(_DCT @ blocks @ _DCT.T)[:, _LOOKED_AT]
    bins = (levels * _PER_STEP).astype(np.intp)
    frequency = np.broadcast_to(np.arange(bins.shape[1]), bins.shape)
    inside = bins < _BINS
    counts = np.bincount(
        (frequency * _BINS + bins)[inside], minlength=bins.shape[1] * _BINS
    ).reshape(-1, _BINS)
    enough = np.maximum(counts @ _BEYOND, _LEAST_COEFFICIENTS)
    agreement = (counts @ _COSINE / enough).max(axis=1)
    return bool(np.count_nonzero(agreement > _AGREEMENT) >= _FREQUENCIES)
