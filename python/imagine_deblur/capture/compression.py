"""Whether samples once were a JPEG file, told from the samples alone.

Two traces are looked for. A decoder puts every DCT coefficient of an 8x8 block on a multiple of its
quantisation step, and rounding to 8 bits moves it by less than one. That lattice is still there in
the decoded samples (Fan and de Queiroz, "Identification of bitmap compression history", 2003). Here
the step of each frequency is the one whose cosine the coefficients follow best; on a lattice the
mean cosine is near 1, on samples that never were quantised it is near 0 or below.

Of a capture that was blurred before it was coded the coder may have left no such coefficient but
zeros. Then blocks that lie on the coder's grid hold less at high frequencies than blocks that
straddle it, whose edges do not fit: all others alike, were they a pixel off the grid or four. A
blur *after* the coder smooths the edges, and blocks a pixel off are then nearly as quiet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.support.colour import LUMA

_SIDE = 8
_REGION = 2 * _SIDE - 1
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
_DCT_OF_BLOCK = np.kron(_DCT, _DCT).T
_SUM = _ORDER[:, None] + _ORDER[None, :]
_LOOKED_AT = (_SUM >= 3) & (_SUM <= 9)
_HIGH = _SUM >= 6
_LEAST_ENERGY = 1e-3  # squared grey levels
_QUIETER, _STANDS_OUT = 0.09, 4.5  # of the energy's logarithm; at most 0.05 and 3.5 by chance
_ALIKE = 0.86  # quietness a pixel off the grid over that four off: 0.86 to 1.06 where coded last
_LEVEL = (np.arange(_BINS) + 0.5) / _PER_STEP
_BEYOND = (_LEVEL[:, None] > 0.5 * _STEPS[None, :]).astype(np.float64)
_COSINE = np.cos(2 * np.pi * _LEVEL[:, None] / _STEPS[None, :]) * _BEYOND


def shows_jpeg(images: Sequence[NDArray[np.generic]], *, blurred: bool = False) -> bool:
    """Tell whether samples were once coded as JPEG, with quality 97 or less.

    Parameters
    ----------
    images : sequence of (R, C, 3) or (R, C) uint8 or float32 ndarray
        The capture, or parts of it; float32 in [0, 1]. The grid of blocks may begin anywhere.
    blurred : bool
        The capture was blurred so much before it was coded that few coefficients are left: look for
        the grid of quiet blocks too. Of scenes that had been JPEG themselves a small blur leaves
        that grid as well.

    Returns
    -------
    bool
        Also True where there is too little to tell: under 100 blocks, or not a sample that varies.

    Notes
    -----
    Blurring or resampling after decoding removes the lattice, and with it what matters here: what
    the coder threw away is then not the last thing that happened to the finest detail.
    """
    regions = [found for image in images if (found := _regions(image)) is not None]
    return not regions or any(_shows_jpeg(found, blurred=blurred) for found in regions)


def _shows_jpeg(regions: NDArray[np.float64], *, blurred: bool) -> bool:
    quiet = np.empty((_SIDE, _SIDE))
    for row in range(_SIDE):
        for column in range(_SIDE):
            blocks = regions[:, row : row + _SIDE, column : column + _SIDE]
            flat = blocks.reshape(len(blocks), -1) @ _DCT_OF_BLOCK
            coefficients = flat.reshape(blocks.shape)
            if _on_lattice(coefficients):
                return True
            if blurred:
                energy = np.square(coefficients[:, _HIGH]).mean(axis=1)
                quiet[row, column] = np.log(energy + _LEAST_ENERGY).mean()
    return blurred and _one_stands_out(quiet)


def _one_stands_out(quiet: NDArray[np.float64]) -> bool:
    """Whether one grid's blocks are quieter than all others', those a pixel off it included."""
    row, column = np.unravel_index(quiet.argmin(), quiet.shape)
    quiet = np.roll(quiet, (-int(row), -int(column)), (0, 1)) - quiet.min()
    rest = quiet.ravel()[1:]
    below = float(np.median(rest))
    usual = 1.4826 * float(np.median(np.abs(rest - below)))
    near = float(quiet[0, 1] + quiet[1, 0] + quiet[0, -1] + quiet[-1, 0]) / 4
    far = float(quiet[0, _SIDE // 2] + quiet[_SIDE // 2, 0]) / 2
    return below > _QUIETER and below > _STANDS_OUT * usual and near > _ALIKE * far


def _regions(image: NDArray[np.generic]) -> NDArray[np.float64] | None:
    """At most 1024 evenly spread (15, 15) pieces of luma, in grey levels, that begin on multiples
    of 8 and hold a block for every place of the grid; None with under 100, or without variation.
    """
    rows, columns = ((n - _REGION) // _SIDE + 1 for n in image.shape[:2])
    if min(rows, columns) < 1 or rows * columns < _LEAST_BLOCKS:
        return None
    chosen = np.unique(np.linspace(0, rows * columns - 1, _MOST_BLOCKS).astype(np.intp))
    top, left = chosen // columns * _SIDE, chosen % columns * _SIDE
    offset = np.arange(_REGION)
    samples = image[
        top[:, None, None] + offset[None, :, None], left[:, None, None] + offset[None, None, :]
    ]
    luma = samples.astype(np.float64)
    if luma.ndim == 4:
        luma = luma @ np.array(LUMA)
    luma *= 1.0 if image.dtype == np.uint8 else 255.0
    return luma if np.ptp(luma) > 0 else None


def _on_lattice(coefficients: NDArray[np.float64]) -> bool:
    levels = np.abs(coefficients[:, _LOOKED_AT])
    bins = (levels * _PER_STEP).astype(np.intp)
    frequency = np.broadcast_to(np.arange(bins.shape[1]), bins.shape)
    inside = bins < _BINS
    counts = np.bincount(
        (frequency * _BINS + bins)[inside], minlength=bins.shape[1] * _BINS
    ).reshape(-1, _BINS)
    enough = np.maximum(counts @ _BEYOND, _LEAST_COEFFICIENTS)
    agreement = (counts @ _COSINE / enough).max(axis=1)
    return bool(np.count_nonzero(agreement > _AGREEMENT) >= _FREQUENCIES)
