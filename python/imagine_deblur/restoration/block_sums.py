"""Statistics of blocks of a strip, from the sums that the core takes while it reblurs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.psf.field import PsfField
from imagine_deblur.restoration.pieces import BLOCK, Piece, touched_blocks

if TYPE_CHECKING:
    from imagine_deblur._core import Strip

FloatArray = NDArray[np.float64]

_RUNS = 2  # runs of rows that are summed together, a block


class BlockSums:
    """Sums over the blocks of a strip's window.

    Parameters
    ----------
    rows, columns : int
        Of the window, px.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of blocks.
    """

    def __init__(self, rows: int, columns: int) -> None:
        heights = np.minimum(BLOCK, rows - np.arange(0, rows, BLOCK))
        widths = np.minimum(BLOCK, columns - np.arange(0, columns, BLOCK))
        self.shape = (len(heights), len(widths))
        self._counts = heights[:, None] * widths[None, :]
        # Sums of the squares of places, which are counted from the middle of their block.
        self._rows2 = (heights * (heights**2 - 1) / 12)[:, None] * widths[None, :]
        self._columns2 = (widths * (widths**2 - 1) / 12)[None, :] * heights[:, None]
        self._sums = np.zeros((9, *self.shape))

    def take(self, part: FloatArray, piece: Piece, owned: NDArray[np.bool_]) -> None:
        """Copy what a piece keeps of its own blocks.

        Parameters
        ----------
        part : (9, runs, columns of blocks) float64 ndarray
            From ``_core.Reblur``, of the piece's columns.
        piece : Piece
        owned : (rows, columns of blocks) bool ndarray
            Which of the piece's blocks `part` speaks for.
        """
        padded = np.pad(part, ((0, 0), (0, -part.shape[1] % _RUNS), (0, 0)))
        blocks = padded.reshape(9, -1, _RUNS, part.shape[2]).sum(axis=2)
        target = touched_blocks(piece.write.start, piece.write.stop)
        source = touched_blocks(piece.kept.start, piece.kept.stop)
        mine = self._sums[:, :, target]
        np.copyto(mine, blocks[:, :, source], where=owned[None, :, source])

    def rms_residual(self) -> FloatArray:
        """RMS of capture less reblurred picture, block by block."""
        return np.asarray(np.sqrt(self._sums[0] / self._counts))

    def deviations(self) -> tuple[FloatArray, FloatArray]:
        """Standard deviations of the capture and of the restored picture, block by block."""
        return self._deviation(1), self._deviation(3)

    def _deviation(self, first: int) -> FloatArray:
        total, squares = self._sums[first], self._sums[first + 1]
        variance = squares / self._counts - (total / self._counts) ** 2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def reblurred_power(self) -> FloatArray:
        """Variance of the reblurred picture about its best plane, block by block."""
        total, squares, across, down = self._sums[5:]
        # One column or row alone has no slope.
        slopes = across**2 / np.maximum(self._columns2, 0.5) + down**2 / np.maximum(
            self._rows2, 0.5
        )
        power = (squares - slopes) / self._counts - (total / self._counts) ** 2
        return np.asarray(np.maximum(power, 0.0))


def nearest_cells(
    field: PsfField, strip: Strip, first_row: int, shape: tuple[int, int]
) -> NDArray[np.intp]:
    """Return, for each block from a row on, the number of the cell its centre is nearest."""
    rows = first_row + np.arange(shape[0]) * BLOCK + BLOCK // 2
    columns = np.arange(shape[1]) * BLOCK + BLOCK // 2
    grid_rows, grid_columns = len(field.grid), len(field.grid[0])
    row = np.minimum(rows * grid_rows // strip.frame_rows, grid_rows - 1)
    column = np.minimum(columns * grid_columns // strip.capture[0].shape[1], grid_columns - 1)
    return np.asarray(row[:, None] * grid_columns + column[None, :], np.intp)
