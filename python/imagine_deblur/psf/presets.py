"""The PSF a user names: a preset, a record, a sampled kernel."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.components import Gaussian
from imagine_deblur.psf.distribution import PsfDistribution
from imagine_deblur.psf.field import PsfField, is_field, load_field
from imagine_deblur.psf.models import MAX_COMPONENTS, PSF
from imagine_deblur.psf.otf_moments import OtfMoments
from imagine_deblur.psf.record import load_record
from imagine_deblur.psf.uncertainty import moments_of_record

_NUMBER = r"([0-9]+(?:\.[0-9]*)?)"
_DISK = re.compile(rf"disk:{_NUMBER}(?:,{_NUMBER})?")
_GAUSS = re.compile(rf"gauss:{_NUMBER}")

MAX_EXTENT_PX = 256
"""Half-width of the widest blur accepted, px: its kernel's grid then takes about 65 MB."""


@dataclass(frozen=True)
class NamedPsf:
    """A PSF and what named it.

    Attributes
    ----------
    psf : PSF or PsfField
    source : {"given", "record", "preset"}
    moments : OtfMoments or None
        Of the OTF over what a record holds possible; None where the PSF is taken as certain.
    distribution : PsfDistribution or None
        Of a record that was estimated blindly.
    standard_errors : dict
        See `Record.standard_errors`.
    """

    psf: PSF | PsfField
    source: str
    moments: OtfMoments | None = None
    distribution: PsfDistribution | None = None
    standard_errors: Mapping[str, float] = field(default_factory=dict)


def parse_preset(text: str) -> PSF | None:
    """Return the PSF of ``"disk:R"``, ``"disk:R,SIGMA"`` or ``"gauss:SIGMA"`` (px), else None.

    Examples
    --------
    >>> parse_preset("disk:6.8") == PSF.defocus(6.8)
    True
    >>> parse_preset("lens.json") is None
    True
    """
    if match := _DISK.fullmatch(text):
        return PSF.defocus(float(match[1]), float(match[2]) if match[2] else 0.5)
    if match := _GAUSS.fullmatch(text):
        return PSF((Gaussian(float(match[1])),))
    return None


def named_psf(value: PSF | PsfField | NDArray[Any] | str | os.PathLike[str]) -> NamedPsf:
    """Return the PSF the user named.

    Parameters
    ----------
    value : PSF, PsfField, (K, K) ndarray, path or preset name
        See `Options.psf`.

    Raises
    ------
    PsfError
        Neither a preset nor a readable record, an impossible kernel, or a blur that is too wide
        to be undone (over 256 px from its centre) or has over 16 components.
    """
    named = _named(value)
    for psf in cells(named.psf):
        if len(psf.components) > MAX_COMPONENTS:
            raise PsfError(f"a PSF of {len(psf.components)} components; at most {MAX_COMPONENTS}")
        if psf.extent_px > MAX_EXTENT_PX:
            raise PsfError(
                f"a PSF that reaches {psf.extent_px:.0f} px from its centre cannot be undone: the "
                f"linear stage works with at most {MAX_EXTENT_PX} px"
            )
    return named


def cells(psf: PSF | PsfField) -> list[PSF]:
    """Return the PSFs of a field, or the one of the whole frame."""
    return [psf] if isinstance(psf, PSF) else [cell for _, _, cell in psf.cells]


def _named(value: PSF | PsfField | NDArray[Any] | str | os.PathLike[str]) -> NamedPsf:
    if isinstance(value, PSF | PsfField):
        return NamedPsf(value, "given")
    if isinstance(value, np.ndarray):
        return NamedPsf(PSF.sampled(value), "given")
    if not isinstance(value, str | os.PathLike):
        raise PsfError(f"psf={value!r} is not a PSF, a kernel, a record's path or a preset's name")
    text = os.fspath(value)
    if (preset := parse_preset(text)) is not None:
        return NamedPsf(preset, "preset")
    if not Path(text).exists():
        raise PsfError(
            f"no file is named {text!r}, and it is no preset such as 'disk:6.8', 'disk:6.8,0.5' or "
            "'gauss:2.0' (lengths in px)"
        )
    if is_field(text):
        return NamedPsf(load_field(text), "record")
    record = load_record(text)
    return NamedPsf(
        record.psf,
        "record",
        moments_of_record(record),
        record.distribution,
        record.standard_errors,
    )
