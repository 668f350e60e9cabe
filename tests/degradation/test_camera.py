"""The camera: what it must leave alone, and what it must change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import synthetic
from imagine_deblur.degradation.camera import Camera, demosaic, draw_camera, mosaic
from imagine_deblur.errors import InputImageError, OptionsError

SCENE = synthetic.natural(96, 112, seed=3)


def rms(difference):
    return float(np.sqrt(np.mean(np.square(difference))))


@pytest.mark.parametrize("method", ["bilinear", "gradient"])
def test_a_mosaic_of_a_plane_in_space_is_undone(method):
    row, column = np.mgrid[:20, :24].astype(np.float32)
    image = np.stack([0.2 + 0.01 * row, 0.3 + 0.01 * column, 0.1 + 0.005 * (row + column)], axis=-1)
    found = demosaic(mosaic(image), method)
    np.testing.assert_allclose(found[3:-3, 3:-3], image[3:-3, 3:-3], atol=1e-6)


def test_gradients_correct_what_averages_smear():
    grey = SCENE.mean(axis=2, keepdims=True).repeat(3, axis=2)
    errors = [rms(demosaic(mosaic(grey), m) - grey) for m in ("gradient", "bilinear")]
    assert errors[0] < 0.6 * errors[1]


def test_raw_samples_survive_demosaicing():
    raw = mosaic(SCENE)
    for method in ("bilinear", "gradient"):
        np.testing.assert_allclose(mosaic(demosaic(raw, method)), raw, atol=1e-6)


def test_a_camera_that_does_nothing_delivers_its_rendering():
    flat = np.full((32, 32, 3), [0.3, 0.5, 0.7], np.float32)
    camera = Camera(exposure=0.8, white_balance=(1.02, 1.0, 0.98), curve=0.1)
    light = camera.expose(flat)
    delivered = camera.capture(light, np.random.default_rng(0)) / 255.0
    np.testing.assert_allclose(delivered, camera.render(light), atol=0.51 / 255)


def test_the_curve_keeps_black_middle_and_white():
    camera = Camera(curve=0.15)
    values = np.array([0.0, 0.5, 1.0], np.float32)
    scene = np.broadcast_to(values[:, None, None], (3, 4, 3)).astype(np.float32)
    rendered = camera.render(camera.expose(scene))
    np.testing.assert_allclose(rendered[:, 0, 0], values, atol=1e-4)
    quarter = np.full((3, 3, 3), 0.25, np.float32)
    assert camera.render(camera.expose(quarter)).max() < 0.25


def test_each_step_does_what_it_is_for():
    light = Camera().expose(SCENE)

    def taken(**changes):
        rng = np.random.default_rng(5)
        return replace(Camera(noise=0.01), **changes).capture(light, rng).astype(np.float64)

    def detail(image):
        return rms(np.diff(image.mean(axis=2), axis=1))

    plain = taken()
    assert detail(taken(luma_sigma_px=1.0)) < 0.9 * detail(plain)
    assert detail(taken(sharpen=0.8)) > 1.1 * detail(plain)
    assert (
        detail(plain)
        < detail(taken(sharpen=0.8, sharpen_threshold=2 / 255))
        < detail(taken(sharpen=0.8))
    )
    colour = [rms(np.diff(i[..., 0] - i.mean(axis=2))) for i in (taken(chroma_sigma_px=2.0), plain)]
    assert colour[0] < 0.7 * colour[1]
    assert rms(taken(jpeg_quality=60) - plain) > 1.0


def test_draws_are_repeatable_and_fill_their_ranges():
    drawn = [draw_camera(np.random.default_rng(seed)) for seed in range(200)]
    assert drawn[7] == draw_camera(np.random.default_rng(7))
    for name, low, high in (("exposure", 0.7, 1.0), ("noise", 0.002, 0.02), ("sharpen", 0.0, 0.8)):
        values = [getattr(camera, name) for camera in drawn]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
    assert {camera.demosaic for camera in drawn} == {"bilinear", "gradient"}


def test_what_cannot_be_photographed_is_refused():
    with pytest.raises(InputImageError, match="float32"):
        Camera().capture(SCENE.astype(np.float64), np.random.default_rng(0))
    with pytest.raises(InputImageError, match="3 px"):
        Camera().expose(SCENE[:2])
    with pytest.raises(OptionsError, match="exposure"):
        Camera(exposure=0.0)
