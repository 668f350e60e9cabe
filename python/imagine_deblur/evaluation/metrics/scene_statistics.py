"""Statistics of natural scenes that NIQE and BRISQUE share: normalised contrast and its shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from imagine_deblur.evaluation.metrics.filters import filter_valid, gaussian_taps

FloatArray = npt.NDArray[np.float64]

_TAPS = gaussian_taps(7.0 / 6.0, 7)
# Offsets (down, right) of the neighbours whose products are looked at: horizontal, vertical, both
# diagonals (Mittal, Moorthy & Bovik 2012, eqs. 7-10).
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def normalised_contrast(
    plane: FloatArray, constant: float, border: str
) -> tuple[FloatArray, FloatArray]:
    """Mean-subtracted, contrast-normalised coefficients and the local deviation.

    Parameters
    ----------
    plane : (R, C) float64 ndarray
        Grey levels.
    constant : float
        C, one grey level in the unit of `plane`: it keeps flat places from dividing by zero.
    border : {"edge", "constant"}
        How the plane continues, as for `numpy.pad`.

    Returns
    -------
    coefficients, deviation : (R, C) float64 ndarray
        ``(I - mu) / (sigma + C)`` and sigma (Mittal, Moorthy & Bovik 2012, eqs. 1-3; 7x7 Gaussian
        window of sigma 7/6).
    """
    padded = np.pad(plane, _TAPS.size // 2, mode=border)  # type: ignore[call-overload]
    mean, square = filter_valid(np.stack([padded, padded * padded]), _TAPS)
    deviation = np.sqrt(np.abs(square - mean * mean))
    return (plane - mean) / (deviation + constant), np.asarray(deviation, dtype=np.float64)


@dataclass(frozen=True)
class Shape:
    """Asymmetric generalised Gaussian distributions fitted to sets of samples; all (n,) arrays.

    Attributes
    ----------
    alpha : shape exponent, 2 for a normal distribution, in [0.2, 10]
    left, right : standard deviation below and above 0
    """

    alpha: FloatArray
    left: FloatArray
    right: FloatArray

    @property
    def scale(self) -> tuple[FloatArray, FloatArray]:
        """beta_l and beta_r: the deviations times ``sqrt(Gamma(1/alpha) / Gamma(3/alpha))``."""
        factor = np.sqrt(gamma_ratio(self.alpha, 1, 3))
        return self.left * factor, self.right * factor

    @property
    def mean(self) -> FloatArray:
        """Eta = (beta_r - beta_l) Gamma(2/alpha) / Gamma(1/alpha)."""
        left, right = self.scale
        return np.asarray((right - left) * gamma_ratio(self.alpha, 2, 1))


def fit_shapes(samples: FloatArray) -> Shape:
    """Fit by moments (Lasmar, Stitou & Berthoumieu 2009; Mittal et al. 2012, section II-B).

    Parameters
    ----------
    samples : (n, m) float64 ndarray
        One set per row.

    Returns
    -------
    Shape
        NaN where a set has no samples on one side of 0.
    """
    squares = samples * samples
    below = samples < 0.0
    count = below.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.sqrt(np.where(below, squares, 0.0).sum(axis=1) / count)
        right = np.sqrt(np.where(below, 0.0, squares).sum(axis=1) / (samples.shape[1] - count))
        ratio = left / right
        moment = np.abs(samples).mean(axis=1) ** 2 / squares.mean(axis=1)
        target = moment * (ratio**3 + 1.0) * (ratio + 1.0) / (ratio**2 + 1.0) ** 2
    alpha, rho = _rho_table()
    return Shape(np.interp(target, rho, alpha), left, right)


@lru_cache(maxsize=1)
def _rho_table() -> tuple[FloatArray, FloatArray]:
    """rho(alpha) = Gamma(2/alpha)^2 / (Gamma(1/alpha) Gamma(3/alpha)), which grows with alpha."""
    alpha = np.linspace(0.2, 10.0, 9801)
    return alpha, gamma_ratio(alpha, 2, 1) * gamma_ratio(alpha, 2, 3)


def gamma_ratio(alpha: FloatArray, above: int, below: int) -> FloatArray:
    """Gamma(above / alpha) / Gamma(below / alpha)."""
    values = [
        math.exp(math.lgamma(above / a) - math.lgamma(below / a)) if a > 0.0 else math.nan
        for a in np.asarray(alpha, dtype=np.float64).ravel().tolist()
    ]
    return np.asarray(values).reshape(np.shape(alpha))
