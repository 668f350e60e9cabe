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

The transforms and filters themselves are the core's, see ``csrc/linear``: sixteen rows or columns
at a time, extension, gain and rounding on the way.

Memory. Two half-plane spectra of 4 bytes/px each, and an OTF: a table where the PSF has no
direction, 2 bytes/px where it is symmetric and 4 otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.gains import PlaneGain
from imagine_deblur.restoration.reach import gap_px
from imagine_deblur.restoration.transfer import bank_of, otf_for, sizes_for

Float32Array = NDArray[np.float32]

FIXED16_ONE = 4096.0
"""The value of 1.0 in the fixed-point planes of uint8 frames (csrc/base/image_view.h)."""

CHROMA = 30.0
"""Ratio of the colour differences in units of the luma's, measured in
research/notes/2026-11-25-network-search.md."""


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

    @property
    def factors(self) -> tuple[float, ...]:
        """The ratios in units of the base ratio."""
        return tuple(ratio / self.nsr[self.base] for ratio in self.nsr)

    def filtered_count(self, bands: int) -> int:
        """Return how many planes are filtered for a frame of 3 bands, or of 1."""
        return bands + len(self.nsr) - 1

    def plane_count(self, bands: int) -> int:
        """Return how many planes the bank makes, the constant one included."""
        return self.filtered_count(bands) + self.level

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


def wiener_planes(
    image: Float32Array,
    psf: PSF,
    spec: WienerSpec | None = None,
    *,
    gains: Sequence[PlaneGain | None] | None = None,
    workers: _core.WorkerPool | None = None,
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
        Learned filters, one for each ratio of `spec` in its order; None, for one or for all, is the
        Wiener filter of that ratio.
    workers : WorkerPool, optional
        The calling thread alone if None; the result does not depend on it.

    Returns
    -------
    (P, R, C) float32 ndarray
        The planes of ``spec.plane_names`` (for a grey image: the base plane, then the others).
        Values may lie outside [0, 1].
    """
    spec = spec or WienerSpec()
    workers = workers or _core.WorkerPool(1)
    learned = learned_gains(gains, spec)
    bands = image.shape[2] if image.ndim == 3 else 1
    rows, columns = image.shape[:2]
    colour = np.asarray(image, np.float32).reshape(rows, columns, bands)
    capture = [np.ascontiguousarray(colour[..., band]) for band in range(bands)]
    planes = np.empty((spec.plane_count(bands), rows, columns), np.float32)
    sizes = sizes_for(rows, columns, gap_px(psf, spec.nsr, learned))
    bank = bank_of(spec.nsr, spec.base, spec.chroma, learned)
    work = _core.Workplace(workers, np.empty(sizes.scratch_bytes(), np.uint8))
    _core.restore_planes(
        work,
        sizes,
        otf_for(psf, sizes, workers),
        luma=bank.luma,
        base=bank.base,
        colour=bank.colour,
        capture=capture,
        first_column=0,
        padded_columns=sizes.padded_shape[1],
        planes=list(planes),
        first_row=0,
        kept=(0, columns),
    )
    if spec.level:
        planes[-1] = spec.level_value
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
