"""Whether a calibration may be believed, how far, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration import fit, geometry, sentinel2, spectrum
from imagine_deblur.calibration.blocks import Blocks
from imagine_deblur.calibration.families import Family
from imagine_deblur.calibration.measure import State, own_transfer, take_spectra, total
from imagine_deblur.calibration.result import CalibrationResult, CaptureResult
from imagine_deblur.errors import CalibrationError
from imagine_deblur.psf.models import PSF

FloatArray = npt.NDArray[np.float64]

MIN_COHERENCE = 0.5
"""Least share of the capture's power the reference must explain where the MTF exceeds a tenth."""
MAX_REGISTRATION_PX = 0.5
MAX_RELATIVE_ERROR = 0.08
"""Largest standard error of the PSF's MTF50, relative."""
MAX_RESIDUAL = 0.15
MAX_DISAGREEMENT = 0.1
"""Largest relative difference of one capture's MTF50 from that of all, beyond its noise."""
UNSETTLED = 20.0
"""Parameters that still change by more than so many times the tolerance are refused."""
ENCODING_ERROR = 0.1
"""Relative standard error granted to the predicted loss in the JPEG encoder."""


@dataclass(frozen=True, eq=False)
class Settled:
    """Where the rounds of registration and fit came to rest.

    Attributes
    ----------
    states : list of State
        Captures still in it.
    found : Fit
        With the final parameters.
    iterations : int
    change : float
        Relative change of the parameters in the last round.
    feedback : float
        How much a round's error is enlarged in the end, see `FixedPoint.gain`.
    """

    states: list[State]
    found: fit.Fit
    iterations: int
    change: float
    feedback: float


def accept(
    state: State,
    states: list[State],
    found: fit.Fit,
    chosen: Family,
    gsd_range: tuple[float, float],
) -> None:
    """Refuse a capture that did not come to lie well, or that contradicts the others."""
    assert state.blocks is not None
    working = state.reference.working_gsd_m
    geometry.check(geometry.describe(state.homography, state.shape, working), gsd_range)
    rms = _registration_rms(state.blocks)
    if rms > MAX_REGISTRATION_PX:
        raise CalibrationError(
            f"registration: blocks still disagree by {rms:.2f} px RMS, {MAX_REGISTRATION_PX} px"
            " are allowed",
            residual=rms,
        )
    summed = total([state])
    coherence = _coherence(summed, chosen.build(found.values))
    if coherence < MIN_COHERENCE:
        raise CalibrationError(
            f"the reference explains {100 * coherence:.0f} % of the capture's structure,"
            f" {100 * MIN_COHERENCE:.0f} % are needed",
            residual=coherence,
        )
    if len(states) > 1:
        alone = fit.fit(summed, chosen, found.values)
        own, joint = (chosen.build(f.values).mtf50() for f in (alone, found))
        uncertain = _relative_error(alone.values, alone.covariance, chosen)
        difference = abs(own / joint - 1.0)
        if difference > MAX_DISAGREEMENT + 3.0 * uncertain:
            raise CalibrationError(
                f"inconsistent: its own MTF50 is {own:.4f} cycles/px, that of all captures"
                f" {joint:.4f}; were they taken by one instrument in one state?",
                residual=difference,
            )


def conclude(
    settled: Settled, chosen: Family, tolerance: float, refused: dict[str, str]
) -> CalibrationResult:
    """Uncertainties and the last checks.

    Raises
    ------
    CalibrationError
        The parameters did not settle, ran to a bound, are too uncertain or do not describe what
        was measured.
    """
    states, found, feedback = settled.states, settled.found, settled.feedback
    if settled.change > UNSETTLED * tolerance:
        raise CalibrationError(
            f"inconsistent fit: after {settled.iterations} rounds the parameters still change by"
            f" {100 * settled.change:.1f} %",
            residual=settled.change,
        )
    psf = chosen.build(found.values)
    summed = total(states)
    groups = [group for state in states for group in state.groups]
    covariance = fit.inflated(found.covariance, fit.jackknife(groups, chosen, found.values))
    covariance = feedback**2 * covariance
    covariance = covariance + _from_reference_mtf(states, found, chosen)
    covariance = covariance + feedback**2 * _from_encoding(states, found, chosen)
    at_bound = [
        name
        for name, value, low, high in zip(
            chosen.parameters, found.values, chosen.lower, chosen.upper, strict=True
        )
        if name.endswith(("radius_px", "defocus_waves")) and not 1.02 * low < value < 0.98 * high
    ]
    if at_bound:
        raise CalibrationError(
            f"inconsistent fit: {at_bound[0]} runs to its bound; the family {chosen.name!r} does"
            " not describe this blur",
            residual=found.residual,
        )
    relative = _relative_error(found.values, covariance, chosen)
    if not relative <= MAX_RELATIVE_ERROR:
        raise CalibrationError(
            f"uncertain fit: MTF50 is known to {100 * relative:.1f} %,"
            f" {100 * MAX_RELATIVE_ERROR:.0f} % are needed; use more captures",
            residual=relative,
        )
    if found.residual > MAX_RESIDUAL:
        raise CalibrationError(
            f"inconsistent fit: the measured transfer function differs from the family"
            f" {chosen.name!r} by {100 * found.residual:.0f} %",
            residual=found.residual,
        )
    variance = summed.noise() / (
        2.0 * max(summed.samples / summed.size**2, 1.0) * np.maximum(summed.xx, 1e-300)
    )
    measured = summed.transfer().real / found.gain
    frequency, curve = spectrum.ring_profile(measured, summed.xx, summed.size)
    _, mean_variance = spectrum.ring_profile(variance / found.gain**2, summed.xx, summed.size)
    members = np.bincount(spectrum.rings(summed.size).ravel())[: frequency.size]
    results = tuple(_report(state, chosen, found, psf) for state in states)
    blocks = np.array([r.blocks for r in results], dtype=np.float64)
    first = states[0].reference
    return CalibrationResult(
        psf=psf,
        parameters=chosen.parameters,
        values=found.values,
        covariance=covariance,
        family=chosen.name,
        iterations=settled.iterations,
        converged=settled.change < tolerance,
        residual=found.residual,
        chi_square=found.chi_square,
        coherence=float(np.average([r.coherence for r in results], weights=blocks)),
        frequency=frequency[1:],
        transfer=curve[1:],
        transfer_se=np.sqrt(mean_variance / np.maximum(members, 1))[1:],
        captures=results,
        refused=refused,
        reference={
            "names": sorted({state.reference.name for state in states}),
            "gsd_m": first.gsd_m,
            "mtf_nyquist": first.mtf_nyquist,
            "crs": first.crs,
        },
    )


