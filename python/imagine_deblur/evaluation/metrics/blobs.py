"""What a restoration does to small bright clouds and lamps: dark rims, and points found or made.

Blobs are found on the capture; what is measured beside them needs no truth (rims) or a truth
(points).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.evaluation.metrics.profiles import luma_of, maxima, sample, smooth

FloatArray = NDArray[np.float64]

_BACKGROUND_PX = (14.0, 18.0)
_SURROUNDINGS_PX = np.arange(3.0, 12.5)
_ANGLES = np.arange(48) * (2 * np.pi / 48)
_LEAST_HEIGHT = 0.06  # full scale 1
_UNEVEN = 0.35  # of the height: most spread of the background, 10th to 90th percentile
_RIM = 0.1  # of the height

POINT_HALF_WIDTH_PX = 4.5
_POINT_REACH_PX, _POINT_NEAR_PX = 6.0, 1.5
_POINT_LEVEL, _TRUE_LEVEL = 0.6, 0.4


@dataclass(frozen=True)
class Blob:
    """A small isolated bright spot: its centre, background and height, and half its width, px."""

    row: int
    column: int
    background: float
    height: float
    half_width: float


def find_blobs(image: NDArray[np.generic]) -> list[Blob]:
    """Find small isolated bright blobs, at least 12 px apart and 20 px inside the frame.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8 or float32 ndarray
        The capture; float32 in [0, 1].
    """
    luma = smooth(luma_of(image), 0.7)
    wide = smooth(luma, 2.0)
    places = maxima(wide)
    inside = (places >= 20).all(axis=1) & (places < np.array(luma.shape) - 20).all(axis=1)
    places = places[inside]
    places = places[np.argsort(-wide[places[:, 0], places[:, 1]])]
    taken = np.zeros(luma.shape, bool)
    found = []
    for row, column in places:
        if taken[row, column]:
            continue
        rings = _rings(luma, row, column, np.arange(0.0, _BACKGROUND_PX[1] + 0.5))
        around = rings[int(_BACKGROUND_PX[0]) :]
        background = float(np.median(around))
        height = float(rings[:3].mean(axis=1).max()) - background
        spread = float(np.subtract(*np.quantile(around, (0.9, 0.1))))
        if height < _LEAST_HEIGHT or spread > _UNEVEN * height:
            continue
        profile = rings.mean(axis=1) - background
        below = np.flatnonzero(profile < 0.5 * height)
        if not below.size or below[0] > 9:
            continue
        taken[max(0, row - 12) : row + 13, max(0, column - 12) : column + 13] = True
        found.append(Blob(int(row), int(column), background, height, float(below[0])))
    return found


def rims(image: NDArray[np.generic], blobs: Sequence[Blob]) -> float:
    """Return the share of blobs with a dark rim; NaN without any.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8 or float32 ndarray
        The capture the blobs were found on, or its restoration.
    blobs : sequence of Blob

    Returns
    -------
    float
        Share whose surroundings, averaged around them at one distance of 3 to 12 px, fall more than
        a tenth of the capture's height below the background at 14 to 18 px.
    """
    luma = luma_of(image)
    rimmed = []
    for blob in blobs:
        around = np.arange(_BACKGROUND_PX[0], _BACKGROUND_PX[1] + 0.5)
        background = float(np.median(_rings(luma, blob.row, blob.column, around)))
        least = _rings(luma, blob.row, blob.column, _SURROUNDINGS_PX).mean(axis=1).min()
        rimmed.append(background - least > _RIM * blob.height)
    return float(np.mean(rimmed)) if rimmed else float("nan")


@dataclass(frozen=True)
class Points:
    """Counts of local maxima in small blobs: a restoration's, those of them that are true, the
    truth's, and those of these that were found.
    """

    shown: int
    true: int
    real: int
    found: int

    @property
    def precision(self) -> float:
        """Share of the shown that are true; 1 where nothing is shown."""
        return self.true / self.shown if self.shown else 1.0

    @property
    def recall(self) -> float:
        """Share of the real that are found; 1 where there is nothing to find."""
        return self.found / self.real if self.real else 1.0

    def __add__(self, other: Points) -> Points:
        return Points(
            self.shown + other.shown,
            self.true + other.true,
            self.real + other.real,
            self.found + other.found,
        )


def points(image: NDArray[np.generic], truth: NDArray[np.generic], blobs: Sequence[Blob]) -> Points:
    """Compare local maxima in small blobs with the truth's.

    Parameters
    ----------
    image, truth : (R, C) or (R, C, 3) uint8 or float32 ndarray
        A restoration, or the capture, and the sharp scene.
    blobs : sequence of Blob
        Of the capture; those wider than 4.5 px are left out.

    Returns
    -------
    Points
        Maxima over 0.6 of the height within 6 px count as shown, as true within 1.5 px of one of
        the truth's over 0.4; those of the truth over 0.6 count as real, and as found within 1.5 px
        of one that is shown.
    """
    pictures = [luma_of(image), luma_of(truth)]
    tops = [maxima(picture) for picture in pictures]
    total = Points(0, 0, 0, 0)
    for blob in blobs:
        if blob.half_width > POINT_HALF_WIDTH_PX:
            continue
        shown = _near(pictures[0], tops[0], blob, _POINT_LEVEL)
        allowed = _near(pictures[1], tops[1], blob, _TRUE_LEVEL)
        real = _near(pictures[1], tops[1], blob, _POINT_LEVEL)
        total += Points(len(shown), _matched(shown, allowed), len(real), _matched(real, shown))
    return total


def _rings(luma: FloatArray, row: int, column: int, radii: FloatArray) -> FloatArray:
    """Samples on circles around a place, (radii, 48)."""
    return sample(
        luma,
        row + radii[:, None] * np.sin(_ANGLES),
        column + radii[:, None] * np.cos(_ANGLES),
    )


def _near(luma: FloatArray, tops: NDArray[np.intp], blob: Blob, level: float) -> NDArray[np.intp]:
    """Maxima within the reach of a blob that are over a share of its height in this picture."""
    distance = np.hypot(tops[:, 0] - blob.row, tops[:, 1] - blob.column)
    near = tops[distance <= _POINT_REACH_PX]
    if not len(near):
        return near
    heights = luma[near[:, 0], near[:, 1]] - blob.background
    return np.asarray(near[heights > level * heights.max()])


def _matched(of: NDArray[np.intp], to: NDArray[np.intp]) -> int:
    """How many of the first lie near one of the second."""
    if not len(of) or not len(to):
        return 0
    distance = np.linalg.norm(of[:, None].astype(float) - to[None].astype(float), axis=2)
    return int((distance.min(axis=1) <= _POINT_NEAR_PX).sum())
