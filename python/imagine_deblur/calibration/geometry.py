"""Homographies from captures to the reference: what they say, and whether they can be true.

A homography maps (column, row, 1) of the capture to the reference's, pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import CalibrationError

FloatArray = npt.NDArray[np.float64]

MAX_ANISOTROPY = 1.35
"""Ratio of the two scales of an oblique view: 42 degrees from nadir."""
MAX_SCALE_SPREAD = 0.35
"""Relative change of the scale from corner to corner."""
GSD_TOLERANCE = 0.03
"""By how much the GSD found may leave the range that was given."""


@dataclass(frozen=True)
class Geometry:
    """How a capture lies over the reference.

    Attributes
    ----------
    gsd_m : float
        Geometric mean of the two axes' ground sample distances at the centre, metres per px.
    rotation_deg : float
        Direction of the capture's column axis in the reference, counter-clockwise as displayed,
        in (-180, 180].
    anisotropy : float
        Greater over smaller ground sample distance at the centre, 1 or more.
    scale_spread : float
        Greatest over smallest scale in the four corners, less 1.
    mirrored : bool
    """

    gsd_m: float
    rotation_deg: float
    anisotropy: float
    scale_spread: float
    mirrored: bool


def project(homography: FloatArray, points: FloatArray) -> FloatArray:
    """Map (n, 2) points (column, row)."""
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])


def jacobian(homography: FloatArray, point: tuple[float, float]) -> FloatArray:
    """(2, 2) derivative of `project` at (column, row)."""
    x, y, w = homography @ np.array([point[0], point[1], 1.0])
    outer = np.outer([x / w, y / w], homography[2, :2])
    return np.asarray((homography[:2, :2] - outer) / w)


def grid(rows: int, columns: int, count: int = 9) -> FloatArray:
    """(count^2, 2) points (column, row) spread over a frame, its border included."""
    x, y = np.meshgrid(np.linspace(0, columns - 1, count), np.linspace(0, rows - 1, count))
    return np.column_stack([x.ravel(), y.ravel()]).astype(np.float64)


def describe(homography: FloatArray, shape: tuple[int, int], gsd_m: float) -> Geometry:
    """Read a homography.

    Parameters
    ----------
    homography : (3, 3) float64 ndarray
    shape : (int, int)
        Rows and columns of the capture.
    gsd_m : float
        Metres per px of the reference.
    """
    rows, columns = shape
    centre = jacobian(homography, (0.5 * (columns - 1), 0.5 * (rows - 1)))
    scales = np.linalg.svd(centre, compute_uv=False)
    determinant = float(np.linalg.det(centre))
    corners = [
        float(np.sqrt(abs(np.linalg.det(jacobian(homography, (x, y))))))
        for x in (0.0, columns - 1.0)
        for y in (0.0, rows - 1.0)
    ]
    return Geometry(
        gsd_m=float(np.sqrt(abs(determinant)) * gsd_m),
        rotation_deg=float(np.rad2deg(np.arctan2(-centre[1, 0], centre[0, 0]))),
        anisotropy=float(scales[0] / max(scales[1], 1e-12)),
        scale_spread=float(max(corners) / max(min(corners), 1e-12) - 1.0),
        mirrored=determinant < 0.0,
    )


def problem(geometry: Geometry, gsd_range: tuple[float, float]) -> str | None:
    """Why a geometry cannot be true, in words; None where it can."""
    low, high = gsd_range[0] * (1.0 - GSD_TOLERANCE), gsd_range[1] * (1.0 + GSD_TOLERANCE)
    if geometry.mirrored:
        return "the capture would be mirrored"
    if not low <= geometry.gsd_m <= high:
        return f"its GSD would be {geometry.gsd_m:.2f} m, outside {low:.1f} to {high:.1f} m"
    if not geometry.anisotropy <= MAX_ANISOTROPY:
        return f"its scales along two axes would differ {geometry.anisotropy:.2f}-fold"
    if not geometry.scale_spread <= MAX_SCALE_SPREAD:
        return f"its scale would change by {100 * geometry.scale_spread:.0f} % over the frame"
    return None


def check(geometry: Geometry, gsd_range: tuple[float, float]) -> None:
    """Refuse an impossible geometry with `CalibrationError`."""
    reason = problem(geometry, gsd_range)
    if reason is not None:
        raise CalibrationError(f"bad geometry: {reason}", residual=geometry.gsd_m)


def distance(first: FloatArray, second: FloatArray, shape: tuple[int, int]) -> float:
    """Root mean square distance of two homographies over a frame, in px of the capture."""
    points = grid(*shape)
    inverse = np.asarray(np.linalg.inv(first), dtype=np.float64)
    offset = project(inverse, project(second, points)) - points
    return float(np.sqrt(np.mean(np.sum(offset**2, axis=1))))
