"""What the command says on standard error: through `logging`, as much as was asked for.

Every module logs to ``imagine_deblur`` or below. A program around the package decides itself what
becomes of that; only the command installs a handler. A command may bring its own: the service's
never waits for whoever reads it.
"""

from __future__ import annotations

import argparse
import logging
import sys

from imagine_deblur.cli.progress import STATUS
from imagine_deblur.support.terminal_text import escaped

LINES = "\n\t"  # our own messages have some
LEVELS = ("debug", "info", "warning", "error")
_ROOT = logging.getLogger("imagine_deblur")


class _Formatter(logging.Formatter):
    """Messages behind the program's name; warnings are named so."""

    def format(self, record: logging.LogRecord) -> str:
        warning = "warning: " if record.levelno == logging.WARNING else ""
        return f"imagine-deblur: {warning}{escaped(record.getMessage(), keep=LINES)}"


class _Handler(logging.Handler):
    """Writes above the status line, to what standard error is now."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            STATUS.clear()
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:  # nobody reads our messages; the work goes on
            pass
        except Exception:
            self.handleError(record)


def level(parsed: argparse.Namespace) -> int:
    """Return the level the flags ask for: a named one, else that of ``-q``, else of ``-v``."""
    if named := getattr(parsed, "log_level", None):
        return int(getattr(logging, named.upper()))
    if getattr(parsed, "quiet", False):
        return logging.ERROR
    return logging.DEBUG if getattr(parsed, "verbose", False) else logging.INFO


def set_up(parsed: argparse.Namespace) -> None:
    """Install the command's handler in place of an earlier one, with the level asked for."""
    kind: type[logging.Handler] = getattr(parsed, "log_handler", _Handler)
    for handler in [h for h in _ROOT.handlers if isinstance(h, _Handler | kind)]:
        _ROOT.removeHandler(handler)
        handler.close()
    _ROOT.addHandler(kind())
    _ROOT.setLevel(level(parsed))


def flush() -> None:
    """Let what was logged out before the command ends."""
    for handler in _ROOT.handlers:
        handler.flush()
