"""``imagine-deblur watch``: the post-processing step of a camera's capture pipeline."""

from __future__ import annotations

import argparse
import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from imagine_deblur.cli.options import add_options, be_polite, options_from
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options
from imagine_deblur.watch.configuration import last_good
from imagine_deblur.watch.folders import InboxBusyError
from imagine_deblur.watch.log import LineHandler
from imagine_deblur.watch.service import EXIT_BUSY, STATE, Service
from imagine_deblur.watch.settings import AFTER, ON_FAILURE, WatchSettings

_log = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "watch",
        help="restore captures as they arrive",
        description="Restore every capture that arrives in INBOX into OUTBOX, once, in order, with "
        "a JSON report beside it. SIGTERM stops, SIGHUP reads PSF record and network again. "
        "Exit codes: 0 stopped or done; 2 wrong usage; 5 out of memory; 8 a file error; 9 another "
        "service has the inbox; 10 nothing moved for --hang-after; 130 interrupted; with --once "
        "also 4 the model cannot be trusted, 5 no room, 8 a capture cannot be read.",
        examples="""
        imagine-deblur watch inbox/ outbox/ --psf lens.json --max-ram 280MB
        imagine-deblur watch inbox/ outbox/ --once    # what is there, then stop
        """,
    )
    parser.add_argument("inbox", type=Path, metavar="INBOX")
    parser.add_argument("outbox", type=Path, metavar="OUTBOX")
    default = WatchSettings()
    service = parser.add_argument_group("service")
    service.add_argument("--once", action="store_true", help="process what is there and stop")
    service.add_argument(
        "--on-failure",
        choices=ON_FAILURE,
        default=default.on_failure,
        help="a capture that cannot be restored goes to OUTBOX untouched (default), or to the "
        "quarantine",
    )
    service.add_argument(
        "--after",
        choices=AFTER,
        default=default.after,
        help="what happens to a delivered capture in INBOX (default: keep)",
    )
    service.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="journal, heartbeat, metrics (default: OUTBOX/.imagine-deblur)",
    )
    service.add_argument(
        "--quarantine", type=Path, metavar="DIR", help="default: OUTBOX/quarantine"
    )
    service.add_argument("--poll", type=float, metavar="SECONDS", default=default.poll)
    service.add_argument(
        "--stable-polls",
        type=int,
        metavar="N",
        default=default.stable_polls,
        help="looks in a row that must find a file unchanged",
    )
    service.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        default=default.patience,
        help="wait for the rest of a file that does not end as a JPEG",
    )
    service.add_argument(
        "--max-pending",
        type=int,
        metavar="N",
        default=default.max_pending,
        help="results in OUTBOX before the service holds; 0: no limit",
    )
    service.add_argument(
        "--min-free",
        metavar="BYTES",
        default=default.min_free,
        help="disk space that stays free (default: 64MB)",
    )
    service.add_argument(
        "--max-crashes",
        type=int,
        metavar="N",
        default=default.max_crashes,
        help="process deaths in a row that make a capture poison",
    )
    service.add_argument(
        "--late-after",
        type=float,
        metavar="SECONDS",
        default=default.late_after,
        help="captures that waited longer are not restored but fall back",
    )
    service.add_argument(
        "--stop-within",
        type=float,
        metavar="SECONDS",
        default=default.stop_within,
        help="time for the frame in hand after SIGTERM",
    )
    service.add_argument(
        "--check-every",
        type=int,
        metavar="N",
        default=default.check_every,
        help="frames between integrity checks",
    )
    service.add_argument(
        "--golden-every",
        type=int,
        metavar="N",
        default=default.golden_every,
        help="frames between self-tests",
    )
    service.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="do not compare outputs with captures",
    )
    service.add_argument(
        "--keep-records",
        type=int,
        metavar="N",
        default=default.keep_records,
        help="finished captures remembered after they left INBOX",
    )
    service.add_argument(
        "--max-file",
        metavar="BYTES",
        default=default.max_file,
        help="larger files stay in INBOX, and the quarantine says why (default: 256MB)",
    )
    service.add_argument(
        "--hang-after",
        type=float,
        metavar="SECONDS",
        default=default.hang_after,
        help="end the process when nothing moved for so long (default: 600)",
    )
    add_options(parser)
    parser.set_defaults(run=run, log_handler=LineHandler)


def run(parsed: argparse.Namespace) -> int:
    """Serve; see the parser's description for the exit codes."""
    settings, options = _configured(parsed)
    options = be_polite(options)
    try:
        return Service(parsed.inbox, parsed.outbox, settings, options, own_process=True).run()
    except InboxBusyError as error:
        _log.error("%s", error)
        return EXIT_BUSY


def _configured(parsed: argparse.Namespace) -> tuple[WatchSettings, Options]:
    """Return what the flags ask for, or what worked last where a value is out of its range."""
    names = [f.name for f in fields(WatchSettings)]
    try:
        settings = WatchSettings(**{name: getattr(parsed, name) for name in names})
        return settings, options_from(parsed)
    except OptionsError as error:
        kept = last_good(parsed.state or parsed.outbox / STATE)
        if kept is None:
            raise
        _log.error("%s; what worked last is in use", error)
        settings, options = kept
        here = {"once": parsed.once, "state": parsed.state, "quarantine": parsed.quarantine}
        return replace(settings, **here), options
