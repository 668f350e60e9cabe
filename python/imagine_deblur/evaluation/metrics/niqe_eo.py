"""NIQE for Earth observation: how far a picture's statistics lie from those of sharp scenes.

Mittal, Soundararajan & Bovik, "Making a completely blind image quality analyzer", 2013. The
method prescribes a model fitted on sharp images; ours is fitted on sharp aerial and satellite
scenes, since the published one describes holiday photographs. Values therefore compare with each
other, not with those of other implementations, hence the name. `niqe_eo.npz` holds the mean and
covariance of 36 features and says what it was fitted on. This fits it again::

    python -m imagine_deblur.evaluation.metrics.niqe_eo FOLDER OUTPUT
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import InputImageError
from imagine_deblur.evaluation.metrics.filters import luma
from imagine_deblur.evaluation.metrics.scene_statistics import (
    NEIGHBOURS,
    fit_shapes,
    normalised_contrast,
)

FloatArray = npt.NDArray[np.float64]

PATCH_PX = 96
_SHARP_SHARE = 0.75  # of the sharpest patch's deviation, section II-B of the paper
_MODEL = Path(__file__).with_name("niqe_eo.npz")


@dataclass(frozen=True)
class Model:
    """A multivariate normal distribution of patch features.

    Attributes
    ----------
    mean : (36,) float64 ndarray
    covariance : (36, 36) float64 ndarray
    """

    mean: FloatArray
    covariance: FloatArray


def niqe_eo(image: npt.NDArray[np.floating], model: Model | None = None) -> float:
    """Distance of an image's patch statistics from those of sharp scenes; lower is better.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float ndarray, [0, 1]
        Encoded values; Rec. 601 luma is judged. R and C at least 96; what does not fill a patch of
        96x96 px at the right and lower edge is left out.
    model : Model, optional
        By default the one bundled.

    Returns
    -------
    float
        Non-negative, without an upper limit. Noise and ringing can lower it: never a gate alone.

    Raises
    ------
    InputImageError
        Smaller than a patch, or flat in every patch.

    Notes
    -----
    ``D = sqrt((m1 - m2)^T ((S1 + S2) / 2)^-1 (m1 - m2))``, eq. 10 of the paper, with the
    pseudo-inverse where a few patches leave S2 singular.
    """
    reference = bundled_model() if model is None else model
    features, _ = patch_features(image)
    features = features[np.isfinite(features).all(axis=1)]
    if features.shape[0] == 0:
        raise InputImageError("every patch of the image is flat; NIQE is not defined")
    mean = features.mean(axis=0)
    covariance = np.cov(features, rowvar=False) if features.shape[0] > 1 else 0.0
    difference = reference.mean - mean
    inverse = np.linalg.pinv(0.5 * (reference.covariance + covariance))
    return float(np.sqrt(difference @ inverse @ difference))


def patch_features(image: npt.NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
    """Features of each 96x96 patch at two scales, and the patches' sharpness.

    Returns
    -------
    features : (n, 36) float64 ndarray
        Eighteen at full and eighteen at half resolution (the mean of 2x2 px); NaN in flat patches.
    sharpness : (n,) float64 ndarray
        Mean local deviation in grey levels at full resolution.
    """
    rows, columns = (length // PATCH_PX * PATCH_PX for length in image.shape[:2])
    if rows == 0 or columns == 0:
        raise InputImageError(f"image of shape {image.shape} is smaller than {PATCH_PX}x{PATCH_PX}")
    plane = 255.0 * luma(image)[:rows, :columns].astype(np.float64)
    halved = plane.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    fine, deviation = normalised_contrast(plane, 1.0, "edge")
    coarse, _ = normalised_contrast(halved, 1.0, "edge")
    features = [_features(_patches(fine, PATCH_PX)), _features(_patches(coarse, PATCH_PX // 2))]
    return np.concatenate(features, axis=1), _patches(deviation, PATCH_PX).mean(axis=(1, 2))


def _patches(plane: FloatArray, size: int) -> FloatArray:
    rows, columns = plane.shape[0] // size, plane.shape[1] // size
    split = plane.reshape(rows, size, columns, size).swapaxes(1, 2)
    return split.reshape(rows * columns, size, size)


def _features(patches: FloatArray) -> FloatArray:
    """(n, 18): alpha and beta of the coefficients, then alpha, eta, betas of their products."""
    shape = fit_shapes(patches.reshape(patches.shape[0], -1))
    left, right = shape.scale
    columns = [shape.alpha, 0.5 * (left + right)]
    for offset in NEIGHBOURS:
        product = patches * np.roll(patches, offset, axis=(1, 2))
        shape = fit_shapes(product.reshape(patches.shape[0], -1))
        columns += [shape.alpha, shape.mean, *shape.scale]
    return np.stack(columns, axis=1)


@lru_cache(maxsize=1)
def bundled_model() -> Model:
    """The model in `niqe_eo.npz`."""
    with np.load(_MODEL, allow_pickle=False) as stored:
        return Model(stored["mean"], stored["covariance"])


def fit_model(images: Iterable[npt.NDArray[np.floating]]) -> tuple[Model, int]:
    """Fit a model on sharp images.

    Of each image the patches are used whose sharpness exceeds 0.75 of its sharpest patch's. Returns
    the model and the number of patches.
    """
    kept = []
    for image in images:
        features, sharpness = patch_features(image)
        chosen = (sharpness > _SHARP_SHARE * sharpness.max()) & np.isfinite(features).all(axis=1)
        kept.append(features[chosen])
    features = np.concatenate(kept)
    return Model(features.mean(axis=0), np.cov(features, rowvar=False)), features.shape[0]


def main(folder: str, output: str) -> None:
    """Fit on every picture of at least 96x96 px below a folder and write the model."""
    from imagine_deblur.evaluation.protocols import load_scene

    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in {".png", ".jpg"})
    scenes = (scene for scene in map(load_scene, paths) if min(scene.shape[:2]) >= PATCH_PX)
    model, count = fit_model(scenes)
    note = f"{count} sharp patches of {len(paths)} scenes"
    np.savez(output, mean=model.mean, covariance=model.covariance, fitted_on=np.array(note))
    print(f"{output}: {note}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
