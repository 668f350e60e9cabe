"""``imagine-deblur process``: restore files, folders or standard input."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_deblur.cli import rasters
from imagine_deblur.cli.captures import Found, Job, find_captures
from imagine_deblur.cli.exit_codes import exit_code, told
from imagine_deblur.cli.lines import failed_line, restored_line, skipped_line
from imagine_deblur.cli.options import add_options, be_polite, options_from
from imagine_deblur.cli.progress import STATUS, BatchProgress, in_words
from imagine_deblur.cli.streams import say
from imagine_deblur.cli.summary import Summary
from imagine_deblur.errors import ImagineDeblurError, InputImageError, OptionsError
from imagine_deblur.options import Options
from imagine_deblur.report import Report
from imagine_deblur.session import Session
from imagine_deblur.support.terminal_text import escaped

if TYPE_CHECKING:
    from imagine_deblur.raster import RasterReport

_INPUT_SHARE = 4  # of max_ram that standard input may take
_PASSED_OVER = 5  # files that are no captures, named without -v

_log = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "process",
        help="restore JPEG captures and rasters",
        description="Restore JPEG captures, and with the extra [raster] GeoTIFF, JPEG 2000 and "
        "PNG of any size. Outputs are complete or not there; sources are never "
        "touched. On a terminal it shows how far it is; otherwise it prints one JSON line a "
        "capture. Several captures end with a summary.",
        examples="""
        imagine-deblur process capture.jpg                    # writes capture.restored.jpg
        imagine-deblur process captures/ -r -o restored/      # with sub-folders
        imagine-deblur process captures/ -o restored/ --psf lens.json --skip-existing
        imagine-deblur process capture.jpg --quality auto     # a file like the capture's
        imagine-deblur process capture.jpg --max-bytes 200kB  # for a downlink
        imagine-deblur process captures/ -o restored/ --json > run.jsonl
        imagine-deblur process - < capture.jpg > restored.jpg
        """,
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="FILE|DIR|-",
        help="captures, folders of captures, or - for standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="a file for one capture, else a folder; - for standard output; default: beside the "
        "capture as NAME.restored.jpg, of a raster NAME.restored.tif",
    )
    parser.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="go into sub-folders; the output folder gets the same ones",
    )
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave captures alone whose result is there, to go on with a batch",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON line a capture, failures too"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done and write nothing"
    )
    rasters.add_flags(parser)
    add_options(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Restore every source; see the package for the exit codes."""
    options = options_from(parsed)
    if parsed.skip_existing and options.overwrite:
        raise OptionsError("--skip-existing", True, "either this or --overwrite")
    if parsed.sources == ["-"]:
        return _pipe(parsed, options)
    found = find_captures(parsed.sources, parsed.output, recursive=parsed.recursive)
    return _Batch(parsed, be_polite(options), found).run()


