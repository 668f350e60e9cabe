"""BRISQUE: a regression from scene statistics to opinion scores, without a reference.

Mittal, Moorthy & Bovik, "No-reference image quality assessment in the spatial domain", 2012. The
regression was learnt from people's opinions, which we do not have, so its parameters come from the
package ``brisque`` (0.2.0, Apache-2.0), which carries them inside its wheel. Only these two files
are read: the package's own code needs OpenCV and libsvm and fails with numpy 2.4. Features and
regression are computed here, and agree with that code where it runs (see the tests).
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from functools import lru_cache
from importlib import util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import EngineError, InputImageError
from imagine_deblur.evaluation.metrics.scene_statistics import (
    NEIGHBOURS,
    fit_shapes,
    normalised_contrast,
)

FloatArray = npt.NDArray[np.float64]

# The colour conversion and resampling the regression was learnt with.
_GREY = np.array([0.2125, 0.7154, 0.0721])  # Rec. 709
_HALVING = np.array([-0.09375, 0.59375, 0.59375, -0.09375])  # cubic convolution, a = -3/4, at 1/2


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
    EngineError
        The package with the parameters is not installed.
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
    """The regression whose parameters the installed package ``brisque`` carries."""
    found = util.find_spec("brisque")
    if found is None or found.origin is None:
        raise EngineError(
            "BRISQUE's parameters are not installed: pip install brisque", engine="brisque"
        )
    folder = Path(found.origin).parent / "models"
    ranges = _PlainUnpickler(io.BytesIO((folder / "normalize.pickle").read_bytes())).load()
    header, _, body = (folder / "svm.txt").read_text().partition("\nSV\n")
    values = dict(line.split(None, 1) for line in header.splitlines())
    rows = [line.split() for line in body.splitlines()]
    vectors = np.zeros((len(rows), 36))
    for i, row in enumerate(rows):
        for entry in row[1:]:
            position, _, value = entry.partition(":")
            vectors[i, int(position) - 1] = float(value)
    return Regression(
        low=np.asarray(ranges["min_"], dtype=np.float64),
        high=np.asarray(ranges["max_"], dtype=np.float64),
        gamma=float(values["gamma"]),
        rho=float(values["rho"]),
        coefficients=np.array([float(row[0]) for row in rows]),
        vectors=vectors,
    )


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dictionaries and numbers; refuses everything that would import or run code."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} does not belong in a table of numbers")
