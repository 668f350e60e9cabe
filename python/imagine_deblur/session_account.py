"""What a session says of a frame: the provenance inside the file and the report."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur._version import VERSION
from imagine_deblur.capture.result import Analysis
from imagine_deblur.engines.model import IDENTITY
from imagine_deblur.planning import Region
from imagine_deblur.report import Report
from imagine_deblur.restoration.pieces import touched_blocks
from imagine_deblur.restoration.reblur_check import CAPTURE, KEPT, WIENER, ReblurCheck
from imagine_deblur.session_frame import Run
from imagine_deblur.session_parts import Parts
from imagine_deblur.support.process_memory import status_bytes

_PHASES = ("read", "linear", "gather", "engine", "store", "review", "write")


def facts(run: Run, found: Analysis) -> dict[str, Any]:
    """Return how a frame is restored, as plain JSON values."""
    return {
        "version": VERSION,
        "model": run.model.name,
        "model_sha256": run.model.sha256,
        "engine": run.engine.name,
        "precision": run.engine.precision,
        "self_ensemble": run.folds,
        "psf": None if found.told_psf is None else found.told_psf.to_dict(),
        "psf_id": None if found.told_psf is None else found.told_psf.id,
        "psf_source": found.psf_source,
        "nsr": None if run.spec is None else list(run.spec.nsr),
    }


def plan_of(parts: Parts, run: Run, found: Analysis, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return what would be done to a frame, as plain JSON values."""
    return {
        **dict(zip(("rows", "columns", "bands"), shape, strict=True)),
        "threads": parts.threads,
        "tile": [run.engine.tile_rows, run.engine.tile_columns],
        "pool_bytes": run.pool.capacity,
        "warnings": list(found.warnings),
        **facts(run, found),
    }


def report_of(
    parts: Parts,
    run: Run,
    found: Analysis,
    shape: tuple[int, int, int],
    native: dict[str, Any],
    *,
    source: str | None,
    output: str | None,
    times: tuple[float, float],
    error_map: NDArray[np.float64] | None = None,
    region: Region | None = None,
) -> Report:
    """Return the report of a frame that has run.

    Parameters
    ----------
    parts, run
        What it ran through.
    found : Analysis
        With the frame's warnings.
    shape : (int, int, int)
        Rows, columns, bands.
    native : dict
        The core's account.
    source, output : str or None
        Paths.
    times : (float, float)
        `time.perf_counter` at the start, and when the analysis stood.
    error_map : (n, m) float64 ndarray, optional
        See `Report.error_map`.
    region : Region, optional
        What was wanted of the frame; the report is of it alone.
    """
    wanted = shape[:2] if region is None else tuple(s.stop - s.start for s in region)
    seconds = {"estimate": times[1] - times[0]}
    seconds |= {phase: native[f"{phase}_seconds"] for phase in _PHASES}
    seconds["total"] = time.perf_counter() - times[0]
    if parts.chooser is not None:
        parts.chooser.observe(shape[0] * shape[1], seconds)
    return Report(
        source=source,
        output=output,
        rows=wanted[0],
        columns=wanted[1],
        bands=shape[2],
        restored=run.model is not IDENTITY,
        model=run.model.name,
        model_sha256=run.model.sha256,
        engine=run.engine.name,
        precision=run.engine.precision,
        self_ensemble=run.folds,
        psf=_psf_of(found),
        psf_source=found.psf_source,
        psf_confidence=found.confidence,
        nsr=() if run.spec is None else run.spec.nsr,
        seconds=seconds,
        peak_bytes=status_bytes("VmHWM"),
        pool=run.pool.statistics(),
        tiles=native["tiles"],
        tile_rows=native["tile_rows"],
        tile_columns=native["tile_columns"],
        strips=native["strips"],
        margin_rows=native["margin_rows"],
        replaced_blocks=native["replaced_blocks"],
        quality=native.get("quality"),
        output_bytes=native.get("output_bytes"),
        block_map=_block_map(run, shape, region),
        error_map=error_map,
        threads=parts.threads,
        warnings=found.warnings,
        passed_through=found.passed if run.model is IDENTITY else None,
        version=VERSION,
    )


def _psf_of(found: Analysis) -> dict[str, Any] | None:
    """The PSF with what is known of its uncertainty."""
    if (psf := found.told_psf) is None:
        return None
    errors = {"standard_errors": dict(found.standard_errors)} if found.standard_errors else {}
    return {"id": psf.id, **psf.to_dict(), **errors}


def blocks_of(
    check: ReblurCheck, shape: tuple[int, int, int], region: Region | None
) -> NDArray[np.uint8]:
    """Return what became of each block of a frame, or of those that a region touches."""
    mask = check.frame_mask(shape[0], shape[1])
    if region is None:
        return mask
    return mask[tuple(touched_blocks(s.start, s.stop) for s in region)]


def _block_map(run: Run, shape: tuple[int, int, int], region: Region | None) -> NDArray[np.uint8]:
    """What each block is, see `Report.block_map`."""
    check = None if run.stage is None else run.stage.reblur_check
    if check is not None and run.model.is_network:
        return blocks_of(check, shape, region)
    kind = KEPT if run.model.is_network else WIENER if run.model.linear else CAPTURE
    return np.full_like(blocks_of(ReblurCheck(), shape, region), kind)
