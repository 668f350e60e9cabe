"""From a PSF to the figures opticians quote: MTF, MTF50, value at Nyquist, encircled energy."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.components import FloatArray, Sampled, Transfer


class Blur(Protocol):
    """What the figures are read off: a `PSF`."""

    @property
    def components(self) -> tuple[Any, ...]: ...

    @property
    def extent_px(self) -> float: ...

    def at(self, fy: npt.ArrayLike, fx: npt.ArrayLike) -> Transfer: ...

    def transfer(self, fy: npt.ArrayLike, fx: npt.ArrayLike) -> Transfer: ...


_DIRECTIONS = 32
# Sub-samples per pixel for encircled energy of analytic kernels.
_OVERSAMPLING = 8


def mtf(psf: Blur, frequency: npt.ArrayLike, angle_deg: float | None = None) -> FloatArray:
    """Modulus of the transfer function.

    Parameters
    ----------
    psf : PSF
    frequency : array of float
        Non-negative, cycles/px.
    angle_deg : float, optional
        Direction of the frequency, counter-clockwise from the column axis as displayed; None
        averages over directions.

    Returns
    -------
    float64 ndarray
        Same shape as `frequency`; 1 at 0.
    """
    f = np.asarray(frequency, dtype=np.float64)
    if angle_deg is not None:
        angles = np.array([np.deg2rad(angle_deg)])
    elif all(component.isotropic for component in psf.components):
        angles = np.zeros(1)
    else:
        angles = np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS)
    down = -f[..., None] * np.sin(angles)
    right = f[..., None] * np.cos(angles)
    return np.asarray(np.abs(psf.at(down, right)).mean(axis=-1))


def mtf50(psf: Blur, angle_deg: float | None = None) -> float:
    """Lowest frequency in cycles/px where the MTF is a half.

    Analytic PSFs are followed beyond Nyquist's frequency up to 4 cycles/px, sampled ones up to 0.5;
    infinite where a half is not reached.
    """
    end = 0.5 if any(isinstance(c, Sampled) for c in psf.components) else 4.0
    grid = np.linspace(0.0, end, int(1000 * end) + 1)
    below = np.flatnonzero(mtf(psf, grid, angle_deg) <= 0.5)
    if below.size == 0:
        return float("inf")
    low, high = grid[below[0] - 1], grid[below[0]]
    for _ in range(40):
        middle = 0.5 * (low + high)
        if mtf(psf, middle, angle_deg) > 0.5:
            low = middle
        else:
            high = middle
    return float(0.5 * (low + high))


def encircled_energy(psf: Blur, radius_px: npt.ArrayLike) -> FloatArray:
    """Share of the flux within a radius of the kernel's centre.

    Parameters
    ----------
    psf : PSF
    radius_px : array of float
        Non-negative.

    Returns
    -------
    float64 ndarray
        In [0, 1], same shape. Analytic kernels are sampled eight times per px (their transfer
        function is taken up to 4 cycles/px); sampled ones count whole pixels by their centres.
    """
    step = 1 if any(isinstance(c, Sampled) for c in psf.components) else _OVERSAMPLING
    half = (int(np.ceil(psf.extent_px)) + 4) * step
    size = 2 * half
    fy, fx = np.fft.fftfreq(size) * step, np.fft.rfftfreq(size) * step
    kernel = np.fft.irfft2(psf.transfer(fy, fx), s=(size, size))
    offset = np.fft.fftfreq(size, 1.0 / size) / step
    distance = np.hypot(offset[:, None], offset[None, :]).ravel()
    order = np.argsort(distance, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(kernel.ravel()[order])])
    radius = np.asarray(radius_px, dtype=np.float64)
    count = np.searchsorted(distance[order], radius.ravel(), side="right")
    return np.asarray(np.clip(cumulative[count], 0.0, 1.0).reshape(radius.shape))
