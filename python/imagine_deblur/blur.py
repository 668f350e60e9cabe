"""From what the user said about the blur to a PSF."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.components import Gaussian
from imagine_deblur.psf.field import PsfField, is_field, load_field
from imagine_deblur.psf.models import PSF

_NUMBER = r"([0-9]+(?:\.[0-9]*)?)"
_DISK = re.compile(rf"disk:{_NUMBER}(?:,{_NUMBER})?")
_GAUSS = re.compile(rf"gauss:{_NUMBER}")


@dataclass(frozen=True)
class Blur:
    """A PSF and where it came from.

    Attributes
    ----------
    psf : PSF, PsfField or None
        None when the capture does not tell and should be passed through.
    source : {"estimated", "given", "record", "preset", "none"}
    confidence : float or None
        Of an estimate, in [0, 1].
    nsr : float or None
        Noise-to-signal ratio at Nyquist that the capture asks for, see `linear.noise`.
    warnings : tuple of str
    """

    psf: PSF | PsfField | None
    source: str
    confidence: float | None = None
    nsr: float | None = None
    warnings: tuple[str, ...] = ()


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


def given_blur(value: PSF | PsfField | NDArray[Any] | str | os.PathLike[str]) -> Blur:
    """Return the blur the user named.

    Parameters
    ----------
    value : PSF, PsfField, (K, K) ndarray, path or preset name
        See `Options.psf`.

    Raises
    ------
    PsfError
        Neither a preset nor a readable record, or an impossible kernel.
    """
    if isinstance(value, PSF | PsfField):
        return Blur(value, "given")
    if isinstance(value, np.ndarray):
        return Blur(PSF.sampled(value), "given")
    text = os.fspath(value)
    if (preset := parse_preset(text)) is not None:
        return Blur(preset, "preset")
    from imagine_deblur.psf.record import load_record

    if not Path(text).exists():
        raise PsfError(
            f"{text!r} is neither a PSF record nor a preset such as 'disk:6.8', 'disk:6.8,0.5' or "
            "'gauss:2.0' (lengths in px)"
        )
    if is_field(text):
        return Blur(load_field(text), "record")
    return Blur(load_record(text).psf, "record")
