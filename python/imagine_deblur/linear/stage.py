"""The Wiener bank and the guard as the pipeline's linear stage."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from imagine_deblur.linear.extension import Float32Array
from imagine_deblur.linear.guard import Guard
from imagine_deblur.linear.wiener import (
    Complex64Array,
    SpectrumPlan,
    TransferArray,
    WienerBank,
    WienerSpec,
    default_gap,
    inverse_support_px,
)
from imagine_deblur.psf.models import PSF

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from imagine_deblur._core import Strip

FIXED16_ONE = 4096.0
"""The value of 1.0 in the fixed-point planes of uint8 frames (csrc/base/image_view.h)."""

_BYTE = np.float32(1 / 255)


class WienerStage:
    """Fills a strip's planes with the Wiener bank and reviews the restored rows.

    Parameters
    ----------
    psf : PSF
    spec : WienerSpec
    guard : Guard or None
        Reviews the restored rows; None accepts everything.
    executor : concurrent.futures.Executor, optional
        Runs blocks of rows and columns.

    Notes
    -----
    The OTF of the last strip size is kept (2 bytes/px, complex: 4), so frames of one size compute
    it once. Everything else lives in the strip's scratch.
    """

    def __init__(
        self,
        psf: PSF,
        spec: WienerSpec,
        *,
        guard: Guard | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.psf, self.spec, self.guard = psf, spec, guard
        self._executor = executor
        lowest = min(spec.nsr)
        self._gap = default_gap(psf, lowest)
        self._margin = max(inverse_support_px(psf, lowest), psf.support_px())
        self._plan: SpectrumPlan | None = None
        self._otf: TransferArray | None = None

    def plane_count(self, bands: int) -> int:
        """Return how many planes the bank makes for a frame of `bands` bands."""
        return bands + len(self.spec.nsr) - 1

    def margin_rows(self) -> int:
        """Return the rows of context a strip needs: how far the sharpest inverse reaches."""
        return self._margin

    def scratch_bytes(self, rows: int, columns: int, bands: int) -> int:
        """Return the bytes of two spectra of a strip of `rows` x `columns` px."""
        return 2 * SpectrumPlan(rows, columns, self._gap).spectrum_bytes

    def _prepare(self, rows: int, columns: int) -> tuple[SpectrumPlan, TransferArray]:
        plan = self._plan
        if plan is None or (plan.rows.samples, plan.columns.samples) != (rows, columns):
            plan = SpectrumPlan(rows, columns, self._gap, executor=self._executor)
            if self._plan is None or self._plan.spectrum_shape != plan.spectrum_shape:
                self._otf = None
        if self._otf is None:
            self._otf = plan.otf(self.psf)
        self._plan = plan
        return plan, self._otf

    def _work(self, plan: SpectrumPlan, strip: Strip) -> tuple[Complex64Array, Complex64Array]:
        size = plan.spectrum_bytes
        first, second = (
            strip.scratch[start : start + size].view(np.complex64).reshape(plan.spectrum_shape)
            for start in (0, size)
        )
        return first, second

    def restore(self, strip: Strip) -> None:
        """Fill ``strip.linear`` from ``strip.capture``."""
        capture, planes = strip.capture, strip.linear
        offset = strip.window[0] - strip.planes[0]
        plan, otf = self._prepare(*capture[0].shape)

        def load(band: int, rows: slice, out: Float32Array) -> None:
            _to_float(capture[band][rows], out)

        def store(plane: int, rows: slice, values: Float32Array) -> None:
            _store_rows(planes[plane], rows.start + offset, values)

        bank = WienerBank(self.psf, self.spec, plan, otf=otf)
        for _ in bank.run(load, store, self._work(plan, strip), bands=len(capture)):
            pass

    def review(self, strip: Strip) -> int:
        """Check the restored rows against the capture; return how many blocks were replaced."""
        if self.guard is None:
            return 0
        plan, otf = self._prepare(*strip.capture[0].shape)
        return self.guard.review(strip, plan, otf, self._work(plan, strip))


def _to_float(samples: NDArray[np.generic], out: Float32Array) -> None:
    if samples.dtype == np.uint8:
        np.multiply(samples, _BYTE, out=out, dtype=np.float32)
    else:
        out[...] = samples


def _store_rows(plane: NDArray[np.generic], first: int, values: Float32Array) -> None:
    """Store the rows of `values` that fall inside `plane`, the first of them at row `first`."""
    begin, end = max(0, -first), min(len(values), len(plane) - first)
    if begin >= end:
        return
    rows = plane[first + begin : first + end]
    values = values[begin:end]
    if plane.dtype == np.int16:
        scaled = values * np.float32(FIXED16_ONE)
        np.rint(scaled, out=scaled)
        np.clip(scaled, -32768, 32767, out=scaled)
        rows[...] = scaled.astype(np.int16)
    else:
        rows[...] = values
