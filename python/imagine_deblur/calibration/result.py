"""What a calibration found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur._version import VERSION
from imagine_deblur.calibration.radiometry import BandMap
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CaptureResult:
    """How one capture lies over its reference, and what it contributed.

    Attributes
    ----------
    name : str
    homography : (3, 3) float64 ndarray
        Capture (column, row, 1) to the reference source's, pixel centres at integers.
    gsd_m : float
        Ground sample distance at the centre, metres per px.
    rotation_deg : float
        Direction of the capture's column axis in the reference, counter-clockwise as displayed.
    anisotropy : float
        Ratio of the two axes' ground sample distances: 1 seen from above.
    registration_rms_px : float
        Root mean square of the shifts that single blocks would still like, weighted by how well
        they know it, px of the capture.
    matches : int
        Features that agree on the view.
    correlation : float
        Of capture and blurred reference without their low frequencies.
    coherence : float
        Share of the capture's power that the reference explains, mean over the frequencies where
        the transfer function lies above a tenth.
    radiometry : tuple of BandMap
        Red, green, blue.
    cloud, changed : float
        Shares of the common area.
    usable : float
        Share of the frame that was used.
    blocks : int
    disk_radius_px : float or None
        Of this capture alone, where the family has one.
    """

    name: str
    homography: FloatArray
    gsd_m: float
    rotation_deg: float
    anisotropy: float
    registration_rms_px: float
    matches: int
    correlation: float
    coherence: float
    radiometry: tuple[BandMap, ...]
    cloud: float
    changed: float
    usable: float
    blocks: int
    disk_radius_px: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "homography": self.homography.tolist(),
            "gsd_m": self.gsd_m,
            "rotation_deg": self.rotation_deg,
            "anisotropy": self.anisotropy,
            "registration_rms_px": self.registration_rms_px,
            "matches": self.matches,
            "correlation": self.correlation,
            "coherence": self.coherence,
            "radiometry": [
                {"gain": m.gain, "gamma": m.gamma, "offset": m.offset} for m in self.radiometry
            ],
            "cloud": self.cloud,
            "changed": self.changed,
            "usable": self.usable,
            "blocks": self.blocks,
            "disk_radius_px": self.disk_radius_px,
        }


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """A PSF measured against a reference.

    Attributes
    ----------
    psf : PSF
        Of the whole way from the ground to the sample, pixel included, px of the capture.
    parameters : tuple of str
        Names in the PSF record's terms.
    values : (n,) float64 ndarray
    covariance : (n, n) float64 ndarray
        From the fit, enlarged where the blocks scatter more than it says (jackknife), and with
        the uncertainty of the reference's own MTF.
    family : str
    iterations : int
        Rounds of registration and fit.
    converged : bool
        The last round changed the parameters by less than the tolerance.
    residual : float
        Relative misfit of the transfer function beyond its noise.
    chi_square : float
    coherence : float
        Mean over the captures, weighted by their blocks.
    frequency, transfer, transfer_se : (m,) float64 ndarray
        Measured transfer function averaged over directions and its standard error: cycles/px, 1.
    captures : tuple of CaptureResult
    refused : dict of str to str
        Captures left out, and why.
    reference : dict
        Where it came from, its GSD and its MTF.
    """

    psf: PSF
    parameters: tuple[str, ...]
    values: FloatArray
    covariance: FloatArray
    family: str
    iterations: int
    converged: bool
    residual: float
    chi_square: float
    coherence: float
    frequency: FloatArray
    transfer: FloatArray
    transfer_se: FloatArray
    captures: tuple[CaptureResult, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard error of each parameter."""
        deviation = np.sqrt(np.diagonal(self.covariance))
        return dict(zip(self.parameters, deviation.tolist(), strict=True))

    @property
    def gsd_m(self) -> float:
        """Mean ground sample distance of the captures, metres per px."""
        return float(np.mean([c.gsd_m for c in self.captures]))

    @property
    def rotation_deg(self) -> float:
        """Rotation of the first capture; each has its own in `captures`."""
        return self.captures[0].rotation_deg

    @property
    def registration_rms_px(self) -> float:
        """Root mean square over the captures."""
        return float(np.sqrt(np.mean([c.registration_rms_px**2 for c in self.captures])))

    @property
    def matches(self) -> int:
        """Features that agree, all captures together."""
        return sum(c.matches for c in self.captures)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what ``psf calibrate --json`` prints and a record's provenance."""
        return {
            "family": self.family,
            "parameters": dict(zip(self.parameters, self.values.tolist(), strict=True)),
            "standard_errors": self.standard_errors,
            "gsd_m": self.gsd_m,
            "registration_rms_px": self.registration_rms_px,
            "matches": self.matches,
            "residual": self.residual,
            "chi_square": self.chi_square,
            "coherence": self.coherence,
            "iterations": self.iterations,
            "converged": self.converged,
            "captures": [capture.to_dict() for capture in self.captures],
            "refused": dict(self.refused),
            "reference": dict(self.reference),
            "curve": {
                "frequency": self.frequency.tolist(),
                "transfer": self.transfer.tolist(),
                "standard_error": self.transfer_se.tolist(),
            },
        }

    def summary(self) -> str:
        """A few lines for people."""
        errors = self.standard_errors
        lines = [
            f"{name} = {value:.4g} ± {errors[name]:.2g}"
            for name, value in zip(self.parameters, self.values, strict=True)
        ]
        lines.append(
            f"MTF50 {self.psf.mtf50():.4f} cycles/px, MTF at Nyquist {self.psf.mtf_nyquist():.4f}"
        )
        lines.append(
            f"misfit {100 * self.residual:.1f} %, coherence {self.coherence:.2f},"
            f" {self.iterations} rounds, {self.matches} matches"
        )
        for one in self.captures:
            lines.append(
                f"{one.name}: GSD {one.gsd_m:.2f} m, rotation {one.rotation_deg:.2f} deg,"
                f" registered to {one.registration_rms_px:.2f} px, {100 * one.cloud:.0f} % cloud,"
                f" {one.blocks} blocks"
            )
        lines += [f"{name}: left out: {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a PSF record with covariance and provenance; `record.load_record` reads it.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        save_record(
            path,
            self.psf,
            covariance=self.covariance,
            parameters=self.parameters,
            gsd_m=self.gsd_m,
            provenance={
                "method": "cross-spectrum against a reference",
                "software": f"imagine_deblur {VERSION}",
                "calibration": self.to_dict(),
            },
        )
