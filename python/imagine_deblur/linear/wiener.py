"""The Wiener bank: one forward transform per colour, one inverse per restored plane.

Model. A capture is ``y = h (*) x + n`` with the scene's power spectrum falling as 1/f^2 and white
noise, so the linear filter of least mean square error is (Wiener 1949)::

    G(f) = conj(H(f)) / (|H(f)|^2 + nsr * (2 |f|)^2),        f in cycles/px,

`nsr` being the noise-to-signal power ratio at the Nyquist frequency, ``f = 0.5``. At ``f = 0``
the gain is 1: the mean colour of a frame does not change. A *bank* applies several ratios, since
the right one differs from place to place; the network chooses between them.

The stable inverse of a wide disk is long, so the filter runs over the whole frame (or over very
tall strips with `inverse_support_px` rows of margin), never over tiles.

Memory. Two half-plane spectra of 4 bytes/px each and one real OTF of 2 bytes/px (complex: 4).
Real rows and their transform share storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import OptionsError
from imagine_deblur.linear.extension import (
    Extension,
    Float32Array,
    extend_columns,
    extend_rows,
    plan_extension,
)
from imagine_deblur.psf.models import PSF

Complex64Array = NDArray[np.complex64]
TransferArray = NDArray[np.float32] | NDArray[np.complex64]

# numpy's annotations of its transforms know double precision only; single precision in gives
# single precision out since numpy 2.
_fft = cast(Any, np.fft)

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma (ITU-R BT.601, as in JPEG)."""

# Any norm would do, since forward and inverse cancel; numpy 2.4 transforms single precision forward
# three times faster with this one than with its default.
_NORM = "ortho"

