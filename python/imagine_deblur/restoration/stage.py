"""The Wiener bank and the reblur check as the pipeline's linear stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.block_sums import BlockSums, nearest_cells
from imagine_deblur.restoration.gains import PlaneGain
from imagine_deblur.restoration.pieces import BLOCK, Piece, cut_columns, piece_of
from imagine_deblur.restoration.reach import gap_px, margin_px
from imagine_deblur.restoration.reblur_check import ReblurCheck
from imagine_deblur.restoration.transfer import (
    bank_of,
    is_radial,
    otf_bytes,
    otf_for,
    padded_length,
    scratch_bytes,
    sizes_for,
    worker_bytes,
)
from imagine_deblur.restoration.wiener import WienerSpec, learned_gains
from imagine_deblur.support.process_memory import return_free_memory

if TYPE_CHECKING:
    from imagine_deblur._core import Strip


_THREADS_COUNTED = 4
"""Threads whose rows are counted at least, so that up to so many cut a frame in the same way."""

_COLUMN_MARGINS = 2
"""Context on each side of a group of columns, in margins of a strip. 600 x 6,000 px in groups of
1,000, disks of R = 2 to 4 px: 0.011 to 0.023 % of the samples of the linear model differ from the
whole frame's by a step; 0.009 to 0.015 with 4 margins, 0.03 to 0.28 with 1."""

_MAKING_OTF = 5_000_000
"""Bytes beside the result while an OTF is computed, see `PSF.half_plane`."""


