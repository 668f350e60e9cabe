"""From the regressor's calibrated distributions to radius, sigma and their uncertainties."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.distribution import RoundPart
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

NO_DISK_PX = 0.4
"""Disks with smaller radii cannot be told from none."""
_SPARE_SHARE, _SPARE_MASS, _RIVAL_MASS = 0.4, 0.05, 0.7
PEAK_BINS = 10.0
"""Width in bins of the window around the strongest peak of the radius' distribution."""
_LEVELS = (0.05, 0.15866, 0.84134, 0.95)


def radius_bin(radius_px: float) -> float:
    """Fractional bin of a radius."""
    return float(np.log1p(max(radius_px, 0.0)) / RADIUS_LOG_STEP)


def calibrated(probability: FloatArray, ensemble: Ensemble, name: str) -> FloatArray:
    """A distribution at the temperature that calibration found for its spread."""
    at = float(np.log(posterior.spread(probability)))
    return posterior.temper(probability, ensemble.correction(name, at))


def radius_value(output: Output) -> float:
    """Radius in px, 0 where a Gaussian alone is the better description.

    The mean around the strongest peak above `NO_DISK_PX` competes with no disk at all. A disk that
    gives less than 0.6 of the kernel's variance looks much like a Gaussian: it is spared where
    "no disk" has as little as 0.05 of the probability, and the Gaussian alone then has nearly the
    same transfer function. A disk that dominates yields only to 0.7, since an instrument out of
    focus is the likelier cause of a strong blur.
    """
    tiny = RADIUS_GRID < NO_DISK_PX
    none = float(output.radius[tiny].sum())
    rest = np.where(tiny, 0.0, output.radius)
    if rest.sum() < 1e-6:
        return 0.0
    disk = float(np.expm1(posterior.centre(rest / rest.sum(), PEAK_BINS) * RADIUS_LOG_STEP))
    sigma = float((output.sigma_with_disk * SIGMA_GRID).sum())
    gaussian_share = sigma**2 / (sigma**2 + disk**2 / 4)
    needed = _SPARE_MASS if gaussian_share > _SPARE_SHARE else _RIVAL_MASS
    return 0.0 if none > needed or disk < NO_DISK_PX else disk


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
    radius = calibrated(output.radius, ensemble, "radius_temperature")
    alone = RADIUS_GRID < NO_DISK_PX
    sigmas = (output.sigma_alone, output.sigma_with_disk)
    without, with_disk = (
        RoundPart(
            RADIUS_GRID[chosen],
            radius[chosen],
            SIGMA_GRID,
            calibrated(sigma, ensemble, "sigma_temperature"),
        )
        for chosen, sigma in zip((alone, ~alone), sigmas, strict=True)
    )
    return without, with_disk


def facts_of(output: Output) -> FloatArray:
    """See `psf.distribution.PsfDistribution.facts`."""
    return np.array([*output.family, output.truncated, output.log_noise.mean + 6.0])
