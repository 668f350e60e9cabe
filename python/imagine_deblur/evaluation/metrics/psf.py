"""How close an estimated PSF comes to the true one: MNC, RMSE, MTF50 error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.models import PSF

FloatArray = npt.NDArray[np.float64]


def mnc(estimate: FloatArray, truth: FloatArray) -> float:
    """Maximum of the normalised cross-correlation of two kernels.

    Parameters
    ----------
    estimate, truth : (K, K) and (M, M) float64 ndarray, K and M odd

    Returns
    -------
    float
        1 for kernels equal up to a shift by whole pixels and a factor; in [0, 1] for non-negative
        kernels.

    Notes
    -----
    ``max_s sum_p a(p) b(p + s) / (|a| |b|)`` (Hu & Yang, "Good regions to deblur", 2012, eq. 7).
    """
    _check_kernels(estimate, truth)
    size = estimate.shape[0] + truth.shape[0] - 1
    product = np.fft.rfft2(estimate, s=(size, size)) * np.conj(np.fft.rfft2(truth, s=(size, size)))
    correlation = np.fft.irfft2(product, s=(size, size))
    return float(correlation.max() / (np.linalg.norm(estimate) * np.linalg.norm(truth)))


def kernel_rmse(estimate: FloatArray, truth: FloatArray) -> float:
    """Root mean square difference of two centred kernels of unit sum, on the larger one's grid."""
    _check_kernels(estimate, truth)
    size = max(estimate.shape[0], truth.shape[0])
    difference = _padded(estimate, size) - _padded(truth, size)
    return float(np.sqrt(np.mean(difference**2)))


def mtf50_error(estimate: PSF, truth: PSF) -> float:
    """Relative error of the frequency where the MTF falls to a half: ``estimate / truth - 1``.

    0 where neither MTF falls that low, infinite where only the truth's does.
    """
    found, expected = estimate.mtf50(), truth.mtf50()
    return 0.0 if found == expected else found / expected - 1.0


def _padded(kernel: FloatArray, size: int) -> FloatArray:
    return np.pad(kernel, (size - kernel.shape[0]) // 2)


def _check_kernels(*kernels: FloatArray) -> None:
    for kernel in kernels:
        square = kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1]
        if not square or kernel.shape[0] % 2 == 0:
            raise PsfError(f"kernel has shape {kernel.shape}; it must be square with odd size")
        if not np.isfinite(kernel).all() or not np.any(kernel):
            raise PsfError("kernel is zero everywhere or not finite")
