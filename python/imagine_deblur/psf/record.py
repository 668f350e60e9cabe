"""A measured PSF on disk: a small JSON record with units, covariance and provenance.

A record is an object with these fields; unknown ones are refused.

``format``      ``"imagine-deblur-psf"``
``version``     2; version 1, without ``distribution``, is read too
``units``       ``{"length": "px", "frequency": "cycles/px", "angle": "deg"}``, for human readers
``psf``         ``{"components": [...]}``, see `PSF.to_dict`; sampled kernels inline as lists
``id``          `PSF.id`: a damaged record does not pass for a PSF
``gsd_m``       ground sample distance in metres per px, or null
``covariance``  ``{"parameters": [...], "matrix": [[...]]}`` or null
``distribution``  all that captures held possible, see `distribution.PsfDistribution`, or null
``provenance``  free: where the PSF came from
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.distribution import PsfDistribution
from imagine_deblur.psf.document import read_document
from imagine_deblur.psf.models import PSF
from imagine_deblur.support.files import write_text

FORMAT = "imagine-deblur-psf"
VERSION = 2
_UNITS = {"length": "px", "frequency": "cycles/px", "angle": "deg"}
_FIRST = {"format", "version", "units", "psf", "id", "gsd_m", "covariance", "provenance"}
_FIELDS = {1: _FIRST, 2: _FIRST | {"distribution"}}


@dataclass(frozen=True, eq=False)
class Record:
    """What a PSF record holds.

    Attributes
    ----------
    psf : PSF
    covariance : (n, n) float64 ndarray or None
        Of the parameters named beside it, in their units squared.
    parameters : tuple of str
        Such as ``"components[0].radius_px"``; empty without a covariance.
    gsd_m : float or None
        Metres per px.
    provenance : dict
    distribution : PsfDistribution or None
        Of a blind estimate.
    """

    psf: PSF
    covariance: npt.NDArray[np.float64] | None = None
    parameters: tuple[str, ...] = ()
    gsd_m: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    distribution: PsfDistribution | None = None

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard error of each parameter that has one, in its unit."""
        if self.covariance is None:
            return {}
        deviations = np.sqrt(np.diagonal(self.covariance))
        return dict(zip(self.parameters, deviations.tolist(), strict=True))


def parameter_names(psf: PSF) -> tuple[str, ...]:
    """Names of a PSF's scalar parameters in the order of its components."""
    return tuple(
        f"components[{i}].{f.name}"
        for i, component in enumerate(psf.components)
        for f in fields(component)
        if f.name != "kernel"
    )


def save_record(
    path: str | os.PathLike[str],
    psf: PSF,
    *,
    covariance: npt.ArrayLike | None = None,
    parameters: Sequence[str] | None = None,
    gsd_m: float | None = None,
    provenance: Mapping[str, Any] | None = None,
    distribution: PsfDistribution | None = None,
) -> None:
    """Write a PSF record; the file appears complete or not at all.

    Parameters
    ----------
    path : path
        Replaced where it exists.
    psf : PSF
    covariance : (n, n) array, optional
        Symmetric, no negative eigenvalue.
    parameters : sequence of str, optional
        The n parameters it is of, by default all of `parameter_names`.
    gsd_m : float, optional
        Metres per px, positive.
    provenance : mapping, optional
        JSON values: files, method, date, software.
    distribution : PsfDistribution, optional
        Of a blind estimate: restoring with the record then weighs all it holds possible.

    Raises
    ------
    PsfError
        A value cannot be recorded; the message names its field.
    OSError
        The file cannot be written.
    """
    target = Path(path)
    names = () if covariance is None else tuple(parameters or parameter_names(psf))
    matrix = None if covariance is None else np.asarray(covariance, dtype=np.float64)
    record = Record(psf, matrix, names, gsd_m, dict(provenance or {}))
    _check(record, str(target))
    document = {
        "format": FORMAT,
        "version": VERSION,
        "units": _UNITS,
        "psf": psf.to_dict(),
        "id": psf.id,
        "gsd_m": gsd_m,
        "covariance": None
        if matrix is None
        else {"parameters": list(names), "matrix": matrix.tolist()},
        "distribution": None if distribution is None else distribution.to_dict(),
        "provenance": record.provenance,
    }
    try:
        text = _rendered(document)
    except (TypeError, ValueError) as error:
        raise PsfError(f"{target}: field 'provenance' is not plain JSON: {error}") from error
    write_text(target, text)


