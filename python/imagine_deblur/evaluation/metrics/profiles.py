"""Small tools of the measures on real captures: luma, a Gaussian, samples between pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_LUMA = np.array([0.299, 0.587, 0.114])


def luma_of(image: NDArray[np.generic]) -> FloatArray:
    """Luma in [0, 1] of an (R, C) or (R, C, 3) uint8 or float image, float64."""
    values = image.astype(np.float64) / (255.0 if image.dtype == np.uint8 else 1.0)
    return values if values.ndim == 2 else values @ _LUMA


def smooth(plane: FloatArray, sigma_px: float) -> FloatArray:
    """Gaussian of a plane, borders by reflection."""
    reach = int(np.ceil(3 * sigma_px))
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    line /= line.sum()
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (reach, reach)
        padded = np.pad(plane, pad, mode="reflect")
        size = plane.shape[axis]
        parts = (np.take(padded, np.arange(k, k + size), axis) * w for k, w in enumerate(line))
        plane = np.asarray(sum(parts), np.float64)
    return plane


def sample(plane: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Bilinear samples; places outside take the border's."""
    row = np.clip(rows, 0, plane.shape[0] - 1.001)
    column = np.clip(columns, 0, plane.shape[1] - 1.001)
    top, left = row.astype(np.intp), column.astype(np.intp)
    down, right = row - top, column - left
    upper = plane[top, left] * (1 - right) + plane[top, left + 1] * right
    lower = plane[top + 1, left] * (1 - right) + plane[top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)


def maxima(plane: FloatArray) -> NDArray[np.intp]:
    """Rows and columns of samples above all eight neighbours, (N, 2), not on the border."""
    centre = plane[1:-1, 1:-1]
    rows, columns = plane.shape
    above = np.ones(centre.shape, bool)
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                other = plane[row : rows - 2 + row, column : columns - 2 + column]
                above &= centre > other if (row, column) < (1, 1) else centre >= other
    return np.argwhere(above) + 1
