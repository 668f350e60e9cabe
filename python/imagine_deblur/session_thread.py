"""The thread that works on a session's frames where frames are to be polite.

Niceness, scheduling class and affinity belong to threads, and a thread cannot always take its
politeness back. So a session that is asked for any of them looks at captures, opens engines and
runs frames on one thread of its own, and the caller waits as it was. A session that is not asked
works on the caller's thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from imagine_deblur import _core
from imagine_deblur.options import Options

_T = TypeVar("_T")
_P = ParamSpec("_P")
_S = TypeVar("_S", bound="HasParts")

_UNPINNED = ("openvino",)
"""Engines whose threads cannot be pinned to given processors. They take the processors of whoever
calls them, so the caller stays free."""


class FrameThread:
    """Runs work on a polite thread, or where it is called.

    Parameters
    ----------
    options : Options
        `pin`, `nice` and `scheduling`.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._executor: ThreadPoolExecutor | None = None
        self._ident: int | None = None
        self._stopped = threading.Event()

    @property
    def polite(self) -> bool:
        """Whether there is a thread of its own."""
        options = self._options
        return options.pin or options.nice > 0 or options.scheduling != "normal"

    @property
    def stopped(self) -> bool:
        """Whether the caller was interrupted while it waited: the frame is to stop."""
        return self._stopped.is_set()

    def run(self, work: Callable[[], _T]) -> _T:
        """Run work and wait for it; an interrupt of the caller stops the frame first."""
        if not self.polite or threading.get_ident() == self._ident:
            return work()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(
                1, thread_name_prefix="imagine-deblur", initializer=self._begin
            )
        future = self._executor.submit(work)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                self._stop(future)
            raise

    def _begin(self) -> None:
        self._ident = threading.get_ident()
        _core.make_this_thread_polite(self._options.nice, self._options.scheduling)

    def _stop(self, future: Future[_T]) -> None:
        self._stopped.set()
        try:
            future.exception()
        finally:
            self._stopped.clear()

    @contextmanager
    def pinned(self, engine: str) -> Iterator[None]:
        """Keep the frame's thread on the first processor while an engine's tiles run.

        Only then: threads started meanwhile would be bound to the same processor.
        """
        if not self._options.pin or engine in _UNPINNED:
            yield
            return
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {_core.topology()["processors"][0]})
        except OSError:
            yield  # not permitted here: never a reason to fail
            return
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def abandon(self) -> None:
        """Forget the thread without ending it: in a forked child there is none."""
        self._executor = self._ident = None

    def close(self) -> None:
        """End the thread; the next work starts another."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = self._ident = None


class HasThread(Protocol):
    """Parts with a frame thread."""

    @property
    def thread(self) -> FrameThread: ...


class HasParts(Protocol):
    """A session."""

    @property
    def parts(self) -> HasThread: ...


def on_frame_thread(
    method: Callable[Concatenate[_S, _P], _T],
) -> Callable[Concatenate[_S, _P], _T]:
    """Let a session's method run on its frame thread."""

    @wraps(method)
    def run(session: _S, /, *values: _P.args, **named: _P.kwargs) -> _T:
        return session.parts.thread.run(partial(method, session, *values, **named))

    return run
