"""Restore out-of-focus Earth-observation captures within the limits of a payload computer.

>>> import imagine_deblur
>>> report = imagine_deblur.process("capture.jpg", "restored.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

from imagine_deblur._version import VERSION as __version__
from imagine_deblur.api import process, restore
from imagine_deblur.errors import (
    CalibrationError,
    CancelledError,
    EngineError,
    EstimationError,
    ImagineDeblurError,
    InputImageError,
    MemoryBudgetError,
    MissingExtraError,
    OptionsError,
    OutputExistsError,
    PsfError,
    TruncatedJpegError,
)
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.report import Report
from imagine_deblur.session import Session

__all__ = [
    "PSF",
    "CalibrationError",
    "CancelledError",
    "EngineError",
    "EstimationError",
    "ImagineDeblurError",
    "InputImageError",
    "MemoryBudgetError",
    "MissingExtraError",
    "Options",
    "OptionsError",
    "OutputExistsError",
    "PsfError",
    "Report",
    "Session",
    "TruncatedJpegError",
    "__version__",
    "process",
    "restore",
]
