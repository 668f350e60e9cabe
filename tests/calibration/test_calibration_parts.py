"""The parts of calibration against closed forms and independent implementations."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imagine_deblur.calibration import (
    alignment,
    blocks,
    encoding,
    families,
    fit,
    geometry,
    radiometry,
    read_reference,
    sentinel2,
    simulate,
    spectrum,
)
from imagine_deblur.calibration.fixed_point import FixedPoint
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import CalibrationError
from imagine_deblur.psf import PSF, Disk, Gaussian
from synthetic import natural

pytest.importorskip("cv2", reason="the extra [geo] is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra [geo] is not installed")
warp = pytest.importorskip("rasterio.warp", reason="the extra [geo] is not installed")
fft = pytest.importorskip("scipy.fft", reason="the extra [geo] is not installed")
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


# ---- reference --------------------------------------------------------------------------------


def write_raster(path: Path, image: NDArray[np.generic], **profile: object) -> None:
    options: dict[str, object] = {
        "driver": "GTiff",
        "height": image.shape[0],
        "width": image.shape[1],
        "count": image.shape[2],
        "dtype": image.dtype.name,
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0),
        **profile,
    }
    with rasterio.open(path, "w", **options) as raster:
        raster.write(np.moveaxis(image, -1, 0))


def picture(rows: int = 120, columns: int = 90) -> NDArray[np.uint8]:
    return (natural(rows, columns, 5) * 250 + 1).astype(np.uint8)


def test_a_geotiff_is_reduced_by_its_own_sampling(tmp_path: Path) -> None:
    image = picture()
    image[:7, :5] = 0
    write_raster(tmp_path / "s2.tif", image)
    found = read_reference(tmp_path / "s2.tif")
    assert (found.gsd_m, found.factor, found.working_gsd_m) == (10.0, 2, 20.0)
    expected = image.reshape(60, 2, 45, 2, 3).mean(axis=(1, 3)) / 255.0
    np.testing.assert_allclose(found.image, expected, atol=1e-6)
    assert not found.valid[:4, :3].any()
    assert found.valid[4:].all()
    assert found.crs == "EPSG:32633"
    # The centre of working px (0, 0) is the corner between source px 0 and 1.
    np.testing.assert_allclose(found.to_source @ [0.0, 0.0, 1.0], [0.5, 0.5, 1.0])


def test_a_window_about_a_position(tmp_path: Path) -> None:
    image = picture(400, 400)
    write_raster(tmp_path / "s2.tif", image)
    easting, northing = 500_000.0 + 10.0 * 250, 4_600_000.0 - 10.0 * 150
    longitude, latitude = warp.transform("EPSG:32633", "EPSG:4326", [easting], [northing])
    found = read_reference(tmp_path / "s2.tif", centre=(latitude[0], longitude[0]), extent_km=1.0)
    assert found.image.shape == (50, 50, 3)
    top, left = found.origin
    assert abs(top - 100) <= 1
    assert abs(left - 200) <= 1
    part = image[top : top + 100, left : left + 100].reshape(50, 2, 50, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found.image, part / 255.0, atol=1e-6)
    with pytest.raises(CalibrationError, match="outside"):
        read_reference(tmp_path / "s2.tif", centre=(10.0, 10.0), extent_km=1.0)


def test_what_is_no_reference_is_refused(tmp_path: Path) -> None:
    image = picture()
    write_raster(
        tmp_path / "degrees.tif",
        image,
        crs="EPSG:4326",
        transform=rasterio.Affine(1e-4, 0.0, 15.0, 0.0, -1e-4, 41.0),
    )
    with pytest.raises(CalibrationError, match="degrees"):
        read_reference(tmp_path / "degrees.tif")
    write_raster(tmp_path / "grey.tif", image[..., :1])
    with pytest.raises(CalibrationError, match="red, green and blue"):
        read_reference(tmp_path / "grey.tif")
    with pytest.raises(FileNotFoundError):
        read_reference(tmp_path / "absent.tif")
    with pytest.raises(CalibrationError, match="coarser"):
        read_reference(image, gsd_m=60.0)
    (tmp_path / "empty.SAFE").mkdir()
    with pytest.raises(CalibrationError, match="no true-colour image"):
        read_reference(tmp_path / "empty.SAFE")
    (tmp_path / "notes.txt").write_text("no raster")
    with pytest.raises(CalibrationError, match="not a raster"):
        read_reference(tmp_path / "notes.txt")


@pytest.mark.parametrize("level", ["1C", "2A"])
def test_a_safe_folder(tmp_path: Path, level: str) -> None:
    image = picture()
    folder = tmp_path / "S2A.SAFE" / "GRANULE" / "L1C_T33" / "IMG_DATA"
    name = "T33_20240212_TCI.jp2"
    if level == "2A":
        folder, name = folder / "R10m", "T33_20240212_TCI_10m.jp2"
    folder.mkdir(parents=True)
    write_raster(
        folder / name, image, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES", YCBCR420="NO"
    )
    found = read_reference(tmp_path / "S2A.SAFE")
    expected = image.reshape(60, 2, 45, 2, 3).mean(axis=(1, 3)) / 255.0
    np.testing.assert_allclose(found.image, expected, atol=2 / 255)
    assert found.gsd_m == 10.0


def test_single_bands_of_a_safe_folder(tmp_path: Path) -> None:
    folder = tmp_path / "S2A.SAFE" / "GRANULE" / "L1C_T33" / "IMG_DATA"
    folder.mkdir(parents=True)
    image = picture().astype(np.uint16) * 12
    for band, name in enumerate(("B04", "B03", "B02")):
        write_raster(
            folder / f"T33_{name}.jp2",
            image[..., band : band + 1],
            driver="JP2OpenJPEG",
            QUALITY=100,
            REVERSIBLE="YES",
        )
    found = read_reference(tmp_path / "S2A.SAFE")
    expected = image.reshape(60, 2, 45, 2, 3).mean(axis=(1, 3)).astype(np.float64)
    scale = expected.mean() / found.image.mean()
    unclipped = (found.image < 1.0).all(axis=2)
    np.testing.assert_allclose(found.image[unclipped] * scale, expected[unclipped], rtol=0.02)


def test_the_reference_transfer_function_is_what_reading_does() -> None:
    """A wave through sensor blur and averaging keeps the share the formula says."""
    frequency = 0.11  # cycles per source px
    columns = np.arange(800)
    wave = np.tile(0.5 + 0.3 * np.cos(2 * np.pi * frequency * columns), (64, 1))
    sigma = float(np.sqrt(-2.0 * np.log(0.22)) / np.pi)
    seen = blur(wave.astype(np.float32), PSF((Gaussian(sigma),)))
    source = np.repeat(seen[..., None], 3, axis=2)
    found = read_reference(source, gsd_m=10.0, mtf_nyquist=0.22)
    row = found.image[16, 20:380, 0].astype(np.float64)
    position = 2 * np.arange(20, 380) + 0.5
    basis = np.exp(-2j * np.pi * frequency * position)
    design = np.column_stack([np.ones(360), basis.real, basis.imag])
    _, a, b = np.linalg.lstsq(design, row, rcond=None)[0]
    transfer = found.transfer(np.zeros(1), np.array([2 * frequency]))
    assert np.hypot(a, b) / 0.3 == pytest.approx(transfer[0], abs=2e-4)


def test_sentinel_2s_mtf_lies_in_its_requirement() -> None:
    low, high = sentinel2.MTF_NYQUIST_RANGE
    found = read_reference(picture())
    assert low < found.mtf_nyquist < high
    working = found.transfer(np.zeros(1), np.array([0.5]))  # a quarter cycle per source px
    assert working[0] == pytest.approx(found.mtf_nyquist**0.25 * np.cos(np.pi / 4), rel=1e-6)


# ---- radiometry -------------------------------------------------------------------------------


def test_gain_gamma_and_offset_survive_a_fifth_of_outliers() -> None:
    rng = np.random.default_rng(2)
    y = rng.uniform(0.05, 0.8, 6000).astype(np.float32)
    x = (0.05 + 0.9 * y**1.3 + rng.normal(0, 0.004, y.size)).astype(np.float32)
    x[::5] = rng.uniform(0.0, 0.3, x[::5].size)
    found = radiometry.fit_band(y, x)
    grid = np.linspace(0.1, 0.75, 20, dtype=np.float32)
    np.testing.assert_allclose(found(grid), 0.05 + 0.9 * grid**1.3, atol=0.004)


def test_cloud_is_masked_and_counted() -> None:
    truth = 0.6 * natural(200, 260, 7)
    capture = np.clip(0.1 + 0.75 * truth, 0, 1).astype(np.float32)
    capture[60:110, 80:150] = 0.93
    found = radiometry.match(capture, truth, np.ones(truth.shape[:2], bool), 5)
    assert not found.usable[55:115, 75:155].any()
    assert found.usable.mean() > 0.6
    area = 50 * 70 / (200 * 260)
    assert found.cloud == pytest.approx(area, rel=0.35)
    clear = found.usable
    assert np.abs(found.image[clear] - truth[clear]).mean() < 0.01


# ---- encoding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [50, 75, 85])
def test_the_luma_roundtrip_is_what_a_jpeg_codec_does(quality: int) -> None:
    """The same coefficients, but where a codec's integer transform rounds a tie the other way."""
    plane = natural(64, 80, 4)[..., 1]
    grey = Image.fromarray((plane * 255 + 0.5).astype(np.uint8))
    file = io.BytesIO()
    grey.save(file, "JPEG", quality=quality)
    with Image.open(file) as coded:
        table = np.asarray(coded.quantization[0], dtype=np.float64).reshape(8, 8)
        expected = np.asarray(coded, dtype=np.float64)
    found = encoding.luma_roundtrip(plane, table).astype(np.float64) * 255
    difference = (found - expected).reshape(8, 8, 10, 8)
    steps = fft.dctn(difference, axes=(1, 3), norm="ortho") / table[None, :, None, :]
    assert (np.abs(steps) < 0.5).mean() > 0.99
    assert np.abs(found - expected).mean() < 0.6


