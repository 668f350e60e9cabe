"""Calibration: views, homographies and the simulated instrument."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur.calibration import (
    geometry,
    simulate,
)
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import CalibrationError
from imagine_deblur.psf import PSF, Disk, Gaussian
from synthetic import natural

pytest.importorskip("cv2", reason="the extra [geo] is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra [geo] is not installed")
ndimage = pytest.importorskip("scipy.ndimage", reason="the extra [geo] is not installed")

# ---- geometry ---------------------------------------------------------------------------------


def test_a_view_is_read_back() -> None:
    shape = (300, 400)
    plain = simulate.view(shape, 3.9, 25.0, 0.0, 0.0, (800.0, 700.0))
    seen = geometry.describe(plain, shape, 10.0)
    assert seen.gsd_m == pytest.approx(39.0)
    assert seen.rotation_deg == pytest.approx(25.0)
    assert seen.anisotropy == pytest.approx(1.0)
    assert not seen.mirrored
    centre = geometry.project(plain, np.array([[199.5, 149.5]]))
    np.testing.assert_allclose(centre, [[800.0, 700.0]])
    tilted = geometry.describe(
        simulate.view(shape, 3.9, 0.0, 20.0, 40.0, (800.0, 700.0)), shape, 10.0
    )
    assert tilted.gsd_m == pytest.approx(39.0, rel=1e-6)
    assert tilted.anisotropy == pytest.approx(1.0 / np.cos(np.deg2rad(20.0)), rel=1e-6)


def test_the_jacobian_is_the_derivative() -> None:
    view = simulate.view((300, 400), 3.9, 77.0, 25.0, 10.0, (800.0, 700.0))
    at = np.array([31.0, 250.0])
    step = 1e-4
    numeric = np.column_stack(
        [
            (geometry.project(view, (at + d)[None]) - geometry.project(view, (at - d)[None]))[0]
            / (2 * step)
            for d in (np.array([step, 0.0]), np.array([0.0, step]))
        ]
    )
    np.testing.assert_allclose(geometry.jacobian(view, (31.0, 250.0)), numeric, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (np.diag([-1.0, 1.0, 1.0]), "mirrored"),
        (np.diag([1.2, 1.2, 1.0]), "GSD"),
        (np.diag([1.4, 1 / 1.4, 1.0]), "axes"),
        (np.array([[1.0, 0, 0], [0, 1.0, 0], [8e-4, 0, 1.0]]), "GSD|over the frame"),
    ],
)
def test_impossible_geometries_are_named(change: NDArray[np.float64], reason: str) -> None:
    shape = (300, 400)
    view = simulate.view(shape, 3.9, 25.0, 3.0, 0.0, (800.0, 700.0))
    geometry.check(geometry.describe(view, shape, 10.0), (37.0, 41.0))
    with pytest.raises(CalibrationError, match=reason):
        geometry.check(geometry.describe(view @ change, shape, 10.0), (37.0, 41.0))


def test_the_distance_of_homographies_is_in_capture_pixels() -> None:
    view = simulate.view((300, 400), 3.9, 25.0, 3.0, 0.0, (800.0, 700.0))
    moved = view @ np.array([[1.0, 0, 0.3], [0, 1.0, -0.4], [0, 0, 1.0]])
    assert geometry.distance(view, moved, (300, 400)) == pytest.approx(0.5)


# ---- the simulated instrument -----------------------------------------------------------------


def test_a_simulated_capture_samples_the_scene_where_its_homography_says() -> None:
    """Against scipy's spline interpolation of the blurred scene, without tilt."""
    ground = blur(natural(700, 700, 1), PSF((Gaussian(3.0),)))
    shape = (60, 80)
    view = simulate.view(shape, 3.9, 33.0, 0.0, 0.0, (350.0, 340.0))
    psf = PSF.defocus(2.0)
    truth = simulate.capture_of(
        ground,
        view,
        shape,
        psf,
        np.random.default_rng(0),
        noise=0.0,
        jpeg_quality=None,
        radiometry=False,
    )
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    points = geometry.project(view, np.column_stack([columns.ravel(), rows.ravel()]).astype(float))
    scaled = PSF((Disk(2.0 * 3.9), Gaussian(0.5 * 3.9)))
    soft = blur(ground, scaled)
    for band in range(3):
        expected = ndimage.map_coordinates(soft[..., band], points[:, ::-1].T, order=3)
        difference = truth.capture[..., band].ravel() / 255.0 - np.clip(expected, 0, 1)
        assert np.abs(difference).max() < 1.5 / 255.0
