"""The forward model against closed forms and known answers."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur.degradation.forward import (
    add_noise,
    blur,
    degrade,
    jpeg_roundtrip,
    quantise,
    spin,
)
from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.degradation.srgb import to_encoded, to_linear
from imagine_deblur.errors import InputImageError, OptionsError
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion


@pytest.mark.parametrize("psf", [PSF.defocus(5.0), PSF((Motion(9.0, 20.0),)), PSF()])
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (33, 20)])
def test_flat_stays_flat(psf: PSF, shape: tuple[int, int]) -> None:
    scene = synthetic.flat(*shape, value=0.37)
    np.testing.assert_allclose(blur(scene, psf), scene, atol=2e-6)


def test_flux_is_conserved() -> None:
    blurred = blur(synthetic.point(101), PSF.defocus(6.0, 0.8))
    assert blurred.sum() == pytest.approx(1.0, abs=2e-3)
    kernel = PSF.defocus(6.0, 0.8).kernel(31)
    np.testing.assert_allclose(blurred[35:66, 35:66], kernel, atol=1e-4)


@pytest.mark.parametrize("frequency", [0.05, 0.1, 0.125, 0.25])
def test_a_grating_loses_the_transfer_functions_share(frequency: float) -> None:
    # Columns 0 and 200 sit on crests, so reflection continues the grating exactly.
    scene = synthetic.grating(201, frequency)
    psf = PSF((Disk(2.5), Gaussian(0.5)))
    expected = 0.5 + (scene - 0.5) * psf.transfer([0.0], [frequency])[0, 0]
    np.testing.assert_allclose(blur(scene, psf), expected, atol=1e-5)


def test_gaussian_blur_of_a_gaussian_adds_in_quadrature() -> None:
    blurred = blur(synthetic.gaussian_spot(121, 3.0), PSF((Gaussian(4.0),)))
    expected = synthetic.gaussian_spot(121, 5.0) * (9.0 / 25.0)
    np.testing.assert_allclose(blurred, expected, atol=1e-5)


def test_sampled_kernel_agrees_with_direct_convolution() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    kernel = random_walk_kernel(11, np.random.default_rng(5))
    scene = synthetic.natural(40, 53)
    expected = np.stack(
        [ndimage.convolve(scene[..., b], kernel, mode="mirror") for b in range(3)], axis=-1
    )
    np.testing.assert_allclose(blur(scene, PSF.sampled(kernel)), expected, atol=2e-6)


def test_linear_light_differs_and_round_trips() -> None:
    scene = synthetic.natural(30, 30)
    np.testing.assert_allclose(to_encoded(to_linear(scene)), scene, atol=1e-5)
    assert to_linear(np.float32([0.5]))[0] == pytest.approx(0.21404, abs=1e-5)
    identity = blur(scene, PSF(), light="linear")
    np.testing.assert_allclose(identity, scene, atol=1e-4)
    psf = PSF.defocus(3.0)
    edge = synthetic.edge(64)
    assert np.abs(blur(edge, psf, light="linear") - blur(edge, psf)).max() > 0.03


@pytest.mark.parametrize("shape", [(1, 9), (2, 30), (7, 5)])
def test_borders_are_numpys_reflection(shape: tuple[int, int]) -> None:
    # A margin longer than the image: the reflection repeats.
    scene = np.random.default_rng(0).random(shape).astype(np.float32)
    psf = PSF((Gaussian(1.5),))
    wide = scene
    for axis, length in enumerate(shape):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (24, 24)
        wide = np.pad(wide, pad, mode="reflect" if length > 1 else "edge")
    rows, columns = shape
    expected = blur(wide, psf)[24 : 24 + rows, 24 : 24 + columns]
    np.testing.assert_allclose(blur(scene, psf), expected, atol=1e-5)


@pytest.mark.parametrize("model", ["shot+read", "awgn"])
def test_noise_has_the_stated_variance(model: str) -> None:
    scene = synthetic.flat(200, 200, value=0.4)
    noisy = add_noise(scene, 0.01, np.random.default_rng(0), model=model)  # type: ignore[arg-type]
    expected = 0.01 * (np.sqrt(0.5) if model == "shot+read" else 1.0)
    assert (noisy - scene).std() == pytest.approx(expected, rel=0.01)
    assert (noisy - scene).mean() == pytest.approx(0.0, abs=1e-4)
    assert noisy.dtype == np.float32


def test_no_noise_draws_nothing() -> None:
    rng = np.random.default_rng(7)
    add_noise(synthetic.flat(8, 8), 0.0, rng)
    assert rng.random() == np.random.default_rng(7).random()


def test_quantise_rounds_and_clips() -> None:
    values = np.float32([-0.1, 0.0, 0.49 / 255, 0.51 / 255, 0.5, 254.6 / 255, 1.3])
    assert quantise(values).tolist() == [0, 0, 0, 1, 128, 255, 255]
    every = np.arange(256)
    np.testing.assert_array_equal(quantise(every.astype(np.float32) / 255), every)


def test_jpeg_roundtrip_is_close_and_closer_at_higher_quality() -> None:
    scene = quantise(synthetic.natural(64, 80))
    errors = [np.abs(jpeg_roundtrip(scene, q).astype(int) - scene).mean() for q in (50, 85, 97)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 4.0
    grey = scene[..., 0]
    assert jpeg_roundtrip(grey, 90).shape == grey.shape
    full = jpeg_roundtrip(scene, 95, "4:4:4").astype(int) - scene
    assert np.abs(full).mean() < np.abs(jpeg_roundtrip(scene, 95).astype(int) - scene).mean()


def test_degrade_is_the_chain_and_is_seeded() -> None:
    scene = synthetic.natural(48, 40)
    psf = PSF.defocus(3.0)
    chain = jpeg_roundtrip(
        quantise(add_noise(blur(scene, psf), 0.006, np.random.default_rng(1))), 90
    )
    for _ in range(2):
        once = degrade(scene, psf, noise=0.006, jpeg_quality=90, rng=np.random.default_rng(1))
        np.testing.assert_array_equal(once, chain)
    other = degrade(scene, psf, noise=0.006, jpeg_quality=90, rng=np.random.default_rng(2))
    assert (other != chain).any()


def test_spin_keeps_the_centre_and_smears_the_rim() -> None:
    scene = synthetic.flat(201, 201, 0.2)[..., 0]
    scene[100, 100] = scene[100, 180] = scene[20, 100] = 1.0
    blurred = spin(scene, 4.0)
    arc = 80 * np.deg2rad(4.0)  # 5.6 px
    assert blurred[100, 100] == pytest.approx(1.0, abs=0.01)
    right = blurred[90:111, 175:186] - 0.2
    offset = np.arange(21) - 10
    flux = right.sum()
    assert flux == pytest.approx(0.8, rel=0.01)
    variance = (right.sum(axis=1) * offset**2).sum() / flux
    assert variance == pytest.approx(arc**2 / 12, rel=0.06)  # tangential: down, on the right
    assert abs((right.sum(axis=1) * offset).sum() / flux) < 0.01
    top = blurred[15:26, 90:111] - 0.2
    assert (top.sum(axis=0) * offset**2).sum() / top.sum() == pytest.approx(arc**2 / 12, rel=0.06)


def test_spin_of_a_radial_scene_changes_nothing() -> None:
    scene = synthetic.gaussian_spot(121, 20.0)
    inner = (slice(4, -4), slice(4, -4))  # reflected borders are not radial
    np.testing.assert_allclose(spin(scene, 3.0)[inner], scene[inner], atol=1e-5)
    flat = synthetic.flat(30, 41)
    np.testing.assert_allclose(spin(flat, 1.0), flat, atol=1e-6)
    np.testing.assert_array_equal(spin(flat, 0.0), flat)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4), dtype=np.float64), "float64"),
        (np.zeros((4, 4, 2), dtype=np.float32), r"\(4, 4, 2\)"),
        (np.zeros((0, 4), dtype=np.float32), r"\(0, 4\)"),
    ],
)
def test_wrong_arrays_are_named(image: np.ndarray, found: str) -> None:
    with pytest.raises(InputImageError, match=found):
        blur(image, PSF())


def test_wrong_options_are_named() -> None:
    scene, rng = synthetic.flat(8, 8), np.random.default_rng(0)
    with pytest.raises(OptionsError, match="quality=0"):
        jpeg_roundtrip(quantise(scene), 0)
    with pytest.raises(OptionsError, match="subsampling"):
        jpeg_roundtrip(quantise(scene), 90, "4:1:1")  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="s=-1"):
        add_noise(scene, -1.0, rng)
    with pytest.raises(OptionsError, match="model"):
        add_noise(scene, 1.0, rng, model="poisson")  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="degrees"):
        spin(scene, -1.0)
    with pytest.raises(OptionsError, match="light"):
        blur(scene, PSF(), light="raw")  # type: ignore[arg-type]
