"""The ratio of the bank that a capture gets."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur.capture import nsr as level
from imagine_deblur.capture.nsr import measured_nsr, rounded_nsr
from imagine_deblur.capture.policy import MOTION_LEAST_NSR
from imagine_deblur.capture.spectrum import mean_power
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF, Gaussian, Motion

BLUR = PSF.defocus(4.0)


def power_of(noise=0.0, psf=BLUR, quality=None):
    scene = synthetic.natural(400, 400, seed=9)
    rng = np.random.default_rng(2)
    return mean_power([degrade(scene, psf, noise=noise, jpeg_quality=quality, rng=rng)])


def test_features_are_finite_and_follow_the_blur_and_the_noise():
    clean, noisy = level.features(power_of(), BLUR), level.features(power_of(0.02), BLUR)
    assert clean.shape == (level.FEATURES,)
    assert np.isfinite(clean).all()
    assert np.isfinite(noisy).all()
    rings = (level.FEATURES - 5) // 2
    assert noisy[rings - 1] > clean[rings - 1] + 1  # the outermost ring holds noise
    np.testing.assert_array_equal(clean[rings : 2 * rings], noisy[rings : 2 * rings])
    wide = level.features(power_of(), PSF.defocus(6.0))
    assert wide[rings + 2] < clean[rings + 2]


def test_the_ratio_is_a_quarter_of_a_decade_and_grows_with_noise():
    found = [level.filter_nsr(power_of(noise), BLUR) for noise in (0.0, 0.002, 0.01, 0.06)]
    assert found == sorted(found)  # a step back by a quarter of a decade happens between near ones
    assert found[3] > 30 * found[0]
    for value in found:
        assert value == rounded_nsr(value)


def test_a_field_counts_by_its_middle():
    field = PsfField(((PSF.defocus(2.0), BLUR, PSF.defocus(6.0)),))
    power = power_of(0.004)
    assert level.filter_nsr(power, field) == level.filter_nsr(power, BLUR)


def test_motion_keeps_its_least_ratio():
    moving = PSF((Motion(9.0, 30.0), Gaussian(0.5)))
    assert level.filter_nsr(power_of(psf=moving), moving) >= MOTION_LEAST_NSR
    assert level.filter_nsr(None, moving) == MOTION_LEAST_NSR


def test_nothing_known_is_no_answer():
    assert level.filter_nsr(None, BLUR) is None


def test_the_correction_is_added_to_the_first_guess(monkeypatch):
    power = power_of(0.006, quality=90)
    guess = rounded_nsr(measured_nsr(power, BLUR))
    monkeypatch.setattr(level, "bundled_regressor", lambda: lambda values: 0.5)
    assert level.filter_nsr(power, BLUR) == pytest.approx(guess * 10**0.5)


def test_the_ensemble_is_the_mean_of_its_members():
    rng = np.random.default_rng(3)
    shapes = ((2, 7, 5), (2, 5, 5), (2, 5, 1))
    weights = tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    biases = tuple(rng.standard_normal((2, 1, s[2])).astype(np.float32) for s in shapes)
    mean, scale = rng.standard_normal(7), np.full(7, 2.0)
    values = rng.standard_normal(7)
    outputs = []
    for member in range(2):
        x = (values - mean) / scale
        for k in range(3):
            x = x @ weights[k][member] + biases[k][member, 0]
            x = np.maximum(x, 0) if k < 2 else x
        outputs.append(x[0])
    found = level.Regressor(mean, scale, weights, biases)(values)
    assert found == pytest.approx(np.mean(outputs), rel=1e-6)
