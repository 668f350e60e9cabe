"""What ``imagine-deblur psf estimate`` prints: one record per capture and one for all together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from imagine_deblur.errors import EstimationError, OutputExistsError
from imagine_deblur.psf.estimation.blocks import Image
from imagine_deblur.psf.estimation.estimator import (
    Estimate,
    check_agreement,
    combine,
    estimate_from,
    summary_of,
)
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.estimation.spectrum import Summary
from imagine_deblur.psf.record import save_record

JOINT = "(joint)"
"""Name of the record that uses all captures."""


@dataclass(frozen=True)
class DecodedCapture:
    """A capture to be estimated.

    Attributes
    ----------
    name : str
        What the report calls it, normally the file's path.
    image : (R, C, 3) or (R, C) uint8 or float32 ndarray
    quantisation : (8, 8) array or 64 values row by row, or None
        Its luma quantisation table, where known.
    """

    name: str
    image: Image
    quantisation: npt.ArrayLike | bytes | None = None


def estimate_all(
    captures: Iterable[DecodedCapture],
) -> list[tuple[str, Estimate | EstimationError]]:
    """Estimate each capture, then all together where there are several.

    Parameters
    ----------
    captures : iterable of DecodedCapture
        Consumed one by one, so that a generator holds one frame at a time.

    Returns
    -------
    list of (name, Estimate or EstimationError)
        At the end the one named ``"(joint)"`` where two captures or more could be used.
    """
    found: list[tuple[str, Estimate | EstimationError]] = []
    summaries: list[Summary] = []
    tables = []
    for capture in captures:
        try:
            summary = summary_of(capture.image)
            table = table_scalars(capture.quantisation, known=capture.quantisation is not None)
            found.append((capture.name, estimate_from(summary, table)))
        except EstimationError as error:
            found.append((capture.name, error))
            continue
        summaries.append(summary)
        tables.append(table)
    if len(summaries) > 1:
        same = all((t == tables[0]).all() for t in tables)
        table = tables[0] if same else table_scalars(None, known=False)
        try:
            check_agreement(summaries, table)
            joint = estimate_from(combine(summaries), table, captures=len(summaries))
            found.append((JOINT, joint))
        except EstimationError as error:
            found.append((JOINT, error))
    return found


def report_records(captures: Iterable[DecodedCapture]) -> list[dict[str, Any]]:
    """The results of `estimate_all` as plain JSON values.

    Returns
    -------
    list of dict
        Per capture ``{"file": name, **Estimate.to_dict()}``, or ``{"file": name, "refused":
        reason, "message": text}``. `succeeded` tells whether the command should exit with 0.
    """
    return as_records(estimate_all(captures))


def as_records(found: Iterable[tuple[str, Estimate | EstimationError]]) -> list[dict[str, Any]]:
    """See `report_records`."""
    return [
        {"file": name, "refused": one.reason, "message": str(one)}
        if isinstance(one, EstimationError)
        else {"file": name, **one.to_dict()}
        for name, one in found
    ]


def save_estimate(
    path: str | os.PathLike[str],
    found: Sequence[tuple[str, Estimate | EstimationError]],
    *,
    overwrite: bool = False,
) -> None:
    """Save the last usable result of `estimate_all`, the joint one of several captures.

    The record holds the PSF, the covariance of its parameters and the whole distribution, so that
    ``--psf RECORD`` undoes the blur by the rules of a frame's own estimate.

    Raises
    ------
    EstimationError
        No capture could be used.
    OutputExistsError
        `path` exists and `overwrite` is false.
    """
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(path)
    usable = [one for _, one in found if not isinstance(one, EstimationError)]
    if not usable:
        raise EstimationError("no capture could be used; nothing was saved", reason="flat")
    best = usable[-1]
    parameters, covariance = best.uncertain
    save_record(
        path,
        best.psf,
        covariance=covariance if parameters else None,
        parameters=parameters,
        distribution=best.distribution,
        provenance={
            "method": "blind",
            "captures": [name for name, _ in found if name != JOINT],
            "confidence": best.confidence,
        },
    )


def succeeded(records: Iterable[Mapping[str, Any]]) -> bool:
    """True where at least one capture was estimated and none was refused."""
    listed = list(records)
    return bool(listed) and not any("refused" in record for record in listed)


def report_lines(captures: Iterable[DecodedCapture], *, as_json: bool = False) -> list[str]:
    """Estimate captures and put the records into lines of text; see `render`."""
    return render(report_records(captures), as_json=as_json)


def render(records: Iterable[Mapping[str, Any]], *, as_json: bool = False) -> list[str]:
    """Records of `report_records` as text: a table, or one JSON object per line."""
    listed = list(records)
    if as_json:
        return [json.dumps(record) for record in listed]
    width = max([len(record["file"]) for record in listed], default=0)
    lines = [
        f"{'file':{width}}  radius px        sigma px         width px         noise   confidence",
    ]
    for record in listed:
        if "refused" in record:
            lines.append(f"{record['file']:{width}}  refused ({record['refused']})")
            continue
        lines.append(
            f"{record['file']:{width}}  "
            f"{record['disk_radius_px']:6.3f} ± {record['disk_radius_se']:5.3f}   "
            f"{record['gaussian_sigma_px']:6.3f} ± {record['gaussian_sigma_se']:5.3f}   "
            f"{record['width_px']:6.3f} ± {record['width_se']:5.3f}   "
            f"{record['noise']:.4f}  {record['confidence']:.2f}"
        )
    return lines
