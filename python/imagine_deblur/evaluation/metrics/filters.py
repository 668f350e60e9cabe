"""Separable filters on planes, as blocked products with a banded matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.support.colour import LUMA_WEIGHTS

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
    rows, columns = (length - taps.size + 1 for length in planes.shape[-2:])
    band = _band_matrix(taps, planes.dtype)
    down = np.empty((*planes.shape[:-2], rows, planes.shape[-1]), dtype=planes.dtype)
    for part, count, reach in _blocks(rows, taps.size):
        source = planes[..., part.start : part.start + reach, :]
        np.matmul(band[:count, :reach], source, out=down[..., part, :])
    result = np.empty((*planes.shape[:-2], rows, columns), dtype=planes.dtype)
    for part, count, reach in _blocks(columns, taps.size):
        source = down[..., part.start : part.start + reach]
        np.matmul(source, band[:count, :reach].T, out=result[..., part])
    return result


def _blocks(length: int, taps: int) -> Iterator[tuple[slice, int, int]]:
    """Blocks of outputs: where they lie, how many they are, how many inputs they need."""
    for start in range(0, length, _BLOCK):
        count = min(_BLOCK, length - start)
        yield slice(start, start + count), count, count + taps - 1


def _band_matrix(taps: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> FloatArray:
    band = np.zeros((_BLOCK, _BLOCK + taps.size - 1), dtype=dtype)
    for i in range(_BLOCK):
        band[i, i : i + taps.size] = taps
    return band


def luma(image: FloatArray) -> npt.NDArray[np.float32]:
    """Rec. 601 luma of (R, C, 3), or a grey (R, C) image as it is; float32."""
    if image.ndim == 2:
        return np.asarray(image, dtype=np.float32)
    return np.asarray(np.asarray(image, dtype=np.float32) @ LUMA_WEIGHTS)
