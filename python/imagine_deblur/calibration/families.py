"""Parametric families a measured transfer function is fitted with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.components import Disk, Gaussian, Motion
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.pupil import Pupil

FloatArray = npt.NDArray[np.float64]

_RADIUS = (0.05, 30.0)
_SIGMA = (0.02, 12.0)


@dataclass(frozen=True)
class Family:
    """A family of PSFs.

    Attributes
    ----------
    name : str
    parameters : tuple of str
        As a PSF record names them, such as ``"components[0].radius_px"``.
    lower, upper : tuple of float
        Bounds of the fit.
    scale : tuple of float
        Typical sizes: a parameter has settled when it changes by less than a share of the greater
        of itself and this.
    build : callable
        Parameters to PSF.
    start : callable
        Any PSF to the parameters to begin with.
    """

    name: str
    parameters: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    scale: tuple[float, ...]
    build: Callable[[FloatArray], PSF]
    start: Callable[[PSF], tuple[float, ...]]


def _rough(psf: PSF) -> tuple[float, float]:
    """Disk radius and Gaussian sigma of a PSF, from its MTF where it has no such components."""
    radius = next((c.radius_px for c in psf.components if isinstance(c, Disk)), None)
    sigma = next((c.sigma_px for c in psf.components if isinstance(c, Gaussian)), None)
    if radius is None and sigma is None:
        # A disk's MTF is a half at f R = 0.3526.
        half = psf.mtf50()
        radius = 0.3526 / half if np.isfinite(half) and half > 0.0 else 0.5
    return max(radius or 0.0, 0.3), max(sigma or 0.0, 0.3)


def _ellipse(psf: PSF) -> tuple[float, ...]:
    radius, sigma = _rough(psf)
    return radius, max(sigma, 0.5), 0.9, 0.0


DISK_GAUSSIAN = Family(
    "disk+gaussian",
    ("components[0].radius_px", "components[1].sigma_px"),
    (_RADIUS[0], _SIGMA[0]),
    (_RADIUS[1], _SIGMA[1]),
    (0.5, 0.5),
    lambda p: PSF((Disk(float(p[0])), Gaussian(float(p[1])))),
    _rough,
)

GAUSSIAN = Family(
    "gaussian",
    ("components[0].sigma_px",),
    (_SIGMA[0],),
    (_SIGMA[1],),
    (0.5,),
    lambda p: PSF((Gaussian(float(p[0])),)),
    lambda psf: (max(_rough(psf)[1], 0.5 * _rough(psf)[0]),),
)

DISK_ELLIPSE = Family(
    "disk+ellipse",
    (
        "components[0].radius_px",
        "components[1].sigma_px",
        "components[1].axis_ratio",
        "components[1].angle_deg",
    ),
    (_RADIUS[0], _SIGMA[0], 0.05, -180.0),
    (_RADIUS[1], _SIGMA[1], 1.0, 180.0),
    (0.5, 0.5, 0.5, 180.0),
    lambda p: PSF((Disk(float(p[0])), Gaussian(float(p[1]), float(p[2]), float(p[3])))),
    _ellipse,
)

DISK_GAUSSIAN_MOTION = Family(
    "disk+gaussian+motion",
    (
        "components[0].radius_px",
        "components[1].sigma_px",
        "components[2].length_px",
        "components[2].angle_deg",
    ),
    (_RADIUS[0], _SIGMA[0], 0.0, -180.0),
    (_RADIUS[1], _SIGMA[1], 40.0, 180.0),
    (0.5, 0.5, 1.0, 180.0),
    lambda p: PSF((Disk(float(p[0])), Gaussian(float(p[1])), Motion(float(p[2]), float(p[3])))),
    lambda psf: (*_rough(psf), 1.5, 0.0),
)

# Light of 0.55 um on pixels of 3.45 um behind f/4: the limit lies at 1.6 cycles/px.
_CUTOFF = 1.6

PUPIL_GAUSSIAN = Family(
    "pupil+gaussian",
    ("components[0].defocus_waves", "components[0].spherical_waves", "components[1].sigma_px"),
    (0.02, -3.0, _SIGMA[0]),
    (12.0, 3.0, _SIGMA[1]),
    (0.2, 0.2, 0.5),
    lambda p: PSF((Pupil(float(p[0]), float(p[1]), _CUTOFF), Gaussian(float(p[2])))),
    # A disk's radius is 8 sqrt(3) |defocus| / cutoff, see `Pupil`.
    lambda psf: (_rough(psf)[0] * _CUTOFF / (8.0 * np.sqrt(3.0)), 0.02, _rough(psf)[1]),
)

FAMILIES = {
    family.name: family
    for family in (DISK_GAUSSIAN, GAUSSIAN, DISK_ELLIPSE, DISK_GAUSSIAN_MOTION, PUPIL_GAUSSIAN)
}


def family(name: str) -> Family:
    """The family of a name, or `OptionsError` listing them."""
    if name not in FAMILIES:
        raise OptionsError("family", name, ", ".join(FAMILIES))
    return FAMILIES[name]
