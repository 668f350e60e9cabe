"""Captures to measure with: natural statistics, a known blur, noise, any size.

The scene repeats a periodic 1024 x 1024 px field, so that its blur is exact without borders and a
frame of 100 MP costs a copy, not a transform. Cost does not depend on what the picture shows,
except for the size of the JPEG.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur.psf.models import PSF

PERIOD = 1024
SIZES = {
    "3 MP": (1536, 2048),
    "12 MP": (3040, 4056),
    "50 MP": (6144, 8192),
    "100 MP": (8704, 11648),
}
"""Frames of PROTOCOLS.md: name -> (rows, columns)."""


@lru_cache(maxsize=2)
def _field(radius_px: float, noise: float, seed: int) -> NDArray[np.uint8]:
    """Return one period of the blurred and noisy field, (PERIOD, PERIOD, 3)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(PERIOD)[:, None], np.fft.rfftfreq(PERIOD)[None, :])
    frequency[0, 0] = 1.0
    otf = PSF.defocus(radius_px, 0.5).otf(PERIOD, PERIOD)
    texture = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((PERIOD, PERIOD))) / frequency)
    fields = np.zeros((PERIOD, PERIOD))
    for _ in range(60):
        top, left = rng.integers(0, PERIOD, 2)
        height, width = rng.integers(8, 160, 2)
        fields[top : top + height, left : left + width] = rng.uniform(-1.0, 1.0)
    planes = []
    for share in (0.9, 1.0, 0.8):
        scene = 0.45 + 0.10 * share * texture / texture.std() + 0.08 * share * fields
        blurred = np.fft.irfft2(np.fft.rfft2(np.clip(scene, 0.0, 1.0)) * otf)
        blurred += noise * np.sqrt(np.clip(blurred, 0, 1) + 0.1) * rng.standard_normal(scene.shape)
        planes.append(np.clip(np.round(255.0 * blurred), 0, 255).astype(np.uint8))
    return np.stack(planes, axis=-1)


def frame(
    rows: int, columns: int, *, radius_px: float = 4.0, noise: float = 0.006, seed: int = 0
) -> NDArray[np.uint8]:
    """Return a blurred frame.

    Parameters
    ----------
    rows, columns : int
    radius_px : float
        Of the defocus disk; a Gaussian of sigma 0.5 px comes on top.
    noise : float
        Shot + read noise amplitude of PROTOCOLS.md.
    seed : int

    Returns
    -------
    (rows, columns, 3) uint8 ndarray
    """
    field = _field(radius_px, noise, seed)
    repeats = (-(-rows // PERIOD), -(-columns // PERIOD), 1)
    return np.ascontiguousarray(np.tile(field, repeats)[:rows, :columns])


def write_capture(path: Path, rows: int, columns: int, *, quality: int = 90) -> Path:
    """Write `frame` as a 4:2:0 JPEG and return the path."""
    path.write_bytes(_core.encode_jpeg(frame(rows, columns), quality=quality))
    return path
