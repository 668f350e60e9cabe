"""NIQE and BRISQUE: their statistics against known distributions, themselves against other code."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import synthetic
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import InputImageError
from imagine_deblur.evaluation.metrics import brisque as brisque_module
from imagine_deblur.evaluation.metrics.brisque import brisque, brisque_features, halve, regression
from imagine_deblur.evaluation.metrics.niqe_eo import (
    Model,
    bundled_model,
    fit_model,
    niqe_eo,
    patch_features,
)
from imagine_deblur.evaluation.metrics.scene_statistics import (
    Shape,
    fit_shapes,
    normalised_contrast,
)
from imagine_deblur.psf import PSF, Gaussian

SCENE = synthetic.natural(200, 300, seed=8)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 4.0])
def test_shape_of_generalised_gaussians(alpha: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    samples = stats.gennorm.rvs(alpha, size=(1, 400_000), random_state=1)
    shape = fit_shapes(samples)
    deviation = math.sqrt(math.gamma(3 / alpha) / math.gamma(1 / alpha))
    assert shape.alpha[0] == pytest.approx(alpha, rel=0.03)
    assert shape.left[0] == pytest.approx(deviation, rel=0.02)
    assert shape.right[0] == pytest.approx(deviation, rel=0.02)
    assert shape.scale[0][0] == pytest.approx(1.0, rel=0.05)  # gennorm's own scale


def test_shape_of_an_asymmetric_normal_distribution() -> None:
    # Two halves of normal distributions, the left one three times as wide.
    rng = np.random.default_rng(0)
    half = np.abs(rng.standard_normal((1, 400_000)))
    left = rng.random((1, 400_000)) < 0.75  # weights as the widths: the density is continuous at 0
    shape = fit_shapes(np.where(left, -3.0 * half, half))
    assert shape.alpha[0] == pytest.approx(2.0, rel=0.02)
    assert shape.left[0] == pytest.approx(3.0, rel=0.01)
    assert shape.right[0] == pytest.approx(1.0, rel=0.01)
    mean = np.where(left, -3.0 * half, half).mean()
    assert shape.mean[0] == pytest.approx(mean, rel=0.02)


def test_a_symmetric_shape_has_no_mean() -> None:
    one = np.ones(3)
    np.testing.assert_allclose(Shape(np.array([0.5, 1.0, 3.0]), one, one).mean, 0.0, atol=1e-12)


@pytest.mark.parametrize(("border", "mode"), [("edge", "nearest"), ("constant", "constant")])
def test_normalised_contrast_is_the_direct_one(border: str, mode: str) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    plane = 255.0 * SCENE[..., 1].astype(np.float64)

    def smooth(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 7 / 6, mode=mode, truncate=3 / (7 / 6))

    mean = smooth(plane)
    deviation = np.sqrt(np.abs(smooth(plane**2) - mean**2))
    contrast, found = normalised_contrast(plane, 1.0, border)
    np.testing.assert_allclose(found, deviation, atol=1e-5)
    np.testing.assert_allclose(contrast, (plane - mean) / (deviation + 1.0), atol=1e-5)


def test_niqe_is_zero_for_its_own_model() -> None:
    features, _ = patch_features(SCENE)
    own = Model(features.mean(axis=0), np.cov(features, rowvar=False))
    assert niqe_eo(SCENE, own) == pytest.approx(0.0, abs=1e-9)


def test_niqe_is_the_mahalanobis_distance() -> None:
    # One patch has no covariance, so with S1 = 2 I the distance is Euclid's.
    patch = SCENE[:96, :96]
    features, _ = patch_features(patch)
    shifted = Model(features[0] + np.eye(36)[3] * 0.5 + np.eye(36)[20] * 1.2, 2.0 * np.eye(36))
    assert niqe_eo(patch, shifted) == pytest.approx(1.3, rel=1e-9)


def test_niqe_reads_patches_and_leaves_the_rest() -> None:
    features, sharpness = patch_features(SCENE)
    assert features.shape == (2 * 3, 36)
    assert sharpness.shape == (6,)
    assert niqe_eo(SCENE) == pytest.approx(niqe_eo(SCENE[:192, :288]))
    grey = np.repeat(SCENE[..., :1], 3, axis=2)
    assert niqe_eo(grey) == pytest.approx(niqe_eo(SCENE[..., 0]), rel=1e-5)


def test_niqe_rises_with_blur() -> None:
    scores = [niqe_eo(blur(SCENE, PSF((Gaussian(s),)))) for s in (1.0, 2.0, 3.0)]
    assert scores == sorted(scores)


def test_niqe_fits_sharp_patches_only() -> None:
    mixed = SCENE.copy()
    mixed[:, :96] = blur(SCENE, PSF((Gaussian(4.0),)))[:, :96]
    model, count = fit_model([mixed])
    assert count == 4
    features, _ = patch_features(mixed)
    np.testing.assert_allclose(model.mean, features[[1, 2, 4, 5]].mean(axis=0))


def test_the_bundled_model_is_a_distribution() -> None:
    model = bundled_model()
    assert model.mean.shape == (36,)
    assert np.linalg.eigvalsh(model.covariance).min() > 0.0
    assert (model.mean[[0, 18]] > 0.5).all()  # shape exponents of natural scenes
    assert (model.mean[[0, 18]] < 4.0).all()


def test_no_reference_refusals() -> None:
    with pytest.raises(InputImageError, match="96x96"):
        niqe_eo(SCENE[:90])
    with pytest.raises(InputImageError, match="flat"):
        niqe_eo(synthetic.flat(96, 96))
    with pytest.raises(InputImageError, match="16x16"):
        brisque(SCENE[:8])


def test_halving_a_ramp_keeps_it() -> None:
    ramp = np.tile(np.arange(40.0), (30, 1))
    halved = halve(ramp)
    assert halved.shape == (15, 20)
    np.testing.assert_allclose(
        halved[:, 1:-1], np.tile(np.arange(20.0) * 2 + 0.5, (15, 1))[:, 1:-1]
    )
    assert halve(np.ones((31, 17))).shape == (16, 8)


@pytest.fixture(name="package")
def fixture_package() -> object:
    """The ``brisque`` package, whose import warns about its own dependencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("brisque.brisque", exc_type=ImportError).BRISQUE()


