"""Physical values of any type and range on the scale that restoration works on, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Samples = NDArray[Any]

_PERCENTILES = (0.1, 99.9)  # robust against dead pixels and glints
_HEADROOM = 0.05  # of the range between them, kept free at either end
_LEVELS = 255  # of whole numbers the scale holds at least, so that noise is not blown up


@dataclass(frozen=True)
class Scale:
    """An affine map between physical values and samples in [0, 1].

    Attributes
    ----------
    offset, gain : float
        ``value = offset + gain * sample``; the gain is negative where the lowest value is white.
    low, high : float
        Limits of the values that may be written: the type's, or those of fewer bits.

    Notes
    -----
    Bytes are their own scale, value / 255, as captures are; of fewer bits, value / largest. Other
    types are stretched between two percentiles of the scene. Values beyond the stretch are restored
    as if they were at its end, and what lies beyond is added again, so that nothing is clipped but
    at `low` and `high`.
    """

    offset: float
    gain: float
    low: float
    high: float

    @property
    def inverted(self) -> Scale:
        """The same range with its lowest value as white."""
        return replace(self, offset=self.offset + self.gain, gain=-self.gain)

    def encode(self, values: Samples) -> Float32Array:
        """Return samples in [0, 1].

        Parameters
        ----------
        values : ndarray of any real type

        Returns
        -------
        float32 ndarray
            The shape of `values`, C-contiguous.
        """
        samples = np.subtract(values, self.offset, dtype=_exact(values))
        samples /= self.gain
        return np.ascontiguousarray(np.clip(samples, 0.0, 1.0), np.float32)

    def decode(self, restored: Float32Array, encoded: Float32Array, values: Samples) -> Samples:
        """Return restored samples as values.

        Parameters
        ----------
        restored, encoded : (...) float32 ndarray
            After restoration, and what `encode` returned. A sample that was not changed gives
            exactly the value it came from.
        values : ndarray
            The values before.

        Returns
        -------
        ndarray
            The shape and type of `values`.
        """
        change = (restored - encoded).astype(_exact(values), copy=False)
        change *= self.gain
        change += values
        if values.dtype.kind in "iu":
            np.rint(change, out=change)
            np.clip(change, self.low, self.high, out=change)
        return change.astype(values.dtype)


def _exact(values: Samples) -> np.dtype[Any]:
    """The type in which values are exact and differences of neighbours are too."""
    wide = values.dtype.itemsize > 4 or (values.dtype.kind in "iu" and values.dtype.itemsize > 2)
    return np.dtype(np.float64 if wide else np.float32)


def scale_of(values: Samples, *, bits: int | None = None) -> Scale:
    """Return the scale of a scene's bands.

    Parameters
    ----------
    values : (n,) ndarray
        Valid values of typical blocks, at least one.
    bits : int, optional
        Bits in use, where these are fewer than the type has.

    Returns
    -------
    Scale
        Between the 0.1st and the 99.9th percentile with 5 % of room at either end. Of whole numbers
        it spans 255 steps at least: finer differences are the sensor's own rounding.
    """
    dtype = values.dtype
    if dtype == np.uint8:
        top = 255.0 if bits is None else float(2**bits - 1)
        return Scale(0.0, top, 0.0, top)
    first, last = (float(v) for v in np.percentile(values.astype(np.float64), _PERCENTILES))
    gain = (last - first) * (1 + 2 * _HEADROOM)
    if dtype.kind == "f":
        limits = (-np.inf, np.inf)
        gain = gain or max(abs(last), 1.0)
    else:
        kind = np.iinfo(dtype)
        most = kind.max if bits is None or kind.min < 0 else min(kind.max, 2**bits - 1)
        limits = (float(kind.min), float(most))
        gain = max(gain, float(_LEVELS))
    return Scale((first + last - gain) / 2, gain, *limits)
