"""Blind estimation of an instrument's blur from what it delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import EstimationError, OptionsError
from imagine_deblur.psf.components import Disk, Gaussian, Motion, Sampled
from imagine_deblur.psf.distribution import NO_DISK_PX, PsfDistribution
from imagine_deblur.psf.estimation import decode_posterior, directions, network, posterior
from imagine_deblur.psf.estimation.blocks import BlockClasses, Image, check_image
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.estimation.spectrum import BLOCK, FREQUENCY, Summary, summarise
from imagine_deblur.psf.models import PSF

FloatArray = npt.NDArray[np.float64]

RADIUS_TOLERANCE, SIGMA_TOLERANCE, TOLERANCE_PX = 0.05, 0.10, 0.1
"""`Estimate.confidence` is the probability of errors within these shares, or these px if more."""
MOTION_SIGMA_PX = 0.5
"""Gaussian assumed beside linear motion."""
_TRUNCATED_SIZE = 15
_DISAGREEMENT, _DISAGREEING_SHARE = 3.0, 0.4  # deviations, share of the captures
_SURELY_MOTION = 0.85  # keeps all 32 motions of the validation split, and two of 32 shakes
_CUT, _SURELY_CUT, _CUT_FROM_PX, _QUIET = 0.5, 0.65, 3.0, 0.35
"""Probability from which a Gaussian counts as cut to 15x15 px where that can be seen, and where it
cannot: under a sigma of 3 px less than 2.5 % of the kernel is cut off, and what that does to a
spectrum lies under a noise whose predicted logarithm plus 6 is above 0.35. A cut Gaussian is taken
as certain, so it must be seen: on 220 training captures with blurs of 0.7 to 1.8 px the second
bound, in place of the first, gained 0.05 dB on average and left 4 of 9 that were made worse by over
0.1 dB, all of them disks that had been taken for a cut Gaussian."""
_LEAST_CONTRAST = 1.0  # nats between low and high frequencies; white noise has none

_CURE = "its blur cannot be told; give the PSF, or a record of other captures of the lens"
_MESSAGES = {
    "flat": "nothing but flat areas and noise",
    "dark": "nothing but dark areas",
    "saturated": "nothing but saturated areas",
    "cloud": "nothing but cloud",
}


@dataclass(frozen=True)
class Estimate:
    """A blur found in captures, with its uncertainty.

    Attributes
    ----------
    disk_radius_px, gaussian_sigma_px : float
        The blur: a disk of this radius times a Gaussian of this sigma, px. Radius 0: no disk.
    disk_radius_se, gaussian_sigma_se : float
        Standard errors, px.
    disk_radius_interval, gaussian_sigma_interval : (float, float)
        Central 90 % intervals, px.
    covariance : (2, 2) float64 ndarray
        Of radius and sigma, px^2.
    width_px, width_se : float
        Rms width of the kernel per axis, ``sqrt(R^2 / 4 + sigma^2)`` where it is a disk times a
        Gaussian, predicted on its own, and its standard error, px. It stays well determined where
        small disks and Gaussians cannot be told apart.
    noise : float
        Amplitude s of the shot + read model ``s * sqrt(y + 0.1) * N(0, 1)``, full scale 1,
        given that it is at least 0.0015. JPEG hides most of it: good to a factor of two.
    noise_interval : (float, float)
        Its central 90 % interval.
    confidence : float
        Predicted probability that the radius is within 5 % (or 0.1 px) of the truth; without a
        disk, that sigma is within 10 % (or 0.1 px). Doubt that the blur is of this family at all
        lowers it.
    truncated : bool
        True where a Gaussian without a disk appears cut to 15x15 px, as sampled kernels are.
    family : {"round", "motion", "shake"}
        The kind of blur: disk times Gaussian, linear motion where this is rather sure, or neither.
    motion : Motion or None
        The linear motion, where that is the family.
    motion_probability, other_probability : float
        Probabilities that the blur is linear motion, and that it is neither this nor a disk times
        a Gaussian (camera shake).
    captures : int
        Number of captures behind the estimate.
    blocks : int
        Number of informative blocks behind it.
    distribution : PsfDistribution
        Everything held possible, which a record can hold.
    kinds : dict of str to float
        Shares of the frame that are scene, flat, dark, saturated, cloud.
    """

    disk_radius_px: float
    gaussian_sigma_px: float
    disk_radius_se: float
    gaussian_sigma_se: float
    disk_radius_interval: tuple[float, float]
    gaussian_sigma_interval: tuple[float, float]
    covariance: FloatArray
    width_px: float
    width_se: float
    noise: float
    noise_interval: tuple[float, float]
    confidence: float
    truncated: bool
    family: str
    motion: Motion | None
    motion_probability: float
    other_probability: float
    captures: int
    blocks: int
    distribution: PsfDistribution
    kinds: dict[str, float] = field(default_factory=dict)

    @property
    def psf(self) -> PSF:
        """The blur as a PSF.

        The identity where the capture is sharp, and also where the family is "shake": the kernel
        is then not known, and undoing a wrong one does harm.
        """
        if self.family == "shake":
            return PSF(())
        if self.motion is not None:
            return PSF((self.motion, Gaussian(MOTION_SIGMA_PX)))
        if self.disk_radius_px == 0.0 and self.truncated:
            line = np.arange(_TRUNCATED_SIZE) - _TRUNCATED_SIZE // 2
            profile = np.exp(-0.5 * (line / max(self.gaussian_sigma_px, 0.1)) ** 2)
            kernel = np.outer(profile, profile)
            return PSF((Sampled(kernel / kernel.sum()),))
        parts: list[Disk | Gaussian] = []
        if self.disk_radius_px > 0.0:
            parts.append(Disk(self.disk_radius_px))
        if self.gaussian_sigma_px > 0.0:
            parts.append(Gaussian(self.gaussian_sigma_px))
        return PSF(tuple(parts))

    @property
    def uncertain(self) -> tuple[tuple[str, ...], FloatArray]:
        """The parameters of `psf` that have a covariance, by their names in a record, and that.

        None where it is a sampled kernel or linear motion.
        """
        names = {"disk": "radius_px", "gaussian": "sigma_px"}
        parts = self.psf.components
        if self.motion is not None or any(part.kind not in names for part in parts):
            return (), np.zeros((0, 0))
        places = [list(names).index(part.kind) for part in parts]
        listed = tuple(f"components[{i}].{names[part.kind]}" for i, part in enumerate(parts))
        return listed, self.covariance[np.ix_(places, places)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the distribution."""
        return {
            "disk_radius_px": self.disk_radius_px,
            "gaussian_sigma_px": self.gaussian_sigma_px,
            "disk_radius_se": self.disk_radius_se,
            "gaussian_sigma_se": self.gaussian_sigma_se,
            "disk_radius_interval_90": list(self.disk_radius_interval),
            "gaussian_sigma_interval_90": list(self.gaussian_sigma_interval),
            "covariance": self.covariance.tolist(),
            "width_px": self.width_px,
            "width_se": self.width_se,
            "noise": self.noise,
            "noise_interval_90": list(self.noise_interval),
            "confidence": self.confidence,
            "truncated": self.truncated,
            "family": self.family,
            "motion": None
            if self.motion is None
            else {"length_px": self.motion.length_px, "angle_deg": self.motion.angle_deg},
            "motion_probability": self.motion_probability,
            "other_probability": self.other_probability,
            "psf": self.psf.to_dict(),
            "captures": self.captures,
            "blocks": self.blocks,
            "kinds": dict(self.kinds),
        }