class WienerStage:
    """Fills a strip's planes with the Wiener bank and reviews the restored rows.

    Parameters
    ----------
    psf : PSF or PsfField
        A field costs one pass a cell.
    spec : WienerSpec
    reblur_check : ReblurCheck or None
        Reviews the restored rows; None accepts everything.
    workers : WorkerPool, optional
        Runs blocks of rows and columns; the calling thread alone if None.
    checked : bool
        Sum a spectrum's bits whenever a pass writes it and when the next one reads it: a bit that
        flips in between would add one wave to the whole frame, and raises `IntegrityError`.
    gains : sequence of PlaneGain or None, optional
        Learned filters, see `wiener_planes`; every cell of a field takes the same.
    least_gap : int
        Least length of the extension, px, where the filters alone would take a shorter one.

    Attributes
    ----------
    after_block : callable or None
        Called with the strip's scratch after each block of each pass; for campaigns of faults.

    Notes
    -----
    Where there is one PSF its OTF is kept, a table of 64 KB where it has no direction, else for the
    last strip size, so that frames of one size compute it once. Everything else lives in the
    strip's scratch.
    """

    after_block: Callable[[NDArray[np.uint8]], object] | None = None

    def __init__(
        self,
        psf: PSF | PsfField,
        spec: WienerSpec,
        *,
        reblur_check: ReblurCheck | None = None,
        workers: _core.WorkerPool | None = None,
        checked: bool = False,
        gains: Sequence[PlaneGain | None] | None = None,
        least_gap: int = 0,
    ) -> None:
        self.field = psf if isinstance(psf, PsfField) else PsfField(((psf,),))
        self.spec, self.reblur_check = spec, reblur_check
        self._workers = workers or _core.WorkerPool(1)
        self._checked = checked
        learned = learned_gains(gains, spec)
        self._bank = bank_of(spec.nsr, spec.base, spec.chroma, learned)
        psfs = {psf for _, _, psf in self.field.cells}
        self._gap = max(least_gap, *(gap_px(psf, spec.nsr, learned) for psf in psfs))
        self._learned = learned
        self._margin: int | None = None
        self._otf: tuple[tuple[int, int], _core.Otf] | None = None

    @property
    def sizes_key(self) -> tuple[int, int, bool]:
        """What its memory depends on beside the frame, where the frame is not cut."""
        return self._gap, len(self.spec.nsr), self._radial

    @property
    def _radial(self) -> bool:
        return all(is_radial(psf) for _, _, psf in self.field.cells)

    def margin_rows(self) -> int:
        """Return the rows of context a strip needs: how far the sharpest inverse reaches.

        Found when it is asked for: a frame in one strip and one piece does without.
        """
        if self._margin is None:
            psfs = {psf for _, _, psf in self.field.cells}
            self._margin = max(margin_px(psf, self.spec.nsr, self._learned) for psf in psfs)
            if any(gain is None for gain in self._learned):
                self._margin = max(self._margin, self.field.support_px())
        return self._margin

    def read_columns(self, columns: int, group_columns: int) -> int:
        """Return how many columns are transformed to fill `group_columns` of a frame's."""
        if group_columns >= columns:
            return columns
        return min(columns, group_columns + 2 * _COLUMN_MARGINS * self.margin_rows())

    def _review_pieces(self, columns: int, group_columns: int) -> list[Piece]:
        return cut_columns(columns, self.field.support_px() + BLOCK, group_columns)

    def scratch_bytes(self, rows: int, columns: int, group_columns: int) -> int:
        """Return the bytes of two spectra of what is transformed at a time.

        Parameters
        ----------
        rows : int
            Of a strip's capture.
        columns, group_columns : int
            Of the frame, and those whose planes are made at a time.
        """
        return scratch_bytes(rows, self._transformed_columns(columns, group_columns), self._gap)

    def kept_bytes(self, rows: int, columns: int, group_columns: int) -> int:
        """Return the bytes outside the scratch: OTF and workers' rows; see `scratch_bytes`."""
        width = self._transformed_columns(columns, group_columns)
        threads = max(self._workers.worker_count, _THREADS_COUNTED)
        kept = threads * worker_bytes(rows, width, self._gap)
        if self._radial:
            return kept
        sizes = sizes_for(rows, width, self._gap)
        otf = max(otf_bytes(psf, sizes) for _, _, psf in self.field.cells)
        # While the next cell's is laid out for the core, it is there twice.
        return kept + otf + (otf + _MAKING_OTF if len(self.field.cells) > 1 else 0)

    def _transformed_columns(self, columns: int, group_columns: int) -> int:
        """Return the most columns that are transformed at a time."""
        width = self.read_columns(columns, group_columns)
        if width == columns or self.reblur_check is None:
            return width
        return max(width, self._review_pieces(columns, group_columns)[0].width)

    @property
    def otf(self) -> _core.Otf | None:
        """The OTF that is kept, None where there is none."""
        return None if self._otf is None else self._otf[1]

    def _otf_of(self, psf: PSF, sizes: _core.PlaneSizes) -> _core.Otf:
        if len(self.field.cells) > 1:
            return otf_for(psf, sizes, self._workers)
        if self._otf is None or self._otf[0] != sizes.padded_shape:
            self._otf = None  # its memory goes before the new one's comes
            self._otf = (sizes.padded_shape, otf_for(psf, sizes, self._workers))
        return self._otf[1]

    def _work(self, strip: Strip) -> _core.Workplace:
        scratch, act = strip.scratch, self.after_block
        after = None if act is None else lambda: act(scratch)
        return _core.Workplace(self._workers, scratch, checked=self._checked, after_block=after)

    def restore(self, strip: Strip) -> None:
        """Fill ``strip.linear`` from ``strip.capture``."""
        rows, columns = strip.capture[0].shape
        work = self._work(strip)
        width = self.read_columns(columns, strip.group_columns)
        piece = piece_of(strip.columns, width, columns)
        sizes = sizes_for(rows, piece.width, self._gap)
        for cell_row, cell_column, psf in self.field.cells:
            row_weights, column_weights = self._weights(cell_row, cell_column, strip, piece)
            _core.restore_planes(
                work,
                sizes,
                self._otf_of(psf, sizes),
                luma=self._bank.luma,
                base=self._bank.base,
                colour=self._bank.colour,
                capture=strip.capture,
                first_column=piece.read.start,
                padded_columns=padded_length(columns, self._gap),
                planes=strip.linear,
                first_row=strip.window[0] - strip.planes[0],
                kept=(piece.kept.start, piece.kept.stop),
                row_weights=row_weights,
                column_weights=column_weights,
                add=(cell_row, cell_column) != (0, 0),
            )

    def _weights(
        self, cell_row: int, cell_column: int, strip: Strip, piece: Piece
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Weights of a cell at a strip's rows and a piece's columns, None of a single PSF."""
        if len(self.field.cells) == 1:
            return None, None
        rows = np.arange(strip.window[0], strip.window[1])
        columns = self.field.column_weights(cell_column, strip.capture[0].shape[1])
        return self.field.row_weights(cell_row, strip.frame_rows, rows), columns[piece.write]

    def review(self, strip: Strip) -> int:
        """Check the restored rows against the capture, and take dark rims off bright things.

        Returns
        -------
        int
            Blocks that were replaced.
        """
        check = self.reblur_check
        if check is None:
            return 0
        rows = self._review_rows(strip)
        replaced = check.review(strip, rows[0], self._reblurred(strip, rows, check.base_plane))
        _core.lift_rims(
            self._workers,
            capture=strip.capture,
            restored=strip.restored,
            restored_first=strip.finished[0] - strip.window[0],
            columns=strip.finished_columns,
        )
        if strip.count > 1:
            return_free_memory()  # of sums and fades: 9 MB of a frame of 100 MP, in 4 ms
        return replaced

    def _review_rows(self, strip: Strip) -> tuple[int, int]:
        """Rows of the window in which the finished rows are blurred again, blocks from the top."""
        if strip.count == 1 or not self._radial:  # an OTF with a direction is kept for one size
            return strip.window
        reach = self.field.support_px() + BLOCK
        first = max(strip.finished[0] - reach, 0) // BLOCK * BLOCK
        return max(first, strip.window[0]), min(strip.finished[1] + reach, strip.window[1])

    def _reblurred(self, strip: Strip, rows: tuple[int, int], base_plane: int) -> BlockSums:
        """Blur the restored rows again and sum what they leave unexplained."""
        first, columns = rows[0], strip.capture[0].shape[1]
        inside = slice(first - strip.window[0], rows[1] - strip.window[0])
        sums = BlockSums(rows[1] - first, columns)
        nearest = nearest_cells(self.field, strip, first, sums.shape)
        bands, work = len(strip.capture), self._work(strip)
        for piece in self._review_pieces(columns, strip.group_columns):
            sizes = sizes_for(rows[1] - first, piece.width, self._gap)
            reblur = _core.Reblur(
                work,
                sizes,
                capture=[plane[inside, piece.read] for plane in strip.capture],
                linear=[p[:, piece.read] for p in strip.linear[base_plane : base_plane + bands]],
                linear_first=strip.planes[0] - first,
                restored=[plane[:, piece.read] for plane in strip.restored],
                restored_first=strip.finished[0] - first,
                several=len(self.field.cells) > 1,
            )
            block = piece.read.start // BLOCK
            cells = nearest[:, block : block + -(-piece.width // BLOCK)]
            for cell_row, cell_column, psf in self.field.cells:
                owned = cells == cell_row * len(self.field.grid[0]) + cell_column
                sums.take(reblur.compare(self._otf_of(psf, sizes)), piece, owned)
        return sums
