"""How much an image rings: what it adds beyond the range of its surroundings in a reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import InputImageError
from imagine_deblur.evaluation.metrics.filters import luma

FloatArray = npt.NDArray[np.floating]


def ringing(image: FloatArray, reference: FloatArray, radius_px: int = 2) -> float:
    """Mean overshoot beyond the local range of a reference, full scale 1.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float ndarray, [0, 1]
        Restored image.
    reference : same shape
        The truth; or, where there is none, the capture, with `radius_px` at least the PSF's
        support: a blurred edge keeps its two plateaus within that reach, while fine lines and
        points, which restoration rightly raises above it, then count as overshoot too.
    radius_px : int, default 2
        Half side of the square over which the reference's minimum and maximum are taken.

    Returns
    -------
    float
        Mean over pixels of ``max(0, x - max(reference)) + max(0, min(reference) - x)`` on the luma;
        0 for the reference itself and for every average of its neighbouring pixels.
    """
    if image.shape != reference.shape:
        raise InputImageError(f"images of shape {image.shape} and {reference.shape} do not compare")
    x, y = luma(image), luma(reference)
    highest = local_maximum(y, radius_px)
    lowest = -local_maximum(-y, radius_px)
    excess = np.maximum(x - highest, 0.0) + np.maximum(lowest - x, 0.0)
    return float(excess.mean(dtype=np.float64))


def local_maximum(plane: npt.NDArray[np.float32], radius_px: int) -> npt.NDArray[np.float32]:
    """Maximum over a square of ``2 radius + 1`` px about each pixel; outside counts as lowest."""
    for axis in (0, 1):
        plane = np.swapaxes(_running_maximum(np.swapaxes(plane, 0, axis), radius_px), 0, axis)
    return plane


def _running_maximum(plane: npt.NDArray[np.float32], radius: int) -> npt.NDArray[np.float32]:
    """Along rows, by doubling: log2 of the window's length passes."""
    if radius == 0:
        return plane
    window = 2 * radius + 1
    rows = plane.shape[0]
    result = np.pad(plane, ((radius, radius), (0, 0)), constant_values=-np.inf)
    reach = 1
    while reach < window:
        step = min(reach, window - reach)
        result = np.maximum(result[:-step], result[step:])
        reach += step
    return result[:rows]
