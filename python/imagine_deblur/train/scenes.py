"""The sharp scenes: a folder in memory, and random pieces of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagine_deblur.errors import InputImageError

Float32Array = NDArray[np.float32]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Image files under a folder, sorted by path so that a seed means the same on every machine."""
    return sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _SUFFIXES)


def checksum(folder: str | os.PathLike[str]) -> str:
    """SHA-256 over relative names and contents of the images under a folder, 64 hex digits."""
    digest = hashlib.sha256()
    for path in list_images(folder):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class Scenes:
    """Sharp images of a folder, kept as 8-bit arrays.

    Images under a sub-folder named ``satellite`` are the target domain and drawn with their own
    share; within a domain an image is drawn in proportion to its area, capped at `region`**2 times
    8.

    Parameters
    ----------
    folder : path
    region : int
        Largest side of a piece, px.
    smallest : int
        Images with a side below it are left out.

    Raises
    ------
    InputImageError
        If no usable image is found.
    """

    def __init__(self, folder: str | os.PathLike[str], *, region: int, smallest: int) -> None:
        self.region, self.smallest = region, smallest
        self.images: list[NDArray[np.uint8]] = []
        weights: list[float] = []
        satellite: list[bool] = []
        for path in list_images(folder):
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            if min(pixels.shape[:2]) < smallest:
                continue
            self.images.append(pixels)
            weights.append(min(pixels.shape[0] * pixels.shape[1], 8 * region * region))
            satellite.append("satellite" in path.relative_to(folder).parts)
        if not self.images:
            raise InputImageError(
                f"no image of at least {smallest} px a side under {folder}", path=str(folder)
            )
        self._satellite = np.asarray(satellite)
        self._weights = np.asarray(weights, dtype=np.float64)

    def draw(
        self, rng: np.random.Generator, *, satellite_share: float
    ) -> tuple[Float32Array, bool]:
        """A random piece, flipped and turned at random, now and then reduced by 2.

        Returns
        -------
        piece : (r, c, 3) float32 ndarray in [0, 1]
            r, c between `smallest` and `region`.
        satellite : bool
            Whether it comes from a satellite scene.
        """
        satellite = rng.random() < satellite_share
        chosen = self._satellite == satellite
        if not chosen.any():
            satellite, chosen = not satellite, ~chosen
        weights = np.where(chosen, self._weights, 0.0)
        index = int(rng.choice(len(self.images), p=weights / weights.sum()))
        pixels = self.images[index]
        rows, columns = pixels.shape[:2]
        reduce = min(rows, columns) >= 2 * self.smallest and rng.random() < 0.2
        reach = self.region * (2 if reduce else 1)
        height, width = min(rows, reach), min(columns, reach)
        top = int(rng.integers(0, rows - height + 1))
        left = int(rng.integers(0, columns - width + 1))
        piece = pixels[top : top + height, left : left + width]
        if reduce:
            # A box of 2x2 after a light blur by Pillow's antialiased reduction.
            small = Image.fromarray(piece).resize(
                (width // 2, height // 2), Image.Resampling.LANCZOS
            )
            piece = np.asarray(small)
        if rng.random() < 0.5:
            piece = piece[:, ::-1]
        piece = np.rot90(piece, int(rng.integers(0, 4)))
        return np.ascontiguousarray(piece, dtype=np.float32) / np.float32(255), satellite
