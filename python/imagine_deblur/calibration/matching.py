"""Coarse registration: features, mutual matches, a robust homography.

Features (SIFT; Lowe 2004, with the square-root normalisation of Arandjelovic & Zisserman 2012) and
the robust estimate (MAGSAC; Barath et al. 2019) are OpenCV's. A blurred capture matches a sharp
reference poorly. So the capture is first restored with the PSF at hand and matched with the sharp
reference; then, if that is not enough, the capture as it is is matched with the reference blurred
by the same PSF, and both pools are used together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration import geometry
from imagine_deblur.calibration.extras import require
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import CalibrationError
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.wiener import wiener

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

MIN_INLIERS = 8
"""Fewer matches that agree on one homography are refused."""
_ENOUGH = 60
_RATIO = 0.85
_THRESHOLD_PX = 2.5
_CAPTURE_FEATURES, _REFERENCE_FEATURES = 6000, 24000
_NSR = 0.02


@dataclass(frozen=True, eq=False)
class Match:
    """A capture found in a reference.

    Attributes
    ----------
    homography : (3, 3) float64 ndarray
        Capture to reference at the sampling that was matched.
    inliers : int
        Matches that agree with it.
    candidates : int
        Mutual matches in all.
    """

    homography: FloatArray
    inliers: int
    candidates: int


@dataclass(frozen=True, eq=False)
class Features:
    """Key points (n, 2) as (column, row) and their descriptors (n, 128) float32."""

    points: FloatArray
    descriptors: FloatImage


def detect(luma: FloatImage, limit: int, mask: npt.NDArray[np.bool_] | None = None) -> Features:
    """SIFT features of a (R, C) picture, stretched between its 0.5th and 99.5th percentiles."""
    cv2 = require("cv2")
    low, high = np.percentile(luma[::3, ::3], (0.5, 99.5))
    scaled = np.clip((luma - low) * (255.0 / max(high - low, 1e-6)), 0.0, 255.0).astype(np.uint8)
    sift = cv2.SIFT_create(nfeatures=limit, contrastThreshold=0.008, edgeThreshold=12)
    chosen = None if mask is None else mask.astype(np.uint8)
    keys, descriptors = sift.detectAndCompute(scaled, chosen)
    if not keys:
        return Features(np.empty((0, 2)), np.empty((0, 128), dtype=np.float32))
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return Features(np.array([k.pt for k in keys]), np.sqrt(descriptors / total).astype(np.float32))


def mutual(capture: Features, reference: Features) -> tuple[FloatArray, FloatArray]:
    """Pairs that are each other's nearest, and much nearer than the second nearest."""
    cv2 = require("cv2")
    if len(capture.points) < 2 or len(reference.points) < 2:
        return np.empty((0, 2)), np.empty((0, 2))
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    forward = matcher.knnMatch(capture.descriptors, reference.descriptors, k=2)
    back = {
        m[0].queryIdx: m[0].trainIdx
        for m in matcher.knnMatch(reference.descriptors, capture.descriptors, k=1)
    }
    pairs = [
        (a.queryIdx, a.trainIdx)
        for a, b in forward
        if a.distance < _RATIO * b.distance and back.get(a.trainIdx) == a.queryIdx
    ]
    if not pairs:
        return np.empty((0, 2)), np.empty((0, 2))
    left, right = np.array(pairs).T
    return capture.points[left], reference.points[right]


def find(
    capture: FloatImage,
    reference: FloatImage,
    psf: PSF,
    *,
    shape_gsd_m: float,
    gsd_range: tuple[float, float],
    valid: npt.NDArray[np.bool_],
) -> Match:
    """Find a capture in a reference of nearly the same sampling.

    Parameters
    ----------
    capture, reference : (R, C) float32 ndarray
        Luma in [0, 1].
    psf : PSF
        The capture's blur as far as it is known.
    shape_gsd_m : float
        Metres per px of `reference`.
    gsd_range : (float, float)
        What the capture's may be.
    valid : (R, C) bool ndarray
        Where the reference holds data.

    Raises
    ------
    CalibrationError
        Too few matches agree, or what they agree on cannot be true.
    """
    restored = np.clip(wiener(capture, psf, _NSR), 0.0, 1.0)
    sharp = detect(reference, _REFERENCE_FEATURES, valid)
    pools = [mutual(detect(restored, _CAPTURE_FEATURES), sharp)]
    match = _agree(pools, capture.shape, shape_gsd_m, gsd_range)
    if match is None or match.inliers < _ENOUGH:
        alike = blur(reference, psf)
        pools.append(
            mutual(detect(capture, _CAPTURE_FEATURES), detect(alike, _REFERENCE_FEATURES, valid))
        )
        match = _agree(pools, capture.shape, shape_gsd_m, gsd_range)
    if match is None:
        count = sum(len(pool[0]) for pool in pools)
        raise CalibrationError(
            f"too few matches: {count} pairs of features, but no {MIN_INLIERS} of them agree on a"
            f" view at {gsd_range[0]:g} to {gsd_range[1]:g} m per px; is the reference of this"
            " place?",
            residual=float(count),
        )
    return match


def _agree(
    pools: list[tuple[FloatArray, FloatArray]],
    shape: tuple[int, ...],
    gsd_m: float,
    gsd_range: tuple[float, float],
) -> Match | None:
    cv2 = require("cv2")
    left = np.concatenate([pool[0] for pool in pools])
    right = np.concatenate([pool[1] for pool in pools])
    if len(left) < MIN_INLIERS:
        return None
    rows, columns = int(shape[0]), int(shape[1])
    best: Match | None = None
    for affine in (False, True):
        cv2.setRNGSeed(1)
        if affine:
            found, inside = cv2.estimateAffine2D(
                left,
                right,
                method=cv2.RANSAC,
                ransacReprojThreshold=2 * _THRESHOLD_PX,
                maxIters=20000,
                confidence=0.9999,
            )
            homography = None if found is None else np.vstack([found, [0.0, 0.0, 1.0]])
        else:
            homography, inside = cv2.findHomography(
                left, right, cv2.USAC_MAGSAC, _THRESHOLD_PX, maxIters=20000, confidence=0.9999
            )
        if homography is None or not np.isfinite(homography).all():
            continue
        homography = np.asarray(homography, dtype=np.float64)
        count = int(inside.sum())
        described = geometry.describe(homography, (rows, columns), gsd_m)
        if count < MIN_INLIERS or geometry.problem(described, gsd_range) is not None:
            continue
        if best is None or count > 1.2 * best.inliers:
            best = Match(homography, count, len(left))
    return best
