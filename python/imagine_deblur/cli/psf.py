"""``imagine-deblur psf``: estimate, calibrate and show point-spread functions."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from typing import Any

from imagine_deblur.cli import psf_archive

_log = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("psf", help="estimate, calibrate or show the blur")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    estimate = actions.add_parser(
        "estimate",
        help="the blur of captures, from themselves",
        description="Estimate the blur of each capture, and of all together as captures of one "
        "instrument. Exit code 6 when one was refused.",
        examples="""
        imagine-deblur psf estimate captures/*.jpg -o lens.json
        """,
    )
    estimate.add_argument("files", nargs="+", metavar="FILE")
    estimate.add_argument("--json", action="store_true", help="one JSON object a line")
    estimate.add_argument("-o", "--output", metavar="RECORD", help="save the joint estimate")
    estimate.add_argument("--overwrite", action="store_true", help="replace an existing record")
    estimate.set_defaults(run=run_estimate)

    calibrate = actions.add_parser(
        "calibrate",
        help="the blur of captures, against a sharp reference",
        description="Measure the blur of captures against a sharp picture of the same ground; "
        "they need not be aligned. Needs the extra [geo].",
        examples="""
        imagine-deblur psf calibrate pass1.jpg --reference T33TUM_TCI.jp2 -o lens.json
        """,
    )
    calibrate.add_argument("files", nargs="+", metavar="CAPTURE")
    calibrate.add_argument(
        "--reference",
        required=True,
        metavar="SCENE",
        help="a Sentinel-2 SAFE folder, TCI JP2, GeoTIFF, or plain RGB image",
    )
    calibrate.add_argument("-o", "--output", required=True, metavar="RECORD")
    calibrate.add_argument(
        "--gsd", nargs=2, type=float, default=(37.0, 41.0), metavar=("LOW", "HIGH"),
        help="range of the captures' GSD, m/px (default: 37 41)",
    )  # fmt: skip
    calibrate.add_argument("--reference-gsd", type=float, help="of the reference, m/px")
    calibrate.add_argument(
        "--reference-mtf", type=float, default=0.22, help="the reference's MTF at its Nyquist"
    )
    calibrate.add_argument(
        "--centre", nargs=2, type=float, metavar=("LAT", "LON"),
        help="rough centre of the captures, degrees, for a georeferenced reference",
    )  # fmt: skip
    calibrate.add_argument("--extent-km", type=float, help="side of the reference that is read")
    calibrate.add_argument("--family", default="disk+gaussian", help="PSF family to fit")
    calibrate.add_argument("--psf", help="initial PSF record or preset; default: estimated")
    calibrate.add_argument("--json", action="store_true")
    calibrate.set_defaults(run=run_calibrate)

    psf_archive.add_parser(actions)

    show = actions.add_parser(
        "show",
        help="figures and plots of a PSF record",
        description="Print the figures of a PSF; with -o draw it (needs the extra [plot]).",
        examples="""
        imagine-deblur psf show lens.json -o lens.png
        imagine-deblur psf show disk:4 --json
        """,
    )
    show.add_argument("record", help="a PSF record, or disk:R, disk:R,SIGMA, gauss:SIGMA")
    show.add_argument("--json", action="store_true")
    show.add_argument("-o", "--output", metavar="PLOT.png", help="write the plots")
    show.add_argument("--before", metavar="CAPTURE", help="also plot this capture's spectrum")
    show.add_argument("--after", metavar="RESTORED", help="and its restoration's")
    show.add_argument("--reference", metavar="SCENE", help="and a sharp reference's")
    show.set_defaults(run=run_show)


def _decoded(files: list[str]) -> Iterator[Any]:
    from imagine_deblur import _core
    from imagine_deblur.psf.estimation.report import DecodedCapture

    for name in files:
        reader = _core.JpegReader(name)
        tables = reader.info["quantisation"]
        image = reader.read_rows(reader.info["rows"])
        yield DecodedCapture(name, image, tables[0] if tables else None)


def run_estimate(parsed: argparse.Namespace) -> int:
    """Print the estimates; see `imagine_deblur.psf.estimation.report`."""
    from imagine_deblur.psf.estimation.report import (
        as_records,
        estimate_all,
        render,
        save_estimate,
        succeeded,
    )
    from imagine_deblur.support.files import check_source, choose_target

    for name in parsed.files:  # named first, and before minutes of work
        check_source(name)
    for name in parsed.files if parsed.output else ():
        choose_target(name, parsed.output, overwrite=parsed.overwrite)
    found = estimate_all(_decoded(parsed.files))
    records = as_records(found)
    for line in render(records, as_json=parsed.json):
        print(line)
    if parsed.output:
        save_estimate(parsed.output, found, overwrite=parsed.overwrite)
    if succeeded(records):
        return 0
    for record in records:
        if "refused" in record:
            _log.error("%s: %s", record["file"], record["message"])
    return 6


def run_calibrate(parsed: argparse.Namespace) -> int:
    """Calibrate and save the record."""
    from imagine_deblur.calibration import calibrate_files
    from imagine_deblur.psf.presets import named_psf

    result = calibrate_files(
        parsed.files,
        parsed.reference,
        parsed.output,
        gsd_m=tuple(parsed.gsd),
        reference_gsd_m=parsed.reference_gsd,
        reference_mtf_nyquist=parsed.reference_mtf,
        centre=None if parsed.centre is None else tuple(parsed.centre),
        extent_km=parsed.extent_km,
        family=parsed.family,
        initial_psf=None if parsed.psf is None else named_psf(parsed.psf).psf,
    )
    print(json.dumps(result.to_dict()) if parsed.json else result.summary())
    return 0


def run_show(parsed: argparse.Namespace) -> int:
    """Print the record's figures and write its plots."""
    from imagine_deblur.errors import PsfError
    from imagine_deblur.psf.models import PSF
    from imagine_deblur.psf.presets import named_psf

    psf = named_psf(parsed.record).psf
    if not isinstance(psf, PSF):
        raise PsfError(f"{parsed.record} holds a grid of PSFs; show its PSFs one by one")
    figures = {
        "id": psf.id,
        **psf.to_dict(),
        "mtf50_cycles_per_px": psf.mtf50(),
        "mtf_at_nyquist": psf.mtf_nyquist(),
        "encircled_energy": {str(r): float(psf.encircled_energy(r)) for r in (1, 2, 4, 8)},
    }
    if parsed.json:
        print(json.dumps(figures))
    else:
        for key, value in figures.items():
            print(f"{key:20} {value if isinstance(value, str) else json.dumps(value)}")
    if parsed.output:
        from imagine_deblur.psf.plots import plot_record

        plot_record(
            parsed.record,
            parsed.output,
            before=parsed.before,
            after=parsed.after,
            reference=None if parsed.reference is None else _reference_spectrum(parsed),
        )
    return 0


def _reference_spectrum(parsed: argparse.Namespace) -> Any:
    from imagine_deblur.calibration.reference import read_reference
    from imagine_deblur.psf.plots import capture_gsd_m, power_spectrum

    gsd_m = capture_gsd_m(parsed.record)
    scene = read_reference(parsed.reference, capture_gsd_m=gsd_m)
    return power_spectrum(scene.image, gsd_m / scene.working_gsd_m)
