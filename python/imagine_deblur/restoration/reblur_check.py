"""The reblur check: a restored picture, blurred again, must be the capture.

Whatever the network did, ``h (*) x_hat`` has to reproduce the capture ``y`` up to noise, rounding
and JPEG error, since the blur is known. The residual ``r = y - h (*) x_hat`` of the luma is
measured in square blocks; a block far above the frame's own level holds something the capture
does not support and is replaced by the base Wiener plane, faded in over one block.

A block holds no information where the capture is flat, or where what the blur let through of the
restoration is weaker than what it leaves unexplained: noise then is all there is, and undoing a
blur amplifies it. Such a block that came out busier than it went in is replaced by the capture
itself. Learned gains of round blurs (`capture.ring_gain`) are cautious there by themselves: with
them only flat blocks are replaced. To replace weak ones too cost 0.2 dB on `camera-low` (10
validation scenes of the ISS) and 0.02 dB on `defocus+`, and saved no capture from harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.restoration.block_sums import BlockSums
from imagine_deblur.restoration.pieces import BLOCK, touched_blocks
from imagine_deblur.restoration.wiener import FIXED16_ONE

if TYPE_CHECKING:
    from imagine_deblur._core import Strip

Float32Array = NDArray[np.float32]
Samples = NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.float32]

_SAMPLE_ONE = {
    "uint8": np.float32(255.0),
    "int16": np.float32(FIXED16_ONE),
    "float32": np.float32(1.0),
}

_ROUNDING = 1 / (12 * 255**2)  # power of the error of rounding to 8 bits
_AT_A_TIME = 64  # columns of blocks that are faded together: 2,048 px take 2 MB
_BUSIER = 1.05  # standard deviation of a block over the capture's that counts as busier

KEPT, WIENER, CAPTURE = 0, 1, 2
"""Values of a block map: the network's block was kept, or replaced by which picture."""


