"""The Wiener bank and the reblur check as the pipeline's linear stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.extension import Float32Array
from imagine_deblur.restoration.gains import PlaneGain, TransferArray
from imagine_deblur.restoration.reach import gap_px, margin_px
from imagine_deblur.restoration.reblur_check import Piece, ReblurCheck
from imagine_deblur.restoration.wiener import (
    Complex64Array,
    SpectrumPlan,
    Store,
    WienerBank,
    WienerSpec,
    learned_gains,
)

if TYPE_CHECKING:
    from imagine_deblur._core import Plane, Strip

FIXED16_ONE = 4096.0
"""The value of 1.0 in the fixed-point planes of uint8 frames (csrc/base/image_view.h)."""

_BYTE = np.float32(1 / 255)

# Strips wider than this run in pieces, each with the strip's margin on both sides: the transforms'
# memory then does not grow with the frame's width.
_PIECE_COLUMNS = 4096


class WienerStage:
    """Fills a strip's planes with the Wiener bank and reviews the restored rows.

    Parameters
    ----------
    psf : PSF or PsfField
        A field costs one pass a cell.
    spec : WienerSpec
    reblur_check : ReblurCheck or None
        Reviews the restored rows; None accepts everything.
    executor : concurrent.futures.Executor, optional
        Runs blocks of rows and columns.
    checked : bool
        Of its plans, see `SpectrumPlan`.
    gains : sequence of PlaneGain or None, optional
        Learned filters, see `WienerBank`; every cell of a field takes the same.

    Notes
    -----
    The OTF of the last strip size is kept (2 bytes/px, complex: 4) where there is one PSF, so
    frames of one size compute it once. Everything else lives in the strip's scratch.
    """

    def __init__(
        self,
        psf: PSF | PsfField,
        spec: WienerSpec,
        *,
        reblur_check: ReblurCheck | None = None,
        executor: Executor | None = None,
        checked: bool = False,
        gains: Sequence[PlaneGain | None] | None = None,
    ) -> None:
        self.field = psf if isinstance(psf, PsfField) else PsfField(((psf,),))
        self.spec, self.reblur_check = spec, reblur_check
        self._executor, self._checked = executor, checked
        self._gains = learned_gains(gains, spec)
        psfs = {psf for _, _, psf in self.field.cells}
        self._gap = max(gap_px(psf, spec.nsr, self._gains) for psf in psfs)
        self._margin = max(margin_px(psf, spec.nsr, self._gains) for psf in psfs)
        if any(gain is None for gain in self._gains):
            self._margin = max(self._margin, self.field.support_px())
        self._plan: SpectrumPlan | None = None
        self._otf: TransferArray | None = None

    def plane_count(self, bands: int) -> int:
        """Return how many planes the bank makes for a frame of `bands` bands."""
        return self.spec.plane_count(bands)

    def margin_rows(self) -> int:
        """Return the rows of context a strip needs: how far the sharpest inverse reaches."""
        return self._margin

    def scratch_bytes(self, rows: int, columns: int, bands: int) -> int:
        """Return the bytes of two spectra of a strip, or of its widest piece."""
        width = cut_columns(columns, self._margin)[0].width
        return 2 * SpectrumPlan(rows, width, self._gap).spectrum_bytes

    def kept_bytes(self, rows: int, columns: int, bands: int) -> int:
        """Return the bytes of the OTF of a strip, which stays outside the scratch."""
        real = all(np.isrealobj(_otf_sample(psf)) for _, _, psf in self.field.cells)
        return self.scratch_bytes(rows, columns, bands) // (4 if real else 2)

    def _plan_for(self, rows: int, columns: int) -> SpectrumPlan:
        plan = self._plan
        if plan is None or (plan.rows.samples, plan.columns.samples) != (rows, columns):
            plan = SpectrumPlan(
                rows, columns, self._gap, executor=self._executor, checked=self._checked
            )
            if self._plan is None or self._plan.spectrum_shape != plan.spectrum_shape:
                self._otf = None
            self._plan = plan
        return plan

    def _otf_of(self, psf: PSF, plan: SpectrumPlan) -> TransferArray:
        if len(self.field.cells) > 1:
            return plan.otf(psf)
        if self._otf is None:
            self._otf = plan.otf(psf)
        return self._otf

    def _work(self, plan: SpectrumPlan, strip: Strip) -> tuple[Complex64Array, Complex64Array]:
        size = plan.spectrum_bytes
        first, second = (
            strip.scratch[start : start + size].view(np.complex64).reshape(plan.spectrum_shape)
            for start in (0, size)
        )
        return first, second

    def restore(self, strip: Strip) -> None:
        """Fill ``strip.linear`` from ``strip.capture``."""
        rows, columns = strip.capture[0].shape
        for piece in cut_columns(columns, self._margin):
            capture = [plane[:, piece.read] for plane in strip.capture]
            plan = self._plan_for(rows, piece.width)
            work = self._work(plan, strip)

            def load(
                band: int, rows: slice, out: Float32Array, capture: list[Plane] = capture
            ) -> None:
                _to_float(capture[band][rows], out)

            for cell_row, cell_column, psf in self.field.cells:
                store = self._store(strip, piece, cell_row, cell_column)
                bank = WienerBank(
                    psf, self.spec, plan, otf=self._otf_of(psf, plan), gains=self._gains
                )
                for _ in bank.run(load, store, work, bands=len(capture)):
                    pass

    def _store(self, strip: Strip, piece: Piece, cell_row: int, cell_column: int) -> Store:
        """Return what takes a cell's rows: a plain store, or a weighted sum over the cells."""
        planes = [plane[:, piece.write] for plane in strip.linear]
        offset = strip.window[0] - strip.planes[0]
        if len(self.field.cells) == 1:
            return lambda plane, rows, values, add: _store_rows(
                planes[plane], rows.start + offset, values[:, piece.kept], add=add
            )
        first = cell_row == cell_column == 0
        columns = strip.linear[0].shape[1]
        column_weights = self.field.column_weights(cell_column, columns)[piece.write]

        def store(plane: int, rows: slice, values: Float32Array, add: bool) -> None:
            frame = np.arange(rows.start, rows.stop) + strip.window[0]
            weights = self.field.row_weights(cell_row, strip.frame_rows, frame)
            weighted = values[:, piece.kept] * weights[:, None] * column_weights
            _store_rows(planes[plane], rows.start + offset, weighted, add=add or not first)

        return store

    def review(self, strip: Strip) -> int:
        """Check the restored rows against the capture; return how many blocks were replaced."""
        if self.reblur_check is None:
            return 0
        rows, columns = strip.capture[0].shape
        pieces = cut_columns(columns, self._margin)
        plan = self._plan_for(rows, pieces[0].width)  # pieces are equally wide

        def otfs() -> Iterator[tuple[int, int, TransferArray]]:
            for row, column, psf in self.field.cells:
                yield row, column, self._otf_of(psf, plan)

        return self.reblur_check.review(
            strip, plan, self.field, otfs, self._work(plan, strip), pieces
        )


