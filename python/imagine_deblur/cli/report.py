"""``imagine-deblur report``: an HTML file to look at what a run did."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="one HTML file to look at what a run did",
        description="Write one HTML file that works offline: of one capture sliders, MTF, noise, "
        "blocks and provenance; of several an index with thumbnails. Needs the extra [report].",
        examples="""
        imagine-deblur report run.jsonl -o report.html --each pages/
        imagine-deblur report outbox/ --captures inbox/ -o pass.html
        """,
    )
    parser.add_argument(
        "source",
        metavar="RUN",
        help="a restored picture with its JSON report beside it, a JSON report, JSON lines of "
        "'process --json' or of a batch, or a folder of them such as the outbox of 'watch'",
    )
    parser.add_argument("-o", "--output", required=True, metavar="REPORT.html")
    parser.add_argument(
        "--captures",
        action="append",
        default=[],
        metavar="FILE|DIR",
        help="where the captures lie, if not where the reports say; may be repeated",
    )
    parser.add_argument(
        "--psf", metavar="RECORD", help="the PSF record the run used; its covariance is shown"
    )
    parser.add_argument(
        "--each", metavar="DIR", help="of a batch: also write the full report of each capture here"
    )
    parser.add_argument(
        "--max-bytes",
        default="12MB",
        help="of the file; pictures are reduced until they fit (default: 12MB)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing reports")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Write the report; failures of the run itself do not make this command fail."""
    from imagine_deblur.options import parse_bytes
    from imagine_deblur.report_html import write_report

    items = write_report(
        parsed.source,
        parsed.output,
        captures=parsed.captures,
        psf=parsed.psf,
        each=parsed.each,
        max_bytes=parse_bytes("max_bytes", parsed.max_bytes),
        overwrite=parsed.overwrite,
    )
    if sys.stdout.isatty():
        size = os.path.getsize(parsed.output) / 1e6
        print(f"{parsed.output}: {len(items)} captures, {size:.1f} MB")
    return 0
