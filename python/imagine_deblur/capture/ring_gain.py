"""The linear restoration of least expected error: a gain a ring of frequency, learnt.

A capture ``y = h (*) x + n`` is restored by ``x = g (*) y``. Where blur and noise are known only as
distributions, the gain of least expected squared error at a frequency is (Wiener 1949, averaged
over H)::

    G = E[H]* / (E[|H|^2] + N / S)                                                           (1)

What a camera's processing and a coder make of noise and scene is neither white nor independent of
the scene, so a regressor predicts it ring by ring from the capture's own spectra of luma and colour
differences, the JPEG's table and the moments of H (`psf.otf_moments`)::

    G = (1 + alpha) E[H]* / (E[|H|^2] + exp(nu)) + delta                                     (2)

Its loss in training is the restoration's squared error itself, a sum over frequency (Parseval), so
that what comes out is the filter of least expected error given the spectra, whatever is uncertain
(`imagine_deblur.train.ring_gain`). `delta` is 0 for PSFs that depend on direction: these are undone
with their own phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.ring_spectra import RING_FREQUENCY, RINGS, ROUNDING, RingSpectra
from imagine_deblur.psf.otf_moments import ENTRIES, FREQUENCY, OtfMoments
from imagine_deblur.restoration.gains import HIGHEST, PlaneGain

Float32Array = NDArray[np.float32]

WEIGHTS = "ring_gain.npz"
LOCAL, FACTS, PLANES = 9, 5, 2
"""Inputs a ring; numbers of a blind estimate; planes with a gain of their own: luma, colour."""
SCALARS = 4 + FACTS + 3 + 1 + 1


@dataclass(frozen=True)
class RingGains:
    """A regressor's answer for one capture.

    Attributes
    ----------
    alpha, nu, delta : (2, ENTRIES) float64 ndarray
        Of equation (2), for luma and for both colour differences, at `psf.otf_moments.FREQUENCY`.
    mean, second : (ENTRIES,) float64 ndarray
        E[H] and E[|H|^2] over rings.
    error : (ENTRIES,) float64 ndarray
        Expected logarithm (base 10) of the error's share of the capture's power, of luma.
    """

    alpha: NDArray[np.float64]
    nu: NDArray[np.float64]
    delta: NDArray[np.float64]
    mean: NDArray[np.float64]
    second: NDArray[np.float64]
    error: NDArray[np.float64]

    def radial(self, plane: int, regularisation: float = 1.0) -> NDArray[np.float64]:
        """The gain at `FREQUENCY`, its ``exp(nu)`` scaled by `regularisation`; plane 0 is luma."""
        wiener = self.mean / (self.second + regularisation * np.exp(self.nu[plane]))
        return np.asarray((1 + self.alpha[plane]) * wiener + self.delta[plane])

    @property
    def plane_gain(self) -> PlaneGain:
        """`radial` of both planes as the filter of the linear stage; 1 at 0: no mean changes."""
        places = np.concatenate([[0.0], FREQUENCY])
        even = np.linspace(0.0, HIGHEST, 2 * ENTRIES + 1)  # every entry of FREQUENCY is one of them
        rows = [
            np.interp(even, places, np.concatenate([[1.0], self.radial(plane)]))
            for plane in range(PLANES)
        ]
        return PlaneGain(np.asarray(rows, np.float32))


def interpolation(frequency: NDArray[np.floating]) -> Float32Array:
    """Weights (..., RINGS) of the rings at frequencies (...), linear between their centres."""
    position = np.interp(frequency, RING_FREQUENCY, np.arange(RINGS))
    lower = np.minimum(position.astype(np.intp), RINGS - 2)
    share = position - lower
    result = np.zeros((*np.shape(frequency), RINGS), np.float32)
    np.put_along_axis(result, lower[..., None], (1 - share)[..., None].astype(np.float32), -1)
    np.put_along_axis(result, lower[..., None] + 1, share[..., None].astype(np.float32), -1)
    return result


TO_ENTRIES = interpolation(FREQUENCY)
_TO_RINGS = TO_ENTRIES / np.maximum(TO_ENTRIES.sum(axis=0, keepdims=True), 1e-6)


def local_inputs(
    spectra: NDArray[np.floating],
    mean: NDArray[np.floating],
    second: NDArray[np.floating],
    to_rings: Float32Array | None = None,
) -> Float32Array:
    """What the regressor sees in each ring.

    Parameters
    ----------
    spectra : (..., 5, RINGS) ndarray
        Power of the three planes, typical and quiet luma, see `RingSpectra`.
    mean, second : (..., ENTRIES) ndarray
        E[H] and E[|H|^2].
    to_rings : (..., ENTRIES, RINGS) float32 ndarray, optional
        Weights from the entries to the rings, where they are not at `FREQUENCY`.

    Returns
    -------
    (..., LOCAL, RINGS) float32 ndarray
    """
    logs = np.log10(np.maximum(spectra, ROUNDING / 100) / ROUNDING) / 2 - 1
    weights = _TO_RINGS if to_rings is None else to_rings
    centre, square = ((values[..., None, :] @ weights)[..., 0, :] for values in (mean, second))
    depth = np.log10(np.maximum(square, 1e-5)) + 2
    fixed = np.broadcast_to(4 * RING_FREQUENCY - 1, centre.shape)
    known = np.stack([centre, square, depth, fixed], axis=-2)
    return np.concatenate([logs, known], axis=-2).astype(np.float32)


def scalar_inputs(
    table: NDArray[np.floating],
    facts: NDArray[np.floating],
    average: NDArray[np.floating],
    *,
    directed: bool,
    blind: bool,
) -> Float32Array:
    """What the regressor sees once a capture: (SCALARS,) float32 ndarray.

    Parameters
    ----------
    table : (4,) ndarray
        See `psf.estimation.quantisation_table.table_scalars`.
    facts : (FACTS,) ndarray
        Of a blind estimate: probabilities of round, motion, shake and of a cut kernel, logarithm of
        the noise plus 6; zeros where the PSF is given.
    average : (3,) ndarray
        Mean luma and colour differences.
    directed, blind : bool
    """
    flags = np.array([directed, blind], np.float32)
    scaled = np.asarray(table, np.float32) / np.array([1, 4, 4, 4], np.float32)
    return np.concatenate([scaled, facts, average, flags]).astype(np.float32)


class Regressor:
    """A convolution over rings, shared by all rings, that knows its context; numpy alone.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Members ``m0.c1.weight`` and so on, as `imagine_deblur.train.ring_gain` saves them.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self._arrays = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
        self._members = len({name.split(".")[0] for name in arrays})

    def __call__(
        self,
        spectra: RingSpectra,
        moments: OtfMoments,
        scalars: Float32Array,
        *,
        directed: bool = False,
    ) -> RingGains:
        """Return the gains of a capture.

        Parameters
        ----------
        spectra : RingSpectra
        moments : OtfMoments
        scalars : (SCALARS,) float32 ndarray
            From `scalar_inputs`.
        directed : bool
            The PSF depends on direction: `RingGains.delta` is 0.
        """
        second = moments.mean**2 + moments.deviation**2
        local = local_inputs(spectra.stacked, moments.mean, second)
        total = np.mean([self._member(m, local, scalars) for m in range(self._members)], axis=0)
        fine = (total @ TO_ENTRIES.T).astype(np.float64)
        alpha, nu, delta = fine[: 3 * PLANES].reshape(3, PLANES, ENTRIES)
        if directed:
            delta = np.zeros_like(delta)
        nu = np.clip(nu, *NU_RANGE)
        return RingGains(alpha, nu, delta, moments.mean, second, fine[3 * PLANES])

    def _member(self, member: int, local: Float32Array, scalars: Float32Array) -> Float32Array:
        def layer(name: str) -> tuple[Float32Array, Float32Array]:
            prefix = f"m{member}.{name}."
            return self._arrays[prefix + "weight"], self._arrays[prefix + "bias"]

        context = np.concatenate([local.ravel(), scalars])
        for name in ("c1", "c2"):
            weight, bias = layer(name)
            context = np.maximum(weight @ context + bias, 0)
        spread = np.repeat(context[:, None], RINGS, axis=1)
        hidden = np.maximum(_convolve(np.concatenate([local, spread]), *layer("r1")), 0)
        hidden = hidden + np.maximum(_convolve(hidden, *layer("r2")), 0)
        return _convolve(hidden, *layer("r3"))


NU_RANGE = (-14.0, 8.0)
"""Limits of nu: an N / S of 1e-6, below what float32 transforms hold, and no signal at all."""


def _convolve(values: Float32Array, weight: Float32Array, bias: Float32Array) -> Float32Array:
    """Correlate (C, RINGS) with (D, C, k) kernels, zeros outside: (D, RINGS)."""
    half = weight.shape[2] // 2
    padded = np.pad(values, ((0, 0), (half, half)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2], axis=1)
    return np.asarray(np.tensordot(weight, taps, ((1, 2), (0, 2))) + bias[:, None], np.float32)


@lru_cache(maxsize=1)
def bundled_regressor() -> Regressor:
    """Return the regressor of this installation."""
    source = files("imagine_deblur.capture") / WEIGHTS
    with source.open("rb") as file, np.load(file) as stored:
        return Regressor({name: stored[name] for name in stored.files})
