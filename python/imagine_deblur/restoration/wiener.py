"""The Wiener bank: one forward transform per colour, one inverse per restored plane.

Model. A capture is ``y = h (*) x + n`` with the scene's power spectrum falling as 1/f^2 and white
noise, so the linear filter of least mean square error is (Wiener 1949)::

    G(f) = conj(H(f)) / (|H(f)|^2 + nsr * (2 |f|)^2),        f in cycles/px,

`nsr` being the noise-to-signal power ratio at the Nyquist frequency, ``f = 0.5``. At ``f = 0``
the gain is 1: the mean colour of a frame does not change. A *bank* applies several ratios, since
the right one differs from place to place; the network chooses between them.

Colour. A scene's colour differences hold far less power than its luma while the noise is the same,
so they want a larger ratio: `WienerSpec.chroma` times the luma's. With
luma ``y`` a colour plane is ``b = y + (b - y)``, each part filtered with its own ratio; since the
weighted differences add up to nothing, two of them give the third.

The stable inverse of a wide disk is long, so the filter runs over the whole frame (or over very
tall strips with `inverse_support_px` rows of margin), never over tiles.

Memory. Two half-plane spectra of 4 bytes/px each and one real OTF of 2 bytes/px (complex: 4).
Real rows and their transform share storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import IntegrityError, OptionsError
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.extension import (
    Extension,
    Float32Array,
    extend_columns,
    extend_rows,
    plan_extension,
)
from imagine_deblur.restoration.gains import (
    COLOUR_GAIN,
    LUMA_GAIN,
    PlaneGain,
    TransferArray,
    wiener_gain,
)
from imagine_deblur.restoration.reach import gap_px
from imagine_deblur.support.colour import LUMA

Complex64Array = NDArray[np.complex64]
Store = Callable[[int, slice, Float32Array, bool], None]

# numpy's annotations of its transforms know double precision only; single precision in gives
# single precision out since numpy 2.
_fft = cast(Any, np.fft)

CHROMA = 30.0
"""Ratio of the colour differences in units of the luma's, measured in
research/notes/2026-11-25-network-search.md."""

# Any norm would do, since forward and inverse cancel; numpy 2.4 transforms single precision forward
# three times faster with this one than with its default.
_NORM = "ortho"

Sums = tuple[int, int]
_MODULUS = 2**64

_BLOCK = 64  # rows or columns transformed at a time: bounds the temporary copies


@dataclass(frozen=True)
class WienerSpec:
    """Which planes the bank makes.

    Attributes
    ----------
    nsr : tuple of float
        Noise-to-signal power ratios at Nyquist, positive.
    base : int
        Index of the ratio restored in colour; the others are restored in luma only, since JPEG
        keeps little fine colour.
    chroma : float
        Ratio of the colour differences in units of the base ratio, positive; 1 filters all alike.
    level : bool
        Add a constant plane that tells the base ratio: ``0.5 + (log10(nsr) + 2) / 4``.
    """

    nsr: tuple[float, ...] = (1e-1, 1e-2, 1e-3)
    base: int = 1
    chroma: float = CHROMA
    level: bool = False

    def __post_init__(self) -> None:
        if not self.nsr or any(not 0 < value < np.inf for value in self.nsr):
            raise OptionsError("nsr", self.nsr, "positive finite numbers, at least one")
        if not 0 <= self.base < len(self.nsr):
            raise OptionsError("base", self.base, f"0 to {len(self.nsr) - 1}")
        if not 0 < self.chroma < np.inf:
            raise OptionsError("chroma", self.chroma, "a positive finite number")

    def scaled(self, level: float) -> WienerSpec:
        """Return the bank with every ratio multiplied by `level`."""
        return replace(self, nsr=tuple(ratio * level for ratio in self.nsr))

    def plane_count(self, bands: int) -> int:
        """Return how many planes the bank makes for a frame of 3 bands, or of 1."""
        return bands + len(self.nsr) - 1 + self.level

    @property
    def level_value(self) -> float:
        """Value of the constant plane: 0 at a ratio of 1e-4, 0.5 at 1e-2, 1 at 1."""
        return 0.5 + (float(np.log10(self.nsr[self.base])) + 2.0) / 4.0

    @property
    def plane_names(self) -> tuple[str, ...]:
        """Names of the planes in the order in which the bank makes them."""
        colour = tuple(f"wiener.{self.base}.{band}" for band in "rgb")
        luma = tuple(f"wiener.{k}.y" for k in range(len(self.nsr)) if k != self.base)
        return colour + luma + (("noise",) if self.level else ())


class SpectrumPlan:
    """Transforms of one plane size: extension, in-place real transforms, blockwise filters.

    Parameters
    ----------
    rows, columns : int
        Size of the planes, positive.
    gap : int
        Least number of extension samples along each axis.
    executor : concurrent.futures.Executor, optional
        Runs the blocks; None runs them in turn. The result does not depend on it.
    checked : bool
        Sum a spectrum's bits whenever a pass writes it and when the next one reads it: a bit that
        flips in between would add one wave to the whole frame, and raises `IntegrityError`.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        gap: int,
        *,
        executor: Executor | None = None,
        checked: bool = False,
    ) -> None:
        self.rows: Extension = plan_extension(rows, gap)
        self.columns: Extension = plan_extension(columns, gap)
        self._executor, self._checked = executor, checked
        half = self.columns.length // 2 + 1
        self.spectrum_shape = (self.rows.length, half)
        self._row_frequency_squared = (np.fft.fftfreq(self.rows.length).astype(np.float32) ** 2)[
            :, None
        ]
        self._column_frequency_squared = (
            np.fft.rfftfreq(self.columns.length).astype(np.float32) ** 2
        )[None, :]

    @property
    def spectrum_bytes(self) -> int:
        """Bytes of one half-plane spectrum."""
        return self.spectrum_shape[0] * self.spectrum_shape[1] * 8

    def _run(self, count: int, work: Callable[[slice], Sums | None]) -> Sums:
        """Run blocks of rows or columns; return the sums of what they read and wrote."""
        blocks = [slice(i, min(i + _BLOCK, count)) for i in range(0, count, _BLOCK)]
        results = map(work, blocks) if self._executor is None else self._executor.map(work, blocks)
        read = written = 0
        for sums in results:
            if sums is not None:
                read, written = read + sums[0], written + sums[1]
        return read % _MODULUS, written % _MODULUS

    def _sum(self, spectrum: Complex64Array) -> int:
        """Sum of 64-bit words: their order does not matter, and any flipped bit changes it."""
        return int(np.add.reduce(spectrum.view(np.uint64), axis=None)) if self._checked else 0

    def check(self, found: int, wanted: int) -> None:
        """Compare the sum of what was read with that of what was written."""
        if self._checked and found != wanted:
            raise IntegrityError("a spectrum changed in memory between two passes")

    def real(self, spectrum: Complex64Array) -> Float32Array:
        """Return the real plane that shares storage with a spectrum.

        Parameters
        ----------
        spectrum : (rows.length, columns.length // 2 + 1) complex64 ndarray, C-contiguous

        Returns
        -------
        (rows.length, columns.length) float32 ndarray
            A view.
        """
        return spectrum.view(np.float32)[:, : self.columns.length]

    def forward(self, load: Callable[[slice, Float32Array], None], spectrum: Complex64Array) -> int:
        """Extend and transform a plane.

        Parameters
        ----------
        load : callable
            ``load(rows, out)`` writes rows ``rows`` of the plane to `out`, float32.
        spectrum : (rows.length, columns.length // 2 + 1) complex64 ndarray
            Receives the half-plane transform.

        Returns
        -------
        int
            The spectrum's sum, 0 where the plan is not `checked`.

        Raises
        ------
        IntegrityError
            The spectrum was damaged on the way.
        """
        real = self.real(spectrum)

        def fill(block: slice) -> Sums:
            rows = real[block]
            load(block, rows[:, : self.columns.samples])
            extend_columns(rows, self.columns)
            return 0, self._sum(spectrum[block])

        def transform_rows(block: slice) -> Sums:
            lines = spectrum[block].copy()  # what is summed is what is used
            read = self._sum(lines)
            samples = lines.view(np.float32)[:, : self.columns.length]
            _fft.rfft(samples, axis=1, norm=_NORM, out=spectrum[block])
            return read, self._sum(spectrum[block])

        _, filled = self._run(self.rows.samples, fill)
        extend_rows(real, self.rows)
        filled = (filled + self._sum(spectrum[self.rows.samples :])) % _MODULUS
        read, transformed = self._run(self.rows.length, transform_rows)
        self.check(read, filled)
        read, written = self._transform_columns(spectrum, _fft.fft)
        self.check(read, transformed)
        return written

    def inverse(
        self,
        spectrum: Complex64Array,
        store: Callable[[slice, Float32Array], None],
        *,
        wanted: int = 0,
    ) -> None:
        """Transform back and hand out the frame's rows; `spectrum` is used up.

        Parameters
        ----------
        spectrum : (rows.length, columns.length // 2 + 1) complex64 ndarray
        store : callable
            ``store(rows, values)`` receives rows ``rows`` of the plane, float32.
        wanted : int
            The spectrum's sum, from `filter`.

        Raises
        ------
        IntegrityError
            The spectrum was damaged; rows that were handed out are not to be used.
        """
        read, written = self._transform_columns(spectrum, _fft.ifft, rows=self.rows.samples)
        self.check(read, wanted)

        def transform_rows(block: slice) -> Sums:
            values = _fft.irfft(spectrum[block], n=self.columns.length, axis=1, norm=_NORM)
            found = self._sum(spectrum[block])  # after it was used: no moment is left unwatched
            store(block, values[:, : self.columns.samples])
            return found, 0

        read, _ = self._run(self.rows.samples, transform_rows)
        self.check(read, written)

    def _transform_columns(
        self,
        spectrum: Complex64Array,
        transform: Callable[..., Complex64Array],
        *,
        rows: int | None = None,
    ) -> Sums:
        """Transform the columns in place, through contiguous copies (half the time).

        The sums are those of what was read and of the first `rows` rows of what was written.
        """

        def work(block: slice) -> Sums:
            lines = np.ascontiguousarray(spectrum[:, block].T)
            read = self._sum(lines)
            transform(lines, axis=1, norm=_NORM, out=lines)
            written = self._sum(lines[:, :rows])
            spectrum[:, block] = lines.T
            return read, written

        return self._run(self.spectrum_shape[1], work)

    def otf(self, psf: PSF) -> TransferArray:
        """Return the OTF on this plan's grid, real where it is real.

        Returns
        -------
        (rows.length, columns.length // 2 + 1) float32 or complex64 ndarray
        """
        return psf.half_plane(self.rows.length, self.columns.length)

    def filter(
        self,
        source: Complex64Array,
        gain: Callable[[slice, Float32Array], TransferArray],
        target: Complex64Array,
        *,
        wanted: int = 0,
    ) -> int:
        """Multiply a spectrum by a gain given by rows; `target` may be `source`.

        Parameters
        ----------
        source, target : (rows.length, columns.length // 2 + 1) complex64 ndarray
        gain : callable
            ``gain(rows, frequency_squared)`` returns the gain of those rows.
        wanted : int
            The sum of `source`, from `forward`.

        Returns
        -------
        int
            The sum of `target`, 0 where the plan is not `checked`.

        Raises
        ------
        IntegrityError
            `source` was damaged.
        """

        def multiply(block: slice) -> Sums:
            # What is summed is what is used; without sums, nothing needs a copy.
            values = source[block].copy() if self._checked else source[block]
            read = self._sum(values)
            squared = self._row_frequency_squared[block] + self._column_frequency_squared
            np.multiply(values, gain(block, squared), out=target[block])
            return read, self._sum(target[block])

        read, written = self._run(self.rows.length, multiply)
        self.check(read, wanted)
        return written


