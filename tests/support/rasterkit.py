"""Rasters with everything that a product carries beside its samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import PSF
from imagine_deblur.degradation.forward import blur
from synthetic import made_up_scene

DISK = PSF.defocus(3.0)


def scene(rows: int, columns: int, bands: int = 3, *, seed: int = 0) -> NDArray[np.float32]:
    """A sharp scene of (bands, R, C) in [0, 1], with detail everywhere and flat fields."""
    picture = made_up_scene(rows, columns, seed).astype(np.float32) / 255
    planes = np.moveaxis(picture, -1, 0)
    return np.stack([planes[k % 3] if k < 3 else 1 - planes[k % 3] for k in range(bands)])


def blurred(
    planes: NDArray[np.float32], psf: PSF = DISK, *, noise: float = 0.002, seed: int = 1
) -> NDArray[np.float32]:
    """A capture of a scene: blurred, and with a little noise."""
    soft = np.stack([blur(np.ascontiguousarray(plane), psf) for plane in planes])
    soft += np.random.default_rng(seed).normal(0, noise, soft.shape).astype(np.float32)
    return np.asarray(np.clip(soft, 0, 1), np.float32)


def as_type(
    planes: NDArray[np.float32], dtype: str, *, low: float = 0, high: float = 255
) -> NDArray[Any]:
    """Samples as physical values between two limits."""
    values = low + planes * (high - low)
    return (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def write(path: Path, values: NDArray[Any], **profile: Any) -> Path:
    """A raster file; keywords beyond rasterio's profile are `tags` and `descriptions`."""
    import rasterio

    tags, descriptions = profile.pop("tags", {}), profile.pop("descriptions", ())
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    created = {"driver": "GTiff", **shape, "dtype": values.dtype.name, **profile}
    with rasterio.open(path, "w", **created) as file:
        file.write(values)
        file.update_tags(**tags)
        for number, text in enumerate(descriptions, start=1):
            file.set_band_description(number, text)
    return path
