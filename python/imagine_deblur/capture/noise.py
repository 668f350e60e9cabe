"""How noisy a capture is, in the unit the Wiener bank is tuned in.

With the scene's power spectrum ``c / f^2`` and a noise floor ``N``, the ratio that the filter of
`restoration.wiener` wants is ``nsr = N / (4 c)``. Both are read off the capture's mean spectrum, in
two dimensions because motion passes one direction and stops another: `c` where the blur still
passes nearly everything, `N` where it passes next to nothing, so that what is found there is noise,
JPEG error and whatever the camera made of them, however coloured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.psf.components import Motion
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.wiener import LUMA

BLOCK = 128
"""Side of the blocks whose spectra are averaged, px."""
_MOST_BLOCKS = 96
_LEAST_STD = 1.5 / 255  # blocks flatter than this tell nothing of the scene's spectrum
_PASSED = 0.7  # MTF above which the scene is seen
_STOPPED = 0.12  # MTF below which it is not
_LOWEST = 2.5 / BLOCK  # cycles/px; below, the window leaks
_HIGHEST = 0.45
_LEAST_BINS = 100  # of the half plane's 8,320 that must be silent
_RANGE = (1e-5, 3.0)
RADIUS = np.hypot(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None, :])
"""Frequency of the half plane's bins, cycles/px."""
_LEVELS = (3e-4, 1.0)
_STEPS_PER_DECADE = 4

MOTION_LEAST = 0.1
"""Least ratio for motion. What is wrong at a frame's border, where half of each streak is missing,
comes back as stripes over many lengths of the streak, the further the smaller the ratio. On 67
training scenes of 400 px with the true PSF, 0.1 is worth 0.7 dB to the linear model (worst -0.8 dB,
not -6.5) and 0.3 dB to `fast` (worst +0.8 dB, not -3.4)."""

UNKNOWN = 3e-3
"""Level of a capture that does not tell its noise: the average of mild blurs without noise."""


def bank_level(nsr: float | None) -> float:
    """Return the base ratio of an adaptive bank for a capture's noise-to-signal ratio.

    Parameters
    ----------
    nsr : float or None
        As `capture_nsr` or `capture.nsr.choose_level` gives it; None stands for `UNKNOWN`.

    Returns
    -------
    float
        The nearest quarter of a decade within 3e-4 to 1: finer than the ratio is known, so that
        frames of one camera share their bank.
    """
    exponent = np.log10(np.clip(UNKNOWN if nsr is None else nsr, *_LEVELS))
    return float(10.0 ** (np.rint(exponent * _STEPS_PER_DECADE) / _STEPS_PER_DECADE))


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


def capture_nsr(power: MeanPower | None, psf: PSF | PsfField) -> float | None:
    """Return the noise-to-signal ratio at Nyquist that a capture's spectrum shows.

    Parameters
    ----------
    power : MeanPower or None
        Of the capture, see `mean_power`.
    psf : PSF or PsfField
        Its blur; of a field, the cell in the middle.

    Returns
    -------
    float or None
        Within 1e-5 to 3, of motion `MOTION_LEAST` at least. None where the capture does not tell:
        it is too small or too flat, or the blur leaves no band in which the noise stands alone.
    """
    centre = middle_psf(psf)
    found = None if power is None else _spectral_ratio(power.power, centre)
    return max(found or 0.0, MOTION_LEAST) if is_moving(centre) else found


def middle_psf(psf: PSF | PsfField) -> PSF:
    """Return the PSF, or the one in the middle of a field."""
    return psf if isinstance(psf, PSF) else psf.grid[len(psf.grid) // 2][len(psf.grid[0]) // 2]


def is_moving(psf: PSF) -> bool:
    """Whether motion is part of a blur."""
    return any(isinstance(part, Motion) for part in psf.components)


def _spectral_ratio(power: NDArray[np.float64], centre: PSF) -> float | None:
    mtf = np.abs(centre.otf(BLOCK, BLOCK))
    inside = (RADIUS >= _LOWEST) & (RADIUS < _HIGHEST)
    seen = inside & (mtf > _PASSED)
    if not seen.any():  # a very wide blur: the lowest frequencies have to do
        seen = inside & (RADIUS < _LOWEST + 3 / BLOCK)
    silent = inside & (mtf < _STOPPED)
    if np.count_nonzero(silent) < _LEAST_BINS:
        return None
    signal = power[seen] * RADIUS[seen] ** 2 / np.maximum(mtf[seen], 0.1) ** 2
    c = float(np.exp(np.mean(np.log(signal) / RADIUS[seen]) / np.mean(1 / RADIUS[seen])))
    noise = float(np.exp(np.mean(np.log(power[silent]))))
    return float(np.clip(noise / (4 * c), *_RANGE))


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
            if luma.std() < _LEAST_STD or luma.max() > 0.99:
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
