"""Captures that networks and gains are trained on: scenes, their changes, blurs, cameras, coders.

Every draw depends on nothing but the generator that is passed in. The kinds of capture are those of
docs/results.md's protocols, with their ranges widened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagine_deblur.degradation import forward as degradation
from imagine_deblur.degradation.camera import draw_camera
from imagine_deblur.degradation.camera_description import CameraDescription
from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.errors import InputImageError
from imagine_deblur.evaluation.protocols import scale_contrast, truncated_gaussian
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, Sampled
from imagine_deblur.support.scene import fractal_field
from imagine_deblur.train.scenes import list_images

FloatImage = NDArray[np.float32]

MODES = {
    "camera": 0.14,
    "camera-low": 0.15,
    "camera-any": 0.03,
    "defocus": 0.06,
    "defocus+": 0.13,
    "defocus75": 0.09,
    "imagine": 0.04,
    "imagine90": 0.06,
    "gauss": 0.05,
    "gauss+": 0.09,
    "clean": 0.02,
    "any": 0.05,
    "slight": 0.03,
    "motion": 0.04,
    "shake": 0.03,
}
"""Share of each kind of capture; "clean" is not blurred, "any" is drawn from wide ranges, "slight"
is all but sharp and all but free of noise; "camera-any" is "any" through a camera."""

DRAWS_VERSION = 3
"""Raised whenever a draw changes: crops made by older draws are not reused."""

RADIUS_MAX_PX, SIGMA_MAX_PX, MOTION_MAX_PX = 9.0, 4.5, 15.0
"""Largest radius, sigma and motion drawn, px: the networks' declared PSF range."""

NOISE_MAX = 0.02
"""Largest noise scale s drawn, full scale 1."""

GREY_SHARE = 0.03

UNEVEN_SHARE = 0.25
"""How often a camera's defocus is no even disk of one size: real lenses are not perfect."""

KINDS = ("aerial", "satellite", "iss")
_SHARES, _IMAGINE_SHARES = (0.35, 0.2, 0.45), (0.05, 0.55, 0.4)


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


def clouded(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """A darker, flatter scene below small bright clouds: rims show there first."""
    rows, columns = image.shape[:2]
    ground = scale_contrast(image, float(rng.uniform(0.1, 0.7))) * rng.uniform(0.3, 1.0)
    field = fractal_field(rows, columns, float(rng.uniform(1.3, 2.1)), rng)
    edge = np.exp(rng.uniform(0.0, 3.0))
    cover = np.clip(edge * (field - np.quantile(field, rng.uniform(0.88, 0.995))), 0.0, 1.0)
    cover *= rng.uniform(0.4, 1.0)
    grain = fractal_field(rows, columns, 1.0, rng)
    cloud = rng.uniform(0.6, 1.0) * (1.0 + 0.06 * grain)
    clouded = ground + cover[..., None] * (cloud[..., None] - ground)
    return np.asarray(np.clip(clouded, 0, 1), np.float32)


def uneven_blur(
    light: FloatImage, radius: float, sigma: float, rng: np.random.Generator
) -> FloatImage:
    """The defocus of a lens with aberrations.

    Spherical aberration brightens or darkens the middle of the disk; colours differ in radius by
    some percent.
    """
    inner = radius * rng.uniform(0.4, 0.8)
    # The middle's density stays above zero: share / inner^2 + (1 - share) / radius^2 > 0.
    share = max(float(rng.uniform(-0.25, 0.3)), -0.8 / (radius**2 / inner**2 - 1.0))
    bands = []
    for band in range(light.shape[2]):
        size = 1.0 + 0.02 * rng.standard_normal()
        plane = np.ascontiguousarray(light[..., band])
        outer = degradation.blur(plane, PSF((Disk(radius * size), Gaussian(sigma))))
        middle = degradation.blur(plane, PSF((Disk(inner * size), Gaussian(sigma))))
        bands.append(outer + np.float32(share) * (middle - outer))
    return np.stack(bands, axis=2)


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
    """Another contrast, tone, slope of the spectrum; sometimes clouds, lights, or darkness."""
    kind = rng.random()
    if kind < 0.13:
        image = steepened(image, rng)
    elif kind < 0.22:
        image = clouded(image, rng)
    elif kind < 0.25:
        image = lit(image, rng)
    elif kind < 0.28:
        image = image * np.float32(rng.uniform(0.05, 0.5))
    elif kind < 0.29:
        image = image * np.float32(rng.uniform(1.3, 2.2))
    if rng.random() < GREY_SHARE:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.3:
        image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.uniform(-0.3, 0.3)))
    if mode == "camera-low":
        image = scale_contrast(image, float(rng.uniform(0.15, 0.5)))
    elif mode.startswith("imagine"):
        image = scale_contrast(image, 0.7 * float(np.exp(rng.normal(0, 0.08))))
    elif mode in ("any", "camera-any"):
        image = scale_contrast(image, float(np.exp(rng.uniform(np.log(0.08), np.log(1.1)))))
    elif rng.random() < 0.25:
        image = scale_contrast(image, float(rng.uniform(0.3, 1.1)))
    return np.clip(image, 0, 1).astype(np.float32)


def any_size(rng: np.random.Generator) -> tuple[float, float]:
    """Radius of a disk, 0 in three draws of ten, and sigma of a Gaussian on top of it, px."""
    if rng.random() < 0.7:
        return float(rng.uniform(0.3, RADIUS_MAX_PX)), float(rng.uniform(0.0, 1.2))
    return 0.0, float(rng.uniform(0.2, SIGMA_MAX_PX))


