"""Synthetic captures for the learned ring gains: what the regressor sees, and the best gains.

A capture is kept as its spectra, what is believed of its PSF, and the sums over frequency from
which the error of any radial gain follows (Parseval): ``|Y|^2``, ``Re(X Y*)`` and ``|X|^2``. They
are taken of the cosine transform of the whole crop: a crop blurred under reflection is diagonal in
it, so that no window smears the zeros of a disk.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagine_deblur.capture.ring_spectra import ring_spectra
from imagine_deblur.degradation import forward as degradation
from imagine_deblur.degradation.camera import draw_camera
from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.errors import EstimationError
from imagine_deblur.evaluation.protocols import scale_contrast, truncated_gaussian
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, Sampled
from imagine_deblur.psf.estimation.estimator import estimate_from, summary_of
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.otf_moments import (
    ENTRIES,
    FREQUENCY,
    HIGHEST,
    OtfMoments,
    moments_of_normal,
    moments_of_psf,
)
from imagine_deblur.train.blind_data import quality_table

FloatImage = NDArray[np.float32]

MODES = {
    "camera": 0.17,
    "camera-low": 0.19,
    "defocus": 0.06,
    "defocus+": 0.12,
    "defocus75": 0.08,
    "imagine": 0.05,
    "imagine90": 0.05,
    "gauss": 0.05,
    "gauss+": 0.07,
    "clean": 0.04,
    "any": 0.10,
    "motion": 0.05,
    "shake": 0.05,
}
"""Share of each kind of capture; "clean" is not blurred, "any" is drawn from wide ranges."""

BELIEFS = ("exact", "unsure", "file", "array")
"""What is known of the PSF: itself, a record with a covariance, a blind estimate with the JPEG's
table at hand, and one without."""

DIRECTION_RINGS, DIRECTION_GROUPS = 64, 8


@dataclass(frozen=True)
class Capture:
    """One capture and its truth."""

    sharp: FloatImage
    degraded: NDArray[np.uint8]
    psf: PSF
    radius: float
    sigma: float
    round: bool
    quality: int | None


def steepened(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """A scene whose spectrum falls faster than 1/f^2: clouds, haze, soft ground."""
    order, corner = rng.uniform(0.3, 1.6), np.exp(rng.uniform(np.log(0.01), np.log(0.1)))
    rows, columns = image.shape[:2]
    padded = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")
    f2 = np.fft.fftfreq(2 * rows)[:, None] ** 2 + np.fft.rfftfreq(2 * columns)[None, :] ** 2
    gain = (1 + f2 / corner**2) ** (-order / 2)
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * gain[..., None]
    smooth = np.fft.irfft2(spectrum, s=padded.shape[:2], axes=(0, 1))
    return np.ascontiguousarray(smooth[:rows, :columns], np.float32)


def lit(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """A dark scene with point lights."""
    image = image * np.float32(rng.uniform(0.02, 0.3))
    rows, columns = image.shape[:2]
    for _ in range(int(rng.integers(5, 60))):
        row, column = int(rng.integers(rows)), int(rng.integers(columns))
        colour = rng.uniform(0.4, 1.0, 3) * np.exp(rng.uniform(-1.5, 0.3))
        image[row : row + int(rng.integers(1, 3)), column : column + int(rng.integers(1, 3))] += (
            colour.astype(np.float32)
        )
    return np.clip(image, 0, 1).astype(np.float32)


def change_scene(image: FloatImage, rng: np.random.Generator, mode: str) -> FloatImage:
    """Another contrast, tone, slope of the spectrum; sometimes dark, sometimes with lights."""
    kind = rng.random()
    if kind < 0.12:
        image = steepened(image, rng)
    elif kind < 0.15:
        image = lit(image, rng)
    elif kind < 0.18:
        image = image * np.float32(rng.uniform(0.05, 0.5))
    if rng.random() < 0.3:
        image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.uniform(-0.3, 0.3)))
    if mode == "camera-low":
        image = scale_contrast(image, float(rng.uniform(0.15, 0.5)))
    elif mode.startswith("imagine"):
        image = scale_contrast(image, 0.7 * float(np.exp(rng.normal(0, 0.08))))
    elif mode == "any":
        image = scale_contrast(image, float(np.exp(rng.uniform(np.log(0.08), np.log(1.1)))))
    elif rng.random() < 0.25:
        image = scale_contrast(image, float(rng.uniform(0.3, 1.1)))
    return np.clip(image, 0, 1).astype(np.float32)


def draw_capture(image: FloatImage, mode: str, rng: np.random.Generator) -> Capture:
    """Degrade a scene as `mode` does."""
    sharp = change_scene(image, rng, mode)
    radius, sigma, cut = 0.0, 0.5, False
    noise, quality = 0.006, None
    model: degradation.NoiseModel = "shot+read"
    if mode.startswith("camera"):
        radius = float(rng.uniform(1.5, 7.5))
        camera = draw_camera(rng)
        psf = PSF((Disk(radius), Gaussian(sigma)))
        if rng.random() < 0.08:
            psf, radius, sigma = PSF(()), 0.0, 0.0
        light = camera.expose(sharp)
        blurred = degradation.blur(light, psf) if psf.components else light
        degraded = camera.capture(np.clip(blurred, 0, 1), rng)
        return Capture(camera.render(light), degraded, psf, radius, sigma, True,
                       camera.jpeg_quality)  # fmt: skip
    if mode == "defocus":
        radius, noise = float(rng.uniform(1.5, 8.3)), 0.002
    elif mode == "defocus+":
        radius, quality = float(rng.uniform(1.5, 8.3)), int(rng.integers(83, 99))
    elif mode == "defocus75":
        radius, quality = float(rng.uniform(1.5, 8.3)), int(rng.integers(65, 83))
    elif mode == "imagine":
        radius, noise = float(rng.normal(6.8, 0.25)), float(rng.choice([0.0, 0.0, 0.001]))
    elif mode == "imagine90":
        radius, quality = float(rng.normal(6.8, 0.25)), int(rng.integers(86, 95))
    elif mode == "gauss":
        sigma, cut, noise = float(rng.uniform(0.2, 4.2)), bool(rng.random() < 0.7), 0.0
    elif mode == "gauss+":
        sigma, cut, noise = float(rng.uniform(0.8, 4.2)), bool(rng.random() < 0.7), 0.001
        model = "awgn"
    elif mode in ("clean", "any", "motion", "shake"):
        noise = (
            0.0 if rng.random() < 0.2 else float(np.exp(rng.uniform(np.log(5e-4), np.log(0.02))))
        )
        quality = None if rng.random() < 0.35 else int(rng.integers(60, 99))
        if mode in ("motion", "shake") and rng.random() < 0.6:
            noise, quality = 0.006, int(rng.integers(86, 95))
        if mode == "any" and rng.random() < 0.7:
            radius, sigma = float(rng.uniform(0.3, 9.0)), float(rng.uniform(0.0, 1.2))
        elif mode == "any":
            sigma = float(rng.uniform(0.2, 4.5))
    if mode == "clean":
        psf, sigma = PSF(()), 0.0
    elif mode == "motion":
        length, angle = float(rng.uniform(3.0, 15.0)), float(rng.uniform(0.0, 180.0))
        psf = PSF((Motion(length, angle), Gaussian(0.5)))
    elif mode == "shake":
        psf = PSF((Sampled(random_walk_kernel(25, rng)),))
    elif cut:
        psf = truncated_gaussian(sigma, 15)
    else:
        psf = PSF((Disk(radius), Gaussian(sigma))) if radius else PSF((Gaussian(sigma),))
    blurred = degradation.blur(sharp, psf) if psf.components else sharp
    degraded = degradation.expose(
        blurred, noise=noise, noise_model=model, jpeg_quality=quality, rng=rng
    )
    is_round = mode not in ("motion", "shake")
    return Capture(sharp, degraded, psf, radius, sigma, is_round, quality)


def colour_planes(image: FloatImage) -> FloatImage:
    """Luma and the two differences, (3, R, C)."""
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([luma, image[..., 0] - luma, image[..., 2] - luma])


def round_sums(sharp: FloatImage, degraded: FloatImage) -> NDArray[np.float32]:
    """``|Y|^2``, ``Re(X Y*)``, ``|X|^2`` of `colour_planes` at `FREQUENCY`: (3, 3, ENTRIES).

    The first axis is the plane; sums are in units of squared error a pixel.
    """
    from scipy.fft import dctn

    rows, columns = sharp.shape[:2]
    spectra = [
        dctn(colour_planes(image), type=1, axes=(1, 2), overwrite_x=True)
        for image in (sharp, degraded)
    ]
    fy = np.arange(rows) / (2 * (rows - 1))
    fx = np.arange(columns) / (2 * (columns - 1))
    ends = [
        np.where((np.arange(n) == 0) | (np.arange(n) == n - 1), 1.0, 2.0) for n in (rows, columns)
    ]
    weight = np.outer(ends[0], ends[1]) / (4.0 * (rows - 1) * (columns - 1)) ** 2
    index = np.minimum((np.hypot(fy[:, None], fx[None, :]) * (ENTRIES / HIGHEST)), ENTRIES - 1)
    index = index.astype(np.intp).ravel()
    weight[0, 0] = 0.0  # the mean stays as it is
    result = np.empty((3, 3, ENTRIES), np.float32)
    for plane in range(3):
        x, y = spectra[0][plane].astype(np.float64), spectra[1][plane].astype(np.float64)
        for k, product in enumerate((y * y, x * y, x * x)):
            result[plane, k] = np.bincount(index, (weight * product).ravel(), ENTRIES)
    return result


def direction_sums(
    sharp: FloatImage, degraded: FloatImage, believed: PSF
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The same sums for a PSF with a direction, over rings and, within a ring, groups of |H|.

    Returns
    -------
    sums : (3, 3, ENTRIES) float32 ndarray
        ``Re(X Y*)`` with the phase of the believed H taken out.
    magnitude, frequency : (ENTRIES,) float32 ndarray
        Mean |H| and frequency of each group.
    """
    rows, columns = sharp.shape[:2]
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    window = (window / np.sqrt(np.mean(window**2))).astype(np.float32)
    planes = [colour_planes(image) for image in (sharp, degraded)]
    means = planes[1].mean(axis=(1, 2), keepdims=True)
    spectra = [np.fft.rfft2((p - means) * window, norm="ortho") for p in planes]
    otf = believed.otf(rows, columns)
    magnitude = np.abs(otf)
    phase = np.conj(otf) / np.maximum(magnitude, 1e-6)
    f = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    ring = np.minimum((f * (DIRECTION_RINGS / HIGHEST)).astype(np.intp), DIRECTION_RINGS - 1)
    order = np.lexsort((magnitude.ravel(), ring.ravel()))
    counts = np.bincount(ring.ravel(), minlength=DIRECTION_RINGS)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.arange(order.size) - starts
    group = np.empty(order.size, np.intp)
    sorted_ring = ring.ravel()[order]
    group[order] = sorted_ring * DIRECTION_GROUPS + rank * DIRECTION_GROUPS // counts[sorted_ring]
    weight = np.full(f.shape, 2.0)
    weight[:, 0] = 1.0
    if columns % 2 == 0:
        weight[:, -1] = 1.0
    weight /= rows * columns
    weight[0, 0] = 0.0
    sums = np.empty((3, 3, ENTRIES), np.float32)
    for plane in range(3):
        x, y = spectra[0][plane], spectra[1][plane]
        products = (np.abs(y) ** 2, (np.conj(x) * y * phase).real, np.abs(x) ** 2)
        for k, product in enumerate(products):
            sums[plane, k] = np.bincount(group, (weight * product).ravel(), ENTRIES)
    total = np.maximum(np.bincount(group, minlength=ENTRIES), 1)
    mean_magnitude = np.bincount(group, magnitude.ravel(), ENTRIES) / total
    mean_f = np.bincount(group, f.ravel(), ENTRIES) / total
    return sums, mean_magnitude.astype(np.float32), mean_f.astype(np.float32)


