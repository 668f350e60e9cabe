"""Uniform fields keep their level: where a capture is flat, a restoration has its local mean.

A blur does not change a field without detail, so there the restoration must be the capture on
average. Networks and the ringing of edges nearby move dark fields by a per cent: of the range that
is little, of the field's own value it is not. Near edges and in texture the two may differ, and
nothing is changed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.raster.validity import Mask

Float32Array = NDArray[np.float32]

_CELL = 8  # px a side that means are taken over; windows begin on multiples
_FLAT = 2 / 255  # range of the means of 3 x 3 cells, on the scale of restoration, up to which they
# are flat: noise of 0.01 gives half of it, any texture several times as much
_PASSES = 3  # running means over 3 cells, one after the other
REACH_PX = _CELL * (_PASSES + 3)
"""How far from a pixel others matter, px: the running means, flatness and the interpolation."""


def anchored(restored: Float32Array, capture: Float32Array, valid: Mask) -> Float32Array:
    """Return a restoration whose mean in flat places is the capture's.

    Parameters
    ----------
    restored, capture : (B, R, C) float32 ndarray
        On the scale of restoration; they begin on a multiple of 8 px of the scene.
    valid : (R, C) bool ndarray
        Pixels that count.

    Returns
    -------
    (B, R, C) float32 ndarray
    """
    count = _cells(valid.astype(np.float32))
    result = np.empty_like(restored)
    for band, (after, before) in enumerate(zip(restored, capture, strict=True)):
        mean = _mean(_cells(np.where(valid, before, np.float32(0))), count)
        change = _cells(np.where(valid, before - after, np.float32(0)))
        flatness = _flatness(mean, count)
        shift = _mean(_smoothed(flatness * change), _smoothed(flatness * count))
        result[band] = after + _interpolated(shift * flatness, after.shape)
    return result


def _cells(plane: Float32Array) -> Float32Array:
    """Sums over cells, the last of a side over what is left of it."""
    rows = np.add.reduceat(plane, np.arange(0, plane.shape[0], _CELL), axis=0)
    cells = np.add.reduceat(rows, np.arange(0, plane.shape[1], _CELL), axis=1)
    return np.asarray(cells, np.float32)


def _mean(total: Float32Array, count: Float32Array) -> Float32Array:
    return np.asarray(total / np.maximum(count, np.float32(1e-6)), np.float32)


def _flatness(mean: Float32Array, count: Float32Array) -> Float32Array:
    """1 where the means around a cell are alike, falling to 0 at twice the range."""
    high, low = (_extreme(np.where(count > 0, mean, empty), of) for of, empty in _EXTREMES)
    steep = np.clip(2 - (high - low) / np.float32(_FLAT), 0, 1)
    return np.asarray(np.where(count > 0, steep, 0), np.float32)


_EXTREMES = ((np.maximum, np.float32(-np.inf)), (np.minimum, np.float32(np.inf)))


def _extreme(plane: Float32Array, of: np.ufunc) -> Float32Array:
    """The largest or smallest of 3 x 3 cells."""
    for axis in (0, 1):
        plane = np.pad(plane, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
        size = plane.shape[axis] - 2
        parts = [plane.take(range(k, k + size), axis) for k in range(3)]
        plane = of(of(parts[0], parts[1]), parts[2])
    return plane


def _smoothed(plane: Float32Array) -> Float32Array:
    """Running sums of 3 cells along either axis; nothing lies beyond the border."""
    for axis in (0, 1):
        for _ in range(_PASSES):
            wide = np.pad(plane, [(1, 1) if k == axis else (0, 0) for k in (0, 1)])
            size = plane.shape[axis]
            first, second, third = (wide.take(range(k, k + size), axis) for k in range(3))
            plane = first + second + third
    return plane


def _interpolated(cells: Float32Array, shape: tuple[int, ...]) -> Float32Array:
    """Linear interpolation between the cells' centres, to every pixel."""
    for axis, size in enumerate(shape):
        place = np.clip((np.arange(size) + 0.5) / _CELL - 0.5, 0, cells.shape[axis] - 1)
        first = place.astype(np.intp)
        share = (place - first).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        low = cells.take(first, axis)
        high = cells.take(np.minimum(first + 1, cells.shape[axis] - 1), axis)
        cells = low + (high - low) * share
    return cells