@pytest.mark.parametrize("blur_px", [0.0, 1.5])
@pytest.mark.parametrize("shape", [(200, 300), (151, 177)])
def test_brisque_agrees_with_the_package(
    package: object, blur_px: float, shape: tuple[int, int]
) -> None:
    cv2 = pytest.importorskip("cv2")
    scene = np.clip(blur(SCENE[: shape[0], : shape[1]], PSF((Gaussian(blur_px),))), 0.0, 1.0)
    grey = scene.astype(np.float64) @ [0.2125, 0.7154, 0.0721]
    halved = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(halve(grey), halved, atol=1e-6)
    expected = []
    for plane in (grey, halved):
        found = package.calculate_brisque_features(plane, kernel_size=7, sigma=7 / 6)  # type: ignore[attr-defined]
        expected += [float(np.ravel(value)[0]) for value in found]
    features = brisque_features(scene)
    np.testing.assert_allclose(features, expected, rtol=2e-3, atol=2e-4)
    score = package.calculate_image_quality_score(np.array(expected))  # type: ignore[attr-defined]
    assert regression()(np.array(expected)) == pytest.approx(score, abs=0.01)
    assert brisque(scene) == pytest.approx(score, abs=0.2)


@pytest.mark.parametrize(
    ("blur_px", "shape", "published"),
    [
        (0.0, (200, 300), 31.078),
        (0.0, (151, 177), 33.643),
        (1.5, (200, 300), 56.354),
        (1.5, (151, 177), 55.988),
    ],
)
def test_brisque_keeps_the_published_scores(
    blur_px: float, shape: tuple[int, int], published: float
) -> None:
    """What `calculate_image_quality_score` of brisque 0.2.0 gave for these scenes, 2026-11-25."""
    scene = np.clip(blur(SCENE[: shape[0], : shape[1]], PSF((Gaussian(blur_px),))), 0.0, 1.0)
    assert brisque(scene) == pytest.approx(published, abs=0.2)


def test_brisque_parameters_are_made_by_their_script(tmp_path: Path) -> None:
    """The stored file holds what the script reads from an unpacked wheel."""
    with np.load(Path(brisque_module.__file__).with_name("brisque.npz")) as stored:
        models = tmp_path / "models"
        models.mkdir()
        (models / "normalize.pickle").write_bytes(
            pickle.dumps({"min_": stored["low"].tolist(), "max_": stored["high"].tolist()})
        )
        rows = "".join(
            f"{coefficient:.17g} "
            + " ".join(f"{i + 1}:{v:.6g}" for i, v in enumerate(vector))
            + "\n"
            for coefficient, vector in zip(stored["coefficients"], stored["vectors"], strict=True)
        )
        header = f"gamma {stored['gamma']:.9g}\nrho {stored['rho']:.9g}"
        (models / "svm.txt").write_text(f"{header}\nSV\n{rows}")
        script = Path(__file__).parents[2] / "research" / "brisque_parameters.py"
        subprocess.run(
            [sys.executable, str(script), str(models), str(tmp_path / "again.npz")], check=True
        )
        with np.load(tmp_path / "again.npz") as again:
            for name in ("low", "high", "gamma", "rho", "coefficients", "vectors"):
                np.testing.assert_array_equal(again[name], stored[name])


def test_the_module_fits_and_writes_a_model(tmp_path: Path) -> None:
    from PIL import Image

    from imagine_deblur.evaluation.metrics.niqe_eo import main

    for seed in range(2):
        scene = synthetic.natural(300, 300, seed=seed)
        Image.fromarray((scene * 255).astype(np.uint8)).save(tmp_path / f"{seed}.png")
    main(str(tmp_path), str(tmp_path / "model.npz"))
    with np.load(tmp_path / "model.npz") as stored:
        assert stored["covariance"].shape == (36, 36)
        assert "of 2 scenes" in str(stored["fitted_on"])
