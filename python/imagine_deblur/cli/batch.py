"""``imagine-deblur batch``: restore an archive on many cores, and go on where it stopped."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from imagine_deblur.cli import rasters
from imagine_deblur.cli.exit_codes import exit_code_of
from imagine_deblur.cli.options import add_options, options_from
from imagine_deblur.cli.progress import BatchProgress
from imagine_deblur.cli.summary import Outcome, Summary
from imagine_deblur.errors import OptionsError

if TYPE_CHECKING:
    from imagine_deblur.archive import Found
    from imagine_deblur.archive.summary import BatchSummary

_log = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "batch",
        help="restore an archive on many cores or a Dask cluster",
        description="Restore many captures and scenes, each by one worker with one thread. One "
        "JSON line an item goes into a manifest. Outputs are complete or not there, and their "
        "bytes do not depend on who made them. The same command again goes on where it stopped.",
        examples="""
        imagine-deblur batch scenes/ -r -o restored/ --psf lens.json
        imagine-deblur batch 's3://bucket/2026/**/*.tif' -o restored/ --workers 8
        imagine-deblur batch collection.json -o restored/ --stac-out stac/
        imagine-deblur batch @list.txt -o /shared/out --scheduler tcp://10.0.0.1:8786
        """,
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="files, folders, patterns, @LIST, STAC items, collections, catalogs or search "
        "results (JSON); local, s3:// or https://",
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a folder, or s3://")
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="go into sub-folders, and keep them"
    )
    parser.add_argument(
        "--list", action="append", default=[], metavar="FILE", help="a text file, one input a line"
    )
    parser.add_argument(
        "--asset",
        action="append",
        default=[],
        metavar="KEY",
        help="asset of STAC items to restore; may be repeated; default: images of role 'data'",
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes of this machine; default: one a core, as far as --max-ram of each fits",
    )
    who.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster that runs: tcp://HOST:8786"
    )
    parser.add_argument(
        "--manifest", metavar="FILE", help="default: OUT/manifest.jsonl; needed where OUT is s3://"
    )
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave outputs alone that the manifest does not know, instead of failing",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="further attempts after failures that may pass (default: 2)",
    )
    parser.add_argument(
        "--retry-quarantined",
        action="store_true",
        help="try again what ended two workers before",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="that a remote file may stay silent (default: 60)",
    )
    parser.add_argument(
        "--item-seconds",
        type=float,
        default=7200.0,
        metavar="SECONDS",
        help="that an item may take before its worker is ended (default: 7200)",
    )
    parser.add_argument("--stac-out", metavar="DIR", help="also write a STAC item of each output")
    rasters.add_flags(parser)
    add_options(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Restore the archive; the exit code is that of the first failure."""
    from imagine_deblur.archive.batch import restore_archive
    from imagine_deblur.archive.inputs import find_items

    if not parsed.inputs and not parsed.list:
        raise OptionsError("input", None, "files, folders, patterns, @LIST or STAC, or --list")
    signal.signal(signal.SIGTERM, _interrupt)
    found = find_items(
        parsed.inputs,
        lists=parsed.list,
        recursive=parsed.recursive,
        assets=parsed.asset,
        output=parsed.output,
        timeout=parsed.timeout,
    )
    told = Summary()
    bar = BatchProgress(len(found.items), visible=sys.stderr.isatty())

    def watch(source: str, outcome: str, reason: str) -> None:
        counted: Outcome = "failed" if outcome == "quarantined" else outcome  # type: ignore[assignment]
        told.add(source, counted, reason)
        bar.at(os.path.basename(source), 0.0)
        bar.finished(worked=outcome != "skipped")
        if counted == "failed":
            text = reason if source in reason else f"{source}: {reason}"
            _log.error("%s", f"{text} (quarantined)" if outcome == "quarantined" else text)
        else:
            _log.debug("%s: %s %s, %s", source, outcome, reason, bar.text())

    for path, reason in found.passed_over:
        _log.debug("passed over %s: %s", path, reason)
    if found.passed_over:
        _log.info("passed over: %d files or folders (-v names them)", len(found.passed_over))
    tell_incomplete(found)
    try:
        with bar:
            summary = restore_archive(
                found.items,
                parsed.output,
                workers=parsed.workers,
                scheduler=parsed.scheduler,
                options=options_from(parsed),
                bands=rasters.bands(parsed),
                band_psf=rasters.band_psfs(parsed),
                manifest=parsed.manifest,
                retries=parsed.retries,
                skip_existing=parsed.skip_existing,
                retry_quarantined=parsed.retry_quarantined,
                timeout=parsed.timeout,
                item_seconds=parsed.item_seconds,
                stac_output=parsed.stac_out,
                watch=watch,
            )
    finally:
        for line in told.lines(bar.seconds) if told.total else ():
            _log.info("%s", line)
        if told.total and (missing := len(found.items) - told.total):
            _log.info("  not reached: %d; the same command again goes on", missing)
    if summary.damaged_lines:
        _log.warning(
            "%s: %d damaged lines passed over; their items were looked at again",
            summary.manifest, summary.damaged_lines,
        )  # fmt: skip
    print(json.dumps({**counts(summary), "manifest": summary.manifest}))
    if not summary.failures:
        return exit_code_of("InputImageError") if found.broken else 0
    return exit_code_of(summary.failures[0].kind, summary.failures[0].number)


def tell_incomplete(found: Found) -> None:
    """Name the documents that cannot be read, and the answers of which there is more."""
    for href, reason in found.broken:
        _log.error("%s: %s; what it leads to is left out", href, reason)
    for href in found.more:
        _log.warning(
            "%s: one page of a longer answer, see its link 'next'; give the other pages too", href
        )


def counts(summary: BatchSummary) -> dict[str, Any]:
    """Return what became of a batch as plain values."""
    names = ("items", "restored", "passed_through", "skipped", "failed", "quarantined")
    values: dict[str, Any] = {name: getattr(summary, name) for name in names}
    return values | {"seconds": round(summary.seconds, 3)}


def _interrupt(number: int, frame: object) -> None:
    """End like Ctrl-C, so that workers are ended and what is not finished is removed."""
    raise KeyboardInterrupt
