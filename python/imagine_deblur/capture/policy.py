"""Every threshold by which a capture is judged, with the evidence for it, and what follows.

Figures named "training scenes" are of `data/train`; those named "validation scenes" are of
`data/val`. Nothing here was chosen on test scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from imagine_deblur.capture.result import Analysis
from imagine_deblur.psf.components import Disk, Gaussian, Sampled
from imagine_deblur.psf.models import PSF, Component
from imagine_deblur.psf.presets import cells

# ---- which blocks tell something -----------------------------------------------------------------

LEAST_BLOCK_STD = 1.5 / 255
"""Standard deviation of luma below which a block tells nothing of the scene's spectrum: rounding
alone makes 0.3 / 255."""

SATURATED_LUMA = 0.99
"""Luma from which a block holds clipped samples."""

# ---- the noise-to-signal ratio -------------------------------------------------------------------

MTF_PASSED = 0.7
"""MTF above which the scene is seen."""

MTF_STOPPED = 0.12
"""MTF below which it is not, so that what is there is noise."""

LEAST_NOISE_BINS = 100
"""Bins, of the half plane's 8,320, that must be stopped for the noise to be read off them."""

MEASURED_NSR_RANGE = (1e-5, 3.0)
"""Limits of a measured ratio: rounding of a scene of full contrast, and noise over the scene."""

FILTER_NSR_RANGE = (3e-4, 1.0)
"""Ratios the bundled networks saw in training."""

MOTION_LEAST_NSR = 0.1
"""Least ratio for motion. What is wrong at a frame's border, where half of each streak is missing,
comes back as stripes over many lengths of the streak, the further the smaller the ratio. On 67
training scenes of 400 px with the true PSF, 0.1 is worth 0.7 dB to the linear model (worst -0.8 dB,
not -6.5) and 0.3 dB to `fast` (worst +0.8 dB, not -3.4)."""

UNKNOWN_NSR = 3e-3
"""Ratio of a capture that does not tell its noise: the average of mild blurs without noise."""

# ---- which network -------------------------------------------------------------------------------

CLEAN_NOISE = 5.5
"""Noise variance of clean captures, at most, in units of what rounding to 8 bits adds. It tells all
32 validation scenes of six protocols apart."""

CODER_HIDDEN_MTF = 0.1
"""MTF at Nyquist below which a coder leaves too few coefficients to see its steps by."""

# ---- the blur ------------------------------------------------------------------------------------

OTHER_KIND = 0.12
"""Probability that a blur is of another kind than the estimate's, from which it is left alone.
Shaken training scenes that undoing a round blur harmed all had 0.15 and more; of 373 round ones
none had 0.02."""

DOUBTFUL = 0.25
"""Confidence below which a blind estimate is reported as such."""

SURE = 0.9
"""Confidence from which an estimated blur is undone in full however noisy the capture is."""

NOISY = 0.05
"""Noise-to-signal ratio at Nyquist above which an unsure blur is not undone in full."""

HOPELESS = 1.0
"""Noise-to-signal ratio at Nyquist above which a capture with an unsure blur is passed through."""

UNSURE_WIDTH = 0.8
"""Share of an unsure blur's width that is undone in a noisy capture."""

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


def shrink_uncertain(found: Analysis) -> Analysis:
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
    found : Analysis
        With its `measured_nsr` and `confidence`.

    Returns
    -------
    Analysis
        With a warning where it was narrowed, or taken away.
    """
    nsr = found.measured_nsr
    if not found.blind or found.clean or nsr is None or nsr <= NOISY:
        return found
    if found.confidence is not None and found.confidence >= SURE:
        return found
    if isinstance(found.psf, PSF) and found.psf.moves:
        return found
    if nsr > HOPELESS:
        warning = "passed through unrestored: the capture holds more noise than detail"
        return replace(found, psf=None, psf_source="none", warnings=(*found.warnings, warning))
    if not isinstance(found.psf, PSF) or not found.psf.components:
        return found
    warning = (
        f"noisy capture (noise-to-signal ratio {nsr:.2g}): the estimated blur is undone at "
        f"{100 * UNSURE_WIDTH:.0f} % of its width"
    )
    return replace(
        found,
        psf=PSF(tuple(_narrowed(part, UNSURE_WIDTH) for part in found.psf.components)),
        warnings=(*found.warnings, warning),
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
