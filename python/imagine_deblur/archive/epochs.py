"""One PSF for each instrument and epoch of an archive, its drift, and captures that stand out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from imagine_deblur.archive.item import Item
from imagine_deblur.archive.lanes import Lanes
from imagine_deblur.archive.looking import Look, look
from imagine_deblur.errors import EstimationError, OptionsError
from imagine_deblur.psf.estimation.estimator import (
    Estimate,
    check_agreement,
    combine,
    estimate_from,
)
from imagine_deblur.psf.estimation.quantisation_table import table_scalars

EPOCHS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m",
          "year": "%Y", "all": "all"}  # fmt: skip
"""Lengths of epochs, with the form of their names."""

OUTLIER = 4.0
"""Deviations from the epoch's middle width after which a capture stands out. One of 16,000 normal
errors is so far off; errors of the estimate have longer tails."""

_YEAR = 365.25 * 86_400.0  # s
_MAD = 1.4826  # of the median absolute deviation of normal errors to their standard deviation


@dataclass(frozen=True)
class Captured:
    """One capture of an epoch.

    Attributes
    ----------
    source : str
    time : datetime or None
    estimate : Estimate or None
        Of this capture alone.
    outlier : str
        Why it is not part of the epoch's PSF; empty where it is.
    """

    source: str
    time: datetime | None
    estimate: Estimate | None
    outlier: str = ""


@dataclass(frozen=True)
class Epoch:
    """One instrument in one epoch.

    Attributes
    ----------
    instrument, name : str
    captures : tuple of Captured
    joint : Estimate or None
        Of all captures but outliers; None where they do not agree or tell nothing.
    refused : str
        Why there is none.
    """

    instrument: str
    name: str
    captures: tuple[Captured, ...]
    joint: Estimate | None = None
    refused: str = ""

    @property
    def time(self) -> datetime | None:
        """The middle of the captures' times."""
        known = sorted(c.time.timestamp() for c in self.captures if c.time is not None)
        return datetime.fromtimestamp(float(np.median(known)), UTC) if known else None


@dataclass(frozen=True)
class Drift:
    """A straight line through the widths of an instrument's epochs.

    Attributes
    ----------
    per_year : float
        Change of the rms width, px a year.
    standard_error : float
    """

    per_year: float
    standard_error: float


@dataclass
class Calibrated:
    """An archive's PSFs.

    Attributes
    ----------
    epochs : list of Epoch
        By instrument, then by time.
    drifts : dict of str to Drift
        Of instruments with three epochs or more.
    """

    epochs: list[Epoch] = field(default_factory=list)
    drifts: dict[str, Drift] = field(default_factory=dict)


def look_at(
    items: Sequence[Item],
    lanes: Lanes,
    timeout: float,
    watch: Callable[[Look], object] = lambda look: None,
) -> list[Look]:
    """Measure every capture of an archive with the workers at hand, in the order of the items.

    A capture whose worker dies is told as one that could not be used.
    """
    found: dict[int, Look] = {}
    waiting = iter(enumerate(items))
    more = True
    while more or len(found) < len(items):
        while more and lanes.free:
            numbered = next(waiting, None)
            if numbered is None:
                more = False
                break
            lanes.submit(numbered[0], look, numbered[1], timeout)
        for token, result in lanes.wait(0.5):
            assert isinstance(token, int)
            if isinstance(result, BaseException):
                result = Look(items[token].name, refused=str(result) or type(result).__name__)
            found[token] = result
            watch(result)
    return [found[number] for number in range(len(items))]


def calibrate(looks: Iterable[Look], epoch: str) -> Calibrated:
    """Return one PSF for each instrument and epoch.

    Captures of one epoch are averaged as spectra, weighted by what they show, and estimated
    together (`psf.estimation`). Before that, captures whose width is far from the others', or
    whose blur is of another family, are put aside.

    Parameters
    ----------
    looks : iterable of Look
    epoch : str
        One of `EPOCHS`.
    """
    if epoch not in EPOCHS:
        raise OptionsError("epoch", epoch, ", ".join(EPOCHS))
    groups: dict[tuple[str, str], list[Look]] = defaultdict(list)
    for one in looks:
        name = "undated" if one.time is None else one.time.strftime(EPOCHS[epoch])
        groups[one.instrument or "unknown", "all" if epoch == "all" else name].append(one)
    found = Calibrated()
    for (instrument, name), members in sorted(groups.items()):
        found.epochs.append(_epoch(instrument, name, members))
    for instrument in dict.fromkeys(e.instrument for e in found.epochs):
        own = [e for e in found.epochs if e.instrument == instrument]
        if (drift := _drift(own)) is not None:
            found.drifts[instrument] = drift
    return found


