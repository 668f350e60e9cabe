"""The linear stage against the same formula written out with dense double-precision transforms."""

from __future__ import annotations

import numpy as np
import pytest

from imagine_deblur import _core
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.models import PSF, Disk, Gaussian, Motion
from imagine_deblur.restoration.gains import HIGHEST, PlaneGain
from imagine_deblur.restoration.reach import default_gap, inverse_support_px
from imagine_deblur.restoration.wiener import WienerSpec, wiener, wiener_planes
from imagine_deblur.support.fft_size import fast_length, reflect_index
from synthetic import natural


def extended_axis(values, gap):
    """Rows continued by their reflection on both sides, a raised cosine between the two."""
    samples = len(values)
    extra = fast_length(samples + gap) - samples
    position = np.arange(extra)
    middle = np.clip(2.0 * (position + 1) / (extra + 1) - 0.5, 0.0, 1.0)
    fade = (0.5 - 0.5 * np.cos(np.pi * middle))[:, None]
    ahead = values[reflect_index(samples + position, samples)]
    behind = values[reflect_index(position - extra, samples)]
    return np.concatenate([values, ahead + (behind - ahead) * fade])


def dense_wiener(plane, psf, nsr, gap):
    """Wiener filter of one plane with explicit extension, in float64."""
    extended = extended_axis(extended_axis(plane.astype(np.float64).T, gap).T, gap)
    f = np.fft.fftfreq(extended.shape[0])[:, None] ** 2
    f = f + np.fft.rfftfreq(extended.shape[1])[None, :] ** 2
    otf = psf.otf(*extended.shape).astype(np.complex128)
    gain = np.conj(otf) / (np.abs(otf) ** 2 + nsr * 4 * f)
    restored = np.fft.irfft2(np.fft.rfft2(extended) * gain, s=extended.shape)
    return restored[: plane.shape[0], : plane.shape[1]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (37, 53), (200, 131)])
@pytest.mark.parametrize(
    "psf", [PSF((Disk(2.5), Gaussian(0.5))), PSF((Motion(7.0, 30.0),))], ids=["disk", "motion"]
)
def test_wiener_equals_the_dense_formula(shape, psf):
    image = np.random.default_rng(1).random(shape, dtype=np.float32)
    gap = default_gap(psf, 3e-3)
    expected = dense_wiener(image, psf, 3e-3, gap)
    np.testing.assert_allclose(wiener(image, psf, 3e-3), expected, atol=3e-5)


def test_bank_planes_follow_the_specification():
    image = np.random.default_rng(2).random((60, 70, 3), dtype=np.float32)
    psf = PSF((Disk(3.0),))
    spec = WienerSpec((1e-1, 1e-2, 1e-3), 1, chroma=20.0, level=True)
    planes = wiener_planes(image, psf, spec)
    assert spec.plane_names == (
        "wiener.1.r",
        "wiener.1.g",
        "wiener.1.b",
        "wiener.0.y",
        "wiener.2.y",
        "noise",
    )
    assert len(planes) == spec.plane_count(3) == 6
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    gap = default_gap(psf, 1e-3)
    base = dense_wiener(luma, psf, 1e-2, gap)
    for band in range(3):
        difference = dense_wiener(image[..., band] - luma, psf, 0.2, gap)
        np.testing.assert_allclose(planes[band], base + difference, atol=1e-4)
    np.testing.assert_allclose(planes[3], dense_wiener(luma, psf, 1e-1, gap), atol=1e-4)
    np.testing.assert_allclose(planes[4], dense_wiener(luma, psf, 1e-3, gap), atol=3e-4)
    np.testing.assert_allclose(planes[5], 0.5, atol=1e-6)


@pytest.mark.parametrize(("nsr", "value"), [(1e-4, 0.0), (1e-2, 0.5), (1.0, 1.0)])
def test_the_level_plane_tells_the_base_ratio(nsr, value):
    spec = WienerSpec((8.0, 1.0), 1, level=True).scaled(nsr)
    assert spec.nsr == pytest.approx((8 * nsr, nsr))
    assert spec.level_value == pytest.approx(value)


@pytest.mark.parametrize(
    "psf", [PSF((Disk(2.5), Gaussian(0.5))), PSF((Motion(7.0, 30.0),))], ids=["disk", "motion"]
)
def test_every_plane_can_be_filtered_by_tables(psf):
    # Tables that hold the Wiener formula give the planes of the formula, but near the border: a
    # learned filter takes the longer extension.
    image = blur(natural(160, 190, seed=2), psf)
    spec = WienerSpec((1e-1, 1e-2, 1e-3), 1, chroma=20.0)
    squared = np.linspace(0, HIGHEST, 4097) ** 2
    gains = []
    for nsr in spec.nsr:
        noise = np.stack([4 * nsr * squared, 4 * spec.chroma * nsr * squared]).astype(np.float32)
        gains.append(PlaneGain(np.zeros_like(noise), np.ones_like(noise), noise))
    inside = np.s_[:, 50:-50, 50:-50]
    wanted = wiener_planes(image, psf, spec)[inside]
    for given in (gains, [None, gains[1], None]):
        found = wiener_planes(image, psf, spec, gains=given)
        np.testing.assert_allclose(found[inside], wanted, atol=2e-3)
    with pytest.raises(OptionsError, match="gains"):
        wiener_planes(image, psf, spec, gains=gains[:2])


