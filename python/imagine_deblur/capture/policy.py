"""Every threshold by which a capture is judged, with the evidence for it, and what follows.

Figures named "training scenes" are of `data/train`; those named "validation scenes" are of
`data/val`. Nothing here was chosen on test scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from imagine_deblur.capture.result import Analysis
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.presets import cells

# ---- the blur ------------------------------------------------------------------------------------

OTHER_KIND = 0.12
"""Probability that a blur is of another kind than the estimate's, from which it is left alone.
Shaken training scenes that undoing a round blur harmed all had 0.15 and more; of 373 round ones
none had 0.02."""

DOUBTFUL = 0.25
"""Confidence below which a blind estimate is reported as such."""

SURE = 0.9
"""Confidence from which an estimated blur counts as sure."""

SHARP_MTF = {"given": 0.95, "sure": 0.6, "unsure": 0.85, "unsure, coded": 0.1}
"""MTF at Nyquist's frequency from which a blur counts as too small to undo.

Small blurs are hard to measure, and what JPEG took from the finest detail cannot be had back: from
unsure estimates of MTF 0.1 to 0.5, restoring what had been JPEG lost 0.5 dB on average on training
scenes, and up to 4; what never had been gained 5 (`bench/bench_small_blurs.py`).
"""


def judged(found: Analysis) -> Analysis:
    """Leave alone a blind blur that is neither round nor linear motion; warn of a doubtful one.

    Parameters
    ----------
    found : Analysis
        With a frame's own estimate, or with that of a record: one policy for both.
    """
    known = found.distribution
    if known is None:
        return found
    if known.family == "shake" or known.facts[2] > OTHER_KIND:
        warning = "the blur is neither defocus nor linear motion: it was not undone"
        return replace(found, psf=PSF(()), moments=None, warnings=(*found.warnings, warning))
    if known.confidence >= DOUBTFUL:
        return found
    warning = (
        f"the estimated blur is doubtful (confidence {known.confidence:.2f}): estimate it from "
        "several captures and give the record"
    )
    return replace(found, warnings=(*found.warnings, warning))


def passed_if_small(found: Analysis, coded: Callable[[], bool]) -> Analysis:
    """Mark a blur that is too small to undo as `Analysis.sharp`, with a warning.

    Parameters
    ----------
    found : Analysis
    coded : callable
        Tells whether the capture was JPEG; called only where that decides.
    """
    if found.psf is None:
        return found
    least = min(psf.mtf_nyquist() for psf in cells(found.psf))
    kind = "given"
    if found.blind:
        kind = "sure" if (found.confidence or 0.0) >= SURE else "unsure"
    sharp = least >= SHARP_MTF[kind]
    if kind == "unsure" and not sharp and least >= SHARP_MTF["unsure, coded"]:
        sharp = coded()
    if not sharp:
        return found
    warning = "passed through unrestored: there is no blur to undo"
    return replace(found, sharp=True, warnings=(*found.warnings, warning))
