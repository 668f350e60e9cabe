"""Noise-to-signal ratios of a capture: the one its spectrum shows, and the one to filter with.

With the scene's power spectrum ``c / f^2`` and a noise floor ``N``, the ratio that the filter of
`restoration.wiener` wants is ``nsr = N / (4 c)``. `measured_nsr` reads both off the capture's mean
spectrum: `c` where the blur still passes nearly everything, `N` where it passes next to nothing, so
that what is found there is noise, JPEG error and whatever the camera made of them.

`filter_nsr` is the ratio at which the network restores best. It is another, since no scene's power
falls just as ``1 / f^2`` and a coder's error is not white: lower where rounding alone makes the
noise, higher where JPEG does. A small regressor, trained on scenes whose truth is known, corrects
the measured ratio from the spectrum in rings, the blur's MTF in the same rings and the contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.policy import (
    FILTER_NSR_RANGE,
    LEAST_NOISE_BINS,
    MEASURED_NSR_RANGE,
    MOTION_LEAST_NSR,
    MTF_PASSED,
    MTF_STOPPED,
    UNKNOWN_NSR,
)
from imagine_deblur.capture.spectrum import BLOCK, RADIUS, MeanPower
from imagine_deblur.psf.field import PsfField, middle_psf
from imagine_deblur.psf.models import PSF

WEIGHTS = "nsr.npz"

_LOWEST = 2.5 / BLOCK  # cycles/px; below, the window leaks
_HIGHEST = 0.45
_STEPS_PER_DECADE = 4


def rounded_nsr(nsr: float | None) -> float:
    """Return a ratio as the filter takes it: a whole quarter of a decade.

    Parameters
    ----------
    nsr : float or None
        Noise-to-signal power ratio at Nyquist; None stands for `policy.UNKNOWN_NSR`.

    Returns
    -------
    float
        Within `policy.FILTER_NSR_RANGE`. The steps are finer than the ratio is known, so that
        frames of one camera share their filters.
    """
    exponent = np.log10(np.clip(UNKNOWN_NSR if nsr is None else nsr, *FILTER_NSR_RANGE))
    return float(10.0 ** (np.rint(exponent * _STEPS_PER_DECADE) / _STEPS_PER_DECADE))


def measured_nsr(power: MeanPower | None, psf: PSF | PsfField) -> float | None:
    """Return the noise-to-signal ratio at Nyquist that a capture's spectrum shows.

    Parameters
    ----------
    power : MeanPower or None
        Of the capture, see `spectrum.mean_power`.
    psf : PSF or PsfField
        Its blur; of a field, the cell in the middle.

    Returns
    -------
    float or None
        Within 1e-5 to 3, of motion `MOTION_LEAST_NSR` at least. None where the capture does not
        tell: it is too small or too flat, or the blur leaves no band with nothing but noise.
    """
    centre = middle_psf(psf)
    found = None if power is None else _spectral_ratio(power.power, centre)
    return max(found or 0.0, MOTION_LEAST_NSR) if centre.moves else found


def _spectral_ratio(power: NDArray[np.float64], centre: PSF) -> float | None:
    mtf = np.abs(centre.otf(BLOCK, BLOCK))
    inside = (RADIUS >= _LOWEST) & (RADIUS < _HIGHEST)
    seen = inside & (mtf > MTF_PASSED)
    if not seen.any():  # a very wide blur: the lowest frequencies have to do
        seen = inside & (RADIUS < _LOWEST + 3 / BLOCK)
    silent = inside & (mtf < MTF_STOPPED)
    if np.count_nonzero(silent) < LEAST_NOISE_BINS:
        return None
    signal = power[seen] * RADIUS[seen] ** 2 / np.maximum(mtf[seen], 0.1) ** 2
    c = float(np.exp(np.mean(np.log(signal) / RADIUS[seen]) / np.mean(1 / RADIUS[seen])))
    noise = float(np.exp(np.mean(np.log(power[silent]))))
    return float(np.clip(noise / (4 * c), *MEASURED_NSR_RANGE))


_EDGES = np.array([2.5, 4, 6, 8, 11, 14, 18, 22, 27, 32, 38, 44, 50, 57, 64.01]) / BLOCK
_RINGS = len(_EDGES) - 1
_RING = np.digitize(RADIUS, _EDGES) - 1
_INSIDE = (_RING >= 0) & (_RING < _RINGS)
_LEAST_MTF_SQUARED = 1e-4

FEATURES = 2 * _RINGS + 5
"""Length of `features`."""

GUESS = 2 * _RINGS + 2
"""Which of them is the logarithm (base 10) of the first guess."""


@dataclass(frozen=True)
class Regressor:
    """An ensemble of dense networks with two hidden layers; its mean corrects the first guess.

    Attributes
    ----------
    mean, scale : (F,) float32 ndarray
        Of the features.
    weights, biases : tuple of ndarray
        (M, F, H), (M, H, H), (M, H, 1) and (M, 1, H), (M, 1, H), (M, 1, 1) for M members.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]

    def __call__(self, values: NDArray[np.float64]) -> float:
        """Return what to add to the logarithm (base 10) of the first guess."""
        x = ((values - self.mean) / self.scale)[None, None, :]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            if layer + 1 < len(self.weights):
                x = np.maximum(x, 0)
        return float(x.mean())


@lru_cache(maxsize=1)
def bundled_regressor() -> Regressor:
    """Return the regressor of this installation."""
    with (files("imagine_deblur.capture") / WEIGHTS).open("rb") as file, np.load(file) as stored:
        layers = range(sum(name.startswith("w") for name in stored.files))
        return Regressor(
            stored["mean"],
            stored["scale"],
            tuple(stored[f"w{k}"] for k in layers),
            tuple(stored[f"b{k}"] for k in layers),
        )


def features(power: MeanPower, psf: PSF | PsfField) -> NDArray[np.float64]:
    """Return what the regressor sees.

    Parameters
    ----------
    power : MeanPower
        Of the capture.
    psf : PSF or PsfField
        Its blur; of a field, the cell in the middle.

    Returns
    -------
    (FEATURES,) float64 ndarray
        Logarithms (base 10) of power and squared MTF in rings of frequency, contrast and its
        spread, the first guess, whether that is no more than a guess, and the number of blocks.
    """
    nsr = measured_nsr(power, psf)
    mtf_squared = np.abs(middle_psf(psf).otf(BLOCK, BLOCK)) ** 2
    return np.array(
        [
            *np.log10(_ring_means(power.power)),
            *np.log10(np.maximum(_ring_means(mtf_squared), _LEAST_MTF_SQUARED)),
            power.contrast,
            power.spread,
            np.log10(rounded_nsr(nsr)),
            float(nsr is None),
            np.log10(power.blocks),
        ]
    )


def _ring_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.bincount(_RING[_INSIDE], values[_INSIDE], _RINGS)
    return np.asarray(sums / np.bincount(_RING[_INSIDE], minlength=_RINGS), np.float64)


def filter_nsr(power: MeanPower | None, psf: PSF | PsfField) -> float | None:
    """Return the ratio at which a capture is restored best.

    Parameters
    ----------
    power : MeanPower or None
        Of the capture, see `spectrum.mean_power`; None without any information.
    psf : PSF or PsfField

    Returns
    -------
    float or None
        A quarter of a decade, see `rounded_nsr`; None where nothing is known.
    """
    if power is None:
        return measured_nsr(None, psf)
    values = features(power, psf)
    chosen = 10.0 ** (values[GUESS] + bundled_regressor()(values))
    return rounded_nsr(max(chosen, MOTION_LEAST_NSR) if middle_psf(psf).moves else chosen)
