"""What the command says on standard error: through `logging`, as much as was asked for.

Every module logs to ``imagine_deblur`` or below. A program around the package decides itself what
becomes of that; only the command installs a handler.
"""

from __future__ import annotations

import argparse
import logging
import sys

from imagine_deblur.cli.progress import STATUS

LEVELS = ("debug", "info", "warning", "error")
_ROOT = logging.getLogger("imagine_deblur")


class _Formatter(logging.Formatter):
    """Messages behind the program's name; warnings are named so."""

    def format(self, record: logging.LogRecord) -> str:
        warning = "warning: " if record.levelno == logging.WARNING else ""
        return f"imagine-deblur: {warning}{record.getMessage()}"


class _Handler(logging.Handler):
    """Writes above the status line, to what standard error is now."""

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
    """Install the handler, once, with the level the flags ask for."""
    if not any(isinstance(handler, _Handler) for handler in _ROOT.handlers):
        handler = _Handler()
        handler.setFormatter(_Formatter())
        _ROOT.addHandler(handler)
    _ROOT.setLevel(level(parsed))
