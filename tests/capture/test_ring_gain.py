"""Learned ring gains: their inputs, their form, and what they are worth."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur import Session
from imagine_deblur.capture.ring_gain import (
    LEVEL_RANGE,
    MOTION_LEAST_NSR,
    RingGains,
    bundled_regressor,
    gains_for,
    rounded_nsr,
    scalar_inputs,
)
from imagine_deblur.capture.ring_spectra import RINGS, ring_spectra
from imagine_deblur.degradation.camera import Camera
from imagine_deblur.degradation.forward import blur, degrade
from imagine_deblur.evaluation.bounds import best_radial
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.evaluation.protocols import truncated_gaussian
from imagine_deblur.psf import PSF, Gaussian, Motion
from imagine_deblur.psf.field import PsfField
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
    (table,) = gains.filters((1.0,))
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


@pytest.mark.parametrize(
    "psf",
    [PSF((Motion(8.0, 30.0), Gaussian(0.5))), truncated_gaussian(3.0, 15), PSF.defocus(4.0)],
    ids=["motion", "cut", "disk"],
)
def test_a_blur_with_a_direction_is_undone_with_its_own_phase(psf):
    rng = np.random.default_rng(5)
    capture = degrade(SCENE, psf, noise=0.004, jpeg_quality=92, rng=rng)
    with Session(model="wiener", threads=1) as session:
        found = session.analyse([capture], psf=psf)
        restored, _ = session.restore_with_report(capture, analysis=found)
    assert found.gains is not None
    assert found.gains.directed == (not psf.isotropic)
    assert psnr(restored / 255.0, SCENE) > psnr(capture / 255.0, SCENE) + 0.3


def test_a_field_is_undone_cell_by_cell():
    field = PsfField(((PSF.defocus(3.0), PSF.defocus(4.0)),))
    capture = degrade(SCENE, PSF.defocus(3.5), noise=0.004, rng=np.random.default_rng(6))
    with Session(model="wiener", psf=field, threads=1) as session:
        found = session.analyse([capture])
        restored = session.restore(capture)
    assert found.gains is not None
    assert found.gains.directed
    assert psnr(restored / 255.0, SCENE) > psnr(capture / 255.0, SCENE)


def test_grey_captures_have_gains_of_their_own():
    grey = np.ascontiguousarray(SCENE @ np.array([0.299, 0.587, 0.114], np.float32))
    capture = degrade(
        np.repeat(grey[..., None], 3, 2), PSF.defocus(4.0), noise=0.004,
        rng=np.random.default_rng(7),
    )[..., 1].copy()  # fmt: skip
    with Session(model="wiener", psf="disk:4", threads=1) as session:
        assert session.analyse([capture]).gains is not None
        restored = session.restore(capture)
    assert psnr(restored / 255.0, grey) > psnr(capture / 255.0, grey) + 0.3


def test_filters_beside_the_base_plane_are_more_and_less_careful():
    spectra = ring_spectra([SCENE])
    assert spectra is not None
    gains = gains_for(spectra, PSF.defocus(3.0), np.zeros(4))
    careful, base, bold = gains.filters((8.0, 1.0, 0.125))
    strength = [float(np.abs(plane.added[0]).sum()) for plane in (careful, base, bold)]
    assert strength[0] < strength[1] < strength[2]
    for plane in (careful, base, bold):
        assert plane.added[0][0] == plane.added[1][0] == 1.0


def test_the_level_follows_the_noise_and_traits_tell_captures_apart():
    levels, traits = [], []
    for noise in (0.0, 0.01, 0.05):
        capture = degrade(SCENE, PSF.defocus(3.0), noise=noise, rng=np.random.default_rng(8))
        spectra = ring_spectra([capture])
        assert spectra is not None
        gains = gains_for(spectra, PSF.defocus(3.0), np.zeros(4))
        levels.append(gains.level)
        traits.append(gains.traits)
    assert LEVEL_RANGE[0] <= levels[0] < levels[1] < levels[2] <= LEVEL_RANGE[1]
    assert np.abs(traits[0] - traits[2]).max() > 0.2
    assert all(np.isfinite(t).all() and np.abs(t).max() <= 3 for t in traits)


def test_motion_is_undone_no_bolder_than_its_frames_border_allows():
    spectra = ring_spectra([SCENE])
    assert spectra is not None
    moving = PSF((Motion(9.0, 10.0), Gaussian(0.5)))
    gains = gains_for(spectra, moving, np.zeros(4))
    least = np.log(4 * MOTION_LEAST_NSR * FREQUENCY**2)
    assert (gains.nu >= least - 1e-9).all()


@pytest.mark.parametrize(
    ("nsr", "rounded"), [(None, 10**-2.5), (1e-9, 10**-3.5), (0.0123, 0.01), (9.0, 1.0)]
)
def test_ratios_are_whole_quarters_of_a_decade(nsr, rounded):
    assert rounded_nsr(nsr) == pytest.approx(rounded)
