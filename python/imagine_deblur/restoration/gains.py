"""Gains of the linear filters: the Wiener formula of a PSF, and tables over radial frequency.

Every plane of a bank is ``G(f) y(f)`` with a gain of one form, so that a learned filter and the
formula run through the same code::

    G(f) = scale(|f|) conj(H(f)) / (|H(f)|^2 + noise(|f|)) + added(|f|)                       (1)

The Wiener filter of `restoration.wiener` has ``scale = 1``, ``noise = nsr (2 |f|)^2``, ``added =
0``. A learned filter of a blur without direction needs no OTF of its own: it is ``added`` alone.
One of a blur with direction keeps the capture's phase and learns `scale` and `noise`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import OptionsError

Float32Array = NDArray[np.float32]
TransferArray = NDArray[np.float32] | NDArray[np.complex64]

HIGHEST = float(np.sqrt(0.5))
"""Largest radial frequency of an image, cycles/px."""

LUMA_GAIN, COLOUR_GAIN = 0, 1
"""Rows of a `PlaneGain`'s tables: luma, and both colour differences."""


@dataclass(frozen=True, eq=False)
class PlaneGain:
    """The filter of one plane of the bank, equation (1), as tables over radial frequency.

    Attributes
    ----------
    added : (2, N) float32 ndarray
        At N evenly spaced frequencies from 0 to `HIGHEST`, linear in between: a row for luma and
        one for the colour differences (`LUMA_GAIN`, `COLOUR_GAIN`). A plane restored in luma only
        has no use for the second.
    scale, noise : (2, N) float32 ndarray or None
        The term with the OTF; both or none of them.

    Raises
    ------
    OptionsError
        Tables of other shapes, or not finite.
    """

    added: Float32Array
    scale: Float32Array | None = None
    noise: Float32Array | None = None

    def __post_init__(self) -> None:
        if (self.scale is None) != (self.noise is None):
            raise OptionsError("noise", self.noise, "given together with scale")
        for name in ("added", "scale", "noise"):
            table = getattr(self, name)
            if table is None:
                continue
            table = np.ascontiguousarray(table, np.float32)
            if table.ndim != 2 or len(table) != 2 or table.shape[1] < 2:
                raise OptionsError(name, table.shape, "(2, N), N at least 2")
            if table.shape != np.shape(self.added) or not np.isfinite(table).all():
                raise OptionsError(name, table.shape, "finite, and as long as the others")
            object.__setattr__(self, name, table)

    def at(
        self, frequency: Float32Array, component: int, otf: TransferArray | None = None
    ) -> TransferArray:
        """Return the gain at radial frequencies.

        Parameters
        ----------
        frequency : float32 ndarray
            cycles/px, in [0, `HIGHEST`].
        component : {LUMA_GAIN, COLOUR_GAIN}
        otf : ndarray, optional
            H there; needed where `scale` is given.
        """
        gain: TransferArray = _at(self.added, component, frequency)
        if self.scale is not None and self.noise is not None:
            assert otf is not None, "a gain with the OTF's term needs the OTF"
            power = (otf * np.conj(otf)).real + _at(self.noise, component, frequency)
            np.maximum(power, np.float32(1e-12), out=power)
            gain = gain + _at(self.scale, component, frequency) * np.conj(otf) / power
        return gain


def _at(table: Float32Array, component: int, frequency: Float32Array) -> Float32Array:
    places = np.linspace(0.0, HIGHEST, table.shape[1])
    return np.asarray(np.interp(frequency, places, table[component]), np.float32)


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