def test_frames_that_are_no_multiple_of_8_keep_their_size() -> None:
    plane = natural(61, 83, 4)[..., 1]
    found = encoding.luma_roundtrip(plane, np.ones((8, 8)))
    assert found.shape == plane.shape
    np.testing.assert_allclose(found, plane, atol=2.1 / 255)


def test_noise_carries_detail_over_the_quantisation_steps() -> None:
    plane = (0.5 + 0.006 * np.cos(0.9 * np.arange(256)))[None, :].repeat(64, 0).astype(np.float32)
    table = np.full((8, 8), 24.0)

    def kept(noise: float) -> float:
        error = encoding.mean_error(plane, table, noise)
        left = plane + error - 0.5
        return float((left * (plane - 0.5)).sum() / ((plane - 0.5) ** 2).sum())

    assert kept(0.0) < 0.2
    assert kept(0.06) > kept(0.0) + 0.2


# ---- spectra and fit --------------------------------------------------------------------------


def test_seen_through_filters_and_samples_exactly() -> None:
    fy, fx = 0.05, 0.125
    y, x = np.mgrid[:400, :480] / 2.0
    fine = np.cos(2 * np.pi * (fy * y + fx * x)).astype(np.float32)
    psf = PSF.defocus(2.0)
    found = blocks.seen_through(fine, psf.at)
    y, x = np.mgrid[:200, :240]
    expected = float(psf.at(fy, fx)) * np.cos(2 * np.pi * (fy * y + fx * x))
    inner = (slice(40, -40), slice(40, -40))
    np.testing.assert_allclose(found[inner], expected[inner], atol=4e-3)