def estimate_psf(
    images: Image | Sequence[Image],
    *,
    quantisation: npt.ArrayLike | bytes | None = None,
    jpeg: bool | None = None,
) -> Estimate:
    """Estimate the blur of one capture, or of several captures of one instrument.

    Parameters
    ----------
    images : (R, C, 3) or (R, C) ndarray, or a sequence of them
        uint8, or float32 in [0, 1]; sRGB-encoded values. Both sides at least 128 px.
    quantisation : (8, 8) array or 64 values row by row, optional
        The luma quantisation table of the captures' JPEG files, where it is known.
    jpeg : bool, optional
        False tells that the captures never were JPEG files; None that this is not known. Implied
        by `quantisation`.

    Returns
    -------
    Estimate

    Raises
    ------
    EstimationError
        The captures carry too little information; ``reason`` is ``"small"``, ``"flat"``,
        ``"dark"``, ``"saturated"`` or ``"cloud"``; or they are not of one blur:
        ``"inconsistent"``.
    InputImageError
        Not an image of a type that is accepted.
    """
    frames = [images] if isinstance(images, np.ndarray) else list(images)
    if not frames:
        raise OptionsError("images", images, "one image or more")
    if quantisation is not None and jpeg is False:
        raise OptionsError("jpeg", jpeg, "True or None where a quantisation table is given")
    table = table_scalars(quantisation, known=quantisation is not None or jpeg is False)
    summaries: list[Summary] = []
    refusal: EstimationError | None = None
    for frame in frames:
        try:
            summaries.append(summary_of(frame))
        except EstimationError as error:
            # Its frames would hold the images until the collector comes.
            refusal = refusal or error.with_traceback(None)
    if not summaries:
        assert refusal is not None
        try:
            raise refusal
        finally:
            del refusal
    check_agreement(summaries, table)
    return estimate_from(combine(summaries), table, captures=len(summaries))