_BLOCK = 64  # rows or columns transformed at a time: bounds the temporary copies
_GAP_MIN, _GAP_MAX = 64, 224


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
    """

    nsr: tuple[float, ...] = (1e-1, 1e-2, 1e-3)
    base: int = 1

    def __post_init__(self) -> None:
        if not self.nsr or any(not 0 < value < np.inf for value in self.nsr):
            raise OptionsError("nsr", self.nsr, "positive finite numbers, at least one")
        if not 0 <= self.base < len(self.nsr):
            raise OptionsError("base", self.base, f"0 to {len(self.nsr) - 1}")

    @property
    def plane_names(self) -> tuple[str, ...]:
        """Names of the planes in the order in which the bank makes them."""
        colour = tuple(f"wiener.{self.base}.{band}" for band in "rgb")
        return colour + tuple(f"wiener.{k}.y" for k in range(len(self.nsr)) if k != self.base)


def wiener_gain(otf: TransferArray, frequency_squared: Float32Array, nsr: float) -> TransferArray:
    """Return the Wiener gain ``conj(H) / (|H|^2 + nsr * 4 f^2)``.

    Parameters
    ----------
    otf : ndarray, float32 or complex64
        H, any shape; 1 at zero frequency.
    frequency_squared : float32 ndarray
        ``f^2`` in (cycles/px)^2, the same shape.
    nsr : float
        Noise-to-signal power ratio at Nyquist.

    Returns
    -------
    ndarray
        The gain, the type and shape of `otf`.
    """
    denominator = np.float32(4.0 * nsr) * frequency_squared
    denominator += (otf * np.conj(otf)).real
    np.maximum(denominator, np.float32(1e-12), out=denominator)
    return cast(TransferArray, np.conj(otf) / denominator)


def inverse_support_px(psf: PSF, nsr: float, *, weight: float = 0.999, limit: int = 512) -> int:
    """Return how far the Wiener inverse of a PSF reaches.

    Parameters
    ----------
    psf : PSF
    nsr : float
        Noise-to-signal power ratio at Nyquist.
    weight : float
        Share of the inverse's squared weight that must lie within the reach, in (0, 1).
    limit : int
        Largest reach looked for, px; a power of two keeps the transform fast.

    Returns
    -------
    int
        The smallest d such that the square of half-width d around the origin holds `weight` of
        the squared weights, at most `limit`.
    """
    size = 2 * limit
    frequency = np.fft.fftfreq(size).astype(np.float32)
    half = np.fft.rfftfreq(size).astype(np.float32)
    squared = frequency[:, None] ** 2 + half[None, :] ** 2
    response = np.fft.irfft2(wiener_gain(psf.otf(size, size), squared, nsr), s=(size, size))
    energy = response.astype(np.float64) ** 2
    distance = np.abs(np.fft.fftfreq(size, 1.0 / size)).astype(np.intp)
    reach = np.maximum(distance[:, None], distance[None, :])
    cumulative = np.cumsum(np.bincount(reach.ravel(), energy.ravel()))
    return int(np.searchsorted(cumulative, weight * cumulative[-1]))


def default_gap(psf: PSF, nsr: float) -> int:
    """Return the extension's least length in px: twice the inverse's reach, within 64 to 224."""
    return int(np.clip(2 * inverse_support_px(psf, nsr, limit=128), _GAP_MIN, _GAP_MAX))


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
    """

    def __init__(
        self, rows: int, columns: int, gap: int, *, executor: Executor | None = None
    ) -> None:
        self.rows: Extension = plan_extension(rows, gap)
        self.columns: Extension = plan_extension(columns, gap)
        self._executor = executor
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

    def _run(self, count: int, work: Callable[[slice], None]) -> None:
        blocks = [slice(i, min(i + _BLOCK, count)) for i in range(0, count, _BLOCK)]
        if self._executor is None:
            for block in blocks:
                work(block)
        else:
            for _ in self._executor.map(work, blocks):
                pass

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

    def forward(
        self, load: Callable[[slice, Float32Array], None], spectrum: Complex64Array
    ) -> None:
        """Extend and transform a plane.

        Parameters
        ----------
        load : callable
            ``load(rows, out)`` writes rows ``rows`` of the plane to `out`, float32.
        spectrum : (rows.length, columns.length // 2 + 1) complex64 ndarray
            Receives the half-plane transform.
        """
        real = self.real(spectrum)

        def fill(block: slice) -> None:
            rows = real[block]
            load(block, rows[:, : self.columns.samples])
            extend_columns(rows, self.columns)

        def transform_rows(block: slice) -> None:
            _fft.rfft(real[block].copy(), axis=1, norm=_NORM, out=spectrum[block])

        self._run(self.rows.samples, fill)
        extend_rows(real, self.rows)
        self._run(self.rows.length, transform_rows)
        self._run(
            self.spectrum_shape[1],
            lambda block: _transform_columns(spectrum[:, block], _fft.fft),
        )

    def inverse(
        self, spectrum: Complex64Array, store: Callable[[slice, Float32Array], None]
    ) -> None:
        """Transform back and hand out the frame's rows; `spectrum` is used up.

        Parameters
        ----------
        spectrum : (rows.length, columns.length // 2 + 1) complex64 ndarray
        store : callable
            ``store(rows, values)`` receives rows ``rows`` of the plane, float32.
        """
        self._run(
            self.spectrum_shape[1],
            lambda block: _transform_columns(spectrum[:, block], _fft.ifft),
        )

        def transform_rows(block: slice) -> None:
            values = _fft.irfft(spectrum[block], n=self.columns.length, axis=1, norm=_NORM)
            store(block, values[:, : self.columns.samples])

        self._run(self.rows.samples, transform_rows)

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
    ) -> None:
        """Multiply a spectrum by a gain given by rows; `target` may be `source`.

        Parameters
        ----------
        source, target : (rows.length, columns.length // 2 + 1) complex64 ndarray
        gain : callable
            ``gain(rows, frequency_squared)`` returns the gain of those rows.
        """

        def multiply(block: slice) -> None:
            squared = self._row_frequency_squared[block] + self._column_frequency_squared
            np.multiply(source[block], gain(block, squared), out=target[block])

        self._run(self.rows.length, multiply)


