"""One look at a capture: its blur, its noise, and how to undo the one under the other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture import policy
from imagine_deblur.capture.cross_check import as_disk_and_gaussian, expected, windows
from imagine_deblur.capture.growth import power_growth
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.capture.ring_gain import RingGains, gains_for
from imagine_deblur.capture.ring_spectra import RingSpectra, ring_spectra
from imagine_deblur.errors import EstimationError
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.presets import cells, named_psf


def analyse(
    capture: Capture,
    given: Analysis | None,
    *,
    nsr: float | None,
    trained: Mapping[str, tuple[float, float]] | None = None,
    checked: bool = True,
    adapts: bool = True,
    raise_unknown: bool,
) -> Analysis:
    """Look at a capture once.

    Parameters
    ----------
    capture : Capture
    given : Analysis or None
        With the PSF that is given; None estimates it.
    nsr : float or None
        The noise-to-signal ratio that is given, for the PSF's own Wiener filters; None predicts
        the capture's gains.
    trained : mapping of str to (float, float), optional
        Ranges of the PSF that the network was trained for, see `ModelDescriptor.psf_range`.
    checked : bool
        Pass a capture through whose restoration would be wild, see `growth`, or which shows another
        blur than the given one, see `cross_check`.
    adapts : bool
        The model takes learned gains. Without them a blur of an uncertain kind is left alone.
    raise_unknown : bool
        Raise where the capture does not tell its blur; otherwise it is passed through.

    Raises
    ------
    EstimationError
        The capture does not tell its blur or would become wild, with `raise_unknown`.
    """
    found = policy.judged(given or _estimated(capture, raise_unknown=raise_unknown))
    found = policy.passed_if_small(found)
    if found.passed is not None or found.psf is None:
        return found
    found = policy.untold_if_of_another_kind(found)
    found = policy.kept_from_networks(found, trained)
    spectra = ring_spectra(capture.images()) if nsr is None or checked else None
    if nsr is not None:
        found = replace(found, filter_nsr=nsr)
    elif spectra is not None:
        gains = _gains(capture, spectra, found)
        found = replace(found, gains=gains, filter_nsr=gains.level)
    if found.unknown and (found.gains is None or not adapts):
        return found.passing("the blur is neither defocus nor linear motion")
    if not checked or spectra is None:
        return found
    judged = policy.passed_if_wild(found, power_growth(spectra, found))
    if given is not None and judged.passed is None:
        judged = _cross_checked(capture, spectra, judged, learned=adapts and not judged.untrained)
    if raise_unknown and judged.passed is not None:
        raise EstimationError(judged.passed, reason="wild")
    return judged


def _gains(capture: Capture, spectra: RingSpectra, found: Analysis) -> RingGains:
    """Learned gains of a capture whose blur is known."""
    from imagine_deblur.psf.estimation.quantisation_table import table_scalars

    assert found.psf is not None, "nothing is undone without a PSF"
    table = table_scalars(capture.quantisation, known=capture.quantisation is not None)
    facts = None if found.distribution is None else found.distribution.facts
    return gains_for(spectra, found.psf, table, moments=found.moments, facts=facts)


def _cross_checked(
    capture: Capture, spectra: RingSpectra, found: Analysis, *, learned: bool
) -> Analysis:
    """Hold a given PSF, or field, against what the capture shows, where it shows a round blur."""
    assert found.psf is not None, "nothing is undone without a PSF"
    round_ones = (as_disk_and_gaussian(psf) for psf in cells(found.psf))
    given = [psf for psf in round_ones if psf is not None]
    if len(given) < len(cells(found.psf)):
        return found
    own = _estimated(
        Capture(lambda: windows(capture.images()), capture.quantisation), raise_unknown=False
    )
    known = own.distribution
    if known is None or not policy.tells_round(known):
        return found
    if not all(policy.is_within_reach(psf, known) for psf in given):
        return found
    undone = found if learned else replace(found, gains=None)
    promised = expected(spectra, undone, given, known.moments, _gains(capture, spectra, own))
    return policy.passed_if_contradicted(found, own, promised)


def named_blur(value: PSF | PsfField | NDArray[Any] | str | os.PathLike[str]) -> Analysis:
    """Return the PSF that an option names, with what a record knows of its uncertainty.

    Parameters
    ----------
    value : PSF, PsfField, (K, K) ndarray, path or preset name

    Raises
    ------
    PsfError
        See `psf.presets.named_psf`.
    """
    named = named_psf(value)
    return Analysis(
        named.psf,
        named.source,
        None if named.distribution is None else named.distribution.confidence,
        distribution=named.distribution,
        moments=named.moments,
        standard_errors=named.standard_errors,
    )


def _estimated(capture: Capture, *, raise_unknown: bool) -> Analysis:
    from imagine_deblur.psf.estimation import estimate_psf  # 8 MB that a given PSF does not need

    try:
        estimate = estimate_psf(capture.images(), quantisation=capture.quantisation)
    except EstimationError as error:
        if raise_unknown:
            raise
        return Analysis().passing(str(error))
    names, covariance = estimate.uncertain
    return Analysis(
        estimate.psf,
        "estimated",
        estimate.confidence,
        distribution=estimate.distribution,
        moments=estimate.distribution.moments,
        standard_errors=dict(zip(names, np.sqrt(np.diagonal(covariance)).tolist(), strict=True)),
    )