def check_agreement(summaries: Sequence[Summary], table: npt.NDArray[np.float32]) -> None:
    """Refuse captures whose kernels differ in rms width by far more than their uncertainty."""
    if len(summaries) < 2:
        return
    ensemble = network.bundled()
    widths = [ensemble(summary, table).log_width for summary in summaries]
    mean = np.array([width.mean for width in widths])
    deviation = np.array([width.deviation for width in widths])
    deviation *= ensemble.correction("width_scale", 0.0)
    centre = np.average(mean, weights=deviation**-2)
    if np.mean(np.abs(mean - centre) > _DISAGREEMENT * deviation) >= _DISAGREEING_SHARE:
        low, high = np.exp([mean.min(), mean.max()]) - network.WIDTH_OFFSET_PX
        raise EstimationError(
            f"the captures' blurs differ: rms widths from {low:.2f} to {high:.2f} px; "
            "estimate them one by one",
            reason="inconsistent",
        )


def summary_of(image: Image) -> Summary:
    """Summary of one capture, or the reason why it tells nothing as an `EstimationError`."""
    summary = summarise(check_image(image, BLOCK))
    if isinstance(summary, BlockClasses):
        shares = {kind: summary.share(kind) for kind in _MESSAGES}
        reason = max(shares, key=lambda kind: shares[kind])
        raise EstimationError(f"the capture shows {_MESSAGES[reason]}: {_CURE}", reason=reason)
    typical = summary.curves[1]
    low = typical[(FREQUENCY > 0.025) & (FREQUENCY < 0.06)].mean()
    high = typical[(FREQUENCY > 0.35) & (FREQUENCY < 0.5)].mean()
    if low - high < _LEAST_CONTRAST:
        raise EstimationError(f"the capture shows {_MESSAGES['flat']}: {_CURE}", reason="flat")
    return summary


def combine(summaries: Sequence[Summary]) -> Summary:
    """The summary of several captures: averages weighted by the number of informative blocks."""
    weight = np.array([s.blocks for s in summaries], dtype=np.float32)
    weight /= weight.sum()
    return Summary(
        curves=np.tensordot(weight, np.stack([s.curves for s in summaries]), 1),
        blocks=float(sum(s.blocks for s in summaries)),
        sectors=np.tensordot(weight, np.stack([s.sectors for s in summaries]), 1),
        kinds={k: float(np.mean([s.kinds[k] for s in summaries])) for k in summaries[0].kinds},
    )