class WienerBank:
    """All planes of a `WienerSpec` for one plane size and one PSF.

    Parameters
    ----------
    psf : PSF
    spec : WienerSpec
    plan : SpectrumPlan
    otf : ndarray, optional
        ``plan.otf(psf)`` where it is already at hand.
    gains : sequence of PlaneGain or None, optional
        Learned filters, one for each ratio of `spec` in its order; None, for one or for all, is the
        Wiener filter of that ratio.
    """

    def __init__(
        self,
        psf: PSF,
        spec: WienerSpec,
        plan: SpectrumPlan,
        *,
        otf: TransferArray | None = None,
        gains: Sequence[PlaneGain | None] | None = None,
    ) -> None:
        self.psf, self.spec, self.plan = psf, spec, plan
        self._gains = learned_gains(gains, spec)
        self._otf = plan.otf(psf) if otf is None else otf

    def _filter(
        self,
        source: Complex64Array,
        ratio: int,
        component: int,
        target: Complex64Array,
        wanted: int,
    ) -> int:
        """Filter with the gain of a ratio, by its number, for luma or the colour differences."""
        learned = self._gains[ratio]
        nsr = self.spec.nsr[ratio] * (self.spec.chroma if component == COLOUR_GAIN else 1.0)

        def gain(block: slice, squared: Float32Array) -> TransferArray:
            if learned is None:
                return wiener_gain(self._otf[block], squared, nsr)
            return learned.at(np.sqrt(squared), component, self._otf[block])

        return self.plan.filter(source, gain, target, wanted=wanted)

    def run(
        self,
        load: Callable[[int, slice, Float32Array], None],
        store: Store,
        work: tuple[Complex64Array, Complex64Array],
        *,
        bands: int = 3,
    ) -> Iterator[int]:
        """Make the planes one by one; iterate to the end.

        Parameters
        ----------
        load : callable
            ``load(band, rows, out)`` writes rows of a colour plane to `out`, float32.
        store : callable
            ``store(plane, rows, values, add)`` receives rows of plane number `plane`, in the order
            of ``spec.plane_names``; values may lie outside [0, 1]. With `add` they are to be added
            to what the plane's rows received before.
        work : pair of (rows.length, columns.length // 2 + 1) complex64 ndarray
            Scratch, used up.
        bands : int
            3, or 1 for a grey frame: its only plane is then the base plane and the luma.

        Yields
        ------
        int
            The transforms back done so far; between them the caller may stop.
        """
        spectrum, luma = work
        base = self.spec.base
        others = [k for k in range(len(self.spec.nsr)) if k != base]
        luma_sum = self.plan.forward(partial(_load_luma, load, bands), luma)
        done = 0

        def back(
            source: Complex64Array,
            total: int,
            ratio: int,
            component: int,
            targets: Mapping[int, float],
            *,
            add: bool = False,
        ) -> int:
            wanted = self._filter(source, ratio, component, spectrum, total)

            def give(rows: slice, values: Float32Array) -> None:
                for plane, weight in targets.items():
                    store(plane, rows, values if weight == 1 else values * np.float32(weight), add)

            self.plan.inverse(spectrum, give, wanted=wanted)
            return done + 1

        for plane, ratio in enumerate(others, start=bands):
            done = back(luma, luma_sum, ratio, LUMA_GAIN, {plane: 1.0})
            yield done
        done = back(luma, luma_sum, base, LUMA_GAIN, dict.fromkeys(range(bands), 1.0))
        yield done
        if bands == 3:
            for band in (0, 2):
                total = self.plan.forward(partial(_load_difference, load, band), spectrum)
                targets = {band: 1.0, 1: -LUMA[band] / LUMA[1]}
                done = back(spectrum, total, base, COLOUR_GAIN, targets, add=True)
                yield done
        if self.spec.level:
            constant = np.full((1, self.plan.columns.samples), self.spec.level_value, np.float32)
            for row in range(self.plan.rows.samples):
                store(self.spec.plane_count(bands) - 1, slice(row, row + 1), constant, False)


