"""``imagine-deblur process``: restore files, folders or standard input."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from imagine_deblur.cli.exit_codes import exit_code
from imagine_deblur.cli.options import add_options, be_polite, options_from
from imagine_deblur.errors import ImagineDeblurError, InputImageError, OptionsError
from imagine_deblur.options import Options
from imagine_deblur.report import Report
from imagine_deblur.session import Session

_INPUT_SHARE = 4  # of max_ram that standard input may take
_SUFFIXES = {".jpg", ".jpeg", ".jpe"}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "process",
        help="restore JPEG captures",
        description="Restore JPEG captures. Outputs are complete or not there; sources are never "
        "touched. On a terminal a progress bar is shown, otherwise one JSON line a file.",
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
        "capture as NAME.restored.jpg",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON report a file")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done and write nothing"
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Restore every source; see the package for the exit codes."""
    options = options_from(parsed)
    if parsed.sources == ["-"]:
        return _pipe(parsed, options)
    jobs = _jobs(parsed.sources, parsed.output)
    be_polite(options)
    first_failure = 0
    with Session(options) as session:
        for source, target in jobs:
            try:
                if parsed.dry_run:
                    print(json.dumps(session.plan(source, target)))
                else:
                    _show(parsed, _one(session, source, target, bar=_bar_wanted(parsed)))
            except BrokenPipeError:
                raise  # not this file's fault: nobody reads our output any more
            except (ImagineDeblurError, OSError) as error:
                print(f"imagine-deblur: {source}: {error}", file=sys.stderr)
                first_failure = first_failure or exit_code(error)
    return first_failure


def _pipe(parsed: argparse.Namespace, options: Options) -> int:
    if parsed.dry_run:
        raise OptionsError("--dry-run", "-", "files and folders")
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
            print(json.dumps(report.as_dict()), file=sys.stderr)
        else:
            _show(parsed, session.process(data, parsed.output))
    return 0


def _jobs(sources: list[str], output: str | None) -> list[tuple[str, Path | None]]:
    """Return pairs of source and target; None leaves the target to the session."""
    files: list[str] = []
    folders = False
    for source in sources:
        if source == "-":
            raise OptionsError("source", "-", "standard input alone, without other files")
        if os.path.isdir(source):
            folders = True
            found = sorted(
                entry.path
                for entry in os.scandir(source)
                if entry.is_file()
                and Path(entry.name).suffix.lower() in _SUFFIXES
                and ".restored." not in entry.name
            )
            if not found:
                raise FileNotFoundError(f"{source}: no .jpg files in this folder")
            files += found
        else:
            files.append(source)
    if output is None:
        stems = [str(Path(name).with_suffix("")) for name in dict.fromkeys(files)]
        if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
            raise OptionsError("source", twice, "captures whose names differ before the suffix")
        return [(name, None) for name in files]
    if output == "-":
        raise OptionsError("--output", "-", "standard output only for standard input")
    target = Path(output)
    if len(files) == 1 and not folders and not target.is_dir():
        return [(files[0], target)]
    target.mkdir(parents=True, exist_ok=True)
    names = [Path(name).name for name in files]
    if len(set(names)) != len(names):
        raise OptionsError("--output", output, "folders whose files have different names")
    return [(name, target / Path(name).name) for name in files]


def _bar_wanted(parsed: argparse.Namespace) -> bool:
    return not parsed.json and sys.stderr.isatty()


def _one(session: Session, source: str, target: Path | None, *, bar: bool) -> Report:
    if not bar:
        return session.process(source, target)
    started = time.monotonic()

    def progress(fraction: float) -> None:
        filled = round(24 * fraction)
        seconds = time.monotonic() - started
        line = f"\r{Path(source).name}  [{'#' * filled}{'.' * (24 - filled)}] {seconds:5.1f} s"
        print(line, end="", file=sys.stderr, flush=True)

    try:
        return session.process(source, target, progress=progress)
    finally:
        print(file=sys.stderr)


def _show(parsed: argparse.Namespace, report: Report) -> None:
    if parsed.json or not sys.stdout.isatty():
        print(json.dumps(report.as_dict()), flush=True)
        return
    what = f"{report.model} on {report.engine}" if report.restored else "passed through"
    blur = ", ".join(
        f"{c['kind']} {next(v for k, v in c.items() if k != 'kind')}"
        for c in (report.psf or {}).get("components", ())
    )
    print(
        f"{report.output}: {what}, {blur or 'no PSF'}, {report.seconds['total']:.2f} s, "
        f"{report.peak_bytes / 1e6:.0f} MB peak"
    )
    for warning in report.warnings:
        print(f"  warning: {warning}", file=sys.stderr)