def cut_columns(columns: int, margin: int) -> list[Piece]:
    """Cut a strip's columns into pieces of one width that the transforms can hold.

    Parameters
    ----------
    columns : int
        Of the frame, px.
    margin : int
        Context a piece needs on each side, px.

    Returns
    -------
    list of Piece
        One for frames up to 4096 px wide. Reads begin, and writes begin and end, on multiples of
        the check's block; a piece at the frame's border reads as many columns as the others.
    """
    if columns <= _PIECE_COLUMNS:
        return [Piece(slice(0, columns), slice(0, columns))]
    block = ReblurCheck.BLOCK
    step = -(-columns // -(-columns // _PIECE_COLUMNS))
    step += -step % block
    margin += -margin % block
    width = step + 2 * margin
    width += (columns - width) % block
    if width >= columns:
        return [Piece(slice(0, columns), slice(0, columns))]
    pieces = []
    for first in range(0, columns, step):
        start = min(max(first - margin, 0), columns - width)
        pieces.append(Piece(slice(start, start + width), slice(first, min(first + step, columns))))
    return pieces


def _otf_sample(psf: PSF) -> TransferArray:
    return SpectrumPlan(16, 16, 0).otf(psf)


def _to_float(samples: Plane, out: Float32Array) -> None:
    if samples.dtype == np.uint8:
        np.multiply(samples, _BYTE, out=out, dtype=np.float32)
    else:
        out[...] = samples


def _store_rows(plane: Plane, first: int, values: Float32Array, *, add: bool = False) -> None:
    """Store, or add, the rows of `values` inside `plane`, the first of them at row `first`."""
    begin, end = max(0, -first), min(len(values), len(plane) - first)
    if begin >= end:
        return
    rows = plane[first + begin : first + end]
    values = values[begin:end]
    if plane.dtype == np.int16:
        scaled = values * np.float32(FIXED16_ONE)
        np.rint(scaled, out=scaled)
        if add:
            scaled += rows
        np.clip(scaled, -32768, 32767, out=scaled)
        rows[...] = scaled.astype(np.int16)
    elif add:
        rows += values
    else:
        rows[...] = values
