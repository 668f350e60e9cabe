"""Parse the command line and turn exceptions into exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from imagine_deblur._version import VERSION
from imagine_deblur.cli import demo, evaluate, info, process, psf, report, train, watch
from imagine_deblur.errors import (
    CalibrationError,
    EngineError,
    EstimationError,
    ImagineDeblurError,
    InputImageError,
    OptionsError,
    OutputExistsError,
    PsfError,
)

_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (OutputExistsError, 7),
    (MemoryError, 5),
    (InputImageError, 3),
    (EngineError, 4),
    (EstimationError, 6),
    (CalibrationError, 6),
    (OptionsError, 2),
    (PsfError, 2),
)


def exit_code(error: BaseException) -> int:
    """Return the exit code for an exception, see the package's docstring."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
        return 5
    return 8


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="imagine-deblur",
        description="Restore out-of-focus Earth-observation captures.",
    )
    parser.add_argument("--version", action="version", version=f"imagine-deblur {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (process, report, psf, demo, info, evaluate, train, watch):
        command.add_parser(commands)
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
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("imagine-deblur: interrupted; nothing half-written was left", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError as error:  # an extra that is not installed; its message says which
        print(f"imagine-deblur: {error}", file=sys.stderr)
        return 4
    except (ImagineDeblurError, OSError, MemoryError) as error:
        print(f"imagine-deblur: {error or 'out of memory'}", file=sys.stderr)
        return exit_code(error)
    return code
