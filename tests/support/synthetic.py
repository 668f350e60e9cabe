"""Scenes with known answers; float32 in [0, 1]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.float32]


def flat(rows: int, columns: int, value: float = 0.5) -> FloatImage:
    """A constant (rows, columns, 3) scene."""
    return np.full((rows, columns, 3), value, dtype=np.float32)


def point(size: int) -> FloatImage:
    """A (size, size) scene, size odd, that is 0 but for a 1 at its centre."""
    image = np.zeros((size, size), dtype=np.float32)
    image[size // 2, size // 2] = 1.0
    return image


def grating(size: int, frequency: float, amplitude: float = 0.4) -> FloatImage:
    """A (size, size) vertical cosine grating of `frequency` cycles/px about 0.5."""
    phase = 2.0 * np.pi * frequency * np.arange(size)
    return np.tile(0.5 + amplitude * np.cos(phase), (size, 1)).astype(np.float32)


def gaussian_spot(
    size: int, sigma_px: float, centre: tuple[float, float] | None = None
) -> FloatImage:
    """A (size, size) Gaussian spot of height 0.8; its second moment is `sigma_px` squared."""
    row, column = centre if centre is not None else (size // 2, size // 2)
    y, x = np.arange(size)[:, None] - row, np.arange(size)[None, :] - column
    return (0.8 * np.exp(-0.5 * (y**2 + x**2) / sigma_px**2)).astype(np.float32)


def edge(size: int, low: float = 0.2, high: float = 0.8) -> FloatImage:
    """A (size, size) vertical step from `low` to `high` between columns size/2 - 1 and size/2."""
    image = np.full((size, size), low, dtype=np.float32)
    image[:, size // 2 :] = high
    return image


def natural(rows: int, columns: int, seed: int = 0) -> FloatImage:
    """A (rows, columns, 3) scene with a 1/f spectrum and hard-edged fields, mean about 0.45."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((rows, columns))) / frequency
    spectrum[0, 0] = 0.0
    texture = np.fft.irfft2(spectrum, s=(rows, columns))
    texture /= 8.0 * texture.std()
    fields = np.zeros((rows, columns))
    for _ in range(24):
        top, left = int(rng.integers(0, rows)), int(rng.integers(0, columns))
        height, width = rng.integers(4, max(5, rows // 3)), rng.integers(4, max(5, columns // 3))
        fields[top : top + int(height), left : left + int(width)] = rng.uniform(-0.25, 0.25)
    tint = rng.uniform(0.8, 1.0, 3)
    scene = 0.45 + texture[..., None] * tint + fields[..., None] * tint[::-1]
    return np.clip(scene, 0.0, 1.0).astype(np.float32)


def made_up_scene(rows: int, columns: int, seed: int) -> npt.NDArray[np.uint8]:
    """(rows, columns, 3) uint8: 1/f noise with some hard edges, like fields seen from above."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    amplitude = 1.0 / np.maximum(np.hypot(fy, fx), 1.0 / max(rows, columns))
    planes = []
    for _ in range(3):
        phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
        plane = np.fft.irfft2(amplitude * phase, s=(rows, columns))
        planes.append(plane / plane.std())
    image = 0.5 + 0.12 * np.stack(planes, -1)
    for _ in range(4):
        top, left = int(rng.integers(rows - 8)), int(rng.integers(columns - 8))
        image[top : top + 20, left : left + 30] += rng.uniform(-0.3, 0.3, 3)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
