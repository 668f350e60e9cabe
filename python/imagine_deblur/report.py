"""What one restoration did."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import PassedThroughWarning

SCHEMA = "imagine_deblur/report/1"
"""Name and version of the form of a report in JSON; `report.schema.json` describes it."""


@dataclass(frozen=True)
class Report:
    """Typed account of one frame; `as_dict` gives plain JSON values.

    Attributes
    ----------
    source, output : str or None
        Paths, None for arrays and bytes.
    rows, columns, bands : int
        The frame, px.
    restored : bool
        False when the capture was passed through as it is.
    passed_through : str or None
        Why it was; None where it was restored, or ``model="identity"`` was asked for.
    model, model_sha256 : str, str or None
        The network (or ``"wiener"``), and its file's hash.
    engine, precision : str
        The runtime and the arithmetic it really used.
    self_ensemble : int
        How many flips and turns were averaged.
    psf : dict or None
        The PSF used as JSON values, with ``id``; None when there was none.
    psf_source : str
        ``"estimated"``, ``"given"``, ``"record"``, ``"preset"`` or ``"none"``.
    psf_confidence : float or None
        Of an estimate, in [0, 1].
    nsr : tuple of float
        The Wiener bank's noise-to-signal ratios at Nyquist.
    seconds : dict of str to float
        Per phase: estimate, read, linear, gather, engine, store, review, write, and total.
    peak_bytes : int
        Peak resident memory of the process so far (VmHWM), file-backed pages included.
    pool : dict
        The buffer pool: capacity, high_water, resident, backing, folder, ...
    tiles, tile_rows, tile_columns, strips, margin_rows : int
        How the frame was cut; one strip is the whole frame.
    replaced_blocks : int
        Blocks that the reblur check replaced, for more than half.
    block_map : (n, m) uint8 ndarray or None
        What each block of 32 x 32 px is: 0 the network's restoration, 1 the linear one, 2 the
        capture as it was. Without the reblur check all blocks are alike. In `as_dict` it is
        ``blocks``, see `run_lengths`.
    error_map : (n, m) float64 ndarray or None
        With ``error_map=True``: the RMS error of each block's luma to expect for what is not known
        of the blur, full scale 1, see `capture.blur_error`. None where that is not asked for, where
        nothing was undone, or where the PSF is taken as certain. In `as_dict` it is
        ``expected_error``: ``side``, px, and ``rows`` of values.
    threads : int
    warnings : tuple of str
    version : str
        Of imagine_deblur.
    quality : int or None
        JPEG quality of the output, or the one whose tables are nearest to the output's; None for
        arrays.
    output_bytes : int or None
        Size of the output, None for arrays.
    """

    source: str | None
    output: str | None
    rows: int
    columns: int
    bands: int
    restored: bool
    model: str
    model_sha256: str | None
    engine: str
    precision: str
    self_ensemble: int
    psf: dict[str, Any] | None
    psf_source: str
    psf_confidence: float | None
    nsr: tuple[float, ...]
    seconds: dict[str, float]
    peak_bytes: int
    pool: dict[str, Any]
    tiles: int
    tile_rows: int
    tile_columns: int
    strips: int
    margin_rows: int
    replaced_blocks: int
    threads: int
    warnings: tuple[str, ...] = field(default=())
    version: str = ""
    quality: int | None = None
    output_bytes: int | None = None
    passed_through: str | None = None
    block_map: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    error_map: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        maps = {"block_map", "error_map"}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in maps}
        return {
            "schema": SCHEMA,
            **plain,
            "blocks": run_lengths(self.block_map),
            "expected_error": _rounded(self.error_map),
        }

    @property
    def megapixels_per_second(self) -> float:
        """Frame area over total time, MP/s."""
        return self.rows * self.columns / 1e6 / self.seconds["total"]


def warn_if_passed(report: Report, *, stacklevel: int) -> None:
    """Warn that a capture was handed back as it is, unless that was asked for.

    Parameters
    ----------
    report : Report
    stacklevel : int
        Of the caller's caller, as `warnings.warn` counts.
    """
    if report.passed_through is not None:
        warnings.warn(
            f"passed through unrestored: {report.passed_through}",
            PassedThroughWarning,
            stacklevel=stacklevel,
        )


def _rounded(errors: NDArray[np.float64] | None) -> dict[str, Any] | None:
    """A map of errors as plain JSON values with three digits."""
    if errors is None:
        return None
    return {"side": 32, "rows": [[float(f"{v:.3g}") for v in row] for row in errors]}


def run_lengths(mask: NDArray[np.uint8] | None) -> dict[str, Any] | None:
    """Return a map of blocks as plain JSON values, row by row; None for None.

    Parameters
    ----------
    mask : (n, m) uint8 ndarray or None
        See `Report.block_map`.

    Returns
    -------
    dict or None
        ``side``, px; ``rows`` and ``columns``, blocks; ``runs``, pairs of a value and how many
        blocks in a row have it. A frame that was kept whole is one pair.
    """
    if mask is None:
        return None
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] + 1))
    counts = np.diff(starts, append=flat.size)
    runs = [[int(flat[s]), int(n)] for s, n in zip(starts, counts, strict=True)]
    return {"side": 32, "rows": mask.shape[0], "columns": mask.shape[1], "runs": runs}
