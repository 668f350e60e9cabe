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
from imagine_deblur.restoration.pieces import BLOCK, Piece, cut_columns
from imagine_deblur.restoration.reach import gap_px, margin_px
from imagine_deblur.restoration.reblur_check import ReblurCheck
from imagine_deblur.restoration.transfer import bank_of, otf_bytes, otf_for, sizes_for
from imagine_deblur.restoration.wiener import WienerSpec, learned_gains

if TYPE_CHECKING:
    from imagine_deblur._core import Plane, Strip

FIXED16_ONE = 4096.0
"""The value of 1.0 in the fixed-point planes of uint8 frames (csrc/base/image_view.h)."""


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

    def plane_count(self, bands: int) -> int:
        """Return how many planes the bank makes for a frame of `bands` bands."""
        return self.spec.plane_count(bands)

    @property
    def sizes_key(self) -> tuple[int, int]:
        """What `scratch_bytes` and `plane_count` depend on beside the frame."""
        return self._gap, len(self.spec.nsr) + self.spec.level

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

    def _pieces(self, columns: int) -> list[Piece]:
        return cut_columns(columns, self.margin_rows)

    def scratch_bytes(self, rows: int, columns: int, bands: int) -> int:
        """Return the bytes of two spectra of a strip, or of its widest piece."""
        return self._sizes(rows, self._pieces(columns)[0]).scratch_bytes()

    def kept_bytes(self, rows: int, columns: int, bands: int) -> int:
        """Return the bytes of the OTF of a strip, which stays outside the scratch."""
        sizes = self._sizes(rows, self._pieces(columns)[0])
        return max(otf_bytes(psf, sizes) for _, _, psf in self.field.cells)

    @property
    def otf(self) -> _core.Otf | None:
        """The OTF that is kept, None where there is none."""
        return None if self._otf is None else self._otf[1]

    def _sizes(self, rows: int, piece: Piece) -> _core.PlaneSizes:
        return sizes_for(rows, piece.width, self._gap)

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
        for piece in self._pieces(columns):
            sizes = self._sizes(rows, piece)
            capture = [plane[:, piece.read] for plane in strip.capture]
            planes = [plane[:, piece.write] for plane in strip.linear]
            for cell_row, cell_column, psf in self.field.cells:
                row_weights, column_weights = self._weights(cell_row, cell_column, strip, piece)
                _core.restore_planes(
                    work,
                    sizes,
                    self._otf_of(psf, sizes),
                    luma=self._bank.luma,
                    base=self._bank.base,
                    colour=self._bank.colour,
                    capture=capture,
                    planes=planes,
                    first_row=strip.window[0] - strip.planes[0],
                    kept=(piece.kept.start, piece.kept.stop),
                    row_weights=row_weights,
                    column_weights=column_weights,
                    add=(cell_row, cell_column) != (0, 0),
                )
        if self.spec.level:
            _fill(strip.linear[-1], self.spec.level_value)

    def _weights(
        self, cell_row: int, cell_column: int, strip: Strip, piece: Piece
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Weights of a cell at a strip's rows and a piece's columns, None of a single PSF."""
        if len(self.field.cells) == 1:
            return None, None
        rows = np.arange(strip.window[0], strip.window[1])
        columns = self.field.column_weights(cell_column, strip.linear[0].shape[1])
        return self.field.row_weights(cell_row, strip.frame_rows, rows), columns[piece.write]

    def review(self, strip: Strip) -> int:
        """Check the restored rows against the capture; return how many blocks were replaced."""
        check = self.reblur_check
        return 0 if check is None else check.review(strip, self._reblurred(strip, check.base_plane))

    def _reblurred(self, strip: Strip, base_plane: int) -> BlockSums:
        """Blur the restored rows again and sum what they leave unexplained."""
        rows, columns = strip.capture[0].shape
        sums = BlockSums(rows, columns)
        nearest = nearest_cells(self.field, strip, sums.shape)
        bands, work = len(strip.capture), self._work(strip)
        for piece in self._pieces(columns):
            sizes = self._sizes(rows, piece)
            reblur = _core.Reblur(
                work,
                sizes,
                capture=[plane[:, piece.read] for plane in strip.capture],
                linear=[p[:, piece.read] for p in strip.linear[base_plane : base_plane + bands]],
                linear_first=strip.planes[0] - strip.window[0],
                restored=[plane[:, piece.read] for plane in strip.restored],
                restored_first=strip.finished[0] - strip.window[0],
                several=len(self.field.cells) > 1,
            )
            first = piece.read.start // BLOCK
            cells = nearest[:, first : first + -(-piece.width // BLOCK)]
            for cell_row, cell_column, psf in self.field.cells:
                owned = cells == cell_row * len(self.field.grid[0]) + cell_column
                sums.take(reblur.compare(self._otf_of(psf, sizes)), piece, owned)
        return sums


def _fill(plane: Plane, value: float) -> None:
    plane[...] = np.rint(value * FIXED16_ONE) if plane.dtype == np.int16 else value
