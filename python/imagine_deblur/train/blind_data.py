"""Synthetic captures for the blind PSF estimator: curves and the truth behind them.

Captures come in groups that share instrument, noise and JPEG quality, so that training can pool a
few of one group the way a joint estimate, or a larger frame, does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagine_deblur.degradation import forward as degradation
from imagine_deblur.degradation.camera import Camera, draw_camera
from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.evaluation.protocols import scale_contrast, truncated_gaussian
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, Sampled
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.estimation.spectrum import Summary, summarise
from imagine_deblur.support.colour import LUMA_NOISE, LUMA_WEIGHTS
from imagine_deblur.train.captures import decoded, steepened

FloatImage = npt.NDArray[np.float32]

TRUTH = ("radius", "sigma", "truncated", "noise", "quality", "length", "angle", "other")
"""Columns of the truth: px, px, 1 for a Gaussian cut to 15x15, amplitude s or -1 behind a camera,
JPEG quality or 0, px of motion, its direction in degrees, 1 for blurs that are neither disk nor
Gaussian."""

SHARES = {"aerial": 0.45, "satellite": 0.15, "iss": 0.4}
"""How often a scene comes from a folder of that name; any other counts as much as all of them."""

CAMERA_SHARE = 0.35
"""Share of the instruments that are cameras with a processing of their own."""

# Luma of independent noise of equal amplitude in red, green and blue, and of their rounding.
_ROUNDING = LUMA_NOISE / np.sqrt(12) / 255


@dataclass(frozen=True)
class Blur:
    """A blur to be found.

    Attributes
    ----------
    psf : PSF
    radius, sigma : float
        Of disk and Gaussian, px.
    truncated : bool
        The Gaussian is cut to 15x15 px.
    length, angle : float
        Of linear motion: px, degrees.
    other : bool
        Neither a disk nor a Gaussian.
    """

    psf: PSF
    radius: float = 0.0
    sigma: float = 0.0
    truncated: bool = False
    length: float = 0.0
    angle: float = 0.0
    other: bool = False


def round_blur(radius: float, sigma: float) -> Blur:
    """A disk times a Gaussian; a part of size 0 is left out."""
    parts: list[Disk | Gaussian] = []
    if radius > 0:
        parts.append(Disk(radius))
    if sigma > 0:
        parts.append(Gaussian(sigma))
    return Blur(PSF(tuple(parts)), radius, sigma)


def draw_blur(rng: np.random.Generator) -> Blur:
    """The prior: disks with little Gaussian, Gaussians, nothing, wide mixtures, motion, shake."""
    kind = rng.random()
    if kind < 0.56:
        return round_blur(rng.uniform(0.3, 9.0), rng.uniform(0.0, 1.0))
    if kind < 0.78:
        sigma = rng.uniform(0.2, 4.2)
        if rng.random() < 0.5:
            return Blur(truncated_gaussian(sigma, 15), 0.0, sigma, truncated=True)
        return round_blur(0.0, sigma)
    if kind < 0.83:
        return round_blur(0.0, rng.uniform(0.0, 0.25))
    if kind < 0.88:
        return round_blur(rng.uniform(0.3, 8.0), rng.uniform(1.0, 3.0))
    if kind < 0.97:
        length, angle, sigma = (
            rng.uniform(3.0, 16.0),
            rng.uniform(0.0, 180.0),
            rng.uniform(0.2, 0.8),
        )
        psf = PSF((Motion(length, angle), Gaussian(sigma)))
        return Blur(psf, 0.0, sigma, length=length, angle=angle, other=True)
    return Blur(PSF((Sampled(random_walk_kernel(25, rng)),)), other=True)


def add_sensor_noise(
    image: FloatImage,
    s: float,
    rng: np.random.Generator,
    *,
    model: degradation.NoiseModel,
    coloured: bool,
) -> FloatImage:
    """Noise of a luma plane as three independent bands with amplitude s would give it.

    Coloured noise is what demosaicing, denoising and sharpening in a camera leave: white noise
    through a random smooth filter, of the same variance.
    """
    s = s * LUMA_NOISE
    if not coloured or s == 0.0:
        return degradation.add_noise(image, s, rng, model=model)
    field = degradation.add_noise(np.zeros_like(image), 1.0, rng, model="awgn")
    width, sharpening = rng.uniform(0.3, 1.3), rng.uniform(0.0, 2.0)
    fy = np.fft.fftfreq(image.shape[0])[:, None]
    squared = fy**2 + np.fft.rfftfreq(image.shape[1])[None, :] ** 2
    gain = np.exp(-2 * np.pi**2 * width**2 * squared)
    gain *= 1 + sharpening * (1 - np.exp(-2 * np.pi**2 * 1.5**2 * squared))
    smooth = np.fft.irfft2(np.fft.rfft2(field) * gain, s=image.shape)
    smooth *= s / smooth.std()
    if model == "shot+read":
        smooth *= np.sqrt(np.clip(image, 0, 1) + 0.1)
    return image + smooth.astype(np.float32)


def expose_luma(
    image: FloatImage,
    noise: float,
    rng: np.random.Generator,
    *,
    model: degradation.NoiseModel,
    coloured: bool,
    quality: int | None,
) -> FloatImage:
    """The luma that a colour capture would have, from the blurred luma alone (a third of the work).

    Noise and rounding errors have the variance that they have in the luma of three bands.
    """
    noisy = add_sensor_noise(image, noise, rng, model=model, coloured=coloured)
    noisy = degradation.add_noise(noisy, _ROUNDING, rng, model="awgn")
    if quality is None:
        return np.clip(noisy, 0, 1)
    decoded = degradation.jpeg_roundtrip(degradation.quantise(noisy), quality)
    plane = decoded.astype(np.float32) * np.float32(1 / 255)
    return degradation.add_noise(plane, _ROUNDING, rng, model="awgn")


@lru_cache(maxsize=128)
def quality_table(quality: int) -> bytes:
    """Luma quantisation table libjpeg uses at a quality, 64 bytes row by row."""
    stream = BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as picture:
        return bytes(picture.quantization[0])


@dataclass(frozen=True)
class Instrument:
    """What the captures of a group share.

    Attributes
    ----------
    blur : Blur
    noise : float
        Amplitude of a sensor without a camera's processing; -1 behind one, whose noise is its own.
    model : {"shot+read", "awgn"}
    coloured : bool
        See `add_sensor_noise`.
    quality : int or None
        Of JPEG.
    camera : Camera or None
        Blurs linear light and photographs it.
    low_contrast : bool
        Haze, desert, sea: contrast 0.15 to 0.5.
    """

    blur: Blur
    noise: float
    model: degradation.NoiseModel
    coloured: bool
    quality: int | None
    camera: Camera | None
    low_contrast: bool

    @property
    def truth(self) -> tuple[float, ...]:
        """The row of `TRUTH`."""
        blur = self.blur
        return (
            *(blur.radius, blur.sigma, float(blur.truncated), self.noise, self.quality or 0),
            *(blur.length, blur.angle, float(blur.other)),
        )

    def capture(self, scene: FloatImage, rng: np.random.Generator) -> npt.NDArray[Any]:
        """A capture of an (R, C, 3) scene: uint8 with three bands, or luma in float32."""
        if self.low_contrast:
            scene = scale_contrast(scene, float(rng.uniform(0.15, 0.5)))
        if self.camera is not None:
            light = self.camera.expose(np.clip(scene, 0, 1))
            return self.camera.capture(degradation.blur(light, self.blur.psf), rng)
        return expose_luma(
            degradation.blur(scene @ LUMA_WEIGHTS, self.blur.psf), self.noise, rng,
            model=self.model, coloured=self.coloured, quality=self.quality,
        )  # fmt: skip


def draw_wider_camera(rng: np.random.Generator) -> Camera:
    """A camera of the protocols; one of four is noisier, softer, sharper or coded otherwise."""
    camera = draw_camera(rng)
    if rng.random() >= 0.25:
        return camera
    return replace(
        camera,
        noise=float(np.exp(rng.uniform(np.log(0.001), np.log(0.04)))),
        luma_sigma_px=float(rng.uniform(0.0, 1.6)),
        sharpen=float(rng.uniform(0.0, 1.5)),
        curve=float(rng.uniform(0.0, 0.3)),
        jpeg_quality=None if rng.random() < 0.1 else int(rng.integers(60, 99)),
    )


def draw_instrument(rng: np.random.Generator) -> Instrument:
    """A blur, and in one case of three a camera's own processing."""
    blur = draw_blur(rng)
    coloured = bool(rng.random() < 0.35)
    noisiest = np.log(0.03 if coloured else 0.013)
    noise = 0.0 if rng.random() < 0.2 else float(np.exp(rng.uniform(np.log(5e-4), noisiest)))
    model: degradation.NoiseModel = "awgn" if rng.random() < 0.15 else "shot+read"
    quality = None if rng.random() < 0.35 else int(rng.integers(65, 99))
    camera = draw_wider_camera(rng) if rng.random() < CAMERA_SHARE else None
    low_contrast = bool(rng.random() < (0.1 if camera is None else 0.5))
    if camera is not None:
        noise, quality = -1.0, camera.jpeg_quality
    return Instrument(blur, noise, model, coloured, quality, camera, low_contrast)


