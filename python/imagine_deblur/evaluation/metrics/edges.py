"""How steep the edges of a picture without a truth are: the 10-90 % rise in px.

Edges are found on the capture once and measured in the capture and in its restoration alike, so
that a restoration cannot choose the edges it is judged by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.evaluation.metrics.profiles import luma_of, sample, smooth

FloatArray = NDArray[np.float64]

REACH_PX = 14
"""Half the length of a profile, px: an edge of a disk of 8.5 px and its plateaus."""
_PLATEAU_PX = 6  # plateaus lie this far from the edge and farther
_ALONG = np.arange(-2, 3)  # lines averaged beside each other
_STRONG, _SATURATED = 0.12, 0.97  # least height of a step, full scale 1; brightest sample
_UNEVEN = 0.1  # of the height: most standard deviation of a plateau, and wrong way of the step
_APART_PX = 12
_STEP = 0.25


@dataclass(frozen=True)
class Edges:
    """Where steps are: rows and columns in px, and the unit vector across each, (N,) and (N, 2)."""

    rows: FloatArray
    columns: FloatArray
    across: FloatArray

    def __len__(self) -> int:
        return len(self.rows)


def find_edges(image: NDArray[np.generic], most: int = 400) -> Edges:
    """Find strong, isolated, unsaturated steps.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8 or float32 ndarray
        The capture; float32 in [0, 1].
    most : int
        The strongest so many are kept.

    Returns
    -------
    Edges
        At least 12 px apart and 20 px inside the frame; perhaps none.
    """
    luma = luma_of(image)
    soft = smooth(luma, 2.0)
    down: FloatArray = np.asarray(np.gradient(soft, axis=0))
    right: FloatArray = np.asarray(np.gradient(soft, axis=1))
    slope: FloatArray = np.asarray(np.hypot(down, right))
    margin = REACH_PX + 4
    inside = np.zeros(luma.shape, bool)
    inside[margin:-margin, margin:-margin] = True
    places = np.argwhere(inside & (slope > _STRONG / 10))
    order = np.argsort(-slope[places[:, 0], places[:, 1]])
    taken = np.zeros(luma.shape, bool)
    kept: list[tuple[float, float, float, float]] = []
    for row, column in places[order]:
        if len(kept) == most:
            break
        if taken[row, column]:
            continue
        box = np.s_[max(0, row - _APART_PX) : row + _APART_PX, max(0, column - _APART_PX) :
                    column + _APART_PX]  # fmt: skip
        taken[box] = True
        down_right = [down[row, column], right[row, column]]
        across: FloatArray = np.asarray(np.array(down_right) / slope[row, column])
        profile = _profile(luma, float(row), float(column), across)
        if _is_step(profile):
            kept.append((float(row), float(column), across[0], across[1]))
    found = np.array(kept).reshape(-1, 4)
    return Edges(found[:, 0], found[:, 1], found[:, 2:])


def edge_rise(image: NDArray[np.generic], edges: Edges) -> float:
    """Return the mean 10-90 % distance over edges, px; NaN without any.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8 or float32 ndarray
        The capture the edges were found on, or its restoration.
    edges : Edges
    """
    luma = luma_of(image)
    rises = [
        _rise(_profile(luma, row, column, across))
        for row, column, across in zip(edges.rows, edges.columns, edges.across, strict=True)
    ]
    return float(np.mean(rises)) if rises else float("nan")


def _profile(luma: FloatArray, row: float, column: float, across: FloatArray) -> FloatArray:
    distance = np.arange(-REACH_PX, REACH_PX + _STEP / 2, _STEP)
    along = np.array([-across[1], across[0]])
    lines = [
        sample(
            luma,
            row + k * along[0] + distance * across[0],
            column + k * along[1] + distance * across[1],
        )
        for k in _ALONG
    ]
    return np.asarray(np.mean(lines, axis=0))


def _plateaus(profile: FloatArray) -> tuple[FloatArray, FloatArray]:
    count = int((REACH_PX - _PLATEAU_PX) / _STEP)
    return profile[:count], profile[-count:]


def _is_step(profile: FloatArray) -> bool:
    low, high = _plateaus(profile)
    height = float(np.median(high) - np.median(low))
    if height < _STRONG or profile.max() > _SATURATED:
        return False
    if max(low.std(), high.std()) > _UNEVEN * height:
        return False
    return bool((np.maximum.accumulate(profile) - profile).max() < _UNEVEN * height)


def _rise(profile: FloatArray) -> float:
    low, high = (float(np.median(p)) for p in _plateaus(profile))
    share = (profile - low) / (high - low if high != low else 1.0)
    middle = int(
        np.argmin(np.abs(share - 0.5) + 1e-3 * np.abs(np.arange(share.size) - share.size / 2))
    )
    below = np.flatnonzero(share[: middle + 1] <= 0.1)
    above = np.flatnonzero(share[middle:] >= 0.9)
    first = _crossing(share, int(below[-1]), 0.1) if below.size else 0.0
    last = _crossing(share, middle + int(above[0]) - 1, 0.9) if above.size else share.size - 1.0
    return (last - first) * _STEP


def _crossing(share: FloatArray, before: int, level: float) -> float:
    """Place between samples `before` and ``before + 1`` where a rising profile passes a level."""
    step = share[before + 1] - share[before]
    return before + float(np.clip((level - share[before]) / step if step else 0.0, 0.0, 1.0))