class _Batch:
    """Restores captures one after another and keeps account of them."""

    def __init__(self, parsed: argparse.Namespace, options: Options, found: Found) -> None:
        self._parsed, self._options, self._found = parsed, options, found
        self._summary = Summary()
        self._as_json = parsed.json or parsed.dry_run or not sys.stdout.isatty()
        self._verbose = _log.isEnabledFor(logging.DEBUG)
        shown_twice = self._as_json and sys.stdout.isatty()
        visible = sys.stderr.isatty() and not shown_twice and _log.isEnabledFor(logging.INFO)
        self._progress = BatchProgress(len(found.jobs), visible=visible)

    def run(self) -> int:
        """Return the code of the first capture that failed."""
        first_failure = 0
        self._name_passed_over()
        try:
            with Session(self._options) as session, self._progress:
                for job in self._found.jobs:
                    try:
                        self._one(session, job)
                    except (ImagineDeblurError, OSError) as error:
                        self._failed(job, error)
                        first_failure = first_failure or exit_code(error)
        except KeyboardInterrupt:
            self._summarise()
            raise
        self._summarise()
        return first_failure

    def _one(self, session: Session, job: Job) -> None:
        if self._parsed.skip_existing and os.path.lexists(job.result):
            reason = "the result is there already"
            self._summary.add(job.source, "skipped", reason)
            self._progress.finished(worked=False)
            self._print(skipped_line(job.source, job.result, reason), f"{job.source}: {reason}")
            return
        if self._parsed.dry_run and rasters.is_raster(job.source):
            raise OptionsError("--dry-run", job.source, "JPEG captures")
        if self._parsed.dry_run:
            self._print(json.dumps(session.plan(job.source, job.target)), "")
            return
        name = Path(job.source).name

        def progress(fraction: float) -> None:
            self._progress.at(name, fraction)

        shown = progress if self._progress.visible else None
        report: Report | RasterReport
        if rasters.is_raster(job.source):
            report = rasters.restore(self._parsed, self._options, job.source, job.result, shown)
            lines = json.dumps(report.to_dict()), rasters.in_a_line(report)
        else:
            report = session.process(job.source, job.target, progress=shown)
            lines = restored_line(report), in_a_line(report)
        passed = report.passed_through if isinstance(report, Report) else None
        passed = passed or "; ".join(report.warnings) or f"model {report.model}"
        self._summary.add(job.source, "restored" if report.restored else "passed through", passed)
        self._progress.finished()
        self._print(*lines)
        for warning in report.warnings:  # a JSON line holds them
            _log.log(
                logging.DEBUG if self._as_json else logging.WARNING, "%s: %s", job.source, warning
            )
        _log.debug("%s, %s", self._progress.text(), job.source)

    def _failed(self, job: Job, error: BaseException) -> None:
        text = told(error)
        self._summary.add(job.source, "failed", text)
        self._progress.finished(worked=False)
        self._print(failed_line(job.source, error), "")
        _log.error("%s", text if job.source in text else f"{job.source}: {text}")

    def _print(self, line: str, words: str) -> None:
        """Print a capture's line; in words only where it is alone or more was asked for."""
        STATUS.clear()
        if self._as_json:
            say(line)
        elif words and (len(self._found.jobs) == 1 or self._verbose):
            say(escaped(words))

    def _name_passed_over(self) -> None:
        """Tell which files in the folders are no captures; all of them with ``-v``."""
        passed_over = self._found.passed_over
        for path, reason in passed_over:
            _log.debug("passed over %s: %s", path, reason)
        if passed_over and not self._verbose:
            names = [os.path.basename(path) for path, _ in passed_over[:_PASSED_OVER]]
            more = len(passed_over) - len(names)
            listed = ", ".join(names) + (f" and {more} more (-v names them)" if more else "")
            reasons = "; ".join(dict.fromkeys(reason for _, reason in passed_over))
            _log.info("passed over in the folders: %s (%s)", listed, reasons)

    def _summarise(self) -> None:
        """Print what became of several captures; one alone has said so itself."""
        if len(self._found.jobs) < 2 or self._parsed.dry_run:
            return
        for line in self._summary.lines(self._progress.seconds):
            _log.info("%s", line)
        if missing := len(self._found.jobs) - self._summary.total:
            _log.info("  not reached: %d", missing)


def _pipe(parsed: argparse.Namespace, options: Options) -> int:
    if parsed.dry_run:
        raise OptionsError("--dry-run", "-", "files and folders")
    if parsed.output in (None, "-") and sys.stdout.isatty():
        raise OptionsError(
            "output", "-", "a file (-o FILE) or a pipe: a terminal cannot show a JPEG"
        )
    most = options.ram_bytes // _INPUT_SHARE
    data = sys.stdin.buffer.read(most + 1)
    if len(data) > most:
        raise InputImageError(
            f"standard input has more than {most} bytes, 1/{_INPUT_SHARE} of max_ram: give a file, "
            "which is read piece by piece, or raise --max-ram"
        )
    with Session(options) as session:
        if parsed.output in (None, "-"):
            restored = io.BytesIO()
            report = session.process(data, restored)
            sys.stdout.buffer.write(restored.getvalue())
            print(restored_line(report), file=sys.stderr)
        else:
            report = session.process(data, parsed.output)
            as_json = parsed.json or not sys.stdout.isatty()
            say(restored_line(report) if as_json else in_a_line(report))
    return 0


def in_a_line(report: Report) -> str:
    """Return what was done to a capture, for people."""
    what = f"{report.model} on {report.engine}" if report.restored else "passed through"
    blur = ", ".join(_blur(component) for component in (report.psf or {}).get("components", ()))
    return (
        f"{report.output}: {what}, {blur or 'no PSF'}, {in_words(report.seconds['total'])}, "
        f"{report.peak_bytes / 1e6:.0f} MB peak"
    )


def _blur(component: Mapping[str, Any]) -> str:
    """A component of a PSF with its lengths, px."""
    lengths = [f"{v:.2f} px" for k, v in component.items() if k.endswith("_px") and v is not None]
    return " ".join([str(component["kind"]), *lengths])
