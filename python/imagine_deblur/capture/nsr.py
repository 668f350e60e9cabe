"""The bank's ratio that suits a capture best, learnt from scenes whose truth is known.

`capture.noise.capture_nsr` reads noise and scene off the spectrum as if every scene's power fell as
``1 / f^2`` and nothing but noise were left where the blur passes nothing. The ratio at which the
network restores best is another: lower where rounding alone makes the noise, higher where JPEG
does. A small regressor corrects it, from the spectrum in rings, the blur's MTF in the same rings,
the contrast and that first guess. What it is worth is in docs/search.md, "The bank's level".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.noise import (
    BLOCK,
    MOTION_LEAST,
    RADIUS,
    MeanPower,
    bank_level,
    capture_nsr,
    is_moving,
    middle_psf,
)
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF

WEIGHTS = "nsr.npz"

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
    nsr = capture_nsr(power, psf)
    mtf_squared = np.abs(middle_psf(psf).otf(BLOCK, BLOCK)) ** 2
    return np.array(
        [
            *np.log10(_ring_means(power.power)),
            *np.log10(np.maximum(_ring_means(mtf_squared), _LEAST_MTF_SQUARED)),
            power.contrast,
            power.spread,
            np.log10(bank_level(nsr)),
            float(nsr is None),
            np.log10(power.blocks),
        ]
    )


def _ring_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.bincount(_RING[_INSIDE], values[_INSIDE], _RINGS)
    return np.asarray(sums / np.bincount(_RING[_INSIDE], minlength=_RINGS), np.float64)


def choose_level(power: MeanPower | None, psf: PSF | PsfField) -> float | None:
    """Return the base ratio of an adaptive bank that restores a capture best.

    Parameters
    ----------
    power : MeanPower or None
        Of the capture, see `capture.noise.mean_power`; None without any information.
    psf : PSF or PsfField

    Returns
    -------
    float or None
        A quarter of a decade, see `capture.noise.bank_level`; None where nothing is known.
    """
    if power is None:
        return capture_nsr(None, psf)
    values = features(power, psf)
    chosen = 10.0 ** (values[GUESS] + bundled_regressor()(values))
    return bank_level(max(chosen, MOTION_LEAST) if is_moving(middle_psf(psf)) else chosen)