def white(seed: int, rows: int, columns: int) -> NDArray[np.float32]:
    """A scene with a 1/f spectrum at half px, and itself on whole px after `psf`."""
    return natural(2 * rows, 2 * columns, seed)[..., 1]


@pytest.mark.parametrize("masked", [False, True])
def test_a_known_blur_is_measured_without_bias(masked: bool) -> None:
    rows, columns, size = 260, 340, 64
    fine = white(11, rows, columns)
    psf = PSF.defocus(4.2, 0.7)
    rng = np.random.default_rng(1)
    capture = blocks.seen_through(fine, psf.at)
    capture += rng.normal(0, 0.003, capture.shape).astype(np.float32)
    usable = np.ones((rows, columns), bool)
    if masked:
        usable[80:130, 100:170] = False
        usable[:, 300:] = False
    cut = blocks.cut(
        capture,
        fine,
        usable,
        np.ones((size, size // 2 + 1)),
        spectrum.transfer_of(psf, size),
        size,
        6,
    )
    total = cut.groups[0]
    for group in cut.groups[1:]:
        total = total + group
    found = fit.fit(total, families.DISK_GAUSSIAN, np.array([3.5, 0.5]))
    errors = np.sqrt(np.diagonal(found.covariance))
    assert found.values[0] == pytest.approx(4.2, rel=0.006)
    assert found.values[1] == pytest.approx(0.7, abs=0.04)
    assert np.all(np.abs(found.values - [4.2, 0.7]) < 4 * errors + 0.01)
    assert found.gain == pytest.approx(1.0, abs=0.03)
    assert found.residual < 0.02
    weight = cut.information / cut.information.sum()
    assert np.sqrt(np.sum(weight[:, None] * cut.shifts**2)) < 0.15
    spread = fit.jackknife(cut.groups, families.DISK_GAUSSIAN, found.values)
    assert spread is not None
    assert 0.0 < np.sqrt(spread[0, 0]) < 0.1


def test_block_shifts_are_in_pixels_and_signed() -> None:
    rows, columns, size = 200, 240, 64
    fine = white(12, rows, columns)
    moved = ndimage.shift(fine, (2 * -0.35, 2 * 0.6), order=3, mode="reflect")
    psf = PSF.defocus(2.5)
    capture = blocks.seen_through(moved, psf.at)
    cut = blocks.cut(
        capture,
        fine,
        np.ones((rows, columns), bool),
        np.ones((size, size // 2 + 1)),
        spectrum.transfer_of(psf, size),
        size,
        4,
    )
    weight = cut.information / cut.information.sum()
    mean = (weight[:, None] * cut.shifts).sum(axis=0)
    np.testing.assert_allclose(mean, [0.6, -0.35], atol=0.05)


def test_fine_registration_recovers_a_small_homography() -> None:
    ground = natural(900, 900, 13)
    shape = (160, 200)
    reference = read_reference(ground, gsd_m=10.0, mtf_nyquist=1.0)
    view = np.linalg.inv(reference.to_source) @ simulate.view(
        shape, 3.9, 15.0, 2.0, 0.0, (450.0, 450.0)
    )
    psf = PSF.defocus(3.0)
    seen = alignment.blurred(alignment.see(reference, view, shape), psf)[..., 1]
    step = np.array([[1.003, 0.002, 0.8], [-0.002, 0.998, -1.1], [2e-6, -1e-6, 1.0]])
    wrong = view @ step
    assert geometry.distance(wrong, view, shape) > 0.8
    other = alignment.blurred(alignment.see(reference, wrong, shape), psf)[..., 1]
    mask = np.ones(shape, bool)
    mask[40:70, 60:100] = False
    found, correlation = alignment.refine(wrong, seen, other, mask)
    assert geometry.distance(found, view, shape) < 0.05
    assert correlation > 0.97


def test_what_does_not_correlate_is_refused() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 120, 120)).astype(np.float32)
    mask = np.ones((120, 120), bool)
    with pytest.raises(CalibrationError, match="registration failed"):
        alignment.refine(np.eye(3), a, b, mask)


# ---- rounds and uncertainties -----------------------------------------------------------------


def test_creeping_rounds_are_sped_up() -> None:
    """F(x) = x* + 0.85 (x - x*) needs 28 plain rounds for one percent of the way."""
    goal = np.array([4.0, 0.5])
    rounds = FixedPoint(np.zeros(2), np.full(2, 30.0), np.array([0.5, 0.5]))
    x = np.array([3.8, 0.9])
    for _ in range(4):
        x = rounds.next_values(x, goal + 0.85 * (x - goal))
    np.testing.assert_allclose(x, goal, atol=1e-3)
    assert rounds.settled


def test_the_gain_of_the_rounds_is_that_of_their_slope() -> None:
    goal = np.array([4.0])
    rounds = FixedPoint(np.zeros(1), np.full(1, 30.0), np.array([0.5]))
    x = rounds.next_values(np.array([3.0]), goal + 0.5 * (np.array([3.0]) - goal))
    rounds.next_values(x, goal + 0.5 * (x - goal))
    assert rounds.gain == pytest.approx(2.0)


def test_inflation_keeps_a_covariance_a_covariance() -> None:
    own = np.array([[1e-4, -5e-5], [-5e-5, 4e-4]])
    found = fit.inflated(own, np.diag([9e-4, 1e-4]))
    assert found[0, 0] == pytest.approx(9e-4)
    assert found[1, 1] == pytest.approx(4e-4)
    assert np.linalg.eigvalsh(found).min() > 0.0
    np.testing.assert_array_equal(fit.inflated(own, None), own)


@pytest.mark.parametrize("name", sorted(families.FAMILIES))
def test_families_start_within_their_bounds_and_build(name: str) -> None:
    family = families.family(name)
    for psf in (PSF.defocus(4.0), PSF((Gaussian(2.0),)), PSF()):
        start = np.array(family.start(psf))
        assert start.size == len(family.parameters) == len(family.scale)
        assert np.all(start >= family.lower)
        assert np.all(start <= family.upper)
        assert float(family.build(start).mtf(0.0)) == pytest.approx(1.0)
