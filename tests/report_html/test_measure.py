"""What is measured on the pixels has closed-form truths."""

from __future__ import annotations

import numpy as np
import pytest

from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import Record
from imagine_deblur.psf.uncertainty import draw_psfs
from imagine_deblur.report_html import measure
from imagine_deblur.report_html.pixels import Stretch
from synthetic import natural


class Array:
    """A picture in memory; values are of the 8-bit scale, so that nothing is rounded."""

    def __init__(self, pixels):
        self.pixels = np.asarray(pixels, np.float32)
        self.rows, self.columns = self.pixels.shape[:2]

    def read(self, top, left, rows, columns, step=1):
        return self.pixels[top : top + rows : step, left : left + columns : step]


def blurred(scene, psf):
    otf = psf.otf(*scene.shape[:2])[..., None]
    return np.fft.irfft2(np.fft.rfft2(scene, axes=(0, 1)) * otf, s=scene.shape[:2], axes=(0, 1))


def curves(capture, restored, psf=None, draws=()):
    spectra = measure.block_spectra((Array(capture), Array(restored)), Stretch())
    assert spectra is not None
    return measure.curves(spectra, psf, draws)


def test_a_linear_filter_s_mtf_is_the_product():
    """What was done is a Gaussian filter, so the MTF after is disk times that Gaussian."""
    psf, filtered = PSF.defocus(3.0), PSF.defocus(0.0, 1.2)
    capture = 255 * blurred(natural(512, 640, seed=1), psf)
    found = curves(capture, blurred(capture, filtered), psf)
    expected = (psf * filtered).mtf(found.frequency)
    assert found.mtf_after[0] == pytest.approx(expected, abs=0.02)
    assert found.mtf_before[0] == pytest.approx(psf.mtf(found.frequency))
    assert found.kernel_after == pytest.approx((psf * filtered).kernel(49), abs=2e-3)


def test_doing_nothing_leaves_the_mtf_and_its_interval():
    psf = PSF.defocus(2.0)
    capture = 255 * blurred(natural(512, 640, seed=2), psf)
    found = curves(capture, capture, psf)
    assert found.mtf_after == pytest.approx(found.mtf_before, abs=0.02)


def test_the_psf_s_uncertainty_widens_both_intervals():
    psf = PSF.defocus(3.0)
    capture = 255 * blurred(natural(512, 640, seed=3), psf)
    record = Record(psf, np.diag([0.15**2]), ("components[0].radius_px",))
    found = curves(capture, capture, psf, draw_psfs(record, 60))
    wide = slice(8, 16)  # 0.06 to 0.12 cycles/px, where the MTF is steep
    for curve in (found.mtf_before, found.mtf_after):
        assert (curve[2, wide] - curve[1, wide]).min() > 0.02
        assert (curve[1] <= curve[0]).all()
        assert (curve[0] <= curve[2]).all()


def test_white_noise_lies_at_its_variance():
    rng = np.random.default_rng(4)
    noise = rng.normal(0.0, 3.0, (512, 640))
    grey = np.repeat(noise[..., None], 3, axis=2) + 120.0
    found = curves(grey, 0.5 * (grey - 120.0) + 120.0)
    assert found.psd_before[5:].mean() == pytest.approx(9.0, rel=0.03)
    assert found.psd_after[5:].mean() == pytest.approx(9.0 / 4, rel=0.03)
    # Above 0.25 cycles/px lies all but a disk of that radius of the spectrum.
    share = 1.0 - np.pi * 0.25**2
    assert found.noise_before == pytest.approx(3.0 * np.sqrt(share), rel=0.05)
    assert found.noise_after == pytest.approx(found.noise_before / 2, rel=0.01)


def test_flat_and_small_pictures_are_not_measured():
    flat = np.full((512, 640, 3), 90.0)
    assert measure.block_spectra((Array(flat), Array(flat)), Stretch()) is None
    small = 255 * natural(100, 300, seed=5)
    assert measure.block_spectra((Array(small), Array(small)), Stretch()) is None


def test_half_of_a_falling_curve_is_interpolated():
    frequency = np.array([0.1, 0.2, 0.3])
    assert measure.half_frequency(frequency, np.array([0.9, 0.6, 0.4])) == pytest.approx(0.25)
    assert measure.half_frequency(frequency, np.array([0.9, 0.8, 0.7])) is None
