"""The linear restoration of least expected error: a gain a ring of frequency, learnt.

A capture ``y = h (*) x + n`` is restored by ``x = g (*) y``. Where blur and noise are known only as
distributions, the gain of least expected squared error at a frequency is (Wiener 1949, averaged
over H)::

    G = E[H]* / (E[|H|^2] + N / S)                                                           (1)

What a camera's processing and a coder make of noise and scene is neither white nor independent of
the scene, so a regressor predicts it ring by ring from the capture's own spectra of luma and colour
differences, the JPEG's table and the moments of H (`psf.otf_moments`)::

    G = (1 + alpha) E[H]* / (E[|H|^2] + k exp(nu)) + delta                                   (2)

Its loss in training is the restoration's squared error itself, a sum over frequency (Parseval), so
that what comes out is the filter of least expected error given the spectra, whatever is uncertain
(`imagine_deblur.train.ring_gain`). `k` is 1; other values make restorations that are more, or less,
careful about the noise. A PSF that depends on direction is undone with its own H, and `delta` is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.ring_spectra import RING_FREQUENCY, RINGS, ROUNDING, RingSpectra
from imagine_deblur.psf.field import PsfField, middle_psf
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.otf_moments import ENTRIES, FREQUENCY, OtfMoments, moments_of_psf
from imagine_deblur.restoration.gains import HIGHEST, PlaneGain

Float32Array = NDArray[np.float32]

WEIGHTS = "ring_gain.npz"
LOCAL, FACTS, PLANES = 9, 5, 2
"""Inputs a ring; numbers of a blind estimate; planes with a gain of their own: luma, colour."""
SCALARS = 4 + FACTS + 3 + 1 + 1

MOTION_LEAST_NSR = 0.1
"""Least ratio for motion. What is wrong at a frame's border, where half of each streak is missing,
comes back as stripes over many lengths of the streak, the further the smaller the ratio. On 67
training scenes of 400 px with the true PSF, 0.1 is worth 0.7 dB to the linear model (worst -0.8 dB,
not -6.5) and 0.3 dB to `fast` (worst +0.8 dB, not -3.4)."""

TRAIT_FREQUENCIES = (0.04, 0.08, 0.14, 0.2, 0.28, 0.38, 0.48)
"""Frequencies at which `RingGains.traits` samples what it samples, cycles/px."""
TRAITS = 6 * len(TRAIT_FREQUENCIES) + 1 + 4 + 2

FILTER_NSR_RANGE = (3e-4, 1.0)
"""Ratios the bundled networks saw in training."""

UNKNOWN_NSR = 3e-3
"""Ratio of a capture that does not tell its noise: the average of mild blurs without noise."""

LEVEL_RANGE = (1e-5, 10.0)
"""Limits of `RingGains.level`."""


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
    directed : bool
        The gains are relative to the PSF's own transfer function.
    traits : (TRAITS,) float32 ndarray
        The capture in few numbers: expected error, share of the scene that is restored, spectra,
        MTF and JPEG table. A network adapts to them.
    """

    alpha: NDArray[np.float64]
    nu: NDArray[np.float64]
    delta: NDArray[np.float64]
    mean: NDArray[np.float64]
    second: NDArray[np.float64]
    error: NDArray[np.float64]
    directed: bool = False
    traits: Float32Array = field(default_factory=lambda: np.zeros(TRAITS, np.float32))

    def radial(self, plane: int, regularisation: float = 1.0) -> NDArray[np.float64]:
        """The gain at `FREQUENCY`, its ``exp(nu)`` scaled by `regularisation`; plane 0 is luma."""
        wiener = self.mean / (self.second + regularisation * np.exp(self.nu[plane]))
        return np.asarray((1 + self.alpha[plane]) * wiener + self.delta[plane])

    def filters(self, factors: Sequence[float]) -> tuple[PlaneGain, ...]:
        """The filters of a bank; 1 at frequency 0, so that no mean changes.

        Parameters
        ----------
        factors : sequence of float
            k of equation (2) for each plane: 1 for the one that is expected to err least.
        """
        return tuple(self._filter(factor) for factor in factors)

    def _filter(self, factor: float) -> PlaneGain:
        places = np.concatenate([[0.0], FREQUENCY])
        even = np.linspace(0.0, HIGHEST, 2 * ENTRIES + 1)  # every entry of FREQUENCY is one of them

        def table(values: NDArray[np.float64], first: float) -> Float32Array:
            rows = [np.interp(even, places, np.concatenate([[first], row])) for row in values]
            return np.asarray(rows, np.float32)

        if not self.directed:
            return PlaneGain(table(np.stack([self.radial(p, factor) for p in range(PLANES)]), 1.0))
        scale, noise = table(1 + self.alpha, 1.0), table(factor * np.exp(self.nu), 0.0)
        return PlaneGain(np.zeros_like(scale), scale, noise)

    def careful(self, nsr: float) -> RingGains:
        """The gains with a noise-to-signal ratio at Nyquist of at least `nsr` everywhere."""
        least = np.log(4 * nsr * FREQUENCY**2)
        return replace(self, nu=np.maximum(self.nu, least))

    @property
    def level(self) -> float:
        """N / (4 f^2 S) that equation (1) would need, averaged where the blur lets the scene pass.

        It is what `restoration.wiener` calls the noise-to-signal ratio at Nyquist, within
        `LEVEL_RANGE`.
        """
        inside = (FREQUENCY > 0.06) & (FREQUENCY < 0.45)
        weight = self.second[inside] + 0.02
        ratio = self.nu[0][inside] - np.log(4 * FREQUENCY[inside] ** 2)
        return float(np.clip(np.exp(np.average(ratio, weights=weight)), *LEVEL_RANGE))


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
TO_RINGS = TO_ENTRIES / np.maximum(TO_ENTRIES.sum(axis=0, keepdims=True), 1e-6)


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
    weights = TO_RINGS if to_rings is None else to_rings
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


