"""BRISQUE: a regression from scene statistics to opinion scores, without a reference.

Mittal, Moorthy & Bovik, "No-reference image quality assessment in the spatial domain", 2012. The
regression was learnt from people's opinions, which we do not have. `brisque.npz` holds its
published parameters and says where they come from; `research/brisque_parameters.py` made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import InputImageError
from imagine_deblur.evaluation.metrics.scene_statistics import (
    NEIGHBOURS,
    fit_shapes,
    normalised_contrast,
)

FloatArray = npt.NDArray[np.float64]

# The colour conversion and resampling the regression was learnt with.
_GREY = np.array([0.2125, 0.7154, 0.0721])  # Rec. 709
_HALVING = np.array([-0.09375, 0.59375, 0.59375, -0.09375])  # cubic convolution, a = -3/4, at 1/2
_PARAMETERS = Path(__file__).with_name("brisque.npz")


@dataclass(frozen=True)
class Regression:
    """A support vector regression with a Gaussian kernel.

    Attributes
    ----------
    low, high : (36,) float64 ndarray
        Feature range that is mapped to [-1, 1].
    gamma, rho : float
    coefficients : (n,) float64 ndarray
    vectors : (n, 36) float64 ndarray
    """

    low: FloatArray
    high: FloatArray
    gamma: float
    rho: float
    coefficients: FloatArray
    vectors: FloatArray

    def __call__(self, features: FloatArray) -> float:
        scaled = -1.0 + 2.0 * (features - self.low) / (self.high - self.low)
        distance = ((self.vectors - scaled) ** 2).sum(axis=1)
        return float(self.coefficients @ np.exp(-self.gamma * distance) - self.rho)


def brisque(image: npt.NDArray[np.floating]) -> float:
    """Predicted opinion score, about 0 (best) to 100 (worst), not clamped.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float ndarray, [0, 1]
        Encoded values; Rec. 709 grey is judged. R and C at least 16.

    Raises
    ------
    InputImageError
        Too small, or flat.
    """
    if min(image.shape[:2]) < 16:
        raise InputImageError(f"image of shape {image.shape} is smaller than 16x16")
    features = brisque_features(image)
    if not np.isfinite(features).all():
        raise InputImageError("the image is flat; BRISQUE is not defined")
    return regression()(features)


def brisque_features(image: npt.NDArray[np.floating]) -> FloatArray:
    """The 36 features: 18 at full and 18 at half resolution."""
    samples = image.astype(np.float64)
    plane = samples if samples.ndim == 2 else samples @ _GREY
    return np.concatenate([_features(plane), _features(halve(plane))])


def _features(plane: FloatArray) -> FloatArray:
    contrast, _ = normalised_contrast(plane, 1.0 / 255.0, "constant")
    shape = fit_shapes(contrast.reshape(1, -1))
    values = [shape.alpha, 0.5 * (shape.left**2 + shape.right**2)]
    rows, columns = plane.shape
    for down, right in NEIGHBOURS:
        first = contrast[: rows - down, max(0, -right) : columns - max(0, right)]
        second = contrast[down:, max(0, right) : columns + min(0, right)]
        shape = fit_shapes((first * second).reshape(1, -1))
        values += [shape.alpha, shape.mean, shape.left**2, shape.right**2]
    return np.concatenate(values)


def halve(plane: FloatArray) -> FloatArray:
    """Half resolution by cubic convolution, without a low-pass filter, borders repeated."""
    for axis in (0, 1):
        length = plane.shape[axis]
        centre = 2 * np.arange(round(length / 2))
        result = np.zeros_like(np.take(plane, centre, axis=axis, mode="clip"))
        for offset, weight in zip((-1, 0, 1, 2), _HALVING, strict=True):
            index = np.clip(centre + offset, 0, length - 1)
            result += weight * np.take(plane, index, axis=axis)
        plane = result
    return plane


@lru_cache(maxsize=1)
def regression() -> Regression:
    """The regression with its published parameters."""
    with np.load(_PARAMETERS) as stored:
        return Regression(
            low=stored["low"],
            high=stored["high"],
            gamma=float(stored["gamma"]),
            rho=float(stored["rho"]),
            coefficients=stored["coefficients"],
            vectors=stored["vectors"].astype(np.float64),
        )
