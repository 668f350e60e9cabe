"""Parse the command line and turn exceptions into exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from imagine_deblur._version import VERSION
from imagine_deblur.cli import (
    batch,
    completion,
    demo,
    evaluate,
    info,
    process,
    psf,
    report,
    retrain,
    train,
    watch,
)
from imagine_deblur.cli.configuration import apply as configure
from imagine_deblur.cli.configuration import misspelt
from imagine_deblur.cli.exit_codes import exit_code, told
from imagine_deblur.cli.logs import flush, set_up
from imagine_deblur.cli.parser import Parser, leaf_of, refuse_unknown
from imagine_deblur.cli.streams import discard_output, open_closed_ones
from imagine_deblur.errors import ImagineDeblurError, OptionsError

_log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = Parser(
        prog="imagine-deblur",
        description="Restore out-of-focus Earth-observation captures. "
        "'imagine-deblur COMMAND --help' tells about each command.",
        examples="""
        imagine-deblur demo                   # a made-up scene, to see it work
        imagine-deblur process capture.jpg    # the blur is found in the capture
        imagine-deblur process captures/ -o restored/
        imagine-deblur info                   # this installation and this machine
        """,
    )
    parser.add_argument("--version", action="version", version=f"imagine-deblur {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (process, batch, report, psf, demo, info, evaluate, train, retrain, watch):
        command.add_parser(commands)
    completion.add_parser(commands, build_parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; None takes them from the command line.

    Returns
    -------
    int
        The exit code.
    """
    open_closed_ones()
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = build_parser()
    used: list[str] = []
    wrong: Exception | None = None
    try:
        used = configure(parser, given, os.environ)
    except (OptionsError, OSError) as error:
        wrong = error  # told below, once it is known how to tell
    parsed, unknown = parser.parse_known_args(given)
    if unknown:
        refuse_unknown(leaf_of(parser, parsed), unknown)
    set_up(parsed)
    try:
        if wrong is not None:
            raise wrong
        if used:
            _log.info("options from %s", ", ".join(used))
        for variable, meant in misspelt(parser, os.environ):
            _log.warning("%s: no option is named so; is %s meant?", variable, meant)
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _log.error("interrupted; nothing half-written was left")
        return 130
    except BrokenPipeError:
        discard_output()  # whoever read it has gone
        return 0
    except ImportError as error:  # an extra that is not installed; its message says which
        _log.error("%s", error)
        return 4
    except (ImagineDeblurError, OSError, MemoryError) as error:
        _log.error("%s", told(error))
        return exit_code(error)
    finally:
        flush()
    return code
