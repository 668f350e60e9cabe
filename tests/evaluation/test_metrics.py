"""Metrics against independent implementations, closed forms and what each of them owes."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur.degradation.forward import add_noise, blur
from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.errors import InputImageError, OptionsError, PsfError
from imagine_deblur.evaluation.metrics.fidelity import psnr, rmse, ssim
from imagine_deblur.evaluation.metrics.filters import filter_valid, gaussian_taps
from imagine_deblur.evaluation.metrics.psf import kernel_rmse, mnc, mtf50_error
from imagine_deblur.evaluation.metrics.reblur import reblur_residual
from imagine_deblur.evaluation.metrics.ringing import local_maximum, ringing
from imagine_deblur.evaluation.metrics.seams import seams
from imagine_deblur.psf import PSF, Disk, Gaussian


def noisy(scene: np.ndarray, s: float = 0.05, seed: int = 0) -> np.ndarray:
    return add_noise(scene, s, np.random.default_rng(seed), model="awgn")


# Fidelity


@pytest.mark.parametrize("shape", [(11, 11), (64, 75), (140, 203)])
@pytest.mark.parametrize("bands", [1, 3])
def test_fidelity_agrees_with_scikit_image(shape: tuple[int, int], bands: int) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    truth = synthetic.natural(*shape)
    truth = truth if bands == 3 else truth[..., 0]
    for image in (noisy(truth), blur(truth, PSF.defocus(2.0)), np.ones_like(truth)):
        expected = metrics.structural_similarity(
            truth,
            image,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=-1 if bands == 3 else None,
            data_range=1,
        )
        assert ssim(image, truth) == pytest.approx(expected, abs=1e-5)
        expected = metrics.peak_signal_noise_ratio(truth, image, data_range=1)
        assert psnr(image, truth) == pytest.approx(expected, abs=1e-3)


def test_fidelity_of_equal_images() -> None:
    scene = synthetic.natural(40, 50)
    assert ssim(scene, scene) == pytest.approx(1.0, abs=1e-7)
    assert rmse(scene, scene) == 0.0
    assert psnr(scene, scene) == 60.0
    assert psnr(scene + np.float32(1e-5), scene) == 60.0


def test_fidelity_of_a_constant_offset() -> None:
    scene = synthetic.flat(30, 30, 0.25)
    shifted = scene + np.float32(0.1)
    assert rmse(shifted, scene) == pytest.approx(0.1, rel=1e-5)
    assert psnr(shifted, scene) == pytest.approx(20.0, abs=1e-4)
    # Without structure only the luminance term of eq. 13 is left.
    luminance = (2 * 0.25 * 0.35 + 1e-4) / (0.25**2 + 0.35**2 + 1e-4)
    assert ssim(shifted, scene) == pytest.approx(luminance, abs=1e-5)


def test_ssim_is_symmetric_and_falls_with_noise() -> None:
    scene = synthetic.natural(60, 60)
    scores = [ssim(noisy(scene, s), scene) for s in (0.01, 0.05, 0.2)]
    assert scores[0] > scores[1] > scores[2]
    assert ssim(scene, noisy(scene)) == pytest.approx(ssim(noisy(scene), scene), abs=1e-6)


def test_fidelity_refuses_what_does_not_compare() -> None:
    scene = synthetic.natural(20, 20)
    with pytest.raises(InputImageError, match="do not compare"):
        psnr(scene, scene[1:])
    with pytest.raises(InputImageError, match="uint8"):
        rmse((scene * 255).astype(np.uint8), (scene * 255).astype(np.uint8))
    with pytest.raises(InputImageError, match="11x11"):
        ssim(scene[:10], scene[:10])


@pytest.mark.parametrize("shape", [(11, 11), (64, 64), (75, 139), (2, 30, 200)])
def test_filter_is_the_direct_one(shape: tuple[int, ...]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    planes = np.random.default_rng(0).random(shape)
    taps = gaussian_taps(1.5, 11)
    expected = ndimage.correlate1d(ndimage.correlate1d(planes, taps, axis=-1), taps, axis=-2)
    np.testing.assert_allclose(filter_valid(planes, taps), expected[..., 5:-5, 5:-5], atol=1e-12)


# Kernels


def test_mnc_ignores_shift_and_scale() -> None:
    kernel = random_walk_kernel(15, np.random.default_rng(1))
    larger = np.zeros((25, 25))
    larger[2:17, 8:23] = 3.0 * kernel
    assert mnc(kernel, kernel) == pytest.approx(1.0)
    assert mnc(kernel, larger) == pytest.approx(1.0)
    assert mnc(larger, kernel) == pytest.approx(1.0)


def test_mnc_closed_form() -> None:
    # Two centred boxes: sum of a b = 1/25, |a| = 1/3, |b| = 1/5.
    assert mnc(np.full((3, 3), 1 / 9), np.full((5, 5), 1 / 25)) == pytest.approx(3 / 5)
    # Gaussians in 2-D: 2 s t / (s^2 + t^2).
    a, b = PSF((Gaussian(2.0),)).kernel(41), PSF((Gaussian(3.0),)).kernel(41)
    assert mnc(a, b) == pytest.approx(12 / 13, abs=1e-6)


def test_mnc_agrees_with_direct_correlation() -> None:
    signal = pytest.importorskip("scipy.signal")
    a, b = (random_walk_kernel(n, np.random.default_rng(n)) for n in (9, 13))
    direct = signal.correlate(a, b, method="direct").max()
    assert mnc(a, b) == pytest.approx(direct / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_kernel_rmse_and_mtf50() -> None:
    a, b = np.full((3, 3), 1 / 9), np.pad([[1.0]], 2)
    expected = np.sqrt(((1 - 1 / 9) ** 2 + 8 / 81) / 25)
    assert kernel_rmse(a, b) == pytest.approx(expected)
    assert kernel_rmse(b, a) == pytest.approx(expected)
    assert mtf50_error(PSF((Disk(4.0),)), PSF((Disk(5.0),))) == pytest.approx(0.25, rel=1e-6)
    assert mtf50_error(PSF(), PSF()) == 0.0
    with pytest.raises(PsfError, match="odd"):
        mnc(np.ones((4, 4)), a)
    with pytest.raises(PsfError, match="zero"):
        mnc(np.zeros((3, 3)), a)


# Sharpness and ringing


def test_local_maximum_is_the_direct_one() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    plane = np.random.default_rng(0).random((31, 44)).astype(np.float32)
    for radius in (0, 1, 2, 3, 7, 20):
        expected = ndimage.maximum_filter(plane, 2 * radius + 1, mode="constant", cval=-np.inf)
        np.testing.assert_array_equal(local_maximum(plane, radius), expected)


def test_ringing_of_a_known_overshoot() -> None:
    edge = synthetic.edge(64)
    over = edge.copy()
    over[:, 32] += 0.05  # beyond the bright plateau
    over[:, 31] -= 0.03  # beyond the dark one
    assert ringing(over, edge) == pytest.approx(0.08 / 64, rel=1e-4)
    assert ringing(edge, edge) == 0.0
    soft = blur(edge, PSF((Gaussian(2.0),)))  # averages within 10 px stay within the range there
    assert ringing(soft, edge, radius_px=10) == pytest.approx(0.0, abs=1e-6)


# Seams


def test_seams_of_a_known_step() -> None:
    scene = synthetic.flat(64, 64)[..., 0]
    scene[32:] += 0.01
    scene[:, 48:] += 0.02
    report = seams(scene, [0, 32], [0, 48])
    assert report.excess == pytest.approx(0.015, rel=1e-4)
    assert report.borders == 128
    assert report.relative == np.inf
    clean = seams(synthetic.flat(64, 64), [32], [])
    assert (clean.excess, clean.relative, clean.significance) == (0.0, 0.0, 0.0)


def test_no_seams_are_no_seams() -> None:
    scene = blur(synthetic.natural(256, 256), PSF((Gaussian(1.5),)))
    borders = list(range(0, 256, 32))
    assert abs(seams(scene, borders, borders).significance) < 4.0
    broken = scene.copy()
    for k in borders[1::2]:
        broken[k : k + 32] += 0.03
    assert seams(broken, borders, borders).significance > 10.0
    with pytest.raises(OptionsError, match="borders inside"):
        seams(scene, [0], [2])


def test_blocks_on_the_borders_are_not_taken_for_seams() -> None:
    scene = blur(synthetic.natural(256, 256), PSF((Gaussian(1.5),)))
    scene[::8] += 0.02  # lines on a lattice of 8 px, tiles or not
    borders = list(range(48, 216, 16))
    assert seams(scene, borders, []).significance > 10.0
    assert abs(seams(scene, borders, [], period=8).significance) < 3.0
    for k in borders[1::2]:
        scene[k : k + 16] += 0.05
    assert seams(scene, borders, [], period=8).significance > 10.0


# Reblur


def test_reblur_residual_of_the_truth_is_the_noise() -> None:
    scene, psf = synthetic.natural(128, 96), PSF.defocus(4.0)
    capture = noisy(blur(scene, psf), 0.01)
    report = reblur_residual(scene, capture, psf)
    assert report.rms == pytest.approx(0.01, rel=0.02)
    assert report.bias == pytest.approx(0.0, abs=2e-4)
    assert report.tiles.shape == (2, 2)
    np.testing.assert_allclose(report.tiles, 0.01, rtol=0.05)


def test_reblur_finds_the_tile_with_an_invention() -> None:
    scene, psf = synthetic.natural(128, 128), PSF.defocus(3.0)
    capture = blur(scene, psf)
    invented = scene.copy()
    invented[80:100, 80:100] += 0.2
    report = reblur_residual(invented, capture, psf)
    assert report.tiles[1, 1] > 0.05
    assert report.tiles[0, 0] < 1e-6
    weighted = np.sqrt((report.tiles**2).mean())
    assert weighted == pytest.approx(report.rms, rel=1e-6)


# Water