def _from_reference_mtf(states: list[State], found: fit.Fit, chosen: Family) -> FloatArray:
    """Variance from not knowing the reference's MTF: uniform over the mission's requirement.

    The reference's Gaussian adds in quadrature, so the scene's power is scaled instead of measured
    anew: yx by the ratio of the two transfer functions, xx by its square.
    """
    ends = []
    for nyquist in sentinel2.MTF_NYQUIST_RANGE:
        summed = spectrum.CrossSpectrum.empty(states[0].size)
        for state in states:
            at = spectrum.frequencies(state.size)
            ratio = own_transfer(state, *at) / own_transfer(state, *at, nyquist)
            for group in state.groups:
                summed = summed + replace(group, yx=group.yx * ratio, xx=group.xx * ratio**2)
        ends.append(fit.fit(summed, chosen, found.values).values)
    difference = ends[1] - ends[0]
    return np.asarray(np.outer(difference, difference) / 12.0)


def _from_encoding(states: list[State], found: fit.Fit, chosen: Family) -> FloatArray:
    """Variance from not knowing the encoder's mean loss better than `ENCODING_ERROR`.

    The loss is predicted from a noise that can hardly be measured once encoded, and from a scene
    that has changed a little. Zero for captures that are not JPEG files.
    """
    count = found.values.size
    if all(state.picture.table is None for state in states):
        return np.zeros((count, count))
    psf = chosen.build(found.values)
    ends = []
    for share in (1.0 - ENCODING_ERROR, 1.0 + ENCODING_ERROR):
        trials = [replace(state, encoding_share=share) for state in states]
        for trial in trials:
            take_spectra(trial, psf)
        ends.append(fit.fit(total(trials), chosen, found.values).values)
    difference = 0.5 * (ends[1] - ends[0])
    return np.asarray(np.outer(difference, difference))


def _relative_error(values: FloatArray, covariance: FloatArray, chosen: Family) -> float:
    """Standard error of MTF50 over MTF50, to first order."""
    base = chosen.build(values).mtf50()
    if not np.isfinite(base):
        return np.inf
    step = 1e-3 * np.maximum(np.abs(values), np.array(chosen.scale))
    slope = np.empty(values.size)
    for i in range(values.size):
        up = values.copy()
        sign = 1.0 if values[i] + step[i] <= chosen.upper[i] else -1.0
        up[i] += sign * step[i]
        slope[i] = (chosen.build(up).mtf50() - base) / (sign * step[i])
    variance = float(slope @ covariance @ slope)
    return float(np.sqrt(max(variance, 0.0)) / base)


def _report(state: State, chosen: Family, found: fit.Fit, psf: PSF) -> CaptureResult:
    assert state.blocks is not None
    assert state.radiometry is not None
    summed = total([state])
    alone = fit.fit(summed, chosen, found.values)
    radius = None
    if chosen.parameters[0].endswith("radius_px"):
        radius = float(alone.values[0])
    view = geometry.describe(state.homography, state.shape, state.reference.working_gsd_m)
    homography = state.reference.to_source @ state.homography
    return CaptureResult(
        name=state.name,
        homography=homography / homography[2, 2],
        gsd_m=view.gsd_m,
        rotation_deg=view.rotation_deg,
        anisotropy=view.anisotropy,
        registration_rms_px=_registration_rms(state.blocks),
        matches=state.matches,
        correlation=state.correlation,
        coherence=_coherence(summed, psf),
        radiometry=state.radiometry.maps,
        cloud=state.radiometry.cloud,
        changed=state.radiometry.changed,
        usable=float(state.radiometry.usable.mean()),
        blocks=summed.blocks,
        disk_radius_px=radius,
    )


def _registration_rms(blocks: Blocks) -> float:
    """Information-weighted root mean square of the blocks' shifts; outliers are clipped at 4 px."""
    weight = blocks.information / max(float(blocks.information.sum()), 1e-300)
    return float(np.sqrt(np.sum(weight[:, None] * blocks.shifts**2)))


def _coherence(summed: spectrum.CrossSpectrum, psf: PSF) -> float:
    size = summed.size
    fy, fx = spectrum.frequencies(size)
    radius = np.hypot(fy, fx)
    strong = (np.abs(spectrum.transfer_of(psf, size)) > 0.1) & (radius > 1.5 / size)
    return float(summed.coherence()[strong].mean()) if strong.any() else 0.0
