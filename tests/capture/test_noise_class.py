"""Which captures are clean, and which network they get."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import synthetic
from imagine_deblur.capture.noise import is_clean, noise_variance
from imagine_deblur.degradation.forward import degrade, jpeg_decode, jpeg_encode
from imagine_deblur.engines.descriptor import clean_sibling, file_sha256, int8_sibling
from imagine_deblur.engines.model import bundled_models, resolve_model
from imagine_deblur.psf.models import PSF
from imagine_deblur.session import Session
from runtimes import needs_onnxruntime

BLUR = PSF.defocus(3.0)
needs_network = pytest.mark.skipif(not bundled_models(), reason="no network in this installation")


def capture(noise=0.0, quality=None, shape=(320, 352)):
    scene = synthetic.natural(*shape, seed=21)
    rng = np.random.default_rng(5)
    return degrade(scene, BLUR, noise=noise, jpeg_quality=quality, rng=rng)


@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_rounding_and_little_noise_are_clean(noise):
    image = capture(noise)
    assert is_clean([image], BLUR)
    assert is_clean([image.astype(np.float32) / np.float32(255)], BLUR)
    assert is_clean([image[:160], image[160:]], BLUR)


@pytest.mark.parametrize("grey", [False, True])
def test_noise_is_measured_in_units_of_rounding(grey):
    rng = np.random.default_rng(1)
    shape = (400, 400) if grey else (400, 400, 3)
    samples = 120 + rng.normal(0, 1.5, shape)
    found = noise_variance([np.rint(samples).astype(np.uint8)])
    assert found == pytest.approx((1.5**2 + 1 / 12) * 12, rel=0.1)


def test_noise_is_not_clean():
    assert not is_clean([capture(0.006)], BLUR)


@pytest.mark.parametrize("quality", [75, 90, 95])
@pytest.mark.parametrize("noise", [0.0, 0.006])
def test_what_was_jpeg_is_not_clean_although_its_noise_is_gone(quality, noise):
    decoded = capture(noise, quality)
    assert not is_clean([decoded], BLUR)
    assert not is_clean([decoded[3:, 6:]], BLUR)  # the coder's grid may begin anywhere


@pytest.mark.parametrize(
    "image",
    [np.full((300, 300, 3), 255, np.uint8), np.zeros((20, 20, 3), np.uint8), capture()[:9]],
    ids=["saturated", "black", "low"],
)
def test_without_information_a_capture_is_not_clean(image):
    assert noise_variance([image]) is None
    assert not is_clean([image], BLUR)


def test_a_large_capture_is_sampled():
    image = capture()
    large = np.tile(image, (6, 6, 1))
    assert noise_variance([large]) == pytest.approx(noise_variance([image]), rel=0.1)


@needs_onnxruntime
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


@needs_network
@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_the_bundled_networks_for_clean_captures_fit(name):
    path = bundled_models()[name]
    model = resolve_model(name)
    clean = model.for_capture(clean=True)
    assert clean.descriptor.path == clean_sibling(path)
    assert clean.descriptor.bank == model.descriptor.bank
    assert clean.halo == model.halo
    assert clean.descriptor.training["exposure"] == "clean"
    assert model.for_capture(clean=False) is model
    quantised = int8_sibling(path)
    if quantised.exists():
        int8 = resolve_model(name, "int8").for_capture(clean=True)
        assert int8.descriptor.path == int8_sibling(clean_sibling(path))


@needs_network
def test_the_network_for_clean_captures_is_worth_its_place(tmp_path):
    scene = synthetic.natural(400, 400, seed=22)
    image = degrade(scene, BLUR, rng=np.random.default_rng(6))
    errors = []
    alone = shutil.copy(bundled_models()["fast"], tmp_path / "alone.onnx")
    for model in (alone, bundled_models()["fast"]):
        with Session(model=model, psf=BLUR, threads=1) as session:
            restored = session.restore_with_report(image)[0]
        errors.append(float(np.mean((restored / 255.0 - scene) ** 2)))
    assert errors[1] < errors[0]
