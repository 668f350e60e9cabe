"""A synthetic Earth-observation scene, for the demonstration and benchmarks. It is labelled so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def synthetic_scene(rows: int, columns: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Return terrain with a coast, a field mosaic, roads, a town and a few clouds.

    Parameters
    ----------
    rows, columns : int
        Size in px, at least 16.
    seed : int
        The same seed gives the same scene.

    Returns
    -------
    (rows, columns, 3) float32 ndarray
        Encoded values in [0, 1]. Synthetic: no real place.
    """
    rng = np.random.default_rng(seed)
    relief = fractal_field(rows, columns, 1.6, rng)
    moisture = fractal_field(rows, columns, 1.3, rng)
    grain = fractal_field(rows, columns, 0.7, rng)
    soil = np.array([0.50, 0.42, 0.32], np.float32)
    grass = np.array([0.30, 0.38, 0.22], np.float32)
    cover = (0.5 + 0.5 * np.tanh(2 * moisture))[..., None].astype(np.float32)
    land = soil + (grass - soil) * cover
    land *= (1.0 + 0.10 * grain + 0.12 * _slope(relief))[..., None]

    fields = _fields(rows, columns, rng)
    flat_ground = (np.abs(relief) < 0.9)[..., None]
    land = np.where(flat_ground, land * (0.55 + 0.9 * fields[..., None]), land)
    _roads(land, rng)
    _town(land, rng)

    water = relief < -1.0
    depth = np.clip((-1.0 - relief) * 0.6, 0.0, 1.0)[..., None]
    sea = np.array([0.16, 0.28, 0.36], np.float32) * (1.0 - 0.5 * depth)
    scene = np.where(water[..., None], sea * (1 + 0.015 * grain[..., None]), land)

    cloud = np.clip(fractal_field(rows, columns, 1.8, rng) - 1.6, 0.0, 1.0)[..., None]
    scene = scene + (0.92 - scene) * np.minimum(1.0, 1.5 * cloud)
    return np.asarray(np.clip(scene, 0.0, 1.0), np.float32)


def fractal_field(
    rows: int, columns: int, exponent: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gaussian field with amplitude spectrum f^-exponent, mean 0, standard deviation 1."""
    f = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    f[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((rows, columns))) * f**-exponent
    field = np.fft.irfft2(spectrum, s=(rows, columns))
    return np.asarray(field / field.std(), np.float32)


def _slope(relief: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shading by light from the upper left."""
    shade = np.gradient(relief, axis=0) + np.gradient(relief, axis=1)
    return np.asarray(np.clip(shade / (shade.std() + 1e-9), -2, 2) * 0.5, np.float32)


def _fields(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rectangular fields of constant brightness in a slightly turned grid, with rows of crops."""
    angle = rng.uniform(0.1, 0.5)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    u = (x * np.cos(angle) + y * np.sin(angle)) / 34.0
    v = (y * np.cos(angle) - x * np.sin(angle)) / 21.0
    column = np.floor(u + 0.35 * np.floor(v * 0.5)).astype(np.int64)
    row = np.floor(v).astype(np.int64)
    table = rng.random(4096).astype(np.float32)
    brightness = table[(column * 73 + row * 151) % 4096]
    crops = 0.05 * np.sin(2 * np.pi * v * 5.0) * (table[(column * 31 + row * 17) % 4096] > 0.6)
    return np.asarray(brightness + crops, np.float32)


def _roads(land: NDArray[np.float32], rng: np.random.Generator) -> None:
    rows, columns, _ = land.shape
    position = np.arange(columns)
    for _ in range(6):
        slope, start = rng.uniform(-0.7, 0.7), rng.uniform(0, rows)
        bend = rng.uniform(5, 30) * np.sin(position / rng.uniform(60, 200) + rng.uniform(0, 6))
        line = np.round(start + slope * position + bend).astype(int)
        for width in range(int(rng.integers(1, 4))):
            inside = (line + width >= 0) & (line + width < rows)
            land[line[inside] + width, position[inside]] = 0.62


def _town(land: NDArray[np.float32], rng: np.random.Generator) -> None:
    rows, columns, _ = land.shape
    centre = rng.uniform(0.35, 0.65, 2) * (rows, columns)
    for _ in range(rows * columns // 1500):
        offset = rng.standard_normal(2) * min(rows, columns) * 0.08
        top, left = (centre + offset).astype(int)
        height, width = rng.integers(2, 7, 2)
        if 0 <= top < rows - height and 0 <= left < columns - width:
            land[top : top + height, left : left + width] = rng.uniform(0.35, 0.85)
