"""The mean power spectrum of a capture's informative blocks, computed once a capture.

Blocks of 128 x 128 px are windowed (Hann) and transformed one by one, so memory does not grow with
the frame. The spectrum stays in two dimensions because motion passes one direction and stops
another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.policy import LEAST_BLOCK_STD, SATURATED_LUMA
from imagine_deblur.support.colour import LUMA

BLOCK = 128
"""Side of the blocks whose spectra are averaged, px."""
_MOST_BLOCKS = 96
RADIUS = np.hypot(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None, :])
"""Frequency of the half plane's bins, cycles/px."""


@dataclass(frozen=True)
class MeanPower:
    """What a capture's blocks of 128 x 128 px have in common.

    Attributes
    ----------
    power : (128, 65) float64 ndarray
        Mean luma power on the half plane of `numpy.fft.rfft2`. Each block counts by its spectrum's
        shape, not its contrast: it is 1 on average from 3 to 8 cycles per block.
    contrast, spread : float
        Mean and standard deviation over the blocks of the logarithm (base 10) of their power at
        3 to 8 cycles, in units of what rounding to 8 bits adds.
    blocks : int
    """

    power: NDArray[np.float64]
    contrast: float
    spread: float
    blocks: int


def mean_power(images: Sequence[NDArray[np.generic]]) -> MeanPower | None:
    """Return the mean luma power spectrum over informative blocks, None without any.

    Parameters
    ----------
    images : sequence of (R, C, 3) or (R, C) uint8 or float32 ndarray
        The capture, or parts of it; float32 in [0, 1].
    """
    window = np.hanning(BLOCK + 1)[:-1]
    taper = np.outer(window, window)
    low = (RADIUS > 2.5 / BLOCK) & (RADIUS < 8.5 / BLOCK)
    total = np.zeros(RADIUS.shape)
    levels = []
    for image in images:
        scale = 255.0 if image.dtype == np.uint8 else 1.0
        for top, left in _corners(image.shape[0], image.shape[1], _MOST_BLOCKS // len(images)):
            samples = image[top : top + BLOCK, left : left + BLOCK].astype(np.float64) / scale
            luma = samples @ np.array(LUMA) if samples.ndim == 3 else samples
            if luma.std() < LEAST_BLOCK_STD or luma.max() > SATURATED_LUMA:
                continue
            power = np.abs(np.fft.rfft2((luma - luma.mean()) * taper)) ** 2
            levels.append(power[low].mean())
            total += power / levels[-1]
    if not levels:
        return None
    # Rounding errors are uniform and independent in the three colours.
    rounding = float(np.sum(np.square(LUMA))) / 12 / 255**2 * float(np.sum(taper**2))
    logs = np.log10(np.array(levels) / rounding)
    return MeanPower(total / len(levels), float(logs.mean()), float(logs.std()), len(levels))


def _corners(rows: int, columns: int, most: int) -> list[tuple[int, int]]:
    """Evenly spread corners of at most about `most` blocks that fit the image."""
    if rows < BLOCK or columns < BLOCK:
        return []
    tops = np.arange(0, rows - BLOCK + 1, BLOCK // 2)
    lefts = np.arange(0, columns - BLOCK + 1, BLOCK // 2)
    step = max(1, int(np.ceil(np.sqrt(len(tops) * len(lefts) / max(1, most)))))
    return [(int(top), int(left)) for top in tops[::step] for left in lefts[::step]]