@dataclass
class ReblurCheck:
    """Limits of the review, and what it found.

    Attributes
    ----------
    factor : float
        A block is replaced when its residual's RMS exceeds `factor` times the frame's median.
    floor : float
        RMS below which no block is replaced, in [0, 1]; two 8-bit steps.
    ceiling : float
        RMS above which a block is replaced whatever the rest of the frame is like: where a network
        invents everywhere, its median says nothing. Beyond noise and JPEG error of any capture.
    flat : float
        A block of the capture with a standard deviation below this holds no information.
    information : float
        Nor does one in which the power of the reblurred restoration, without its mean and slope, is
        below so many times that of the residual and of rounding to 8 bits.
    base_plane : int
        Number of the first base plane among the linear planes.
    limit : float or None
        RMS above which a block is replaced, in place of the one that `factor` and the frame's
        median give: parts of a scene are judged alike.
    limits : list of float
        The one that was used, one a strip, filled by `review`.
    masks : list of (n, m) uint8 ndarray
        One mask a strip, filled by `review`: `KEPT`, `WIENER` or `CAPTURE` for each block of
        `pieces.BLOCK` px a side, from the strip's first finished row on; `frame_mask` puts them
        together.
    """

    factor: float = 4.0
    floor: float = 2 / 255
    ceiling: float = 16 / 255
    flat: float = 1 / 255
    information: float = 2.0
    base_plane: int = 0
    limit: float | None = None

    def __post_init__(self) -> None:
        self.limits: list[float] = []
        self.masks: list[NDArray[np.uint8]] = []
        self._first_rows: list[int] = []  # of each mask, in the frame

    def frame_mask(self, rows: int, columns: int) -> NDArray[np.uint8]:
        """Return what became of each block of a frame, from the masks of its strips.

        Parameters
        ----------
        rows, columns : int
            Of the frame, px.

        Returns
        -------
        (ceil(rows / 32), ceil(columns / 32)) uint8 ndarray
            `KEPT`, `WIENER` or `CAPTURE`. A strip's blocks may lie across those of the frame; each
            of the frame's then shows what was replaced in any part of it.
        """
        size = BLOCK
        whole = np.full((-(-rows // size), -(-columns // size)), KEPT, np.uint8)
        for first, mask in zip(self._first_rows, self.masks, strict=True):
            for top, line in zip(range(first, rows, size), mask, strict=False):
                touched = slice(max(top, 0) // size, (min(top + size, rows) - 1) // size + 1)
                whole[touched] = np.maximum(whole[touched], line)
        return whole

    def review(self, strip: Strip, first_row: int, blocks: BlockSums) -> int:
        """Judge a strip's blocks and replace some of its restored rows.

        Parameters
        ----------
        strip : Strip
        first_row : int
            Of the frame, where the blocks begin.
        blocks : BlockSums
            Of rows of the strip's window.

        Returns
        -------
        int
            Blocks replaced, of those that hold restored pixels.
        """
        finished = (row - first_row for row in strip.finished)
        own = touched_blocks(*finished), touched_blocks(*strip.finished_columns)
        residual = blocks.rms_residual()[own]
        limit = self.limit
        if limit is None:
            limit = max(self.floor, self.factor * float(np.median(residual)))
            limit = min(limit, self.ceiling)
        self.limits.append(limit)
        mask = np.where(residual > limit, np.uint8(WIENER), np.uint8(KEPT))
        capture_std, restored_std = (s[own] for s in blocks.deviations())
        seen = blocks.reblurred_power()[own]
        silent = (residual <= limit) & (seen < self.information * (residual**2 + _ROUNDING))
        silent |= capture_std < self.flat
        mask[silent & (restored_std > _BUSIER * capture_std)] = CAPTURE
        wide = np.full((mask.shape[0], blocks.shape[1]), KEPT, np.uint8)
        wide[:, own[1]] = mask
        top = first_row + own[0].start * BLOCK
        self.masks.append(wide)
        self._first_rows.append(top)
        for kind in (WIENER, CAPTURE):
            if np.any(mask == kind):
                _replace(strip, wide == kind, top, kind, self.base_plane)
        return int(np.count_nonzero(mask))


def _replace(
    strip: Strip, blocks: NDArray[np.bool_], first_row: int, kind: int, base_plane: int
) -> None:
    """Fade another picture into the restored rows where `blocks` is set; rows of the frame."""
    finished = strip.finished
    grown = _dilated(blocks)
    for index in np.flatnonzero(grown.any(axis=1)):
        top = first_row + int(index) * BLOCK
        begin, end = max(top, finished[0]), min(top + BLOCK, finished[1])
        if begin >= end:
            continue
        rows = np.arange(begin, end) - first_row
        for columns in _touched_columns(grown[index], strip.capture[0].shape[1]):
            weight = _fade(blocks, rows, np.arange(columns.start, columns.stop))
            for band, restored in enumerate(strip.restored):
                if kind == WIENER:
                    source, origin = strip.linear[base_plane + band], strip.planes[0]
                else:
                    source, origin = strip.capture[band], strip.window[0]
                target = restored[begin - finished[0] : end - finished[0], columns]
                _mix(target, source[begin - origin : end - origin, columns], weight)


def _touched_columns(blocks: NDArray[np.bool_], columns: int) -> Iterator[slice]:
    """Columns of a row of blocks in which any is set, a few at a time: rows may be very wide."""
    for first in range(0, len(blocks), _AT_A_TIME):
        if np.any(blocks[first : first + _AT_A_TIME]):
            yield slice(first * BLOCK, min((first + _AT_A_TIME) * BLOCK, columns))


def _mix(target: Samples, source: Samples, weight: Float32Array) -> None:
    """Fade samples of another picture, of any type of sample, into the target."""
    one = _SAMPLE_ONE[target.dtype.name]
    other = source * (one / _SAMPLE_ONE[source.dtype.name])
    mixed = target + (other - target) * weight
    if target.dtype == np.uint8:
        mixed = np.clip(np.floor(mixed + np.float32(0.5)), 0, 255)
    target[...] = mixed.astype(target.dtype)


def _dilated(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the blocks that are set or touch one that is."""
    grown = np.pad(blocks, 1)
    rows = grown[:-2] | grown[1:-1] | grown[2:]
    result: NDArray[np.bool_] = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return result


def _fade(
    blocks: NDArray[np.bool_], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> Float32Array:
    """Weights that are 1 inside set blocks and fall to 0 across their neighbours, bilinearly."""
    corners = np.pad(blocks, 1, mode="edge")
    # A corner of the block grid has weight 1 when any block around it is set.
    weight = (corners[:-1, :-1] | corners[1:, :-1] | corners[:-1, 1:] | corners[1:, 1:]).astype(
        np.float32
    )
    row, row_part = rows // BLOCK, ((rows % BLOCK + 0.5) / BLOCK).astype(np.float32)[:, None]
    column, column_part = columns // BLOCK, ((columns % BLOCK + 0.5) / BLOCK).astype(np.float32)
    top = weight[row][:, column] * (1 - column_part) + weight[row][:, column + 1] * column_part
    bottom = (
        weight[row + 1][:, column] * (1 - column_part)
        + weight[row + 1][:, column + 1] * column_part
    )
    faded = np.asarray(top * (1 - row_part) + bottom * row_part, np.float32)
    return faded
