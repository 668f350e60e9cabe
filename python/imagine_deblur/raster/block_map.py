"""What became of a scene's blocks, put together from its windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.raster.windows import ALIGNMENT, Window
from imagine_deblur.restoration.pieces import touched_blocks


class BlockMap:
    """The reblur check's account of a scene, see `imagine_deblur.Report.block_map`.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scene, px.

    Attributes
    ----------
    blocks : (n, m) uint8 ndarray or None
        One a block of 32 px a side; None where no window was checked.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = tuple(-(-size // ALIGNMENT) for size in shape)
        self.blocks: NDArray[np.uint8] | None = None

    def add(self, window: Window, found: NDArray[np.uint8] | None) -> None:
        """Take a window's own part of the map of all that was read for it."""
        if found is None:
            return
        if self.blocks is None:
            self.blocks = np.zeros(self._shape, np.uint8)
        own = found[tuple(touched_blocks(part.start, part.stop) for part in window.kept)]
        top, left = window.rows.start // ALIGNMENT, window.columns.start // ALIGNMENT
        self.blocks[top : top + own.shape[0], left : left + own.shape[1]] = own
