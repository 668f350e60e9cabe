"""What is known of a PSF as a distribution: moments of its transfer function.

The linear filter of least expected error needs no PSF but E[H] and E[|H|^2] (Wiener 1949, averaged
over H): a blind estimate, a record with its covariance and a PSF that is known for certain differ
only in these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.psf.components import Disk, Gaussian
from imagine_deblur.psf.models import PSF

if TYPE_CHECKING:
    from imagine_deblur.psf.estimation.network import Output

FloatArray = NDArray[np.float64]

ENTRIES = 512
HIGHEST = 0.5**0.5
FREQUENCY: FloatArray = np.asarray((np.arange(ENTRIES) + 0.5) * (HIGHEST / ENTRIES), np.float64)
"""Frequencies of the moments up to the corner of the half plane, cycles/px."""


@dataclass(frozen=True)
class OtfMoments:
    """Moments of an OTF at `FREQUENCY`, over what is not known of it and over directions.

    Attributes
    ----------
    mean, deviation : (ENTRIES,) float64 ndarray
        E[H] and the standard deviation of H.
    """

    mean: FloatArray
    deviation: FloatArray


@lru_cache(maxsize=1)
def _tables() -> tuple[FloatArray, FloatArray]:
    """OTFs of the estimator's grids of radii and sigmas at `FREQUENCY`."""
    from imagine_deblur.psf.estimation import network

    zero = np.zeros(1)
    disks = np.stack([Disk(float(r)).otf(zero, FREQUENCY).real for r in network.RADIUS_GRID])
    gauss = np.stack([Gaussian(float(s)).otf(zero, FREQUENCY).real for s in network.SIGMA_GRID])
    return disks, gauss


def moments_of_estimate(output: Output) -> OtfMoments:
    """Moments of the OTF over what a blind estimate holds possible, radius and sigma."""
    from imagine_deblur.psf.estimation import decode_posterior, network

    ensemble = network.bundled()
    radius = decode_posterior.calibrated(output.radius, ensemble, "radius_temperature")
    disks, gauss = _tables()
    alone = network.RADIUS_GRID < decode_posterior.NO_DISK_PX
    mean = np.zeros(ENTRIES)
    square = np.zeros(ENTRIES)
    for chosen, sigma in ((alone, output.sigma_alone), (~alone, output.sigma_with_disk)):
        sigma = decode_posterior.calibrated(sigma, ensemble, "sigma_temperature")
        mean += (radius[chosen] @ disks[chosen]) * (sigma @ gauss)
        square += (radius[chosen] @ disks[chosen] ** 2) * (sigma @ gauss**2)
    return OtfMoments(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))


def moments_of_normal(
    radius_px: float, sigma_px: float, covariance: FloatArray | None = None
) -> OtfMoments:
    """Moments for a disk times a Gaussian whose radius and sigma are jointly normal.

    Parameters
    ----------
    radius_px, sigma_px : float
        Means; a radius of 0 is no disk.
    covariance : (2, 2) ndarray, optional
        Of radius and sigma, px^2; None where both are certain.
    """
    spread = np.zeros((2, 2)) if covariance is None else _root(np.asarray(covariance, np.float64))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    weights = weights / weights.sum()
    mean, square = np.zeros(ENTRIES), np.zeros(ENTRIES)
    certain = not spread.any()
    for i, first in enumerate(nodes):
        for j, second in enumerate(nodes):
            if certain and (i, j) != (2, 2):
                continue
            radius, sigma = np.array([radius_px, sigma_px]) + spread @ np.array([first, second])
            psf = PSF((Disk(max(0.0, float(radius))), Gaussian(max(0.0, float(sigma)))))
            h = psf.at(0.0, FREQUENCY).real
            share = 1.0 if certain else weights[i] * weights[j]
            mean += share * h
            square += share * h**2
    return OtfMoments(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))


def moments_of_psf(psf: PSF) -> OtfMoments:
    """Moments of a PSF's OTF over directions: its deviation is 0 where it is round."""
    angle = (np.arange(16) + 0.5) * (np.pi / 16)
    h = psf.at(np.outer(np.sin(angle), FREQUENCY), np.outer(np.cos(angle), FREQUENCY)).real
    return OtfMoments(h.mean(axis=0), h.std(axis=0))


def _root(covariance: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), np.float64)
