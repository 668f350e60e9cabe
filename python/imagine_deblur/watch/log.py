"""Lines for people that cannot stop the service, flood a disk or fool a terminal."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from imagine_deblur.support.terminal_text import escaped

_LONGEST = 600  # characters of a line
_BURST, _PER_SECOND = 40, 2.0  # lines at once, and in the long run: under 100 MB a month
_WAITING = 200  # lines kept while nobody reads
_FLUSH = 1.0  # s that ending waits for a reader


def shortened(text: str) -> str:
    """Return a text escaped, and cut where it is longer than a line of the log may be."""
    line = escaped(text[: 4 * _LONGEST])
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}... ({len(text)} characters)"


class _Formatter(logging.Formatter):
    """One escaped line behind the program's name; warnings are named so."""

    def format(self, record: logging.LogRecord) -> str:
        warning = "warning: " if record.levelno == logging.WARNING else ""
        return f"imagine-deblur watch: {warning}{shortened(record.getMessage())}"


class LineHandler(logging.Handler):
    """Writes records from a thread of its own; a line too many is counted and dropped.

    Parameters
    ----------
    write : callable, optional
        Receives a line with its newline; what it raises loses the line and nothing else. Default:
        standard error.

    Attributes
    ----------
    lost : int
        Lines that did not get through: over the rate, unread, or refused.
    """

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        super().__init__()
        self.setFormatter(_Formatter())
        self._write = write or _to_standard_error
        self._lines: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._allowance, self._at = float(_BURST), time.monotonic()
        self._dropped = 0
        self.lost = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on, or count it as dropped; never waits."""
        now = time.monotonic()
        gained = (now - self._at) * _PER_SECOND
        self._allowance, self._at = min(_BURST, self._allowance + gained), now
        if self._allowance < 1:
            self._dropped += 1
            self.lost += 1
            return
        self._allowance -= 1
        line = self.format(record)
        if self._dropped:
            line = f"{line} ({self._dropped} lines before this one were dropped)"
            self._dropped = 0
        self._put(f"{line}\n".encode(errors="backslashreplace"))

    def _put(self, line: bytes | None) -> None:
        if self._thread is None:
            # A daemon: a reader that never reads must not keep the process from ending.
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.lost += 1

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line)
            except (OSError, ValueError):
                self.lost += 1

    def flush(self) -> None:
        """Let the last lines out, if somebody takes them within a second."""
        if self._thread is not None:
            self._put(None)
            self._thread.join(_FLUSH)
            self._thread = None

    def close(self) -> None:
        """Flush, and leave the logger."""
        self.flush()
        super().close()


def _to_standard_error(line: bytes) -> None:
    with suppress(BlockingIOError):
        at = 0
        while at < len(line):
            at += os.write(2, line[at:])
