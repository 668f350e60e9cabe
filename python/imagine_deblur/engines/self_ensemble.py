"""Self-ensemble: the mean of a network's answers over flips and transpositions of its input.

The eight symmetries of the square leave a restoration problem the same, but a trained network
answers them slightly differently; averaging takes part of its error out (Timofte et al. 2016,
"Seven ways to improve example-based single image super resolution", section 3.6).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from imagine_deblur.engines.spec import Engine, EngineSpec, Tile
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import FOLDS


class SelfEnsembleEngine:
    """An engine that asks another 4 or 8 times.

    Parameters
    ----------
    inner : Engine
    folds : {4, 8}
        4: flips along either axis. 8: also transposed, which needs square tiles.

    Raises
    ------
    OptionsError
        Another number, or 8 with a tile that is not square.
    """

    def __init__(self, inner: Engine, folds: int) -> None:
        spec = inner.spec
        if folds not in FOLDS[1:]:
            raise OptionsError("self_ensemble", folds, "4 or 8")
        if folds == 8 and spec.tile_rows != spec.tile_columns:
            raise OptionsError("self_ensemble", folds, "4 where tiles are not square")
        self._inner, self._folds = inner, folds
        self.spec: EngineSpec = replace(spec)
        self._input = np.empty(spec.input_shape, np.float32)
        self._output = np.empty(spec.output_shape, np.float32)

    @property
    def settings(self) -> dict[str, Any]:
        return {**self._inner.settings, "self_ensemble": self._folds}

    def infer(self, input: Tile, output: Tile) -> None:
        """Average the inner engine's answers, each turned back."""
        self.spec.check_tiles(input, output)
        output[...] = 0
        for fold in range(self._folds):
            self._input[...] = _turned(input, fold)
            self._inner.infer(self._input, self._output)
            output += _turned_back(self._output, fold)
        output *= np.float32(1 / self._folds)


def _turned(tile: Tile, fold: int) -> Tile:
    """A view: fold's bit 0 flips rows, bit 1 flips columns, bit 2 transposes afterwards."""
    turned = tile[:, :: -1 if fold & 1 else 1, :: -1 if fold & 2 else 1]
    return turned.transpose(0, 2, 1) if fold & 4 else turned


def _turned_back(tile: Tile, fold: int) -> Tile:
    tile = tile.transpose(0, 2, 1) if fold & 4 else tile
    return tile[:, :: -1 if fold & 1 else 1, :: -1 if fold & 2 else 1]
