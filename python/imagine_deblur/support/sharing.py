"""A warm object between threads and processes: one user at a time, and made anew after a fork.

A fork copies the memory of a process, not its threads. An engine whose worker threads are gone
would wait for them for ever, and a buffer pool in a shared mapping would be written by both. So a
forked child forgets what it inherited, without ending it, and makes its own at the next frame.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagine_deblur.errors import SessionBusyError


class Turns:
    """What one thread uses at a time while others wait for their turn.

    Parameters
    ----------
    abandon : callable
        Called in a forked child: forget threads and mappings of the parent without touching them.
    """

    def __init__(self, abandon: Callable[[], None]) -> None:
        self._abandon = abandon
        self._lock = threading.Lock()
        self._owner: int | None = None
        _LIVING.add(self)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for the other threads, then keep them waiting.

        Raises
        ------
        SessionBusyError
            This very thread is in the middle of its turn: it would wait for itself.
        """
        here = threading.get_ident()
        if self._owner == here:
            raise SessionBusyError(
                "this session is in the middle of a frame of the same thread, for example in its "
                "progress callback: use another Session"
            )
        with self._lock:
            self._owner = here
            try:
                yield
            finally:
                self._owner = None

    def after_fork(self) -> None:
        """Start afresh in a forked child: a thread that held the lock is not there any more."""
        self._lock, self._owner = threading.Lock(), None
        self._abandon()


_LIVING: weakref.WeakSet[Turns] = weakref.WeakSet()


def keep_for_ever(things: object) -> None:
    """Never destroy an object, not even when the interpreter ends."""
    import ctypes  # half a megabyte that only forked children need

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(things))


def _after_fork() -> None:
    for one in list(_LIVING):
        one.after_fork()


os.register_at_fork(after_in_child=_after_fork)
