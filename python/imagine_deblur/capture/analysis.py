"""One look at a capture: its blur, its noise, and how to undo the one under the other."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture import policy
from imagine_deblur.capture.compression import shows_jpeg
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.capture.ring_gain import RingGains, gains_for
from imagine_deblur.capture.ring_spectra import ring_spectra
from imagine_deblur.errors import EstimationError
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.presets import named_psf


def analyse(
    capture: Capture, given: Analysis | None, *, nsr: float | None, raise_unknown: bool
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
    raise_unknown : bool
        Raise where the capture does not tell its blur; otherwise it is passed through.

    Raises
    ------
    EstimationError
        The capture does not tell its blur, with `raise_unknown`.
    """
    found = policy.judged(given or _estimated(capture, raise_unknown=raise_unknown))
    coded = capture.coded
    found = policy.passed_if_small(
        found, lambda: shows_jpeg(capture.images()) if coded is None else coded
    )
    if found.sharp or found.psf is None:
        return found
    if nsr is not None:
        return replace(found, filter_nsr=nsr)
    gains = _gains(capture, found)
    return replace(found, gains=gains, filter_nsr=None if gains is None else gains.level)


def _gains(capture: Capture, found: Analysis) -> RingGains | None:
    """Learned gains of a capture, None where it is too small to tell its spectrum."""
    from imagine_deblur.psf.estimation.quantisation_table import table_scalars

    spectra, known = ring_spectra(capture.images()), found.distribution
    if spectra is None or found.psf is None:
        return None
    table = table_scalars(capture.quantisation, known=capture.quantisation is not None)
    facts = None if known is None else known.facts
    return gains_for(spectra, found.psf, table, moments=found.moments, facts=facts)


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
        return Analysis(warnings=(f"passed through unrestored: {error}",))
    names, covariance = estimate.uncertain
    return Analysis(
        estimate.psf,
        "estimated",
        estimate.confidence,
        distribution=estimate.distribution,
        moments=estimate.distribution.moments,
        standard_errors=dict(zip(names, np.sqrt(np.diagonal(covariance)).tolist(), strict=True)),
    )