def _rendered(document: Mapping[str, Any]) -> str:
    """JSON with a field a line, so that a record of many numbers can still be looked at."""
    lines = [f' "{key}": {json.dumps(value, allow_nan=False)}' for key, value in document.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def load_record(path: str | os.PathLike[str]) -> Record:
    """Read a PSF record.

    Raises
    ------
    PsfError
        Not a record, of a newer version, or damaged; the message names the file and the field.
    OSError
        The file cannot be read.
    """
    source = Path(path)
    document = read_document(source)
    try:
        record = _parse(document)
    except PsfError as error:
        raise PsfError(f"{source}: {error}") from error
    _check(record, str(source))
    return record


def _parse(document: object) -> Record:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PsfError(f"field 'format' is not {FORMAT!r}")
    version = document.get("version")
    if type(version) is not int or version not in _FIELDS:
        raise PsfError(
            f"field 'version' is {version!r}; this software reads {', '.join(map(str, _FIELDS))}: "
            "update it, or estimate the blur again"
        )
    if unknown := sorted(set(document) - _FIELDS[version]):
        raise PsfError(f"field {unknown[0]!r} is unknown")
    described = document.get("psf")
    if not isinstance(described, dict):
        raise PsfError("field 'psf' must be an object")
    psf = PSF.from_dict(described)
    if document.get("id") != psf.id:
        raise PsfError(f"field 'id' is {document.get('id')!r}, but the PSF's is {psf.id!r}")
    gsd_m = document.get("gsd_m")
    if gsd_m is not None and (isinstance(gsd_m, bool) or not isinstance(gsd_m, int | float)):
        raise PsfError(f"field 'gsd_m' is {gsd_m!r}; it must be a number or null")
    provenance = document.get("provenance", {})
    if not isinstance(provenance, dict):
        raise PsfError("field 'provenance' must be an object")
    covariance, parameters = _parse_covariance(document.get("covariance"))
    stored = document.get("distribution")
    distribution = None if stored is None else PsfDistribution.from_dict(stored)
    return Record(psf, covariance, parameters, gsd_m, provenance, distribution)


def _parse_covariance(
    stored: object,
) -> tuple[npt.NDArray[np.float64] | None, tuple[str, ...]]:
    if stored is None:
        return None, ()
    if not isinstance(stored, dict) or set(stored) != {"parameters", "matrix"}:
        raise PsfError("field 'covariance' must hold 'parameters' and 'matrix'")
    names = stored["parameters"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PsfError("field 'covariance.parameters' must be a list of names")
    try:
        matrix = np.asarray(stored["matrix"], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PsfError("field 'covariance.matrix' must be rows of numbers") from error
    return matrix.reshape(0, 0) if not names and matrix.size == 0 else matrix, tuple(names)


def _check(record: Record, where: str) -> None:
    """What holds for a record whether it is written or read."""
    if record.gsd_m is not None and not 0.0 < record.gsd_m <= sys.float_info.max:
        raise PsfError(f"{where}: field 'gsd_m' is {record.gsd_m!r}; it must be positive")
    if record.covariance is None:
        return
    count = len(record.parameters)
    known = parameter_names(record.psf)
    for name in record.parameters:
        if name not in known:
            raise PsfError(f"{where}: field 'covariance.parameters' names {name!r}, not in the PSF")
    matrix = record.covariance
    if matrix.shape != (count, count) or not np.isfinite(matrix).all():
        raise PsfError(f"{where}: field 'covariance.matrix' must be {count}x{count} finite numbers")
    scale = float(np.abs(matrix).max(initial=0.0))
    if not np.allclose(matrix, matrix.T, rtol=0.0, atol=1e-9 * scale):
        raise PsfError(f"{where}: field 'covariance.matrix' is not symmetric")
    if (np.diagonal(matrix) < 0).any():
        raise PsfError(f"{where}: field 'covariance.matrix' has a negative variance")
    if count and float(np.linalg.eigvalsh(matrix / (scale or 1.0)).min()) < -1e-9:
        raise PsfError(f"{where}: field 'covariance.matrix' has a negative eigenvalue")
