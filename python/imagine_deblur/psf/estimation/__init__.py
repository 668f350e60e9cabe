"""Blind estimation of the blur from captures alone; numpy only, a tenth of a second per frame."""

from __future__ import annotations

from imagine_deblur.psf.estimation.estimator import Estimate, estimate_psf
from imagine_deblur.psf.estimation.report import (
    DecodedCapture,
    render,
    report_lines,
    report_records,
    succeeded,
)

__all__ = [
    "DecodedCapture",
    "Estimate",
    "estimate_psf",
    "render",
    "report_lines",
    "report_records",
    "succeeded",
]
