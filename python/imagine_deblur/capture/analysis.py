"""One look at a capture: its blur, its noise, and how to undo the one under the other."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture import policy
from imagine_deblur.capture.compression import shows_jpeg
from imagine_deblur.capture.noise import is_clean
from imagine_deblur.capture.nsr import filter_nsr, measured_nsr
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.capture.ring_gain import FACTS, bundled_regressor, scalar_inputs
from imagine_deblur.capture.ring_spectra import ring_spectra
from imagine_deblur.capture.spectrum import mean_power
from imagine_deblur.errors import EstimationError
from imagine_deblur.psf.components import Sampled
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.otf_moments import moments_of_psf
from imagine_deblur.psf.presets import named_psf
from imagine_deblur.restoration.gains import PlaneGain


def analyse(
    capture: Capture,
    given: Analysis | None,
    *,
    nsr: float | None,
    wants_clean: bool,
    wants_gains: bool = False,
    raise_unknown: bool,
) -> Analysis:
    """Look at a capture once.

    Parameters
    ----------
    capture : Capture
    given : Analysis or None
        With the PSF that is given; None estimates it.
    nsr : float or None
        The ratio that is given; None measures it.
    wants_clean : bool
        The model has another network for clean captures, so that it matters which this is.
    wants_gains : bool
        The model is linear: predict its gains, where the blur does not depend on direction.
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
    psf = found.psf
    if found.sharp or psf is None:
        return found
    if (wants_clean or found.blind) and not coded:
        found = replace(found, clean=is_clean(capture.images(), psf))
    if wants_gains and nsr is None:
        found = replace(found, gains=_gains(capture, found))
    if nsr is not None:
        found = replace(found, measured_nsr=nsr, filter_nsr=nsr)
    else:
        power = mean_power(capture.images())
        found = replace(
            found, measured_nsr=measured_nsr(power, psf), filter_nsr=filter_nsr(power, psf)
        )
    return found if found.gains is not None else policy.shrink_uncertain(found)


def _gains(capture: Capture, found: Analysis) -> tuple[PlaneGain] | None:
    """Learned gains for a colour capture of a blur without direction, None for any other.

    Sampled kernels keep their own filter, cut Gaussians among them, given or estimated: on `gauss+`
    the learned gains of 8 validation scenes were up to 0.4 dB below it.
    """
    from imagine_deblur.psf.estimation.quantisation_table import table_scalars

    images, psf, known = capture.images(), found.psf, found.distribution
    if not isinstance(psf, PSF) or psf.moves or images[0].ndim != 3:
        return None
    if any(isinstance(part, Sampled) for part in psf.components):
        return None
    spectra = ring_spectra(images)
    if spectra is None:
        return None
    table = table_scalars(capture.quantisation, known=capture.quantisation is not None)
    moments = found.moments or moments_of_psf(psf)
    facts = np.zeros(FACTS) if known is None else known.facts
    scalars = scalar_inputs(table, facts, spectra.mean, directed=False, blind=found.blind)
    return (bundled_regressor()(spectra, moments, scalars).plane_gain,)


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