def vary(scene: npt.NDArray[np.uint8], rng: np.random.Generator) -> FloatImage:
    """A random piece, sometimes reduced in scale, with another contrast, gamma or slope.

    Parameters
    ----------
    scene : (R, C, 3) uint8 ndarray

    Returns
    -------
    (r, c, 3) float32 ndarray, [0, 1]
    """
    factor, least = 1.0, min(scene.shape[:2])
    if rng.random() < 0.35 and least >= 300:
        factor = float(rng.uniform(max(0.5, 200 / least), 0.95))
    rows, columns = (round(n * factor) for n in scene.shape[:2])
    if min(rows, columns) <= 400 and rng.random() < 0.6:
        height, width, top, left = rows, columns, 0, 0
    else:
        height = int(rng.integers(min(192, rows), min(rows, 520) + 1))
        width = int(rng.integers(min(192, columns), min(columns, 520) + 1))
        top, left = int(rng.integers(rows - height + 1)), int(rng.integers(columns - width + 1))
    if factor < 1.0:
        method = (Image.Resampling.LANCZOS, Image.Resampling.BOX, Image.Resampling.BICUBIC)[
            rng.integers(3)
        ]
        right, bottom = (min((left + width) / factor, scene.shape[1]),
                         min((top + height) / factor, scene.shape[0]))  # fmt: skip
        box = (left / factor, top / factor, right, bottom)
        piece = np.asarray(Image.fromarray(scene).resize((width, height), method, box=box))
    else:
        piece = scene[top : top + height, left : left + width]
    piece = piece * np.float32(1 / 255)
    if rng.random() < 0.13:
        piece = np.clip(steepened(piece, rng), 0, 1)
    if rng.random() < 0.5:
        piece = piece ** np.float32(np.exp(rng.uniform(-0.35, 0.35)))
    if rng.random() < 0.6:
        piece = np.clip(scale_contrast(piece, float(rng.uniform(0.4, 1.15))), 0, 1)
    return np.ascontiguousarray(piece, dtype=np.float32)


