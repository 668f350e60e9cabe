"""The small learned regressor: curves in, distributions over radius, sigma and noise out.

An ensemble of small one-dimensional convolutional networks, evaluated with numpy. Each member is
four convolutions over frequency and three dense layers; its output is a histogram over the disk
radius, one over the Gaussian sigma given a disk, one over it given none, the log-odds that a
Gaussian is cut to 15x15 px, and mean and log-variance of the logarithm of the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.estimation.spectrum import Summary

FloatArray = npt.NDArray[np.float32]

RADIUS_BINS, SIGMA_BINS = 192, 64
RADIUS_END, SIGMA_END = 9.5, 4.5
RADIUS_LOG_STEP = float(np.log1p(RADIUS_END) / (RADIUS_BINS - 1))
RADIUS_GRID = np.expm1(np.arange(RADIUS_BINS) * RADIUS_LOG_STEP)
"""Radii in px, evenly spaced in log(1 + R)."""
SIGMA_GRID = np.linspace(0.0, SIGMA_END, SIGMA_BINS)
"""Sigmas in px."""
NOISE_OFFSET = 5e-4
"""Added to the noise amplitude before its logarithm."""
NOISE_CENTRE = -6.0

OUTPUTS = RADIUS_BINS + 2 * SIGMA_BINS + 3
WEIGHTS = "weights.npz"


@dataclass(frozen=True)
class Output:
    """Distributions averaged over the ensemble.

    Attributes
    ----------
    radius : (192,) float64 ndarray
        Probability at `RADIUS_GRID`.
    sigma_with_disk, sigma_alone : (64,) float64 ndarray
        Probability at `SIGMA_GRID` with a disk and without.
    truncated : float
        Probability that a Gaussian without a disk is cut to 15x15 px.
    log_noise : (float, float)
        Mean and standard deviation of ``log(s + NOISE_OFFSET)``.
    """

    radius: npt.NDArray[np.float64]
    sigma_with_disk: npt.NDArray[np.float64]
    sigma_alone: npt.NDArray[np.float64]
    truncated: float
    log_noise: tuple[float, float]


def inputs(summary: Summary, table: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The (4, 128) curves without their means, and 9 scalars: means, log of blocks, table."""
    means = summary.curves.mean(axis=1)
    scalars = np.concatenate([means, [np.log(summary.blocks)], table]).astype(np.float32)
    return summary.curves - means[:, None], scalars


def _convolve(x: FloatArray, weight: FloatArray, bias: FloatArray, stride: int) -> FloatArray:
    """One-dimensional convolution with zero padding of half the kernel, then max(0, .)."""
    pad = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (pad, pad)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2], axis=1)[:, ::stride]
    columns = taps.transpose(1, 0, 2).reshape(taps.shape[1], -1)
    response = columns @ weight.reshape(weight.shape[0], -1).T + bias
    return np.asarray(np.maximum(response, 0.0).T)


def _softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(shifted / shifted.sum())


class Ensemble:
    """The members and the normalisation of their inputs.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        As in the bundled file: ``curve_mean`` and ``curve_scale`` (4, 128), ``scalar_mean`` and
        ``scalar_scale`` (9,), ``members``, ``radius_temperature`` and ``sigma_temperature`` (),
        ``correlation`` (2, k) of radii and values, and per member ``m0.c1.weight`` and so on.
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._arrays = {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
        self.members = int(self._arrays["members"])
        self.radius_temperature = float(self._arrays["radius_temperature"])
        self.sigma_temperature = float(self._arrays["sigma_temperature"])

    def correlation(self, radius_px: float) -> float:
        """Correlation of the errors of radius and sigma near a radius, in (-1, 1)."""
        knots, values = self._arrays["correlation"]
        return float(np.interp(radius_px, knots, values))

    def _layer(self, member: int, name: str) -> tuple[FloatArray, FloatArray]:
        prefix = f"m{member}.{name}."
        return self._arrays[prefix + "weight"], self._arrays[prefix + "bias"]

    def _member(self, member: int, x: FloatArray, scalars: FloatArray) -> FloatArray:
        for name, stride in (("c1", 1), ("c2", 2), ("c3", 2), ("c4", 1)):
            x = _convolve(x, *self._layer(member, name), stride)
        hidden = np.concatenate([x.ravel(), scalars])
        for name in ("f1", "f2"):
            weight, bias = self._layer(member, name)
            hidden = np.maximum(weight @ hidden + bias, 0.0)
        weight, bias = self._layer(member, "out")
        return np.asarray(weight @ hidden + bias)

    def __call__(self, summary: Summary, table: FloatArray) -> Output:
        """Distributions for one summary.

        Parameters
        ----------
        summary : Summary
        table : (4,) float32 ndarray
            See `imagine_deblur.psf.estimation.table.table_scalars`.
        """
        curves, scalars = inputs(summary, table)
        curves = (curves - self._arrays["curve_mean"]) / self._arrays["curve_scale"]
        scalars = (scalars - self._arrays["scalar_mean"]) / self._arrays["scalar_scale"]
        a, b = RADIUS_BINS, RADIUS_BINS + SIGMA_BINS
        c = b + SIGMA_BINS
        rows = [self._member(i, curves, scalars) for i in range(self.members)]
        centre = np.array([row[c + 1] + NOISE_CENTRE for row in rows], dtype=np.float64)
        variance = np.exp(np.array([np.clip(row[c + 2], -6, 3) for row in rows], dtype=np.float64))
        return Output(
            radius=np.mean([_softmax(row[:a]) for row in rows], axis=0),
            sigma_with_disk=np.mean([_softmax(row[a:b]) for row in rows], axis=0),
            sigma_alone=np.mean([_softmax(row[b:c]) for row in rows], axis=0),
            truncated=float(np.mean([1 / (1 + np.exp(-float(row[c]))) for row in rows])),
            log_noise=(float(centre.mean()), float(np.sqrt(variance.mean() + centre.var()))),
        )


@lru_cache(maxsize=1)
def bundled() -> Ensemble:
    """The ensemble that ships with the package."""
    source = files("imagine_deblur.psf.estimation").joinpath(WEIGHTS)
    with source.open("rb") as stream, np.load(stream) as arrays:
        return Ensemble({name: arrays[name] for name in arrays.files})
