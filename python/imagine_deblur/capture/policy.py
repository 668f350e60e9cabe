"""Every threshold by which a capture is judged, with the evidence for it, and what follows.

Figures named "training scenes" are of `data/train`; those named "validation scenes" are of
`data/val`. Nothing here was chosen on test scenes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.cross_check import Expected, width_of, width_told
from imagine_deblur.capture.result import Analysis
from imagine_deblur.psf.components import Disk, Gaussian
from imagine_deblur.psf.distribution import PsfDistribution
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.presets import cells

# ---- the blur ------------------------------------------------------------------------------------

OTHER_KIND, SURELY_OTHER = 0.12, 0.3
"""Probability that a blur is of another kind than the estimate's, from which the estimate is not
believed, and from which the capture is left alone.

Shaken training scenes that undoing a round blur harmed all had 0.15 and more; of 373 round ones
none had 0.02. Between the two the learned gains, which know that probability, restore what the
spectrum asks for: of 119 captures of training scenes that were round, most of them of low contrast
through a camera, they made 2 worse by over 0.1 dB and gained 2.3 dB on average; on 18 that were
shaken +0.3 dB, the worst -0.2. Above, they harmed 14 of 106 shaken ones, by up to 1.6 dB.
"""

DOUBTFUL = 0.25
"""Confidence below which a blind estimate is reported as such."""

SURE = 0.9
"""Confidence from which an estimated blur counts as sure."""

SHARP_MTF = {"given": 0.95, "sure": 0.6, "unsure": 0.85}
"""MTF at Nyquist's frequency from which a blur counts as too small to undo.

Small blurs are hard to measure (`bench/bench_small_blurs.py`), but the gains weigh everything that
is held possible, so an unsure one need not be left alone for what JPEG may have taken: where that
was the rule, from an MTF of 0.1, restoring instead gained 0.13 dB on average over 14 coded captures
of validation scenes (disks of 0 to 1.2 px; 2 of them lost more than 0.1, the worst 0.59), and 0.7
and 3.2 dB on two of `camera-low`.
"""


MOST_GROWTH = 40.0
"""`growth.power_growth` from which no scene is behind a restoration. On 133 captures of training
scenes under `imagine`, `defocus` and `defocus+` the true PSF gives 28 at most and an estimated one
30: scenes whose power falls slower than 1 / f^2, blurred widely and without noise. On the same
captures a disk of 20 px gives 86 and more, one of 50 px 274. Under `imagine` twice the true radius
gives 96 and more, 1.5 times 60 on all but one; in haze through a camera a disk of 20 px may give 31
and twice the radius 3."""

MOST_REFUTED = 0.5
"""Share of blocks that may fail the reblur check. In restorations of 16 validation scenes with
the true or an estimated PSF the largest was 0.04; with a disk of 20 or 50 px nearly all fail."""

LEAST_PROMISED, OWN_IS_RIGHT, OWN_IS_BETTER, SAME_WIDTH = -0.3, 1.0, 0.5, 0.1
"""`cross_check.Expected`, dB: a given PSF that promises less than the first, and less than the
capture's own blur by the second, is not undone; one that promises less than the capture's own by
the third is warned of, if its width differs by more than the fourth.