def _transform_columns(block: Complex64Array, transform: Callable[..., Complex64Array]) -> None:
    """Transform the columns of a block in place, through a contiguous copy (half the time)."""
    lines = np.ascontiguousarray(block.T)
    transform(lines, axis=1, norm=_NORM, out=lines)
    block[...] = lines.T


class WienerBank:
    """All planes of a `WienerSpec` for one plane size and one PSF.

    Parameters
    ----------
    psf : PSF
    spec : WienerSpec
    plan : SpectrumPlan
    otf : ndarray, optional
        ``plan.otf(psf)`` where it is already at hand.
    """

    def __init__(
        self,
        psf: PSF,
        spec: WienerSpec,
        plan: SpectrumPlan,
        *,
        otf: TransferArray | None = None,
    ) -> None:
        self.psf, self.spec, self.plan = psf, spec, plan
        self._otf = plan.otf(psf) if otf is None else otf

    def _filter(self, source: Complex64Array, nsr: float, target: Complex64Array) -> None:
        self.plan.filter(
            source, lambda block, squared: wiener_gain(self._otf[block], squared, nsr), target
        )

    def run(
        self,
        load: Callable[[int, slice, Float32Array], None],
        store: Callable[[int, slice, Float32Array], None],
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
            ``store(plane, rows, values)`` receives rows of plane number `plane`, in the order of
            ``spec.plane_names``; values may lie outside [0, 1].
        work : pair of (rows.length, columns.length // 2 + 1) complex64 ndarray
            Scratch, used up.
        bands : int
            3, or 1 for a grey frame: its only plane is then the base plane and the luma.

        Yields
        ------
        int
            The number of the plane just finished; between planes the caller may stop.
        """
        spectrum, luma = work
        base_nsr = self.spec.nsr[self.spec.base]
        others = [nsr for k, nsr in enumerate(self.spec.nsr) if k != self.spec.base]
        for band in range(bands):
            self.plan.forward(lambda rows, out, b=band: load(b, rows, out), spectrum)  # type: ignore[misc]
            if others:
                self._add_luma(spectrum, luma, band, bands)
            self._filter(spectrum, base_nsr, spectrum)
            self.plan.inverse(spectrum, lambda rows, v, b=band: store(b, rows, v))  # type: ignore[misc]
            yield band
        for plane, nsr in enumerate(others, start=bands):
            self._filter(luma, nsr, spectrum)
            self.plan.inverse(spectrum, lambda rows, v, p=plane: store(p, rows, v))  # type: ignore[misc]
            yield plane

    def _add_luma(
        self, spectrum: Complex64Array, luma: Complex64Array, band: int, bands: int
    ) -> None:
        weight = np.float32(LUMA[band] if bands == 3 else 1.0)
        for top in range(0, spectrum.shape[0], _BLOCK):
            block = slice(top, top + _BLOCK)
            if band == 0:
                np.multiply(spectrum[block], weight, out=luma[block])
            else:
                luma[block] += weight * spectrum[block]


def wiener_planes(
    image: Float32Array,
    psf: PSF,
    spec: WienerSpec | None = None,
    *,
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
    plan = SpectrumPlan(
        image.shape[0], image.shape[1], default_gap(psf, min(spec.nsr)), executor=executor
    )
    planes = np.empty((bands + len(spec.nsr) - 1, *image.shape[:2]), np.float32)

    def load(band: int, rows: slice, out: Float32Array) -> None:
        out[...] = colour[rows, :, band]

    def store(plane: int, rows: slice, values: Float32Array) -> None:
        planes[plane, rows] = values

    work = (
        np.empty(plan.spectrum_shape, np.complex64),
        np.empty(plan.spectrum_shape, np.complex64),
    )
    for _ in WienerBank(psf, spec, plan).run(load, store, work, bands=bands):
        pass
    return planes


def wiener(image: Float32Array, psf: PSF, nsr: float) -> Float32Array:
    """Restore an image with one ratio.

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
    planes = wiener_planes(image, psf, WienerSpec((nsr,), 0))
    return np.moveaxis(planes, 0, -1).copy() if image.ndim == 3 else planes[0]
