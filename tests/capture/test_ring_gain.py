"""Learned ring gains: their inputs, their form, and what they are worth."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur import Session
from imagine_deblur.capture.ring_gain import RingGains, bundled_regressor, scalar_inputs
from imagine_deblur.capture.ring_spectra import RINGS, ring_spectra
from imagine_deblur.degradation.camera import Camera
from imagine_deblur.degradation.forward import blur, degrade
from imagine_deblur.evaluation.bounds import best_radial
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf import PSF
from imagine_deblur.psf.otf_moments import (
    ENTRIES,
    FREQUENCY,
    moments_of_normal,
    moments_of_psf,
)
from imagine_deblur.restoration.gains import LUMA_GAIN

SCENE = synthetic.natural(320, 352, seed=11)


def test_white_noise_has_a_flat_spectrum_of_its_variance():
    noise = np.random.default_rng(0).normal(0.5, 0.02, (256, 256)).astype(np.float32)
    spectra = ring_spectra([noise])
    assert spectra is not None
    # The lowest ring loses what the removed mean takes with it.
    np.testing.assert_allclose(spectra.power[0][1:], 4e-4, rtol=0.25)
    assert spectra.power[1].max() == 0.0
    assert (spectra.quiet[5:] <= 1.2 * spectra.power[0][5:]).all()
    assert ring_spectra([noise[:100]]) is None


def test_bytes_and_floats_have_one_spectrum():
    samples = np.rint(SCENE * 255).astype(np.uint8)
    found = [ring_spectra([i]) for i in (samples, samples.astype(np.float32) / 255)]
    assert found[0] is not None
    assert found[1] is not None
    np.testing.assert_allclose(found[0].stacked, found[1].stacked, rtol=1e-3)


def test_moments_of_a_certain_psf_are_its_transfer_function():
    psf = PSF.defocus(4.0, 0.7)
    known = moments_of_psf(psf)
    np.testing.assert_allclose(known.mean, psf.at(0.0, FREQUENCY).real, atol=1e-9)
    np.testing.assert_allclose(known.deviation, 0.0, atol=1e-7)
    np.testing.assert_allclose(moments_of_normal(4.0, 0.7).mean, known.mean, atol=1e-9)


def test_doubt_lowers_the_mean_and_spreads_the_transfer_function():
    sure = moments_of_normal(4.0, 0.5, np.diag([1e-4, 1e-4]))
    unsure = moments_of_normal(4.0, 0.5, np.diag([0.2, 0.02]))
    assert unsure.deviation.mean() > 5 * sure.deviation.mean()
    assert np.abs(unsure.mean).sum() < np.abs(sure.mean).sum()


def test_the_known_limit_is_the_wiener_filter_over_the_distribution():
    moments = moments_of_normal(3.0, 0.5, np.diag([0.05, 0.01]))
    second = moments.mean**2 + moments.deviation**2
    zero = np.zeros((2, ENTRIES))
    gains = RingGains(zero, zero + np.log(0.01), zero, moments.mean, second, zero[0])
    np.testing.assert_allclose(gains.radial(0), moments.mean / (second + 0.01))
    assert np.abs(gains.radial(0, 10.0)).sum() < np.abs(gains.radial(0, 0.1)).sum()
    table = gains.plane_gain
    assert table.at(np.zeros((1, 1), np.float32), LUMA_GAIN) == 1.0
    np.testing.assert_allclose(
        table.at(FREQUENCY.astype(np.float32), LUMA_GAIN), gains.radial(0), atol=2e-6
    )


def test_the_regressor_is_deterministic_and_bounded():
    spectra = ring_spectra([SCENE])
    assert spectra is not None
    table = np.array([1, 3, 4, 4], np.float32)
    scalars = scalar_inputs(table, np.zeros(5), spectra.mean, directed=False, blind=False)
    first, again = (
        bundled_regressor()(spectra, moments_of_psf(PSF.defocus(3.0)), scalars) for _ in range(2)
    )
    np.testing.assert_array_equal(first.radial(0), again.radial(0))
    assert np.isfinite(first.radial(0)).all()
    assert first.error.shape == (ENTRIES,)
    assert RINGS < ENTRIES


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("radius", "quality"), [(3.0, 90), (5.5, 80)])
def test_the_linear_model_comes_near_the_best_linear_filter(radius, quality, known):
    psf = PSF.defocus(radius)
    rng = np.random.default_rng(3)
    capture = degrade(SCENE, psf, noise=0.006, jpeg_quality=quality, rng=rng)
    start = psnr(capture / 255.0, SCENE)
    best = psnr(best_radial(SCENE, (capture / 255.0).astype(np.float32)), SCENE) - start
    with Session(model="wiener", threads=1) as session:
        restored, report = session.restore_with_report(capture, psf=psf if known else None)
    gain = psnr(restored / 255.0, SCENE) - start
    assert report.restored
    assert gain > 0.6 * best > 0.5


def test_a_dull_picture_through_a_camera_is_not_made_worse():
    scene = np.float32(0.5) + np.float32(0.2) * (SCENE - SCENE.mean())
    camera = Camera(
        noise=0.01, luma_sigma_px=0.6, chroma_sigma_px=1.5, sharpen=0.5, jpeg_quality=80
    )
    light = camera.expose(scene.astype(np.float32))
    capture = camera.capture(blur(light, PSF.defocus(4.0)), np.random.default_rng(2))
    truth = camera.render(light)
    with Session(model="wiener", threads=1) as session:
        restored = session.restore(capture)
    assert psnr(restored / 255.0, truth) > psnr(capture / 255.0, truth)