def round_psf(radius: float, sigma: float) -> PSF:
    """A disk smoothed by a Gaussian, or the Gaussian alone; px."""
    return PSF((Disk(radius), Gaussian(sigma))) if radius else PSF((Gaussian(sigma),))


def draw_capture(image: FloatImage, mode: str, rng: np.random.Generator) -> Capture:
    """Degrade a scene as `mode` does."""
    sharp = change_scene(image, rng, mode)
    radius, sigma, cut = 0.0, 0.5, False
    noise, quality = 0.006, None
    model: degradation.NoiseModel = "shot+read"
    if mode.startswith("camera"):
        camera = draw_camera(rng)
        if mode == "camera-any":
            radius, sigma = any_size(rng)
        else:
            radius = float(rng.uniform(1.5, 7.5))
        psf = round_psf(radius, sigma)
        if rng.random() < 0.08:
            psf, radius, sigma = PSF(()), 0.0, 0.0
        light = camera.expose(sharp)
        if radius and rng.random() < UNEVEN_SHARE:
            blurred = uneven_blur(light, radius, sigma, rng)
        else:
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
    elif mode == "slight":
        sigma = float(rng.uniform(0.2, 0.9))
        radius = float(rng.uniform(0.3, 1.3)) if rng.random() < 0.4 else 0.0
        noise = float(rng.choice([0.0, 0.0, 5e-4, 2e-3]))
        quality = None if rng.random() < 0.7 else int(rng.integers(88, 99))
    elif mode in ("clean", "any", "motion", "shake"):
        noise = (
            0.0
            if rng.random() < 0.2
            else float(np.exp(rng.uniform(np.log(5e-4), np.log(NOISE_MAX))))
        )
        quality = None if rng.random() < 0.35 else int(rng.integers(60, 99))
        if mode in ("motion", "shake") and rng.random() < 0.6:
            noise, quality = 0.006, int(rng.integers(86, 95))
        if mode == "any":
            radius, sigma = any_size(rng)
    if mode == "clean":
        psf, sigma = PSF(()), 0.0
    elif mode == "motion":
        length, angle = float(rng.uniform(3.0, MOTION_MAX_PX)), float(rng.uniform(0.0, 180.0))
        psf = PSF((Motion(length, angle), Gaussian(0.5)))
    elif mode == "shake":
        psf = PSF((Sampled(random_walk_kernel(25, rng)),))
    elif cut:
        psf = truncated_gaussian(sigma, 15)
    else:
        psf = round_psf(radius, sigma)
    blurred = degradation.blur(sharp, psf) if psf.components else sharp
    degraded = degradation.expose(
        blurred, noise=noise, noise_model=model, jpeg_quality=quality, rng=rng
    )
    is_round = mode not in ("motion", "shake")
    return Capture(sharp, degraded, psf, radius, sigma, is_round, quality)


def described_capture(
    camera: CameraDescription, image: FloatImage, rng: np.random.Generator
) -> Capture:
    """Degrade a scene as a described camera would take it, in the contrast of its captures."""
    drawn = camera.draw(rng)
    sharp = np.clip(scale_contrast(image, drawn.contrast), 0, 1).astype(np.float32)
    return Capture(
        sharp,
        drawn.capture(sharp, rng),
        drawn.psf,
        drawn.radius_px,
        drawn.sigma_px,
        drawn.length_px == 0,
        drawn.jpeg_quality,
    )


@lru_cache(maxsize=1024)
def decoded(path: Path) -> NDArray[np.uint8]:
    """A scene as (R, C, 3) uint8, kept for the next time."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


class SceneFiles:
    """Sharp scenes by kind, decoded when asked for.

    Parameters
    ----------
    folder : Path
        With sub-folders of `KINDS`; without, its scenes are of one kind.

    Raises
    ------
    InputImageError
        It holds no image.
    """

    def __init__(self, folder: Path) -> None:
        kinds = {kind: list_images(folder / kind) for kind in KINDS}
        found = {kind: paths for kind, paths in kinds.items() if paths}
        self.kinds = found or {"": list_images(folder)}
        if not any(self.kinds.values()):
            raise InputImageError(f"no scenes under {folder}", path=str(folder))

    def draw_kind(self, rng: np.random.Generator, mode: str) -> str:
        """The kind a scene for this sort of capture is of, among those at hand."""
        if "" in self.kinds:
            return ""
        shares = np.array(_IMAGINE_SHARES if mode.startswith("imagine") else _SHARES)
        shares *= [kind in self.kinds for kind in KINDS]
        return str(rng.choice(KINDS, p=shares / shares.sum()))

    def draw(self, rng: np.random.Generator, kind: str) -> FloatImage:
        """A random piece of 256 to 420 px a side, turned, now and then reduced."""
        paths = self.kinds[kind]
        image = decoded(paths[int(rng.integers(len(paths)))])
        if min(image.shape[:2]) > 840 and rng.random() < 0.4:
            top, left = (int(rng.integers(n - 839)) for n in image.shape[:2])
            piece = Image.fromarray(image[top : top + 840, left : left + 840])
            image = np.asarray(piece.resize((420, 420), Image.Resampling.LANCZOS))
        rows, columns = (min(n, int(rng.integers(256, 421))) for n in image.shape[:2])
        top = int(rng.integers(image.shape[0] - rows + 1))
        left = int(rng.integers(image.shape[1] - columns + 1))
        piece = np.rot90(image[top : top + rows, left : left + columns], int(rng.integers(4)))
        return np.ascontiguousarray(piece, np.float32) / np.float32(255)


def draw_mode(rng: np.random.Generator) -> str:
    """One of `MODES` by its share."""
    shares = np.array(list(MODES.values()))
    return str(rng.choice(list(MODES), p=shares / shares.sum()))
