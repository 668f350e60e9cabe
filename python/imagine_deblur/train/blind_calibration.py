"""Make the estimator's stated uncertainties true on scenes that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.estimation import decode_posterior, network, posterior
from imagine_deblur.psf.estimation.network import Ensemble, Normal, Output
from imagine_deblur.psf.estimation.spectrum import Summary

Arrays = Mapping[str, npt.NDArray[Any]]
FloatArray = npt.NDArray[np.float64]

TEMPERATURES = np.geomspace(0.2, 5.0, 41)
LEVEL = 0.9
LEAST_NOISE = 0.0015
"""Amplitudes from which the noise head is fitted and calibrated."""


def neutral() -> dict[str, npt.NDArray[np.float32]]:
    """Corrections that change nothing."""
    one = np.array([[0.0], [1.0]], dtype=np.float32)
    return {
        "radius_temperature": one,
        "sigma_temperature": one,
        "noise_scale": one,
        "width_scale": one,
        "length_scale": one,
        "correlation": np.zeros((2, 1), dtype=np.float32),
    }


def outputs(ensemble: Ensemble, data: Arrays) -> tuple[list[Output], FloatArray]:
    """The ensemble's outputs for every capture, and for pairs of captures, with the truth."""
    found: list[Output] = []
    truth = []
    for group in range(len(data["truth"])):
        curves, sectors = data["curves"][group], data["sectors"][group]
        blocks = data["blocks"][group]
        for k in np.flatnonzero(blocks):
            summary = Summary(curves[k], float(blocks[k]), sectors[k], {})
            table = data["tables"][group] * np.float32((group + int(k)) % 2)
            found.append(ensemble(summary, table))
            truth.append(data["truth"][group])
    return found, np.array(truth)


def temperature_knots(distributions: list[FloatArray], truth_bins: FloatArray) -> FloatArray:
    """Temperatures at which the central 90 % cover the truth in 90 % of cases, over the spread.

    Parameters
    ----------
    distributions : list of n (b,) float64 ndarray
    truth_bins : (n,) float64 ndarray
        The truth as fractional bins.

    Returns
    -------
    (2, k) float64 ndarray
        Logarithm of the spread in bins, and the temperature.
    """
    spread = np.log([posterior.spread(p) for p in distributions])
    parts = np.array_split(np.argsort(spread, kind="stable"), max(1, min(6, len(spread) // 60)))
    knots: list[tuple[float, float, npt.NDArray[np.intp]]] = []
    for part in parts:
        # What was wider before must not become narrower: pool such neighbours.
        while True:
            temperature = _temperature([distributions[i] for i in part], truth_bins[part])
            knot = (float(np.median(spread[part])), temperature, part)
            if not knots or _log_width(*knot[:2]) > _log_width(*knots[-1][:2]):
                break
            part = np.concatenate([knots.pop()[2], part])
        knots.append(knot)
    return np.array([knot[:2] for knot in knots]).T


def _log_width(log_spread: float, temperature: float) -> float:
    """Logarithm of the spread after tempering."""
    return log_spread + 0.5 * float(np.log(temperature))


def _temperature(distributions: list[FloatArray], truth_bins: FloatArray) -> float:
    best, best_gap = 1.0, np.inf
    for temperature in TEMPERATURES:
        inside = []
        for distribution, truth in zip(distributions, truth_bins, strict=True):
            tempered = posterior.temper(distribution, float(temperature))
            low, high = posterior.quantiles(tempered, (0.05, 0.95))
            inside.append(low <= truth <= high)
        gap = abs(float(np.mean(inside)) - LEVEL)
        if gap < best_gap:
            best, best_gap = float(temperature), gap
    return best


def _scale(predicted: list[Normal], truth: FloatArray) -> npt.NDArray[np.float32]:
    """Factor on the deviations that makes the central 90 % true."""
    score = [abs(t - p.mean) / p.deviation for p, t in zip(predicted, truth, strict=True)]
    factor = float(np.quantile(score, LEVEL)) / 1.6449 if score else 1.0
    return np.array([[0.0], [factor]], dtype=np.float32)


def calibrate(arrays: Arrays, data: Arrays) -> dict[str, npt.NDArray[Any]]:
    """The arrays with corrections fitted to generated captures of other scenes."""
    ensemble = Ensemble(arrays)
    found, truth = outputs(ensemble, data)
    radius, sigma, _, noise, _, length, _, other = truth.T
    is_round = other == 0
    disk = is_round & (radius >= 1.5) & (radius <= 8.5)
    fitted = neutral()

    def listed(mask: npt.NDArray[np.bool_]) -> list[int]:
        return [int(i) for i in np.flatnonzero(mask)]

    disks = {i: decode_posterior.disk_of(found[i].radius) for i in listed(disk)}
    told = {i: radii for i, (share, radii) in disks.items() if share > 0}
    fitted["radius_temperature"] = temperature_knots(
        list(told.values()),
        np.array([decode_posterior.radius_bin(radius[i]) for i in told]),
    ).astype(np.float32)
    blurred = listed(is_round & (radius + sigma > 0.3))
    fitted["sigma_temperature"] = temperature_knots(
        [found[i].sigma_with_disk if radius[i] > 0 else found[i].sigma_alone for i in blurred],
        np.asarray(sigma[blurred] / network.SIGMA_GRID[1]),
    ).astype(np.float32)
    width = np.log(np.sqrt(radius**2 / 4 + sigma**2) + network.WIDTH_OFFSET_PX)
    log_noise = np.log(np.maximum(noise, 0.0) + network.NOISE_OFFSET)
    every, moved = listed(is_round), listed(length > 0)
    fitted["width_scale"] = _scale([found[i].log_width for i in every], width[every])
    noisy = listed(is_round & (noise >= LEAST_NOISE))
    fitted["noise_scale"] = _scale([found[i].log_noise for i in noisy], log_noise[noisy])
    fitted["length_scale"] = _scale([found[i].log_length for i in moved], np.log(length[moved]))
    fitted["correlation"] = _correlation(found, truth, listed(disk))
    return dict(arrays) | fitted


def _correlation(
    found: list[Output], truth: FloatArray, index: list[int]
) -> npt.NDArray[np.float32]:
    """Rank correlation of the errors of radius and sigma over the radius."""
    radius = np.array([(found[i].radius * network.RADIUS_GRID).sum() for i in index])
    sigma = np.array([(found[i].sigma_with_disk * network.SIGMA_GRID).sum() for i in index])
    errors = np.stack([radius - truth[index, 0], sigma - truth[index, 1]])
    knots = []
    for part in np.array_split(np.argsort(truth[index, 0]), max(1, min(5, len(index) // 40))):
        ranks = errors[:, part].argsort(axis=1).argsort(axis=1)
        value = float(np.asarray(np.corrcoef(ranks))[0, 1]) if part.size > 2 else 0.0
        knots.append((float(np.median(truth[index, 0][part])), np.clip(value, -0.95, 0.95)))
    return np.array(knots, dtype=np.float32).T
