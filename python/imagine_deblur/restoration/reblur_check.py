"""The reblur check: a restored picture, blurred again, must be the capture.

Whatever the network did, ``h (*) x_hat`` has to reproduce the capture ``y`` up to noise, rounding
and JPEG error, since the blur is known. The residual ``r = y - h (*) x_hat`` of the luma is
measured in square blocks; a block far above the frame's own level holds something the capture
does not support and is replaced by the base Wiener plane, faded in over one block.

A block holds no information where the capture is flat, or where what the blur let through of the
restoration is weaker than what it leaves unexplained: noise then is all there is, and undoing a
blur amplifies it. Such a block that came out busier than it went in is replaced by the capture
itself. On the validation scenes 1 block in 300 is of this kind, and no worse for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.psf.field import PsfField
from imagine_deblur.restoration.extension import Float32Array
from imagine_deblur.restoration.wiener import Complex64Array, SpectrumPlan
from imagine_deblur.support.colour import LUMA

if TYPE_CHECKING:
    from imagine_deblur._core import Plane, Strip
    from imagine_deblur.restoration.gains import TransferArray

_SAMPLE_ONE = {"uint8": np.float32(255.0), "int16": np.float32(4096.0), "float32": np.float32(1.0)}

_ROUNDING = 1 / (12 * 255**2)  # power of the error of rounding to 8 bits
_BUSIER = 1.05  # standard deviation of a block over the capture's that counts as busier

KEPT, WIENER, CAPTURE = 0, 1, 2
"""Values of a block map: the network's block was kept, or replaced by which picture."""


