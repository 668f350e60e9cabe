"""Fit a family to a measured transfer function by weighted least squares.

The variance of the real part of ``<Y conj X> / <|X|^2>`` is ``S_nn / (2 n <|X|^2>)`` with n
independent averages (Bendat & Piersol, section 9.2); its imaginary part only holds noise and what
misregistration is left, so it is not fitted. The model passes through the same windows as the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration.extras import require
from imagine_deblur.calibration.families import Family
from imagine_deblur.calibration.spectrum import CrossSpectrum, frequencies, transfer_of

FloatArray = npt.NDArray[np.float64]

_HIGHEST = 0.47  # cycles/px; nearer to Nyquist the two half planes fold into each other
_MODEL_FLOOR = 0.004  # relative error granted to the model, so that no bin counts without bound


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted PSF.

    Attributes
    ----------
    values : (n,) float64 ndarray
        Parameters in the family's order.
    covariance : (n, n) float64 ndarray
        Scaled by `chi_square` where that exceeds 1.
    gain : float
        Radiometric gain left between the two sides; 1 where radiometry was matched well.
    chi_square : float
        Weighted squared residual per degree of freedom.
    residual : float
        Root mean square misfit of the transfer function, weighted by the scene's power, relative
        to the root mean square of the transfer function.
    """

    values: FloatArray
    covariance: FloatArray
    gain: float
    chi_square: float
    residual: float


def fit(spectrum: CrossSpectrum, family: Family, start: FloatArray) -> Fit:
    """Fit gain and parameters.

    Parameters
    ----------
    spectrum : CrossSpectrum
        At least one block.
    family : Family
    start : (n,) float64 ndarray
        Where to begin; clipped into the family's bounds.
    """
    least_squares = require("scipy.optimize").least_squares
    size = spectrum.size
    fy, fx = frequencies(size)
    radius = np.hypot(fy, fx)
    # Each pair f, -f once: column 0 of the half plane holds both.
    used = (radius >= 1.5 / size) & (radius <= _HIGHEST) & ((fx > 0) | (fy > 0))
    measured = spectrum.transfer().real
    averages = max(spectrum.samples / size**2, 1.0)
    variance = spectrum.noise() / (2.0 * averages * np.maximum(spectrum.xx, 1e-300))
    measured_scale = float(np.abs(measured[used]).max())
    weight = 1.0 / np.sqrt(variance + (_MODEL_FLOOR * measured_scale) ** 2)
    weight, measured_used = weight[used], measured[used]

    def model(p: FloatArray) -> FloatArray:
        seen = spectrum.through(transfer_of(family.build(p[1:]), size)).real
        return np.asarray(p[0] * seen[used])

    def difference(p: FloatArray) -> FloatArray:
        return np.asarray((model(p) - measured_used) * weight)

    lower, upper = np.array([0.05, *family.lower]), np.array([20.0, *family.upper])
    inner = 1e-6 * (upper - lower)
    first = np.clip(np.array([1.0, *start]), lower + inner, upper - inner)
    solved = least_squares(
        difference,
        first,
        bounds=(lower, upper),
        x_scale=np.array([1.0, *family.scale]),
        diff_step=1e-4,
    )
    freedom = max(int(used.sum()) - first.size, 1)
    chi_square = float(2.0 * solved.cost / freedom)
    normal = solved.jac.T @ solved.jac
    covariance = np.linalg.pinv(normal)[1:, 1:] * max(1.0, chi_square)
    power = spectrum.xx[used]
    misfit = np.sum(power * (model(solved.x) - measured_used) ** 2)
    expected = np.sum(power * variance[used])
    excess = max(float(misfit - expected), 0.0)
    return Fit(
        solved.x[1:],
        0.5 * (covariance + covariance.T),
        float(solved.x[0]),
        chi_square,
        float(np.sqrt(excess / np.sum(power * measured_used**2))),
    )


def jackknife(
    groups: Sequence[CrossSpectrum], family: Family, values: FloatArray
) -> FloatArray | None:
    """Covariance from leaving out each group in turn (Efron 1982); None with fewer than four."""
    full = [group for group in groups if group.blocks]
    if len(full) < 4:
        return None
    total = full[0]
    for group in full[1:]:
        total = total + group
    found = []
    for group in full:
        rest = CrossSpectrum(
            total.yx - group.yx,
            total.xx - group.xx,
            total.yy - group.yy,
            total.window - group.window,
            total.samples - group.samples,
            total.blocks - group.blocks,
        )
        found.append(fit(rest, family, values).values)
    spread = np.array(found) - np.mean(found, axis=0)
    count = len(full)
    return np.asarray((count - 1) / count * spread.T @ spread)


def inflated(covariance: FloatArray, other: FloatArray | None) -> FloatArray:
    """A covariance scaled up, parameter by parameter, where another one's variances are larger."""
    if other is None:
        return covariance
    own = np.maximum(np.diagonal(covariance), 1e-300)
    factor = np.sqrt(np.maximum(np.diagonal(other) / own, 1.0))
    return np.asarray(covariance * np.outer(factor, factor))
