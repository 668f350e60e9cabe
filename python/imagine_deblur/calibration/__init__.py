"""The PSF measured against a sharp reference such as Sentinel-2; needs the extra ``[geo]``."""

from __future__ import annotations

from imagine_deblur.calibration.files import calibrate_files
from imagine_deblur.calibration.loop import calibrate
from imagine_deblur.calibration.reference import Reference, read_reference
from imagine_deblur.calibration.result import CalibrationResult, CaptureResult
from imagine_deblur.errors import CalibrationError

__all__ = [
    "CalibrationError",
    "CalibrationResult",
    "CaptureResult",
    "Reference",
    "calibrate",
    "calibrate_files",
    "read_reference",
]
