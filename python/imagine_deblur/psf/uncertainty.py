"""How far a record's covariance lets a PSF and its MTF move."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.otf_moments import OtfMoments, moments_of_draws
from imagine_deblur.psf.record import Record

FloatArray = npt.NDArray[np.float64]

DRAWS = 300
"""PSFs drawn for an interval: its ends then vary by about a tenth of its width."""


@dataclass(frozen=True, eq=False)
class Band:
    """The MTF and its central 90 % interval over frequency.

    Attributes
    ----------
    frequency : (n,) float64 ndarray
        Cycles/px.
    value, low, high : (n,) float64 ndarray
        `low` and `high` equal `value` where the record holds no covariance.
    """

    frequency: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray


def draw_psfs(record: Record, count: int = DRAWS, seed: int = 0) -> tuple[PSF, ...]:
    """Return PSFs drawn from a record's uncertainty.

    Parameters are drawn from the normal distribution of the record's covariance, clipped where a
    component would refuse them.

    Parameters
    ----------
    record : Record
    count : int
    seed : int

    Returns
    -------
    tuple of PSF
        Empty where the record holds no covariance.
    """
    if record.covariance is None or not record.parameters:
        return ()
    rng = np.random.default_rng(seed)
    centre = np.array([_parameter(record.psf, name) for name in record.parameters])
    drawn = rng.multivariate_normal(centre, record.covariance, size=count, method="svd")
    return tuple(_moved(record.psf, record.parameters, row) for row in drawn)


def moments_of_record(record: Record) -> OtfMoments | None:
    """Moments of the OTF over what a record holds possible; None where it says nothing of that.

    A blind estimate's distribution goes before its covariance, which knows one peak only.
    """
    if record.distribution is not None:
        return record.distribution.moments
    drawn = draw_psfs(record)
    return moments_of_draws(drawn) if drawn else None


def mtf_band(record: Record, count: int = 251, seed: int = 0) -> Band:
    """MTF of a record averaged over directions, and how far its covariance lets it move.

    The interval is the 5th to 95th percentile of the MTFs of `draw_psfs`.
    """
    frequency = np.linspace(0.0, 0.5, count)
    value = record.psf.mtf(frequency)
    drawn = draw_psfs(record, seed=seed)
    if not drawn:
        return Band(frequency, value, value, value)
    low, high = np.percentile([psf.mtf(frequency) for psf in drawn], (5.0, 95.0), axis=0)
    return Band(frequency, value, np.asarray(low), np.asarray(high))


def _split(name: str) -> tuple[int, str]:
    """Component and field of a parameter's name such as ``components[0].radius_px``."""
    index, _, field = name.removeprefix("components[").partition("].")
    return int(index), field


def _parameter(psf: PSF, name: str) -> float:
    index, field = _split(name)
    return float(getattr(psf.components[index], field))


def _moved(psf: PSF, names: tuple[str, ...], values: FloatArray) -> PSF:
    components = list(psf.components)
    for name, value in zip(names, values, strict=True):
        index, field = _split(name)
        one: Any = components[index]
        try:
            components[index] = replace(one, **{field: float(value)})
        except PsfError:  # out of its range: lengths below 0, ratios above 1
            limited = max(0.0, min(1.0, float(value))) if field == "axis_ratio" else 0.0
            components[index] = replace(one, **{field: limited})
    return PSF(tuple(components))
