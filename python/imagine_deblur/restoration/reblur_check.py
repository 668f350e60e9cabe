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
FloatArray = NDArray[np.float64]
Samples = NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.float32]

_SAMPLE_ONE = {
    "uint8": np.float32(255.0),
    "int16": np.float32(FIXED16_ONE),
    "float32": np.float32(1.0),
}

_ROUNDING = 1 / (12 * 255**2)  # power of the error of rounding to 8 bits
_AT_A_TIME = 64  # columns of blocks that are faded together: 2,048 px take 2 MB
_BAND = 0.2
"""Shares rise from 0 to 1 while a figure goes from 0.8 to 1.2 times its limit.

Against a rule of yes or no, PSNR over 16 validation scenes with the true PSF, blind, and with a
radius 1.3 times too large: between -0.0003 and +0.0002 dB on `defocus` and `defocus+`, 0 to +0.006
on `defocus75`, -0.003 to 0 on `imagine90`, -0.0003 to +0.009 on `camera`, 0 to +0.0005 on
`camera-low`, +0.007 to +0.034 on `motion`. 0.1 gives half as much, 0.4 costs 0.006 on `imagine90`.
"""

_BUSIER = 1.05  # standard deviation of a block over the capture's that counts as busier

_BUSIER_BAND = 0.04
"""Narrower: at 1.01 times the capture's no share may be left of what is not busier than it."""

KEPT, WIENER, CAPTURE = 0, 1, 2
"""Values of a block map: the network's block was kept, or replaced by which picture, where that
has more than half."""


@dataclass
class ReblurCheck:
    """Limits of the review, and what it found.

    Attributes
    ----------
    factor : float
        The limit of a block's residual, above which it is replaced, is `factor` times the frame's
        median RMS.
    floor : float
        Least limit, RMS in [0, 1]; two 8-bit steps.
    ceiling : float
        Greatest limit: where a network invents everywhere, its median says nothing. Beyond noise
        and JPEG error of any capture.
    flat : float
        A block of the capture with a standard deviation below this holds no information.
    information : float
        Nor does one in which the power of the reblurred restoration, without its mean and slope, is
        below so many times that of the residual and of rounding to 8 bits.
    base_plane : int
        Number of the first base plane among the linear planes.
    limit : float or None
        In place of the one that `factor` and the frame's median give: parts of a scene are judged
        alike.
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
        capture_std, restored_std = (s[own] for s in blocks.deviations())
        wiener = _share(residual, limit)
        seen = _share(blocks.reblurred_power()[own], self.information * (residual**2 + _ROUNDING))
        silent = np.minimum(1 - wiener, 1 - seen)
        silent[capture_std < self.flat] = 1.0  # rounding of the restoration does not move it
        capture = np.minimum(silent, _share(restored_std, _BUSIER * capture_std, _BUSIER_BAND))
        wiener = np.minimum(wiener, 1 - capture)
        mask = np.full((residual.shape[0], blocks.shape[1]), KEPT, np.uint8)
        mask[:, own[1]][wiener > 0.5] = WIENER
        mask[:, own[1]][capture > 0.5] = CAPTURE
        top = first_row + own[0].start * BLOCK
        self.masks.append(mask)
        self._first_rows.append(top)
        for kind, share in ((WIENER, wiener), (CAPTURE, capture)):
            if np.any(share > 0):
                wide = np.zeros(mask.shape, np.float32)
                wide[:, own[1]] = share
                _replace(strip, wide, top, kind, self.base_plane)
        return int(np.count_nonzero(mask))


def _share(value: FloatArray, limit: FloatArray | float, band: float = _BAND) -> FloatArray:
    """Return the share of what replaces a block, by how far a figure is above its limit.

    Parameters
    ----------
    value, limit : float64 ndarray
        Not negative; half of the share is reached where they are equal.
    band : float
        Shares rise evenly from ``1 - band`` to ``1 + band`` times the limit.
    """
    least, most = (1 - band) * np.asarray(limit), (1 + band) * np.asarray(limit)
    over = np.divide(value - least, most - least, out=np.ones_like(value), where=most > least)
    return np.where(value > least, np.clip(over, 0.0, 1.0), 0.0)


def _replace(
    strip: Strip, shares: Float32Array, first_row: int, kind: int, base_plane: int
) -> None:
    """Fade another picture into the restored rows by its share of each block, from a row on."""
    finished = strip.finished
    grown = _dilated(shares > 0)
    for index in np.flatnonzero(grown.any(axis=1)):
        top = first_row + int(index) * BLOCK
        begin, end = max(top, finished[0]), min(top + BLOCK, finished[1])
        if begin >= end:
            continue
        rows = np.arange(begin, end) - first_row
        for columns in _touched_columns(grown[index], strip.capture[0].shape[1]):
            weight = _fade(shares, rows, np.arange(columns.start, columns.stop))
            for band, restored in enumerate(strip.restored):
                if kind == WIENER:
                    source, origin = strip.linear[base_plane + band], strip.planes[0]
                else:
                    source, origin = strip.capture[band], strip.window[0]
                target = restored[begin - finished[0] : end - finished[0], columns]
                _mix(target, source[begin - origin : end - origin, columns], weight)


def _touched_columns(blocks: NDArray[np.bool_], columns: int) -> Iterator[slice]:
    """Runs of columns in which a row of blocks is set, not too many at a time: rows may be wide."""
    edges = np.flatnonzero(np.diff(np.pad(blocks, 1).astype(np.int8)))
    for first, last in edges.reshape(-1, 2).tolist():
        for start in range(first, last, _AT_A_TIME):
            stop = min(start + _AT_A_TIME, last)
            yield slice(start * BLOCK, min(stop * BLOCK, columns))


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


def _fade(shares: Float32Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Float32Array:
    """Weights that are a block's share inside it and fall across its neighbours, bilinearly."""
    corners = np.pad(shares, 1, mode="edge")
    # A corner of the block grid has the largest share of the blocks around it.
    weight = np.maximum(corners[:-1], corners[1:])
    weight = np.maximum(weight[:, :-1], weight[:, 1:])
    row, row_part = rows // BLOCK, ((rows % BLOCK + 0.5) / BLOCK).astype(np.float32)[:, None]
    column, column_part = columns // BLOCK, ((columns % BLOCK + 0.5) / BLOCK).astype(np.float32)
    top = weight[row][:, column] * (1 - column_part) + weight[row][:, column + 1] * column_part
    bottom = (
        weight[row + 1][:, column] * (1 - column_part)
        + weight[row + 1][:, column + 1] * column_part
    )
    faded = np.asarray(top * (1 - row_part) + bottom * row_part, np.float32)
    return faded
