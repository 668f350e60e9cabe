"""The small learned regressor: curves in, distributions over the blur's parameters out.

An ensemble of small one-dimensional convolutional networks, evaluated with numpy. Each member is
four convolutions over frequency and three dense layers. `HEADS` lists its outputs: a histogram
over the disk radius, one over the Gaussian sigma given a disk, one over it given none, the log-odds
that a Gaussian is cut to 15x15 px, mean and log-variance of the logarithms of noise, rms width and
length of motion, and the logits of three families: disk times Gaussian, linear motion, shake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.estimation.directions import harmonic, main_direction
from imagine_deblur.psf.estimation.spectrum import BINS, SECTOR_BINS, Summary

FloatArray = npt.NDArray[np.float32]

RADIUS_BINS, SIGMA_BINS = 320, 64
RADIUS_END, SIGMA_END = 9.5, 4.5
RADIUS_LOG_STEP = float(np.log1p(RADIUS_END) / (RADIUS_BINS - 1))
RADIUS_GRID = np.expm1(np.arange(RADIUS_BINS) * RADIUS_LOG_STEP)
"""Radii in px, evenly spaced in log(1 + R)."""
SIGMA_GRID = np.linspace(0.0, SIGMA_END, SIGMA_BINS)
"""Sigmas in px."""
NOISE_OFFSET = 5e-4
"""Added to the noise amplitude before its logarithm."""
WIDTH_OFFSET_PX = 0.2
"""Added to the rms width before its logarithm."""

FAMILIES = ("round", "motion", "shake")
HEADS = {
    "radius": RADIUS_BINS,
    "sigma_with_disk": SIGMA_BINS,
    "sigma_alone": SIGMA_BINS,
    "truncated": 1,
    "log_noise": 2,
    "log_width": 2,
    "log_length": 2,
    "family": len(FAMILIES),
}
CHANNELS = 6
"""The four curves and strength and main component of the dependence on direction."""
SCALARS = CHANNELS + 1 + 4
CENTRES = {"log_noise": -6.0, "log_width": 0.5, "log_length": 2.0}
"""Added to the predicted means, so that untrained outputs start near the data."""
WEIGHTS = "weights.npz"


@dataclass(frozen=True)
class Normal:
    """Mean and standard deviation of a logarithm."""

    mean: float
    deviation: float

    def at(self, z: float, offset: float) -> float:
        """The value `z` deviations from the mean, the logarithm and its offset undone."""
        return max(0.0, float(np.exp(self.mean + z * self.deviation)) - offset)


@dataclass(frozen=True)
class Output:
    """Distributions averaged over the ensemble.

    Attributes
    ----------
    radius : (320,) float64 ndarray
        Probability at `RADIUS_GRID`.
    sigma_with_disk, sigma_alone : (64,) float64 ndarray
        Probability at `SIGMA_GRID` with a disk and without.
    truncated : float
        Probability that a Gaussian without a disk is cut to 15x15 px.
    log_noise, log_width, log_length : Normal
        Of the noise amplitude plus `NOISE_OFFSET`, of the kernel's rms width in px per axis plus
        `WIDTH_OFFSET_PX`, and of the length of motion in px.
    family : (3,) float64 ndarray
        Probabilities of `FAMILIES`.
    """

    radius: npt.NDArray[np.float64]
    sigma_with_disk: npt.NDArray[np.float64]
    sigma_alone: npt.NDArray[np.float64]
    truncated: float
    log_noise: Normal
    log_width: Normal
    log_length: Normal
    family: npt.NDArray[np.float64]


def inputs(summary: Summary, table: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The (6, 128) curves without their means, and 11 scalars: means, log of blocks, table."""
    second = harmonic(summary.sectors)
    turned = (second * np.conj(main_direction(second))).real
    direction = np.repeat(np.stack([np.abs(second), turned]), BINS // SECTOR_BINS, axis=1)
    curves = np.concatenate([summary.curves, direction.astype(np.float32)])
    means = curves.mean(axis=1)
    scalars = np.concatenate([means, [np.log(summary.blocks)], table]).astype(np.float32)
    return curves - means[:, None], scalars


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
        As in the bundled file: ``curve_mean`` and ``curve_scale`` (6, 128), ``scalar_mean`` and
        ``scalar_scale`` (11,), ``members`` (), per name of `correction` a (2, k) array of knots
        and values, and per member ``m0.c1.weight`` and so on.
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        # Weights stay in half precision, a layer at a time is widened: 1.4 MB less.
        self._weights = {n: np.asarray(v, np.float16) for n, v in arrays.items() if "." in n}
        self._arrays = {n: np.asarray(v, np.float32) for n, v in arrays.items() if "." not in n}
        self.members = int(self._arrays["members"])

    def correction(self, name: str, at: float) -> float:
        """What calibration found.

        Parameters
        ----------
        name : {"radius_temperature", "sigma_temperature", "correlation", "noise_scale", \
                "width_scale", "length_scale"}
            A temperature at the logarithm of a distribution's spread in bins, the correlation of
            the errors of radius and sigma at a radius in px, or the factor on a predicted
            deviation (`at` is then without effect).
        at : float
        """
        knots, values = self._arrays[name]
        return float(np.interp(at, knots, values))

    def _layer(self, member: int, name: str) -> tuple[FloatArray, FloatArray]:
        weight, bias = (self._weights[f"m{member}.{name}.{kind}"] for kind in ("weight", "bias"))
        return weight.astype(np.float32), bias.astype(np.float32)

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
            See `imagine_deblur.psf.estimation.quantisation_table.table_scalars`.
        """
        curves, scalars = inputs(summary, table)
        curves = (curves - self._arrays["curve_mean"]) / self._arrays["curve_scale"]
        scalars = (scalars - self._arrays["scalar_mean"]) / self._arrays["scalar_scale"]
        rows = [self._member(i, curves, scalars) for i in range(self.members)]
        ends = np.cumsum(list(HEADS.values()))
        heads = {
            name: np.stack([row[end - HEADS[name] : end] for row in rows])
            for name, end in zip(HEADS, ends, strict=True)
        }

        def histogram(name: str) -> npt.NDArray[np.float64]:
            return np.asarray(np.mean([_softmax(row) for row in heads[name]], axis=0))

        def normal(name: str) -> Normal:
            mean, log_variance = heads[name].astype(np.float64).T
            variance = np.exp(np.clip(log_variance, -6, 3)).mean() + mean.var()
            return Normal(float(mean.mean()) + CENTRES[name], float(np.sqrt(variance)))

        return Output(
            radius=histogram("radius"),
            sigma_with_disk=histogram("sigma_with_disk"),
            sigma_alone=histogram("sigma_alone"),
            truncated=float(np.mean(1 / (1 + np.exp(-heads["truncated"].astype(np.float64))))),
            log_noise=normal("log_noise"),
            log_width=normal("log_width"),
            log_length=normal("log_length"),
            family=histogram("family"),
        )


@lru_cache(maxsize=1)
def bundled() -> Ensemble:
    """The ensemble that ships with the package."""
    source = files("imagine_deblur.psf.estimation").joinpath(WEIGHTS)
    with source.open("rb") as stream, np.load(stream) as arrays:
        return Ensemble({name: arrays[name] for name in arrays.files})
