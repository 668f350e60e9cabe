"""From the regressor's calibrated distributions to radius, sigma and their uncertainties."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.distribution import NO_DISK_PX, RoundPart
from imagine_deblur.psf.estimation import posterior
from imagine_deblur.psf.estimation.network import (
    RADIUS_GRID,
    RADIUS_LOG_STEP,
    SIGMA_GRID,
    Ensemble,
    Output,
)
from imagine_deblur.psf.estimation.posterior import Quantity

FloatArray = npt.NDArray[np.float64]

_NO_DISK = RADIUS_GRID < NO_DISK_PX
PEAK_BINS = 10.0
"""Width in bins of the window around the strongest peak of the radius' distribution."""
_LEVELS = (0.05, 0.15866, 0.84134, 0.95)


def radius_bin(radius_px: float) -> float:
    """Fractional bin of a radius."""
    return float(np.log1p(max(radius_px, 0.0)) / RADIUS_LOG_STEP)


def calibrated_sigma(probability: FloatArray, ensemble: Ensemble) -> FloatArray:
    """A distribution at the temperature that calibration found for its spread."""
    at = float(np.log(posterior.spread(probability)))
    return posterior.temper(probability, ensemble.correction("sigma_temperature", at))


def calibrated_radius(probability: FloatArray, ensemble: Ensemble) -> FloatArray:
    """The same over the radius of a disk; whether there is one is as probable as before.

    A temperature would change the odds of two peaks, too: where it narrows, "no disk" with 0.97
    became certain, and held in 0.8 of such cases.
    """
    share, disk = disk_of(probability)
    if share == 0.0:
        return probability
    at = float(np.log(posterior.spread(disk)))
    tempered = posterior.temper(disk[~_NO_DISK], ensemble.correction("radius_temperature", at))
    result = np.where(_NO_DISK, probability, 0.0)
    result[~_NO_DISK] = share * tempered
    return result


def disk_of(probability: FloatArray) -> tuple[float, FloatArray]:
    """The probability of a disk, and the distribution of its radius given that there is one."""
    rest = np.where(_NO_DISK, 0.0, probability)
    share = float(rest.sum())
    return (share, rest / share) if share > 1e-6 else (0.0, rest)


def radius_value(output: Output) -> float:
    """Radius in px, 0 where a Gaussian alone is the better description.

    The mean around the strongest peak above `NO_DISK_PX`, where a disk is the likelier blur.
    """
    share, radii = disk_of(output.radius)
    if share < 0.5:
        return 0.0
    disk = float(np.expm1(posterior.centre(radii, PEAK_BINS) * RADIUS_LOG_STEP))
    return 0.0 if disk < NO_DISK_PX else disk


def radius_quantity(value: float, distribution: FloatArray) -> Quantity:
    """The radius with what its calibrated distribution says about it."""
    bins = posterior.quantiles(distribution, _LEVELS)
    low, lower, upper, high = np.expm1(bins * RADIUS_LOG_STEP)
    return Quantity(value, float(upper - lower) / 2, (float(low), float(high)))


def sigma_quantity(distribution: FloatArray) -> Quantity:
    """Sigma in px from its calibrated distribution: the mean."""
    value = float((distribution * SIGMA_GRID).sum())
    step = float(SIGMA_GRID[1])
    low, lower, upper, high = step * posterior.quantiles(distribution, _LEVELS)
    return Quantity(value, float(upper - lower) / 2, (float(low), float(high)))


def parts_of(output: Output, ensemble: Ensemble) -> tuple[RoundPart, RoundPart]:
    """What a blind estimate holds possible: Gaussians alone, and disks times Gaussians."""
    radius = calibrated_radius(output.radius, ensemble)
    sigmas = (output.sigma_alone, output.sigma_with_disk)
    without, with_disk = (
        RoundPart(
            RADIUS_GRID[chosen],
            radius[chosen],
            SIGMA_GRID,
            calibrated_sigma(sigma, ensemble),
        )
        for chosen, sigma in zip((_NO_DISK, ~_NO_DISK), sigmas, strict=True)
    )
    return without, with_disk


def facts_of(output: Output) -> FloatArray:
    """See `psf.distribution.PsfDistribution.facts`."""
    return np.array([*output.family, output.truncated, output.log_noise.mean + 6.0])