def rounded_nsr(nsr: float | None) -> float:
    """Return a ratio as the bank takes it: a whole quarter of a decade within `FILTER_NSR_RANGE`.

    Parameters
    ----------
    nsr : float or None
        Noise-to-signal power ratio at Nyquist; None stands for `UNKNOWN_NSR`.
    """
    exponent = np.log10(np.clip(UNKNOWN_NSR if nsr is None else nsr, *FILTER_NSR_RANGE))
    return float(10.0 ** (np.rint(exponent * 4) / 4))


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
        return RingGains(alpha, nu, delta, moments.mean, second, fine[3 * PLANES], directed)

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


def gains_for(
    spectra: RingSpectra,
    psf: PSF | PsfField,
    table: NDArray[np.floating],
    *,
    moments: OtfMoments | None = None,
    facts: NDArray[np.floating] | None = None,
) -> RingGains:
    """Predict the gains of a capture from what is known of it.

    Parameters
    ----------
    spectra : RingSpectra
    psf : PSF or PsfField
        Its blur, or the most probable one. Each cell of a field is undone with its own transfer
        function; the one in the middle stands for all here.
    table : (4,) ndarray
        See `psf.estimation.quantisation_table.table_scalars`.
    moments : OtfMoments, optional
        Of a round blur that is not known for certain; None takes the PSF as it is.
    facts : (FACTS,) ndarray, optional
        `PsfDistribution.facts` of a blind estimate; None where the PSF is given.
    """
    middle = middle_psf(psf)
    directed = isinstance(psf, PsfField) or not middle.isotropic
    known = moments_of_psf(middle) if directed or moments is None else moments
    if directed:
        known = OtfMoments(np.abs(known.mean), known.deviation)
    about = np.zeros(FACTS) if facts is None else facts
    scalars = scalar_inputs(table, about, spectra.mean, directed=directed, blind=facts is not None)
    gains = bundled_regressor()(spectra, known, scalars, directed=directed)
    if middle.moves:
        gains = gains.careful(MOTION_LEAST_NSR)
    return replace(gains, traits=_traits(gains, spectra, scalars))


def _traits(gains: RingGains, spectra: RingSpectra, scalars: Float32Array) -> Float32Array:
    """`RingGains.traits`, each number within about -2 to 2."""
    entry = np.searchsorted(FREQUENCY, TRAIT_FREQUENCIES)
    ring = np.searchsorted(RING_FREQUENCY, TRAIT_FREQUENCIES)
    size = np.sqrt(gains.second)
    parts = (
        gains.error[entry],
        (gains.radial(0) * size)[entry],
        (gains.radial(1) * size)[entry],
        size[entry],
        np.log10(np.maximum(spectra.power[0], ROUNDING / 100)[ring] / ROUNDING) / 2 - 1,
        np.log10(np.maximum(spectra.quiet, ROUNDING / 100)[ring] / ROUNDING) / 2 - 1,
        [np.log10(gains.level) / 2 + 1],
        scalars[:4],
        scalars[-2:],
    )
    return np.asarray(np.clip(np.concatenate(parts), -3, 3), np.float32)