def generate(
    files: list[Path],
    groups: int,
    size: int,
    seed: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Make groups of captures and summarise each.

    Parameters
    ----------
    files : list of Path
        Sharp scenes, drawn by their folders' names with `SHARES`.
    groups, size : int
        Number of groups and of captures in each.
    seed : int
    progress : callable, optional
        Told the number of finished groups.

    Returns
    -------
    dict of ndarray
        ``curves`` (g, n, 4, 128) and ``sectors`` (g, n, 8, 64) float32, ``blocks`` (g, n),
        ``truth`` (g, 8), ``tables`` (g, 4).
    """
    rng = np.random.default_rng(seed)
    by_folder: dict[str, list[Path]] = {}
    for file in files:
        by_folder.setdefault(file.parent.name, []).append(file)
    folders = [name for name in SHARES if name in by_folder] + sorted(set(by_folder) - set(SHARES))
    shares = np.array([SHARES.get(name, 1.0) for name in folders])
    kept: list[list[Summary]] = []
    truth: list[tuple[float, ...]] = []
    tables: list[npt.NDArray[np.float32]] = []
    while len(truth) < groups:
        instrument = draw_instrument(rng)
        members: list[Summary] = []
        for _ in range(4 * size):
            among = by_folder[folders[int(rng.choice(len(folders), p=shares / shares.sum()))]]
            scene = vary(decoded(among[int(rng.integers(len(among)))]), rng)
            summary = summarise(instrument.capture(scene, rng))
            if isinstance(summary, Summary):
                members.append(summary)
            if len(members) == size:
                break
        if len(members) < size:
            continue
        kept.append(members)
        truth.append(instrument.truth)
        table = quality_table(instrument.quality) if instrument.quality else None
        tables.append(table_scalars(table, known=True))
        if progress:
            progress(len(truth))
    return {
        "curves": np.array([[m.curves for m in group] for group in kept], np.float32),
        "sectors": np.array([[m.sectors for m in group] for group in kept], np.float32),
        "blocks": np.array([[m.blocks for m in group] for group in kept], np.float32),
        "truth": np.array(truth, np.float64),
        "tables": np.array(tables, np.float32),
    }