def estimate_from(
    summary: Summary, table: npt.NDArray[np.float32], *, captures: int = 1
) -> Estimate:
    """Estimate from a summary that is at hand; see `estimate_psf`."""
    ensemble = network.bundled()
    output = ensemble(summary, table)
    value = decode_posterior.radius_value(output)
    alone = value == 0.0
    of_radius = decode_posterior.calibrated_radius(output.radius, ensemble)
    of_sigma = decode_posterior.calibrated_sigma(
        output.sigma_alone if alone else output.sigma_with_disk, ensemble
    )
    radius = decode_posterior.radius_quantity(value, of_radius)
    sigma = decode_posterior.sigma_quantity(of_sigma)
    round_share, motion_share = float(output.family[0]), float(output.family[1])
    within = _within(radius.value, sigma.value, of_radius, of_sigma, alone=alone)
    correlation = 0.0 if alone else ensemble.correction("correlation", value)
    spread = np.array([radius.standard_error, sigma.standard_error])
    covariance = np.outer(spread, spread) * np.array([[1, correlation], [correlation, 1]])
    noise_scale = ensemble.correction("noise_scale", 0.0)
    s, s_low, s_high = (
        output.log_noise.at(z * noise_scale, network.NOISE_OFFSET) for z in (0.0, -1.645, 1.645)
    )
    width = output.log_width
    width_se = ensemble.correction("width_scale", 0.0) * width.deviation * np.exp(width.mean)
    family = "round"
    if round_share < max(motion_share, float(output.family[2])):
        family = "motion" if motion_share > _SURELY_MOTION else "shake"
    motion = None
    if family == "motion":
        angle = directions.motion_angle_deg(directions.harmonic(summary.sectors))
        motion = Motion(min(output.log_length.at(0.0, 0.0), 30.0), angle)
    confidence = float(np.clip(within * round_share, 0.0, 1.0))
    return Estimate(
        disk_radius_px=radius.value,
        gaussian_sigma_px=sigma.value,
        disk_radius_se=radius.standard_error,
        gaussian_sigma_se=sigma.standard_error,
        disk_radius_interval=radius.interval,
        gaussian_sigma_interval=sigma.interval,
        covariance=covariance,
        width_px=width.at(0.0, network.WIDTH_OFFSET_PX),
        width_se=float(width_se),
        noise=s,
        noise_interval=(s_low, s_high),
        confidence=confidence,
        truncated=alone and _is_cut(output, sigma.value),
        family=family,
        motion=motion,
        motion_probability=motion_share,
        other_probability=float(output.family[2]),
        captures=captures,
        blocks=int(summary.blocks),
        distribution=PsfDistribution(
            decode_posterior.parts_of(output, ensemble),
            family,
            confidence,
            decode_posterior.facts_of(output),
        ),
        kinds=dict(summary.kinds),
    )


def _is_cut(output: network.Output, sigma_px: float) -> bool:
    seen = sigma_px >= _CUT_FROM_PX or decode_posterior.facts_of(output)[4] <= _QUIET
    return bool(output.truncated > (_CUT if seen else _SURELY_CUT))


def _within(
    radius: float, sigma: float, of_radius: FloatArray, of_sigma: FloatArray, *, alone: bool
) -> float:
    """Probability that the errors stay within what `Estimate.confidence` names."""
    if alone:
        tolerance = max(SIGMA_TOLERANCE * sigma, TOLERANCE_PX)
        step = network.SIGMA_GRID[1]
        near = posterior.mass_within(
            of_sigma, (sigma - tolerance) / step, (sigma + tolerance) / step
        )
        return near * posterior.mass_within(
            of_radius, -0.5, decode_posterior.radius_bin(2 * NO_DISK_PX)
        )
    tolerance = max(RADIUS_TOLERANCE * radius, TOLERANCE_PX)
    return posterior.mass_within(
        of_radius,
        decode_posterior.radius_bin(radius - tolerance),
        decode_posterior.radius_bin(radius + tolerance),
    )
