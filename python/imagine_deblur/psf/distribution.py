"""What captures told of a blur, as a distribution that a record can hold.

An estimate is more than its most probable PSF: two pairs of radius and sigma may be nearly as
likely, and the filter of least expected error (`otf_moments`) weighs them all. A frame's own
estimate and a record's joint one are both a `PsfDistribution`, so that they are undone alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.otf_moments import (
    OtfMoments,
    moments_of_independent,
    moments_of_mixture,
)

FloatArray = npt.NDArray[np.float64]

FAMILIES = ("round", "motion", "shake")
FACTS = 5
NO_DISK_PX = 0.4
"""Disks with smaller radii cannot be told from none."""

GAUSSIAN_DEVIATION = 0.5
"""Factor on the deviation of the transfer function over sigma, where there is no disk.

Sigma's distribution is wide for the cases in which a disk was taken for a Gaussian: of 15 captures
of `gauss+` with sigmas up to 2.6 px the truth was within 0.7 of the deviation in 14.
"""

_LEAST_SHARE = 1e-6  # of the largest probability; what is left out moves no moment by 1e-4
_LONGEST = 4096
_LARGEST_PX = 1000.0
_PART = ("radius_px", "radius_probability", "sigma_px", "sigma_probability")
_FIELDS = {"parts", "family", "confidence", "facts", "id"}


@dataclass(frozen=True, eq=False)
class RoundPart:
    """Disks times Gaussians whose radius and sigma are independent of each other.

    Attributes
    ----------
    radius_px, radius_probability : (n,) float64 ndarray
        Probabilities of all parts of a distribution together have the sum 1.
    sigma_px, sigma_probability : (m,) float64 ndarray
        Probabilities have the sum 1.
    """

    radius_px: FloatArray
    radius_probability: FloatArray
    sigma_px: FloatArray
    sigma_probability: FloatArray

    @property
    def probability(self) -> float:
        """Of the whole part."""
        return float(self.radius_probability.sum())

    @property
    def moments(self) -> OtfMoments:
        """Moments of the transfer function, if this part is the right one."""
        probability = self.radius_probability / self.probability
        found = moments_of_independent(
            self.radius_px, probability, self.sigma_px, self.sigma_probability
        )
        if self.radius_px.max() >= NO_DISK_PX:
            return found
        return OtfMoments(found.mean, GAUSSIAN_DEVIATION * found.deviation)


@dataclass(frozen=True, eq=False)
class PsfDistribution:
    """A blind estimate, of one capture or of several, as far as restoring needs it.

    Attributes
    ----------
    parts : tuple of RoundPart
        Without a disk, and with one.
    family : {"round", "motion", "shake"}
    confidence : float
        See `estimation.Estimate.confidence`.
    facts : (5,) float64 ndarray
        Probabilities of a round blur, linear motion, shake and a kernel cut to 15x15 px, and the
        predicted natural logarithm of the noise amplitude plus 6.
    """

    parts: tuple[RoundPart, ...]
    family: str
    confidence: float
    facts: FloatArray

    @cached_property
    def moments(self) -> OtfMoments:
        """Moments of the transfer function over the whole distribution of radius and sigma."""
        return moments_of_mixture(
            [(part.probability, part.moments) for part in self.parts if part.probability > 0]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values without what is all but impossible, see `from_dict`."""
        values: dict[str, Any] = {
            "parts": [_plain(part) for part in self.parts],
            "family": self.family,
            "confidence": float(self.confidence),
            "facts": _listed(self.facts),
        }
        return values | {"id": _digest(values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PsfDistribution:
        """The distribution that `to_dict` described.

        Raises
        ------
        PsfError
            A field is missing, unknown, out of range or damaged; the message names it.
        """
        if not isinstance(values, Mapping) or set(values) != _FIELDS:
            raise PsfError(f"field 'distribution' must hold {', '.join(sorted(_FIELDS))}")
        told = {name: value for name, value in values.items() if name != "id"}
        if values["id"] != _digest(told):
            raise PsfError("field 'distribution.id' does not match its content: it is damaged")
        if values["family"] not in FAMILIES:
            raise PsfError(
                f"field 'distribution.family' is {values['family']!r}; known: {FAMILIES}"
            )
        confidence = _numbers([values["confidence"]], "confidence", 0.0, 1.0)[0]
        facts = _numbers(values["facts"], "facts", -1e6, 1e6)
        if facts.size != FACTS:
            raise PsfError(f"field 'distribution.facts' must be {FACTS} numbers")
        listed = values["parts"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= 16:
            raise PsfError("field 'distribution.parts' must be a list of 1 to 16 parts")
        parts = tuple(_part(part) for part in listed)
        _check_sum(np.concatenate([part.radius_probability for part in parts]), "radius")
        return cls(parts, values["family"], float(confidence), facts)


def _plain(part: RoundPart) -> dict[str, list[float]]:
    kept: dict[str, list[float]] = {}
    for name in ("radius", "sigma"):
        probability = getattr(part, f"{name}_probability")
        likely = probability > _LEAST_SHARE * probability.max()
        share = probability[likely] * (probability.sum() / probability[likely].sum())
        kept[f"{name}_px"] = _listed(getattr(part, f"{name}_px")[likely])
        kept[f"{name}_probability"] = _listed(share)
    return kept


def _listed(values: FloatArray) -> list[float]:
    """Numbers to seven digits: a record is read by people too."""
    return [float(f"{value:.7g}") for value in values]


def _part(stored: object) -> RoundPart:
    if not isinstance(stored, Mapping) or set(stored) != set(_PART):
        raise PsfError(f"field 'distribution.parts' must hold {', '.join(_PART)}")
    ends = {"px": _LARGEST_PX, "probability": 1.0}
    arrays = [_numbers(stored[n], f"parts.{n}", 0.0, ends[n.partition("_")[2]]) for n in _PART]
    if arrays[0].size != arrays[1].size or arrays[2].size != arrays[3].size:
        raise PsfError("field 'distribution.parts': lengths and probabilities differ in number")
    _check_sum(arrays[3], "sigma")
    return RoundPart(*arrays)


def _numbers(stored: object, name: str, low: float, high: float) -> FloatArray:
    if not isinstance(stored, list) or not 1 <= len(stored) <= _LONGEST:
        raise PsfError(f"field 'distribution.{name}' must be 1 to {_LONGEST} numbers")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in stored):
        raise PsfError(f"field 'distribution.{name}' must hold numbers only")
    try:
        values = np.asarray(stored, dtype=np.float64)
    except OverflowError as error:
        raise PsfError(f"field 'distribution.{name}' is beyond any float") from error
    if not ((values >= low) & (values <= high)).all():
        raise PsfError(f"field 'distribution.{name}' must lie between {low:g} and {high:g}")
    return values


def _check_sum(probability: FloatArray, name: str) -> None:
    if not abs(float(probability.sum()) - 1.0) < 1e-3:
        raise PsfError(f"field 'distribution.parts.{name}_probability' must have the sum 1")


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
