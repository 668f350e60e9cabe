"""Radiometry: the capture in the reference's values, and what does not belong to the scene.

Two instruments with different bands, exposures and encodings see one scene. Per band,
``x = offset + gain * y^gamma`` maps the capture's values onto the blurred reference's; it is fitted
with a Cauchy loss, so that cloud and change do not pull it. What then still disagrees over an area
larger than a speck is masked, and called cloud where it is brighter than the scene and grey.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration.extras import require
from imagine_deblur.errors import CalibrationError
from imagine_deblur.support.colour import LUMA_WEIGHTS

FloatImage = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

SATURATED = 0.985
_SAMPLES = 12000
_SMOOTH_PX = 2.0
_SPECK_PX = 5
_OUTLIER_SIGMAS = 6.0
_OUTLIER_FLOOR = 0.05
_GREY = 0.12


@dataclass(frozen=True)
class BandMap:
    """``x = offset + gain * y^gamma`` of one band; values full scale 1."""

    gain: float
    gamma: float
    offset: float

    def __call__(self, values: FloatImage) -> FloatImage:
        curved = np.power(np.maximum(values, np.float32(1e-4)), np.float32(self.gamma))
        return np.asarray(np.float32(self.offset) + np.float32(self.gain) * curved)


@dataclass(frozen=True, eq=False)
class Radiometry:
    """A capture in the reference's radiometry.

    Attributes
    ----------
    image : (R, C, 3) float32 ndarray
    maps : tuple of BandMap
        Red, green, blue.
    usable : (R, C) bool ndarray
        Seen by both, not saturated, no cloud, no change.
    cloud : float
        Share of the common area that is cloud, or other grey bright change.
    changed : float
        Share of the common area that disagrees for any reason, cloud included.
    residual : float
        Robust standard deviation of what remains, full scale 1.
    """

    image: FloatImage
    maps: tuple[BandMap, ...]
    usable: Mask
    cloud: float
    changed: float
    residual: float


def match(capture: FloatImage, expected: FloatImage, inside: Mask, grow_px: int) -> Radiometry:
    """Fit the radiometry and find what does not belong to the scene.

    Parameters
    ----------
    capture, expected : (R, C, 3) float32 ndarray, [0, 1]
        A capture, and the reference in the same geometry, blurred alike.
    inside : (R, C) bool ndarray
        Where the reference holds data.
    grow_px : int
        How far a spot that disagrees reaches: the PSF's support.

    Raises
    ------
    CalibrationError
        Too little common area, or a band that does not follow the reference.
    """
    cv2 = require("cv2")
    smooth = {"ksize": (0, 0), "sigmaX": _SMOOTH_PX, "borderType": cv2.BORDER_REFLECT_101}
    y, x = cv2.GaussianBlur(capture, **smooth), cv2.GaussianBlur(expected, **smooth)
    saturated = (capture >= SATURATED).any(axis=2) | (expected >= SATURATED).any(axis=2)
    kernel = np.ones((3, 3), dtype=np.uint8)
    clipped = cv2.morphologyEx(saturated.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
    common = inside & ~clipped
    if common.mean() < 0.05:
        raise CalibrationError(
            f"too little overlap: {100 * common.mean():.0f} % of the capture lies unsaturated in"
            " the reference",
            residual=float(common.mean()),
        )
    rows, columns = np.nonzero(common)
    step = max(1, rows.size // _SAMPLES)
    chosen = rows[::step], columns[::step]
    maps = tuple(fit_band(y[chosen][:, b], x[chosen][:, b]) for b in range(3))
    image = np.stack([maps[b](capture[..., b]) for b in range(3)], axis=2)
    smoothed = np.stack([maps[b](y[..., b]) for b in range(3)], axis=2)
    difference = smoothed - x
    luma = difference @ LUMA_WEIGHTS
    spread = 1.4826 * float(np.median(np.abs(luma[common] - np.median(luma[common]))))
    limit = max(_OUTLIER_SIGMAS * spread, _OUTLIER_FLOOR)
    size = np.ones((_SPECK_PX, _SPECK_PX), dtype=np.uint8)
    odd = cv2.morphologyEx((np.abs(luma) > limit).astype(np.uint8), cv2.MORPH_OPEN, size)
    grey = capture.max(axis=2) - capture.min(axis=2) < _GREY
    cloudy = (odd > 0) & (luma > 0.0) & grey
    reach = 2 * grow_px + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    excluded = cv2.dilate(((odd > 0) | clipped).astype(np.uint8), disk) > 0
    usable = inside & ~excluded
    area = max(int(inside.sum()), 1)
    return Radiometry(
        image.astype(np.float32),
        maps,
        usable,
        float((cloudy & inside).sum() / area),
        float(((odd > 0) & inside).sum() / area),
        spread,
    )


def fit_band(y: FloatImage, x: FloatImage) -> BandMap:
    """Fit ``x = offset + gain * y^gamma`` to samples with a Cauchy loss."""
    least_squares = require("scipy.optimize").least_squares
    value = np.maximum(y.astype(np.float64), 1e-4)
    target = x.astype(np.float64)
    spread_y, spread_x = _spread(value), _spread(target)
    if spread_y < 1e-3 or spread_x < 1e-3:
        raise CalibrationError(
            "flat: a band of the capture or of the reference shows no structure",
            residual=min(spread_y, spread_x),
        )
    gain = spread_x / spread_y
    start = (gain, 1.0, float(np.median(target) - gain * np.median(value)))

    def residual(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(p[2] + p[0] * value ** p[1] - target)

    fitted = least_squares(
        residual,
        start,
        bounds=([0.05, 0.3, -2.0], [20.0, 3.0, 2.0]),
        loss="cauchy",
        f_scale=0.25 * spread_x,
        x_scale=[gain, 1.0, 0.1],
    )
    fitted = least_squares(
        residual,
        fitted.x,
        bounds=([0.05, 0.3, -2.0], [20.0, 3.0, 2.0]),
        loss="cauchy",
        f_scale=max(2.0 * float(np.median(np.abs(fitted.fun))), 2e-3),
        x_scale=[gain, 1.0, 0.1],
    )
    return BandMap(float(fitted.x[0]), float(fitted.x[1]), float(fitted.x[2]))


def _spread(values: npt.NDArray[np.float64]) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
