"""What a linear filter could do for one capture, were its truth known.

Spectra are taken of the images continued by reflection, which keeps a blur under reflection a
product, as the protocols blur.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.models import PSF

FloatImage = npt.NDArray[np.float32]

RINGS = 288
"""Rings of frequency up to the corner of the half plane: 0.0025 cycles/px each, a 26th of the
ripples of the widest disk of the protocols."""

_KERNEL_PX = 41
"""Side of the effective kernel, px: holds a disk of 8 px and what sharpening adds around it."""


def best_radial(sharp: FloatImage, degraded: FloatImage) -> FloatImage:
    """Restore with the real gain a ring of frequency and band that leaves the least squared error.

    Parameters
    ----------
    sharp, degraded : (R, C, 3) float32 ndarray, [0, 1]
        Truth and capture.

    Returns
    -------
    (R, C, 3) float32 ndarray
        Clipped to [0, 1]. No filter whose gain depends on the frequency's magnitude only, the same
        for all pixels of a band, comes closer (before clipping, and to the rings' width).
    """
    result = np.empty_like(degraded)
    rows, columns = degraded.shape[:2]
    for band in range(degraded.shape[2]):
        x, y = _spectrum(sharp[..., band]), _spectrum(degraded[..., band])
        ring = _rings(y.shape)
        power = np.bincount(ring, (np.abs(y) ** 2).ravel(), RINGS)
        shared = np.bincount(ring, (x * np.conj(y)).real.ravel(), RINGS)
        gain = shared / np.maximum(power, 1e-20)
        y *= gain[ring].reshape(y.shape)
        y[0, 0] = x[0, 0]
        result[..., band] = _plane(y, rows, columns)
    return np.clip(result, 0.0, 1.0)


def effective_psf(sharp: FloatImage, degraded: FloatImage) -> PSF:
    """The round kernel that takes the truth to the capture with the least squared error.

    Parameters
    ----------
    sharp, degraded : (R, C, 3) float32 ndarray, [0, 1]
        Truth and capture, whose luma is fitted.

    Returns
    -------
    PSF
        One sampled kernel: what the camera and the coder did is in it with the blur. A sampled
        kernel holds no negative values, so that the dark ring of a sharpening is cut.
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    x, y = _spectrum(sharp @ weights), _spectrum(degraded @ weights)
    ring = _rings(y.shape)
    power = np.bincount(ring, (np.abs(x) ** 2).ravel(), RINGS)
    transfer = np.bincount(ring, (y * np.conj(x)).real.ravel(), RINGS) / np.maximum(power, 1e-20)
    transfer[0] = 1.0
    size = 4 * _KERNEL_PX
    centres = (np.arange(RINGS) + 0.5) * (0.5**0.5 / RINGS)
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    plane = np.fft.irfft2(np.interp(f, centres, transfer), s=(size, size))
    half = _KERNEL_PX // 2
    index = np.arange(-half, half + 1) % size
    kernel = np.maximum(plane[np.ix_(index, index)], 0.0)
    return PSF.sampled(kernel / kernel.sum())


def _spectrum(plane: FloatImage) -> npt.NDArray[np.complex64]:
    """Half-plane transform of a plane continued by reflection."""
    pad = [(0, max(0, n - 2)) for n in plane.shape]
    mirrored = np.pad(plane, pad, mode="reflect") if min(plane.shape) > 1 else plane
    spectrum = np.fft.rfft2(mirrored, norm="ortho")
    return cast(npt.NDArray[np.complex64], spectrum.astype(np.complex64, copy=False))


def _plane(spectrum: npt.NDArray[np.complex64], rows: int, columns: int) -> FloatImage:
    shape = (2 * rows - 2, 2 * columns - 2)
    return np.fft.irfft2(spectrum, s=shape, norm="ortho")[:rows, :columns].astype(np.float32)


def _rings(shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Ring of each coefficient of the half plane of an even number of columns, flattened."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(2 * shape[1] - 2)[None, :]
    position = np.hypot(fy, fx).ravel() * (RINGS / 0.5**0.5)
    return np.asarray(np.minimum(position, RINGS - 1), np.intp)
