"""MTF figures and the pupil against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.errors import PsfError
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, PixelAperture, Pupil


def test_mtf50_closed_forms() -> None:
    gaussian = PSF((Gaussian(2.0),))
    assert gaussian.mtf50() == pytest.approx(np.sqrt(np.log(2) / 2) / (np.pi * 2.0), rel=1e-6)
    # 2 J1(x) / x = 1/2 at x = 2.215089
    assert PSF((Disk(5.0),)).mtf50() == pytest.approx(2.215089 / (2 * np.pi * 5.0), rel=1e-6)
    assert PSF((PixelAperture(1.0),)).mtf50(0.0) == pytest.approx(0.603355, rel=1e-5)
    assert PSF().mtf50() == float("inf")


def test_mtf_at_zero_and_nyquist() -> None:
    kernel = PSF.sampled(random_walk_kernel(11, np.random.default_rng(0)))
    for psf in (PSF.defocus(3.0), PSF((Motion(7.0, 30.0),)), kernel):
        assert psf.mtf(0.0) == pytest.approx(1.0)
    assert PSF((Gaussian(0.5),)).mtf_nyquist() == pytest.approx(np.exp(-(np.pi**2) / 8))
    assert PSF((PixelAperture(),)).mtf_nyquist(0.0) == pytest.approx(2 / np.pi)


def test_mtf_along_a_direction() -> None:
    psf = PSF((Motion(10.0, 90.0),))
    assert psf.mtf(0.1, 90.0) == pytest.approx(0.0, abs=1e-9)
    assert psf.mtf(0.1, 0.0) == pytest.approx(1.0)
    assert 0.0 < psf.mtf(0.1) < 1.0
    assert psf.mtf([0.0, 0.05, 0.1]).shape == (3,)
    up_right = PSF((Motion(10.0, 45.0),))
    assert up_right.mtf(0.1, 45.0) == pytest.approx(0.0, abs=1e-9)
    assert up_right.mtf(0.1, 135.0) == pytest.approx(1.0)


def test_pointwise_equals_the_grid() -> None:
    fy, fx = np.linspace(-0.5, 0.5, 7), np.linspace(0.0, 0.5, 5)
    kernel = PSF.sampled(random_walk_kernel(9, np.random.default_rng(0)))
    for psf in (kernel, PSF((Gaussian(1.5, 0.3, 20.0), Disk(2.0), Pupil(0.2, 0.1, 0.8)))):
        grid = psf.transfer(fy, fx)
        points = psf.at(np.repeat(fy, 5), np.tile(fx, 7))
        np.testing.assert_allclose(points.reshape(7, 5), grid, atol=1e-12)


def test_encircled_energy_closed_forms() -> None:
    radius = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
    gaussian = PSF((Gaussian(2.0),)).encircled_energy(radius)
    np.testing.assert_allclose(gaussian[1:], 1 - np.exp(-(radius[1:] ** 2) / 8), atol=0.01)
    disk = PSF((Disk(5.0), Gaussian(0.1))).encircled_energy([2.5, 4.0, 6.5])
    np.testing.assert_allclose(disk, [0.25, 0.64, 1.0], atol=0.01)
    box = np.full((3, 3), 1 / 9)
    np.testing.assert_allclose(
        PSF.sampled(box).encircled_energy([0.5, 1.0, 1.5]), [1 / 9, 5 / 9, 1.0], atol=1e-9
    )


def test_perfect_pupil_is_the_diffraction_limit() -> None:
    s = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.2])
    inside = np.minimum(s, 1.0)
    expected = 2 / np.pi * (np.arccos(inside) - inside * np.sqrt(1 - inside**2))
    pupil = PSF((Pupil(0.0, 0.0, 0.4),))
    np.testing.assert_allclose(pupil.transfer([0.0], 0.4 * s)[0], expected, atol=1e-4)


def test_pupil_agrees_with_the_autocorrelation_by_fft() -> None:
    defocus, spherical, n = 0.3, -0.12, 512
    grid = (np.arange(n) - n / 2 + 0.5) / (n / 8)  # the unit pupil is n / 4 samples wide
    r2 = grid[:, None] ** 2 + grid[None, :] ** 2
    wave = defocus * np.sqrt(3) * (2 * r2 - 1) + spherical * np.sqrt(5) * (6 * r2**2 - 6 * r2 + 1)
    field = np.where(r2 <= 1, np.exp(2j * np.pi * wave), 0)
    otf = np.fft.fft2(np.abs(np.fft.ifft2(field)) ** 2)
    otf = (otf / otf[0, 0]).real[0]
    lag = np.arange(0, n // 4, 8)  # the cutoff is a lag of n / 4 samples
    mine = PSF((Pupil(defocus, spherical, 1.0),)).transfer([0.0], lag / (n / 4))[0]
    np.testing.assert_allclose(mine, otf[lag], atol=0.01)


def test_strong_defocus_becomes_a_disk() -> None:
    pupil = Pupil(4.0, 0.0, 10.0)
    radius = 8 * np.sqrt(3) * 4.0 / 10.0
    frequency = np.linspace(0.0, 1.2 / radius, 30)
    disk = PSF((Disk(radius),)).transfer([0.0], frequency)
    np.testing.assert_allclose(PSF((pupil,)).transfer([0.0], frequency), disk, atol=0.03)
    assert pupil.extent_px == pytest.approx(radius, abs=0.5)


def test_pupil_refuses_nonsense() -> None:
    with pytest.raises(PsfError, match="cutoff_cycles_per_px"):
        Pupil(0.1, 0.0, 0.0)
    with pytest.raises(PsfError, match="defocus_waves"):
        Pupil(float("inf"), 0.0, 1.0)
