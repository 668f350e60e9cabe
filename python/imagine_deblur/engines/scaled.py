"""The published way to serve: a network on captures reduced by a whole factor.

IMAGIN-e's patches of 1024x1024 px are reduced to 256x256, restored and enlarged again. What lies
above a quarter of the sampling frequency is lost on the way; the class is here so that this can be
measured, and for networks trained so.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from imagine_deblur.engines.spec import Engine, EngineSpec, Tile
from imagine_deblur.errors import OptionsError

_A = -0.5  # Keys 1981, "Cubic convolution interpolation": third order


def area_reduce(planes: Tile, factor: int) -> Tile:
    """Mean over blocks of factor x factor px.

    Parameters
    ----------
    planes : (P, R, C) float32 ndarray
        R and C multiples of `factor`.
    factor : int

    Returns
    -------
    (P, R / factor, C / factor) float32 ndarray

    Raises
    ------
    OptionsError
        The sides are no multiples.
    """
    bands, rows, columns = planes.shape
    if factor < 1 or rows % factor or columns % factor:
        raise OptionsError("factor", factor, f"a divisor of the sides {rows} and {columns}")
    if factor == 1:
        return planes
    blocks = planes.reshape(bands, rows // factor, factor, columns // factor, factor)
    return np.asarray(blocks.mean(axis=(2, 4)), dtype=np.float32)


def bicubic_enlarge(planes: Tile, factor: int) -> Tile:
    """Cubic convolution (Keys 1981, a = -1/2) to `factor` times the size; borders repeat.

    The centre of an input pixel stays the centre of its block of output pixels. Constants and
    linear ramps come through exactly away from the borders.

    Parameters
    ----------
    planes : (P, r, c) float32 ndarray
    factor : int

    Returns
    -------
    (P, factor * r, factor * c) float32 ndarray
    """
    if factor == 1:
        return planes
    down = _weights(planes.shape[1], factor)
    across = _weights(planes.shape[2], factor)
    return np.asarray(down @ planes @ across.T, dtype=np.float32)


@lru_cache(maxsize=8)
def _weights(length: int, factor: int) -> Tile:
    """(factor * length, length) float32 matrix of the interpolation along one axis."""
    places = (np.arange(length * factor) + 0.5) / factor - 0.5
    first = np.floor(places).astype(int) - 1
    matrix = np.zeros((length * factor, length))
    rows = np.arange(length * factor)
    for tap in range(4):
        distance = np.abs(places - (first + tap))
        near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
        far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
        np.add.at(matrix, (rows, np.clip(first + tap, 0, length - 1)), weight)
    result: Tile = matrix.astype(np.float32)
    result.flags.writeable = False
    return result


class ScaledEngine:
    """Reduces a tile, asks another engine, enlarges its answer; never local.

    Parameters
    ----------
    inner : Engine
        Its tiles are `factor` times smaller than this engine's.
    factor : int
        2 or more.
    """

    def __init__(self, inner: Engine, factor: int) -> None:
        if factor < 2:
            raise OptionsError("factor", factor, "2 or more")
        spec = inner.spec
        self._inner, self._factor = inner, factor
        self.spec: EngineSpec = replace(
            spec,
            tile_rows=spec.tile_rows * factor,
            tile_columns=spec.tile_columns * factor,
            halo=0,
            local=False,
        )
        self._output = np.empty(spec.output_shape, np.float32)

    @property
    def settings(self) -> dict[str, Any]:
        return {**self._inner.settings, "scale": self._factor}

    def infer(self, input: Tile, output: Tile) -> None:
        """Restore one tile at the reduced scale."""
        self.spec.check_tiles(input, output)
        reduced = np.ascontiguousarray(area_reduce(input, self._factor))
        self._inner.infer(reduced, self._output)
        output[...] = bicubic_enlarge(self._output, self._factor)
