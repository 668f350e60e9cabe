"""The noise-to-signal ratio read off a capture."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur.capture.nsr import measured_nsr, rounded_nsr
from imagine_deblur.capture.policy import MOTION_LEAST_NSR, shrink_uncertain
from imagine_deblur.capture.result import Analysis
from imagine_deblur.capture.spectrum import mean_power
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines.model import DEFAULT_NSR, WIENER, Model
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF, Gaussian, Motion
from imagine_deblur.restoration.wiener import WienerSpec


def capture(noise, seed=0):
    scene = synthetic.natural(384, 384, seed=7)
    rng = np.random.default_rng(seed)
    return degrade(scene, PSF.defocus(4.0), noise=noise, rng=rng)


def white_on_one_over_f(nsr, size=512, seed=1):
    """A scene with spectrum c / f^2 and white noise such that N / (4 c) is `nsr`."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    f[0, 0] = np.inf
    scene = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / f, s=(size, size))
    otf = PSF.defocus(5.0).otf(size, size)
    blurred = np.fft.irfft2(np.fft.rfft2(scene) * otf, s=(size, size))
    noisy = blurred + np.sqrt(4 * nsr) * rng.standard_normal((size, size))
    return (0.5 + 0.1 * noisy / noisy.std()).astype(np.float32)


@pytest.mark.parametrize("nsr", [3e-2, 2e-1, 1.0])
def test_a_known_ratio_is_found(nsr):
    # Half a decade does not matter to the filter; the blur's remains add to small ratios.
    found = measured_nsr(mean_power([white_on_one_over_f(nsr)]), PSF.defocus(5.0))
    assert abs(np.log10(found / nsr)) < 0.25


def test_more_noise_asks_for_a_larger_ratio():
    found = [
        measured_nsr(mean_power([capture(noise)]), PSF.defocus(4.0))
        for noise in (0.002, 0.008, 0.03)
    ]
    assert found == sorted(found)
    assert found[2] > 10 * found[0]


def test_parts_and_types_agree():
    image = capture(0.01)
    psf = PSF.defocus(4.0)
    whole = measured_nsr(mean_power([image]), psf)
    halves = measured_nsr(mean_power([image[:192], image[192:]]), psf)
    floats = measured_nsr(mean_power([image.astype(np.float32) / np.float32(255)]), psf)
    assert halves == pytest.approx(whole, rel=0.3)
    assert floats == pytest.approx(whole, rel=1e-3)
    assert measured_nsr(mean_power([image]), PsfField(((psf,),))) == whole


@pytest.mark.parametrize(
    "image",
    [np.full((300, 300, 3), 80, np.uint8), np.zeros((40, 500, 3), np.uint8)],
    ids=["flat", "small"],
)
def test_without_information_there_is_no_answer(image):
    assert mean_power([image]) is None
    assert measured_nsr(mean_power([image]), PSF.defocus(4.0)) is None


def test_without_a_silent_band_there_is_no_answer():
    assert measured_nsr(mean_power([capture(0.01)]), PSF.defocus(0.3, 0.1)) is None


def test_motion_has_a_least_ratio():
    moving = PSF((Motion(9.0, 30.0), Gaussian(0.5)))
    scene = synthetic.natural(384, 384, seed=7)
    rng = np.random.default_rng(2)
    clean = degrade(scene, moving, rng=rng)
    assert measured_nsr(mean_power([clean]), moving) == MOTION_LEAST_NSR
    assert measured_nsr(mean_power([clean[:60]]), moving) == MOTION_LEAST_NSR  # too small to tell
    noisy = degrade(scene, moving, noise=0.08, rng=rng)
    assert measured_nsr(mean_power([noisy]), moving) > MOTION_LEAST_NSR


def network(*extra):
    from imagine_deblur.engines.descriptor import ModelDescriptor

    inputs = ("capture.r", "wiener.1.r", "wiener.1.g", "wiener.1.b", "wiener.0.y", *extra)
    descriptor = ModelDescriptor("net", inputs=inputs, nsr=(8.0, 1.0), base=1, chroma=20.0)
    return Model("net", descriptor=descriptor)


