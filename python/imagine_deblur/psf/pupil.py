"""A circular pupil with defocus and spherical aberration: diffraction included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from imagine_deblur.psf.components import FloatArray, Transfer, require_range

_PROFILE_POINTS = 1025


@dataclass(frozen=True)
class Pupil:
    """Transfer function of an aberrated circular pupil in monochromatic, incoherent light.

    ``H(s) = 1/pi * integral of cos(2 pi [W(p + s) - W(p - s)]) over the pupils' overlap``, the
    autocorrelation of ``exp(2 pi i W)`` over the unit disk, its halves displaced by ``s = f /
    cutoff`` (Goodman, Introduction to Fourier Optics, eq. 6-28), with the wavefront error in waves
    ``W(r) = defocus * sqrt(3) (2 r^2 - 1) + spherical * sqrt(5) (6 r^4 - 6 r^2 + 1)`` (Noll 1976,
    Zernike polynomials Z4 and Z11).

    Parameters
    ----------
    defocus_waves : float
        Noll coefficient in waves RMS, -12 to 12. Far from focus the kernel is a disk of radius
        ``8 sqrt(3) |defocus| / cutoff`` px.
    spherical_waves : float
        Noll coefficient in waves RMS, -3 to 3; its sign matters relative to the defocus.
    cutoff_cycles_per_px : float
        Diffraction limit ``pixel pitch / (wavelength * f-number)`` in cycles/px, 0.01 to 100.
    """

    defocus_waves: float
    spherical_waves: float
    cutoff_cycles_per_px: float
    kind: ClassVar[str] = "pupil"
    isotropic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_range("defocus_waves", self.defocus_waves, -12.0, 12.0)
        require_range("spherical_waves", self.spherical_waves, -3.0, 3.0)
        require_range("cutoff_cycles_per_px", self.cutoff_cycles_per_px, 0.01, 100.0)

    @property
    def extent_px(self) -> float:
        r = np.linspace(0.0, 1.0, 101)
        slope = self.defocus_waves * np.sqrt(3.0) * 4.0 * r
        slope = slope + self.spherical_waves * np.sqrt(5.0) * (24.0 * r**3 - 12.0 * r)
        # Rays land at 2 W'(r) / cutoff; four more units of 1 / cutoff hold the diffraction rings.
        return float((2.0 * np.abs(slope).max() + 4.0) / self.cutoff_cycles_per_px)

    def otf(self, fy: FloatArray, fx: FloatArray) -> Transfer:
        s = np.hypot(fy, fx) / self.cutoff_cycles_per_px
        profile = _profile(self.defocus_waves, self.spherical_waves)
        grid = np.linspace(0.0, 1.0, _PROFILE_POINTS)
        return np.interp(s.ravel(), grid, profile, right=0.0).reshape(s.shape)


@lru_cache(maxsize=32)
def _profile(defocus: float, spherical: float) -> FloatArray:
    """H at `_PROFILE_POINTS` values of s from 0 to 1, by Gauss-Legendre quadrature."""
    # Enough nodes for the fastest phase: W' reaches 4 sqrt(3) |defocus| + 12 sqrt(5) |spherical|.
    count = 48 + 2 * int(np.ceil(7.0 * abs(defocus) + 27.0 * abs(spherical)))
    node, weight = np.polynomial.legendre.leggauss(count)
    unit, unit_weight = 0.5 * (node + 1.0), 0.5 * weight  # the even integrand: one quadrant in y
    result = np.empty(_PROFILE_POINTS)
    for i, s in enumerate(np.linspace(0.0, 1.0, _PROFILE_POINTS)):
        # y = sqrt(1 - s^2) sin(t) keeps the integrand smooth where the overlap closes in points.
        angle = 0.5 * np.pi * unit
        top = np.sqrt(1.0 - s * s)
        y = top * np.sin(angle)
        half_width = np.sqrt(1.0 - y * y) - s
        x = half_width[:, None] * unit[None, :]
        right = (x + s) ** 2 + (y * y)[:, None]
        left = (x - s) ** 2 + (y * y)[:, None]
        phase = (2.0 * np.pi) * (_wave(right, defocus, spherical) - _wave(left, defocus, spherical))
        rows = np.cos(phase) @ unit_weight * half_width
        result[i] = 4.0 / np.pi * (rows @ (unit_weight * top * np.cos(angle))) * 0.5 * np.pi
    result.flags.writeable = False
    return result


def _wave(r2: FloatArray, defocus: float, spherical: float) -> FloatArray:
    """W in waves at squared radius r2, without its constant terms."""
    return np.asarray(
        r2 * ((2.0 * np.sqrt(3.0) * defocus) + (6.0 * np.sqrt(5.0) * spherical) * (r2 - 1.0))
    )
