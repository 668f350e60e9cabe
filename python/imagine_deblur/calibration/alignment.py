"""Fine registration: the reference seen through the current geometry and PSF, moved until it fits.

Both sides look alike once the reference is blurred by the current PSF, so intensities can be
compared directly: OpenCV's enhanced correlation coefficient (Evangelidis & Psarakis 2008) finds the
homography, on pictures freed of their low frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration.extras import require
from imagine_deblur.calibration.reference import Reference
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import CalibrationError
from imagine_deblur.psf.models import PSF

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

OVERSAMPLING = 2
"""Samples of the seen reference per capture px along each axis: no alias below 1 cycle/px."""
_HIGH_PASS_PX = 8.0
_ITERATIONS, _EPSILON = 60, 1e-7


@dataclass(frozen=True, eq=False)
class View:
    """The reference as a perfect instrument would see it from the capture's place.

    Attributes
    ----------
    fine : (2 R, 2 C, 3) float32 ndarray
        Sample (i, j) lies at the capture's (i / 2, j / 2).
    sharp : (R, C, 3) float32 ndarray
        On the capture's grid, slightly smoothed (Gaussian, about half a px) against aliasing.
    inside : (R, C) bool ndarray
        Where the reference holds data.
    """

    fine: FloatImage
    sharp: FloatImage
    inside: Mask


def see(reference: Reference, homography: FloatArray, shape: tuple[int, int]) -> View:
    """Sample the reference on a capture's grid.

    Parameters
    ----------
    reference : Reference
    homography : (3, 3) float64 ndarray
        Capture to `reference.image`.
    shape : (int, int)
        Rows and columns of the capture.
    """
    cv2 = require("cv2")
    size = (OVERSAMPLING * shape[1], OVERSAMPLING * shape[0])
    halve = np.diag([1.0 / OVERSAMPLING, 1.0 / OVERSAMPLING, 1.0])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    fine = cv2.warpPerspective(
        reference.image, homography @ halve, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    covered = cv2.warpPerspective(
        reference.valid.astype(np.uint8),
        homography,
        (shape[1], shape[0]),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    sharp = cv2.pyrDown(fine, dstsize=(shape[1], shape[0]))
    return View(np.asarray(fine), np.asarray(sharp), covered > 0)


def blurred(view: View, psf: PSF) -> FloatImage:
    """What the capture should look like: the view through a PSF, (R, C, 3) float32."""
    return blur(view.sharp, psf)


def high_pass(plane: FloatImage, mask: Mask) -> FloatImage:
    """A plane less its local mean over the mask, 0 outside it."""
    cv2 = require("cv2")
    weight = mask.astype(np.float32)
    options = {"ksize": (0, 0), "sigmaX": _HIGH_PASS_PX, "borderType": cv2.BORDER_REFLECT_101}
    share = cv2.GaussianBlur(weight, **options)
    mean = cv2.GaussianBlur(plane * weight, **options) / np.maximum(share, np.float32(1e-3))
    return np.asarray((plane - mean) * weight, dtype=np.float32)


def refine(
    homography: FloatArray, capture: FloatImage, expected: FloatImage, mask: Mask
) -> tuple[FloatArray, float]:
    """Move a homography until the capture and what is expected of it agree.

    Parameters
    ----------
    homography : (3, 3) float64 ndarray
        The one `expected` was seen through.
    capture, expected : (R, C) float32 ndarray
        Luma in the same radiometry.
    mask : (R, C) bool ndarray
        Pixels to compare.

    Returns
    -------
    homography : (3, 3) float64 ndarray
    correlation : float
        The enhanced correlation coefficient reached, at most 1.

    Raises
    ------
    CalibrationError
        The two cannot be brought together.
    """
    cv2 = require("cv2")
    template, moved = high_pass(expected, mask), high_pass(capture, mask)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _ITERATIONS, _EPSILON)
    try:
        correlation, warp = cv2.findTransformECC(
            template,
            moved,
            np.eye(3, dtype=np.float32),
            cv2.MOTION_HOMOGRAPHY,
            criteria,
            mask.astype(np.uint8),
            5,
        )
    except cv2.error as error:
        raise CalibrationError(
            "registration failed: the capture does not correlate with what is expected of it"
        ) from error
    step = np.asarray(warp, dtype=np.float64)
    if not np.isfinite(step).all():
        raise CalibrationError("registration failed: it does not converge")
    # expected(p) matches capture(step p), so the capture's q lies at homography(step^-1 q).
    result = homography @ np.linalg.inv(step)
    return result / result[2, 2], float(correlation)
