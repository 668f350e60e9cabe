"""Which pixels hold a measurement, and what stands for the others while a window is filtered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_LEVELS = 5  # of the pyramid: 2**5 = 32 px cells, the alignment of windows
_STRIP = 32  # px taken off a side at a time
_COLLAR_GROWTH = 2  # px by which an opened collar is grown again within its zeros


def finite(values: NDArray[Any]) -> Mask:
    """Return where all bands of (B, R, C) values are finite, (R, C)."""
    if values.dtype.kind != "f":
        return np.ones(values.shape[1:], np.bool_)
    return np.asarray(np.isfinite(values).all(axis=0))


def differs_from(values: NDArray[Any], nodata: float | None) -> Mask:
    """Return where no band of (B, R, C) values holds the value that means "no data", (R, C)."""
    if nodata is None or np.isnan(nodata):
        return np.ones(values.shape[1:], np.bool_)
    return np.asarray((values != nodata).all(axis=0))


def collar(values: NDArray[Any]) -> Mask:
    """Return where an undeclared collar of zeros lies, (R, C).

    A pixel belongs to it when all bands are exactly zero in a square of 3 x 3 px that holds it, or
    within 2 px of such a square; beyond the frame counts as zero. Inside a scene such a patch is
    clipped shade without detail, and staying as it was does it no harm.

    Parameters
    ----------
    values : (B, R, C) ndarray
    """
    zero: Mask = np.asarray((values == 0).all(axis=0))
    if not zero.any():
        return zero
    inside = np.pad(zero, 2, constant_values=True)
    found = _grown(~_grown(~inside)) & inside
    for _ in range(_COLLAR_GROWTH):
        found = _grown(found) & inside
    return np.asarray(found[2:-2, 2:-2])


def _grown(mask: Mask) -> Mask:
    """A mask grown by one pixel in all eight directions; nothing comes from beyond its border."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide


def valid_rectangle(valid: Mask, least: int) -> tuple[slice, slice] | None:
    """Return a large rectangle without invalid pixels, None where it would be too small.

    The strip of 32 px with the largest invalid share goes from one of the four sides until nothing
    invalid is left. That finds what a collar leaves; of scattered gaps little remains.

    Parameters
    ----------
    valid : (R, C) bool ndarray
    least : int
        Of both sides, px.
    """
    top, bottom, left, right = 0, valid.shape[0], 0, valid.shape[1]
    while bottom - top >= least and right - left >= least:
        part = valid[top:bottom, left:right]
        if part.all():
            return slice(top, bottom), slice(left, right)
        strips = part[:_STRIP], part[-_STRIP:], part[:, :_STRIP], part[:, -_STRIP:]
        worst = int(np.argmin([strip.mean() for strip in strips]))
        if worst < 2:
            top, bottom = (top + _STRIP, bottom) if worst == 0 else (top, bottom - _STRIP)
        else:
            left, right = (left + _STRIP, right) if worst == 2 else (left, right - _STRIP)
    return None


def fill(samples: NDArray[np.float32], valid: Mask) -> NDArray[np.float32]:
    """Return samples whose invalid pixels are a smooth continuation of the valid ones.

    Push-pull interpolation (Gortler, Grzeszczuk, Szeliski, Cohen, "The Lumigraph", SIGGRAPH 1996):
    means of valid pixels in cells of 2, 4, ... 32 px, and each gap from the smallest cell that has
    one. The cells lie on multiples of 32 px, and pixels further than two such cells from any valid
    one are 0.5, so the same scene in other windows is filled alike.

    Parameters
    ----------
    samples : (B, R, C) float32 ndarray
        In [0, 1]; starts on a multiple of 32 px of the scene.
    valid : (R, C) bool ndarray

    Returns
    -------
    (B, R, C) float32 ndarray
        `samples` itself where all is valid.
    """
    if valid.all():
        return samples
    known = np.where(valid, samples, np.float32(0))
    levels: list[tuple[NDArray[np.float32], Mask]] = [(known, valid)]
    weight = valid.astype(np.float32)
    for _ in range(_LEVELS):
        known, weight = _halved(known), _halved(weight[None])[0]
        levels.append((known / np.maximum(weight, np.float32(1e-6)), weight > 0))
    filled = np.where(levels[-1][1], levels[-1][0], np.float32(0.5))
    for values, seen in reversed(levels[:-1]):
        filled = np.where(seen, values, _doubled(filled, seen.shape))
    return filled


def _halved(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums over cells of 2 x 2, the last of an odd side over half a cell."""
    rows, columns = planes.shape[1:]
    even = np.pad(planes, ((0, 0), (0, rows % 2), (0, columns % 2)))
    return np.asarray(
        even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
    )


def _doubled(planes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Bilinear interpolation from cells' centres to those of cells of half the side."""
    for axis, size in ((1, shape[0]), (2, shape[1])):
        before = np.concatenate([planes.take([0], axis), planes], axis).take(
            range(planes.shape[axis]), axis
        )
        after = np.concatenate([planes, planes.take([-1], axis)], axis).take(
            range(1, planes.shape[axis] + 1), axis
        )
        near = np.float32(0.75) * planes
        pair = np.stack([near + before / 4, near + after / 4], axis + 1)
        joined = list(planes.shape)
        joined[axis] *= 2
        planes = pair.reshape(joined).take(range(size), axis)
    return planes