@lru_cache(maxsize=1024)
def _decoded(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


class SceneFiles:
    """Sharp scenes by kind, decoded when asked for."""

    def __init__(self, folder: Path) -> None:
        self.kinds = {
            kind: sorted(p for p in (folder / kind).iterdir() if p.suffix.lower() != ".txt")
            for kind in ("aerial", "satellite", "iss")
        }

    def draw(self, rng: np.random.Generator, kind: str) -> FloatImage:
        """A random piece of 256 to 420 px a side, turned, now and then reduced."""
        paths = self.kinds[kind]
        image = _decoded(paths[int(rng.integers(len(paths)))])
        if min(image.shape[:2]) > 840 and rng.random() < 0.4:
            top, left = (int(rng.integers(n - 839)) for n in image.shape[:2])
            piece = Image.fromarray(image[top : top + 840, left : left + 840])
            image = np.asarray(piece.resize((420, 420), Image.Resampling.LANCZOS))
        rows, columns = (min(n, int(rng.integers(256, 421))) for n in image.shape[:2])
        top = int(rng.integers(image.shape[0] - rows + 1))
        left = int(rng.integers(image.shape[1] - columns + 1))
        piece = np.rot90(image[top : top + rows, left : left + columns], int(rng.integers(4)))
        return np.ascontiguousarray(piece, np.float32) / np.float32(255)


def example(scenes: SceneFiles, seed: int, index: int) -> dict[str, Any] | None:
    """One training example, a pure function of its arguments; None of a flat capture."""
    rng = np.random.default_rng((seed, index))
    mode = str(rng.choice(list(MODES), p=np.array(list(MODES.values())) / sum(MODES.values())))
    shares = (0.05, 0.55, 0.4) if mode.startswith("imagine") else (0.35, 0.2, 0.45)
    kind = str(rng.choice(["aerial", "satellite", "iss"], p=shares))
    capture = draw_capture(scenes.draw(rng, kind), mode, rng)
    spectra = ring_spectra([capture.degraded])
    if spectra is None:
        return None
    degraded = capture.degraded.astype(np.float32) / np.float32(255)
    table = table_scalars(quality_table(capture.quality) if capture.quality else None, known=True)
    unknown = table_scalars(None, known=False)
    try:
        summary = summary_of(capture.degraded)
    except EstimationError:
        summary = None
    moments: dict[str, OtfMoments] = {}
    nothing = OtfMoments(np.zeros(ENTRIES), np.full(ENTRIES, 0.5))
    scalars = np.zeros((2, 5), np.float32)
    believed = capture.psf
    for k, (name, about) in enumerate((("file", table), ("array", unknown))):
        if summary is None:
            moments[name] = nothing
            continue
        estimate = estimate_from(summary, about)
        moments[name] = estimate.distribution.moments
        scalars[k] = estimate.distribution.facts
        if k == 1 and not capture.round and rng.random() < 0.4:
            believed = estimate.psf if estimate.psf.components else believed
    result: dict[str, Any] = {
        "mode": mode,
        "kind": kind,
        "table": table,
        "scalars": scalars,
        "spectra": spectra.stacked,
        "average": spectra.mean,
        "directed": not capture.round,
        "truth": (capture.radius, capture.sigma),
    }
    if capture.round:
        moments["exact"] = moments_of_psf(capture.psf)
        error = np.exp(rng.uniform(np.log(0.003), np.log(0.1)))
        spread = np.array([error * max(capture.radius, 0.3), 3 * error * max(capture.sigma, 0.3)])
        moments["unsure"] = moments_of_normal(
            max(0.0, capture.radius + float(rng.normal(0, spread[0]))) if capture.radius else 0.0,
            max(0.0, capture.sigma + float(rng.normal(0, spread[1]))),
            np.diag(spread**2) * (np.array([1.0 if capture.radius else 0.0, 1.0])[:, None]),
        )
        result["sums"] = round_sums(capture.sharp, degraded)
        result["frequency"] = FREQUENCY.astype(np.float32)
    else:
        sums, magnitude, frequency = direction_sums(capture.sharp, degraded, believed)
        result["sums"], result["frequency"] = sums, frequency
        own = OtfMoments(magnitude.astype(np.float64), np.zeros(ENTRIES))
        moments = dict.fromkeys(BELIEFS, own)
    result["moments"] = np.array(
        [[moments[name].mean, moments[name].deviation] for name in BELIEFS], np.float32
    )
    return result


def main(arguments: list[str] | None = None) -> int:
    """Make examples into numbered files of 500."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, help="folder with aerial, satellite and iss")
    parser.add_argument("output", type=Path, help="folder for part-NNNN.npz")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=int, default=500, help="examples a file")
    options = parser.parse_args(arguments)
    scenes = SceneFiles(options.scenes)
    options.output.mkdir(parents=True, exist_ok=True)
    for first in range(0, options.count, options.part):
        path = options.output / f"part-{options.seed:02d}-{first // options.part:04d}.npz"
        if path.exists():
            continue
        last = min(first + options.part, options.count)
        made = [e for i in range(first, last) if (e := example(scenes, options.seed, i))]
        arrays = {k: np.array([e[k] for e in made]) for k in made[0]}
        np.savez(path.with_suffix(".part"), allow_pickle=False, **arrays)
        path.with_suffix(".part.npz").rename(path)
        print(path.name, len(made), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