Disks and Gaussians at 0.5 to 2 times their true width on 124 draws of validation and training
scenes, through a camera or not: of 213 restorations that are over 0.1 dB worse than their capture,
the worst by 19 dB, 161 are passed through and 15 come with the warning. Of 126 that this check
could judge 10 come without. Nine that gained are passed through too. With the true PSF one is
passed through, of five with a second bound of 0.5, and four are warned of. The twelve ISS captures
promise +0.4 to +0.9 dB with a radius of 3.9 px, and +0.0 to -4.1 dB with 6.8 px.
"""

LEAST_TOLD = 0.1
"""Confidence below which what a capture shows is not held against a given PSF. A synthetic scene
with disks of 1.5 px and noise of 0.02 came out at 0.04 and would have been refused its own blur,
which gains 0.9 dB. On 72 validation draws, undone at 1.4 and 2 times their width, 113 instead of
117 are refused with this bound, 99 with one of 0.2.
"""

WIDEST_TOLD = 4.0
"""Largest rms width, px, that estimation knows: disks to a radius of 9 px, Gaussians to 4 px."""

NARROWEST_MISTAKEN = ((0.9, 3.9), (0.5, 3.6))
"""Confidences, and rms widths, px, below which an estimate that sure is not of a blur wider than
estimation knows. On 300 pieces of training scenes of all sorts, with noise, JPEG and cameras or
not, disks of 9.5 to 20 px and Gaussians of 4.5 to 8 px came out at 3.99 px or more where the
confidence was 0.9 (16 of them) and at 3.64 px or more where it was 0.5 (55). Less sure estimates
were of any width."""


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
    if known.family == "shake" or known.facts[2] > SURELY_OTHER:
        found = replace(found, psf=PSF(()), moments=None)
        return found.passing("the blur is neither defocus nor linear motion")
    if known.confidence >= DOUBTFUL:
        return found
    warning = (
        f"the estimated blur is doubtful (confidence {known.confidence:.2f}): estimate it from "
        "several captures and give the record"
    )
    return replace(found, warnings=(*found.warnings, warning))


def passed_if_small(found: Analysis) -> Analysis:
    """Pass a capture through whose blur is too small to undo: that could only harm."""
    if found.psf is None or found.passed is not None:
        return found
    least = min(psf.mtf_nyquist() for psf in cells(found.psf))
    kind = "given"
    if found.blind:
        kind = "sure" if (found.confidence or 0.0) >= SURE else "unsure"
    if least < SHARP_MTF[kind]:
        return found
    return found.passing("there is no blur to undo")


def untold_if_of_another_kind(found: Analysis) -> Analysis:
    """Set an estimate aside that may be of a blur of another kind, see `OTHER_KIND`.

    What is held possible of a round blur stays in `Analysis.moments`, for the learned gains.
    """
    known = found.distribution
    if known is None or found.passed is not None or known.facts[2] <= OTHER_KIND:
        return found
    warning = (
        "the blur may be neither defocus nor linear motion: no PSF is undone, only what the "
        "capture's spectrum asks for"
    )
    warnings = (*found.warnings, warning)
    return replace(found, psf=PSF(()), unknown=True, standard_errors={}, warnings=warnings)


def kept_from_networks(
    found: Analysis, trained: Mapping[str, tuple[float, float]] | None
) -> Analysis:
    """Mark a blur beyond what a network was trained for as `Analysis.untrained`, with a warning.

    Parameters
    ----------
    found : Analysis
        With its PSF; any cell of a field counts.
    trained : mapping of str to (float, float) or None
        The most it saw of ``disk_radius_px``, ``gaussian_sigma_px`` and ``motion_length_px``; what
        it does not name is not judged. None where there is no network.
    """
    for psf in cells(found.psf) if found.psf is not None and trained else ():
        for part in psf.components:
            for field in fields(part):
                name = f"{part.kind}_{field.name}"
                value = getattr(part, field.name)
                if trained is not None and name in trained and value > trained[name][1]:
                    warning = (
                        f"a blur of {name} = {value:.4g} is beyond the {trained[name][1]:.4g} px "
                        "that the network was trained for: it is left to the linear model"
                    )
                    return replace(found, untrained=True, warnings=(*found.warnings, warning))
    return found


def passed_if_wild(found: Analysis, growth: float) -> Analysis:
    """Pass a capture through whose restoration would be wilder than the capture can hold.

    Parameters
    ----------
    found : Analysis
    growth : float
        See `growth.power_growth`.
    """
    if growth <= MOST_GROWTH:
        return found
    cure = "estimate it from several captures and give the record"
    if not found.blind:
        cure = "the blur is another; leave the PSF out to have it estimated"
    return found.passing(
        f"undoing this blur would make {growth:.0f} times the detail that the capture's large "
        f"structures go with (at most {MOST_GROWTH:.0f}): {cure}"
    )


def tells_round(known: PsfDistribution) -> bool:
    """Whether a capture's own estimate is of a round blur, and says anything."""
    told = known.family == "round" and known.confidence >= LEAST_TOLD
    return told and known.facts[1] + known.facts[2] <= OTHER_KIND


def is_within_reach(psf: PSF, known: PsfDistribution) -> bool:
    """Whether estimation would have told a given PSF, had it been the capture's.

    Blurs wider than it knows come out as narrower ones.

    Parameters
    ----------
    psf : PSF
        The given one.
    known : PsfDistribution
        What the capture holds possible.
    """
    if width_of(psf) <= WIDEST_TOLD:
        return True
    width = width_told(known.moments)
    return any(known.confidence >= sure and width < least for sure, least in NARROWEST_MISTAKEN)


def passed_if_contradicted(found: Analysis, own: Analysis, promised: Expected) -> Analysis:
    """Pass a capture through that a given PSF would harm; warn where its own blur promises more.

    Parameters
    ----------
    found : Analysis
        With the PSF that is given.
    own : Analysis
        What the capture itself shows.
    promised : Expected
    """
    if promised.own_db - promised.given_db <= OWN_IS_BETTER:
        return found
    shown = f"the capture shows {_in_words(own)}; leave the PSF out to have it estimated"
    if promised.given_db < LEAST_PROMISED and promised.own_db - promised.given_db > OWN_IS_RIGHT:
        return found.passing(
            f"undoing the given blur would add errors ({promised.given_db:+.1f} dB): {shown}"
        )
    if abs(promised.wider - 1.0) <= SAME_WIDTH:
        return found
    warning = f"the given blur is not the capture's: {shown}"
    return replace(found, warnings=(*found.warnings, warning))


def _in_words(own: Analysis) -> str:
    part = own.psf.components[0] if isinstance(own.psf, PSF) and own.psf.components else None
    if isinstance(own.psf, PSF) and own.psf.mtf_nyquist() > SHARP_MTF["unsure"]:
        return "hardly any blur"
    if isinstance(part, Disk):
        return f"a defocus with a radius of {part.radius_px:.2f} px"
    if isinstance(part, Gaussian):
        return f"a Gaussian blur with a sigma of {part.sigma_px:.2f} px"
    return "another blur"


def passed_if_refuted(found: Analysis, blocks: NDArray[np.uint8]) -> Analysis:
    """Pass a capture through whose restoration fails the reblur check on most blocks.

    Parameters
    ----------
    found : Analysis
    blocks : (n, m) uint8 ndarray
        What became of each block; 1 is one whose restoration, blurred again, was not the capture.
    """
    share = float(np.mean(blocks == 1))
    if share <= MOST_REFUTED:
        return found
    return found.passing(
        f"{share:.0%} of the blocks, blurred again, are not the capture: the blur is another, or "
        "the model does not fit"
    )