def test_a_filter_without_an_otf_is_its_table():
    image = np.random.default_rng(3).random((64, 96, 3), dtype=np.float32)
    same = PlaneGain(np.ones((2, 9), np.float32))
    spec = WienerSpec((1e-1, 1e-2), 1)
    planes = wiener_planes(image, PSF((Disk(2.5),)), spec, gains=[same, same])
    np.testing.assert_allclose(planes[:3], np.moveaxis(image, -1, 0), atol=2e-6)


def test_colour_differences_are_smoothed_more_than_luma():
    rng = np.random.default_rng(4)
    grain = rng.normal(0, 0.02, (128, 128, 3)).astype(np.float32)
    image = np.float32(0.5) + grain
    psf = PSF.defocus(3.0)
    alike = wiener(image, psf, 1e-2)
    ours = np.moveaxis(wiener_planes(image, psf, WienerSpec((1e-2,), 0)), 0, -1)
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(ours @ luma, alike @ luma, atol=1e-4)
    assert np.std(ours - (ours @ luma)[..., None]) < 0.3 * np.std(alike - (alike @ luma)[..., None])


def test_a_constant_frame_stays_constant():
    image = np.full((90, 61, 3), 0.25, np.float32)
    np.testing.assert_allclose(wiener(image, PSF((Disk(6.0),)), 1e-4), image, atol=2e-6)


def test_threads_do_not_change_a_bit():
    image = np.random.default_rng(3).random((150, 333, 3), dtype=np.float32)
    psf = PSF((Disk(4.0),))
    alone = wiener_planes(image, psf)
    assert np.array_equal(alone, wiener_planes(image, psf, workers=_core.WorkerPool(3)))


def test_cosines_are_restored_by_the_gain_at_their_frequency():
    # A cosine with whole half periods between the frame's edges is its own reflection, so blur and
    # Wiener filter multiply it by the OTF and the gain at its frequency.
    samples, nsr = 129, 1e-5
    psf = PSF((Gaussian(1.5),))
    position = np.arange(samples)
    scene = np.zeros(samples)
    blurred, expected = scene.copy(), scene.copy()
    for half_periods, amplitude in ((5, 0.3), (22, 0.2), (40, 0.1)):
        f = half_periods / (2 * (samples - 1))
        wave = amplitude * np.cos(2 * np.pi * f * position)
        otf = np.exp(-2 * (np.pi * 1.5 * f) ** 2)
        blurred += otf * wave
        expected += otf**2 / (otf**2 + nsr * 4 * f**2) * wave
    frame = np.repeat(blurred[None, :].astype(np.float32), 50, axis=0)
    restored = wiener(frame, psf, nsr)
    np.testing.assert_allclose(
        restored[:, 20:-20], np.tile(expected, (50, 1))[:, 20:-20], atol=2e-4
    )
    np.testing.assert_allclose(restored, np.tile(expected, (50, 1)), atol=2e-3)  # cross-fade


def test_inverse_reaches_further_for_wider_disks_and_less_noise():
    reach = [inverse_support_px(PSF.defocus(r), 1e-3) for r in (2.0, 4.0, 7.0)]
    assert reach == sorted(reach)
    assert reach[0] < reach[2]
    assert inverse_support_px(PSF.defocus(4.0), 1e-4) > inverse_support_px(PSF.defocus(4.0), 1e-1)
    assert inverse_support_px(PSF((Gaussian(0.01),)), 1e-6) == 0


@pytest.mark.parametrize("n", [1, 2, 97, 2048, 2049, 4056])
def test_fast_length_is_even_smooth_and_close(n):
    length = fast_length(n)
    assert length >= n
    assert length % 2 == 0
    assert length <= 1.1 * n + 4


def test_reflection_matches_numpy():
    values = np.arange(7)
    padded = np.pad(values, 20, mode="reflect")
    assert np.array_equal(values[reflect_index(np.arange(-20, 27), 7)], padded)


@pytest.mark.parametrize("nsr", [(), (0.0,), (-1.0,), (np.inf,)])
def test_specification_refuses_impossible_ratios(nsr):
    with pytest.raises(OptionsError, match="nsr"):
        WienerSpec(nsr, 0)


def test_specification_refuses_a_base_outside():
    with pytest.raises(OptionsError, match="base"):
        WienerSpec((1e-2,), 1)
