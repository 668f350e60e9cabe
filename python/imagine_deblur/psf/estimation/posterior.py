"""From distributions to numbers: centre, spread, intervals, probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """One estimated number.

    Attributes
    ----------
    value : float
        Mean of the distribution around its strongest peak.
    standard_error : float
        Half the width of the central 68.27 % of the whole distribution.
    interval : (float, float)
        Central 90 %.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]


def temper(probability: FloatArray, temperature: float) -> FloatArray:
    """Widen (temperature > 1) or narrow a distribution: ``p**(1/T)``, normalised."""
    result = np.power(np.maximum(probability, 1e-30), 1.0 / temperature)
    return np.asarray(result / result.sum())


def spread(probability: FloatArray) -> float:
    """Half the width of the central 68.27 % in bins."""
    low, high = quantiles(probability, (0.15866, 0.84134))
    return float(high - low) / 2


def quantiles(probability: FloatArray, at: npt.ArrayLike) -> FloatArray:
    """Quantiles in fractional bins; the mass of bin i is spread over i - 0.5 to i + 0.5."""
    edges = np.concatenate([[0.0], np.cumsum(probability)])
    position = np.interp(np.asarray(at), edges / edges[-1], np.arange(edges.size) - 0.5)
    return np.asarray(np.clip(position, 0.0, probability.size - 1))


def peak(probability: FloatArray, width: float) -> int:
    """Bin of the greatest mass within a Gaussian of `width` bins."""
    reach = int(4 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    smooth = np.convolve(probability, kernel)[reach : reach + probability.size]
    return int(np.argmax(smooth))


def centre(probability: FloatArray, width: float) -> float:
    """Mean in fractional bins of the mass around the strongest peak."""
    index = np.arange(probability.size)
    near = probability * np.exp(-0.5 * ((index - peak(probability, width)) / (1.7 * width)) ** 2)
    return float((near * index).sum() / near.sum())


def mass_within(probability: FloatArray, low: float, high: float) -> float:
    """Probability between two fractional bins."""
    edges = np.concatenate([[0.0], np.cumsum(probability)])
    position = np.arange(edges.size) - 0.5
    return float(np.interp(high, position, edges) - np.interp(low, position, edges))
