"""Standard input, output and error as a program around the command left them."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

_log = logging.getLogger(__name__)


def open_closed_ones() -> None:
    """Open what was closed on nothing.

    Else the next file that is opened gets its number, and what is said to standard error would be
    written into a result or a journal.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def say(line: str) -> None:
    """Print a line that somebody may read, now; where the reader has gone, go on without."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        discard_output()
        _log.warning("nobody reads the output any more; the work goes on")


def discard_output() -> None:
    """Send standard output nowhere; keeps the interpreter from complaining at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