def learned_gains(
    gains: Sequence[PlaneGain | None] | None, spec: WienerSpec
) -> tuple[PlaneGain | None, ...]:
    """Return one gain, or None for the Wiener filter, for each ratio of a bank.

    Raises
    ------
    OptionsError
        Another number of gains than ratios.
    """
    if gains is None:
        return (None,) * len(spec.nsr)
    if len(gains) != len(spec.nsr):
        raise OptionsError("gains", len(gains), f"one for each of the {len(spec.nsr)} ratios")
    return tuple(gains)


def _load_luma(
    load: Callable[[int, slice, Float32Array], None], bands: int, rows: slice, out: Float32Array
) -> None:
    """Write rows of the luma; of a grey frame, its only plane."""
    if bands == 1:
        load(0, rows, out)
        return
    band = np.empty(out.shape, np.float32)
    out[...] = 0
    for k, weight in enumerate(LUMA):
        load(k, rows, band)
        band *= np.float32(weight)
        out += band


def _load_difference(
    load: Callable[[int, slice, Float32Array], None], band: int, rows: slice, out: Float32Array
) -> None:
    """Write rows of a colour plane less the luma."""
    luma = np.empty(out.shape, np.float32)
    _load_luma(load, 3, rows, luma)
    load(band, rows, out)
    out -= luma


