"""From what the user said about the blur to a PSF."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.compression import shows_jpeg
from imagine_deblur.errors import PsfError
from imagine_deblur.psf.components import Disk, Gaussian, Motion, Sampled
from imagine_deblur.psf.field import PsfField, is_field, load_field
from imagine_deblur.psf.models import PSF, Component

_NUMBER = r"([0-9]+(?:\.[0-9]*)?)"
_DISK = re.compile(rf"disk:{_NUMBER}(?:,{_NUMBER})?")
_GAUSS = re.compile(rf"gauss:{_NUMBER}")


MAX_EXTENT_PX = 256
"""Half-width of the widest blur accepted, px: its kernel's grid then takes about 65 MB."""

MAX_COMPONENTS = 16


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
        Noise-to-signal ratio at Nyquist that the capture shows, see `capture.noise`.
    level : float or None
        Base ratio of the bank that suits the capture best, see `capture.nsr`.
    clean : bool
        Rounding is most of the capture's noise, see `imagine_deblur.capture.noise_class`.
    sharp : bool
        The blur is so small that undoing it could only harm: the capture is passed through.
    warnings : tuple of str
    """

    psf: PSF | PsfField | None
    source: str
    confidence: float | None = None
    nsr: float | None = None
    level: float | None = None
    clean: bool = False
    sharp: bool = False
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
        Neither a preset nor a readable record, an impossible kernel, or a blur that is too wide
        to be undone (over 256 px from its centre) or has over 16 components.
    """
    blur = _named_blur(value)
    for psf in _cells(blur.psf or PSF()):
        if len(psf.components) > MAX_COMPONENTS:
            raise PsfError(f"a PSF of {len(psf.components)} components; at most {MAX_COMPONENTS}")
        if psf.extent_px > MAX_EXTENT_PX:
            raise PsfError(
                f"a PSF that reaches {psf.extent_px:.0f} px from its centre cannot be undone: the "
                f"linear stage works with at most {MAX_EXTENT_PX} px"
            )
    return blur


def _cells(psf: PSF | PsfField) -> list[PSF]:
    """The PSFs of a field, or the one of the whole frame."""
    return [psf] if isinstance(psf, PSF) else [cell for _, _, cell in psf.cells]


def _named_blur(value: PSF | PsfField | NDArray[Any] | str | os.PathLike[str]) -> Blur:
    if isinstance(value, PSF | PsfField):
        return Blur(value, "given")
    if isinstance(value, np.ndarray):
        return Blur(PSF.sampled(value), "given")
    if not isinstance(value, str | os.PathLike):
        raise PsfError(f"psf={value!r} is not a PSF, a kernel, a record's path or a preset's name")
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


NOISY = 0.05
"""Noise-to-signal ratio at Nyquist above which an unsure blur is not undone in full."""

SURE = 0.9
"""Confidence from which an estimated blur is undone in full however noisy the capture is."""

HOPELESS = 1.0
"""Noise-to-signal ratio at Nyquist above which a capture with an unsure blur is passed through."""

UNSURE_WIDTH = 0.8
"""Share of an unsure blur's width that is undone in a noisy capture."""


SHARP_MTF = {"given": 0.95, "sure": 0.6, "unsure": 0.85, "unsure, coded": 0.1}
"""MTF at Nyquist's frequency from which a blur counts as too small to undo.

Small blurs are hard to measure, and what JPEG took from the finest detail cannot be had back: from
unsure estimates of MTF 0.1 to 0.5, restoring what had been JPEG lost 0.5 dB on average on scenes of
`data/train`, and up to 4; what never had been gained 5 (`bench/bench_small_blurs.py`).
"""


def passed_if_small(blur: Blur, images: Sequence[NDArray[Any]], coded: bool | None = None) -> Blur:
    """Mark a blur that is too small to undo as `Blur.sharp`, with a warning.

    Parameters
    ----------
    blur : Blur
    images : sequence of (R, C, 3) uint8 or float32 ndarray
        The capture, or parts of it; looked at where it matters whether it was JPEG.
    coded : bool, optional
        Whether the capture was JPEG, where that is known.
    """
    if blur.psf is None:
        return blur
    least = min(psf.mtf_nyquist() for psf in _cells(blur.psf))
    kind = "given"
    if blur.source == "estimated":
        kind = "sure" if (blur.confidence or 0.0) >= SURE else "unsure"
    sharp = least >= SHARP_MTF[kind]
    if kind == "unsure" and not sharp and least >= SHARP_MTF["unsure, coded"]:
        sharp = shows_jpeg(images) if coded is None else coded
    if not sharp:
        return blur
    warning = "passed through unrestored: there is no blur to undo"
    return replace(blur, sharp=True, warnings=(*blur.warnings, warning))


def tempered(blur: Blur) -> Blur:
    """Narrow an estimated blur that is unsure and whose capture is too noisy to undo it in full.

    An estimate is the width of the blur, not proof that the capture still holds what the blur's
    tails spread, nor of its shape. Where the ratio is above `NOISY` and the confidence below
    `SURE`, the disk and the Gaussian are narrowed to `UNSURE_WIDTH`. Undoing too little of a blur
    leaves softness; undoing too much makes dark rims around clouds. Above `HOPELESS` there is
    nothing but noise to undo it on.
    Motion, whose estimate carries no such confidence, blurs that were given and clean captures,
    which have nothing but little contrast to make the ratio large, are left as they are.

    Parameters
    ----------
    blur : Blur
        With its `nsr` and `confidence`.

    Returns
    -------
    Blur
        With a warning where it was narrowed, or taken away.
    """
    if blur.source != "estimated" or blur.clean or blur.nsr is None or blur.nsr <= NOISY:
        return blur
    if blur.confidence is not None and blur.confidence >= SURE:
        return blur
    if isinstance(blur.psf, PSF) and any(isinstance(c, Motion) for c in blur.psf.components):
        return blur
    if blur.nsr > HOPELESS:
        warning = "passed through unrestored: the capture holds more noise than detail"
        return replace(blur, psf=None, source="none", warnings=(*blur.warnings, warning))
    if not isinstance(blur.psf, PSF) or not blur.psf.components:
        return blur
    warning = (
        f"noisy capture (noise-to-signal ratio {blur.nsr:.2g}): the estimated blur is undone at "
        f"{100 * UNSURE_WIDTH:.0f} % of its width"
    )
    return replace(
        blur,
        psf=PSF(tuple(_narrowed(part, UNSURE_WIDTH) for part in blur.psf.components)),
        warnings=(*blur.warnings, warning),
    )


def _narrowed(part: Component, factor: float) -> Component:
    """Scale a component's width; a sampled kernel becomes the Gaussian of its scaled rms width."""
    if isinstance(part, Disk):
        return replace(part, radius_px=part.radius_px * factor)
    if isinstance(part, Gaussian):
        return replace(part, sigma_px=part.sigma_px * factor)
    if isinstance(part, Sampled):
        offset = np.arange(part.kernel.shape[0]) - part.kernel.shape[0] // 2
        variance = float((part.kernel.sum(axis=0) * offset**2).sum())
        return Gaussian(factor * variance**0.5)
    return part