@dataclass(frozen=True)
class Piece:
    """Columns of a strip that are transformed together.

    Attributes
    ----------
    read, write : slice
        Columns read, and those of them that are kept; both in the frame's columns.
    """

    read: slice
    write: slice

    @property
    def width(self) -> int:
        """Columns read."""
        return int(self.read.stop - self.read.start)

    @property
    def kept(self) -> slice:
        """`write` counted from the first column read."""
        return slice(self.write.start - self.read.start, self.write.stop - self.read.start)


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
    masks : list of (n, m) uint8 ndarray
        One mask a strip, filled by `review`: `KEPT`, `WIENER` or `CAPTURE` for each block of
        `BLOCK` x `BLOCK` px, counted from the strip's first finished row; `frame_mask` puts them
        together.
    """

    factor: float = 4.0
    floor: float = 2 / 255
    ceiling: float = 16 / 255
    flat: float = 1 / 255
    information: float = 2.0
    base_plane: int = 0

    BLOCK = 32

    def __post_init__(self) -> None:
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
        size = self.BLOCK
        whole = np.full((-(-rows // size), -(-columns // size)), KEPT, np.uint8)
        for first, mask in zip(self._first_rows, self.masks, strict=True):
            for top, line in zip(range(first, rows, size), mask, strict=False):
                touched = slice(max(top, 0) // size, (min(top + size, rows) - 1) // size + 1)
                whole[touched] = np.maximum(whole[touched], line)
        return whole

    def review(
        self,
        strip: Strip,
        plan: SpectrumPlan,
        field: PsfField,
        otfs: Callable[[], Iterable[tuple[int, int, TransferArray]]],
        work: tuple[Complex64Array, Complex64Array],
        pieces: Sequence[Piece],
    ) -> int:
        """Measure the residual of a strip and replace blocks of its restored rows.

        Parameters
        ----------
        strip : Strip
        plan : SpectrumPlan
            Of a piece of the strip's window.
        field : PsfField
        otfs : callable
            Gives cell row, cell column and OTF on the plan's grid, cell after cell; each block is
            judged by its nearest cell.
        work : pair of complex64 ndarray
            Scratch.
        pieces : sequence of Piece
            Of one width, aligned to blocks; their writes cover the frame's columns.

        Returns
        -------
        int
            Blocks replaced.
        """
        planes = _Planes(strip)
        blocks = _BlockSums(*strip.capture[0].shape)
        nearest = _nearest_cells(field, strip, blocks.shape)
        for piece in pieces:
            sums = _BlockSums(strip.capture[0].shape[0], piece.width)
            first_block = piece.read.start // self.BLOCK
            cells = nearest[:, first_block : first_block + sums.shape[1]]
            _measure(planes, plan, field, cells, otfs(), work, piece.read, sums)
            blocks.take(sums, piece)

        first = (strip.finished[0] - strip.window[0]) // self.BLOCK
        last = -(-(strip.finished[1] - strip.window[0]) // self.BLOCK)
        residual = blocks.rms_residual()[first:last]
        limit = max(self.floor, self.factor * float(np.median(residual)))
        limit = min(limit, self.ceiling)
        mask = np.where(residual > limit, np.uint8(WIENER), np.uint8(KEPT))
        capture_std, restored_std = (s[first:last] for s in blocks.deviations())
        seen = blocks.reblurred_power()[first:last]
        silent = (residual <= limit) & (seen < self.information * (residual**2 + _ROUNDING))
        silent |= capture_std < self.flat
        mask[silent & (restored_std > _BUSIER * capture_std)] = CAPTURE
        self.masks.append(mask)
        self._first_rows.append(strip.window[0] + first * self.BLOCK)
        for kind in (WIENER, CAPTURE):
            if np.any(mask == kind):
                planes.replace(mask == kind, first * self.BLOCK, kind, self.base_plane)
        return int(np.count_nonzero(mask))


def _measure(
    planes: _Planes,
    plan: SpectrumPlan,
    field: PsfField,
    nearest: NDArray[np.intp],
    otfs: Iterable[tuple[int, int, TransferArray]],
    work: tuple[Complex64Array, Complex64Array],
    columns: slice,
    sums: _BlockSums,
) -> None:
    """Blur the restored columns again and fill the sums over their blocks."""
    spectrum, product = work

    def load(rows: slice, out: Float32Array) -> None:
        planes.restored_luma(rows, columns, out)
        sums.add_restored(rows, out)

    total = plan.forward(load, spectrum)
    for cell_row, cell_column, otf in otfs:
        owned = nearest == (cell_row * len(field.grid[0]) + cell_column)

        def store(rows: slice, reblurred: Float32Array, owned: NDArray[np.bool_] = owned) -> None:
            capture = np.empty(reblurred.shape, np.float32)
            planes.capture_luma(rows, columns, capture)
            sums.add_capture(rows, capture)
            sums.add_reblurred(rows, reblurred, capture - reblurred, owned)

        wanted = plan.filter(spectrum, lambda block, _, otf=otf: otf[block], product, wanted=total)  # type: ignore[misc]
        plan.inverse(product, store, wanted=wanted)


def _nearest_cells(field: PsfField, strip: Strip, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return, for each block of a strip's window, the number of the cell its centre is nearest."""
    size = ReblurCheck.BLOCK
    rows = strip.window[0] + np.arange(shape[0]) * size + size // 2
    columns = np.arange(shape[1]) * size + size // 2
    grid_rows, grid_columns = len(field.grid), len(field.grid[0])
    row = np.minimum(rows * grid_rows // strip.frame_rows, grid_rows - 1)
    column = np.minimum(columns * grid_columns // strip.capture[0].shape[1], grid_columns - 1)
    return np.asarray(row[:, None] * grid_columns + column[None, :], np.intp)


class _BlockSums:
    """Sums over blocks of `ReblurCheck.BLOCK` px; runs of rows never share a block."""

    def __init__(self, rows: int, columns: int) -> None:
        size = ReblurCheck.BLOCK
        self._starts = np.arange(0, columns, size)
        self.shape = shape = (-(-rows // size), len(self._starts))
        row_counts = np.minimum(size, rows - np.arange(shape[0]) * size)
        column_counts = np.minimum(size, columns - self._starts)
        self._counts = row_counts[:, None] * column_counts[None, :]
        self._residual, self._capture, self._capture2, self._restored, self._restored2 = (
            np.zeros(shape) for _ in range(5)
        )
        self._reblurred, self._reblurred2, self._across, self._down = (
            np.zeros(shape) for _ in range(4)
        )
        # Columns and rows counted from the middle of their block, and the sums of their squares.
        self._column = _from_the_middle(columns)
        self._row = _from_the_middle(rows)
        self._columns2 = np.add.reduceat(self._column.astype(np.float64) ** 2, self._starts)
        self._rows2 = np.add.reduceat(self._row.astype(np.float64) ** 2, np.arange(0, rows, size))
        self._heights, self._widths = row_counts, column_counts

    def take(self, part: _BlockSums, piece: Piece) -> None:
        """Copy the blocks a piece keeps."""
        size = ReblurCheck.BLOCK
        target = slice(piece.write.start // size, -(-piece.write.stop // size))
        source = slice(piece.kept.start // size, -(-piece.kept.stop // size))
        for mine, other in zip(self._sums, part._sums, strict=True):
            mine[:, target] = other[:, source]

    @property
    def _sums(self) -> tuple[NDArray[np.float64], ...]:
        return (
            self._residual,
            self._capture,
            self._capture2,
            self._restored,
            self._restored2,
            self._reblurred,
            self._reblurred2,
            self._across,
            self._down,
        )

    def _sum(
        self,
        target: NDArray[np.float64],
        rows: slice,
        values: Float32Array,
        owned: NDArray[np.bool_] | None = None,
    ) -> None:
        self._sum_columns(target, rows, self._by_columns(values), owned)

    def _by_columns(self, values: Float32Array) -> NDArray[np.float64]:
        """Row by row, the sum over each block's columns."""
        return np.asarray(np.add.reduceat(values, self._starts, axis=1, dtype=np.float64))

    @staticmethod
    def _sum_columns(
        target: NDArray[np.float64],
        rows: slice,
        columns: NDArray[np.float64],
        owned: NDArray[np.bool_] | None,
    ) -> None:
        edges = np.arange(0, len(columns), ReblurCheck.BLOCK)
        first = rows.start // ReblurCheck.BLOCK
        sums = np.add.reduceat(columns, edges, axis=0)
        kept = slice(first, first + len(edges))
        target[kept] = sums if owned is None else np.where(owned[kept], sums, target[kept])

    def add_restored(self, rows: slice, values: Float32Array) -> None:
        self._sum(self._restored, rows, values)
        self._sum(self._restored2, rows, values * values)

    def add_capture(self, rows: slice, values: Float32Array) -> None:
        self._sum(self._capture, rows, values)
        self._sum(self._capture2, rows, values * values)

    def add_reblurred(
        self,
        rows: slice,
        values: Float32Array,
        residual: Float32Array,
        owned: NDArray[np.bool_],
    ) -> None:
        self._sum(self._residual, rows, residual * residual, owned)
        columns = self._by_columns(values)
        self._sum_columns(self._reblurred, rows, columns, owned)
        self._sum_columns(self._down, rows, columns * self._row[rows, None], owned)
        self._sum(self._reblurred2, rows, values * values, owned)
        self._sum(self._across, rows, values * self._column, owned)

    def rms_residual(self) -> NDArray[np.float64]:
        rms: NDArray[np.float64] = np.sqrt(self._residual / self._counts)
        return rms

    def reblurred_power(self) -> NDArray[np.float64]:
        """Variance of the reblurred picture about its best plane, block by block."""
        # One column or row alone has no slope.
        across = self._across**2 / np.maximum(self._columns2 * self._heights[:, None], 0.5)
        down = self._down**2 / np.maximum(self._rows2[:, None] * self._widths, 0.5)
        mean = self._reblurred / self._counts
        power = (self._reblurred2 - across - down) / self._counts - mean**2
        result: NDArray[np.float64] = np.maximum(power, 0.0)
        return result

    def deviations(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        def deviation(
            total: NDArray[np.float64], squares: NDArray[np.float64]
        ) -> NDArray[np.float64]:
            variance = squares / self._counts - (total / self._counts) ** 2
            result: NDArray[np.float64] = np.sqrt(np.maximum(variance, 0.0))
            return result

        return (
            deviation(self._capture, self._capture2),
            deviation(self._restored, self._restored2),
        )


def _from_the_middle(length: int) -> Float32Array:
    """Places along an axis counted from the middle of their block, the last block as it is."""
    size = ReblurCheck.BLOCK
    place = np.arange(length)
    width = np.minimum(size, length - place // size * size)
    return np.asarray(place % size - (width - 1) / 2, np.float32)


class _Planes:
    """Luma rows of a strip's pictures, and the replacement of blocks. Rows count in the window."""

    def __init__(self, strip: Strip) -> None:
        self._capture, self._linear, self._restored = strip.capture, strip.linear, strip.restored
        start = strip.window[0]
        self._finished = (strip.finished[0] - start, strip.finished[1] - start)
        self._planes = (strip.planes[0] - start, strip.planes[1] - start)

    def _luma(self, planes: list[Plane], rows: slice, columns: slice, out: Float32Array) -> None:
        one = _SAMPLE_ONE[planes[0].dtype.name]
        weights = LUMA if len(planes) == 3 else (1.0,)
        out[...] = 0
        for plane, weight in zip(planes, weights, strict=True):
            out += plane[rows, columns] * np.float32(weight / one)

    def capture_luma(self, rows: slice, columns: slice, out: Float32Array) -> None:
        self._luma(self._capture, rows, columns, out)

    def restored_luma(self, rows: slice, columns: slice, out: Float32Array) -> None:
        """Restored rows; beyond them the base Wiener rows, beyond those the capture."""
        first, last = self._finished
        if first <= rows.start and rows.stop <= last:
            self._luma(self._restored, slice(rows.start - first, rows.stop - first), columns, out)
            return
        self.capture_luma(rows, columns, out)
        bands = len(self._capture)
        for planes, (first, last) in (
            (self._linear[:bands], self._planes),
            (self._restored, self._finished),
        ):
            begin, end = max(rows.start, first), min(rows.stop, last)
            if begin < end:
                part = out[begin - rows.start : end - rows.start]
                self._luma(planes, slice(begin - first, end - first), columns, part)

    def replace(
        self, blocks: NDArray[np.bool_], first_row: int, kind: int, base_plane: int
    ) -> None:
        """Fade another picture into the restored rows where `blocks` is set."""
        size = ReblurCheck.BLOCK
        columns = self._capture[0].shape[1]
        for index in np.flatnonzero(_dilated(blocks).any(axis=1)):
            top = first_row + int(index) * size
            begin, end = max(top, self._finished[0]), min(top + size, self._finished[1])
            if begin >= end:
                continue
            weight = _fade(blocks, np.arange(begin, end) - first_row, np.arange(columns))
            for band, restored in enumerate(self._restored):
                if kind == WIENER:
                    source, origin = self._linear[base_plane + band], self._planes[0]
                else:
                    source, origin = self._capture[band], 0
                target = restored[begin - self._finished[0] : end - self._finished[0]]
                one = _SAMPLE_ONE[target.dtype.name]
                other = source[begin - origin : end - origin] * (
                    one / _SAMPLE_ONE[source.dtype.name]
                )
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
    size = ReblurCheck.BLOCK
    corners = np.pad(blocks, 1, mode="edge")
    # A corner of the block grid has weight 1 when any block around it is set.
    weight = (corners[:-1, :-1] | corners[1:, :-1] | corners[:-1, 1:] | corners[1:, 1:]).astype(
        np.float32
    )
    row, row_part = rows // size, ((rows % size + 0.5) / size).astype(np.float32)[:, None]
    column, column_part = columns // size, ((columns % size + 0.5) / size).astype(np.float32)
    top = weight[row][:, column] * (1 - column_part) + weight[row][:, column + 1] * column_part
    bottom = (
        weight[row + 1][:, column] * (1 - column_part)
        + weight[row + 1][:, column + 1] * column_part
    )
    faded = np.asarray(top * (1 - row_part) + bottom * row_part, np.float32)
    return faded