def wiener_planes(
    image: Float32Array,
    psf: PSF,
    spec: WienerSpec | None = None,
    *,
    gains: Sequence[PlaneGain | None] | None = None,
    executor: Executor | None = None,
) -> Float32Array:
    """Restore an image with every ratio of a bank.

    Parameters
    ----------
    image : (R, C, 3) or (R, C) float32 ndarray
        Encoded values in [0, 1].
    psf : PSF
    spec : WienerSpec, optional
        The default bank if None.
    gains : sequence of PlaneGain or None, optional
        Learned filters, see `WienerBank`.
    executor : concurrent.futures.Executor, optional

    Returns
    -------
    (P, R, C) float32 ndarray
        The planes of ``spec.plane_names`` (for a grey image: the base plane, then the others).
        Values may lie outside [0, 1].
    """
    spec = spec or WienerSpec()
    bands = image.shape[2] if image.ndim == 3 else 1
    colour = image.reshape(image.shape[0], image.shape[1], bands)
    gap = gap_px(psf, spec.nsr, learned_gains(gains, spec))
    plan = SpectrumPlan(image.shape[0], image.shape[1], gap, executor=executor)
    planes = np.empty((spec.plane_count(bands), *image.shape[:2]), np.float32)

    def load(band: int, rows: slice, out: Float32Array) -> None:
        out[...] = colour[rows, :, band]

    def store(plane: int, rows: slice, values: Float32Array, add: bool) -> None:
        if add:
            planes[plane, rows] += values
        else:
            planes[plane, rows] = values

    work = (
        np.empty(plan.spectrum_shape, np.complex64),
        np.empty(plan.spectrum_shape, np.complex64),
    )
    for _ in WienerBank(psf, spec, plan, gains=gains).run(load, store, work, bands=bands):
        pass
    return planes


def wiener(image: Float32Array, psf: PSF, nsr: float) -> Float32Array:
    """Restore an image with one ratio for luma and colour differences alike.

    Parameters
    ----------
    image : (R, C, 3) or (R, C) float32 ndarray
        Encoded values in [0, 1].
    psf : PSF
    nsr : float
        Noise-to-signal power ratio at Nyquist, positive.

    Returns
    -------
    float32 ndarray
        The shape of `image`; values may lie outside [0, 1].
    """
    planes = wiener_planes(image, psf, WienerSpec((nsr,), 0, chroma=1.0))
    return np.moveaxis(planes, 0, -1).copy() if image.ndim == 3 else planes[0]
