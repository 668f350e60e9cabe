"""Spin: the blur of a frame that rotates about its centre during the exposure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import OptionsError

FloatImage = npt.NDArray[np.float32]


def spin(image: FloatImage, degrees: float) -> FloatImage:
    """Average an image over a rotation about its centre: a spatially varying motion blur.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float32 ndarray, [0, 1]
    degrees : float
        Total rotation during the exposure, 0 to 5. The average is over
        ``[-degrees/2, +degrees/2]``, so nothing moves. A point r px from the centre draws an arc
        of ``r * degrees * pi / 180`` px.

    Returns
    -------
    float32 ndarray
        Same shape; borders continue by reflection.

    Notes
    -----
    Midpoint rule with arcs of at most half a pixel between samples. Each rotation is three shears
    (Unser, Thevenaz & Yaroslavsky 1995, eq. 3: ``x-shear by -tan(a/2), y-shear by sin a, x-shear by
    -tan(a/2)``), each interpolated along one axis by the six-point Lagrange polynomial.
    """
    if not 0.0 <= degrees <= 5.0:
        raise OptionsError("degrees", degrees, "0 to 5")
    if degrees == 0.0:
        return image.copy()
    rows, columns = image.shape[:2]
    reach = 0.5 * float(np.hypot(rows, columns)) * float(np.deg2rad(degrees))
    count = max(2, int(np.ceil(2.0 * reach)))
    margin = int(np.ceil(0.5 * reach)) + 4
    stack = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    planes = np.pad(stack, ((0, 0), (margin, margin), (margin, margin)), mode="symmetric")
    total = np.zeros_like(planes)
    for i in range(count):
        angle = float(np.deg2rad(degrees)) * ((i + 0.5) / count - 0.5)
        total += rotate(planes, angle)
    mean = total[:, margin : margin + rows, margin : margin + columns] * np.float32(1.0 / count)
    return np.ascontiguousarray(mean[0] if image.ndim == 2 else np.moveaxis(mean, 0, 2))


def rotate(planes: FloatImage, angle: float) -> FloatImage:
    """Rotate (bands, R, C) planes about their centre by a small angle in radians, clockwise.

    Samples whose source lies outside repeat the border; callers pad first.
    """
    along_rows = -float(np.tan(0.5 * angle))
    sheared = _shear_columns(planes, along_rows)
    turned = np.swapaxes(_shear_columns(np.swapaxes(sheared, 1, 2), float(np.sin(angle))), 1, 2)
    return _shear_columns(turned, along_rows)


def _shear_columns(planes: FloatImage, slope: float) -> FloatImage:
    """out[b, r, c] = planes[b, r, c + slope * (r - centre)], six-point Lagrange along c."""
    rows, columns = planes.shape[1:]
    shift = slope * (np.arange(rows) - 0.5 * (rows - 1))
    whole = np.floor(shift).astype(int)
    weights = _lagrange(shift - whole)
    result = np.empty_like(planes)
    for step in range(int(whole.min()), int(whole.max()) + 1):
        chosen = np.flatnonzero(whole == step)  # contiguous: the shift is monotonic
        if chosen.size == 0:
            continue
        part = slice(int(chosen[0]), int(chosen[-1]) + 1)
        column = np.clip(np.arange(step - 2, step + columns + 3), 0, columns - 1)
        source = planes[:, part][:, :, column]
        target = source[:, :, :columns] * weights[0][part, None]
        for tap in range(1, 6):
            target += source[:, :, tap : tap + columns] * weights[tap][part, None]
        result[:, part] = target
    return result


def _lagrange(fraction: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Weights (6, n) of the samples at -2..3 for positions `fraction` in [0, 1)."""
    nodes = np.arange(-2, 4)
    weights = np.ones((6, fraction.size))
    for i, node in enumerate(nodes):
        for other in nodes:
            if other != node:
                weights[i] *= (fraction - other) / (node - other)
    return weights.astype(np.float32)
