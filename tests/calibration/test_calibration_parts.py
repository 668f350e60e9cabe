"""Calibration: radiometry, encoding, spectra, fits and uncertainties against closed forms."""

from __future__ import annotations

import io

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
    simulate,
    spectrum,
)
from imagine_deblur.calibration.fixed_point import FixedPoint
from imagine_deblur.errors import CalibrationError
from imagine_deblur.psf import PSF, Gaussian
from synthetic import natural

pytest.importorskip("cv2", reason="the extra [geo] is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra [geo] is not installed")
fft = pytest.importorskip("scipy.fft", reason="the extra [geo] is not installed")
ndimage = pytest.importorskip("scipy.ndimage", reason="the extra [geo] is not installed")

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
