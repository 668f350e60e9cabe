"""The linear bounds: better than every other radial filter, and a kernel that is the blur."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur.degradation.forward import blur, degrade
from imagine_deblur.evaluation.bounds import best_radial, effective_psf
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf import PSF
from imagine_deblur.restoration.wiener import wiener

SCENE = synthetic.natural(160, 176, seed=8)


@pytest.mark.parametrize("radius", [2.0, 5.0])
def test_no_wiener_filter_beats_the_best_radial_one(radius):
    psf = PSF.defocus(radius)
    degraded = degrade(SCENE, psf, noise=0.006, jpeg_quality=85, rng=np.random.default_rng(1))
    capture = degraded.astype(np.float32) / 255
    best = psnr(best_radial(SCENE, capture), SCENE)
    assert best > psnr(capture, SCENE) + 0.5
    for ratio in 10.0 ** np.arange(-3.5, 0.1, 0.5):
        assert psnr(np.clip(wiener(capture, psf, float(ratio)), 0, 1), SCENE) < best


def test_a_capture_that_is_the_scene_stays_as_it_is():
    np.testing.assert_allclose(best_radial(SCENE, SCENE), SCENE, atol=1e-5)


@pytest.mark.parametrize("psf", [PSF.defocus(3.0), PSF.defocus(0.0, 1.5)])
def test_the_effective_psf_of_a_blur_is_the_blur(psf):
    found = effective_psf(SCENE, blur(SCENE, psf))
    assert found.mtf50() == pytest.approx(psf.mtf50(), rel=0.03)
