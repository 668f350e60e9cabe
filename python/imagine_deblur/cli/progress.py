"""How far a batch is, on one line of a terminal that other lines are written above."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from imagine_deblur.support.terminal_text import escaped

_BAR = 20  # characters
_REDRAW = 0.1  # s between two drawings, so that a terminal is not what takes the time


def in_words(seconds: float) -> str:
    """Return a duration for people.

    Parameters
    ----------
    seconds : float
        Not negative.

    Examples
    --------
    >>> in_words(4.24), in_words(100), in_words(7500)
    ('4.2 s', '1 min 40 s', '2 h 05 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rate_in_words(per_second: float) -> str:
    """Return how many captures a second, or how long each, whichever is above one.

    Examples
    --------
    >>> rate_in_words(4.0), rate_in_words(0.5)
    ('4.0 a second', '2.0 s each')
    """
    if per_second >= 1:
        return f"{per_second:.1f} a second"
    return f"{in_words(1 / per_second)} each"


class StatusLine:
    """The last line of standard error, written over while it is shown.

    Logging writes above it (see `cli.logs`); so does everything else that prints meanwhile.
    """

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str) -> None:
        """Replace the line; longer than the terminal is wide, it is cut."""
        text = escaped(text)[: shutil.get_terminal_size().columns - 1]
        padding = " " * (len(self._shown) - len(text))
        print(f"\r{text}{padding}", end="", file=sys.stderr, flush=True)
        self._shown = text

    def clear(self) -> None:
        """Take the line away, before something else is written."""
        if self._shown:
            print(f"\r{' ' * len(self._shown)}\r", end="", file=sys.stderr, flush=True)
            self._shown = ""


STATUS = StatusLine()
"""The one of this process."""


class BatchProgress:
    """N of M, rate and time left.

    Use it as a context; it takes its line away at the end. One thread at a time.

    Parameters
    ----------
    total : int or None
        Captures to come; None where that is not known, then no time left is told.
    visible : bool
        Whether there is a terminal to draw on. Without one nothing is written; `text` still says
        how far the batch is, for a log.
    clock : callable
        Seconds.
    """

    def __init__(
        self, total: int | None, *, visible: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.visible = total, visible
        self.done = 0
        """Captures that are finished, whatever became of them."""
        self._clock = clock
        self._started = clock()
        self._drawn = -_REDRAW
        self._name, self._fraction = "", 0.0
        self._instant = 0  # captures that took no work, and say nothing about the rate

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.visible:
            STATUS.clear()

    def at(self, name: str, fraction: float) -> None:
        """Tell how much of a capture is done.

        Parameters
        ----------
        name : str
        fraction : float
            In [0, 1].
        """
        self._name, self._fraction = name, fraction
        self._draw()

    def finished(self, *, worked: bool = True) -> None:
        """Count a capture.

        Parameters
        ----------
        worked : bool
            False where nothing had to be computed, as for one whose output exists.
        """
        self.done += 1
        self._instant += not worked
        self._fraction = 0.0
        self._draw()

    @property
    def seconds(self) -> float:
        """Since the batch began."""
        return self._clock() - self._started

    @property
    def rate(self) -> float | None:
        """Captures a second that took work, None before the first."""
        worked = self.done - self._instant + self._fraction
        seconds = self.seconds
        return worked / seconds if worked > 0 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None where total or rate is not known."""
        if self.total is None or self.rate is None:
            return None
        return max(0.0, self.total - self.done - self._fraction) / self.rate

    def text(self) -> str:
        """Return the line without the bar: N of M, rate, time left."""
        parts = [f"{self.done} of {self.total}" if self.total is not None else f"{self.done} done"]
        if self.rate is not None:
            parts.append(rate_in_words(self.rate))
        if self.seconds_left is not None:
            parts.append(f"{in_words(self.seconds_left)} left")
        return ", ".join(parts)

    def _draw(self) -> None:
        now = self._clock()
        if not self.visible or now - self._drawn < _REDRAW:
            return
        self._drawn = now
        filled = round(_BAR * self._fraction)
        if self.total == 1:
            STATUS.show(f"[{'#' * filled}{'.' * (_BAR - filled)}] {in_words(self.seconds)}")
            return
        bar = f"  {self._name} [{'#' * filled}{'.' * (_BAR - filled)}]" if self._name else ""
        STATUS.show(self.text() + bar)
