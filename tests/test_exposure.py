"""Which captures are clean, and which network they get."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import synthetic
from imagine_deblur.degradation import degrade, jpeg_decode, jpeg_encode
from imagine_deblur.engines.descriptor import clean_sibling, file_sha256
from imagine_deblur.exposure import is_clean, noise_variance
from imagine_deblur.model import bundled_models
from imagine_deblur.psf.models import PSF
from imagine_deblur.session import Session

BLUR = PSF.defocus(3.0)
needs_network = pytest.mark.skipif(not bundled_models(), reason="no network in this installation")


def capture(noise=0.0, quality=None, shape=(320, 352)):
    scene = synthetic.natural(*shape, seed=21)
    rng = np.random.default_rng(5)
    return degrade(scene, BLUR, noise=noise, jpeg_quality=quality, rng=rng)


@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_rounding_and_little_noise_are_clean(noise):
    image = capture(noise)
    assert is_clean([image])
    assert is_clean([image.astype(np.float32) / np.float32(255)])
    assert is_clean([image[:160], image[160:]])
    assert not is_clean([image], coded=True)


@pytest.mark.parametrize("grey", [False, True])
def test_noise_is_measured_in_units_of_rounding(grey):
    rng = np.random.default_rng(1)
    shape = (400, 400) if grey else (400, 400, 3)
    samples = 120 + rng.normal(0, 1.5, shape)
    found = noise_variance([np.rint(samples).astype(np.uint8)])
    assert found == pytest.approx((1.5**2 + 1 / 12) * 12, rel=0.1)


def test_noise_is_not_clean():
    assert not is_clean([capture(0.006)])


@pytest.mark.parametrize("quality", [75, 90, 95])
@pytest.mark.parametrize("noise", [0.0, 0.006])
def test_what_was_jpeg_is_not_clean_although_its_noise_is_gone(quality, noise):
    decoded = capture(noise, quality)
    assert not is_clean([decoded])
    assert not is_clean([decoded[3:, 6:]])  # the coder's grid may begin anywhere


@pytest.mark.parametrize(
    "image",
    [np.full((300, 300, 3), 255, np.uint8), np.zeros((20, 20, 3), np.uint8), capture()[:9]],
    ids=["saturated", "black", "low"],
)
def test_without_information_a_capture_is_not_clean(image):
    assert noise_variance([image]) is None
    assert not is_clean([image])


def test_a_large_capture_is_sampled():
    image = capture()
    large = np.tile(image, (6, 6, 1))
    assert noise_variance([large]) == pytest.approx(noise_variance([image]), rel=0.1)


@needs_network
def test_a_clean_capture_gets_the_network_for_clean_ones(tmp_path):
    model = tmp_path / "net.onnx"
    shutil.copy(bundled_models()["fast"], model)
    shutil.copy(bundled_models()["best"], clean_sibling(model))
    settings = {"model": model, "psf": BLUR, "engine": "onnxruntime", "threads": 1}
    with Session(**settings) as session:
        clean = session.restore_with_report(capture())[1]
        noisy = session.restore_with_report(capture(0.01))[1]
        again = session.restore_with_report(capture())[1]
    assert (clean.model, noisy.model, again.model) == ("net.clean", "net", "net.clean")
    assert clean.model_sha256 == again.model_sha256 == file_sha256(clean_sibling(model))
    assert noisy.model_sha256 == file_sha256(model)


@needs_network
def test_a_jpeg_file_never_gets_it(tmp_path):
    source = tmp_path / "capture.jpg"
    source.write_bytes(jpeg_encode(capture(), 100))
    with Session(psf=BLUR, threads=1) as session:
        assert session.process(source).model == "fast"
        decoded = session.restore_with_report(jpeg_decode(jpeg_encode(capture(), 90)))[1]
    assert decoded.model == "fast"
