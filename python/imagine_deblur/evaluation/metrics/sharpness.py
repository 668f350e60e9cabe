"""How sharp the edges of an image are: the Sobel gradient."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import InputImageError
from imagine_deblur.evaluation.metrics.filters import luma

FloatArray = npt.NDArray[np.floating]


def sobel_magnitude(image: FloatArray) -> npt.NDArray[np.float32]:
    """Magnitude of the Sobel gradient of the luma.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float ndarray, [0, 1]
        R and C at least 3.

    Returns
    -------
    (R - 2, C - 2) float32 ndarray
        Per px; a ramp of slope g per px gives g exactly. Taps (1, 2, 1) / 4 across and
        (-1, 0, 1) / 2 along each axis.
    """
    plane = luma(image)
    if min(plane.shape) < 3:
        raise InputImageError(f"image of shape {image.shape} is smaller than 3x3")
    down = plane[:-2] + 2.0 * plane[1:-1] + plane[2:]
    right = plane[:, :-2] + 2.0 * plane[:, 1:-1] + plane[:, 2:]
    gradient_x = (down[:, 2:] - down[:, :-2]) * np.float32(0.125)
    gradient_y = (right[2:] - right[:-2]) * np.float32(0.125)
    return np.asarray(np.hypot(gradient_x, gradient_y), dtype=np.float32)


def edge_sharpness(image: FloatArray, share: float = 0.05) -> float:
    """Mean Sobel magnitude of the steepest pixels, per px.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float ndarray, [0, 1]
    share : float, default 0.05
        Share of the pixels that count as edges, in (0, 1]; 1 averages over the whole image.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share={share!r} must lie in (0, 1]")
    magnitude = sobel_magnitude(image).ravel()
    count = max(1, round(share * magnitude.size))
    steepest = np.partition(magnitude, magnitude.size - count)[magnitude.size - count :]
    return float(steepest.mean(dtype=np.float64))
