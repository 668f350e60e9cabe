"""Calibration from files to a PSF record: what ``imagine-deblur psf calibrate`` runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from imagine_deblur.calibration.loop import calibrate
from imagine_deblur.calibration.result import CalibrationResult

Path = str | os.PathLike[str]


def calibrate_files(
    captures: Path | Sequence[Path],
    reference: Path | Sequence[Path],
    output: Path | None,
    **options: Any,
) -> CalibrationResult:
    """Calibrate from files and write a PSF record.

    Parameters
    ----------
    captures : path or sequence of paths
        Captures of one instrument; JPEG files as the instrument wrote them.
    reference : path or sequence of paths
        One reference for all captures, or one each.
    output : path or None
        The record, written once the calibration has succeeded; None writes nothing.
    options
        Keywords of `calibrate`.

    Returns
    -------
    CalibrationResult

    Raises
    ------
    CalibrationError, ImportError, OSError
        See `calibrate`; nothing is written then.
    """
    result = calibrate(captures, reference, **options)
    if output is not None:
        result.save(output)
    return result