@pytest.mark.parametrize("nsr", [None, 3e-3, 0.4])
def test_a_network_without_a_noise_plane_keeps_its_bank(nsr):
    assert network().wiener_spec(nsr, checked=True) == WienerSpec((8.0, 1.0), 1, chroma=20.0)


@pytest.mark.parametrize(
    ("nsr", "level"),
    [(None, 10**-2.5), (1e-2, 1e-2), (0.05, 10**-1.25), (9.0, 1.0), (1e-6, 10**-3.5)],
)
def test_a_network_with_a_noise_plane_takes_multiples_of_the_captures_ratio(nsr, level):
    assert rounded_nsr(nsr) == pytest.approx(level)
    spec = network("noise").wiener_spec(nsr, checked=True)
    assert spec.nsr == pytest.approx((8 * level, level))
    assert (spec.level, spec.chroma) == (True, 20.0)


def test_the_linear_model_takes_the_ratio_itself():
    assert WIENER.wiener_spec(0.07, checked=True) == WienerSpec((0.07,), 0)
    assert WIENER.wiener_spec(None, checked=True) == WienerSpec((DEFAULT_NSR,), 0)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_network_without_planes_gets_one_for_the_guard_only(guarded):
    model = Model("callable", function=lambda tile: tile)
    assert (model.wiener_spec(0.05, checked=guarded) is not None) == guarded


@pytest.mark.parametrize(
    ("source", "confidence", "nsr", "radius"),
    [
        ("estimated", 0.5, 0.2, 3.2),
        ("estimated", 0.5, 0.051, 3.2),
        ("estimated", 0.95, 0.2, 4.0),
        ("estimated", 0.5, 0.04, 4.0),
        ("estimated", 0.5, None, 4.0),
        ("given", None, 0.2, 4.0),
    ],
)
def test_only_unsure_estimates_from_noisy_captures_are_narrowed(source, confidence, nsr, radius):
    blur = Analysis(
        PSF.defocus(4.0, 0.5), source, confidence=confidence, measured_nsr=nsr, filter_nsr=0.1
    )
    found = shrink_uncertain(blur)
    disk, gaussian = found.psf.components
    assert disk.radius_px == pytest.approx(radius)
    assert gaussian.sigma_px == pytest.approx(radius / 8)
    assert bool(found.warnings) == (radius < 4)
    assert (found.measured_nsr, found.filter_nsr) == (nsr, 0.1)


def test_a_clean_capture_of_little_contrast_is_undone_in_full():
    blur = Analysis(
        PSF.defocus(4.0), "estimated", confidence=0.5, measured_nsr=0.2, filter_nsr=0.1, clean=True
    )
    assert shrink_uncertain(blur) == blur


def test_estimated_motion_is_undone_in_full():
    moving = Analysis(
        PSF((Motion(6.0, 30.0), Gaussian(0.5))), "estimated", confidence=0.0, measured_nsr=0.2
    )
    assert shrink_uncertain(moving) == moving


def test_an_unsure_blur_of_a_hopeless_capture_is_left():
    blur = shrink_uncertain(Analysis(PSF.defocus(4.0, 0.5), "estimated", 0.5, 1.5))
    assert (blur.psf, blur.psf_source) == (None, "none")
    assert "more noise than detail" in blur.warnings[-1]
    sure = Analysis(PSF.defocus(4.0, 0.5), "estimated", 0.95, 1.5)
    assert shrink_uncertain(sure) == sure


def test_a_sampled_estimate_is_narrowed_by_its_rms_width():
    offset = np.arange(15) - 7
    profile = np.exp(-0.5 * (offset / 1.5) ** 2)
    kernel = np.outer(profile, profile) / profile.sum() ** 2
    blur = shrink_uncertain(Analysis(PSF.sampled(kernel), "estimated", 0.5, 0.2))
    (gaussian,) = blur.psf.components
    assert gaussian.sigma_px == pytest.approx(1.2, rel=1e-3)
