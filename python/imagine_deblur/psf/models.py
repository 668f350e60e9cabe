"""The point-spread function: a product of components in frequency."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import PsfError
from imagine_deblur.psf import mtf
from imagine_deblur.psf.components import (
    Disk,
    FloatArray,
    Gaussian,
    Motion,
    PixelAperture,
    Sampled,
    Transfer,
)
from imagine_deblur.psf.pupil import Pupil

Component = Disk | Gaussian | Motion | PixelAperture | Pupil | Sampled

_KINDS: dict[str, type[Component]] = {
    c.kind: c for c in (Disk, Gaussian, Motion, PixelAperture, Pupil, Sampled)
}


MAX_COMPONENTS = 8
"""Of a PSF that is read: there are six kinds. The moments of a record take about 1 s at this
number, and minutes at the thousands that a hostile one can list."""


@dataclass(frozen=True)
class PSF:
    """A point-spread function as the product of its components' transfer functions.

    Parameters
    ----------
    components : tuple of Component
        `Disk`, `Gaussian`, `Motion`, `PixelAperture`, `Pupil` or `Sampled`; none is the identity.

    Notes
    -----
    Kernels have unit flux (value 1 at zero frequency) and are centred on a pixel, so that blurring
    shifts nothing. Frequencies are in cycles/px; 0.5 is Nyquist's. Analytic components are sampled
    in frequency: "disk" means the disk's closed-form transfer function up to Nyquist's frequency,
    in the forward model, in its inverse and in estimation alike.

    Examples
    --------
    >>> psf = PSF.defocus(4.0)
    >>> psf.otf(64, 64).shape
    (64, 33)
    >>> float(psf.otf(64, 64)[0, 0].real)
    1.0
    """

    components: tuple[Component, ...] = ()

    def __post_init__(self) -> None:
        components = tuple(self.components)
        for component in components:
            if not isinstance(component, tuple(_KINDS.values())):
                raise PsfError(f"{component!r} is not a component; use {', '.join(_KINDS)}")
        object.__setattr__(self, "components", components)

    @classmethod
    def defocus(cls, radius_px: float, gaussian_sigma_px: float = 0.5) -> PSF:
        """Disk of `radius_px` px times a Gaussian of `gaussian_sigma_px` px."""
        return cls((Disk(radius_px), Gaussian(gaussian_sigma_px)))

    @classmethod
    def sampled(cls, kernel: npt.ArrayLike) -> PSF:
        """The PSF of one sampled kernel; see `Sampled` for what is accepted."""
        return cls((Sampled(np.asarray(kernel, dtype=np.float64)),))

    def __mul__(self, other: PSF) -> PSF:
        """One blur after the other."""
        return PSF(self.components + other.components)

    @property
    def extent_px(self) -> float:
        """Radius in px beyond which the kernel holds next to nothing (sum over the components)."""
        return float(sum(c.extent_px for c in self.components))

    def transfer(self, fy: npt.ArrayLike, fx: npt.ArrayLike) -> Transfer:
        """Transfer function on the outer grid of two frequency axes.

        Parameters
        ----------
        fy : (n,) array of float
            Frequencies along the rows' index (down), cycles/px.
        fx : (m,) array of float
            Frequencies along the columns' index (right), cycles/px.

        Returns
        -------
        (n, m) float64 or complex128 ndarray
            Real when the kernel is symmetric about its centre. Use it on a few rows at a time where
            a whole frame's array would be too large.
        """
        rows = np.asarray(np.atleast_1d(fy), dtype=np.float64)
        columns = np.asarray(np.atleast_1d(fx), dtype=np.float64)
        return self.at(rows[:, None], columns[None, :])

    def at(self, fy: npt.ArrayLike, fx: npt.ArrayLike) -> Transfer:
        """Transfer function at single frequencies.

        Parameters
        ----------
        fy, fx : array of float
            Frequencies down and right in cycles/px; they broadcast against each other. Analytic
            components are defined beyond Nyquist's frequency, sampled ones repeat.

        Returns
        -------
        float64 or complex128 ndarray
            Of the broadcast shape.
        """
        down = np.asarray(fy, dtype=np.float64)
        right = np.asarray(fx, dtype=np.float64)
        result: Transfer = np.ones(np.broadcast_shapes(down.shape, right.shape))
        for component in self.components:
            result = result * component.otf(down, right)
        return result

    @property
    def isotropic(self) -> bool:
        """Whether the OTF is real and depends on the frequency's magnitude only."""
        return all(c.isotropic for c in self.components)

    @property
    def symmetric(self) -> bool:
        """Whether the kernel is symmetric about its centre, so that its OTF is real."""
        return all(not isinstance(c, Sampled) or c.symmetric for c in self.components)

    def half_plane(
        self, rows: int, columns: int
    ) -> npt.NDArray[np.float32] | npt.NDArray[np.complex64]:
        """Transfer function on the half plane of ``rfft2``, real where the kernel is symmetric.

        Returns
        -------
        (rows, columns // 2 + 1) float32 or complex64 ndarray
            Computed a few rows at a time: beside the result it takes about 5 MB.
        """
        if rows < 1 or columns < 1:
            raise PsfError(f"a frame of {rows}x{columns} has no spectrum")
        fy: FloatArray = np.asarray(np.fft.fftfreq(rows), dtype=np.float64)
        fx: FloatArray = np.asarray(np.fft.rfftfreq(columns), dtype=np.float64)
        mirrored = PSF(tuple(c for c in self.components if c.isotropic))
        others = PSF(tuple(c for c in self.components if not c.isotropic))
        dtype: type[np.float32 | np.complex64] = np.float32 if self.symmetric else np.complex64
        result: npt.NDArray[Any] = np.empty((rows, fx.size), dtype)
        # Isotropic components are even in fy: rows k and rows - k are equal, half is computed.
        for part in _row_blocks(rows // 2 + 1, fx.size):
            result[part] = mirrored.transfer(np.abs(fy[part]), fx)
        result[rows // 2 + 1 :] = result[1 : (rows + 1) // 2][::-1]
        if others.components:
            for part in _row_blocks(rows, fx.size):
                result[part] *= others.transfer(fy[part], fx)
        return result

    def otf(self, rows: int, columns: int) -> npt.NDArray[np.complex64]:
        """Transfer function of a periodic (rows, columns) image, for ``rfft2``.

        Returns
        -------
        (rows, columns // 2 + 1) complex64 ndarray
            The PSF is centred on pixel (0, 0): multiplying a spectrum by it moves nothing. Value 1
            at (0, 0).
        """
        return np.asarray(self.half_plane(rows, columns), dtype=np.complex64)

    def kernel(self, size: int | None = None) -> FloatArray:
        """The kernel sampled at pixel centres.

        Parameters
        ----------
        size : int, optional
            Odd size K in px; by default it covers `extent_px`.

        Returns
        -------
        (K, K) float64 ndarray
            Centred on ``(K // 2, K // 2)``, non-negative, sum 1: the inverse transform on a grid
            with a margin, cropped, negatives (Gibbs ripples) clipped, normalised.

        Raises
        ------
        PsfError
            `size` is even or not positive.
        """
        extent = int(np.ceil(self.extent_px))
        if size is None:
            size = 2 * extent + 1
        if size < 1 or size % 2 == 0:
            raise PsfError(f"kernel size {size} must be odd and positive")
        half = size // 2
        grid = 2 * (extent + max(half, extent) + 16)
        spectrum = self.transfer(np.fft.fftfreq(grid), np.fft.rfftfreq(grid))
        plane = np.fft.irfft2(spectrum, s=(grid, grid))
        index = np.arange(-half, half + 1) % grid
        kernel = np.maximum(plane[np.ix_(index, index)], 0.0)
        return np.asarray(kernel / kernel.sum())

    def support_px(self, fraction: float = 0.999) -> int:
        """Smallest radius in px within which the kernel holds `fraction` of its energy."""
        if not 0.0 < fraction < 1.0:
            raise PsfError(f"fraction={fraction!r} must lie between 0 and 1")
        kernel = self.kernel(2 * int(np.ceil(self.extent_px)) + 5)
        offset = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
        radius = np.ceil(np.hypot(offset[:, None], offset[None, :])).astype(int)
        share = np.cumsum(np.bincount(radius.ravel(), weights=kernel.ravel()))
        return int(np.searchsorted(share, fraction * share[-1]))

    @property
    def moves(self) -> bool:
        """Whether linear motion is part of it."""
        return any(isinstance(part, Motion) for part in self.components)

    def mtf(self, frequency: npt.ArrayLike, angle_deg: float | None = None) -> FloatArray:
        """Modulation transfer function, see `mtf.mtf`."""
        return mtf.mtf(self, frequency, angle_deg)

    def mtf50(self, angle_deg: float | None = None) -> float:
        """Frequency in cycles/px where the MTF falls to a half, see `mtf.mtf50`."""
        return mtf.mtf50(self, angle_deg)

    def mtf_nyquist(self, angle_deg: float | None = None) -> float:
        """MTF at 0.5 cycles/px."""
        return float(mtf.mtf(self, 0.5, angle_deg))

    def encircled_energy(self, radius_px: npt.ArrayLike) -> FloatArray:
        """Share of the flux within a radius, see `mtf.encircled_energy`."""
        return mtf.encircled_energy(self, radius_px)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, see `from_dict`."""
        listed = []
        for component in self.components:
            entry: dict[str, Any] = {"kind": component.kind}
            for field in fields(component):
                value = getattr(component, field.name)
                entry[field.name] = (
                    value.tolist() if isinstance(value, np.ndarray) else float(value)
                )
            listed.append(entry)
        return {"components": listed}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PSF:
        """The PSF that `to_dict` described.

        Raises
        ------
        PsfError
            A field is missing, unknown or out of range; the message names it.
        """
        listed = data.get("components") if isinstance(data, Mapping) else None
        if not isinstance(listed, list):
            raise PsfError("field 'components' must be a list")
        if len(listed) > MAX_COMPONENTS:
            raise PsfError(
                f"field 'components' has {len(listed)} entries, at most {MAX_COMPONENTS} are read"
            )
        return cls(tuple(_component(entry, i) for i, entry in enumerate(listed)))

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Blocks of rows with about 65,536 samples."""
    step = max(1, 65536 // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _component(entry: object, index: int) -> Component:
    where = f"field 'components[{index}]'"
    if not isinstance(entry, Mapping):
        raise PsfError(f"{where} must be an object")
    values = dict(entry)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise PsfError(f"{where} has kind {kind!r}; known: {', '.join(_KINDS)}")
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not (name == "kernel" and isinstance(value, list)):
            raise PsfError(f"{where}.{name} must be a number, not {value!r}")
    try:
        return _KINDS[kind](**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise PsfError(f"{where}: {error}") from error
