"""Signals, and what they ask of the frame in hand."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any


class Stopped(Exception):
    """What is in hand exceeded the time that SIGTERM left it."""


class StopRequest:
    """Whether the service should stop, and whether it should read its configuration again.

    Parameters
    ----------
    within : float
        Seconds that the frame in hand may still take.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        self._asked: float | None = None
        self._times = 0
        self._handlers: dict[int, Any] = {}
        self.signal = 0
        self.reload = False

    def __bool__(self) -> bool:
        return self._asked is not None

    def ask(self) -> None:
        """Stop after the frame in hand, or within the time it has; a second call: at once."""
        self._times += 1
        if self._asked is None:
            self._asked = time.monotonic()

    def check(self) -> None:
        """Raise `Stopped` where the frame in hand has had its time."""
        if self._asked is not None and (
            self._times > 1 or time.monotonic() - self._asked > self._within
        ):
            raise Stopped

    def check_at_once(self) -> None:
        """Raise `Stopped` where a stop was asked for and nothing is in hand."""
        if self._asked is not None:
            raise Stopped

    def take_signals(self) -> bool:
        """Handle SIGTERM, SIGINT and SIGHUP; return False outside the main thread."""
        handlers = (
            (signal.SIGTERM, self._on_stop),
            (signal.SIGINT, self._on_stop),
            (signal.SIGHUP, self._on_reload),
        )
        try:
            for number, handler in handlers:
                self._handlers[number] = signal.signal(number, handler)
        except ValueError:
            return False  # whoever runs us calls `ask`
        return True

    def give_signals_back(self) -> None:
        """Undo `take_signals`."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self.ask()

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self.reload = True
