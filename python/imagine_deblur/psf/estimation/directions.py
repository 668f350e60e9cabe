"""How the spectrum depends on direction: the sign of motion, and of scenes with a grain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.estimation.spectrum import (
    FREQUENCY,
    SECTOR_BINS,
    SECTORS,
)

ComplexArray = npt.NDArray[np.complex128]

_ANGLE = (np.arange(SECTORS) + 0.5) * np.pi / SECTORS - np.pi / 2
SECTOR_FREQUENCY = FREQUENCY.reshape(SECTOR_BINS, -1).mean(axis=1)
"""Centres of the sectors' bins in cycles/px."""
_WEIGHT = ((SECTOR_FREQUENCY > 0.04) & (SECTOR_FREQUENCY < 0.35)).astype(np.float64)


def harmonic(sectors: npt.NDArray[np.float32]) -> ComplexArray:
    """Second harmonic over direction of the logarithm of the power.

    Parameters
    ----------
    sectors : (8, 64) float32 ndarray
        See `imagine_deblur.psf.estimation.spectrum.Summary`.

    Returns
    -------
    (64,) complex128 ndarray
        ``c`` in ``log P = mean + Re(c exp(-2 i a))`` for the direction ``a`` of the frequency,
        rows counted downwards. Linear motion along ``m`` multiplies the power by about
        ``exp(-(pi L f)^2 / 3 cos^2(a - m))`` below its first zero: ``c`` grows like
        ``-(pi L f)^2 / 6 exp(2 i m)``.
    """
    return np.asarray(2.0 / SECTORS * (np.exp(2j * _ANGLE) @ sectors.astype(np.float64)))


def main_direction(second: ComplexArray) -> complex:
    """Unit phasor of the harmonic's mean over the middle frequencies; 1 where there is none."""
    total = complex((second * _WEIGHT).sum())
    return total / abs(total) if abs(total) > 1e-9 else 1.0 + 0.0j


def motion_angle_deg(second: ComplexArray) -> float:
    """Direction of motion in degrees from 0 to 180, counter-clockwise as displayed."""
    along = np.angle(-main_direction(second)) / 2  # rows counted downwards
    return float(np.rad2deg(-along) % 180.0)
