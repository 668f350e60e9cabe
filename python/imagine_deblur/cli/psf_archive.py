"""``imagine-deblur psf archive``: one PSF for each instrument and epoch of an archive."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

from imagine_deblur.cli.batch import tell_incomplete
from imagine_deblur.cli.exit_codes import exit_code_of
from imagine_deblur.cli.progress import BatchProgress
from imagine_deblur.errors import OutputExistsError

_log = logging.getLogger(__name__)
_EPOCHS = ("hour", "day", "week", "month", "year", "all")


def add_parser(actions: Any) -> None:
    """Add the action to the parser of ``psf``."""
    parser = actions.add_parser(
        "archive",
        help="one PSF for each instrument and epoch of an archive",
        description="Measure every capture, put aside those that stand out, and estimate one PSF "
        "for each instrument and epoch. OUT gets a record of each, the drift as plots, and "
        "epochs.json with outliers. Times and instruments come from EXIF, TIFF tags or STAC. Exit "
        "code 6 when an epoch has no PSF.",
        examples="""
        imagine-deblur psf archive captures/ -r -o psfs/ --epoch month
        imagine-deblur psf archive catalog.json -o psfs/ --scheduler tcp://10.0.0.1:8786
        """,
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="files, folders, patterns, @LIST, STAC, as batch"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a folder")
    parser.add_argument("-r", "--recursive", action="store_true", help="go into sub-folders")
    parser.add_argument(
        "--epoch", choices=_EPOCHS, default="month", help="how long one PSF holds (default: month)"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--workers", type=int, metavar="N", help="processes; default: one a core")
    who.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that runs")
    parser.add_argument("--asset", action="append", default=[], metavar="KEY", help="of STAC items")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="that a remote file may stay silent (default: 60)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object an epoch")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in OUT")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Measure, estimate, write, and print a line an epoch."""
    from imagine_deblur.archive.batch import fitting_workers
    from imagine_deblur.archive.epochs import as_dict, calibrate, look_at
    from imagine_deblur.archive.inputs import find_items
    from imagine_deblur.archive.lanes import ClusterLanes, LocalLanes
    from imagine_deblur.options import Options

    out = Path(parsed.output)
    index = out / "epochs.json"
    if index.exists() and not parsed.overwrite:
        raise OutputExistsError(index)
    found = find_items(
        parsed.inputs, recursive=parsed.recursive, assets=parsed.asset, timeout=parsed.timeout
    )
    tell_incomplete(found)
    if parsed.scheduler is not None:
        lanes: ClusterLanes | LocalLanes = ClusterLanes(parsed.scheduler)
    else:
        lanes = LocalLanes(fitting_workers(parsed.workers, Options().ram_bytes, len(found.items)))
    bar = BatchProgress(len(found.items), visible=sys.stderr.isatty())
    try:
        with bar:
            looks = look_at(found.items, lanes, parsed.timeout, lambda look: bar.finished())
    finally:
        lanes.close()
    calibrated = calibrate(looks, parsed.epoch)
    out.mkdir(parents=True, exist_ok=True)
    _write(out, calibrated)
    for epoch in calibrated.epochs:
        print(json.dumps(as_dict(epoch)) if parsed.json else _line(epoch))
        for captured in epoch.captures:
            if captured.outlier:
                _log.info("put aside %s: %s", captured.source, captured.outlier)
        if epoch.joint is None:
            _log.error("%s, %s: %s", epoch.instrument, epoch.name, epoch.refused)
    for instrument, drift in calibrated.drifts.items():
        _log.info(
            "%s: the width changes by %+.3f ± %.3f px a year",
            instrument, drift.per_year, drift.standard_error,
        )  # fmt: skip
    if any(epoch.joint is None for epoch in calibrated.epochs):
        return 6
    return exit_code_of("InputImageError") if found.broken else 0


def _write(out: Path, calibrated: Any) -> None:
    """Write records, plots and the index; the index last."""
    from imagine_deblur.archive.drift_plot import plot_drift
    from imagine_deblur.archive.epochs import as_dict
    from imagine_deblur.psf.estimation.report import JOINT, save_estimate
    from imagine_deblur.support.files import write_text

    entries = []
    for epoch in calibrated.epochs:
        entry = as_dict(epoch)
        if epoch.joint is not None:
            name = Path(_plain(epoch.instrument)) / f"{_plain(epoch.name)}.json"
            (out / name).parent.mkdir(exist_ok=True)
            used = [
                (c.source, c.estimate)
                for c in epoch.captures
                if not c.outlier and c.estimate is not None
            ]
            save_estimate(out / name, [*used, (JOINT, epoch.joint)], overwrite=True)
            entry["record"] = name.as_posix()
        entries.append(entry)
    for instrument in dict.fromkeys(e.instrument for e in calibrated.epochs):
        own = [e for e in calibrated.epochs if e.instrument == instrument]
        path = out / f"drift_{_plain(instrument)}.svg"
        try:
            plot_drift(path, own, calibrated.drifts.get(instrument))
        except ImportError as error:
            _log.warning("no plot: %s", error)
            break
    drifts = {
        instrument: {"width_px_per_year": drift.per_year, "standard_error": drift.standard_error}
        for instrument, drift in calibrated.drifts.items()
    }
    write_text(
        out / "epochs.json", json.dumps({"epochs": entries, "drifts": drifts}, indent=1) + "\n"
    )


def _plain(name: str) -> str:
    """Return a name for a file, without what file systems or shells take for something else."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "_"


def _line(epoch: Any) -> str:
    used = sum(not c.outlier for c in epoch.captures)
    head = f"{epoch.instrument}  {epoch.name}  {used} of {len(epoch.captures)} captures  "
    joint = epoch.joint
    if joint is None:
        return head + "no PSF"
    return head + (
        f"radius {joint.disk_radius_px:.3f} ± {joint.disk_radius_se:.3f} px, "
        f"sigma {joint.gaussian_sigma_px:.3f} ± {joint.gaussian_sigma_se:.3f} px, "
        f"width {joint.width_px:.3f} ± {joint.width_se:.3f} px"
    )