def _epoch(instrument: str, name: str, members: Sequence[Look]) -> Epoch:
    estimates = [
        None if one.summary is None or one.table is None else estimate_from(one.summary, one.table)
        for one in members
    ]
    reasons = _outliers(estimates)
    captures = tuple(
        Captured(one.source, one.time, estimate, one.refused or reason)
        for one, estimate, reason in zip(members, estimates, reasons, strict=True)
    )
    kept = [
        one
        for one, captured in zip(members, captures, strict=True)
        if not captured.outlier and one.summary is not None and one.table is not None
    ]
    if not kept:
        return Epoch(instrument, name, captures, refused="no capture tells its blur")
    summaries = [one.summary for one in kept if one.summary is not None]
    tables = [one.table for one in kept if one.table is not None]
    same = all(np.array_equal(table, tables[0]) for table in tables)
    table = tables[0] if same else table_scalars(None, known=False)
    try:
        check_agreement(summaries, table)
    except EstimationError as error:
        return Epoch(instrument, name, captures, refused=str(error))
    joint = estimate_from(combine(summaries), table, captures=len(summaries))
    return Epoch(instrument, name, captures, joint)


def _outliers(estimates: Sequence[Estimate | None]) -> list[str]:
    """Return why captures stand out from the others of their epoch, empty where they do not."""
    known = [one for one in estimates if one is not None]
    reasons = ["" for _ in estimates]
    if len(known) < 3:
        return reasons
    families = [one.family for one in known]
    usual = max(sorted(set(families)), key=families.count)
    widths = np.array([one.width_px for one in known if one.family == usual])
    middle = float(np.median(widths))
    scatter = _MAD * float(np.median(np.abs(widths - middle)))
    for number, one in enumerate(estimates):
        if one is None:
            continue
        if one.family != usual and families.count(usual) > len(known) / 2:
            reasons[number] = f"its blur is {one.family}, the others' {usual}"
            continue
        spread = max(one.width_se, scatter)
        if abs(one.width_px - middle) > OUTLIER * spread:
            reasons[number] = (
                f"width {one.width_px:.2f} px, {abs(one.width_px - middle) / spread:.1f} "
                f"deviations from the others' {middle:.2f} px"
            )
    return reasons


def _drift(epochs: Sequence[Epoch]) -> Drift | None:
    """Return the weighted least-squares line through the widths of three epochs or more."""
    points = [
        (e.time.timestamp() / _YEAR, e.joint.width_px, e.joint.width_se)
        for e in epochs
        if e.joint is not None and e.time is not None
    ]
    if len(points) < 3:
        return None
    time, width, error = np.array(points).T
    if np.ptp(time) == 0:
        return None
    weight = 1.0 / np.maximum(error, 1e-6) ** 2
    centred = time - np.average(time, weights=weight)
    information = float(np.sum(weight * centred**2))
    slope = float(np.sum(weight * centred * width) / information)
    # Epochs that scatter more than their errors say make the line less certain.
    left = width - np.average(width, weights=weight) - slope * centred
    excess = max(1.0, float(np.sum(weight * left**2)) / (len(points) - 2))
    return Drift(slope, float(np.sqrt(excess / information)))


def as_dict(epoch: Epoch) -> dict[str, Any]:
    """Return plain JSON values."""
    joint = epoch.joint
    return {
        "instrument": epoch.instrument,
        "epoch": epoch.name,
        "time": None if epoch.time is None else epoch.time.isoformat(),
        "captures": len(epoch.captures),
        "used": sum(not c.outlier for c in epoch.captures),
        "estimate": None if joint is None else joint.to_dict(),
        "refused": epoch.refused,
        "outliers": [
            {"source": c.source, "reason": c.outlier} for c in epoch.captures if c.outlier
        ],
    }
