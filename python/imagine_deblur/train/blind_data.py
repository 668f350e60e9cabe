"""Synthetic captures for the blind PSF estimator: curves and the truth behind them.

Captures come in groups that share instrument, noise and JPEG quality, so that training can pool a
few of one group the way a joint estimate, or a larger frame, does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagine_deblur import degradation
from imagine_deblur.protocols import load_scene, truncated_gaussian
from imagine_deblur.psf import PSF, Disk, Gaussian
from imagine_deblur.psf.estimation.spectrum import Summary, summarise
from imagine_deblur.psf.estimation.table import table_scalars

FloatImage = npt.NDArray[np.float32]

TRUTH = ("radius", "sigma", "truncated", "noise", "quality")
"""Columns of the truth: px, px, 1 for a Gaussian cut to 15x15, amplitude s, JPEG quality or 0."""


@dataclass(frozen=True)
class Blur:
    """A blur to be found: disk radius and Gaussian sigma in px, and how it is applied."""

    radius: float
    sigma: float
    truncated: bool

    def psf(self) -> PSF:
        if self.truncated:
            return truncated_gaussian(self.sigma, 15)
        parts: list[Disk | Gaussian] = []
        if self.radius > 0:
            parts.append(Disk(self.radius))
        if self.sigma > 0:
            parts.append(Gaussian(self.sigma))
        return PSF(tuple(parts))


def draw_blur(rng: np.random.Generator) -> Blur:
    """The prior: disks with little Gaussian, Gaussians alone, nothing, and wide mixtures."""
    kind = rng.random()
    if kind < 0.62:
        return Blur(rng.uniform(0.3, 9.0), rng.uniform(0.0, 1.0), False)
    if kind < 0.85:
        sigma = rng.uniform(0.2, 4.2)
        return Blur(0.0, sigma, bool(rng.random() < 0.5))
    if kind < 0.90:
        return Blur(0.0, rng.uniform(0.0, 0.25), False)
    return Blur(rng.uniform(0.3, 8.0), rng.uniform(1.0, 3.0), False)


@lru_cache(maxsize=128)
def quality_table(quality: int) -> bytes:
    """Luma quantisation table libjpeg uses at a quality, 64 bytes row by row."""
    stream = BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as picture:
        return bytes(picture.quantization[0])


def vary(scene: FloatImage, rng: np.random.Generator) -> FloatImage:
    """A random crop, sometimes reduced in scale, with another contrast and gamma."""
    if rng.random() < 0.35 and min(scene.shape[:2]) >= 300:
        factor = rng.uniform(max(0.5, 200 / min(scene.shape[:2])), 0.95)
        size = (round(scene.shape[1] * factor), round(scene.shape[0] * factor))
        method = (Image.Resampling.LANCZOS, Image.Resampling.BOX, Image.Resampling.BICUBIC)[
            rng.integers(3)
        ]
        bands = [np.asarray(Image.fromarray(scene[:, :, b]).resize(size, method)) for b in range(3)]
        scene = np.clip(np.stack(bands, axis=-1), 0, 1)
    rows, columns = scene.shape[:2]
    whole = min(rows, columns) <= 400 and rng.random() < 0.6
    if not whole:
        height = int(rng.integers(min(192, rows), min(rows, 520) + 1))
        width = int(rng.integers(min(192, columns), min(columns, 520) + 1))
        top = int(rng.integers(rows - height + 1))
        left = int(rng.integers(columns - width + 1))
        scene = scene[top : top + height, left : left + width]
    if rng.random() < 0.5:
        scene = scene ** np.float32(np.exp(rng.uniform(-0.35, 0.35)))
    if rng.random() < 0.6:
        mean = scene.mean(axis=(0, 1), keepdims=True)
        scene = np.clip(mean + np.float32(rng.uniform(0.4, 1.15)) * (scene - mean), 0, 1)
    return np.ascontiguousarray(scene, dtype=np.float32)


def generate(
    files: list[Path],
    groups: int,
    size: int,
    seed: int,
    *,
    draw: Callable[[np.random.Generator], Blur] = draw_blur,
    progress: Callable[[int], None] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Make groups of captures and summarise each.

    Parameters
    ----------
    files : list of Path
        Sharp scenes; aerial and satellite ones are drawn in the ratio 4 to 1.
    groups, size : int
        Number of groups and of captures in each.
    seed : int
    draw : callable
        Draws the blur of a group.
    progress : callable, optional
        Told the number of finished groups.

    Returns
    -------
    dict of ndarray
        ``curves`` (g, n, 4, 128) float32, ``blocks`` (g, n), ``truth`` (g, 5), ``tables`` (g, 4).
    """
    rng = np.random.default_rng(seed)
    scenes = [load_scene(f) for f in files]
    large = [i for i, f in enumerate(files) if f.parent.name == "satellite"]
    small = [i for i, f in enumerate(files) if f.parent.name != "satellite"]
    curves: list[npt.NDArray[np.float32]] = []
    tables: list[npt.NDArray[np.float32]] = []
    blocks: list[list[float]] = []
    truth: list[list[float]] = []
    while len(truth) < groups:
        blur = draw(rng)
        noise = (
            0.0 if rng.random() < 0.25 else float(np.exp(rng.uniform(np.log(5e-4), np.log(0.013))))
        )
        model: degradation.NoiseModel = "awgn" if rng.random() < 0.15 else "shot+read"
        quality = None if rng.random() < 0.35 else int(rng.integers(70, 99))
        psf = blur.psf()
        members: list[Summary] = []
        for _ in range(4 * size):
            pool = large if rng.random() < 0.2 else small
            scene = vary(scenes[pool[rng.integers(len(pool))]], rng)
            capture = degradation.degrade(
                scene, psf, noise=noise, noise_model=model, jpeg_quality=quality, rng=rng
            )
            summary = summarise(capture)
            if isinstance(summary, Summary):
                members.append(summary)
            if len(members) == size:
                break
        if len(members) < size:
            continue
        curves.append(np.stack([m.curves for m in members]))
        blocks.append([m.blocks for m in members])
        truth.append([blur.radius, blur.sigma, blur.truncated, noise, quality or 0])
        tables.append(table_scalars(quality_table(quality) if quality else None, known=True))
        if progress:
            progress(len(truth))
    return {
        "curves": np.asarray(curves, np.float32),
        "blocks": np.asarray(blocks, np.float32),
        "truth": np.asarray(truth, np.float64),
        "tables": np.asarray(tables, np.float32),
    }
