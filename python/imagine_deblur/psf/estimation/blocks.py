"""Which blocks of a frame tell something about its blur, judged before any transform is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import EstimationError, InputImageError
from imagine_deblur.support.arrays import LONGEST_SIDE, as_samples, check_picture
from imagine_deblur.support.colour import LUMA_WEIGHTS

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]
Image = npt.NDArray[Any]

STEP = 4
"""Pixels between the samples on which blocks are judged."""

# Thresholds on encoded values in [0, 1].
_CLIPPED = 252 / 255
_BLACK = 4 / 255
_CLIPPED_SHARE = 0.02
_MILDLY_CLIPPED_SHARE = 0.15  # only where there is nothing better
_BLACK_SHARE = 0.25
_CLOUD_LUMA = 0.72
_CLOUD_CHROMA = 0.08
_FLAT_STEP = 1.2 / 255  # rms difference of samples STEP px apart


@dataclass(frozen=True)
class BlockClasses:
    """Candidate blocks of one frame and what was found in each.

    Attributes
    ----------
    size : int
        Side of a block in px.
    origin : (n, 2) intp ndarray
        First row and column of each block.
    energy : (n,) float32 ndarray
        Mean square difference of luma samples `STEP` px apart, full scale 1.
    kind : (n,) ndarray of str
        ``"scene"``, ``"flat"``, ``"dark"``, ``"saturated"`` or ``"cloud"``.
    """

    size: int
    origin: IntArray
    energy: FloatArray
    kind: npt.NDArray[np.str_]

    def share(self, kind: str) -> float:
        """Share of the blocks that are of a kind."""
        return float(np.mean(self.kind == kind))

    def scene(self) -> IntArray:
        """Indices of the informative blocks, most energetic first."""
        index = np.flatnonzero(self.kind == "scene")
        return index[np.argsort(-self.energy[index], kind="stable")]

    def quiet(self) -> IntArray:
        """Indices of the blocks that show the noise best: unclipped, least energetic first."""
        index = np.flatnonzero((self.kind == "scene") | (self.kind == "flat"))
        return index[np.argsort(self.energy[index], kind="stable")]


def check_image(image: Image, smallest: int) -> Image:
    """The frame as an array that estimation can use.

    Raises
    ------
    InputImageError
        See `support.arrays.check_picture`.
    EstimationError
        A side is shorter than `smallest` px (reason ``"small"``).
    """
    image = as_samples(check_picture(image, max_pixels=LONGEST_SIDE**2))
    if min(image.shape[:2]) < smallest:
        raise EstimationError(
            f"a frame of {image.shape[0]}x{image.shape[1]} px is too small to estimate its blur; "
            f"both sides must have {smallest} px or more",
            reason="small",
        )
    return image


def luma(block: Image) -> FloatArray:
    """Luma (ITU-R BT.601) of a piece of a frame, float32 in [0, 1]; uint8 or float32 in."""
    if block.dtype == np.uint8:
        weight = LUMA_WEIGHTS / np.float32(255.0)
        if block.ndim == 2:
            return block * np.float32(1 / 255)
        return block.astype(np.float32) @ weight
    return np.ascontiguousarray(
        block if block.ndim == 2 else block @ LUMA_WEIGHTS, dtype=np.float32
    )


def positions(length: int, size: int, count: int | None = None) -> IntArray:
    """Starts of blocks of `size` px spread evenly over `length` px; half overlapping by default."""
    if count is None:
        count = -(-(length - size) // (size // 2)) + 1
    return np.round(np.linspace(0, length - size, max(count, 1))).astype(np.intp)


def classify(image: Image, size: int) -> BlockClasses:
    """Judge half-overlapping blocks of a frame on every `STEP`-th sample.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8 or float32 ndarray
        R and C at least `size`.
    size : int
        Side of the blocks in px, a multiple of `STEP`.

    Returns
    -------
    BlockClasses
    """
    top, left = positions(image.shape[0], size), positions(image.shape[1], size)
    rows = [_measure(image[row : row + size : STEP, ::STEP], left // STEP) for row in top]
    energy, level, chroma, clipped, black = np.stack(rows, axis=1)
    kind = np.full(energy.shape, "scene", dtype="<U9")
    kind[energy < _FLAT_STEP**2] = "flat"
    kind[(level > _CLOUD_LUMA) & (chroma < _CLOUD_CHROMA)] = "cloud"
    kind[clipped > _CLIPPED_SHARE] = "saturated"
    kind[black > _BLACK_SHARE] = "dark"
    if not np.any(kind == "scene"):  # bright scenes with glints everywhere: take the mildest
        mild = (clipped <= _MILDLY_CLIPPED_SHARE) & (energy >= _FLAT_STEP**2)
        kind[(kind == "saturated") & mild] = "scene"
    origin = np.stack(np.meshgrid(top, left, indexing="ij"), axis=-1).reshape(-1, 2)
    return BlockClasses(size, origin, energy.ravel(), kind.ravel())


def _measure(sample: Image, left: IntArray) -> FloatArray:
    """Energy, luma, chroma, clipped and black shares of the blocks of one row of blocks.

    sample : (size / STEP, n) or (size / STEP, n, 3), the row's samples; left : (b,), first sample
    of each block. Returns (5, b) float32.
    """
    values = sample.astype(np.float32)
    if sample.dtype == np.uint8:
        values *= np.float32(1 / 255)
    elif not np.isfinite(values).all():
        raise InputImageError("image holds values that are not finite")
    if values.ndim == 2:
        values = values[:, :, None]
    high, low = values.max(axis=2), values.min(axis=2)
    grey = values @ LUMA_WEIGHTS if values.shape[2] == 3 else values[:, :, 0]
    step = np.zeros_like(grey)
    step[:-1, :-1] = 0.5 * (
        np.square(grey[1:, :-1] - grey[:-1, :-1]) + np.square(grey[:-1, 1:] - grey[:-1, :-1])
    )
    planes = (step, grey, high - low, high >= _CLIPPED, high <= _BLACK)
    side = values.shape[0] - 1  # the last row and column of `step` are empty
    right = np.minimum(left + side, values.shape[1])
    result = np.empty((len(planes), left.size), dtype=np.float32)
    for i, plane in enumerate(planes):
        total = np.zeros(values.shape[1] + 1)
        np.cumsum(plane[:side].sum(axis=0, dtype=np.float64), out=total[1:])
        result[i] = (total[right] - total[left]) / (side * (right - left))
    return result
