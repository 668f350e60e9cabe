"""What is known of a PSF as a distribution: moments of its transfer function.

The linear filter of least expected error needs no PSF but E[H] and E[|H|^2] (Wiener 1949, averaged
over H): a blind estimate, a record with its covariance and a PSF that is known for certain differ
only in these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.psf.components import Disk, Gaussian
from imagine_deblur.psf.models import PSF

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


@lru_cache(maxsize=8)
def otfs(kind: type[Disk] | type[Gaussian], lengths: tuple[float, ...]) -> FloatArray:
    """(n, ENTRIES) OTFs of disks or Gaussians at `FREQUENCY`; they are kept for eight grids, of
    which the estimator has three and `capture.cross_check` two.
    """
    zero = np.zeros(1)
    return np.stack([kind(length).otf(zero, FREQUENCY).real for length in lengths])


def moments_of_independent(
    radii: FloatArray,
    radius_probability: FloatArray,
    sigmas: FloatArray,
    sigma_probability: FloatArray,
) -> OtfMoments:
    """Moments over disks times Gaussians of many radii and sigmas, px, independent of each other.

    Probabilities of the radii have the sum 1, those of the sigmas too.
    """
    disks = otfs(Disk, tuple(radii.tolist()))
    gauss = otfs(Gaussian, tuple(sigmas.tolist()))
    mean = (radius_probability @ disks) * (sigma_probability @ gauss)
    square = (radius_probability @ disks**2) * (sigma_probability @ gauss**2)
    return OtfMoments(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))


def moments_of_mixture(parts: Sequence[tuple[float, OtfMoments]]) -> OtfMoments:
    """Moments over parts of given probabilities, by the law of total variance."""
    mean = np.sum([share * part.mean for share, part in parts], axis=0)
    variance = np.sum(
        [share * (part.deviation**2 + (part.mean - mean) ** 2) for share, part in parts], axis=0
    )
    return OtfMoments(np.asarray(mean), np.sqrt(variance))


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
    """Moments of a PSF's OTF over directions; of its magnitude where it is not round."""
    h = _transfer(psf, psf.isotropic)
    return OtfMoments(h.mean(axis=0), h.std(axis=0))


def moments_of_draws(psfs: Sequence[PSF]) -> OtfMoments:
    """Moments over PSFs that are equally likely, and over directions.

    Components that are one object in all of them are transformed once: a sampled kernel of
    255 x 255 takes 0.8 s.
    """
    isotropic = all(psf.isotropic for psf in psfs)
    alike = [
        len({id(part) for part in parts}) == 1
        for parts in zip(*(psf.components for psf in psfs), strict=True)
    ]

    def transfer(psf: PSF, *, shared: bool) -> FloatArray:
        kept = (part for part, same in zip(psf.components, alike, strict=True) if same is shared)
        return _transfer(PSF(tuple(kept)), isotropic)

    common = transfer(psfs[0], shared=True)
    mean, square = np.zeros(ENTRIES), np.zeros(ENTRIES)
    for psf in psfs:
        h = common * transfer(psf, shared=False)
        mean += h.mean(axis=0) / len(psfs)
        square += (h**2).mean(axis=0) / len(psfs)
    return OtfMoments(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))


_ANGLES = (np.arange(16) + 0.5) * (np.pi / 16)


def _transfer(psf: PSF, isotropic: bool) -> FloatArray:
    """OTF at `FREQUENCY`: (1, ENTRIES) of a round PSF, else its magnitude in 16 directions."""
    if isotropic:
        return np.asarray(psf.at(0.0, FREQUENCY).real, np.float64)[None]
    down, right = np.outer(np.sin(_ANGLES), FREQUENCY), np.outer(np.cos(_ANGLES), FREQUENCY)
    return np.asarray(np.abs(psf.at(down, right)), np.float64)


def _root(covariance: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), np.float64)
