"""Separable filters on planes, as blocked products with a banded matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

# Outputs per block: a (64, 64 + taps - 1) matrix stays in cache and keeps BLAS busy.
_BLOCK = 64


def gaussian_taps(sigma_px: float, size: int) -> npt.NDArray[np.float64]:
    """A Gaussian at `size` (odd) pixel centres, sum 1."""
    offset = np.arange(size) - size // 2
    taps = np.exp(-0.5 * (offset / sigma_px) ** 2)
    return np.asarray(taps / taps.sum())


def filter_valid(planes: FloatArray, taps: npt.NDArray[np.float64]) -> FloatArray:
    """Correlate with the same taps along the last two axes, where they fit entirely.

    Parameters
    ----------
    planes : (..., R, C) float32 or float64 ndarray
        R and C at least the number of taps.
    taps : (K,) float64 ndarray

    Returns
    -------
    (..., R - K + 1, C - K + 1) ndarray
        Of the dtype of `planes`.
    """
    down = _along_rows(planes, taps)
    return np.swapaxes(_along_rows(np.ascontiguousarray(np.swapaxes(down, -1, -2)), taps), -1, -2)


def _along_rows(planes: FloatArray, taps: npt.NDArray[np.float64]) -> FloatArray:
    rows = planes.shape[-2] - taps.size + 1
    result = np.empty((*planes.shape[:-2], rows, planes.shape[-1]), dtype=planes.dtype)
    band = np.zeros((_BLOCK, _BLOCK + taps.size - 1), dtype=planes.dtype)
    for i in range(_BLOCK):
        band[i, i : i + taps.size] = taps
    for start in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - start)
        reach = count + taps.size - 1
        source = planes[..., start : start + reach, :]
        np.matmul(band[:count, :reach], source, out=result[..., start : start + count, :])
    return result


def luma(image: FloatArray) -> npt.NDArray[np.float32]:
    """Rec. 601 luma of (R, C, 3), or a grey (R, C) image as it is; float32."""
    if image.ndim == 2:
        return np.asarray(image, dtype=np.float32)
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.asarray(np.asarray(image, dtype=np.float32) @ weights)
